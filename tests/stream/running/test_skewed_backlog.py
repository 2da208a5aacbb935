"""A backlog in partitions of different length: scored whole, and little of it waits in memory."""

import contextlib
import json
import threading
import time

import numpy as np
import pandas as pd
import pulsar
import pytest

from workbench import broker, detectors
from workbench.broker import connect
from workbench.stream import file_sink, parse_stream
from workbench.stream.promotion_log import add_package
from workbench.stream.running import job as running
from workbench.stream.running import live
from workbench.stream.running.outcome import output

START_MS = 1_767_571_200_000
SPAN_MS = 600_000
LATENESS_MS = 1_000
CHANNELS = ["pressure_bar", "flow_l_min"]
SIZES = (100_000, 10_000, 10_000, 10_000)  # readings of each partition, over the same span
WAITING_BYTES = 1 << 20
IDLE_S = 9.0  # a third of it for a first reading: slow machines start a consumer in seconds


def backlog():
    """Readings by partition; each has ten sensors of its own, and pump-0 comes by all four."""
    rng = np.random.default_rng(4)
    frames = []
    for part, size in enumerate(SIZES):
        own = [f"pump-{part}-{one}" for one in range(10)]
        number = np.arange(size)
        jitter_ms = rng.integers(0, 500, size)
        values = pd.DataFrame(rng.normal(size=(size, 2)), columns=CHANNELS)
        times = START_MS + np.linspace(0, SPAN_MS, size).astype(np.int64) + jitter_ms
        sensors = np.where(number % 50 == 0, "pump-0", np.array(own)[number % 10])
        frames.append(values.assign(pump=sensors, event_ms=times))
    return frames


def publish(topic, frames):
    """Send each frame to its partition; return it with the ids that its messages were given."""
    sent = []
    with connect() as client:
        for part, frame in enumerate(frames):
            ids = [None] * len(frame)
            producer = client.create_producer(
                f"{topic}-partition-{part}", block_if_queue_full=True, batching_max_messages=1000
            )
            for place, row in enumerate(frame.to_dict("records")):
                event_ms = int(row.pop("event_ms"))

                def keep(_, at, place=place, part=part, ids=ids):
                    ids[place] = f"{at.ledger_id()}:{at.entry_id()}:{part}:{at.batch_index()}"

                producer.send_async(json.dumps(row).encode(), keep, event_timestamp=event_ms)
            producer.flush()
            sent.append(frame.assign(message_id=ids))
    frame = pd.concat(sent, ignore_index=True)
    return frame.assign(event_time=pd.to_datetime(frame["event_ms"], unit="ms", utc=True))


def due(frame):
    """Which readings their own partition lets go on."""
    parts = frame["message_id"].str.split(":").str[2]
    clock = frame["event_ms"].groupby(parts).transform("max")
    return frame["event_ms"] <= clock - LATENESS_MS


