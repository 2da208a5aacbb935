"""Send readings to a topic: from a CSV file, or from a frame.

Everything is checked before the first message leaves. One reading is one message: its key is
the sensor, its event time the reading's, its fields are named as the columns.
"""

from __future__ import annotations

import io
import json
import re
import time as clock
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pandas as pd
import pulsar
from _pulsar import SchemaType
from tqdm import tqdm

from workbench.errors import ServicesError, did_you_mean
from workbench.services.broker import connect, full_name
from workbench.services.csv_readings import read_csv

COMPRESSIONS = {
    "none": pulsar.CompressionType.NONE,
    "lz4": pulsar.CompressionType.LZ4,
    "zlib": pulsar.CompressionType.ZLib,
    "zstd": pulsar.CompressionType.ZSTD,
    "snappy": pulsar.CompressionType.SNAPPY,
}
SCHEMAS = ("json", "avro")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # Avro's rule for names
_PENDING = 5_000


@dataclass(frozen=True)
class Ingested:
    """What was sent: every reading was acknowledged by the broker."""

    topic: str
    readings: int
    seconds: float


def ingest(
    path: str | Path,
    topic: str,
    *,
    sensor: str | None = None,
    sensor_name: str | None = None,
    time: str,
    values: Sequence[str],
    schema: str = "json",
    compression: str = "zstd",
    rate: float | None = None,
) -> Ingested:
    """Send a CSV file to a topic, one message per line.

    Parameters
    ----------
    path
        With a header line. A reading may be empty (also `NaN`, `null`): it is sent as null.
    sensor
        The column that names the sensor; None if the file has none.
    sensor_name
        The sensor's name if there is no such column; the file's stem by default.
    time
        The column of event times: ISO 8601 (UTC unless it says otherwise), or an integer,
        seconds or milliseconds since 1970.
    values, schema, compression, rate
        As for `ingest_frame`.

    Raises
    ------
    ServicesError
        For a file that is not there or not CSV, a missing column, a time or reading that is
        none (with its line), and what `ingest_frame` raises; before anything is sent.
    """
    frame = read_csv(path, sensor=sensor, sensor_name=sensor_name, time=time, values=values)
    return ingest_frame(
        frame,
        topic,
        sensor=sensor or "sensor",
        time=time,
        values=values,
        schema=schema,
        compression=compression,
        rate=rate,
    )


def ingest_frame(
    frame: pd.DataFrame,
    topic: str,
    *,
    sensor: str,
    time: str,
    values: Sequence[str],
    schema: str = "json",
    compression: str = "zstd",
    rate: float | None = None,
    batch_messages: int = 1000,
) -> Ingested:
    """Send a frame to a topic, one message per row, and wait until all are acknowledged.

    Parameters
    ----------
    frame
        Columns `sensor` (text, the key), `time` (timestamps, or epoch ms) and `values`
        (numbers, NaN is sent as null), in the order in which to send.
    topic
        Full or short name; made by the broker if new.
    schema
        `json` (compact) or `avro`; fields are the sensor and the values, nullable doubles.
    compression
        Of a batch: one of `COMPRESSIONS`.
    rate
        Readings per second; None: as fast as the broker takes them.
    batch_messages
        At most so many readings become one entry.

    Raises
    ------
    ServicesError
        For a missing column, a name that cannot be a field, a reading that is not finite, a
        time before 1970, an unreachable broker, another schema on the topic, or readings that
        the broker did not take.
    """
    name = full_name(topic)
    if compression not in COMPRESSIONS:
        hint = did_you_mean(compression, COMPRESSIONS)
        raise ServicesError(f"no compression {compression!r}", hint=hint)
    keys, times_ms, columns = _checked(frame, sensor, time, values)
    definition = _definition(sensor, values)
    payloads = _encode(schema, definition, [keys, *columns])
    began = clock.monotonic()
    with connect() as client:
        batching = {
            "batching_max_messages": batch_messages,
            # a paced reading leaves at once; of the others full batches, however slow we are
            "batching_max_publish_delay_ms": 10 if rate else 1000,
        }
        producer = _producer(client, name, schema, definition, compression, batching)
        _send(producer, name, zip(keys, times_ms, payloads, strict=True), len(keys), rate)
    return Ingested(name, len(keys), clock.monotonic() - began)


def _checked(
    frame: pd.DataFrame, sensor: str, time: str, values: Sequence[str]
) -> tuple[list[str], list[int], list[list[float | None]]]:
    """Return keys, event times (epoch ms) and value columns, missing values as None."""
    for column in [sensor, time, *values]:
        if column not in frame:
            hint = did_you_mean(column, map(str, frame.columns))
            raise ServicesError(f"there is no column {column!r}", where="the frame", hint=hint)
    for column in [sensor, *values]:
        if not _FIELD.fullmatch(column):
            raise ServicesError(
                f"column {column!r} cannot be a field of a schema",
                hint="rename it: a letter or _, then letters, digits and _",
            )
    keys: list[Any] = frame[sensor].astype(str).tolist()
    return (
        keys,
        _epoch_ms(frame[time]).tolist(),
        [_nullable(frame[value]) for value in values],
    )


