"""A job on a topic with partitions: a backlog, a partition more, a clock that is ahead."""

import json
import threading
import time

import numpy as np
import pandas as pd
import pulsar
import pytest

from workbench import broker, detectors
from workbench.broker import connect
from workbench.services import offload
from workbench.services.processes import processes
from workbench.stream import parse_stream, start
from workbench.stream.connectors.pulsar import lasting_position
from workbench.stream.promotion_log import add_package
from workbench.stream.running.backtesting import backtest

CHANNELS = ["pressure_bar", "flow_l_min"]
LATENESS_MS = 30_000
START_MS = 1_767_571_200_000
OVERTAKEN = (
    "a reading of its sensor that is as new or newer came by another partition and went before: "
    "this one was silent for too long to be waited for"
)


def plan(n=4_000, *, sensors=8, seed=5):
    """Readings of a minute each, a little out of order, some late, with bursts."""
    rng = np.random.default_rng(seed)
    number = np.arange(n)
    minute = number // sensors
    moved = np.abs(number - n // 2) < 20 * sensors  # where keys go to other partitions
    late_s = np.where((rng.random(n) < 0.03) & ~moved, -90, 0) + rng.integers(-5, 5, n)
    values = rng.normal(size=(n, 2))
    burst = (minute % 60 < 8) & (number % sensors == minute // 60 % sensors)
    values[burst] += 8
    times = START_MS + minute * 60_000 + late_s * 1000
    ahead = np.isin(number, [n // 4, n // 4 + 900, 3 * n // 4])
    frame = pd.DataFrame(values, columns=CHANNELS)
    return frame.assign(
        pump=[f"pump-{one}" for one in number % sensors], event_ms=times + ahead * 86_400_000
    ), ahead


def partitioned(topic, count, *, more=False):
    path = f"{broker.rest_path(topic)}/partitions"
    broker.check(broker.admin("POST" if more else "PUT", path, json=count))


def publish(topic, frame):
    with connect() as client:
        producer = client.create_producer(topic, block_if_queue_full=True)
        for row in frame.to_dict("records"):
            event_ms = int(row.pop("event_ms"))
            content = json.dumps(row).encode()
            producer.send_async(content, None, partition_key=row["pump"], event_timestamp=event_ms)
        producer.flush()


def stored(topic):
    """What the topic holds: each partition in its own order."""
    rows = []
    with connect() as client:
        for part in broker.partitions(topic):
            reader = client.create_reader(part, pulsar.MessageId.earliest)
            index = int(part.rpartition("-")[2])
            while reader.has_message_available():
                message = reader.read_next(5000)
                at = message.message_id()
                place = f"{at.ledger_id()}:{at.entry_id()}:{index}:{at.batch_index()}"
                time_ms = message.event_timestamp()
                rows.append(json.loads(message.data()) | {"event_ms": time_ms, "message_id": place})
    frame = pd.DataFrame(rows)
    return frame.assign(event_time=pd.to_datetime(frame["event_ms"], unit="ms", utc=True))


def read(topic, enough, timeout_s=120):
    rows, deadline = [], time.monotonic() + timeout_s
    with connect() as client:
        reader = client.create_reader(topic, pulsar.MessageId.earliest)
        while not enough(rows) and time.monotonic() < deadline:
            try:
                rows.append(json.loads(reader.read_next(1000).data()))
            except pulsar.Timeout:
                continue
    return rows


def due(frame, detection):
    """Which readings their own partition lets go on: the others are waited with."""
    taken = ~(detection.late | detection.ahead)
    parts = frame["message_id"].str.split(":").str[2]
    clock = frame["event_ms"].where(taken).groupby(parts).transform("max")
    return (taken & (frame["event_ms"] <= clock - LATENESS_MS)).to_numpy()


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.timeout(600)
def test_notebook_backtest_and_job_agree_on_a_topic_with_partitions(
    services, store, package_folder, content, short_beats
):
    topic = "persistent://public/default/parted"
    ends = {item: f"{topic}-{item}" for item in ("alerts", "scores", "refused", "heartbeat")}
    stream = parse_stream("parted", content(topic=topic, **ends))
    package = add_package(package_folder)
    frame, ahead = plan()
    half = len(frame) // 2
    partitioned(topic, 4)
    publish(topic, frame.head(half))  # a backlog
    with connect() as client:
        for item in ends.values():
            client.create_producer(item).close()

    job = start(stream, package=package, position="earliest", restarts=0)
    read(ends["scores"], lambda rows: len(rows) > half // 2)
    partitioned(topic, 5, more=True)
    publish(topic, frame.iloc[half:])
    held = stored(topic)
    notebook = detectors.detect(
        detectors.load(package_folder), held, sensor="pump", lateness_ms=LATENESS_MS,
        ahead_ms=stream.ahead_ms,
    )  # fmt: skip
    expected = due(held, notebook)
    scores = read(ends["scores"], lambda rows: len(rows) >= expected.sum())
    refused = read(ends["refused"], lambda rows: len(rows) >= 3)
    beats = read(ends["heartbeat"], lambda rows: _total(rows, "read") == len(held), 30)
    alerts = read(ends["alerts"], lambda _: False, 4)  # an invented one would be there
    state = job.state()
    job.stop()

    assert state == "RUNNING"
    assert len(held) == len(frame)
    assert set(held["message_id"].str.split(":").str[2]) == set("01234")
    assert notebook.late.sum() > 50
    assert notebook.ahead.sum() == ahead.sum() == 3
    wanted = dict(zip(held["message_id"], notebook.scores, strict=True))
    given = {item["message_id"]: item["score"] for item in scores}
    assert given.keys() == set(held["message_id"][expected])
    for name, score in given.items():
        assert (np.nan if score is None else score) == pytest.approx(
            wanted[name], rel=1e-9, nan_ok=True
        )
    assert {item["message_id"] for item in refused} == set(held["message_id"][notebook.ahead])
    total = {name: _total(beats, name) for name in ("read", "late", "refused", "ahead")}
    assert total == {"read": len(held), "late": notebook.late.sum(), "refused": 3, "ahead": 3}

    offload(topic)
    done = backtest(stream, archive=None, package=package).outcome
    assert set(done.late["message_id"]) == set(held["message_id"][notebook.late])
    assert set(done.refused["message_id"]) == set(held["message_id"][notebook.ahead])
    assert _begun(done.alerts.to_dict("records")) == {
        (item.sensor, item.start.value) for item in notebook.episodes.itertuples()
    }
    assert _begun(alerts) <= _begun(done.alerts.to_dict("records"))
    assert len(_begun(alerts)) > 7


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.timeout(600)
def test_a_backlog_is_scored_whole_and_what_cannot_be_waited_for_is_counted(
    services, store, package_folder, content, short_beats
):
    """Newer readings of a pump are in a partition of their own; then all of them are silent."""
    topic = "persistent://public/default/backlog"
    ends = {item: f"{topic}-{item}" for item in ("alerts", "scores", "refused", "heartbeat")}
    stream = parse_stream("backlog", content(topic=topic, **ends))
    frame, _ = plan(2_000)
    half = len(frame) // 2
    partitioned(topic, 4)
    publish(topic, frame.head(half))
    partitioned(topic, 5, more=True)
    publish(topic, frame.iloc[half:])
    with connect() as client:
        for item in ends.values():
            client.create_producer(item).close()
    held = stored(topic)
    notebook = detectors.detect(
        detectors.load(package_folder), held, sensor="pump", lateness_ms=LATENESS_MS,
        ahead_ms=stream.ahead_ms,
    )  # fmt: skip
    expected = due(held, notebook)

    job = start(stream, package=add_package(package_folder), position="earliest", restarts=0)
    scores = read(stream.scores, lambda rows: len(rows) >= expected.sum())
    given = {item["message_id"]: item["score"] for item in scores}
    assert given.keys() == set(held["message_id"][expected])
    wanted = dict(zip(held["message_id"], notebook.scores, strict=True))
    for name, score in given.items():
        assert (np.nan if score is None else score) == pytest.approx(
            wanted[name], rel=1e-9, nan_ok=True
        )

    # the slowest partition, for which nobody waits any more, goes on where it was
    scored = held[held["message_id"].isin(given)]
    part = scored["message_id"].str.split(":").str[2]
    clocks = scored["event_ms"].groupby(part).max() + LATENESS_MS
    slow = clocks.idxmin()
    pump = scored.loc[part == slow, "pump"].iloc[-1]
    late_ms = int(clocks[slow]) + np.array([60_000, 62_000 + LATENESS_MS])
    frame = pd.DataFrame({"pump": [pump, pump], "event_ms": late_ms, "pressure_bar": 0.0})
    publish(f"{stream.topic}-partition-{slow}", frame.assign(flow_l_min=0.0))
    refused = read(stream.refused, lambda rows: any(OVERTAKEN in item["reason"] for item in rows))
    refused += read(stream.refused, lambda _: False, 3)
    overtaken = {item["message_id"] for item in refused if item["reason"] == OVERTAKEN}
    beats = read(stream.heartbeat, lambda rows: _total(rows, "overtaken") >= len(overtaken), 30)
    job.stop()
    assert len(overtaken - set(held["message_id"])) == 1
    assert overtaken.isdisjoint(given)
    assert _total(beats, "overtaken") == len(overtaken)


def _total(beats, name):
    return sum(one[name] for one in beats)


def _begun(alerts):
    return {
        (one["sensor"], pd.Timestamp(one["start"]).value)
        for one in alerts
        if one["kind"] == "episode"
    }


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.timeout(300)
def test_a_job_reads_from_its_submission_on_and_partitions_added_since_from_their_first_message(
    services, content, short_beats
):
    topic = "persistent://public/default/grown"
    partitioned(topic, 1)
    ends = {item: f"{topic}-{item}" for item in ("alerts", "heartbeat")}
    limits = {"high": "pressure_bar > 12"}
    stream = parse_stream("grown", content(topic=topic, detector="none", limits=limits, **ends))
    with connect() as client:
        client.create_producer(ends["heartbeat"]).close()
    calm = pd.DataFrame({"pump": "a", "pressure_bar": 10.0, "flow_l_min": 1.0}, index=range(5))
    publish(topic, calm.assign(event_ms=START_MS + calm.index * 1000))

    # as where a job fails before its first checkpoint, and begins anew after a while
    position = lasting_position(topic, "latest", "workbench-grown")
    meanwhile = calm.assign(event_ms=START_MS + 10_000 + calm.index * 1000)
    publish(topic, meanwhile)
    job = start(stream, position=position, restarts=0)
    read(ends["heartbeat"], lambda rows: len(rows) > 0)
    partitioned(topic, 2, more=True)
    fault = pd.DataFrame({"pump": "b", "pressure_bar": [10.0] * 3 + [20.0] * 7 + [10.0] * 45})
    fault = fault.assign(flow_l_min=1.0, event_ms=START_MS + fault.index * 1000)
    publish(f"{topic}-partition-1", fault)
    # within this time: the connector's own interval is five minutes
    alerts = read(ends["alerts"], lambda rows: len(rows) == 2, timeout_s=120)
    beats = read(ends["heartbeat"], lambda rows: _total(rows, "read") >= 5 + len(fault), 30)
    job.stop()

    assert [(item["sensor"], item["status"]) for item in alerts] == [("b", "open"), ("b", "closed")]
    # nothing of what was there before
    assert _total(beats, "read") == len(meanwhile) + len(fault)
    again = lasting_position(topic, "latest", "workbench-grown")
    assert again == f"{2**63 - 1}:{2**63 - 1}:1"


class Stuttering(threading.Thread):
    """Lets the broker stand still most of the time, for a tenth of a second each."""

    def __init__(self):
        super().__init__(daemon=True)
        self.over = threading.Event()

    def run(self):
        broker_process = processes("pulsar")[0]
        while not self.over.is_set():
            broker_process.suspend()
            self.over.wait(0.12)
            broker_process.resume()
            self.over.wait(0.06)


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.timeout(300)
def test_a_job_finds_its_place_in_every_partition_though_the_broker_is_slow(
    services, content, short_beats
):
    topic = "persistent://public/default/slow"
    partitioned(topic, 24)
    heartbeat = f"{topic}-heartbeat"
    limits = {"high": "pressure_bar > 12"}
    more = {"detector": "none", "limits": limits, "heartbeat": heartbeat}
    stream = parse_stream("slow", content(topic=topic, **more))
    with connect() as client:
        client.create_producer(heartbeat).close()
    sent = pd.DataFrame({"pump": [f"pump-{n}" for n in range(100)], "pressure_bar": 10.0})
    publish(topic, sent.assign(flow_l_min=1.0, event_ms=START_MS + sent.index))

    job = start(stream, position="earliest", restarts=0)
    stutter = Stuttering()
    stutter.start()
    try:
        beats = read(heartbeat, lambda found: _total(found, "read") == len(sent))
    finally:
        stutter.over.set()
        stutter.join()

    job.wait(1)  # raises what it failed of, if it did
    job.stop()
    assert _total(beats, "read") == len(sent)
