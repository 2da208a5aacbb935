"""Turn messages into the decoded fields of a topic, by the newest of its schemas."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from workbench.archive import batches as b
from workbench.archive import messages as msg
from workbench.archive.avro_types import record_fields
from workbench.archive.avro_values import AvroValues
from workbench.archive.catalogue import split_partition
from workbench.archive.json_values import JsonValues
from workbench.archive.primitives import KeyValue, Primitive, decode_keys, split_inline
from workbench.archive.reading import Messages
from workbench.archive.rows import Misfit, Rows, rows_of
from workbench.archive.schemas import Schema
from workbench.errors import ArchiveError, did_you_mean

if TYPE_CHECKING:
    from workbench.archive.topic import Topic

SAMPLE = 1000  # messages looked at where JSON has no schema


class Values(Protocol):
    """Decodes the values of messages into `fields`."""

    fields: list[pa.Field]

    def decode(self, rows: Rows, misfit: Misfit) -> list[pa.Array]:
        """Return one array per field; a null value is a row of nulls."""


@dataclass
class Misfits:
    """What to do about a value that does not fit its schema.

    Attributes
    ----------
    messages
        Whose rows are meant.
    topic
        Where they are noted.
    """

    messages: Messages
    topic: Topic

    def __call__(self, row: int, what: str) -> None:
        """Raise, or note the row where misfits are kept as nulls."""
        error = ArchiveError(
            f"the value does not fit the schema: {what}",
            where=msg.message_id(self.messages, row),
            hint='misfits="null" keeps such a message as nulls',
        )
        if self.topic.misfits == "error":
            raise error
        self.topic.damage.found.append(error)


@dataclass(frozen=True)
class Decoder:
    """Builds the columns of `Topic.read`.

    Attributes
    ----------
    topic
        Whose messages.
    values
        Decodes the fields that are asked for, and no other.
    columns
        Output name to a field's position (int) or a column of `messages` (str).
    """

    topic: Topic
    values: Values | KeyValue
    columns: dict[str, int | str]

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
            rows_of(messages),
            lambda: msg.column(messages, "key").to_pylist(),
            Misfits(messages, self.topic),
        )
        arrays = [
            fields[source] if isinstance(source, int) else msg.column(messages, source)
            for source in self.columns.values()
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def decoder(topic: Topic, columns: list[str] | None) -> Decoder:
    """Return what decodes `columns` of `topic`.

    Raises
    ------
    ArchiveError
        If there is no such column, or the schema is of a kind that is not read.
    """
    schemas = schemas_of(topic)
    fields = [field.name for field in open_values(schemas, None).fields]
    chosen = {name: _column(name, fields) for name in columns or []}
    wanted = [name for name, source in chosen.items() if source is None]
    if not wanted:
        wanted = fields
        chosen = {**dict.fromkeys(fields), **chosen}
    positions = {name: i for i, name in enumerate(wanted)}
    sources = {n: positions[n] if source is None else source for n, source in chosen.items()}
    return Decoder(topic, open_values(schemas, wanted), sources)


def _column(name: str, fields: list[str]) -> str | None:
    """Return the column of `messages` that `name` asks for, or None where it is a field."""
    if name in fields:
        return None
    plain = name[2:-2] if name.startswith("__") and name.endswith("__") else name
    if plain in msg.SCHEMA.names:
        return plain
    raise ArchiveError(f"no column {name!r}", hint=did_you_mean(name, [*fields, *msg.SCHEMA.names]))


def schemas_of(topic: Topic) -> list[Schema]:
    """Return the topic's schemas, ascending; inferred from its messages where none is known."""
    known = topic.archive.schemas.get(split_partition(topic.name)[0])
    if known:
        return known
    if topic.inferred is None:
        topic.inferred = infer_schema(_sample(topic))
    return [topic.inferred]


def open_values(schemas: list[Schema], wanted: list[str] | None) -> Values | KeyValue:
    """Return what decodes the fields `wanted` (None: all) by the newest of `schemas`."""
    newest = schemas[-1]
    if newest.type == "JSON":
        fields = record_fields(newest.definition)
        by_name = {field.name: field for field in fields}
        return JsonValues(fields if wanted is None else [by_name[name] for name in wanted])
    if newest.type == "AVRO":
        same = [one for one in schemas if one.type == "AVRO"]
        return AvroValues(same, wanted)
    if newest.type == "KEY_VALUE":
        return _key_value([one for one in schemas if one.type == "KEY_VALUE"], wanted)
    return Primitive(newest)


def _key_value(schemas: list[Schema], wanted: list[str] | None) -> KeyValue:
    key = open_values([_part(one, "key") for one in schemas], None)
    value = open_values([_part(one, "value") for one in schemas], None)
    named = [one.with_name(_key_name(one.name, key)) for one in key.fields]
    separated = schemas[-1].properties.get("kv.encoding.type") == "SEPARATED"
    fields = [*named, *value.fields]
    order = [one.name for one in fields]
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
    return Schema(schema.version, kind, definition if isinstance(definition, dict) else None)


def decode_values(
    values: Values | KeyValue,
    rows: Rows,
    keys: Callable[[], list[str | None]],
    misfit: Misfit,
) -> list[pa.Array]:
    """Return one array per field; `keys` gives the messages' keys, where values need them."""
    if not isinstance(values, KeyValue):
        return values.decode(rows, misfit)
    if values.separated:
        return values.decode_pair(decode_keys(keys(), rows, misfit), rows, misfit)
    return values.decode_pair(*split_inline(rows, misfit), misfit)


def infer_schema(found: Iterable[bytes]) -> Schema:
    """Return a JSON schema that fits all values, or BYTES where one is no JSON object."""
    merged: dict[str, str] = {}
    for raw in found:
        try:
            value = json.loads(raw)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            return Schema(0, "BYTES")
        for name, one in value.items():
            merged[name] = _wider(merged.get(name), _kind(one))
    if not merged:
        return Schema(0, "BYTES")
    fields = [{"name": name, "type": ["null", kind]} for name, kind in merged.items()]
    return Schema(0, "JSON", {"type": "record", "name": "Inferred", "fields": fields})


def _sample(topic: Topic) -> Iterator[bytes]:
    """Yield values of the first and the last ledger."""
    from workbench.archive.reading import Damage, read_messages

    for ledger in {one.id: one for one in (topic.ledgers[0], topic.ledgers[-1])}.values():
        left = SAMPLE
        for entries in topic.entries([ledger], topic.delivery()):
            messages = read_messages(entries, Damage(True))
            sizes = messages.table[b.VALUE_SIZE]
            kept = np.flatnonzero(sizes >= 0)[:left]
            for start, size in zip(messages.table[b.VALUE][kept], sizes[kept], strict=True):
                yield entries_bytes(messages, int(start), int(size))
            left -= len(kept)
            if left <= 0:
                break


def entries_bytes(messages: Messages, start: int, size: int) -> bytes:
    """Return a value's bytes."""
    return messages.entries.data[start : start + size].tobytes()


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "long" if -(1 << 63) <= value < 1 << 63 else "double"
    return "double" if isinstance(value, float) else "string"


def _wider(known: str | None, kind: str) -> str:
    if known in (None, "null", kind):
        return kind
    if kind == "null":
        return str(known)
    return "double" if {known, kind} == {"long", "double"} else "string"
