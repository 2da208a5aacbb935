"""Topics of Kafka at the ends of a job: `kafka://NAME`.

A record's id is `topic-partition:offset`. Its time is that of the stream's `event_time`, a field,
if there is one, else the record's timestamp: Kafka gives a time to every record, so one that was
set is not told from one that was not. What can be known before Flink starts is checked before.
"""

from __future__ import annotations

import json
from pathlib import Path

from workbench import kafka, services
from workbench.errors import StreamError
from workbench.history import definitions, schema_id
from workbench.stream.definition.stream_file import KEY_FIELD, Stream
from workbench.stream.flink_sql.tables import (
    KEY,
    Sink,
    Source,
    message_columns,
    message_time,
    reading_fields,
    value_options,
)

_POSITIONS = ("latest", "earliest")
_LOOKED_AT = 100  # offsets at the end of a partition, for what its values are
# Partitions that are added while the job runs are found after so long, and read from their start.
_DISCOVERY = {"scan.topic-partition-discovery.interval": "10 s"}
# A place that Kafka has deleted fails the job; its client would go on at the next one it has.
_PLACED = {"scan.startup.mode": "group-offsets", "properties.auto.offset.reset": "none"}
_METADATA = {
    "message_partition": "INT METADATA FROM 'partition' VIRTUAL",
    "message_offset": "BIGINT METADATA FROM 'offset' VIRTUAL",
    "message_timestamp": "TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL",
}
# The key as its bytes: `key_text` says whether they are a text.
_KEYED = {"key.format": "raw", "key.fields": KEY_FIELD, "value.fields-include": "EXCEPT_KEY"}


def source(stream: Stream, position: str) -> Source:
    """Return the end that reads a stream's topic: unbounded.

    The consumer group `workbench-NAME` is put at the position now: a job that fails before its
    first checkpoint begins there again, not at what is the latest record by then.

    Parameters
    ----------
    position
        Where it begins: `earliest`, `latest`, or ids `topic-partition:offset` with commas, one for
        each partition.

    Raises
    ------
    ServicesError
        If Kafka does not answer, or there is no such topic; then with the nearest names.
    StreamError
        If there is no such position, or the newest values are not what the stream reads.
    ReplayError
        If they are Avro, and no schema registry is known or answers, or no schema has a field that
        the stream names.
    """
    name, group = kafka.topic_name(stream.topic), f"workbench-{stream.name}"
    _check_values(stream)
    offsets = places(stream.topic, position)
    kafka.commit(stream.topic, group, offsets)
    return Source(
        columns={
            **message_columns(stream),
            **({KEY_FIELD: "BYTES"} if stream.keyed else {}),
            **_METADATA,
        },
        options={
            "connector": "kafka",
            "topic": name,
            "format": "reading",
            **value_options(stream, "reading"),
            **(_KEYED if stream.keyed else {}),
            "properties.group.id": group,
            **_PLACED,
            **_DISCOVERY,
            **_client(),
        },
        message_id=(
            f"CONCAT('{name}-', CAST(`message_partition` AS STRING), ':', "
            "CAST(`message_offset` AS STRING))"
        ),
        partition="CAST(`message_partition` AS STRING)",
        time=message_time(stream, "CAST(NULL AS TIMESTAMP_LTZ(3))", "`message_timestamp`"),
        partitions=tuple(map(str, offsets)),
    )


def _check_values(stream: Stream) -> None:
    """Refuse a topic with a partition that ends in what the stream does not read, none else near.

    (Any bytes that begin with 0 look like Confluent's wire format: among JSON they are a dead
    letter, as others are.)
    """
    last = {
        number: max(first, end - _LOOKED_AT)
        for number, (first, end) in kafka.bounds(stream.topic).items()
        if end > first
    }
    tails = kafka.tails(stream.topic, 0, last).values()
    if stream.record:
        _check_avro(stream, [[value for _, value in records] for records in tails])
        return
    for records in tails:
        number = schema_id(records[-1][1]) if records else None
        if number is not None and not any(_is_object(value) for _, value in records):
            raise StreamError(
                f"the readings are Avro of schema {number}, the stream reads JSON",
                where=stream.topic,
                hint="record: NAME in the stream file, of the record of Avro that is a reading",
            )


