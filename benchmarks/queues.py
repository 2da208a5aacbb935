"""Pulsar and Kafka under the same job, one after the other on one machine; Redis Streams beside.

    python benchmarks/queues.py [--quick] [--json]

Both are the local services (one node, JSON, one partition, producers that gather for 10 ms); the
job is the product's own, as `benchmarks/stream.py` runs it: w = 64, 1,000 sensors, parallelism 1.

    *_p50_s, *_p99_s     from publishing a reading to the alert on its topic, at 5,000 readings/s,
                         lateness 0.1 s included; of Redis, for which there is no job, from
                         publishing to a consumer
    *_consumer_p99_s     from publishing to a consumer in Python, at 5,000 readings/s
    *_rate               readings/s from topic to topic, by PCA, in steady state
    *_replay_rate        readings/s of `workbench.replay` of all that was published (1,000,000,
                         `--quick`: 300,000): of Kafka from its broker, of Pulsar from the objects
                         that it offloaded to S3
    pulsar_broker_replay_rate    the same from Pulsar's broker
    load                 of the machine at the start: what else ran, in processes that want a core
    *_bytes              bytes a reading takes: of Kafka in its log, of Pulsar in its bookie and
                         (`pulsar_offloaded_bytes`) in S3, of Redis in memory

Redis wants `redis-server` on PATH (Debian's) and `pip install redis`; without, it is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import site
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from stream import (
    LINGER_MS,
    RATE,
    SENSORS,
    PulsarTopics,
    delays,
    free_port,
    from_topic,
    paced,
    published,
)

import workbench
from workbench import archive, broker, kafka, services
from workbench.endpoints import endpoints, home


class KafkaTopics:
    """Topics of Kafka, as `PulsarTopics`."""

    place = "kafka://{}"

    @contextlib.contextmanager
    def sender(self, topic: str) -> Iterator[Callable[[bytes, int], object]]:
        """Give a function that sends a value with its event time in ms; at the end all are sent."""
        import confluent_kafka

        kafka.make_topic(topic)
        settings = {"linger.ms": LINGER_MS, "log_level": 0}
        producer = confluent_kafka.Producer({**kafka.python_settings(), **settings})
        name = kafka.topic_name(topic)

        def send(value: bytes, event_ms: int) -> None:
            producer.produce(name, value, timestamp=event_ms)
            producer.poll(0)

        yield send
        if producer.flush(60):
            raise SystemExit(f"Kafka did not take {len(producer)} readings")

    def values(self, topic: str, patience_s: float) -> Iterator[tuple[bytes, float]]:
        """Yield values and when each was published, s, from the first until none comes so long."""
        import confluent_kafka

        with kafka.connect() as consumer:
            consumer.assign([confluent_kafka.TopicPartition(kafka.topic_name(topic), 0, 0)])
            while (record := consumer.poll(patience_s)) is not None:
                if record.error():
                    raise SystemExit(str(record.error()))
                yield record.value(), record.timestamp()[1] / 1000


class RedisStreams:
    """Streams of a Redis that is given, as `PulsarTopics`."""

    place = "{}"

    def __init__(self, port: int) -> None:
        import redis

        self.client = redis.Redis(port=port, socket_timeout=60)

    @contextlib.contextmanager
    def sender(self, topic: str) -> Iterator[Callable[[bytes, int], object]]:
        """Give a function that adds a value to a stream; its id has the time."""
        yield lambda value, _: self.client.xadd(topic, {"value": value})

    def values(self, topic: str, patience_s: float) -> Iterator[tuple[bytes, float]]:
        """Yield values and when each was published, s, from the first until none comes so long."""
        last = b"0"
        while answer := self.client.xread({topic: last}, block=round(patience_s * 1000)):
            for last, fields in answer[0][1]:
                yield fields[b"value"], int(last.split(b"-")[0]) / 1000


def received(topics: Any, seconds: int) -> list[float]:
    """Return seconds from publishing to a consumer, of the last so many seconds."""
    topic, taken = topics.place.format("received"), []

    def consume() -> None:
        for value, _ in topics.values(topic, 10):
            taken.append(time.time() - json.loads(value)["sent_s"])

    with topics.sender(topic) as send:
        send(b'{"sent_s": 0}', round(time.time() * 1000))
    consumer = threading.Thread(target=consume)
    consumer.start()
    with topics.sender(topic) as send:
        for number in paced((seconds + 5) * RATE, RATE):
            now = time.time()
            body = {"machine_part": f"s-{number % SENSORS}", "value": 0.1, "sent_s": now}
            send(json.dumps(body).encode(), round(now * 1000))
    consumer.join()
    if len(taken) != (seconds + 5) * RATE + 1:
        raise SystemExit(f"{len(taken)} readings were received")
    return taken[-seconds * RATE :]


def of_job(name: str, topics: Any, count: int, seconds: int) -> Iterator[tuple[str, float]]:
    """Yield what the job and a consumer make of a queue, with readings that stay on it."""
    places = {key: topics.place.format(f"through-{key}") for key in ("topic", "alerts")}
    published(places["topic"], count)
    yield f"{name}_rate", from_topic(count, **places)[0]
    taken = delays(topics, seconds)
    yield f"{name}_p50_s", float(np.quantile(taken, 0.5))
    yield f"{name}_p99_s", float(np.quantile(taken, 0.99))
    yield f"{name}_consumer_p99_s", float(np.quantile(received(topics, seconds), 0.99))


def replayed(count: int, topic: str, source: str, **more: Any) -> float:
    """Return readings/s of a replay of all readings."""
    began = time.monotonic()
    frame = workbench.replay(topic, source=source, **more)
    if len(frame) != count:
        raise SystemExit(f"{len(frame)} of {count} readings were replayed")
    return count / (time.monotonic() - began)


def of_kafka(count: int, seconds: int) -> Iterator[tuple[str, float]]:
    """Yield Kafka's figures."""
    yield from of_job("kafka", KafkaTopics(), count, seconds)
    yield "kafka_replay_rate", replayed(count, "kafka://through-topic", "kafka")
    logs = (home() / "kafka" / "data" / "through-topic-0").glob("*.log")
    yield "kafka_bytes", sum(log.stat().st_size for log in logs) / count


