"""How fast the job scores, beside what one would write without it. Parallelism 1, w = 64.

    python benchmarks/stream.py [--quick] [--json]

Rates are readings a second in steady state: the slope of what Flink's own metrics say went through
the scoring, over the last half of a run. Generator runs read made-up numbers (1,000 sensors, one
reading a millisecond of event time, one channel) and write to Flink's blackhole.

    mean, pca, knn, iforest   generator to blackhole, scores and alerts, by the detector
    pulsar_pca_rate           JSON readings on a real broker to alerts on it
    watched_ratio             the same with dead-letter and heartbeat topics, over without
    row_process/thread_ratio  pca_rate over that of the Python function that people write today: one
                              row a call, its windows in memory; in both of PyFlink's modes
    consumer_ratio            pca_rate over that of a pulsar-client loop with the same detector
    p99_s                     from publishing a reading to the alert on its topic, at 5,000
                              readings/s, lateness 0.1 s included
    keys_ratio                time for a reading with many sensors, over that with 1,000: 100,000
                              (--quick: 10,000), all windows full; these run before and after
    checkpoint_s              longest checkpoint of the job with that many sensors
    startup_s                 from a new process's call to the first score, Pulsar to Pulsar
    startup_warm_s            the same for its second job
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import itertools
import json
import os
import shutil
import site
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pulsar
import requests

from workbench import broker, detectors, services
from workbench.endpoints import home
from workbench.stream import Stream, find_package, parse_stream
from workbench.stream.flink_sql import events, tables
from workbench.stream.flink_sql.functions import function_jar
from workbench.stream.promotion_log import add_package
from workbench.stream.running import live
from workbench.stream.running.job import (
    define,
    environment,
    execute,
    inserts,
)
from workbench.stream.selection import select

WINDOW = 64
SENSORS = 1_000
START_MS = 1_767_571_200_000
RATE = 5_000  # readings a second, where delays are measured
LINGER_MS = 10  # how long a producer gathers a batch
METHODS = {
    "mean": {"name": "robust_z"},  # a level against the training data: next to no arithmetic
    "pca": {"name": "pca"},
    "knn": {"name": "knn"},
    "iforest": {"name": "iforest"},
}


def package(method: str) -> str:
    """Fit a detector on noise, put it in the store, return its id; few readings exceed it."""
    rng = np.random.default_rng(0)
    times = pd.to_datetime(np.arange(8000) * 1000, unit="ms", utc=True)
    frame = pd.DataFrame({"event_time": times, "sensor": "s", "value": rng.normal(size=8000)})
    spec = {**METHODS[method], "window": WINDOW, "channels": ["value"]}
    detector = detectors.fit(spec, frame, sensor="sensor")
    highest = np.nanmax(detectors.score_readings(detector, frame, sensor="sensor"))
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "package"
        rule = detectors.EpisodeRule()
        detectors.save(detector, target, threshold=float(highest * 3), rule=rule, training={})
        return add_package(target)


def stream(name: str = "bench", **more: Any) -> Stream:
    """Return the stream of all runs."""
    keys = {"channels": ["value"], "sensor": "machine_part", "window": WINDOW, "lateness_s": 1}
    topics = {key: f"persistent://public/default/{name}-{key}" for key in ("topic", "alerts")}
    return parse_stream(name, {**keys, **topics, **more})


@dataclass(frozen=True)
class Generated(tables.Source):
    """The view `generated`, in place of a table with a connector."""

    def table(self) -> str:
        """Return the SQL that defines `messages`."""
        return "CREATE TEMPORARY VIEW messages AS SELECT * FROM generated"


GENERATED = Generated(
    columns={},
    options={},
    message_id="`message_id`",
    partition="'0'",
    time="CAST(`ts` AS TIMESTAMP_LTZ(3))",
    event_ms="`event_ms`",
    fault="CAST(NULL AS STRING)",
    bounded=True,
)


def generator(env: Any, readings: int, sensors: int) -> None:
    """Define the view `generated` of a bounded run.

    (Flink's `datagen` keeps all numbers that it has still to give in memory and in checkpoints.)
    """
    from pyflink.common import Types, WatermarkStrategy
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.datastream.connectors.number_seq import NumberSequenceSource
    from pyflink.table import Schema

    numbers = StreamExecutionEnvironment(env._j_tenv.execEnv()).from_source(
        NumberSequenceSource(0, readings - 1),
        WatermarkStrategy.no_watermarks(),
        "numbers",
        Types.LONG(),
    )
    columns = {
        "message_id": "CAST(`f0` AS STRING)",
        "event_ms": f"{START_MS} + `f0`",
        "machine_part": f"CONCAT('s-', CAST(MOD(`f0`, {sensors}) AS STRING))",
        "value": "SIN(`f0` * 0.7) + RAND()",
        "ts": f"TO_TIMESTAMP_LTZ({START_MS} + `f0`, 3)",
    }
    schema = Schema.new_builder().column("f0", "BIGINT")
    for name, expression in columns.items():
        schema.column_by_expression(name, expression)
    schema.watermark("ts", f"`ts` - {events.interval(1)}")
    env.create_temporary_view("generated", numbers, schema.build())


def free_port() -> int:
    """Return a port of the loopback address on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings(port: int, **more: str) -> dict[str, str]:
    """Return Flink's settings of a run whose REST API listens at `port`."""
    address = {"rest.port": str(port), "rest.bind-port": str(port)}
    return {**address, "metrics.fetcher.update-interval": "500", **more}


def generated(method: str, readings: int, sensors: int = SENSORS, **more: str) -> Progress:
    """Run generator to blackhole and return how it went."""
    port = free_port()
    jar = {"pipeline.jars": function_jar().as_uri()}
    definition, env = stream(), environment(**settings(port, **jar, **more))
    generator(env, readings, sensors)
    define(env, select(definition, package(method)), GENERATED)
    sinks = dict.fromkeys(("alerts", "scores"), tables.Sink({"connector": "blackhole"}))
    client = inserts(env, definition, sinks).execute().get_job_client()
    return Progress(port, str(client.get_job_id()), readings).follow()


class Progress:
    """What Flink's REST API says of a job while it runs."""

    def __init__(self, port: int, job: str, readings: int, part: str = "PythonCalc") -> None:
        self.url = f"http://127.0.0.1:{port}/jobs/{job}"
        self.readings, self.part = readings, part
        told = (home() / "flink" / "own-rest-password").read_text(encoding="utf-8").strip()
        self.asked = requests.Session()  # of a job of this process, which lets its owner in alone
        self.asked.auth = tuple(told.split(":"))
        self.seen: list[tuple[float, int]] = []
        self.checkpoints_ms: list[int] = []

    def follow(self) -> Progress:
        """Look twice a second until all readings went through, or the job is gone."""
        deadline = time.monotonic() + 120
        while not self.seen or self.seen[-1][1] < self.readings:
            time.sleep(0.5)
            try:
                answer = self.asked.get(self.url, timeout=10).json()
                recent = self.asked.get(f"{self.url}/checkpoints", timeout=10).json()
            except requests.RequestException as err:
                if self.seen:
                    break  # the mini cluster ends with its job
                if time.monotonic() > deadline:
                    raise SystemExit(f"the job does not answer: {err}") from err
                continue  # a busy machine
            self.checkpoints_ms += [
                checkpoint["end_to_end_duration"]
                for checkpoint in recent.get("history", [])
                if checkpoint["status"] == "COMPLETED"
            ]
            for vertex in answer["vertices"]:
                if self.part in vertex["name"]:
                    self.seen.append((time.monotonic(), vertex["metrics"]["read-records"]))
            if answer["state"] in {"FAILED", "CANCELED"}:
                raise SystemExit(f"the job {answer['state'].lower()}")
        return self

    @property
    def rate(self) -> float:
        """Readings a second over the last half."""
        late = [sample for sample in self.seen if 0.5 * self.readings <= sample[1] < self.readings]
        if len(late) < 2:
            raise SystemExit(f"too short to measure: {self.seen[-3:]} of {self.readings} readings")
        (first, before), (last, after) = late[0], late[-1]
        return (after - before) / (last - first)


def row_at_a_time(readings: int, mode: str) -> float:
    """Return the rate of a scalar Python function that is called for each reading."""
    from pyflink.table import DataTypes
    from pyflink.table.udf import udf

    detector = find_package(package("pca")).detector
    windows: dict[str, collections.deque[float]] = {}

    def score(sensor: str, value: float) -> float:
        window = windows.setdefault(sensor, collections.deque(maxlen=WINDOW))
        window.append(value)
        if len(window) < WINDOW:
            return float("nan")
        return float(detector.score(np.array(window)[np.newaxis, :, np.newaxis])[0])

    port = free_port()
    env = environment(**settings(port, **{"python.execution-mode": mode}))
    definition = stream()
    generator(env, readings, SENSORS)
    env.create_temporary_function("row_score", udf(score, result_type=DataTypes.DOUBLE()))
    execute(env, tables.table("sink", {"score": "DOUBLE"}, {"connector": "blackhole"}), definition)
    # an exchange between source and function: the source's task has no numbers of its own
    statement = (
        "INSERT INTO sink SELECT row_score(`machine_part`, `value`) FROM (SELECT *, SUM(1) OVER "
        "(PARTITION BY `machine_part` ORDER BY `ts` ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) "
        "AS `n` FROM generated) WHERE `n` > 0"
    )
    client = env.execute_sql(statement).get_job_client()
    return Progress(port, str(client.get_job_id()), readings).follow().rate


def published(topic: str, readings: int) -> None:
    """Send JSON readings as the generator makes them."""
    rng = np.random.default_rng(1)
    number = np.arange(readings)
    frame = pd.DataFrame(
        {
            "machine_part": np.char.add("s-", (number % SENSORS).astype(str)),
            "time": pd.to_datetime(START_MS + number, unit="ms", utc=True),
            "value": np.sin(number * 0.7) + rng.random(readings),
        }
    )
    services.ingest_frame(frame, topic, sensor="machine_part", time="time", values=["value"])


def from_topic(readings: int, **more: str) -> tuple[float, float]:
    """Return rate and start-up from topic to topic, over readings that are there already."""
    definition, package_id = stream("through", **more), package("pca")
    began, port = time.monotonic(), free_port()
    checkpoints = Path(os.environ["WORKBENCH_HOME"]).resolve() / "checkpoints"
    where = {"execution.checkpointing.dir": checkpoints.as_uri()}
    job = live.launch(definition, settings(port, **where), position="earliest", package=package_id)
    progress = Progress(port, job.id, readings - 2 * SENSORS)  # the last second stays in windows
    progress.follow()
    job.stop()
    first = next(second for second, count in progress.seen if count)
    return progress.rate, first - began


def consumed(readings: int) -> float:
    """Return the rate of a loop over the same topic, with the same detector."""
    detector = find_package(package("pca")).detector
    windows: dict[str, collections.deque[float]] = {}
    with broker.connect() as client:
        reader = client.create_reader(stream("through").topic, pulsar.MessageId.earliest)
        for count in itertools.count():
            if count == 0.4 * readings:
                began = time.monotonic()
            if count == readings:
                return 0.6 * readings / (time.monotonic() - began)
            reading = json.loads(reader.read_next(10_000).data())
            window = windows.setdefault(
                reading["machine_part"], collections.deque([0.0] * WINDOW, maxlen=WINDOW)
            )
            window.append(reading["value"])
            detector.score(np.array(window)[np.newaxis, :, np.newaxis])
    raise AssertionError


class PulsarTopics:
    """Topics of Pulsar: what is sent, what is received, and what was published when."""

    place = "persistent://public/default/{}"

    @contextlib.contextmanager
    def sender(self, topic: str) -> Iterator[Callable[[bytes, int], object]]:
        """Give a function that sends a value with its event time in ms; at the end all are sent."""
        with broker.connect() as client:
            producer = client.create_producer(
                topic, block_if_queue_full=True, batching_max_publish_delay_ms=LINGER_MS
            )
            yield lambda value, event_ms: producer.send_async(value, None, event_timestamp=event_ms)
            producer.flush()

    def values(self, topic: str, patience_s: float) -> Iterator[tuple[bytes, float]]:
        """Yield values and when each was published, s, from the first until none comes so long."""
        with broker.connect() as client:
            reader = client.create_reader(topic, pulsar.MessageId.earliest)
            while True:
                try:
                    message = reader.read_next(round(patience_s * 1000))
                except pulsar.Timeout:
                    return
                yield message.data(), message.publish_timestamp() / 1000


def paced(count: int, rate: int) -> Iterator[int]:
    """Yield numbers from 0, so many a second."""
    began = time.monotonic()
    for number in range(count):
        ahead = began + number / rate - time.monotonic()
        if ahead > 0.002:
            time.sleep(ahead)
        yield number


def delays(topics: Any, seconds: int) -> list[float]:
    """Return seconds from publishing to alert, at 5,000 readings a second with 1 % above."""
    places = {key: topics.place.format(f"delays-{key}") for key in ("topic", "alerts")}
    definition, package_id = stream("delays", lateness_s=0.1, **places), package("mean")
    checkpoints = Path(os.environ["WORKBENCH_HOME"]).resolve() / "checkpoints"
    more = {"execution.checkpointing.dir": checkpoints.as_uri()}
    with topics.sender(definition.topic) as send:
        send(b'{"machine_part": "first", "value": 0}', round(time.time() * 1000))
    job = live.launch(definition, more, position="earliest", package=package_id)
    with topics.sender(definition.topic) as send:
        for number in paced((seconds + 30) * RATE, RATE):  # 30 s: windows fill, the JVM warms up
            value = 1000.0 if number % 97 == 0 else 0.1
            body = {"machine_part": f"s-{number % SENSORS}", "value": value}
            send(json.dumps(body).encode(), round(time.time() * 1000))
    since_s = time.time() - seconds
    taken = []
    for value, published_s in topics.values(definition.alerts, 5):
        alert = json.loads(value)
        start_s = pd.Timestamp(alert["start"]).timestamp()
        if alert["status"] == "open" and start_s >= since_s:
            taken.append(published_s - start_s)
    job.stop()
    return taken


def many_sensors(quick: bool) -> dict[str, float]:
    """Return what many sensors cost, all windows full, between two runs with few of them."""
    sensors = 10_000 if quick else 100_000
    folder = Path(os.environ["WORKBENCH_HOME"]).resolve() / "many"
    more = {
        "execution.checkpointing.interval": "5 s",
        "execution.checkpointing.dir": folder.as_uri(),
    }
    count = sensors * WINDOW * 2  # the windows are full from the half on, where the rate is taken
    before = generated("mean", 2_000_000, **more).rate
    run = generated("mean", count, sensors, **more)
    after = generated("mean", 2_000_000, **more).rate
    return {
        "keys_ratio": (before + after) / 2 / run.rate,
        "checkpoint_s": max(run.checkpoints_ms, default=float("nan")) / 1000,
    }


def figures(quick: bool) -> Iterator[tuple[str, float]]:
    """Yield each figure as it is measured."""
    count = 300_000 if quick else 1_500_000
    published(stream("through").topic, count)
    _, startup_s = from_topic(count)  # the first job of this process
    rate, warm_s = from_topic(count)
    yield from {"startup_s": startup_s, "startup_warm_s": warm_s, "pulsar_pca_rate": rate}.items()
    topics = {key: f"persistent://public/default/{key}" for key in ("refused", "heartbeat")}
    yield "watched_ratio", from_topic(count, **topics)[0] / rate
    consumer = consumed(10_000 if quick else 50_000)
    rates = {}
    for method in METHODS:
        slow = method in {"knn", "iforest"}
        count = 2_000_000 // (2 if slow else 1) if quick else 6_000_000 // (2 if slow else 1)
        rates[method] = generated(method, count).rate
        yield f"{method}_rate", rates[method]
    for mode in ("process", "thread"):
        ratio = rates["pca"] / row_at_a_time(200_000 if quick else 500_000, mode)
        yield f"row_{mode}_ratio", ratio
    yield "consumer_ratio", rates["pca"] / consumer
    yield "p99_s", float(np.quantile(delays(PulsarTopics(), 15 if quick else 60), 0.99))
    yield from many_sensors(quick).items()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer readings, fewer sensors")
    parser.add_argument("--json", action="store_true", help="one object")
    asked = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="workbench-bench-"))
    os.environ |= {"WORKBENCH_HOME": str(home), "WORKBENCH_STORE": str(home / "store")}
    # for thread mode, in which Python runs within the JVM: it looks there when the JVM starts
    os.environ["PYTHONPATH"] = os.pathsep.join([*site.getsitepackages(), *sys.path])
    result = {}
    try:
        services.up(["s3", "pulsar"])
        for name, value in figures(asked.quick):
            result[name] = round(value, 3)
            if not asked.json:
                print(f"{name:20} {value:12,.2f}", flush=True)
    finally:
        services.down()
        shutil.rmtree(home, ignore_errors=True)
    if asked.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
