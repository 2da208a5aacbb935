"""Readings of a stream out of its archive, and the messages that they were made of.

The frame is what a notebook sees; the messages are the bytes on the topic, which the job reads by
its own parser. What does not fit its schema is a row of nulls, as it is a message refused there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from workbench import kafka
from workbench.archive import STOP_MS, Archive, Topic
from workbench.arrays import Bools, Ints, Objects
from workbench.detectors import source_partitions
from workbench.errors import StreamError
from workbench.history import KafkaRecords, open_archive, read_records, replay
from workbench.stream.definition.stream_file import KEY_FIELD, Stream
from workbench.stream.flink_sql.tables import reading_fields
from workbench.stream.frames import FIRST_MS, LAST_MS, arrived, key_names, names, partitions
from workbench.stream.span.pieces import Piece
from workbench.times import epoch_ms, instant_ms

Origin: TypeAlias = Archive | KafkaRecords
"""What holds the history of a stream."""

_ID = ("ledger_id", "entry_id", "partition", "batch_index")
_TIMES = ("event_time", "publish_time")
_JSON = "the job reads JSON, so nothing can be proven of other readings"
_RECORD = "record: NAME in the stream file, of the record of Avro that is a reading"
_READABLE = ("JSON", "STRING", "BYTES")


def readable(stream: Stream, archive: str | Origin | None) -> Origin:
    """Return what holds a stream's history: an archive, or of a topic of Kafka its records.

    A value that does not fit its schema is null in it, not an error. Kafka's records are read here,
    once: what comes or is deleted later is not seen.

    Raises
    ------
    StreamError
        If an archive is named for a topic of Kafka, or most of its records are JSON where the
        stream reads Avro, or Avro where it reads JSON.
    """
    if isinstance(archive, KafkaRecords):
        return archive
    if kafka.is_topic(stream.topic):
        if archive:
            raise StreamError(
                f"stream {stream.name} is on Kafka: {stream.topic}, which no archive holds",
                hint="name none: its history is what Kafka has",
            )
        return _checked(stream, read_records(stream.topic, reading=reading_fields(stream)))
    opened = open_archive(archive)
    return replace(opened, access=replace(opened.access, misfits="null"))


def readings(
    stream: Stream,
    archive: Origin,
    start: str | None = None,
    stop: str | None = None,
) -> pd.DataFrame:
    """Return the readings of a stream's history as the job takes them, else as `replay`.

    Sensors by name, and `event_time` by the rule of docs/design.md, D10; [start, stop) is of that
    time. Where it comes from a field, all readings are read to know which they are. What the stream
    refused as ahead before the first reading of [start, stop) came is not among them.

    Raises
    ------
    StreamError
        If the field that holds the time holds no numbers.
    """
    named = list(filter(None, [stream.event_time]))
    columns = [*dict.fromkeys([*stream.fields, *named])]
    if isinstance(archive, KafkaRecords):
        archive.warn(start)
        timed = _of_records(stream, archive, columns)
        return _cut(stream, timed, archive.manifest, start, stop)
    if not named:
        whole = replay(stream.topic, start, stop, archive=archive, columns=columns)
        frame = prepared(stream, _unquoted(whole), None)
        if start is None or not arrived(stream, frame).late.any():
            return frame  # as most: the first to come made no clock that the others are late by
        published = frame["publish_time"]
        bounds = str(published.min()), str(published.max() + pd.Timedelta(milliseconds=1))
        beside = replay(stream.topic, *bounds, archive=archive, columns=columns, by="publish_time")
        return _without_strays(stream, frame, prepared(stream, _unquoted(beside), None))
    whole = replay(stream.topic, archive=archive, columns=columns)
    times = whole[stream.event_time], _set_ms(archive, stream.topic)
    timed = _timed(stream, _unquoted(whole), *times)
    return _cut(stream, timed, whole.attrs["manifest"], start, stop)


def _of_records(stream: Stream, records: KafkaRecords, columns: list[str]) -> pd.DataFrame:
    """Return all readings of a topic of Kafka, a record's timestamp as its time of publishing."""
    frame = _unquoted(records.frame(columns))
    frame = frame.assign(publish_time=frame["event_time"])
    if stream.keyed:
        frame = frame.assign(**{KEY_FIELD: _keyed(records)})
    if not stream.event_time:
        return prepared(stream, frame, None)
    return _timed(stream, frame, frame[stream.event_time], np.zeros(len(frame), np.int64))


