"""The job on a real Kafka: as the batch path, through a stop and a resume; and its history."""

import io
import json
import re
import time
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from fastavro import parse_schema, schemaless_writer

import workbench
from workbench import desk, detectors
from workbench import kafka as door
from workbench import services as room
from workbench.cli import cli
from workbench.desk.magic import pulsar_sql
from workbench.errors import ArchiveWarning, ReplayError, StreamError
from workbench.history import query_kafka
from workbench.history.kafka_sql import _asked
from workbench.history.kafka_values import HEAD
from workbench.stream import (
    backtest,
    certificate,
    drift,
    parity,
    parse_stream,
    promote,
    start,
    verdict,
)
from workbench.stream.connectors.kafka import places
from workbench.stream.connectors.kafka import source as kafka_source
from workbench.stream.promotion_log import add_package
from workbench.stream.running import session
from workbench.stream.running.originals import messages, readable
from workbench.stream.running.originals import readings as stream_readings

CHANNELS = ["pressure_bar", "flow_l_min"]
LATENESS_MS = 30_000


def publish(topic, frame):
    """Send readings as a plant does: JSON, the pump as the key, the record's time as event time."""
    producer = Producer(door.python_settings())
    times = detectors.epoch_ms(frame["event_time"])
    rows = frame[["pump", *CHANNELS]].to_dict("records")
    for row, time_ms in zip(rows, times.tolist(), strict=True):
        value = json.dumps(row).encode()
        producer.produce(door.topic_name(topic), value, row["pump"], timestamp=time_ms)
        producer.poll(0)
    assert producer.flush(60) == 0


def send(topic, *values, **options):
    producer = Producer(door.python_settings())
    for value in values:
        producer.produce(door.topic_name(topic), value, **options)
    assert producer.flush(60) == 0


class Topic:
    """What a job writes to a topic, read as it comes: keys and JSON."""

    def __init__(self, topic):
        self.name, self.records, self._next = door.topic_name(topic), [], 0

    def await_more(self, enough, timeout_s=150):
        deadline = time.monotonic() + timeout_s
        with door.connect() as consumer:
            consumer.assign([TopicPartition(self.name, 0, self._next)])
            while not enough(self.records) and time.monotonic() < deadline:
                for record in consumer.consume(10_000, timeout=1):
                    assert record.error() is None
                    self._next = record.offset() + 1
                    self.records.append((record.key().decode(), json.loads(record.value())))
        return self.records


def due(frame, detection):
    """Which readings their own partition lets go on: the others are waited with."""
    taken = ~(detection.late | detection.ahead)
    times = pd.Series(detectors.epoch_ms(frame["event_time"]))
    parts = frame["message_id"].str.extract(r"-(\d+):")[0]
    clock = times.where(taken).groupby(parts).transform("max")
    return (taken & (times <= clock - LATENESS_MS)).to_numpy()


def detected(package_folder, frame):
    package = detectors.load(package_folder)
    return detectors.detect(package, frame, sensor="pump", lateness_ms=LATENESS_MS)


def begun(alerts):
    return {(one["sensor"], pd.Timestamp(one["start"]).value) for one in alerts}


@pytest.fixture(scope="module")
def cluster(kafka):
    """Kafka, and a Flink session cluster beside it."""
    try:
        room.up(["flink"])
        yield kafka
    finally:
        room.down(["flink"])


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.timeout(600)
def test_a_job_on_kafka_is_the_batch_path_and_goes_on_exactly_where_it_was_stopped(
    cluster, store, package_folder, readings, content
):
    names = ("topic", "alerts", "scores", "refused", "heartbeat")
    topics = {name: f"kafka://plant-{name}" for name in names}
    stream = parse_stream("plant", content(**topics))
    package = add_package(package_folder)
    half = len(readings) // 2
    door.make_topic(stream.topic, partitions=2)
    publish(stream.topic, readings.head(half))
    first = workbench.replay(stream.topic, source="kafka")
    wanted = due(first, detected(package_folder, first)).sum()

    session.submit(stream, position="earliest", package=package)
    scores, alerts, refused = map(Topic, (stream.scores, stream.alerts, stream.refused))
    scores.await_more(lambda scored: len(scored) >= wanted)
    session.stop("plant")
    publish(stream.topic, readings.iloc[half:])
    frame = workbench.replay(stream.topic, source="kafka")
    ends = door.bounds(stream.topic)
    send(stream.topic, b"no reading", partition=1)
    send(stream.topic, None, partition=0)
    _resume(stream, package)
    batch = detected(package_folder, frame)
    expected = due(frame, batch)
    scored = scores.await_more(lambda scored: len(scored) >= expected.sum())
    wrong = refused.await_more(lambda scored: len(scored) >= 2)
    state = session.status("plant").state
    watch = desk.watch(stream)
    measures = _until(lambda: measured(watch.look(), stream, expected.sum()))
    session.stop("plant")  # what it had for the topics is on them then
    scored = scores.await_more(lambda _: False, 3)
    changes = [alert for _, alert in alerts.await_more(lambda _: False, 5)]

    assert state == "RUNNING"
    assert len(frame) == len(readings)
    assert set(frame["message_id"].str.extract(r"^plant-topic-(\d):\d+$")[0]) == {"0", "1"}
    assert batch.late.sum() > 20
    assert {key for key, _ in scored} == set(readings["pump"])
    ids = [row["message_id"] for _, row in scored]
    assert len(ids) == len(set(ids))  # no reading is counted twice
    assert set(ids) == set(frame["message_id"][expected])
    by_id = dict(zip(frame["message_id"], batch.scores, strict=True))
    given = [np.nan if row["score"] is None else row["score"] for _, row in scored]
    np.testing.assert_allclose(given, [by_id[name] for name in ids], rtol=1e-9)
    rows = {key: row["reason"] for key, row in wrong}
    assert rows[f"plant-topic-0:{ends[0][1]}"] == "it is empty"
    assert rows[f"plant-topic-1:{ends[1][1]}"].startswith("it is no JSON")
    assert begun(changes) == begun(batch.episodes.to_dict("records"))
    assert len(begun(changes)) > 3
    assert {key for key, _ in alerts.records} == {alert["id"] for alert in changes}
    assert {alert["first_message_id"] for alert in changes} <= set(frame["message_id"])
    assert begun(watch.alerts.to_dict("records")) == begun(changes)
    assert (watch.backlog, watch.readers, watch.trouble) == (0, None, "")
    assert re.search(r"^  behind +0 records$", watch.card().text(), flags=re.MULTILINE)
    assert measures["workbench_job_backlog_entries"] == 0
    assert "workbench_job_readers" not in measures  # Kafka does not tell