def _check_avro(stream: Stream, tails: list[list[bytes]]) -> None:
    """Refuse a partition whose newest values are JSON alone, or of schemas that are no readings.

    So is a field that none of the topic's schemas has: a name that is wrong.
    """
    ids = [[schema_id(value) for value in tail] for tail in tails]
    unreadable: dict[int, str] = {}
    named = {number for tail in ids for number in tail if number is not None}
    stored = definitions(named, unreadable)
    wanted = reading_fields(stream)
    reasons = {**unreadable, **{number: wanted.unfit(each) for number, each in stored.items()}}
    fitting = {number for number, why in reasons.items() if not why}
    wanted.check([stored[number] for number in fitting], stream.topic)
    for tail, numbers in zip(tails, ids, strict=True):
        if not tail or not fitting.isdisjoint(numbers):
            continue
        if numbers[-1] in reasons:
            raise StreamError(f"schema {numbers[-1]}: {reasons[numbers[-1]]}", where=stream.topic)
        if _is_object(tail[-1]):
            raise StreamError(
                f"the readings are JSON, the stream reads Avro of {stream.record}",
                where=stream.topic,
                hint="leave record out",
            )


def _is_object(value: bytes) -> bool:
    try:
        return isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        return False


def places(topic: str, position: str) -> dict[int, int]:
    """Return the offset that a position means in each partition.

    Raises
    ------
    ServicesError
        If Kafka does not answer, or there is no such topic.
    StreamError
        If there is no such position, or Kafka does not have its records any more.
    """
    bounds = kafka.bounds(topic)
    if position in _POSITIONS:
        last = position == "latest"
        return {number: end if last else first for number, (first, end) in bounds.items()}
    offsets = dict(_place(topic, text.strip()) for text in position.split(","))
    if offsets.keys() != bounds.keys():
        name = kafka.topic_name(topic)
        wanted = ",".join(f"{name}-{number}:{first}" for number, (first, _) in bounds.items())
        raise StreamError(
            f"position {position} is not one of each partition of {topic}", hint=f"as {wanted}"
        )
    for number, offset in offsets.items():
        first, end = bounds[number]
        if not first <= offset <= end:
            raise StreamError(
                f"partition {number} of {topic} has no offset {offset}",
                hint=f"it has {first} to {end}",
            )
    return offsets


def _place(topic: str, text: str) -> tuple[int, int]:
    start = f"{kafka.topic_name(topic)}-"
    number, _, offset = text.removeprefix(start).partition(":")
    if not (text.startswith(start) and number.isdecimal() and offset.isdecimal()):
        raise StreamError(
            f"{topic} has no position {text!r}",
            hint=f"earliest, latest, or {start}PARTITION:OFFSET for each partition, with commas",
        )
    return int(number), int(offset)


def sink(stream: Stream, name: str, topic: str) -> Sink:
    """Return the end that writes a view to a topic, as JSON; a topic that is not there is made.

    Raises
    ------
    ServicesError
        If Kafka does not answer, or refuses to make it.
    """
    kafka.make_topic(topic)
    options = {
        "connector": "kafka",
        "topic": kafka.topic_name(topic),
        "value.format": "json",
        "value.fields-include": "EXCEPT_KEY",
        "key.format": "raw",
        "key.fields": KEY,
        "sink.delivery-guarantee": "at-least-once",
        **_client(),
    }
    return Sink(options, keyed=True)


def jars() -> list[Path]:
    """Return the jars of the connector and its client."""
    return list(services.kafka_connector_jars())


def _client() -> dict[str, str]:
    return {f"properties.{key}": value for key, value in kafka.flink_settings().items()}


__all__ = ["jars", "places", "sink", "source"]