def of_pulsar(count: int, seconds: int) -> Iterator[tuple[str, float]]:
    """Yield Pulsar's figures."""
    yield from of_job("pulsar", PulsarTopics(), count, seconds)
    topic = PulsarTopics.place.format("through-topic")
    stored = broker.get(f"{broker.rest_path(topic)}/stats")["storageSize"]
    yield "pulsar_broker_replay_rate", replayed(count, topic, "broker")
    yield "pulsar_bytes", stored / count
    services.offload(topic)
    url = endpoints().archive
    yield "pulsar_replay_rate", replayed(count, topic, "archive", archive=url)
    table = archive.open(url).topics().set_index("topic")
    yield "pulsar_offloaded_bytes", float(table["bytes"][topic]) / count


def of_redis(seconds: int) -> Iterator[tuple[str, float]]:
    """Yield the figures of Redis Streams, with the append-only file that it ships with."""
    port = free_port()
    folder = home() / "redis"
    folder.mkdir(parents=True)
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    server = subprocess.Popen([*command, "--appendonly", "yes"], stdout=subprocess.DEVNULL)
    try:
        time.sleep(2)
        streams = RedisStreams(port)
        taken = received(streams, seconds)
        yield "redis_p50_s", float(np.quantile(taken, 0.5))
        yield "redis_p99_s", float(np.quantile(taken, 0.99))
        size = streams.client.memory_usage("received", samples=0)
        yield "redis_bytes", size / streams.client.xlen("received")
    finally:
        server.terminate()
        server.wait()


def figures(quick: bool) -> Iterator[tuple[str, float]]:
    """Yield each figure as it is measured; each queue has the machine to itself."""
    yield "load", os.getloadavg()[0]
    count, seconds = (300_000, 15) if quick else (1_000_000, 60)
    for names, measured in ((["s3", "pulsar"], of_pulsar), (["kafka"], of_kafka)):
        services.up(names)
        yield from measured(count, seconds)
        services.down(names)
    if shutil.which("redis-server") and importlib.util.find_spec("redis"):
        yield from of_redis(seconds)
    else:
        print("Redis is left out: no redis-server on PATH, or no package redis", file=sys.stderr)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer readings, shorter")
    parser.add_argument("--json", action="store_true", help="one object")
    asked = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="workbench-queues-"))
    os.environ |= {"WORKBENCH_HOME": str(place), "WORKBENCH_STORE": str(place / "store")}
    os.environ["PYTHONPATH"] = os.pathsep.join([*site.getsitepackages(), *sys.path])
    result = {}
    try:
        for name, value in figures(asked.quick):
            result[name] = round(value, 4)
            if not asked.json:
                print(f"{name:26} {value:14,.4f}", flush=True)
    finally:
        services.down()
        shutil.rmtree(place, ignore_errors=True)
    if asked.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
