"""The Arrow type of an Avro type.

A union of one type and null is that type, nullable; a union of numbers alone is the number that
holds them all. What Arrow has no type for is text, in Avro's JSON encoding: any other union (the
branch is named: `{"string": "5"}` is not `{"long": 5}`), a record that holds itself, a record
without fields. A decimal of more than 38 digits stays bytes. A fixed of more than 1 KiB is bytes
of any length: Arrow would take its size for each null, too.

Source: Apache Avro 1.11 specification, "Logical Types", "JSON Encoding".
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from workbench.archive.values.avro.schema import (
    NO_DEFAULT,
    Field,
    Type,
    parse,
    plain_union,
)

_PRIMITIVE = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
    "enum": pa.string(),
}
_LOGICAL = {
    "date": pa.date32(),
    "time-millis": pa.time32("ms"),
    "time-micros": pa.time64("us"),
    "timestamp-millis": pa.timestamp("ms", tz="UTC"),
    "timestamp-micros": pa.timestamp("us", tz="UTC"),
    "timestamp-nanos": pa.timestamp("ns", tz="UTC"),
    "local-timestamp-millis": pa.timestamp("ms"),
    "local-timestamp-micros": pa.timestamp("us"),
    "local-timestamp-nanos": pa.timestamp("ns"),
    "uuid": pa.string(),
}
_NUMBERS = ("int", "long", "float", "double")
# a record without fields is shown as one column, else its rows could not be counted
WHOLE = "value"
_FIXED_BYTES = 1024
MOST_DIGITS = 38  # of Arrow's decimal128, which pandas, DuckDB and Parquet all read


def record_fields(definition: Any) -> list[pa.Field]:
    """Return the Arrow fields of an Avro record.

    Raises
    ------
    ArchiveError
        If the definition is no record, or breaks the specification.

    Examples
    --------
    >>> record_fields({"type": "record", "name": "R", "fields": [{"name": "v", "type": "long"}]})
    [pyarrow.Field<v: int64>]
    """
    return [pa.field(field.name, arrow_type(field.type)) for field in columns(parse(definition))]


def columns(record: Type) -> list[Field]:
    """Return the fields that a record is shown as: its own, or itself where it has none."""
    return record.fields or [Field(WHOLE, record, [], NO_DEFAULT)]


def narrowed(kind: Type) -> Type:
    """Return what a union stands for where Arrow can hold that: see the module; else itself."""
    if kind.kind != "union":
        return kind
    single = plain_union(kind)
    if single is not None:
        return narrowed(single)
    numbers = {branch.kind for branch in kind.branches} - {"null"}
    plain = not any(branch.logical for branch in kind.branches)
    if numbers and plain and numbers <= set(_NUMBERS):
        # a float holds neither every int nor every long
        return Type("long" if numbers == {"int", "long"} else "double")
    return Type("null") if not numbers else kind


def is_text(kind: Type) -> bool:
    """Return whether values of a type become text in Avro's JSON encoding."""
    kind = narrowed(kind)
    if kind.kind == "union":
        return True
    return kind.kind == "record" and (not kind.fields or _holds(kind, kind, set()))


def _holds(kind: Type, wanted: Type, met: set[int]) -> bool:
    """Return whether values of `kind` may hold one of `wanted`, at any depth."""
    inner = [*kind.branches, *(field.type for field in kind.fields)]
    inner += [kind.items] if kind.items is not None else []
    for part in inner:
        if part is wanted:
            return True
        if id(part) not in met:
            met.add(id(part))
            if _holds(part, wanted, met):
                return True
    return False


def arrow_type(kind: Type) -> pa.DataType:
    """Return the Arrow type that values of an Avro type have."""
    if is_text(kind):
        return pa.string()
    kind = narrowed(kind)
    if kind.logical == "decimal" and kind.precision <= MOST_DIGITS:
        return pa.decimal128(kind.precision, kind.scale)
    if kind.logical in _LOGICAL:
        return _LOGICAL[kind.logical]
    if kind.kind == "record":
        return pa.struct([pa.field(field.name, arrow_type(field.type)) for field in kind.fields])
    if kind.items is not None:
        items = arrow_type(kind.items)
        return pa.list_(items) if kind.kind == "array" else pa.map_(pa.string(), items)
    if kind.kind == "fixed":
        return pa.binary(kind.size if kind.size <= _FIXED_BYTES else -1)
    return _PRIMITIVE[kind.kind]