def _cut(
    stream: Stream,
    timed: pd.DataFrame,
    manifest: Mapping[str, Any],
    start: str | None,
    stop: str | None,
) -> pd.DataFrame:
    frame = _within(timed, start, stop)
    if start is not None:
        frame = _without_strays(stream, frame, timed)
    frame.attrs["manifest"] = {**manifest, "start": start, "stop": stop}
    return frame


def _without_strays(stream: Stream, span: pd.DataFrame, beside: pd.DataFrame) -> pd.DataFrame:
    """Return a span without what came before its first reading, of clocks that were ahead then.

    A cut by event time has such readings first in their partition. They would make its clock, and
    all others late.

    Parameters
    ----------
    beside
        All readings that came between the first and the last of the span, of any event time.
    """
    refused = beside["message_id"][arrived(stream, beside).ahead]
    ahead = span["message_id"].isin(refused).to_numpy()
    if not ahead.any():
        return span
    partitions = source_partitions(span)
    codes = np.zeros(len(span), np.int64) if partitions is None else partitions
    rows = np.arange(len(span))
    first = pd.Series(rows[~ahead]).groupby(codes[~ahead]).min()
    strays = ahead & (rows < first.reindex(codes, fill_value=len(span)).to_numpy())
    return span[~strays].reset_index(drop=True)


