"""Turn messages into Arrow columns: the names, types and order of `Topic.messages`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from workbench.archive import batches as b
from workbench.archive import entries as e
from workbench.archive.catalogue import split_partition
from workbench.archive.columns import TIME, Ints, binary, mapping, numbers
from workbench.archive.reading import Messages
from workbench.errors import ArchiveError

SCHEMA = pa.schema(
    [
        pa.field("ledger_id", pa.int64(), nullable=False),
        pa.field("entry_id", pa.int64(), nullable=False),
        pa.field("batch_index", pa.int32(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("publish_time", TIME, nullable=False),
        pa.field("event_time", TIME),
        pa.field("key", pa.string()),
        pa.field("ordering_key", pa.binary()),
        pa.field("properties", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("producer", pa.string(), nullable=False),
        pa.field("sequence_id", pa.int64(), nullable=False),
        pa.field("schema_version", pa.binary()),
        pa.field("value", pa.binary()),
    ]
)


def times(messages: Messages, by: str) -> Ints:
    """Return the time of every message, ms since 1970: `publish_time`, or `event_time`.

    A message without event time has its publish time.
    """
    published: Ints = messages.entries.rows[:, e.PUBLISH_MS][messages.table[b.ROW]]
    if by == "publish_time":
        return published
    events = messages.table[b.EVENT_MS]
    return np.where(events > 0, events, published)


def within(messages: Messages, by: str, start: int | None, stop: int | None) -> Messages:
    """Return the messages whose time lies in [start, stop), ms since 1970."""
    if start is None and stop is None:
        return messages
    at = times(messages, by)
    kept = np.ones(len(at), bool)
    if start is not None:
        kept &= at >= start
    if stop is not None:
        kept &= at < stop
    if kept.all():
        return messages
    return Messages(messages.entries, np.ascontiguousarray(messages.table[:, kept]))


def message_id(messages: Messages, m: int) -> str:
    """Return `ledger:entry:partition:batch index` of message `m`, and its topic."""
    ledger = messages.entries.ledger
    entry = messages.entries.rows[messages.table[b.ROW, m], e.ENTRY]
    _, partition = split_partition(ledger.topic)
    return f"{ledger.topic}, message {ledger.id}:{entry}:{partition}:{messages.table[b.INDEX, m]}"


def column(messages: Messages, name: str) -> pa.Array:
    """Return one column of SCHEMA."""
    return _COLUMNS[name](messages)


def record_batch(messages: Messages, names: list[str] | None = None) -> pa.RecordBatch:
    """Return the columns `names` of SCHEMA, or all."""
    schema = SCHEMA if names is None else pa.schema([SCHEMA.field(name) for name in names])
    return pa.RecordBatch.from_arrays([column(messages, n) for n in schema.names], schema=schema)


def _of_entry(index: int) -> Callable[[Messages], Ints]:
    return lambda messages: messages.entries.rows[:, index][messages.table[b.ROW]]


def _ledger(messages: Messages) -> pa.Array:
    count = messages.table.shape[1]
    return numbers(np.full(count, messages.entries.ledger.id, np.int64), pa.int64())


def _partition(messages: Messages) -> pa.Array:
    _, partition = split_partition(messages.entries.ledger.topic)
    return numbers(np.full(messages.table.shape[1], partition, np.int32), pa.int32())


def _event_time(messages: Messages) -> pa.Array:
    events: Ints = messages.table[b.EVENT_MS]
    return numbers(events, TIME, events > 0)


def _bytes(start: int, size: int, *, text: bool) -> Callable[[Messages], pa.Array]:
    def build(messages: Messages) -> pa.Array:
        table = messages.table
        return binary(messages.entries.data, table[start], table[size], text=text)

    return build


def _entry_bytes(start: int, size: int, *, text: bool) -> Callable[[Messages], pa.Array]:
    def build(messages: Messages) -> pa.Array:
        rows, of = messages.entries.rows, messages.table[b.ROW]
        return binary(messages.entries.data, rows[:, start][of], rows[:, size][of], text=text)

    return build


def _integers(
    values: Callable[[Messages], NDArray[np.int64]], kind: pa.DataType
) -> Callable[[Messages], pa.Array]:
    return lambda messages: numbers(values(messages), kind)


def _properties(messages: Messages) -> pa.Array:
    counts = messages.table[b.PROPERTIES]
    found = np.empty((4, int(counts.sum())), np.int64)
    filled = b.find_properties(messages.entries.data, messages.table, 4, 1, found)
    if filled < 0:
        raise ArchiveError(
            "the message's properties are not protobuf, or are cut short",
            where=message_id(messages, -1 - filled),
        )
    data = messages.entries.data
    keys = binary(data, found[0], found[1], text=True)
    return mapping(counts, keys, binary(data, found[2], found[3], text=True))


_COLUMNS: dict[str, Callable[[Messages], pa.Array]] = {
    "ledger_id": _ledger,
    "entry_id": _integers(_of_entry(e.ENTRY), pa.int64()),
    "batch_index": lambda m: numbers(m.table[b.INDEX].astype(np.int32), pa.int32()),
    "partition": _partition,
    "publish_time": _integers(_of_entry(e.PUBLISH_MS), TIME),
    "event_time": _event_time,
    "key": _bytes(b.KEY, b.KEY_SIZE, text=True),
    "ordering_key": _bytes(b.ORDERING, b.ORDERING_SIZE, text=False),
    "properties": _properties,
    "producer": _entry_bytes(e.PRODUCER, e.PRODUCER_SIZE, text=True),
    "sequence_id": lambda m: numbers(m.table[b.SEQUENCE], pa.int64()),
    "schema_version": _entry_bytes(e.SCHEMA, e.SCHEMA_SIZE, text=False),
    "value": _bytes(b.VALUE, b.VALUE_SIZE, text=False),
}