class Checkpoints(threading.Thread):
    """How large the checkpoints of a job are, while it runs."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder = folder
        self.bytes = {}
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(0.05):
            for path in self.folder.glob("*/chk-*/_metadata"):
                with contextlib.suppress(OSError):  # an old one, which is gone
                    held = sum(one.stat().st_size for one in path.parent.iterdir())
                    self.bytes[path.parent.name] = held


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.timeout(600)
def test_of_a_skewed_backlog_all_is_scored_and_few_readings_wait(
    services, store, package_folder, content, monkeypatch, tmp_path
):
    monkeypatch.setattr(running, "_WAITING_BYTES", WAITING_BYTES)
    topic = "persistent://public/default/skewed"
    refused = f"{topic}-refused"
    stream = parse_stream(
        "skewed", content(topic=topic, refused=refused, lateness_s=LATENESS_MS / 1000)
    )
    broker.check(broker.admin("PUT", f"{broker.rest_path(topic)}/partitions", json=len(SIZES)))
    with connect() as client:
        client.create_producer(refused).close()
    held = publish(topic, backlog())
    notebook = detectors.detect(
        detectors.load(package_folder), held, sensor="pump", lateness_ms=LATENESS_MS,
        ahead_ms=stream.ahead_ms,
    )  # fmt: skip
    expected = due(held)

    settings = {
        "execution.checkpointing.dir": (tmp_path / "checkpoints").as_uri(),
        "execution.checkpointing.interval": "300 ms",
    }
    ends = {name: file_sink(tmp_path / name, "csv") for name in ("scores", "late")}
    job = live.launch(
        stream, settings, position="earliest", package=add_package(package_folder), ends=ends
    )
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.start()
    began = time.monotonic()
    while len(given := output(stream, "scores", tmp_path)) < expected.sum():
        assert time.monotonic() - began < 300, f"{len(given)} of {expected.sum()} scored"
        job.wait(2)
    late = output(stream, "late", tmp_path)
    checkpoints.over.set()
    checkpoints.join()
    job.stop()

    assert not notebook.late.any()
    assert len(late) == 0
    assert messages(refused) == []
    assert set(given["message_id"]) == set(held["message_id"][expected])
    wanted = pd.Series(notebook.scores, held["message_id"])
    np.testing.assert_allclose(given["score"], wanted[given["message_id"]], rtol=1e-9)
    assert len(checkpoints.bytes) > 5
    # more came before a partition stood still; all that wait would be 3.3 MB
    assert max(checkpoints.bytes.values()) < 2 * WAITING_BYTES


def messages(topic):
    rows = []
    with connect() as client:
        reader = client.create_reader(topic, pulsar.MessageId.earliest)
        while reader.has_message_available():
            rows.append(json.loads(reader.read_next(5000).data()))
    return rows


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.timeout(300)
def test_what_comes_too_late_for_sums_and_patterns_is_scored_and_counted(
    services, content, monkeypatch, tmp_path, short_beats
):
    """A partition goes on where it was when it fell silent; the other went on meanwhile."""
    monkeypatch.setattr(running, "_IDLE_S", IDLE_S)
    topic = "persistent://public/default/behind"
    heartbeat = f"{topic}-heartbeat"
    events = {
        "detector": "none",
        "limits": {"high": "pressure_bar > 5"},
        "patterns": {
            "surge": {
                "template": "sequence",
                "steps": ["pressure_bar > 5", "flow_l_min > 5"],
                "within_s": 60,
            }
        },
    }
    more = {"heartbeat": heartbeat, "alerts": f"{topic}-alerts", "lateness_s": 1}
    stream = parse_stream("behind", content(topic=topic, **more, **events))
    broker.check(broker.admin("PUT", f"{broker.rest_path(topic)}/partitions", json=2))
    with connect() as client:
        client.create_producer(heartbeat).close()
    publish(topic, [surging("a", 0, 100), surging("b", 0, 100)])

    job = live.start(stream, position="earliest", restarts=0)
    await_total(heartbeat, "read", 200)
    publish(topic, [surging("a", 100, 300), surging("b", 0, 0)])
    await_total(heartbeat, "read", 400)
    time.sleep(2 * IDLE_S)  # for as long nobody waits for b
    publish(topic, [surging("a", 0, 0), surging("b", 100, 250)])
    beats = await_total(heartbeat, "behind", 150)
    expected = {("a", minute) for minute in range(5)} | {("b", 0), ("b", 1)}
    alerts = await_started(stream.alerts, "high", expected | {("b", 2), ("b", 3)})
    job.stop()

    assert started(alerts, "surge") == expected
    assert started(alerts, "high") == expected | {("b", 2), ("b", 3)}
    assert total(beats, "behind") == 150  # from the one that waited when b fell silent
    assert total(beats, "overtaken") == total(beats, "late") == total(beats, "refused") == 0


def surging(pump, start_s, stop_s):
    """A reading each second; in each minute pressure is high at 10 s, and flow at 20 s."""
    second = np.arange(start_s, stop_s)
    frame = pd.DataFrame({"pump": pump, "event_ms": START_MS + second * 1000})
    pressure, flow = np.where(second % 60 == 10, 9.0, 1.0), np.where(second % 60 == 20, 9.0, 1.0)
    return frame.assign(pressure_bar=pressure, flow_l_min=flow)


def started(alerts, kind):
    times = [(one["sensor"], one["start"]) for one in alerts if one["kind"] == kind]
    return {(pump, pd.Timestamp(start).minute) for pump, start in times}


def await_started(topic, kind, expected):
    """Return the alerts, once those of a kind are there, or a minute is over."""
    until = time.monotonic() + 60
    while not expected <= started(alerts := messages(topic), kind) and time.monotonic() < until:
        time.sleep(1)
    return alerts


def total(beats, name):
    return sum(one[name] for one in beats)


def await_total(heartbeat, name, least):
    """Return the heartbeats, once they have counted so many."""
    until = time.monotonic() + 120
    while total(beats := messages(heartbeat), name) < least:
        assert time.monotonic() < until, beats
        time.sleep(1)
    return beats
