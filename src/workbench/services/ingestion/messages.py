"""Encode readings as messages, column by column, a block of rows at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workbench.arrays import Floats, Ints
from workbench.errors import ServicesError, did_you_mean

SCHEMAS = ("json", "avro")
_BLOCK_ROWS = 50_000  # encoded at once


@dataclass(frozen=True, eq=False)
class Messages:
    """What is sent: a message per reading, in this order.

    Attributes
    ----------
    sensors
        Their names, each once: the keys of messages.
    sensor_of
        Shape (n,): which of them a reading is of.
    times_ms
        Shape (n,): event times.
    columns
        Of shape (n,) each, NaN where a reading is missing.
    schema
        One of `SCHEMAS`.
    definition
        In Avro's words: the sensor, then the columns.
    """

    sensors: tuple[str, ...]
    sensor_of: Ints
    times_ms: Ints
    columns: tuple[Floats, ...]
    schema: str
    definition: dict[str, Any]

    def __post_init__(self) -> None:
        if self.schema not in SCHEMAS:
            hint = did_you_mean(self.schema, SCHEMAS)
            raise ServicesError(f"no schema {self.schema!r}", hint=hint)

    def __len__(self) -> int:
        return len(self.times_ms)

    def digest(self) -> str:
        """Return what only the same readings in the same order have."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(json.dumps([self.schema, self.definition, self.sensors]).encode())
        for array in (self.sensor_of.astype("<i8"), self.times_ms.astype("<i8"), *self.columns):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def rows(self, first: int = 0) -> Iterator[tuple[str, int, bytes]]:
        """Yield key, event time and payload of each reading, from the `first` on."""
        names = np.array(self.sensors, dtype=object)
        for block, payloads in self.blocks(first):
            keys = names[self.sensor_of[block]].tolist()
            encoded = payloads.to_numpy(zero_copy_only=False)
            yield from zip(keys, self.times_ms[block].tolist(), encoded, strict=True)

    def blocks(self, first: int = 0) -> Iterator[tuple[slice, pa.Array]]:
        """Yield some rows at a time, from the `first` on, and their payloads, binary."""
        encode = {"json": _json, "avro": _avro}[self.schema]
        names = [field["name"] for field in self.definition["fields"]]
        for start in range(first, len(self), _BLOCK_ROWS):
            block = slice(start, min(start + _BLOCK_ROWS, len(self)))
            columns = [column[block] for column in self.columns]
            parts = encode(names, self.sensors, self.sensor_of[block], columns)
            yield block, pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.binary()))


def record(sensor: str, values: Sequence[str], labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the Avro definition of a reading: the sensor, and nullable doubles, as labelled."""
    fields: list[dict[str, Any]] = [{"name": sensor, "type": "string"}]
    fields += [{"name": value, "type": ["null", "double"], "default": None} for value in values]
    for definition in fields:
        if definition["name"] in labels:
            definition["doc"] = labels[definition["name"]]
    return {"type": "record", "name": "Reading", "fields": fields}


def _json(
    names: Sequence[str], sensors: Sequence[str], sensor_of: Ints, columns: Sequence[Floats]
) -> list[Any]:
    """Return the parts of compact JSON: what is constant as scalars, the rest as arrays."""
    quoted = pa.array([json.dumps(name, ensure_ascii=False).encode() for name in sensors])
    parts = [_scalar(f'{{"{names[0]}":'.encode()), quoted.take(pa.array(sensor_of))]
    for name, column in zip(names[1:], columns, strict=True):
        parts += [_scalar(f',"{name}":'.encode()), _json_numbers(column)]
    return [*parts, _scalar(b"}")]


def _json_numbers(column: Floats) -> pa.Array:
    """Return each double by the shortest text that is it alone, a whole one as `3.0`."""
    texts = pa.array(column, from_pandas=True).cast(pa.string())
    whole = pc.match_substring_regex(texts, "^-?[0-9]+$")
    texts = pc.if_else(whole, pc.binary_join_element_wise(texts, ".0", ""), texts)
    return texts.fill_null("null").cast(pa.binary())


def _avro(
    _names: Sequence[str], sensors: Sequence[str], sensor_of: Ints, columns: Sequence[Floats]
) -> list[Any]:
    """Return the parts of Avro's binary encoding: a string, and unions of null and double."""
    texts = [name.encode() for name in sensors]
    strings = pa.array([_avro_long(len(text)) + text for text in texts], pa.binary())
    return [strings.take(pa.array(sensor_of)), *map(_avro_unions, columns)]


def _avro_long(number: int) -> bytes:
    """Return a number that is not negative as a zigzag varint."""
    rest, encoded = number << 1, bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*encoded, rest])


def _avro_unions(column: Floats) -> pa.Array:
    """Return the index of the union's branch as a varint (0: null, 2: double), and the double."""
    present = ~np.isnan(column)
    encoded = np.zeros((len(column), 9), dtype=np.uint8)
    encoded[:, 0] = 2 * present
    encoded[:, 1:] = column.astype("<f8").view(np.uint8).reshape(-1, 8)
    said = np.repeat(present[:, np.newaxis], 9, axis=1)
    said[:, 0] = True
    offsets = np.concatenate([[0], np.cumsum(np.where(present, 9, 1))]).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(encoded[said])]
    return pa.Array.from_buffers(pa.binary(), len(column), buffers)


def _scalar(constant: bytes) -> pa.Scalar:
    return pa.scalar(constant, pa.binary())
