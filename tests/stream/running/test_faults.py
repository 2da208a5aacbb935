"""Processes are killed while readings flow; no alert is lost, invented or changed.

`make faults`, in `faults/`, is the long form: more of what can be killed, of Pulsar and of Kafka.
"""

import hashlib
import json
import sys
import threading
import time
from typing import NamedTuple

import numpy as np
import pandas as pd
import psutil
import pulsar
import pytest
import yaml

from workbench import broker, detectors
from workbench import services as room
from workbench.broker import connect
from workbench.services import offload
from workbench.services.processes import processes
from workbench.stream.promotion_log import add_package
from workbench.stream.running import session

READINGS = 12_000
SEED = 1
SENSORS = 40
PARTITIONS = 4
SEGMENT_S = 6  # of readings between two faults
TOPICS = ("in", "scores", "out")
START_MS = 1_767_571_200_000
LATENESS_MS = 1_000
CHANNELS = ["pressure_bar", "flow_l_min"]


def plan():
    """Readings of SENSORS sensors, 10 ms apart and a little out of order, with planted bursts."""
    rng = np.random.default_rng(SEED)
    number = np.arange(READINGS)
    values = rng.normal(size=(READINGS, 2)).clip(-2, 2)
    turn, sensor = number // SENSORS, number % SENSORS
    burst = (turn % 60 >= 30) & (turn % 60 < 36) & ((turn // 60) % 8 == sensor % 8)
    values[burst] += 9
    jitter_ms = rng.integers(-100, 100, READINGS)
    frame = pd.DataFrame(values, columns=CHANNELS)
    frame["sensor"] = [f"pump-{one}" for one in sensor]
    frame["event_ms"] = START_MS + number * 10 + jitter_ms
    planted = {(f"pump-{s}", t // 60) for s, t in zip(sensor[burst], turn[burst], strict=True)}
    return frame, planted


FLUSH_MS = START_MS + READINGS * 10 + 10_000


def flush():
    """A last reading of each sensor, so of each partition, which makes all before it due."""
    calm = {"event_ms": FLUSH_MS, **dict.fromkeys(CHANNELS, 0.0)}
    return [{"sensor": f"pump-{one}", **calm} for one in range(SENSORS)]


class Message(NamedTuple):
    """What a topic holds."""

    key: str
    value: bytes
    event_ms: int
    id: str


class PulsarQueue:
    """Topics of Pulsar, whose archive is in S3."""

    topic, scores, alerts = (f"persistent://public/default/faults-{n}" for n in TOPICS)

    def make(self):
        path = f"{broker.rest_path(self.topic)}/partitions"
        broker.check(broker.admin("PUT", path, json=PARTITIONS))
        with connect() as client:
            for topic in (self.topic, self.scores, self.alerts):
                client.create_producer(topic).close()

    def send(self, rows, failed):
        def sent(result, _):
            if result != pulsar.Result.Ok:
                failed.append(result)

        with connect() as client:
            producer = client.create_producer(
                self.topic,
                send_timeout_millis=0,  # a broker may be away for long
                block_if_queue_full=True,
                batching_enabled=True,
                batching_max_messages=300,
                batching_max_publish_delay_ms=50,
            )
            for value, event_ms, key in rows:
                producer.send_async(value, sent, event_timestamp=event_ms, partition_key=key)
            producer.flush()

    def read(self, topic, enough, timeout_s):
        """Read until `enough(messages)`; keys as the connector writes them."""
        found, deadline = [], time.monotonic() + timeout_s
        with connect() as client:
            reader = client.create_reader(topic, pulsar.MessageId.earliest)
            while not enough(found) and time.monotonic() < deadline:
                try:
                    found.append(self._message(reader.read_next(1000)))
                except pulsar.Timeout:
                    continue
        return found

    @staticmethod
    def _message(one):
        at = one.message_id()
        place = f"{at.ledger_id()}:{at.entry_id()}:{at.partition()}:{at.batch_index()}"
        return Message(one.partition_key(), one.data(), one.event_timestamp(), place)

    def kill(self):
        kill("pulsar")
        room.up(["pulsar"])


class Flow(threading.Thread):
    """Sends the readings in batches, slowly; waits at the next place until a fault is over."""

    def __init__(self, queue, frame, places):
        super().__init__(daemon=True)
        self.queue = queue
        self.rows = [*frame.to_dict("records"), *flush()]
        self.places = places
        self.rate = len(frame) / (len(places) + 1) / SEGMENT_S
        self.reached = [threading.Event() for _ in places]
        self.over = [threading.Event() for _ in places]
        self.failed = []

    def run(self):
        try:
            self.queue.send(self.due(), self.failed)
        except Exception as err:
            self.failed.append(err)

    def due(self):
        """Yield value, event time and key of each reading when it is to be sent."""
        for at, row in enumerate(self.rows):
            if at in self.places:
                which = self.places.index(at)
                if which:
                    self.over[which - 1].wait()
                self.reached[which].set()
            content = {name: row[name] for name in ("sensor", *CHANNELS)}
            yield json.dumps(content).encode(), int(row["event_ms"]), row["sensor"]
            if at % 20 == 0:
                time.sleep(20 / self.rate)


def kill(name, *, python=False):
    """SIGKILL a service, or the Python workers beneath it."""
    found = processes(name)
    for one in found if not python else [p for p in found[1:] if "beam" in " ".join(p.cmdline())]:
        one.kill()
        if not python:
            break
    psutil.wait_procs(found[:1] if not python else [], timeout=10)


def kill_taskmanager():
    kill("taskmanager")
    room.up(["flink"])


def kill_jobmanager():
    kill("jobmanager")
    room.up(["flink"])
    session.resume("faults")


def kill_python_worker():
    kill("taskmanager", python=True)


def restart_s3():
    room.down(["s3"])
    time.sleep(1)
    room.up(["s3"])
    offload(PulsarQueue.topic)


def await_checkpoint():
    """Wait until the job completes another checkpoint: then it has recovered."""
    deadline, before = time.monotonic() + 240, None
    while time.monotonic() < deadline:
        now = session.status("faults")
        before = now if before is None or before.job != now.job else before
        if now.state == "RUNNING" and now.checkpoints > before.checkpoints:
            return
        time.sleep(0.5)
    raise AssertionError(f"the job does not recover: {now}")


def stored(queue, count):
    """What the topic really holds, in its order, with message ids."""
    rows = [
        json.loads(one.value) | {"event_ms": one.event_ms, "id": one.id}
        for one in queue.read(queue.topic, ended(), 120)
    ]
    assert len(rows) >= count
    return pd.DataFrame(rows)


def ended():
    """Tell whether the last reading of every sensor is there."""
    seen, at = set(), [0]

    def told(found):
        seen.update(one.key for one in found[at[0] :] if one.event_ms == FLUSH_MS)
        at[0] = len(found)
        return len(seen) == SENSORS

    return told


def iso(moment):
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.timeout(1200)
def test_no_alert_is_lost_or_invented_through_faults(services, store, tmp_path):
    queue = PulsarQueue()
    faults = [kill_taskmanager, kill_jobmanager, kill_python_worker, queue.kill, restart_s3]
    go_through(queue, faults, tmp_path)


def go_through(queue, kinds, tmp_path):
    """Let readings flow through faults, and compare what comes out with the batch path."""
    frame, planted = plan()
    history = frame.head(8_000).assign(time=pd.to_datetime(frame["event_ms"], unit="ms", utc=True))
    calm = history[(history[CHANNELS] < 5).all(axis=1)]
    spec = {"name": "robust_z", "window": 4, "channels": CHANNELS}
    detector = detectors.fit(spec, calm, sensor="sensor", time="time")
    rule = detectors.EpisodeRule(2, 3, 4)
    detectors.save(detector, tmp_path / "package", threshold=3.5, rule=rule, training={})
    package = add_package(tmp_path / "package")
    content = {
        "topic": queue.topic, "scores": queue.scores, "alerts": queue.alerts, "sensor": "sensor",
        "channels": CHANNELS, "window": 4, "lateness_s": LATENESS_MS / 1000,
    }  # fmt: skip
    (tmp_path / "faults.yaml").write_text(yaml.safe_dump(content))
    rng = np.random.default_rng(SEED)
    faults = [kinds[n] for n in rng.permutation(len(kinds))]
    places = np.linspace(0, READINGS, len(faults) + 1, endpoint=False).astype(int)[1:]
    queue.make()

    room.up(["flink"])
    try:
        session.submit(tmp_path / "faults.yaml", position="earliest", package=package)
        flow = Flow(queue, frame, [int(one) for one in places])
        flow.start()
        await_checkpoint()
        for number, fault in enumerate(faults):
            flow.reached[number].wait()
            time.sleep(rng.uniform(1, SEGMENT_S / 2))  # while readings flow
            fault()
            began = time.monotonic()
            await_checkpoint()
            told = f"{fault.__qualname__} after {places[number]} readings"
            sys.stderr.write(f"{told}: {time.monotonic() - began:.0f} s to recover\n")
            flow.over[number].set()
        flow.join()
        assert flow.failed == []
        topic = stored(queue, READINGS)
        due = topic[topic["event_ms"] < FLUSH_MS]
        scores = queue.read(queue.scores, enough(len(due)), 60 + READINGS / 500)
        time.sleep(6)  # a checkpoint later, an invented alert would be there
        alerts = [json.loads(one.value) for one in queue.read(queue.alerts, lambda _: False, 8)]
        restarts = session.status("faults").restarts
        session.stop("faults", with_savepoint=False)
    finally:
        room.down(["flink"])

    late_free = detectors.detect(
        detectors.load(tmp_path / "package"),
        due.assign(time=pd.to_datetime(due["event_ms"], unit="ms", utc=True), message_id=due["id"]),
        sensor="sensor", time="time", lateness_ms=LATENESS_MS, ahead_ms=300_000,
    )  # fmt: skip
    check_scores(scores, due, late_free)
    check_alerts(queue, alerts, late_free.episodes, planted, package)
    sys.stderr.write(
        f"{len(topic)} readings ({len(topic) - READINGS - SENSORS} sent twice by the client), "
        f"{len(planted)} planted bursts, {len(faults)} faults, {restarts} restarts of the last "
        f"job, "
        f"{len(late_free.episodes)} alerts expected, {len({a['id'] for a in alerts})} there in "
        f"{len(alerts)} messages, {len(scores)} scores of {len(due)} readings\n"
    )


def enough(count):
    """Tell whether so many different readings are scored: most come once, some again."""
    seen, at = set(), [0]

    def told(found):
        for one in found[at[0] :]:
            seen.add(json.loads(one.value)["message_id"])
        at[0] = len(found)
        return len(seen) >= count

    return told


def check_scores(messages, due, expected):
    """Each reading has one score, the batch path's; however often it was sent."""
    assert not expected.late.any()
    wanted = dict(zip(due["id"], expected.scores, strict=True))
    order = {}
    for one in messages:
        score = json.loads(one.value)
        value = np.nan if score["score"] is None else score["score"]
        assert value == pytest.approx(wanted[score["message_id"]], rel=1e-9, nan_ok=True)
        order.setdefault(score["sensor"], dict.fromkeys([])).setdefault(
            score["message_id"], score["event_ms"]
        )
    assert sum(map(len, order.values())) == len(due)
    assert all(list(times.values()) == sorted(times.values()) for times in order.values())


def check_alerts(queue, alerts, episodes, planted, package):
    """The alerts kept, one per id, are the episodes of the batch path."""
    newest = {}
    for one in alerts:
        if newest.get(one["id"], {}).get("status") != "closed":
            newest[one["id"]] = one
    expected = {}
    for row in episodes.itertuples():
        about = f"{queue.topic}|{row.sensor}|{package}|episode|{row.start.value // 10**6}"
        expected[hashlib.sha256(about.encode()).hexdigest()[:32]] = row
    assert newest.keys() == expected.keys()
    for key, row in expected.items():
        one = newest[key]
        assert one["status"] == "closed"
        assert (one["sensor"], one["start"], one["stop"]) == (
            row.sensor, iso(row.start), iso(row.stop),
        )  # fmt: skip
        assert (one["peak_time"], one["readings"]) == (iso(row.peak_time), row.readings)
        assert one["peak_score"] == pytest.approx(row.peak_score, rel=1e-9)
    turns = {
        (row.sensor, (row.start.value // 10**6 - START_MS + 200) // 10 // SENSORS // 60)
        for row in episodes.itertuples()
    }
    assert planted <= turns
