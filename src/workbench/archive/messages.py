"""Turn messages into Arrow columns: the names, types and order of `Topic.messages`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from workbench.archive.format import entries as e
from workbench.archive.format import payloads as p
from workbench.archive.format.columns import TIME, binary, mapping, numbers
from workbench.archive.format.index import split_partition
from workbench.archive.ledgers import Messages
from workbench.arrays import Bools, Ints
from workbench.errors import ArchiveError

STOP_MS = 9_223_372_036_854  # 2262-04-11, where a count of nanoseconds ends

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
    published: Ints = messages.entries.heads[:, e.PUBLISH_MS][messages.table[p.ROW]]
    if by == "publish_time":
        return published
    events = messages.table[p.EVENT_MS]
    return np.where(events > 0, events, published)


def impossible(messages: Messages) -> Ints:
    """Return which messages have an event time that cannot be: negative, or from 2262 on.

    It is not in milliseconds, or no time at all. Such a message is a row all the same: with its
    event time where that is positive, else with its publish time, as one without event time.
    """
    events = messages.table[p.EVENT_MS]
    return np.flatnonzero((events < 0) | (events >= STOP_MS))


def within(messages: Messages, by: str, start: int | None, stop: int | None) -> Messages:
    """Return the messages whose time lies in [start, stop), ms since 1970."""
    if start is None and stop is None:
        return messages
    times_ms = times(messages, by)
    kept = np.ones(len(times_ms), bool)
    if start is not None:
        kept &= times_ms >= start
    if stop is not None:
        kept &= times_ms < stop
    return chosen(messages, kept)


def chosen(messages: Messages, kept: Bools) -> Messages:
    """Return the messages that are kept."""
    if kept.all():
        return messages
    return Messages(messages.entries, np.ascontiguousarray(messages.table[:, kept]))


def message_id(messages: Messages, m: int) -> str:
    """Return `ledger:entry:partition:batch index` of message `m`, and its topic."""
    ledger = messages.entries.ledger
    entry = messages.entries.heads[messages.table[p.ROW, m], e.ENTRY]
    _, partition = split_partition(ledger.topic)
    return f"{ledger.topic}, message {ledger.id}:{entry}:{partition}:{messages.table[p.INDEX, m]}"


def column(messages: Messages, name: str) -> pa.Array:
    """Return one column of SCHEMA."""
    return _COLUMNS[name](messages)


def record_batch(messages: Messages, names: list[str] | None = None) -> pa.RecordBatch:
    """Return the columns `names` of SCHEMA, or all."""
    schema = SCHEMA if names is None else pa.schema([SCHEMA.field(name) for name in names])
    return pa.RecordBatch.from_arrays([column(messages, n) for n in schema.names], schema=schema)


def _of_entry(index: int) -> Callable[[Messages], Ints]:
    return lambda messages: messages.entries.heads[:, index][messages.table[p.ROW]]


def _ledger(messages: Messages) -> pa.Array:
    count = messages.table.shape[1]
    return numbers(np.full(count, messages.entries.ledger.id, np.int64), pa.int64())


def _partition(messages: Messages) -> pa.Array:
    _, partition = split_partition(messages.entries.ledger.topic)
    return numbers(np.full(messages.table.shape[1], partition, np.int32), pa.int32())


def _event_time(messages: Messages) -> pa.Array:
    events: Ints = messages.table[p.EVENT_MS]
    return numbers(events, TIME, events > 0)


def _bytes(start: int, size: int, *, text: bool) -> Callable[[Messages], pa.Array]:
    def build(messages: Messages) -> pa.Array:
        table = messages.table
        return binary(messages.entries.data, table[start], table[size], text=text)

    return build


def _entry_bytes(start: int, size: int, *, text: bool) -> Callable[[Messages], pa.Array]:
    def build(messages: Messages) -> pa.Array:
        rows, of = messages.entries.heads, messages.table[p.ROW]
        return binary(messages.entries.data, rows[:, start][of], rows[:, size][of], text=text)

    return build


def _integers(
    values: Callable[[Messages], Ints], kind: pa.DataType
) -> Callable[[Messages], pa.Array]:
    return lambda messages: numbers(values(messages), kind)


def _properties(messages: Messages) -> pa.Array:
    counts = messages.table[p.PROPERTIES]
    places = np.empty((4, int(counts.sum())), np.int64)
    filled = p.find_properties(messages.entries.data, messages.table, 4, 1, places)
    if filled < 0:
        raise ArchiveError(
            "the message's properties are not protobuf, or are cut short",
            where=f"{message_id(messages, -1 - filled)}, in {messages.entries.ledger.key}",
        )
    data = messages.entries.data
    keys = binary(data, places[0], places[1], text=True)
    return mapping(counts, keys, binary(data, places[2], places[3], text=True))


_COLUMNS: dict[str, Callable[[Messages], pa.Array]] = {
    "ledger_id": _ledger,
    "entry_id": _integers(_of_entry(e.ENTRY), pa.int64()),
    "batch_index": lambda m: numbers(m.table[p.INDEX].astype(np.int32), pa.int32()),
    "partition": _partition,
    "publish_time": _integers(_of_entry(e.PUBLISH_MS), TIME),
    "event_time": _event_time,
    "key": _bytes(p.KEY, p.KEY_SIZE, text=True),
    "ordering_key": _bytes(p.ORDERING, p.ORDERING_SIZE, text=False),
    "properties": _properties,
    "producer": _entry_bytes(e.PRODUCER, e.PRODUCER_SIZE, text=True),
    "sequence_id": lambda m: numbers(m.table[p.SEQUENCE], pa.int64()),
    "schema_version": _entry_bytes(e.SCHEMA, e.SCHEMA_SIZE, text=False),
    "value": _bytes(p.VALUE, p.VALUE_SIZE, text=False),
}
