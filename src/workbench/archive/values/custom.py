"""Values of types that are not read here: a decoder of the caller's own, checked at the door.

`archive.open(decoders={"CBOR": ...})`, by schema type or by topic. A decoder is anything with

    fields          Arrow fields, in order, of every column it may give
    decode(payloads, misfit)
                    one array for each field, as long as `payloads`: a list of bytes, None for a
                    null value; `misfit(row, "what is wrong")` for a payload that cannot be read,
                    whose row is then null

and is made by a call with the topic's schemas (ascending by version, none where none is known).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from workbench.archive.format.index import split_partition
from workbench.archive.values.encoded import EncodedValues, Misfit
from workbench.archive.values.schemas import Schema
from workbench.errors import ArchiveError, did_you_mean

# Source: apache/pulsar 4.0.8, SchemaType
SCHEMA_TYPES = (
    "NONE", "BYTES", "STRING", "JSON", "AVRO", "PROTOBUF", "PROTOBUF_NATIVE", "KEY_VALUE",
    "BOOLEAN", "INT8", "INT16", "INT32", "INT64", "FLOAT", "DOUBLE",
    "DATE", "TIME", "TIMESTAMP", "INSTANT", "LOCAL_DATE", "LOCAL_TIME", "LOCAL_DATE_TIME",
)  # fmt: skip


class PayloadDecoder(Protocol):
    """What a caller gives to decode payloads of a type of its own."""

    @property
    def fields(self) -> Sequence[pa.Field]:
        """One field for each array of `decode`."""

    def decode(self, payloads: list[bytes | None], misfit: Misfit) -> Sequence[pa.Array]:
        """Return one array for each field, null where the payload is None or a misfit."""


MakeDecoder = Callable[[list[Schema]], PayloadDecoder]


@dataclass(frozen=True)
class CustomValues:
    """Calls a caller's decoder and checks what it gives back.

    Attributes
    ----------
    name
        What the decoder was given for: a schema type, or a topic.
    decoder
        The caller's.
    fields
        Those wanted.
    """

    name: str
    decoder: PayloadDecoder
    fields: list[pa.Field]

    def decode(self, encoded: EncodedValues, misfit: Misfit) -> list[pa.Array]:
        """Return one array per field wanted; a null value is null.

        Raises
        ------
        ArchiveError
            If the decoder fails, or gives other arrays than its fields promise.
        """
        payloads = [encoded.value(i) for i in range(len(encoded.sizes))]
        try:
            arrays = list(self.decoder.decode(payloads, misfit))
        except ArchiveError:
            raise  # a misfit
        except Exception as err:  # it is not ours: it may raise anything
            raise ArchiveError(
                f"the decoder for {self.name} fails: {type(err).__name__}: {err}"
            ) from err
        self._check(arrays, len(payloads))
        named = zip([field.name for field in self.decoder.fields], arrays, strict=True)
        by_name = dict(named)
        return [by_name[field.name] for field in self.fields]

    def _check(self, arrays: list[pa.Array], count: int) -> None:
        shapes = [(getattr(array, "type", type(array).__name__), len(array)) for array in arrays]
        promised = [(field.type, count) for field in self.decoder.fields]
        if shapes != promised:
            raise ArchiveError(
                f"the decoder for {self.name} gives {_shapes(shapes)}, expected {_shapes(promised)}"
            )


def _shapes(columns: Sequence[tuple[object, int]]) -> str:
    return ", ".join(f"{count} of {kind}" for kind, count in columns) or "nothing"


def custom_values(
    name: str, make: MakeDecoder, schemas: list[Schema], wanted: list[str] | None
) -> CustomValues:
    """Return what decodes the fields `wanted` (None: all) by a caller's decoder."""
    decoder = make(schemas)
    fields = {field.name: field for field in decoder.fields}
    return CustomValues(name, decoder, [fields[x] for x in (fields if wanted is None else wanted)])


def custom_decoder(
    decoders: Mapping[str, MakeDecoder], topic: str, schemas: list[Schema]
) -> tuple[str, MakeDecoder] | None:
    """Return the decoder for a topic, by its name or else by its newest schema's type, and why."""
    names = [split_partition(topic)[0], *(schema.type for schema in schemas[-1:])]
    return next(((name, decoders[name]) for name in names if name in decoders), None)


def check_decoders(decoders: Mapping[str, MakeDecoder], topics: Sequence[str]) -> None:
    """Raise unless each decoder is for a schema type of Pulsar or a topic of the archive."""
    for name in decoders:
        if name not in SCHEMA_TYPES and name not in topics:
            raise ArchiveError(
                f"a decoder is given for {name!r}, no schema type and no topic here",
                hint=did_you_mean(name, [*SCHEMA_TYPES, *topics]),
            )
