"""Read a span of a topic of Kafka, as the same columns that the archive gives.

Kafka has one time of a record: its producer's, or the broker's where the topic is set so. Its index
says where the first record at or after a time stands, so a span begins there. A producer's times
may go back at any record behind, so a span ends with the topic, unless the times are the broker's.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from workbench import kafka
from workbench.archive import TIME, to_frame
from workbench.errors import ArchiveWarning, ReplayError, did_you_mean
from workbench.history.kafka_newest import begin_of_newest
from workbench.history.kafka_readings import ReadingFields, decode_readings
from workbench.history.kafka_values import decode_records
from workbench.times import instant_ms, iso

_BATCH = 10_000
_FEW = 16  # records at a time where nothing is known of their size
_ANSWER_S = 30.0
_PATIENCE_S = 1.0  # for a batch to be full: at a topic's end it never is
KINDS = {
    "partition": pa.int32(),
    "offset": pa.int64(),
    "event_time": TIME,
    "key": pa.string(),
    "version": pa.int64(),
    "value": pa.binary(),
    "publish_time": TIME,
}
_ADDED = ("event_time", "publish_time", "key", "partition", "offset")


@dataclass(frozen=True, eq=False)
class KafkaRecords:
    """What Kafka had of a topic, or of a span of it, when it was read.

    Attributes
    ----------
    topic
        `kafka://NAME`.
    table
        By partition and offset: `fields`, a struct of what the values hold, then `partition`,
        `offset`, `event_time`, `key`, `version`, `value`, `publish_time`, `message_id`. Where they
        were read for a stream whose sensor the key names, `key_bytes`, too.
    manifest
        The span, the offsets read, and for each partition what Kafka still has.
    misfits
        Ids of the records that are no readings as the others are: their fields are null.
    remark
        What is to be said besides: of these, and of fields that no column has.
    """

    topic: str
    table: pa.Table
    manifest: Mapping[str, Any]
    misfits: tuple[str, ...]
    remark: str = ""

    def frame(self, columns: list[str] | None = None) -> pd.DataFrame:
        """Return fields, `event_time`, `publish_time`, `key` and `message_id`, as `replay` does.

        Raises
        ------
        ReplayError
            If there is no such column.
        """
        shown = _columns(self.table, columns)
        frame = to_frame(shown.append_column("message_id", self.table["message_id"]))
        frame.attrs["manifest"] = dict(self.manifest)
        return frame

    def with_fields(self, kinds: pa.StructType | None) -> KafkaRecords:
        """Return the records with nulls for fields of a topic that none of them has."""
        names = [] if is_undecoded(self.table) else _names(self.table)
        new = [field for field in kinds or () if field.name not in names]
        if not new:
            return self
        old = self.table["fields"].combine_chunks() if names else None
        arrays = [pc.struct_field(old, [place]) for place in range(len(names))]
        arrays += [pa.nulls(self.table.num_rows, field.type) for field in new]
        fields = pa.StructArray.from_arrays(arrays, [*names, *(field.name for field in new)])
        others = [name for name in self.table.column_names if name != "fields"]
        table = pa.table({"fields": fields} | {name: self.table[name] for name in others})
        if names:
            return replace(self, table=table)
        ids = table["message_id"].filter(pc.is_valid(table["value"])).to_pylist()
        return replace(self, table=table, misfits=tuple(ids))  # none is as the others of the topic

    def line(self) -> str:
        """Return how much was read, in a line."""
        parts = self.manifest["partitions"].values()
        count = sum(part["offsets"][1] - part["offsets"][0] for part in parts)
        size = sum(part["bytes"] for part in parts)
        return f"{count:,} records of {self.topic}, {size:,} bytes, {self.table.num_rows:,} in span"

    def warn(self, start: str | None) -> None:
        """Say what Kafka has deleted behind a start, and which records are rows of nulls."""
        _warn_of_deleted(self.manifest, instant_ms(start))
        if self.misfits:
            schemas, record = self.manifest["schemas"], self.manifest["record"]
            kinds = "neither Avro nor JSON objects" if schemas else "no JSON objects"
            kinds = f"no Avro of {record}" if record else kinds
            also = f"; {self.remark}" if self.remark else ""
            warnings.warn(
                f"{len(self.misfits)} of {self.table.num_rows} records of {self.topic} are {kinds} "
                f"as the others are, and rows of nulls; the first is "
                f"{self.misfits[0]}{also}",
                ArchiveWarning,
                stacklevel=4,
            )
        elif self.remark:
            warnings.warn(f"of {self.topic}: {self.remark}", ArchiveWarning, stacklevel=4)


def read_records(
    topic: str,
    start: str | None = None,
    stop: str | None = None,
    *,
    reading: ReadingFields | None = None,
    newest: int | None = None,
    newest_bytes: int = sys.maxsize,
) -> KafkaRecords:
    """Return the records of a topic with a timestamp in [start, stop), by partition and offset.

    `publish_time` is null where the time is the producer's.

    Parameters
    ----------
    reading
        What a stream takes of them; None: all that their values hold.
    newest
        How many of each partition are read at most, from its end; None: all.
    newest_bytes
        So many bytes of them at most, each partition having an equal part; but one record of each.

    Raises
    ------
    ServicesError
        If Kafka does not answer, or has no such topic.
    ReplayError
        If Kafka deletes or withholds records while they are read, or for what `decode_records`
        raises, or `decode_readings`.
    """
    name = kafka.topic_name(topic)
    start_ms, stop_ms = instant_ms(start), instant_ms(stop)
    kinds = KINDS | ({"key_bytes": pa.binary()} if reading and reading.keyed else {})
    records: dict[str, list[Any]] = {column: [] for column in kinds}
    parts: dict[str, dict[str, Any]] = {}
    bounds = kafka.bounds(topic)
    for number, (first, end) in bounds.items():
        part = _Part(name, number, first, end, start_ms, stop_ms)
        if newest is not None:
            part.begin = part.begin_of(newest, newest_bytes // len(bounds))
        part.read(records)
        parts[str(number)] = part.manifest()
    places = zip(records["partition"], records["offset"], strict=True)
    ids = [f"{name}-{partition}:{offset}" for partition, offset in places]
    full_name = f"{kafka.SCHEME}{name}"
    if reading is None:
        values = decode_records(records, KINDS, topic=full_name)
    else:
        values = decode_readings(records, kinds, reading, topic=full_name)
    manifest = {
        "topic": full_name,
        "source": "kafka",
        "start": start or None,
        "stop": stop or None,
        "by": "event_time",
        "messages": len(ids),
        "misfits": len(values.misfits),
        "schemas": list(values.schemas),
        "remark": values.remark,
        "record": reading.record if reading else "",
        "partitions": parts,
    }
    table = values.table.append_column("message_id", pa.array(ids, pa.string()))
    misfits = tuple(ids[row] for row in values.misfits)
    return KafkaRecords(full_name, table, manifest, misfits, values.remark)


def read_kafka(
    topic: str, start: str | None, stop: str | None, columns: list[str] | None
) -> pd.DataFrame:
    """Return a frame of the records of a topic with a timestamp in [start, stop).

    What Kafka has deleted of the span, and which records are no JSON objects, is told by warnings
    and in the manifest. Errors are those of `read_records` and `KafkaRecords.frame`.
    """
    records = read_records(topic, start, stop)
    frame = records.frame(columns)
    records.warn(start)
    return frame


class _Part:
    """One partition, and what was read of it."""

    def __init__(
        self, name: str, number: int, first: int, end: int,
        start_ms: int | None, stop_ms: int | None,
    ) -> None:  # fmt: skip
        self.name, self.number, self.first, self.end = name, number, first, end
        self.start_ms, self.stop_ms = start_ms, stop_ms
        self.begin, self.next, self.messages, self.bytes = first, first, 0, 0
        self.earliest_ms: int | None = None
        self.most_bytes, self.batch = sys.maxsize, _BATCH

    def begin_of(self, newest: int, most_bytes: int) -> int:
        """Return where its newest records begin, at most so many, and of so many bytes."""
        least = max(self.first, self.end - newest)
        with kafka.connect(auto_offset_reset="error", enable_partition_eof=True) as consumer:
            size = partial(self._bytes, consumer, most_bytes)
            return begin_of_newest(least, self.end, most_bytes, size)

    def _bytes(self, consumer: Any, most_bytes: int, begin: int, end: int) -> int:
        """Return the bytes of the values of [begin, end), counted until they are too many."""
        from confluent_kafka import TopicPartition

        part = _Part(self.name, self.number, begin, end, None, None)
        part.most_bytes, part.batch = most_bytes, _FEW
        consumer.assign([TopicPartition(self.name, self.number, begin)])
        part._consume(consumer, end, {})
        return part.bytes

    def read(self, records: dict[str, list[Any]]) -> None:
        """Add its records within the span to the columns."""
        if self.first == self.end:
            return
        from confluent_kafka import TopicPartition

        # what Kafka deletes meanwhile is an error, not a place further on
        with kafka.connect(auto_offset_reset="error", enable_partition_eof=True) as consumer:
            if self.start_ms is not None:
                asked = [TopicPartition(self.name, self.number, max(self.start_ms, 0))]
                (at,) = consumer.offsets_for_times(asked, timeout=_ANSWER_S)
                since = at.offset if at.offset >= 0 else self.end  # none is that new
                self.begin = max(self.begin, since)
            behind = self._first_behind(consumer)
            self.earliest_ms = self._earliest(consumer)
            self.next = self.begin
            if self.begin < self.end:
                consumer.assign([TopicPartition(self.name, self.number, self.begin)])
                self._consume(consumer, behind, records)

    def _first_behind(self, consumer: Any) -> int:
        """Return the first offset with a time at or after the stop."""
        from confluent_kafka import TopicPartition

        if self.stop_ms is None:
            return self.end
        asked = [TopicPartition(self.name, self.number, max(self.stop_ms, 0))]
        (at,) = consumer.offsets_for_times(asked, timeout=_ANSWER_S)
        return at.offset if 0 <= at.offset < self.end else self.end

    def _earliest(self, consumer: Any) -> int | None:
        """Return the time of the first record that is left."""
        from confluent_kafka import TopicPartition

        consumer.assign([TopicPartition(self.name, self.number, self.first)])
        record = consumer.poll(_ANSWER_S)
        if record is None or record.error():
            return None
        return int(record.timestamp()[1])

    def _consume(self, consumer: Any, behind: int, records: dict[str, list[Any]]) -> None:
        from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME

        silent_since = time.monotonic()
        while self.next < self.end and self.bytes <= self.most_bytes:
            batch = consumer.consume(min(self.batch, self.end - self.next), timeout=_PATIENCE_S)
            if batch:
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since > _ANSWER_S:
                raise ReplayError(
                    f"Kafka gives nothing from offset {self.next}, of {self.end}", where=self._where
                )
            for record in batch:
                if self._is_end(record):
                    self.next = max(self.next, min(record.offset(), self.end))
                    continue
                by_broker = record.timestamp()[0] == TIMESTAMP_LOG_APPEND_TIME
                if record.offset() >= (behind if by_broker else self.end):
                    self.next = record.offset()
                    return
                self.next = record.offset() + 1
                self.bytes += len(record.value() or b"")
                self._take(record, records, by_broker=by_broker)

    def _is_end(self, record: Any) -> bool:
        """Tell whether this is no record, but says that the partition ends here."""
        from confluent_kafka import KafkaError

        error = record.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise ReplayError(f"Kafka refuses: {error}", where=self._where)
        return error is not None

    @property
    def _where(self) -> str:
        return f"{kafka.SCHEME}{self.name}, partition {self.number}"

    def _take(self, record: Any, records: dict[str, list[Any]], *, by_broker: bool) -> None:
        time_ms = record.timestamp()[1]
        if (self.start_ms is not None and time_ms < self.start_ms) or (
            self.stop_ms is not None and time_ms >= self.stop_ms
        ):
            return
        key, self.messages = record.key(), self.messages + 1
        values = {
            "partition": self.number,
            "offset": record.offset(),
            "event_time": time_ms,
            "key": None if key is None else key.decode(errors="replace"),
            "version": -1,
            "value": record.value(),
            "publish_time": time_ms if by_broker else None,
            "key_bytes": key,
        }
        for column, kept in records.items():
            kept.append(values[column])

    def manifest(self) -> dict[str, Any]:
        """Return what the manifest says of it: the offsets read, and what Kafka still has."""
        earliest = None if self.earliest_ms is None else iso(self.earliest_ms)
        return {
            "offsets": [self.begin, self.next],
            "messages": self.messages,
            "bytes": self.bytes,
            "earliest_offset": self.first,
            "earliest_time": earliest,
            "end_offset": self.end,
        }


def _columns(table: pa.Table, columns: list[str] | None) -> pa.Table:
    """Return the fields wanted, then what is known of the records themselves."""
    names = _names(table)
    added = {f"__{name}__" if name in names else name: name for name in _ADDED}
    wanted = names if columns is None else columns
    wrong = [name for name in wanted if name not in names and name not in added]
    if wrong:
        raise ReplayError(f"no column {wrong[0]!r}", hint=did_you_mean(wrong[0], [*names, *added]))
    shown = {
        name: pc.struct_field(table["fields"], [names.index(name)])
        if name in names
        else table[added[name]]
        for name in wanted
    }
    own = {label: table[name] for label, name in added.items() if name in _ADDED[:3]}
    return pa.table({**shown, **own})


def _names(table: pa.Table) -> list[str]:
    has = "fields" in table.column_names
    return [field.name for field in table.schema.field("fields").type] if has else []


def is_undecoded(table: pa.Table) -> bool:
    """Tell whether values are bytes, as where there are none or no JSON object is among them."""
    kinds = table.schema.field("fields").type if "fields" in table.column_names else pa.struct([])
    return bool(kinds.num_fields == 0 or kinds == pa.struct([("value", pa.binary())]))


def _warn_of_deleted(manifest: Mapping[str, Any], start_ms: int | None) -> None:
    """Say what of the span Kafka has deleted: whoever asks for more gets less."""
    for number, part in manifest["partitions"].items():
        first, earliest = part["earliest_offset"], part["earliest_time"]
        earliest_ms = instant_ms(earliest) if earliest else None
        if not first or (
            start_ms is not None and earliest_ms is not None and earliest_ms <= start_ms
        ):
            continue
        since = f", of {earliest}" if earliest else ""
        warnings.warn(
            f"Kafka has deleted what came before offset {first}{since} in partition {number} of "
            f"{manifest['topic']}: the span asked for begins before it",
            ArchiveWarning,
            stacklevel=5,
        )


__all__ = ["KINDS", "KafkaRecords", "read_kafka", "read_records"]
