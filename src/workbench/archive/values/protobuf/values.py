"""Decode Protocol Buffers by the descriptors in a topic's schema, with the `protobuf` library.

PROTOBUF_NATIVE brings a FileDescriptorSet. PROTOBUF has an Avro schema made for other readers, and
beside it `__PARSING_INFO__`, numbers and types of the fields, of the outermost message alone: its
messages in fields stay bytes, its enums are numbers. Every version is decoded by the newest one's
descriptors: field numbers are what stays the same.

Measured on one core, 100,000 readings of a sensor, a time and a double: 0.32 million a second by
the library's C (upb), parsed and fetched by name; no compiled path of our own.

Source: apache/pulsar 4.0.8, ProtobufNativeSchemaUtils, ProtobufSchema; protobuf.dev, "Field
Presence", "ProtoJSON Format" for the well-known types.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from operator import attrgetter
from typing import Any

import pyarrow as pa
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from workbench.archive.values.avro.arrow_types import WHOLE
from workbench.archive.values.claims import arrays_by_runs
from workbench.archive.values.encoded import EncodedValues, Misfit
from workbench.archive.values.protobuf.budget import layout, look
from workbench.archive.values.protobuf.descriptors import is_repeated, is_text, message_classes
from workbench.archive.values.schemas import Schema
from workbench.errors import ArchiveWarning

Convert = Callable[[Any], Any]
_SCALARS = {
    FieldDescriptor.CPPTYPE_INT32: pa.int32(),
    FieldDescriptor.CPPTYPE_INT64: pa.int64(),
    FieldDescriptor.CPPTYPE_UINT32: pa.uint32(),
    FieldDescriptor.CPPTYPE_UINT64: pa.uint64(),
    FieldDescriptor.CPPTYPE_DOUBLE: pa.float64(),
    FieldDescriptor.CPPTYPE_FLOAT: pa.float32(),
    FieldDescriptor.CPPTYPE_BOOL: pa.bool_(),
    FieldDescriptor.CPPTYPE_ENUM: pa.string(),
}
_KNOWN = "google.protobuf."
_WRAPPERS = tuple(
    f"{_KNOWN}{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
_TIMES = {
    f"{_KNOWN}Timestamp": pa.timestamp("ns", tz="UTC"),
    f"{_KNOWN}Duration": pa.duration("ns"),
}

_NO_PRESENCE = (
    "a schema of type PROTOBUF does not say which fields have presence: what a message does not "
    "carry is null, and where it was written by proto3 it was 0, false or empty"
)


class ProtobufValues:
    """Decodes messages into the columns `fields`, one for each field of the outermost message.

    A field that has presence (`optional`, of a `oneof`, a message, proto2) is null where it is not
    set; one without has its default. A Timestamp is a timestamp, a Duration a duration, a wrapper
    what it wraps; a Struct, and a message that holds itself, are text, in ProtoJSON.
    """

    def __init__(self, schemas: list[Schema], wanted: list[str] | None) -> None:
        classes = message_classes(schemas[-1])
        if schemas[-1].type == "PROTOBUF":
            warnings.warn(_NO_PRESENCE, ArchiveWarning, stacklevel=2)
        self._class = classes[0]
        self._layout = layout([each.DESCRIPTOR for each in classes])
        by_name = {field.name: field for field in self._class.DESCRIPTOR.fields}
        parts = [by_name[name] for name in (by_name if wanted is None else wanted) if by_name]
        self.fields = [pa.field(part.name, _arrow_type(part)) for part in parts]
        getters = [_getter(part) for part in parts]
        if not by_name:  # or its rows could not be counted
            self.fields, getters = [pa.field(WHOLE, pa.string())], [_json_text]
        self._getters = [(i, get) for i, get in enumerate(getters) if get is not None]
        # only these: to ask for a message that is not set makes one, and upb 4.23 crashes on some
        plain = [part.name for part, get in zip(parts, getters, strict=False) if get is None]
        self._fetch = _fetch(plain)

    def decode(self, encoded: EncodedValues, misfit: Misfit) -> list[pa.Array]:
        """Return one array per field; a null value is a row of nulls."""
        used, wrong = look(encoded.data, encoded.starts, encoded.sizes, self._layout)
        data = encoded.data.tobytes()
        spans = list(zip(encoded.starts.tolist(), encoded.sizes.tolist(), strict=True))

        def build(rows: range) -> list[Sequence[Any]]:
            some = zip(rows, spans[rows.start : rows.stop], strict=True)
            return [
                self._row(row, data[start : start + max(size, 0)], size, wrong, misfit)
                for row, (start, size) in some
            ]

        return arrays_by_runs(used, build, self.fields)

    def _row(
        self, row: int, raw: bytes, size: int, wrong: dict[int, str], misfit: Misfit
    ) -> Sequence[Any]:
        nulls = (None,) * len(self.fields)
        if size < 0:
            return nulls
        if row in wrong:
            misfit(row, f"not {self._class.DESCRIPTOR.full_name}: {wrong[row]}")
            return nulls
        try:
            message = self._class.FromString(raw)
            values = self._fetch(message)
            if not self._getters:
                return values
            row_values = list(values)
            for i, get in self._getters:  # in ascending order, so that each finds its place
                row_values.insert(i, get(message))
        except Exception as err:  # the library raises what it meets
            misfit(row, f"not {self._class.DESCRIPTOR.full_name}: {_said(err)}")
            return nulls
        return row_values


def _said(err: Exception) -> str:
    return str(err) if isinstance(err, ValueError) else f"{type(err).__name__} {err}"


def _fetch(names: list[str]) -> Callable[[Any], Sequence[Any]]:
    """Return what fetches the fields of some names out of a message, as a tuple."""
    get = attrgetter(*names) if names else lambda message: ()
    return (lambda message: (get(message),)) if len(names) == 1 else get


def _entry(field: FieldDescriptor) -> tuple[FieldDescriptor, FieldDescriptor] | None:
    """Return the fields of key and value of a map, None where the field is none."""
    kind = field.message_type
    if kind is None or not is_repeated(field) or not kind.GetOptions().map_entry:
        return None
    return kind.fields_by_name["key"], kind.fields_by_name["value"]


def _arrow_type(field: FieldDescriptor) -> pa.DataType:
    entry = _entry(field)
    if entry is not None:
        return pa.map_(_single_type(entry[0]), _single_type(entry[1]))
    single = _single_type(field)
    return pa.list_(single) if is_repeated(field) else single


def _single_type(field: FieldDescriptor) -> pa.DataType:
    if field.message_type is not None:
        return _message_type(field.message_type)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return pa.binary() if field.type == FieldDescriptor.TYPE_BYTES else pa.string()
    return _SCALARS[field.cpp_type]


def _message_type(message: Descriptor) -> pa.DataType:
    if _is_time(message):
        return _TIMES[message.full_name]
    if _is_wrapper(message):
        return _single_type(message.fields_by_name["value"])
    if is_text(message):
        return pa.string()
    return pa.struct([pa.field(field.name, _arrow_type(field)) for field in message.fields])


def _is_time(message: Descriptor) -> bool:
    """Return whether a message is the library's Timestamp or Duration: by name and by fields."""
    parts = [(part.name, part.cpp_type, is_repeated(part)) for part in message.fields]
    kinds = FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_INT32
    is_its_own = parts == [("seconds", kinds[0], False), ("nanos", kinds[1], False)]
    return message.full_name in _TIMES and is_its_own


