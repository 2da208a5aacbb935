"""Send the readings of a frame to a topic.

Everything is checked before the first message leaves. One reading is one message: its key is
the sensor, its event time the reading's, its fields are named as the columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from workbench import kafka
from workbench.arrays import Floats, Ints
from workbench.broker import full_name
from workbench.errors import ServicesError, TimesError, did_you_mean
from workbench.services.ingestion.csv_lines import invisible, names_of
from workbench.services.ingestion.messages import Messages, record
from workbench.services.ingestion.names import FIELD
from workbench.services.ingestion.numerals import INEXACT, LARGEST, inexact
from workbench.services.ingestion.senders.kafka import send_to_kafka
from workbench.services.ingestion.senders.pulsar import COMPRESSIONS, send
from workbench.services.ingestion.tables import table_of_frame
from workbench.times import epoch_ms

_NUMBERS = ("floating", "integer", "mixed-integer-float", "decimal", "empty")
_MICROSECONDS = 10**14  # what has more digits is no time in ms before the year 5000
_LEAST_BATCH = 2  # of Pulsar's clients
_SECONDS = 10**10  # what has fewer digits is no time in ms of this century, and none before 1970


@dataclass(frozen=True)
class Ingested:
    """What was sent: every reading was acknowledged by the broker.

    Attributes
    ----------
    topic
        Its full name.
    readings
        Sent by this call.
    seconds
        How long it took.
    before
        Readings of the same that an earlier call had sent, which were not sent again.
    resumable
        Whether, had this one broken off, the next could have gone on.
    """

    topic: str
    readings: int
    seconds: float
    before: int = 0
    resumable: bool = False

    def __str__(self) -> str:
        text = f"{self.readings} readings to {self.topic} in {self.seconds:.1f} s"
        if not self.before:
            return text
        return f"{text}; {self.before} were there before, of the same readings"


def ingest_frame(
    frame: pd.DataFrame,
    topic: str,
    *,
    sensor: str,
    time: str,
    values: Sequence[str],
    labels: Mapping[str, str] | None = None,
    schema: str = "json",
    compression: str = "zstd",
    rate: float | None = None,
    batch_messages: int = 1000,
    again: bool = False,
) -> Ingested:
    """Send a frame to a topic, one message per row, and wait until all are acknowledged.

    Of 200,000 rows or more Pulsar's Java client does the sending, if there is a Java 17 or 21, the
    broker's address is `pulsar://` and the topic has no partitions. The messages are the same.

    Parameters
    ----------
    frame
        Columns `sensor` (text, the key), `time` (timestamps, or epoch ms) and `values`
        (numbers, NaN is sent as null), in the order in which to send.
    topic
        Full or short name; made by the broker if new. `kafka://NAME` is a topic of Kafka.
    labels
        What people call a field; it stands in the schema, as the field's `doc`.
    schema
        `json` (compact) or `avro`; fields are the sensor and the values, nullable doubles.
    compression
        Of a batch: one of `COMPRESSIONS`.
    rate
        Readings per second; None: as fast as the broker takes them.
    batch_messages
        At most so many readings become one entry, 2 or more.
    again
        Whether to send also what the same call has sent before it broke off. Else it goes on from
        there: for this, Pulsar's deduplication is on for the topic meanwhile, by which the broker
        remembers for six hours (its setting) how many of just these readings it has. A topic with
        partitions, and Kafka, remember nothing: there, all are sent.

    Raises
    ------
    ServicesError
        For a missing column, a name that cannot be a field, a reading that is not finite, a
        time before 1970 or a number that is none in ms, an unreachable broker, another schema on
        the topic, or readings that the broker did not take.
    """
    to_kafka = kafka.is_topic(topic)
    name = f"{kafka.SCHEME}{kafka.topic_name(topic)}" if to_kafka else full_name(topic)
    if compression not in COMPRESSIONS:
        hint = did_you_mean(compression, COMPRESSIONS)
        raise ServicesError(f"no compression {compression!r}", hint=hint)
    _check_pace(rate, batch_messages)
    _check_columns(frame, sensor, time, values)
    definition = record(sensor, values, labels or {})
    sensors, sensor_of = _sensors(frame, sensor)
    times_ms, columns = _event_ms(frame[time]), tuple(_doubles(frame[name]) for name in values)
    messages = Messages(sensors, sensor_of, times_ms, columns, schema, definition)
    if to_kafka:
        seconds = send_to_kafka(name, messages, compression=compression, rate=rate)
        return Ingested(name, len(messages), seconds)
    sent = send(
        name,
        messages,
        compression=compression,
        rate=rate,
        batch_messages=batch_messages,
        again=again,
    )
    return Ingested(name, len(messages) - sent.before, *sent)


def _check_pace(rate: float | None, batch_messages: int) -> None:
    """Refuse what the clients would refuse in words of their own, or wait for without end."""
    if not isinstance(batch_messages, int) or batch_messages < _LEAST_BATCH:
        hint = f"a whole number of {_LEAST_BATCH} or more"
        raise ServicesError(f"batch_messages is {batch_messages!r}", hint=hint)
    if rate is not None and not 0 < rate < np.inf:
        hint = "readings per second, or None: as fast as the broker takes them"
        raise ServicesError(f"rate is {rate!r}, expected more than 0", hint=hint)


def _check_columns(frame: pd.DataFrame, sensor: str, time: str, values: Sequence[str]) -> None:
    """Refuse what is not there, is asked for twice, or cannot be a field."""
    for column in [sensor, time, *values]:
        if column not in frame:
            hint = did_you_mean(column, map(str, frame.columns))
            raise ServicesError(f"there is no column {column!r}", where="the frame", hint=hint)
    if len({sensor, time, *values}) < 2 + len(values):
        names = ", ".join([sensor, time, *values])
        raise ServicesError(f"a column is asked for twice: {names}", where="the frame")
    for column in [sensor, *values]:
        if not FIELD.fullmatch(column):
            raise ServicesError(
                f"column {column!r} cannot be a field of a schema",
                hint="rename it: a letter or _, then letters, digits and _",
            )


def _sensors(frame: pd.DataFrame, name: str) -> tuple[tuple[str, ...], Ints]:
    """Return the names of sensors, and which each row has; they are as a file would say them."""
    texts = table_of_frame(frame[[name]].reset_index(drop=True), list).columns[name]
    for row, what in invisible(texts).items():
        raise ServicesError(f"{name}: {what}", where=f"row {row}")
    sensor_of, names = pd.factorize(names_of(texts))
    sensors = tuple(map(str, names))
    if "" in sensors:
        row = int((sensor_of == sensors.index("")).argmax())
        raise ServicesError(f"{name} names no sensor", where=f"row {row}")
    return sensors, sensor_of.astype(np.int64)


def _event_ms(times: pd.Series[Any]) -> Ints:
    """Return event times; Pulsar cannot tell 0 from none, and seconds are no milliseconds."""
    try:
        event_ms = epoch_ms(times)
    except TimesError as err:
        raise ServicesError(err.message, where=err.where, hint=err.hint) from err
    number = pd.api.types.infer_dtype(times, skipna=False) == "integer"
    bad = event_ms < (_SECONDS if number else 1)
    bad |= number & (event_ms >= _MICROSECONDS)
    if bad.any():
        row = int(bad.argmax())
        what = "a time in ms since 1970" if number else "a time after 1970"
        raise ServicesError(f"{times.iloc[row]} is not {what}", where=f"row {row}")
    return event_ms


def _doubles(readings: pd.Series[float]) -> Floats:
    kind = pd.api.types.infer_dtype(readings, skipna=True)
    if kind not in _NUMBERS:
        raise ServicesError(f"{readings.name} holds {kind} values, expected numbers")
    numbers: Floats = readings.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(numbers).any():
        row = int(np.flatnonzero(np.isinf(numbers))[0])
        raise ServicesError(f"{readings.name} is not finite", where=f"row {row}")
    if kind not in ("floating", "empty"):
        rows = np.flatnonzero(np.abs(numbers) >= LARGEST)
        texts = pa.array([str(readings.iloc[row]) for row in rows], pa.string())
        for row in rows[inexact(texts, numbers[rows])]:
            raise ServicesError(f"{readings.iloc[row]} {INEXACT}", where=f"row {row}")
    return numbers
