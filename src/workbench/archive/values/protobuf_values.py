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

import base64
import json
from collections.abc import Callable, Sequence
from functools import cache
from operator import attrgetter
from typing import Any

import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from workbench.archive.values.avro.schema import TYPES
from workbench.archive.values.encoded import EncodedValues, Misfit
from workbench.archive.values.schemas import Schema
from workbench.errors import ArchiveError

Convert = Callable[[Any], Any]
_INFO = "__PARSING_INFO__"
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
_JSON = (f"{_KNOWN}Struct", f"{_KNOWN}Value", f"{_KNOWN}ListValue")
_TIMES = {
    f"{_KNOWN}Timestamp": pa.timestamp("ns", tz="UTC"),
    f"{_KNOWN}Duration": pa.duration("ns"),
}


class ProtobufValues:
    """Decodes messages into the columns `fields`, one for each field of the outermost message.

    A field that has presence (`optional`, of a `oneof`, a message, proto2) is null where it is not
    set; one without has its default. A Timestamp is a timestamp, a Duration a duration, a wrapper
    what it wraps; a Struct, and a message that holds itself, are text, in ProtoJSON.
    """

    def __init__(self, schemas: list[Schema], wanted: list[str] | None) -> None:
        self._class = _message_class(schemas[-1])
        by_name = {field.name: field for field in self._class.DESCRIPTOR.fields}
        self._parts = [by_name[name] for name in (by_name if wanted is None else wanted)]
        self.fields = [pa.field(part.name, _arrow_type(part)) for part in self._parts]
        getters = [_getter(part) for part in self._parts]
        self._getters = [(i, get) for i, get in enumerate(getters) if get is not None]
        # only these: to ask for a message that is not set makes one, and upb 4.23 crashes on some
        plain = [part.name for part, get in zip(self._parts, getters, strict=True) if get is None]
        self._fetch = _fetch(plain)

    def decode(self, encoded: EncodedValues, misfit: Misfit) -> list[pa.Array]:
        """Return one array per field; a null value is a row of nulls."""
        data, nulls = encoded.data.tobytes(), (None,) * len(self.fields)
        spans = zip(encoded.starts.tolist(), encoded.sizes.tolist(), strict=True)
        rows = [
            nulls if size < 0 else self._row(row, data[start : start + size], misfit)
            for row, (start, size) in enumerate(spans)
        ]
        columns = zip(*rows, strict=True) if rows else [() for _ in self.fields]
        return [
            pa.array(column, field.type) for column, field in zip(columns, self.fields, strict=True)
        ]

    def _row(self, row: int, raw: bytes, misfit: Misfit) -> Sequence[Any]:
        try:
            message = self._class.FromString(raw)
            values = self._fetch(message)
            if not self._getters:
                return values
            row_values = list(values)
            for i, get in self._getters:  # in ascending order, so that each finds its place
                row_values.insert(i, get(message))
        except (DecodeError, ValueError, OverflowError, RecursionError) as err:
            misfit(row, f"not {self._class.DESCRIPTOR.full_name}: {err}")
            return (None,) * len(self.fields)
        return row_values


def _fetch(names: list[str]) -> Callable[[Any], Sequence[Any]]:
    """Return what fetches the fields of some names out of a message, as a tuple."""
    get = attrgetter(*names) if names else lambda message: ()
    return (lambda message: (get(message),)) if len(names) == 1 else get


def _message_class(schema: Schema) -> type[Message]:
    """Return the class of a schema's outermost message.

    Raises
    ------
    ArchiveError
        If the schema brings no descriptors, they do not fit together, or unfold to more than
        TYPES types.
    """
    try:
        message: type[Message] = _classes(*_files(schema))[0]
    except (KeyError, TypeError, ValueError, DecodeError) as err:
        raise ArchiveError(
            f"the schema's descriptors cannot be used: {type(err).__name__}: {err}"
        ) from err
    if _unfolded(message.DESCRIPTOR, {}) > TYPES:
        raise ArchiveError(f"the schema unfolds to more than {TYPES} types")
    return message


def _unfolded(message: Descriptor, counts: dict[str, int]) -> int:
    """Return how many types a message unfolds to; one inside itself counts as one."""
    name = message.full_name
    if name not in counts:
        counts[name] = 1
        inner = [field.message_type for field in message.fields]
        counts[name] += sum(_unfolded(part, counts) if part is not None else 1 for part in inner)
    return counts[name]


@cache
def _classes(content: bytes, root: str) -> tuple[Any, ...]:
    """Return the classes of a message and of all it may hold, and the pool they are in.

    Kept for good: upb 4.23 frees a class with its last reference, and crashes when it needs it.
    """
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet.FromString(content).file
    waiting = {file.name: file for file in files}
    for name in list(waiting):
        _add(pool, waiting, name)
    messages = _messages(pool.FindMessageTypeByName(root))
    return (*map(message_factory.GetMessageClass, messages), pool)


def _messages(outermost: Descriptor) -> list[Descriptor]:
    """Return a message, first, and all that it may hold."""
    met: dict[str, Descriptor] = {}
    waiting = [outermost]
    while waiting:
        message = waiting.pop()
        if message.full_name not in met:
            met[message.full_name] = message
            waiting += [field.message_type for field in message.fields if field.message_type]
    return list(met.values())