def _is_wrapper(message: Descriptor) -> bool:
    """Return whether a message is one of the library's wrappers: by name and by field."""
    if message.full_name not in _WRAPPERS or [part.name for part in message.fields] != ["value"]:
        return False
    (value,) = message.fields
    return value.message_type is None and value.enum_type is None and not is_repeated(value)


def _getter(field: FieldDescriptor) -> Convert | None:
    """Return what gets a field out of a message, None where the value is as Arrow takes it."""
    name, entry = field.name, _entry(field)
    if entry is not None:
        convert = _converter(entry[1])
        return lambda message: [(k, convert(v)) for k, v in sorted(getattr(message, name).items())]
    convert = _converter(field)
    if is_repeated(field):
        return lambda message: [convert(value) for value in getattr(message, name)]
    if field.has_presence:
        return lambda m: convert(getattr(m, name)) if m.HasField(name) else None
    return (lambda message: convert(getattr(message, name))) if field.enum_type else None


def _converter(field: FieldDescriptor) -> Convert:
    """Return what turns one value into what Arrow takes."""
    if field.enum_type is not None:
        names = _symbols(field.enum_type)
        return lambda number: names.get(number, str(number))
    message = field.message_type
    if message is None:
        return lambda value: value
    if _is_time(message):
        return _nanoseconds
    if _is_wrapper(message):
        return attrgetter("value")
    if is_text(message):
        return _json_text
    parts = [(part.name, _getter(part) or attrgetter(part.name)) for part in message.fields]
    return lambda value: {name: get(value) for name, get in parts}


@cache
def _symbols(kind: EnumDescriptor) -> dict[int, str]:
    """Return the names of an enum's numbers; of several the first, as Java has it."""
    return {value.number: value.name for value in reversed(list(kind.values))}


def _nanoseconds(value: Any) -> int:
    count: int = value.seconds * 10**9 + value.nanos
    if not -(1 << 63) <= count < 1 << 63:
        raise ValueError(f"{value.seconds} s, which nanoseconds of 64 bits cannot count")
    return count


def _json_text(value: Any) -> str:
    content = json_format.MessageToDict(value, preserving_proto_field_name=True)
    return json.dumps(content, ensure_ascii=False)
