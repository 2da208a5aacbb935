"""Processes are killed while readings flow; no alert is lost, invented or changed.

`make faults` is the long form: FAULTS_READINGS readings, FAULTS_ROUNDS times every fault.
"""

import hashlib
import json
import os
import sys
import threading
import time

import numpy as np
import pandas as pd
import psutil
import pulsar
import pytest
import yaml

from workbench import detectors
from workbench import services as room
from workbench.services import connect, offload
from workbench.services.processes import processes
from workbench.stream import session
from workbench.stream.promotions import add_package

READINGS = int(os.environ.get("FAULTS_READINGS", "12000"))
ROUNDS = int(os.environ.get("FAULTS_ROUNDS", "1"))
SEED = int(os.environ.get("FAULTS_SEED", "1"))
SENSORS = 40
SEGMENT_S = 12 if "FAULTS_READINGS" in os.environ else 6  # of readings between two faults
START_MS = 1_767_571_200_000
LATENESS_MS = 1_000
TOPIC, SCORES, ALERTS = (f"persistent://public/default/faults-{n}" for n in ("in", "scores", "out"))
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


def flush():
    """A reading far ahead, which makes all before it due."""
    return {"sensor": "pump-0", "event_ms": START_MS + 10**9, **dict.fromkeys(CHANNELS, 0.0)}


class Flow(threading.Thread):
    """Sends the readings in batches, slowly; waits at the next place until a fault is over."""

    def __init__(self, frame, places):
        super().__init__(daemon=True)
        self.rows = [*frame.to_dict("records"), flush()]
        self.places = places
        self.rate = len(frame) / (len(places) + 1) / SEGMENT_S
        self.reached = [threading.Event() for _ in places]
        self.over = [threading.Event() for _ in places]
        self.failed = []

    def run(self):
        try:
            with connect() as client:
                self.send_all(client)
        except Exception as err:
            self.failed.append(err)

    def send_all(self, client):
        producer = client.create_producer(
            TOPIC,
            send_timeout_millis=0,  # a broker may be away for long
            block_if_queue_full=True,
            batching_enabled=True,
            batching_max_messages=300,
            batching_max_publish_delay_ms=50,
        )
        for at, row in enumerate(self.rows):
            if at in self.places:
                which = self.places.index(at)
                if which:
                    self.over[which - 1].wait()
                self.reached[which].set()
            content = {name: row[name] for name in ("sensor", *CHANNELS)}
            producer.send_async(
                json.dumps(content).encode(), self.sent, event_timestamp=int(row["event_ms"])
            )
            if at % 20 == 0:
                time.sleep(20 / self.rate)
        producer.flush()

    def sent(self, result, _):
        if result != pulsar.Result.Ok:
            self.failed.append(result)


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


def kill_broker():
    kill("pulsar")
    room.up(["pulsar"])


def restart_s3():
    room.down(["s3"])
    time.sleep(1)
    room.up(["s3"])
    offload(TOPIC)


FAULTS = [kill_taskmanager, kill_jobmanager, kill_python_worker, kill_broker, restart_s3]


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


def read(topic, enough, timeout_s):
    """Read a topic until `enough(values)`; keys as the connector writes them."""
    found, deadline = [], time.monotonic() + timeout_s
    with connect() as client:
        reader = client.create_reader(topic, pulsar.MessageId.earliest)
        while not enough(found) and time.monotonic() < deadline:
            try:
                found.append(reader.read_next(1000))
            except pulsar.Timeout:
                continue
    return found


def stored(count):
    """What the topic really holds, in its order, with message ids."""
    rows = []
    for one in read(TOPIC, lambda found: bool(found) and is_last(found[-1]), 120):
        at = one.message_id()
        place = f"{at.ledger_id()}:{at.entry_id()}:{at.partition()}:{at.batch_index()}"
        rows.append(json.loads(one.data()) | {"event_ms": one.event_timestamp(), "id": place})
    assert len(rows) >= count
    return pd.DataFrame(rows)


def is_last(message):
    return message.event_timestamp() == flush()["event_ms"]


