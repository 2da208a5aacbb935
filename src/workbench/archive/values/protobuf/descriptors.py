"""The class of a topic's Protobuf messages, of the descriptors in its schema, counted first.

Source: apache/pulsar 4.0.8, ProtobufNativeSchemaUtils, ProtobufSchema; the limits are our own.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from functools import cache
from itertools import chain
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from workbench.archive.values.avro.schema import LEVELS, TYPES
from workbench.archive.values.schemas import Schema
from workbench.errors import ArchiveError

_INFO = "__PARSING_INFO__"
_SET_BYTES = 8 << 20  # of all descriptors: some hundred bytes are made of each
_PARTS = 100_000  # messages, fields, enums and their values, also of what is imported and not used
_CHARACTERS = 1000  # of a name: a message's stands in every misfit
_TEXT = 300  # of an error, which repeats what the schema says
_NO_KEYS = ("DOUBLE", "FLOAT", "GROUP", "MESSAGE", "BYTES", "ENUM")
_KEYS = {
    number
    for name, number in descriptor_pb2.FieldDescriptorProto.Type.items()
    if name.removeprefix("TYPE_") not in _NO_KEYS
}
_JSON = tuple(f"google.protobuf.{name}" for name in ("Struct", "Value", "ListValue"))

File = Any  # a FileDescriptorProto, whose package has no types


def message_classes(schema: Schema) -> tuple[type[Message], ...]:
    """Return the classes of a schema's outermost message, first, and of all that it may hold.

    Raises
    ------
    ArchiveError
        If the schema brings no descriptors, they do not fit together, or claim too much: the
        limits above, and those of any schema once the message is unfolded.
    """
    try:
        content, root = _files(schema)
        if len(content) > _SET_BYTES:
            raise ArchiveError(
                f"the schema has {len(content)} bytes of descriptors, expected at most {_SET_BYTES}"
            )
        _check_names([root])
        return _classes(content, root)[0]
    except RecursionError as err:
        raise _too_deep() from err
    except (KeyError, TypeError, ValueError, AttributeError, DecodeError) as err:
        text = f"{type(err).__name__}: {err}"[:_TEXT]
        raise ArchiveError(f"the schema's descriptors cannot be used: {text}") from err


@cache
def _classes(content: bytes, root: str) -> tuple[tuple[type[Message], ...], Any]:
    """Return the classes of a message and of all it may hold, and the pool they are in.

    Kept for good: upb 4.23 frees a class with its last reference, and crashes when it needs it.
    """
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet.FromString(content).file
    _check(files)
    waiting = {file.name: file for file in files}
    for name in list(waiting):
        _add(pool, waiting, name)
    outermost = pool.FindMessageTypeByName(root)
    if unfolded(outermost, {})[0] > TYPES:
        raise ArchiveError(f"the schema unfolds to more than {TYPES} types")
    held = _held(outermost)
    for message in held:
        _check_maps(message)
    return tuple(map(message_factory.GetMessageClass, held)), pool


def _check(files: Iterable[File]) -> None:
    """Count what is in files before a pool makes more of it, and drop what nothing here needs.

    Extensions go, so that a message has the fields of its own type alone.
    """
    waiting: list[Any] = list(files)
    left = _PARTS
    for part in waiting:  # grows on the way
        inner: Any = getattr(part, "message_type", ()) or getattr(part, "nested_type", ())
        lists = [part.enum_type, getattr(part, "field", ()), getattr(part, "oneof_decl", ())]
        lists += [inner, *(enum.value for enum in part.enum_type)]
        left -= sum(map(len, lists))
        if left < 0:
            raise ArchiveError(f"the schema has more than {_PARTS} messages, fields and symbols")
        _check_names(each.name for each in chain([part], *lists))
        part.ClearField("extension")
        if hasattr(part, "nested_type") and part.options.map_entry and not _is_entry(part):
            raise ArchiveError(f"the schema's map {part.name} has no key and value as maps have")
        waiting += inner
    for file in files:
        _check_names([file.package])
        file.ClearField("source_code_info")
        file.ClearField("service")


def _is_entry(message: Any) -> bool:
    """Return whether a map's entry is one: upb makes maps of any, and crashes on some."""
    single = FieldDescriptor.LABEL_OPTIONAL
    parts = [(part.name, part.number, part.label) for part in message.field]
    if parts != [("key", 1, single), ("value", 2, single)] or message.oneof_decl:
        return False
    key, value = message.field
    return key.type in _KEYS and value.type != FieldDescriptor.TYPE_GROUP


def _check_maps(message: Descriptor) -> None:
    """Raise where a field is a map's entry and is none of a map's."""
    for field in message.fields:
        kind = field.message_type
        is_map = field.type == FieldDescriptor.TYPE_MESSAGE and is_repeated(field)
        if kind is not None and kind.GetOptions().map_entry and not is_map:
            raise ArchiveError(f"the schema's {field.full_name} is an entry of a map, alone")


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if len(name) > _CHARACTERS:
            raise ArchiveError(
                f"the schema has a name of {len(name)} characters, expected at most {_CHARACTERS}"
            )


def _add(pool: Any, waiting: dict[str, File], name: str) -> None:
    """Add a file to the pool, after those that it imports."""
    path, begun = [name], set[str]()
    while path:
        file = waiting.get(path[-1])
        if file is not None and path[-1] not in begun:
            begun.add(path[-1])
            path += [each for each in file.dependency if each not in begun]
        elif (file := waiting.pop(path.pop(), None)) is not None:
            pool.AddSerializedFile(file.SerializeToString())


def unfolded(message: Descriptor, counts: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """Return how many types a message unfolds to, and how deep; one inside itself counts as one.

    Raises
    ------
    ArchiveError
        If it is deeper than values may be.
    """
    name = message.full_name
    if name not in counts:
        counts[name] = (1, 1)
        inner = [field.message_type for field in message.fields if field.message_type]
        parts = [unfolded(part, counts) for part in inner]
        types = 1 + len(message.fields) - len(inner) + sum(part[0] for part in parts)
        counts[name] = types, 1 + max((part[1] for part in parts), default=0)
    if counts[name][1] > LEVELS:
        raise _too_deep()
    return counts[name]


def _too_deep() -> ArchiveError:
    return ArchiveError(f"the schema is nested more than {LEVELS} levels deep")


def _held(outermost: Descriptor) -> list[Descriptor]:
    """Return a message, first, and all that it may hold."""
    met: dict[str, Descriptor] = {}
    waiting = [outermost]
    while waiting:
        message = waiting.pop()
        if message.full_name not in met:
            met[message.full_name] = message
            waiting += [field.message_type for field in message.fields if field.message_type]
    return list(met.values())


def is_repeated(field: FieldDescriptor) -> bool:
    """Return whether a field is a list, or a map."""
    by_name = getattr(field, "is_repeated", None)  # protobuf 6 warns of `label`, 4 has no other
    return bool(field.label == FieldDescriptor.LABEL_REPEATED if by_name is None else by_name)


def is_text(message: Descriptor) -> bool:
    """Return whether messages of a type are text: of any content, of none, or of themselves."""
    is_any = message.full_name in _JSON or not message.fields
    return is_any or _holds(message, message.full_name, set())


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
