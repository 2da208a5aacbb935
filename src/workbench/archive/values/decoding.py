"""Turn messages into the decoded fields of a topic, by the newest of its schemas."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from workbench.archive import messages as msg
from workbench.archive.ledgers import Messages
from workbench.archive.values.avro.records import AvroValues
from workbench.archive.values.encoded import EncodedValues, Misfit, encoded_values
from workbench.archive.values.json_values import JsonValues
from workbench.archive.values.primitives import (
    TIMES,
    UNITS,
    KeyValue,
    Primitive,
    decode_keys,
    split_inline,
)
from workbench.archive.values.schemas import Schema
from workbench.archive.values.versions import ByVersion, Values
from workbench.errors import ArchiveError, did_you_mean

MisfitReport = Callable[[Messages, int, str], None]  # messages, which of them, what is wrong


@dataclass(frozen=True)
class Decoder:
    """Builds the columns of `Topic.read`.

    Attributes
    ----------
    values
        Decodes the fields that are asked for, and no other.
    columns
        Output name to a field's position (int) or a column of `messages` (str).
    misfit
        Called with each value that does not fit: raises, or the row stays null.
    """

    values: Values | KeyValue
    columns: dict[str, int | str]
    misfit: MisfitReport

    @property
    def schema(self) -> pa.Schema:
        """The output's schema."""
        return pa.schema(
            [
                self.values.fields[source].with_name(name)
                if isinstance(source, int)
                else msg.SCHEMA.field(source).with_name(name)
                for name, source in self.columns.items()
            ]
        )

    def record_batch(self, messages: Messages) -> pa.RecordBatch:
        """Return the columns of some messages."""
        fields = decode_values(
            self.values,
            encoded_values(messages),
            lambda: msg.column(messages, "key").to_pylist(),
            partial(self.misfit, messages),
        )
        arrays = [
            fields[source] if isinstance(source, int) else msg.column(messages, source)
            for source in self.columns.values()
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


OpenValues = Callable[[list[str] | None], "Values | KeyValue"]


def make_decoder(
    open_fields: OpenValues, columns: list[str] | None, misfit: MisfitReport
) -> Decoder:
    """Return what decodes `columns`, as in `Topic.read`.

    Parameters
    ----------
    open_fields
        Gives what decodes the fields of some names, or all.

    Raises
    ------
    ArchiveError
        If there is no such column, or the schema is of a kind that is not read.
    """
    fields = [field.name for field in open_fields(None).fields]
    chosen = {name: _column(name, fields) for name in columns or []}
    wanted = [name for name, source in chosen.items() if source is None]
    if not wanted:
        wanted = fields
        chosen = {**dict.fromkeys(fields), **chosen}
    positions = {name: i for i, name in enumerate(wanted)}
    sources = {n: positions[n] if source is None else source for n, source in chosen.items()}
    return Decoder(open_fields(wanted), sources, misfit)


def _column(name: str, fields: list[str]) -> str | None:
    """Return the column of `messages` that `name` asks for, or None where it is a field."""
    if name in fields:
        return None
    plain = name[2:-2] if name.startswith("__") and name.endswith("__") else name
    if plain in msg.SCHEMA.names:
        return plain
    raise ArchiveError(f"no column {name!r}", hint=did_you_mean(name, [*fields, *msg.SCHEMA.names]))


def open_values(
    schemas: list[Schema], wanted: list[str] | None, unit: str = UNITS[0]
) -> Values | KeyValue:
    """Return what decodes the fields `wanted` (None: all) by the newest of `schemas`.

    Parameters
    ----------
    unit
        One of UNITS, of bare times (INSTANT, LOCAL_DATE_TIME, LOCAL_DATE).
    """
    newest = schemas[-1]
    same = [schema for schema in schemas if schema.type == newest.type]
    if newest.type == "KEY_VALUE":
        return _key_value(same, wanted, unit)
    others = [schema for schema in schemas if schema.type != newest.type]
    values = _values_of(same, wanted, unit)
    if not others or newest.type in ("BYTES", "NONE"):
        return values
    return ByVersion(values, {other.version: _older(other, others, newest) for other in others})


def _values_of(schemas: list[Schema], wanted: list[str] | None, unit: str) -> Values:
    """Return what decodes values of schemas of one type."""
    if schemas[-1].type == "JSON":
        return JsonValues(schemas, wanted)
    if schemas[-1].type == "AVRO":
        return AvroValues(schemas, wanted)
    if schemas[-1].type in ("PROTOBUF", "PROTOBUF_NATIVE"):
        from workbench.archive.values.protobuf.values import ProtobufValues

        return ProtobufValues(schemas, wanted)
    return Primitive(schemas[-1], unit)


def _older(schema: Schema, others: list[Schema], newest: Schema) -> Values | str:
    """Return what decodes values of a version of another type, or why they cannot be read."""
    if {schema.type, newest.type} != {"JSON", "AVRO"}:
        return f"its schema version {schema.version} is {schema.type}, the newest is {newest.type}"
    same = [other for other in others if other.type == schema.type]
    return _values_of([*same, replace(newest, type=schema.type)], None, UNITS[0])


def _key_value(schemas: list[Schema], wanted: list[str] | None, unit: str) -> KeyValue:
    key = open_values([_part(schema, "key") for schema in schemas], None, unit)
    value = open_values([_part(schema, "value") for schema in schemas], None, unit)
    named = [field.with_name(_key_name(field.name, key)) for field in key.fields]
    separated = schemas[-1].properties.get("kv.encoding.type") == "SEPARATED"
    fields = [*named, *value.fields]
    order = [field.name for field in fields]
    keep = None if wanted is None else [order.index(name) for name in wanted]
    return KeyValue(
        key, value, fields if keep is None else [fields[j] for j in keep], separated, keep
    )


def _key_name(name: str, key: Values | KeyValue) -> str:
    return "__key" if isinstance(key, Primitive) else f"__key.{name}"


def _part(schema: Schema, part: str) -> Schema:
    """Return the schema of one part of a KeyValue."""
    definition = (schema.definition or {}).get(part)
    default = "AVRO" if isinstance(definition, dict) else "BYTES"
    kind = schema.properties.get(f"{part}.schema.type", default)
    definition = definition if isinstance(definition, dict) else None
    return Schema(schema.version, kind, definition, _part_properties(schema, part))


def _part_properties(schema: Schema, part: str) -> dict[str, str]:
    """Return the properties of one part of a KeyValue: JSON in those of the whole."""
    try:
        stored = json.loads(schema.properties.get(f"{part}.schema.properties") or "{}")
    except (TypeError, ValueError, RecursionError):
        return {}
    return stored if isinstance(stored, dict) else {}


def decode_values(
    values: Values | KeyValue,
    encoded: EncodedValues,
    keys: Callable[[], list[str | None]],
    misfit: Misfit,
) -> list[pa.Array]:
    """Return one array per field; `keys` gives the messages' keys, where values need them."""
    if not isinstance(values, KeyValue):
        return values.decode(encoded, misfit)
    if values.separated:
        return values.decode_pair(decode_keys(keys(), encoded, misfit), encoded, misfit)
    return values.decode_pair(*split_inline(encoded, misfit), misfit)


def has_times(schema: Schema) -> bool:
    """Return whether values, or one of the two parts of a KeyValue, are bare times."""
    if schema.type != "KEY_VALUE":
        return schema.type in TIMES
    return any(_part(schema, part).type in TIMES for part in ("key", "value"))


def unit_needed(
    values: Values | KeyValue, encoded: EncodedValues, keys: Callable[[], list[str | None]]
) -> int:
    """Return which of UNITS is the finest that holds all times of these rows."""
    if not isinstance(values, KeyValue):
        return values.unit_needed(encoded) if isinstance(values, Primitive) else 0
    if values.separated:
        parts = decode_keys(keys(), encoded, _ignore), encoded
    else:
        parts = split_inline(encoded, _ignore)
    pairs = zip((values.key, values.value), parts, strict=True)
    return max(unit_needed(part, part_values, keys) for part, part_values in pairs)


def _ignore(row: int, what: str) -> None:
    """Leave a misfit for the read, which says it."""