def iso(moment):
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.timeout(0 if "FAULTS_READINGS" in os.environ else 600)
def test_no_alert_is_lost_or_invented_through_faults(services, store, tmp_path):
    frame, planted = plan()
    history = frame.head(8_000).assign(time=pd.to_datetime(frame["event_ms"], unit="ms", utc=True))
    calm = history[(history[CHANNELS] < 5).all(axis=1)]
    spec = {"name": "robust_z", "window": 4, "channels": CHANNELS}
    detector = detectors.fit(spec, calm, sensor="sensor", time="time")
    rule = detectors.EpisodeRule(2, 3, 4)
    detectors.save(detector, tmp_path / "package", threshold=3.5, rule=rule, training={})
    package = add_package(tmp_path / "package")
    content = {
        "topic": TOPIC, "scores": SCORES, "alerts": ALERTS, "sensor": "sensor",
        "channels": CHANNELS, "window": 4, "lateness_s": LATENESS_MS / 1000,
    }  # fmt: skip
    (tmp_path / "faults.yaml").write_text(yaml.safe_dump(content))
    rng = np.random.default_rng(SEED)
    faults = [FAULTS[n] for _ in range(ROUNDS) for n in rng.permutation(len(FAULTS))]
    places = np.linspace(0, READINGS, len(faults) + 1, endpoint=False).astype(int)[1:]
    with connect() as client:
        for topic in (TOPIC, SCORES, ALERTS):
            client.create_producer(topic).close()

    room.up(["flink"])
    try:
        session.submit(tmp_path / "faults.yaml", position="earliest", package=package)
        flow = Flow(frame, [int(one) for one in places])
        flow.start()
        await_checkpoint()
        for number, fault in enumerate(faults):
            flow.reached[number].wait()
            time.sleep(rng.uniform(1, SEGMENT_S / 2))  # while readings flow
            fault()
            began = time.monotonic()
            await_checkpoint()
            told = f"{fault.__name__} after {places[number]} readings"
            sys.stderr.write(f"{told}: {time.monotonic() - began:.0f} s to recover\n")
            flow.over[number].set()
        flow.join()
        assert flow.failed == []
        topic = stored(READINGS)
        due = topic[topic["event_ms"] < flush()["event_ms"]]
        scores = read(SCORES, enough(len(due)), 60 + READINGS / 500)
        time.sleep(6)  # a checkpoint later, an invented alert would be there
        alerts = [json.loads(one.data()) for one in read(ALERTS, lambda _: False, 8)]
        restarts = session.status("faults").restarts
        session.stop("faults", with_savepoint=False)
    finally:
        room.down(["flink"])

    late_free = detectors.detect(
        detectors.load(tmp_path / "package"),
        due.assign(time=pd.to_datetime(due["event_ms"], unit="ms", utc=True)),
        sensor="sensor", time="time", lateness_ms=LATENESS_MS,
    )  # fmt: skip
    check_scores(scores, due, late_free)
    check_alerts(alerts, late_free.episodes, planted, package)
    sys.stderr.write(
        f"{len(topic)} readings ({len(topic) - READINGS - 1} sent twice by the client), "
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
            seen.add(json.loads(one.data())["message_id"])
        at[0] = len(found)
        return len(seen) >= count

    return told


def check_scores(messages, due, expected):
    """Each reading has one score, the batch path's; however often it was sent."""
    assert not expected.late.any()
    wanted = dict(zip(due["id"], expected.scores, strict=True))
    order = {}
    for one in messages:
        score = json.loads(one.data())
        value = np.nan if score["score"] is None else score["score"]
        assert value == pytest.approx(wanted[score["message_id"]], rel=1e-9, nan_ok=True)
        order.setdefault(score["sensor"], dict.fromkeys([])).setdefault(
            score["message_id"], score["event_ms"]
        )
    assert sum(map(len, order.values())) == len(due)
    assert all(list(times.values()) == sorted(times.values()) for times in order.values())


def check_alerts(alerts, episodes, planted, package):
    """The alerts kept, one per id, are the episodes of the batch path."""
    newest = {}
    for one in alerts:
        if newest.get(one["id"], {}).get("status") != "closed":
            newest[one["id"]] = one
    expected = {}
    for row in episodes.itertuples():
        about = f"{TOPIC}|{row.sensor}|{package}|episode|{row.start.value // 10**6}"
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