def _unquoted(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a replayed frame whose times are the messages', whatever its fields are called."""
    quoted = {f"__{name}__": name for name in _TIMES if f"__{name}__" in frame}
    return frame.drop(columns=[*quoted.values()], errors="ignore").rename(columns=quoted)


def _set_ms(archive: Archive, topic: str) -> Ints:
    """Return the event time that each message carries itself, epoch ms; 0 where it has none."""
    opened = archive.topic(topic)
    name = "__event_time__" if "event_time" in opened.fields() else "event_time"
    carried = opened.read(columns=[name])[name].cast(pa.int64())
    carried_ms: Ints = pc.fill_null(carried, 0).to_numpy()
    return carried_ms


def _within(frame: pd.DataFrame, start: str | None, stop: str | None) -> pd.DataFrame:
    times_ms = epoch_ms(frame["event_time"])
    kept = np.ones(len(frame), bool)
    for bound_ms, within in ((instant_ms(start), np.greater_equal), (instant_ms(stop), np.less)):
        if bound_ms is not None:
            kept &= within(times_ms, bound_ms)
    return frame[kept].reset_index(drop=True)


def newest(frame: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the readings that were published last, in their order.

    (The end of a frame is that of its last partition; this is the end of each: a time that a
    producer of Kafka set may go back.)
    """
    published = pd.Series(_published_ms(frame))
    latest = published.groupby(partitions(frame)).cummax().to_numpy()
    kept = np.sort(np.argsort(latest, kind="stable")[-count:])
    return frame.iloc[kept].reset_index(drop=True)


def messages(stream: Stream, archive: Origin, frame: pd.DataFrame) -> pa.Table:
    """Return the messages of a frame's readings, row by row, as `message_file.write` takes them.

    Raises
    ------
    StreamError
        If the topic holds no JSON, or one of the messages is not in the stream's history.
    """
    if isinstance(archive, KafkaRecords):
        whole = _records(stream, archive)
    else:
        whole = _archived(archive.topic(stream.topic), _published_ms(frame))
    ids = whole["message_id"]
    rows = pd.Index(ids.to_pandas()).get_indexer(pd.Index(frame["message_id"]))
    if (rows < 0).any():
        gone, place = frame["message_id"][rows < 0].iloc[0], "archive"
        if isinstance(archive, KafkaRecords):
            place = "topic, as Kafka had it"
        raise StreamError(f"message {gone} of the frame is not in the {place}", where=stream.topic)
    return whole.take(rows)


def _checked(stream: Stream, records: KafkaRecords) -> KafkaRecords:
    """Return the records of a topic, unless most are of the other format: dead letters all."""
    is_named = records.table["version"].to_numpy() >= 0
    is_value = records.table["value"].is_valid().to_numpy()
    others = (~is_named if stream.record else is_named) & is_value
    if 2 * others.sum() > is_value.sum():
        wrong, wanted = ("no Avro", "Avro") if stream.record else ("Avro", "JSON")
        raise StreamError(
            f"{others.sum()} of {is_value.sum()} readings are {wrong}, the stream reads {wanted}",
            where=records.topic,
            hint="leave record out" if stream.record else _RECORD,
        )
    return records


def _keyed(records: KafkaRecords) -> Objects:
    """Return the sensor of each record by its key, (n,); None: none, or the value is no reading."""
    table, senders = records.table, key_names(records.table["key_bytes"])
    misfit = pc.is_in(table["message_id"], pa.array(records.misfits, pa.string()))
    is_value = pc.greater(pc.fill_null(pc.binary_length(table["value"]), 0), 0)
    senders[~pc.and_not(is_value, misfit).to_numpy()] = None
    return senders


def _records(stream: Stream, records: KafkaRecords) -> pa.Table:
    """Return Kafka's records as messages: none has an event time beside its timestamp.

    Where the key names the sensor, with `key`, its bytes, and `sensor`, null where there is none.
    """
    table = records.table
    keyed: dict[str, Any] = {}
    if stream.keyed:
        keyed = {"key": table["key_bytes"], "sensor": pa.array(_keyed(records), pa.string())}
    return pa.table(
        {
            "message_id": table["message_id"],
            "partition": table["partition"],
            "event_ms": np.zeros(table.num_rows, np.int64),
            "publish_ms": table["event_time"].cast(pa.int64()),
            "value": table["value"],
            **keyed,
        }
    )


def checked(topic: Topic) -> Topic:
    """Return a topic of an archive whose readings are JSON.

    Raises
    ------
    StreamError
        If they are not.
    """
    kind = topic.schemas()[-1].type
    if kind not in _READABLE:
        raise StreamError(
            f"the readings are {kind}, expected JSON",
            where=topic.name,
            hint=_JSON,
        )
    return topic


def of_piece(stream: Stream, piece: Piece) -> pd.DataFrame:
    """Return the readings of a piece as `readings` has them, of whatever time they are."""
    frame = piece.frame
    if not stream.event_time:
        return prepared(stream, _unquoted(frame), None)
    set_ms = piece.messages["event_ms"].to_numpy()
    return _timed(stream, _unquoted(frame), frame[stream.event_time], set_ms)


def _archived(topic: Topic, published_ms: Ints) -> pa.Table:
    """Return the archive's messages of a span of times of publishing."""
    checked(topic)
    first, last = int(published_ms.min()), int(published_ms.max())
    table = topic.messages(first, last + 1, by="publish_time")
    return pa.table(
        {
            "message_id": pc.binary_join_element_wise(
                *(pc.cast(table[part], pa.string()) for part in _ID), ":"
            ),
            "partition": table["partition"],
            "event_ms": pc.fill_null(table["event_time"].cast(pa.int64()), 0),
            "publish_ms": table["publish_time"].cast(pa.int64()),
            "value": table["value"],
        }
    )


def prepared(stream: Stream, frame: pd.DataFrame, originals: pa.Table | None) -> pd.DataFrame:
    """Return readings as the stream takes them: sensors by name, and time by the rule.

    Parameters
    ----------
    frame
        What `replay` or `readings` made of the topic, or a frame from elsewhere.
    originals
        Its messages, row by row; None: its times stay as they are.
    """
    if stream.keyed:
        frame = _with_key(frame, originals)
    if originals is None or not stream.event_time or _is_time(frame[stream.event_time]):
        return frame.assign(**{stream.sensor: _named(stream, frame)})
    return _timed(stream, frame, frame[stream.event_time], originals["event_ms"].to_numpy())


def _with_key(frame: pd.DataFrame, originals: pa.Table | None) -> pd.DataFrame:
    """Return readings with the sensor that their key names, in a column of the name `__key__`."""
    if originals is not None:
        return frame.assign(**{KEY_FIELD: originals["sensor"].to_pandas().to_numpy(dtype=object)})
    if KEY_FIELD in frame:  # as `replay` has it where a field is called `key`
        return frame
    if "key" not in frame:
        raise StreamError(f"the readings have no column {KEY_FIELD!r}, nor 'key'")
    return frame.assign(**{KEY_FIELD: frame["key"]})


def _is_time(values: pd.Series) -> bool:
    return bool(values.dtype.kind == "M")


def _published_ms(frame: pd.DataFrame) -> Ints:
    """Return when readings were published; of a record of Kafka there is its timestamp alone."""
    return epoch_ms(frame["publish_time"].fillna(frame["event_time"]))


def _named(stream: Stream, frame: pd.DataFrame) -> pd.Series:
    return pd.Series(names(frame[stream.sensor]), index=frame.index, dtype=object)


def _timed(stream: Stream, frame: pd.DataFrame, named: pd.Series, set_ms: Ints) -> pd.DataFrame:
    """Return readings with the time of the message, else of the named field, else of publishing.

    One whose field holds no whole number is none, and refused as it is by the job's parser.
    """
    if named.dtype.kind not in "iuf":
        raise StreamError(
            f"field {stream.event_time} holds {named.dtype}, expected epoch milliseconds"
        )
    values = named.to_numpy(dtype=np.float64, na_value=np.nan)
    there = np.isfinite(values)
    broken: Bools = there & ((values % 1 != 0) | (np.abs(values) >= 2.0**63))
    usable = there & (values >= FIRST_MS) & (values <= LAST_MS)
    published = _published_ms(frame)
    otherwise = np.where(usable, np.where(usable, values, 0).astype(np.int64), published)
    sensors = _named(stream, frame).where(~broken, None)
    times = time_column(np.where(set_ms > 0, set_ms, otherwise), frame.index)
    return frame.assign(**{stream.sensor: sensors, "event_time": times})


def time_column(times_ms: Ints, index: pd.Index) -> pd.Series:
    """Return times in milliseconds where nanoseconds do not reach, else as `replay` gives them."""
    reach = not len(times_ms) or bool((np.abs(times_ms) < STOP_MS).all())
    stamps = times_ms.astype("datetime64[ms]").astype("M8[ns]" if reach else "M8[ms]")
    return pd.Series(stamps, index=index).dt.tz_localize("UTC")


def believed(stream: Stream, archive: Origin) -> tuple[Ints, Objects]:
    """Return time, epoch ms, and sensor, each (n,), of a stream's readings that it would believe.

    Raises
    ------
    StreamError
        If the archive has no readings of it.
    """
    frame = readings(replace(stream, channels=(), derived={}, machine=""), archive)
    frame = frame[frame[stream.sensor].notna()].reset_index(drop=True)
    if not len(frame):
        raise StreamError(f"the archive has no readings of {stream.topic}")
    taken = ~arrived(stream, frame).ahead
    times_ms: Ints = epoch_ms(frame["event_time"])[taken]
    return times_ms, frame[stream.sensor].to_numpy(dtype=object)[taken]


def last_ms(stream: Stream, archive: Origin) -> int:
    """Return the newest time of `believed`; its errors are those of that."""
    return int(believed(stream, archive)[0].max())


__all__ = [
    "believed",
    "checked",
    "last_ms",
    "messages",
    "newest",
    "of_piece",
    "prepared",
    "readable",
    "readings",
    "time_column",
]
