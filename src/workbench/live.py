"""Read a topic from its broker, as the same columns that the archive gives.

The Python client hands over one object per message, so this is for the newest messages, that are
not offloaded yet: years of them are the archive's. The client cannot tell no key from an empty
one: both are null here.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pulsar
import pyarrow as pa

from workbench.archive.catalogue import split_partition
from workbench.archive.columns import TIME
from workbench.archive.rows import Rows
from workbench.archive.schemas import Schema, fetch_schemas, parse_schemas
from workbench.archive.values import decode_values, infer_schema, open_values
from workbench.endpoints import Endpoints, endpoints
from workbench.errors import ReplayError

_CONNECT_S = 3.0
_READ_MS = 30_000
_QUEUE = 20_000  # messages fetched ahead: fewer make the client slow

Position = tuple[int, int]  # ledger, entry


def read_live(
    topic: str, *, after: Mapping[int, Position], schemas: list[Schema]
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

    Returns
    -------
    table
        Decoded fields as a struct `fields`, then the columns of the message.

    Raises
    ------
    ReplayError
        If no broker is known, or it does not answer, or does not have the topic.
    """
    known = endpoints()
    with _client(known) as client:
        held: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        for part in _partitions(client, topic):
            partition = split_partition(part)[1]
            for message in _messages(client, part, after.get(partition)):
                _take(held, message, partition)
    if not schemas and known.admin:
        base = split_partition(topic)[0]
        stored = fetch_schemas(known.admin, [base], token=known.broker_token)
        schemas = parse_schemas(stored, where=known.admin).get(base, [])
    schemas = schemas or [infer_schema(one for one in held["value"] if one is not None)]
    return _table(held, schemas), schemas


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


def _take(held: dict[str, list[Any]], message: Any, partition: int) -> None:
    place = message.message_id()
    version = message.schema_version()
    values = (
        place.ledger_id(),
        place.entry_id(),
        partition,
        place.batch_index(),
        message.publish_timestamp(),
        message.event_timestamp() or None,
        message.partition_key() or None,
        int.from_bytes(version, "big", signed=True) if len(version) == 8 else -1,
        None if message.has_null_value() else message.data(),
    )
    for column, value in zip(held.values(), values, strict=True):
        column.append(value)


def _table(held: dict[str, list[Any]], schemas: list[Schema]) -> pa.Table:
    def misfit(i: int, what: str) -> None:
        place = ":".join(str(held[name][i]) for name in list(held)[:4])
        raise ReplayError(f"the value does not fit the schema: {what}", where=f"message {place}")

    sizes = np.array([-1 if one is None else len(one) for one in held["value"]], np.int64)
    ends = np.cumsum(np.maximum(sizes, 0))
    data = np.frombuffer(b"".join(one or b"" for one in held["value"]) + b"\0", np.uint8).copy()
    versions = np.array(held["version"], np.int64)
    rows = Rows(data, ends - np.maximum(sizes, 0), sizes, versions)
    values = open_values(schemas, None)
    fields = decode_values(values, rows, lambda: held["key"], misfit)
    arrays = [pa.array(held[name], kind) for name, kind in _COLUMNS.items()]
    struct = pa.StructArray.from_arrays(fields, fields=values.fields) if fields else None
    names = [*_COLUMNS]
    if struct is not None:
        names, arrays = ["fields", *names], [struct, *arrays]
    return pa.table(arrays, names=names)


@contextlib.contextmanager
def _client(known: Endpoints) -> Iterator[pulsar.Client]:
    if not known.broker:
        raise ReplayError(
            "no broker is known", hint="set WORKBENCH_BROKER, or workbench services up pulsar"
        )
    _check_listens(known.broker)
    token = pulsar.AuthenticationToken(known.broker_token) if known.broker_token else None
    quiet = pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull)  # errors are raised, too
    client = pulsar.Client(known.broker, authentication=token, logger=quiet)
    try:
        yield client
    except pulsar.PulsarException as err:
        raise ReplayError(f"the broker at {known.broker} refuses: {err}") from err
    finally:
        client.close()


def _check_listens(url: str) -> None:
    """Fail within seconds where the client would retry for half a minute."""
    for address in url.partition("://")[2].split(","):
        parts = urlsplit(f"//{address}")
        place = (parts.hostname or "", parts.port or 6650)
        with contextlib.suppress(OSError):
            socket.create_connection(place, timeout=_CONNECT_S).close()
            return
    raise ReplayError(f"no broker answers at {url}")


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
