"""Read a topic from its broker, as the same columns that the archive gives.

The Python client hands over one object per message, so this is for the newest messages, that are
not offloaded yet: years of them are the archive's. The client cannot tell no key from an empty
one: both are null here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pulsar
import pyarrow as pa

from workbench import broker
from workbench.archive import (
    TIME,
    UNITS,
    EncodedValues,
    Schema,
    decode_values,
    fetch_schemas,
    infer_schema,
    open_values,
    parse_schemas,
    split_partition,
    unit_needed,
)
from workbench.endpoints import endpoints
from workbench.errors import ReplayError

_READ_MS = 30_000
_QUEUE = 20_000  # messages fetched ahead: fewer make the client slow

Position = tuple[int, int]  # ledger, entry


def read_live(
    topic: str,
    *,
    after: Mapping[int, Position],
    schemas: list[Schema],
    inferred: Schema | None = None,
) -> tuple[pa.Table, list[Schema]]:
    """Return what the broker holds of a topic, and the schemas it was decoded by.

    Parameters
    ----------
    topic
        Full name.
    after
        Partition (-1: not partitioned) to the last entry that is not wanted.
    schemas
        Known ones; where empty, the broker's, or what its values show.
    inferred
        What the values in the archive show, where no schema is known of these.

    Returns
    -------
    table
        Decoded fields as a struct `fields`, then the columns of the message.

    Raises
    ------
    ServicesError
        If no broker is known, or it does not answer.
    ReplayError
        If it does not have the topic.
    """
    with _client() as client:
        columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        for part in _partitions(client, topic):
            partition = split_partition(part)[1]
            for message in _messages(client, part, after.get(partition)):
                _take(columns, message, partition)
    admin = endpoints().admin
    if not schemas and inferred is None and admin:
        base = split_partition(topic)[0]
        stored = fetch_schemas(admin, [base], token=endpoints().broker_token)
        schemas = parse_schemas(stored, where=admin).get(base, [])
    values = (value for value in columns["value"] if value is not None)
    schemas = schemas or [infer_schema(values, inferred)]

    def misfit(row: int, what: str) -> None:
        place = ":".join(str(columns[name][row]) for name in list(columns)[:4])
        raise ReplayError(f"the value does not fit the schema: {what}", where=f"message {place}")

    rows = replace(encoded(columns), where=f"{topic}, as the broker has it")
    return decoded(columns, rows, schemas, _COLUMNS, misfit), schemas


_COLUMNS = {
    "ledger_id": pa.int64(),
    "entry_id": pa.int64(),
    "partition": pa.int32(),
    "batch_index": pa.int32(),
    "publish_time": TIME,
    "event_time": TIME,
    "key": pa.string(),
    "version": pa.int64(),
    "value": pa.binary(),
}


def _take(columns: dict[str, list[Any]], message: Any, partition: int) -> None:
    place = message.message_id()
    values = (
        place.ledger_id(),
        place.entry_id(),
        partition,
        place.batch_index(),
        message.publish_timestamp(),
        message.event_timestamp() or None,
        message.partition_key() or None,
        message._message.int_schema_version(),  # schema_version() is text: not of all 8 bytes
        None if message.has_null_value() else message.data(),
    )
    for column, value in zip(columns.values(), values, strict=True):
        column.append(value)


def encoded(columns: Mapping[str, list[Any]]) -> EncodedValues:
    """Return the values of messages as they are, one behind the other.

    Parameters
    ----------
    columns
        `version`, `value` among them, a list each.
    """
    sizes = np.array([-1 if value is None else len(value) for value in columns["value"]], np.int64)
    ends = np.cumsum(np.maximum(sizes, 0))
    data = np.frombuffer(
        b"".join(value or b"" for value in columns["value"]) + b"\0", np.uint8
    ).copy()
    versions = np.array(columns["version"], np.int64)
    return EncodedValues(data, ends - np.maximum(sizes, 0), sizes, versions)


def decoded(
    columns: Mapping[str, list[Any]],
    rows: EncodedValues,
    schemas: list[Schema],
    kinds: Mapping[str, pa.DataType],
    misfit: Callable[[int, str], None],
) -> pa.Table:
    """Return messages with their values decoded: a struct `fields`, then the columns themselves.

    Parameters
    ----------
    columns
        `key` among them, a list each.
    rows
        Their values.
    schemas
        Of the values, by `version`.
    kinds
        Type of each column.
    misfit
        Called with a row and a reason where a value does not fit its schema: it is nulls then.
    """
    unit = UNITS[unit_needed(open_values(schemas, None), rows, lambda: columns["key"])]
    values = open_values(schemas, None, unit)
    fields = decode_values(values, rows, lambda: columns["key"], misfit)
    arrays = [pa.array(columns[name], kind) for name, kind in kinds.items()]
    struct = pa.StructArray.from_arrays(fields, fields=values.fields) if fields else None
    names = [*kinds]
    if struct is not None:
        names, arrays = ["fields", *names], [struct, *arrays]
    return pa.table(arrays, names=names)


@contextlib.contextmanager
def _client() -> Iterator[pulsar.Client]:
    with broker.connect() as client:
        try:
            yield client
        except pulsar.PulsarException as err:
            raise ReplayError(f"the broker refuses: {err}", where=endpoints().broker) from err


def _partitions(client: pulsar.Client, topic: str) -> list[str]:
    parts: list[str] = client.get_topic_partitions(topic)
    return sorted(parts, key=lambda part: split_partition(part)[1])


def _messages(client: pulsar.Client, topic: str, after: Position | None) -> Iterator[Any]:
    start = pulsar.MessageId.earliest
    if after is not None:
        start = pulsar.MessageId(split_partition(topic)[1], *after, -1)
    reader = client.create_reader(topic, start, receiver_queue_size=_QUEUE)
    try:
        while reader.has_message_available():
            message = reader.read_next(timeout_millis=_READ_MS)
            place = message.message_id()
            if after is None or (place.ledger_id(), place.entry_id()) > after:
                yield message
    finally:
        reader.close()