def _add(pool: Any, waiting: dict[str, descriptor_pb2.FileDescriptorProto], name: str) -> None:
    """Add a file to the pool, after those that it imports."""
    file = waiting.pop(name, None)
    if file is None:
        return
    for imported in file.dependency:
        _add(pool, waiting, imported)
    pool.AddSerializedFile(file.SerializeToString())


def _files(schema: Schema) -> tuple[bytes, str]:
    """Return a schema's FileDescriptorSet, and the full name of its outermost message."""
    definition = schema.definition or {}
    if schema.type == "PROTOBUF_NATIVE":
        return base64.b64decode(definition["fileDescriptorSet"]), definition["rootMessageTypeName"]
    message = descriptor_pb2.DescriptorProto(name=definition["name"])
    for info in json.loads(schema.properties[_INFO]):
        kind = {"ENUM": "INT32", "MESSAGE": "BYTES", "GROUP": "BYTES"}.get(
            info["type"], info["type"]
        )
        message.field.add(
            name=info["name"],
            number=info["number"],
            type=f"TYPE_{kind}",
            label=info["label"],
        )
    file = descriptor_pb2.FileDescriptorProto(name="schema.proto", message_type=[message])
    files = descriptor_pb2.FileDescriptorSet(file=[file])
    return files.SerializeToString(), definition["name"]


def _is_json(message: Descriptor) -> bool:
    """Return whether messages of a type are text: of any content, or such that hold themselves."""
    return message.full_name in _JSON or _holds(message, message.full_name, set())


def _holds(message: Descriptor, name: str, met: set[str]) -> bool:
    """Return whether a message may hold one of a name, at any depth."""
    for inner in (field.message_type for field in message.fields if field.message_type):
        if inner.full_name == name:
            return True
        if inner.full_name not in met:
            met.add(inner.full_name)
            if _holds(inner, name, met):
                return True
    return False


def _is_repeated(field: FieldDescriptor) -> bool:
    known = getattr(field, "is_repeated", None)  # protobuf 6 warns of `label`, 4 has no other
    return bool(field.label == FieldDescriptor.LABEL_REPEATED if known is None else known)


def _entry(field: FieldDescriptor) -> tuple[FieldDescriptor, FieldDescriptor] | None:
    """Return the fields of key and value of a map, None where the field is none."""
    kind = field.message_type
    if kind is None or not kind.GetOptions().map_entry:
        return None
    return kind.fields_by_name["key"], kind.fields_by_name["value"]


def _arrow_type(field: FieldDescriptor) -> pa.DataType:
    entry = _entry(field)
    if entry is not None:
        return pa.map_(_single_type(entry[0]), _single_type(entry[1]))
    single = _single_type(field)
    return pa.list_(single) if _is_repeated(field) else single


def _single_type(field: FieldDescriptor) -> pa.DataType:
    if field.message_type is not None:
        return _message_type(field.message_type)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return pa.binary() if field.type == FieldDescriptor.TYPE_BYTES else pa.string()
    return _SCALARS[field.cpp_type]


def _message_type(message: Descriptor) -> pa.DataType:
    if message.full_name in _TIMES:
        return _TIMES[message.full_name]
    if message.full_name in _WRAPPERS:
        return _single_type(message.fields_by_name["value"])
    if _is_json(message):
        return pa.string()
    return pa.struct([pa.field(field.name, _arrow_type(field)) for field in message.fields])


def _getter(field: FieldDescriptor) -> Convert | None:
    """Return what gets a field out of a message, None where the value is as Arrow takes it."""
    name, entry = field.name, _entry(field)
    if entry is not None:
        convert = _converter(entry[1])
        return lambda message: [(k, convert(v)) for k, v in sorted(getattr(message, name).items())]
    convert = _converter(field)
    if _is_repeated(field):
        return lambda message: [convert(value) for value in getattr(message, name)]
    if field.has_presence:
        return lambda m: convert(getattr(m, name)) if m.HasField(name) else None
    return (lambda message: convert(getattr(message, name))) if field.enum_type else None


def _converter(field: FieldDescriptor) -> Convert:
    """Return what turns one value into what Arrow takes."""
    if field.enum_type is not None:
        names = {value.number: value.name for value in field.enum_type.values}
        return lambda number: names.get(number, str(number))
    message = field.message_type
    if message is None:
        return lambda value: value
    if message.full_name in _TIMES:
        return _nanoseconds
    if message.full_name in _WRAPPERS:
        return attrgetter("value")
    if _is_json(message):
        return _json_text
    parts = [(part.name, _getter(part) or attrgetter(part.name)) for part in message.fields]
    return lambda value: {name: get(value) for name, get in parts}


def _nanoseconds(value: Any) -> int:
    count: int = value.seconds * 10**9 + value.nanos
    if not -(1 << 63) <= count < 1 << 63:
        raise ValueError(f"{value.seconds} s, which nanoseconds of 64 bits cannot count")
    return count


def _json_text(value: Any) -> str:
    content = json_format.MessageToDict(value, preserving_proto_field_name=True)
    return json.dumps(content, ensure_ascii=False)
