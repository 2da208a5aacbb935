"""The Arrow type of an Avro schema, and which records are flat enough for compiled code.

A union of one type and null is that type, nullable; a union of several numbers is the widest;
any other union is JSON text.

Source: Apache Avro 1.11 specification, "Schema Declaration" and "Logical Types".
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from workbench.errors import ArchiveError

_PRIMITIVE = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}
_LOGICAL = {
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    ("long", "timestamp-millis"): pa.timestamp("ms", tz="UTC"),
    ("long", "timestamp-micros"): pa.timestamp("us", tz="UTC"),
    ("long", "local-timestamp-millis"): pa.timestamp("ms"),
    ("long", "local-timestamp-micros"): pa.timestamp("us"),
}
_WIDENING = ["int", "long", "float", "double"]

Names = dict[str, Any]


def record_fields(definition: Any) -> list[pa.Field]:
    """Return the Arrow fields of an Avro record.

    Raises
    ------
    ArchiveError
        If the definition is no record, or holds a type that Avro does not know.

    Examples
    --------
    >>> record_fields({"type": "record", "name": "R", "fields": [{"name": "v", "type": "long"}]})
    [pyarrow.Field<v: int64>]
    """
    if not isinstance(definition, dict) or definition.get("type") != "record":
        raise ArchiveError(f"the schema is {str(definition)[:80]}, expected a record")
    names: Names = {}
    arrow_type(definition, names, ())
    return [
        pa.field(one["name"], arrow_type(one["type"], names, (definition["name"],)))
        for one in definition["fields"]
    ]


def union_of(definition: Any) -> Any:
    """Return the one type beside null of a union, or the definition itself."""
    if isinstance(definition, list):
        others = [one for one in definition if one != "null"]
        if len(others) == 1:
            return others[0]
        if others and all(one in _WIDENING for one in others):
            return max(others, key=_WIDENING.index)
    return definition


def arrow_type(definition: Any, names: Names, inside: tuple[str, ...]) -> pa.DataType:
    """Return the Arrow type of an Avro type; `names` collects the named types met so far."""
    definition = union_of(definition)
    if isinstance(definition, list):
        for one in definition:  # named types may be declared in a branch
            arrow_type(one, names, inside)
        return pa.string() if definition else pa.null()
    if isinstance(definition, str):
        return _named(definition, names, inside)
    kind = definition.get("type")
    if isinstance(kind, dict | list):
        return arrow_type(kind, names, inside)
    if kind in ("record", "enum", "fixed", "error"):
        for name in {definition["name"], _full_name(definition)}:
            names[name] = definition
    logical = _logical(definition)
    if logical is not None:
        return logical
    if kind in ("record", "error"):
        inside = (*inside, definition["name"])
        return pa.struct(
            [
                pa.field(one["name"], arrow_type(one["type"], names, inside))
                for one in definition["fields"]
            ]
        )
    if kind == "array":
        return pa.list_(arrow_type(definition["items"], names, inside))
    if kind == "map":
        return pa.map_(pa.string(), arrow_type(definition["values"], names, inside))
    if kind == "enum":
        return pa.string()
    if kind == "fixed":
        return pa.binary(int(definition["size"]))
    return _named(kind, names, inside)


def _full_name(definition: dict[str, Any]) -> str:
    space = definition.get("namespace")
    return f"{space}.{definition['name']}" if space else str(definition["name"])


def _named(name: Any, names: Names, inside: tuple[str, ...]) -> pa.DataType:
    if name in _PRIMITIVE:
        return _PRIMITIVE[name]
    if name not in names:
        raise ArchiveError(f"the schema names type {name!r}, which it does not define")
    if str(name).rpartition(".")[2] in inside:
        raise ArchiveError(f"the schema's record {name!r} holds itself: such values are not read")
    return arrow_type(names[name], names, inside)


def _logical(definition: dict[str, Any]) -> pa.DataType | None:
    kind, logical = definition.get("type"), definition.get("logicalType")
    if logical == "decimal" and kind in ("bytes", "fixed"):
        digits = int(definition["precision"])
        return pa.decimal128(digits, int(definition.get("scale", 0))) if digits <= 38 else None
    if logical == "uuid" and kind == "string":
        return pa.string()
    return _LOGICAL.get((str(kind), str(logical)))