def _epoch_ms(times: pd.Series[Any]) -> pd.Series[int]:
    stamps = pd.to_datetime(times, utc=True, unit="ms" if times.dtype.kind in "iu" else None)
    bad = ~(stamps > pd.Timestamp(0, tz="UTC"))  # Pulsar cannot tell 0 from none
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ServicesError(f"{times.iloc[row]} is not a time after 1970", where=f"row {row}")
    return stamps.dt.as_unit("ms").astype("int64")


def _nullable(readings: pd.Series[float]) -> list[float | None]:
    numbers = readings.astype("float64")
    if np.isinf(numbers).any():
        row = int(np.flatnonzero(np.isinf(numbers))[0])
        raise ServicesError(f"{readings.name} is not finite", where=f"row {row}")
    filled: list[Any] = numbers.astype(object).where(numbers.notna(), None).tolist()
    return filled


def _definition(sensor: str, values: Sequence[str]) -> dict[str, Any]:
    fields: list[dict[str, Any]] = [{"name": sensor, "type": "string"}]
    fields += [{"name": value, "type": ["null", "double"], "default": None} for value in values]
    return {"type": "record", "name": "Reading", "fields": fields}


def _encode(schema: str, definition: dict[str, Any], columns: list[Any]) -> Iterator[bytes]:
    names = [field["name"] for field in definition["fields"]]
    rows = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
    if schema == "json":
        encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
        return (encode(row).encode() for row in rows)
    if schema == "avro":
        parsed = fastavro.parse_schema(definition)
        return (_avro(parsed, row) for row in rows)
    raise ServicesError(f"no schema {schema!r}", hint=did_you_mean(schema, SCHEMAS))


def _avro(schema: Any, row: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, row)
    return buffer.getvalue()


class _Encoded(pulsar.schema.Schema):  # type: ignore[misc]
    """A schema for payloads that are encoded already."""

    def __init__(self, schema: str, definition: dict[str, Any]) -> None:
        super().__init__(bytes, getattr(SchemaType, schema.upper()), definition, "Reading")

    def encode(self, obj: bytes) -> bytes:
        return obj


def _producer(
    client: pulsar.Client,
    topic: str,
    schema: str,
    definition: dict[str, Any],
    compression: str,
    batching: dict[str, int],
) -> pulsar.Producer:
    try:
        return client.create_producer(
            topic,
            schema=_Encoded(schema, definition),
            compression_type=COMPRESSIONS[compression],
            batching_enabled=True,
            **batching,
            max_pending_messages=_PENDING,
            block_if_queue_full=True,  # the default drops what does not fit
        )
    except pulsar.IncompatibleSchema as err:
        fields = ", ".join(field["name"] for field in definition["fields"])
        raise ServicesError(
            f"the topic has another schema than {schema} with the fields {fields}",
            where=topic,
            hint="send to another topic, or with the fields that it has",
        ) from err
    except pulsar.PulsarException as err:
        raise ServicesError(f"the broker takes no messages: {err}", where=topic) from err


def _send(
    producer: pulsar.Producer,
    topic: str,
    messages: Iterable[tuple[str, int, bytes]],
    count: int,
    rate: float | None,
) -> None:
    refusals: list[str] = []  # appended to from the client's threads

    def answered(result: object, _message_id: object) -> None:
        if result != pulsar.Result.Ok:
            refusals.append(str(result))

    bar = tqdm(total=count, desc=f"sending to {topic}", unit=" readings", disable=None)
    with bar:
        for sent, (key, time_ms, payload) in enumerate(_paced(messages, rate)):
            producer.send_async(payload, answered, partition_key=key, event_timestamp=time_ms)
            if sent % 1000 == 999:
                bar.update(1000)
                if refusals:
                    break
        _finish(producer, refusals)
        bar.update(count - bar.n if not refusals else 0)
    if refusals:
        raise ServicesError(
            f"the broker did not take {len(refusals)} of {count} readings: {refusals[0]}",
            where=topic,
            hint="what it took before stays: send the file again, or to a new topic",
        )


def _finish(producer: pulsar.Producer, refusals: list[str]) -> None:
    try:
        producer.flush()
        producer.close()
    except pulsar.PulsarException as err:
        refusals.append(str(err))


def _paced(messages: Iterable[Any], rate: float | None) -> Iterator[Any]:
    """Yield no faster than `rate` a second."""
    began = clock.monotonic()
    for number, message in enumerate(messages):
        if rate:
            clock.sleep(max(0.0, began + number / rate - clock.monotonic()))
        yield message