def measured(watch, stream, read):
    """Return what Prometheus is told, once the job has committed all and its heart has said so."""
    if watch.backlog or watch.beats["read"] < read or watch.beats["refused"] < 2:
        return None
    families = desk.StreamMetrics([stream]).collect()
    return {sample.name: sample.value for family in families for sample in family.samples}


def _until(result, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while (value := result()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return value


def _resume(stream, package):
    """Go on from the savepoint; a stream that is no file is not found by `session.resume`."""
    session.submit(stream, package=package, restored=session.newest_state(stream.name))


@pytest.mark.flink
@pytest.mark.pulsar
def test_a_detector_is_promoted_on_what_kafka_has(kafka, store, package_folder, readings, content):
    topic = "kafka://gated"
    stream = parse_stream("gated", content(topic=topic, alerts="kafka://gated-alerts"))
    earlier = readings.head(600).assign(
        event_time=readings["event_time"].head(600) - pd.Timedelta(days=1, hours=12)
    )
    door.make_topic(topic, partitions=2)
    publish(topic, earlier)  # of the day that the package was fitted on
    publish(topic, readings)
    send(topic, b"no reading", partition=1)
    send(topic, None, partition=0)

    with pytest.warns(ArchiveWarning, match=r"^1 of 3602 records of kafka://gated are no JSON obj"):
        promotion = promote(package_folder, stream=stream)

    (finding,) = [one for one in verdict(store / promotion.gate).findings if one.check == "parity"]
    proof = certificate(promotion)
    assert finding.passed
    assert " by the records of Kafka; scores differ by " in finding.found
    assert (proof.read, proof.differing_alerts) == ("the records of Kafka", ())
    assert proof.readings > 2_900
    assert proof.alerts > 3
    with pytest.raises(StreamError) as error:
        parity(stream, package=promotion.package, archive="data/archive")
    assert str(error.value) == (
        "stream gated is on Kafka: kafka://gated, which no archive holds\n"
        "  name none: its history is what Kafka has"
    )


GOOD = b'{"pressure_bar": 1.0, "flow_l_min": 1.0}'
UNREAD = [  # key and value of records that are no readings, and why
    (None, GOOD, "it has no key"),
    (b"", GOOD, "it has no key"),
    (b"pump-\xff", GOOD, "its key is no UTF-8"),
    (b"pump-1", b"no reading", "it is no JSON"),
    (b"pump-1", b"", "it is empty"),
    (b"pump-1", None, "it is empty"),
]


def publish_keyed(topic, frame):
    """Send readings whose pump stands in the key alone, and beside each hundredth what is none.

    A field is called `key`, and says something else.
    """
    producer = Producer(door.python_settings())
    times = detectors.epoch_ms(frame["event_time"])
    rows = frame[CHANNELS].to_dict("records")
    for place, (pump, row, time_ms) in enumerate(zip(frame["pump"], rows, times, strict=True)):
        value, name = json.dumps(row | {"key": "lock"}).encode(), door.topic_name(topic)
        producer.produce(name, value, pump, timestamp=int(time_ms))
        if place % 100 == 50:
            key, value, _ = UNREAD[place // 100 % len(UNREAD)]
            producer.produce(name, value, key, timestamp=int(time_ms))
        producer.poll(0)
    assert producer.flush(60) == 0


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.timeout(600)
def test_a_sensor_that_the_key_alone_names_is_the_same_in_job_and_batch_path(
    kafka, store, package_folder, readings, content
):
    names = ("topic", "alerts", "scores", "refused")
    topics = {name: f"kafka://keyed-{name}" for name in names}
    stream = parse_stream("keyed", content(**topics, sensor="__key__"))
    package = add_package(package_folder)
    door.make_topic(stream.topic, partitions=2)
    publish_keyed(stream.topic, readings)
    with pytest.warns(ArchiveWarning, match=r" records of kafka://keyed-topic are no JSON objects"):
        frame = stream_readings(stream, readable(stream, None))
    batch = detectors.detect(
        detectors.load(package_folder), frame, sensor="__key__", lateness_ms=LATENESS_MS
    )
    is_nameless = frame["__key__"].isna().to_numpy()
    expected = due(frame, batch) & ~is_nameless

    job = start(stream, position="earliest", package=package)
    scores, alerts, refused = map(Topic, (stream.scores, stream.alerts, stream.refused))
    scored = scores.await_more(lambda scored: len(scored) >= expected.sum())
    wrong = refused.await_more(lambda told: len(told) >= is_nameless.sum())
    job.stop()
    scored = scores.await_more(lambda _: False, 3)
    changes = [alert for _, alert in alerts.await_more(lambda _: False, 5)]

    assert is_nameless.sum() == len(readings) // 100
    assert set(frame["__key__"].dropna()) == set(readings["pump"])
    assert {key for key, _ in scored} == set(readings["pump"])
    whose = dict(zip(frame["message_id"], frame["__key__"], strict=True))
    assert [row["sensor"] for _, row in scored] == [whose[row["message_id"]] for _, row in scored]
    ids = [row["message_id"] for _, row in scored]
    assert len(ids) == len(set(ids)) > 2_500
    assert set(ids) == set(frame["message_id"][expected])
    by_id = dict(zip(frame["message_id"], batch.scores, strict=True))
    given = [np.nan if row["score"] is None else row["score"] for _, row in scored]
    np.testing.assert_allclose(given, [by_id[name] for name in ids], rtol=1e-9)
    assert begun(changes) == begun(batch.episodes.to_dict("records"))
    assert len(begun(changes)) > 3
    reasons = {row["message_id"]: row["reason"] for _, row in wrong}
    assert set(reasons) == set(frame["message_id"][is_nameless])
    assert {reason.split(":")[0] for reason in reasons.values()} == {why for *_, why in UNREAD}


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.timeout(600)
def test_a_detector_is_promoted_on_sensors_that_keys_name(
    kafka, store, package_folder, readings, content
):
    topic = "kafka://keyed-gated"
    stream = parse_stream(
        "keyedgated", content(topic=topic, alerts="kafka://keyed-alerts", sensor="__key__")
    )
    earlier = readings.head(600).assign(
        event_time=readings["event_time"].head(600) - pd.Timedelta(days=1, hours=12)
    )
    door.make_topic(topic, partitions=2)
    publish_keyed(topic, earlier)
    publish_keyed(topic, readings)

    with pytest.warns(ArchiveWarning, match=r" records of kafka://keyed-gated are no JSON objects"):
        promotion = promote(package_folder, stream=stream)
    with pytest.warns(ArchiveWarning, match=r" are no JSON objects"):
        again = backtest(stream, package=promotion.package)
    with pytest.warns(ArchiveWarning, match=r" are no JSON objects"):
        replayed = workbench.replay(topic)
    of_replay = parity(stream, replayed, archive=readable(stream, None))
    with pytest.warns(ArchiveWarning, match=r" are no JSON objects"):
        drifting = drift(stream, days=1)

    proof = certificate(promotion)
    assert proof.reasons() == []
    assert (proof.read, proof.differing_alerts) == ("the records of Kafka", ())
    assert proof.differing_rows == ()
    assert proof.readings > 2_900
    assert proof.unscored["refused"] >= 29
    assert {alert["sensor"] for alert in again.alerts()} <= set(readings["pump"])
    assert again.sensors == readings["pump"].nunique()
    reasons = again.outcome.refused["reason"].str.split(":").str[0]
    assert {why for *_, why in UNREAD} <= set(reasons)
    assert of_replay.reasons() == []
    assert of_replay.unscored["refused"] == again.refused == 36
    assert "30 refused" in drifting.card().facts["readings scored"]


@pytest.mark.pulsar
def test_a_span_of_kafka_is_the_records_of_its_times_wherever_they_stand(kafka, readings):
    topic = "kafka://spans"
    door.make_topic(topic, partitions=2)
    publish(topic, readings)  # a good part of them out of the order of time
    start, stop = "2026-01-05T03:00:00Z", "2026-01-05T06:00:00Z"

    frame = workbench.replay(topic, start, stop, source="kafka", columns=["pump", "offset"])

    times = readings["event_time"]
    inside = readings[(times >= start) & (times < stop)]
    assert 0 < len(inside) < len(readings)
    assert sorted(frame["event_time"]) == sorted(inside["event_time"])
    assert frame["key"].tolist() == frame["pump"].tolist()
    assert frame["publish_time"].isna().all()
    manifest = frame.attrs["manifest"]
    assert manifest["messages"] == len(inside)
    assert manifest["partitions"]["0"]["offsets"][0] > 0  # found by the index, not from the first
    for number, part in manifest["partitions"].items():
        own = frame[frame["message_id"].str.startswith(f"spans-{number}:")]
        assert len(own) == part["messages"] > 100
        assert own["offset"].is_monotonic_increasing
        assert own["offset"].between(*part["offsets"], inclusive="left").all()


@pytest.mark.pulsar
def test_what_kafka_has_deleted_of_a_span_is_said(kafka, readings):
    topic = "kafka://trimmed"
    door.make_topic(topic, partitions=1)
    ordered = readings.head(100).sort_values("event_time", kind="stable")
    publish(topic, ordered)
    admin = AdminClient(door.python_settings())
    for future in admin.delete_records([TopicPartition("trimmed", 0, 40)]).values():
        future.result()
    earliest = ordered["event_time"].iloc[40]

    said = r"^Kafka has deleted what came before offset 40, of 2026-01-0"
    with pytest.warns(ArchiveWarning, match=said):
        whole = workbench.replay(topic, source="kafka")
    behind = workbench.replay(topic, str(ordered["event_time"].iloc[60]), source="kafka")

    assert len(whole) == 60
    part = whole.attrs["manifest"]["partitions"]["0"]
    assert (part["earliest_offset"], pd.Timestamp(part["earliest_time"])) == (40, earliest)
    assert behind["event_time"].min() == ordered["event_time"].iloc[60]
    with pytest.raises(StreamError) as error:
        places(topic, "trimmed-0:39")
    assert str(error.value) == (
        "partition 0 of kafka://trimmed has no offset 39\n  it has 40 to 100"
    )


@pytest.mark.pulsar
def test_a_position_is_a_word_or_an_id_for_each_partition(kafka):
    door.make_topic("kafka://placed", partitions=2)
    send("kafka://placed", b"{}", b"{}", partition=1)

    assert places("kafka://placed", "latest") == {0: 0, 1: 2}
    assert places("kafka://placed", "placed-1:1, placed-0:0") == {0: 0, 1: 1}
    with pytest.raises(StreamError) as partial:
        places("kafka://placed", "placed-1:1")
    with pytest.raises(StreamError) as other:
        places("kafka://placed", "7:0:-1")

    assert str(partial.value) == (
        "position placed-1:1 is not one of each partition of kafka://placed\n"
        "  as placed-0:0,placed-1:0"
    )
    assert str(other.value) == (
        "kafka://placed has no position '7:0:-1'\n"
        "  earliest, latest, or placed-PARTITION:OFFSET for each partition, with commas"
    )


def test_a_record_of_kafka_has_one_time():
    with pytest.raises(ReplayError) as error:
        workbench.replay("kafka://pumps", source="kafka", by="publish_time")

    assert str(error.value) == (
        "a record of Kafka has one time, by='publish_time' is not known of it\n  by='event_time'"
    )


def test_a_topic_of_kafka_is_not_looked_for_in_an_archive(tmp_path):
    with pytest.raises(ReplayError, match="is of Kafka, which has no archive") as refused:
        workbench.replay("kafka://plant", archive=tmp_path)

    assert "leave archive out" in str(refused.value)


@pytest.mark.parametrize("source", ["broker", "both"])
def test_a_topic_of_kafka_is_not_asked_of_pulsar(source):
    with pytest.raises(ReplayError) as error:
        workbench.replay("kafka://pumps", source=source)

    assert str(error.value) == (
        f"kafka://pumps is of Kafka, source '{source}' is Pulsar's\n  source='kafka'"
    )


@pytest.mark.pulsar
def test_avro_on_kafka_is_replayed_and_asked_and_no_stream_of_json_takes_it(
    kafka, content, schema_registry
):
    fields = [{"name": "pump", "type": "string"}, {"name": "pressure_bar", "type": "double"}]
    schema = {"type": "record", "name": "Reading", "fields": fields}
    door.make_topic("kafka://avro", partitions=1)
    for number in range(20):
        value = io.BytesIO()
        schemaless_writer(
            value, parse_schema(schema), {"pump": f"pump-{number % 2}", "pressure_bar": number / 4}
        )
        send("kafka://avro", b"\0\0\0\0\7" + value.getvalue(), timestamp=1_000 * number)
    stream = parse_stream("avro", content(topic="kafka://avro"))

    with pytest.raises(ReplayError, match=r"^all records begin as Avro of a schema registry, and"):
        workbench.replay("kafka://avro")
    schema_registry({7: schema})
    frame = workbench.replay("kafka://avro")
    sums = pulsar_sql(door.SCHEME, "select pump, sum(pressure_bar) as bar from avro group by 1")

    assert frame["pressure_bar"].tolist() == [number / 4 for number in range(20)]
    assert frame.attrs["manifest"]["schemas"] == [7]
    assert dict(zip(sums["pump"], sums["bar"], strict=True)) == {"pump-0": 22.5, "pump-1": 25.0}
    with pytest.raises(StreamError) as error:
        kafka_source(stream, "latest")
    assert str(error.value) == (
        "the readings are Avro of schema 7, the stream reads JSON\n  in kafka://avro\n"
        "  record: NAME in the stream file, of the record of Avro that is a reading"
    )
    with pytest.raises(StreamError, match=r"^20 of 20 readings are Avro, the stream reads JSON\n"):
        readable(stream, None)


@pytest.mark.pulsar
def test_a_stream_of_avro_is_refused_on_a_topic_of_something_else(kafka, content, schema_registry):
    topic, schema = "kafka://else", avro_schema()
    door.make_topic(topic, partitions=1)
    stream = parse_stream("else", content(topic=topic, record="Reading"))

    with pytest.raises(ReplayError, match=r"^no schema registry is known"):
        kafka_source(stream, "latest")
    running = schema_registry({7: schema, 8: {**schema, "name": "Alarm"}})
    source = kafka_source(stream, "latest")
    assert source.partitions == ("0",)  # empty: it may become one
    assert source.options["reading.record"] == "Reading"
    assert running.url not in source.table()
    assert Path(source.options["reading.registry"]).read_text() == f"{running.url}\n\n"
    send(topic, b'{"pump": "p-1"}')
    with pytest.raises(StreamError, match=r"^the readings are JSON, the stream reads Avro of Re"):
        kafka_source(stream, "latest")
    with pytest.raises(StreamError, match=r"^1 of 1 readings are no Avro, the stream reads Avro\n"):
        readable(stream, None)
    row = {"pump": "p-1", "pressure_bar": 1.0, "flow_l_min": None}
    send(topic, wire(schema, 8, row))
    with pytest.raises(StreamError, match=r"^schema 8: it is of Alarm, not of Reading\n"):
        kafka_source(stream, "latest")
    with pytest.raises(ReplayError, match=r"^schema 8 is of no readings: it is of Alarm, not of"):
        readable(stream, None)


def avro_schema(*others, pressure="double"):
    """Return a schema of readings; `others` are fields that no stream names."""
    fields = [
        {"name": "pump", "type": "string"},
        *others,
        {"name": "pressure_bar", "type": ["null", pressure], "default": None},
        {"name": "flow_l_min", "type": ["null", "double"], "default": None},
    ]
    return {"type": "record", "name": "Reading", "namespace": "plant", "fields": fields}


def wire(schema, number, row):
    value = io.BytesIO()
    schemaless_writer(value, parse_schema(schema), row)
    return HEAD.pack(0, number) + value.getvalue()


NOTES = {"name": "notes", "type": {"type": "array", "items": "string"}}


def publish_avro(topic, frame):
    """Send readings by two schemas in turn, and beside each hundredth what is no reading."""
    producer, schemas = Producer(door.python_settings()), {3: avro_schema(), 4: avro_schema(NOTES)}
    odd = [
        b'{"pump": "pump-1", "pressure_bar": 1.0}', b"no reading", HEAD.pack(0, 99) + b"\2a", None,
        HEAD.pack(0, 4) + b"\2a\xfe\xff\xff\xff\x0f", b"\0\0", wire(schemas[3], 5, ODD),
    ]  # fmt: skip
    times = detectors.epoch_ms(frame["event_time"])
    rows = frame[["pump", *CHANNELS]].to_dict("records")
    for place, (row, time_ms) in enumerate(zip(rows, times.tolist(), strict=True)):
        number = 3 + place % 2
        given = {name: None if part != part else part for name, part in row.items()}
        value = wire(schemas[number], number, {**given, "notes": ["ok"]})
        producer.produce(door.topic_name(topic), value, row["pump"], timestamp=time_ms)
        if place % 100 == 50:
            producer.produce(
                door.topic_name(topic), odd[place // 100 % len(odd)], timestamp=time_ms
            )
        producer.poll(0)
    assert producer.flush(60) == 0
    return {**schemas, 5: {**schemas[3], "name": "Alarm"}}


ODD = {"pump": "pump-1", "pressure_bar": 5.0, "flow_l_min": 5.0}


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.timeout(600)
def test_a_job_on_avro_is_the_batch_path(
    cluster, store, package_folder, readings, content, schema_registry
):
    names = ("topic", "alerts", "scores", "refused", "heartbeat")
    topics = {name: f"kafka://avro-plant-{name}" for name in names}
    stream = parse_stream("avroplant", content(**topics, record="Reading"))
    package = add_package(package_folder)
    door.make_topic(stream.topic, partitions=2)
    served = schema_registry({})
    served.login = "plant:planted-7c"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_SCHEMA_REGISTRY_LOGIN", "plant:planted-7c")
        served.schemas.update(publish_avro(stream.topic, readings))
        with pytest.warns(ArchiveWarning, match=r"are no Avro of Reading as the others"):
            frame = stream_readings(stream, readable(stream, None))

        session.submit(stream, position="earliest", package=package)
        scores, alerts, refused = map(Topic, (stream.scores, stream.alerts, stream.refused))
        batch = detected(package_folder, frame)
        expected = due(frame, batch) & frame["pump"].notna().to_numpy()
        scored = scores.await_more(lambda scored: len(scored) >= expected.sum())
        nameless = frame["message_id"][frame["pump"].isna()]
        wrong = refused.await_more(lambda scored: len(scored) >= len(nameless))
        state = session.status(stream.name).state
        session.stop(stream.name)
        scored = scores.await_more(lambda _: False, 3)
        changes = [alert for _, alert in alerts.await_more(lambda _: False, 5)]

    assert state == "RUNNING"
    assert len(frame) == len(readings) + len(nameless)
    ids = [row["message_id"] for _, row in scored]
    assert len(ids) == len(set(ids)) > 2_500
    assert set(ids) == set(frame["message_id"][expected])
    by_id = dict(zip(frame["message_id"], batch.scores, strict=True))
    given = [np.nan if row["score"] is None else row["score"] for _, row in scored]
    np.testing.assert_allclose(given, [by_id[name] for name in ids], rtol=1e-9)
    assert len(changes) > 3
    reasons = {row["message_id"]: row["reason"] for _, row in wrong}
    assert set(nameless) <= set(reasons)
    for why in (
        "it is no Avro in Confluent's wire format",
        "the schema registry has no schema 99",
        "it is no Avro of schema 4: it claims more values than its bytes can hold",
        "of schema 5: it is of Alarm, not of Reading",
        "it is empty",
    ):
        assert why in reasons.values()
    assert set(served.asked) == {f"/schemas/ids/{number}" for number in (3, 4, 5, 99)}


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.timeout(1200)
def test_while_the_registry_is_away_known_schemas_go_on_and_a_new_one_waits_for_it(
    cluster, store, package_folder, readings, content, schema_registry
):
    names = ("topic", "alerts", "scores", "refused")
    topics = {name: f"kafka://away-{name}" for name in names}
    stream = parse_stream("away", content(**topics, record="Reading"))
    schemas = {3: avro_schema(), 4: avro_schema(NOTES)}
    running, package = schema_registry(schemas), add_package(package_folder)
    door.make_topic(stream.topic, partitions=2)
    halves = readings.head(1_200), readings.iloc[1_200:2_400]
    scores, refused = Topic(stream.scores), Topic(stream.refused)

    def due_so_far():
        frame = stream_readings(stream, readable(stream, None))
        batch = detected(package_folder, frame)
        return frame, batch, due(frame, batch)

    send_avro(stream.topic, halves[0], schemas[3], 3)
    *_, first = due_so_far()
    session.submit(stream, position="earliest", package=package)
    records = scores.await_more(lambda records: len(records) >= first.sum(), 400)
    assert len(records) == first.sum(), session.status(stream.name)
    asked = [*running.asked]
    send_avro(stream.topic, halves[1], schemas[3], 3)
    *_, second = due_so_far()
    running.stop()
    records = scores.await_more(lambda records: len(records) >= second.sum(), 400)
    before = session.status(stream.name)
    send_avro(stream.topic, readings.iloc[2_400:], schemas[4], 4)
    fallen = _until(lambda: _restarted(stream.name), 300)
    said = CliRunner().invoke(cli, ["stream", "status", stream.name])
    running.start()
    frame, batch, expected = due_so_far()
    wanted = set(frame["message_id"][expected])
    records = scores.await_more(
        lambda records: wanted <= {row["message_id"] for _, row in records}, 400
    )
    after = session.status(stream.name)
    session.stop(stream.name)
    records = scores.await_more(lambda _: False, 3)
    wrong = refused.await_more(lambda _: False, 3)

    assert asked.count("/schemas/ids/3") == 2  # the job, and this process
    assert (before.state, before.restarts) == ("RUNNING", 0)
    why = "workbench.SchemaRegistry$Silent: the schema registry does not answer: ConnectException"
    assert fallen.cause == why != fallen.failure
    assert f"  last failure: {fallen.failure}\n  caused by: {why}\n" in said.output
    assert after.state == "RUNNING"
    assert len(frame) == len(readings)
    scored = {(row["message_id"], row["score"]) for _, row in records}  # some twice: again, alike
    assert {name for name, _ in scored} == wanted
    assert len(scored) == len(wanted) > second.sum() > first.sum() > 500
    by_id = dict(zip(frame["message_id"], batch.scores, strict=True))
    np.testing.assert_allclose(
        [np.nan if score is None else score for _, score in scored],
        [by_id[name] for name, _ in scored],
        rtol=1e-9,
    )
    assert wrong == []


def send_avro(topic, frame, schema, number):
    """Send readings by one schema; `notes` are of those schemas that have them."""
    producer = Producer(door.python_settings())
    times = detectors.epoch_ms(frame["event_time"])
    rows = frame[["pump", *CHANNELS]].to_dict("records")
    for row, time_ms in zip(rows, times.tolist(), strict=True):
        given = {name: None if part != part else part for name, part in row.items()}
        value = wire(schema, number, {**given, "notes": []})
        producer.produce(door.topic_name(topic), value, row["pump"], timestamp=time_ms)
        producer.poll(0)
    assert producer.flush(60) == 0


def _restarted(name):
    """Return how a job is once it failed for a reason that Flink tells."""
    status = session.status(name)
    return status if status.restarts and status.failure else None


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.timeout(600)
def test_a_detector_is_promoted_on_avro_and_its_certificate_says_so(
    kafka, store, package_folder, readings, content, schema_registry
):
    topic = "kafka://avro-gated"
    stream = parse_stream(
        "avrogated", content(topic=topic, alerts="kafka://avro-gated-alerts", record="Reading")
    )
    earlier = readings.head(600).assign(
        event_time=readings["event_time"].head(600) - pd.Timedelta(days=1, hours=12)
    )
    door.make_topic(topic, partitions=2)
    publish_avro(topic, earlier)
    schema_registry(publish_avro(topic, readings))

    with pytest.warns(ArchiveWarning, match=r"^31 of 3636 records of kafka://avro-gated are no"):
        promotion = promote(package_folder, stream=stream)
    with pytest.warns(ArchiveWarning, match=r"^31 of 3636 records"):
        again = backtest(stream)

    proof = certificate(promotion)
    assert proof.reasons() == []
    assert (proof.read, proof.differing_alerts) == ("the records of Kafka, Avro of Reading", ())
    assert proof.differing_rows == ()
    assert proof.readings > 2_900
    assert proof.alerts > 3
    assert len([*again.alerts()]) >= proof.alerts


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.timeout(300)
def test_a_key_names_the_sensor_of_avro_that_has_no_such_field(
    kafka, store, package_folder, readings, content, schema_registry
):
    topic, name = "kafka://keyed-avro", "keyed-avro"
    schema = avro_schema()
    schema = {**schema, "fields": schema["fields"][1:]}
    schema_registry({3: schema})
    door.make_topic(topic, partitions=1)
    frame = readings.head(600)
    rows = frame[CHANNELS].to_dict("records")
    producer, times = Producer(door.python_settings()), detectors.epoch_ms(frame["event_time"])
    for pump, row, time_ms in zip(frame["pump"], rows, times, strict=True):
        given = {channel: None if part != part else part for channel, part in row.items()}
        producer.produce(name, wire(schema, 3, given), pump, timestamp=int(time_ms))
    for key, value in ((None, given), (b"\xff", given)):
        producer.produce(name, wire(schema, 3, value), key, timestamp=int(times[-1]))
    producer.produce(name, GOOD, b"pump-1", timestamp=int(times[-1]))  # JSON
    assert producer.flush(60) == 0
    changes = {"topic": topic, "alerts": "kafka://keyed-avro-alerts", "record": "Reading"}
    stream = parse_stream("keyedavro", content(**changes, sensor="__key__"))

    history = readable(stream, None)
    with pytest.warns(ArchiveWarning, match=r"^1 of 603 records"):
        read = stream_readings(stream, history)
    package = add_package(package_folder)
    with pytest.warns(ArchiveWarning, match=r"^1 of 603 records"):
        proof = parity(stream, package=package, archive=history)

    assert read["__key__"].tolist() == [*frame["pump"], None, None, None]
    assert proof.reasons() == []
    assert proof.read == "the records of Kafka, Avro of Reading"
    assert (proof.unscored["refused"], proof.differing_rows) == (3, ())
    assert kafka_source(stream, "latest").options["reading.keyed"] == "true"


@pytest.mark.pulsar
def test_avro_among_json_is_a_dead_letter_in_both_paths(kafka, content, schema_registry):
    topic, schema = "kafka://garbled", avro_schema()
    door.make_topic(topic, partitions=1)
    send(topic, b'{"pump": "p-1", "pressure_bar": 2.5, "flow_l_min": 1}')
    send(topic, b'{"pump": "p-2", "pressure_bar": 3.0, "flow_l_min": 1}')
    schema_registry({7: schema})
    avro = wire(schema, 7, {"pump": "p-3", "pressure_bar": 1.0, "flow_l_min": None})
    send(topic, b"\0\1\2\3\4\5", avro)
    stream = parse_stream("garbled", content(topic=topic))

    history = readable(stream, None)
    with pytest.warns(ArchiveWarning, match=r"^2 of 4 records .*; 2 begin as Avro, the stream re"):
        frame = stream_readings(stream, history)
    kept = messages(stream, history, frame)
    source = kafka_source(stream, "latest")

    assert kept["value"].to_pylist()[2:] == [b"\0\1\2\3\4\5", avro]
    assert frame["pump"].tolist() == ["p-1", "p-2", None, None]
    assert source.partitions == ("0",)
    assert not {"reading.record", "reading.registry"} & source.options.keys()
    send(topic, avro)
    with pytest.raises(StreamError, match=r"^3 of 5 readings are Avro, the stream reads JSON\n"):
        readable(stream, None)


@pytest.mark.pulsar
def test_sql_over_a_topic_of_kafka_is_what_its_frame_says(kafka, readings):
    topic = "kafka://asked.of"
    door.make_topic(topic, partitions=2)
    publish(topic, readings)
    for name in ("Cased", "cased"):
        door.make_topic(f"kafka://{name}")
    frame = workbench.replay(topic)
    text = """
        select pump, count(*) as n, max(pressure_bar) as most, min(__message_id__) as first
        from "asked.of" where event_time >= '2026-01-05 03:00' group by pump order by pump
    """

    rows = pulsar_sql(door.SCHEME, text)
    shown = CliRunner().invoke(cli, ["sql", door.SCHEME, text, "--json"])

    later = frame[frame["event_time"] >= "2026-01-05T03:00:00Z"].groupby("pump")
    assert rows["n"].tolist() == later.size().tolist()
    assert rows["first"].tolist() == later["message_id"].min().tolist()
    assert len([json.loads(line) for line in shown.stdout.splitlines()]) == 6
    assert "asked.of" in pulsar_sql(door.SCHEME, "?")["topic"].tolist()
    for name, message in {
        '"asked.off"': "there is no topic kafka://asked.off\n  did you mean 'asked.of'",
        "cased": "'cased' is the name of 2 topics that differ only in case\n"
        "  SQL takes them for one: workbench.replay reads either",
    }.items():
        with pytest.raises(ReplayError) as error:
            pulsar_sql(door.SCHEME, f"from {name}")
        assert str(error.value).startswith(message)


@pytest.mark.pulsar
def test_a_query_of_an_hour_reads_from_that_hour_on_and_says_so(kafka, readings):
    topic = "kafka://hours"
    door.make_topic(topic, partitions=2)
    publish(topic, readings)
    texts = {
        "select pump, count(*) as n, sum(pressure_bar) as bar from hours where {} "
        "group by pump order by pump": True,
        "select a.pump, 1 as n from hours a join hours b using (pump, event_time) "
        "where {} order by 1": False,
        "select pump, 1 as n from hours where {} or pump = 'x' order by pump": False,
    }
    hour = "event_time >= '2026-01-05 05:00' and event_time < '2026-01-05 06:00'"
    frame = workbench.replay(topic)
    whole = sum(part["bytes"] for part in frame.attrs["manifest"]["partitions"].values())
    times = frame["event_time"]
    inside = frame[(times >= "2026-01-05T05:00Z") & (times < "2026-01-05T06:00Z")]

    for text, is_bound in texts.items():
        read = []
        table = pa.Table.from_batches(query_kafka(text.format(hour), read=read)).to_pandas()
        size = int(re.search(r", ([0-9,]+) bytes, ", read[0])[1].replace(",", ""))
        assert (0 < size < whole) if is_bound else size == whole
        assert table["pump"].drop_duplicates().tolist() == sorted(inside["pump"].unique())
        if is_bound:
            groups = inside.groupby("pump")["pressure_bar"]
            assert table["n"].tolist() == groups.size().tolist()
            np.testing.assert_allclose(table["bar"], groups.agg(lambda bar: bar.sum(skipna=False)))
    shown = CliRunner().invoke(
        cli, ["sql", door.SCHEME, "select avg(pressure_bar) from hours where "
              "event_time >= '2030-01-01'"],
    )  # fmt: skip
    assert shown.exit_code == 0
    assert shown.stderr == "read: 0 records of kafka://hours, 0 bytes, 0 in span\n"


@pytest.mark.pulsar
def test_a_field_that_is_called_as_a_time_bounds_no_record(kafka):
    door.make_topic("kafka://named", partitions=1)
    rows = [{"pump": "p", "event_time": f"2020-01-0{day}"} for day in (1, 2, 3)]
    send("kafka://named", *(json.dumps(row).encode() for row in rows))

    rows_of_field = pulsar_sql(
        door.SCHEME, "select event_time from named where event_time > '2020-01-01'"
    )
    hidden = pulsar_sql(
        door.SCHEME, "select event_time from named where __event_time__ < timestamptz '2020-01-09'"
    )

    assert rows_of_field["event_time"].tolist() == ["2020-01-02", "2020-01-03"]
    assert hidden.empty


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from plant.pumps", "SQL takes plant.pumps for a table of a schema, not for the topic "
         'plant.pumps\n  in double quotes: "plant.pumps"'),
        ("from Plant.Pumps join pumps on true", "SQL takes Plant.Pumps for a table of a "
         'schema, not for the topic plant.pumps\n  in double quotes: "plant.pumps"'),
        ("from plant.pumsp", "there is no topic kafka://plant.pumsp\n  did you mean 'plant.pumps'"),
        ("from pumsp", "there is no topic kafka://pumsp\n  did you mean 'pumps'"),
    ],
)  # fmt: skip
def test_a_point_in_a_topics_name_without_quotes_is_told_from_a_schema(text, message):
    with duckdb.connect() as connection, pytest.raises(ReplayError) as error:
        _asked(connection, text, ["plant.pumps", "pumps"])

    assert str(error.value).startswith(message)


def test_topics_are_named_by_quotes_and_without_a_point_by_none():
    text = 'with best as (from pumps) from "Plant.pumps" join best using (pump), main.pumps'
    with duckdb.connect() as connection:
        assert _asked(connection, text, ["plant.pumps", "pumps", "x"]) == ["plant.pumps", "pumps"]


def test_a_join_by_names_is_asked_of_topics_as_any_other():
    text = 'from pumps join "plant.Pumps" using (pump)'
    with duckdb.connect() as connection:
        assert _asked(connection, text, ["plant.pumps", "pumps", "x"]) == ["plant.pumps", "pumps"]
