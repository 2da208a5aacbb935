"""How soon a fault, or an alert on its topic, reaches a webhook.

    python benchmarks/alerts.py [--quick] [--json]

Alerts go to a topic of a real broker one at a time, each of another machine. The notifier follows
it as it comes (a message waits a second for others of its machine) and with no wait; a client loop
reads and posts, and keeps nothing across a kill. Times are from before the send to the arrival of
the request, in seconds. Before that the whole way: 1,000 sensors send a reading a second each to a
topic of the broker, a job scores them (lateness 0.5 s, an alarm at the first reading above), the
notifier follows its alerts; 4 faults a second are planted, each in another sensor, and timed from
the publishing of the first reading of a fault. Figures:

    fault_p50_s, _p99_s, _most_s    the whole way
    load                      of the machine at the start: processes that want a core
    p50_s, p99_s, most_s      the notifier, as it comes
    no_wait_p99_s             the notifier, `wait_s: 0`
    by_hand_p99_s             the loop
    backlog_rate              alerts/s that the notifier delivers of a backlog, one message each
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pulsar
import yaml
from stream import WINDOW, PulsarTopics, paced, package

from workbench import alerts, broker, services
from workbench.stream.running import live

_RUN = [sys.executable, "-c", "from workbench.cli import main; main()", "alerts", "run"]


class Webhook:
    """A target on this machine, which notes when each alert arrived first."""

    def __init__(self) -> None:
        arrived = self.arrived_s = dict[int, float]()
        sensors = self.sensors_s = dict[str, float]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                for alert in body["alerts"]:
                    arrived.setdefault(int(alert["id"], 16), time.monotonic())
                    sensors.setdefault(alert["sensor"], time.monotonic())
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def alert(number: int, stream: str) -> bytes:
    """Return an alert as the job of a stream writes it."""
    content = {
        "id": f"{number:032x}", "stream": stream, "sensor": f"machine-{number}", "kind": "episode",
        "status": "open", "start": "2026-01-15T06:30:00.000Z", "stop": None,
        "peak_time": "2026-01-15T06:31:00.000Z", "peak_score": 14.0, "threshold": 5.0,
        "readings": 3, "channels": {"flow_l_min": 9.5}, "package": "ab",
        "first_message_id": "1:0:-1:-1", "last_message_id": "1:2:-1:-1",
    }  # fmt: skip
    return json.dumps(content).encode()


def project(name: str, url: str, **route: float) -> str:
    """Write a stream with one route, and return the topic of its alerts."""
    topic = f"persistent://public/default/alerts-{name}"
    content = {
        "topic": "persistent://public/default/pumps", "sensor": "pump", "channels": ["flow_l_min"],
        "window": 10, "alerts": topic, "limits": {"high": "flow_l_min > 9"},
        "routes": {"shift": {"to": "webhook", "url": url, **route}},
    }  # fmt: skip
    for folder in ("streams", "notebooks", "params"):
        Path(folder).mkdir(exist_ok=True)
    Path("streams", f"{name}.yaml").write_text(yaml.safe_dump(content))
    return topic


@contextmanager
def notifier(name: str) -> Iterator[None]:
    """Run a notifier, from where its subscription stands on."""
    process = subprocess.Popen([*_RUN, name], stdout=subprocess.DEVNULL)
    try:
        while any(route.backlog is None for route in alerts.route_status(name)):
            if process.poll() is not None:
                raise SystemExit(f"the notifier of {name} ended")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def by_hand(topic: str, url: str) -> Iterator[None]:
    """Read and post, each alert by itself."""
    end = threading.Event()

    def loop() -> None:
        with broker.connect() as client:
            consumer = client.subscribe(topic, "by-hand")
            while not end.is_set():
                try:
                    message = consumer.receive(500)
                except pulsar.Timeout:
                    continue
                body = json.dumps({"alerts": [json.loads(message.data())]}).encode()
                urllib.request.urlopen(url, body).close()  # noqa: S310 - of this machine
                consumer.acknowledge(message)

    thread = threading.Thread(target=loop)
    thread.start()
    time.sleep(2)  # until it is subscribed
    yield
    end.set()
    thread.join()


def delays_s(topic: str, webhook: Webhook, numbers: range) -> list[float]:
    """Send alerts one at a time, and return how long each took."""
    delays, stream = [], topic.rpartition("alerts-")[2]
    with broker.connect() as client:
        producer = client.create_producer(topic)
        for number in numbers:
            began = time.monotonic()
            producer.send(alert(number, stream))
            while number not in webhook.arrived_s:
                time.sleep(0.005)
            delays.append(webhook.arrived_s[number] - began)
    return delays


def backlog_rate(name: str, topic: str, webhook: Webhook, numbers: range) -> float:
    """Return alerts/s of those that came while the notifier was down."""
    with broker.connect() as client:
        producer = client.create_producer(topic, block_if_queue_full=True)
        for number in numbers:
            producer.send_async(alert(number, name), None)
        producer.flush()
    began = time.monotonic()
    process = subprocess.Popen([*_RUN, name], stdout=subprocess.DEVNULL)
    while not all(number in webhook.arrived_s for number in numbers):
        time.sleep(0.05)
    first_s = min(webhook.arrived_s[number] for number in numbers)
    process.terminate()
    process.wait()
    return len(numbers) / (time.monotonic() - max(began, first_s))


SENSORS = 1_000
FAULTS_A_S = 4
WARM_S = 40  # until the job runs and has compiled what is hot


def reading(number: int, value: float) -> tuple[bytes, int]:
    """Return a reading of one sensor after the other, of now."""
    body = {"machine_part": f"s-{number % SENSORS}", "value": value}
    return json.dumps(body).encode(), round(time.time() * 1000)


def planted(send: Callable[[bytes, int], object], faults: int) -> dict[str, float]:
    """Send readings as they come, and return when the first of each sensor's fault was sent, s."""
    began: dict[str, float] = {}
    every = SENSORS // FAULTS_A_S
    last = WARM_S * SENSORS + faults * every
    for number in paced(last + 5 * SENSORS, SENSORS):
        turn, place = divmod(number - WARM_S * SENSORS, every)
        sensor = f"s-{number % SENSORS}"
        if place == turn and 0 <= turn < faults:  # each turn another sensor
            began[sensor] = time.monotonic()
        send(*reading(number, 1000.0 if sensor in began else 0.1))
    return began


def whole_way_s(webhook: Webhook, faults: int) -> list[float]:
    """Return seconds from the first reading of each fault to its message."""
    topic = project("whole", webhook.url)
    content = {
        "topic": "persistent://public/default/whole", "alerts": topic, "sensor": "machine_part",
        "channels": ["value"], "window": WINDOW, "lateness_s": 0.5,
        "routes": {"shift": {"to": "webhook", "url": webhook.url}},
    }  # fmt: skip
    Path("streams", "whole.yaml").write_text(yaml.safe_dump(content))
    with PulsarTopics().sender(content["topic"]) as send:
        for number in range(WINDOW * SENSORS):  # so that the windows are full
            send(*reading(number, 0.1))
    with notifier("whole"):
        job = live.start("streams/whole.yaml", position="earliest", package=package("mean"))
        with PulsarTopics().sender(content["topic"]) as send:
            began = planted(send, faults)
        while missing := began.keys() - webhook.sensors_s.keys():
            print(f"{len(missing)} faults are not there yet", file=sys.stderr)
            time.sleep(1)
        job.stop()
    return [webhook.sensors_s[sensor] - began_s for sensor, began_s in began.items()]


def figures(count: int) -> Iterator[tuple[str, float]]:
    """Yield names and figures."""
    yield "load", os.getloadavg()[0]
    webhook = Webhook()
    names = ("fault_p50_s", "fault_p99_s", "fault_most_s")
    delays = whole_way_s(webhook, count)
    yield from zip(names, np.quantile(delays, [0.5, 0.99, 1]), strict=True)
    topic = project("patient", webhook.url)
    with notifier("patient"):
        delays = delays_s(topic, webhook, range(count))
    yield from zip(("p50_s", "p99_s", "most_s"), np.quantile(delays, [0.5, 0.99, 1]), strict=True)
    topic = project("eager", webhook.url, wait_s=0, every_s=0)
    with notifier("eager"):
        delays = delays_s(topic, webhook, range(10_000, 10_000 + count))
    yield "no_wait_p99_s", np.quantile(delays, 0.99)
    with by_hand("persistent://public/default/alerts-by-hand", webhook.url):
        own = delays_s(
            "persistent://public/default/alerts-by-hand",
            webhook,
            range(20_000, 20_000 + count),
        )
    yield "by_hand_p99_s", np.quantile(own, 0.99)
    yield "backlog_rate", backlog_rate("eager", topic, webhook, range(30_000, 30_000 + 10 * count))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20 alerts in place of 200")
    parser.add_argument("--json", action="store_true", help="one object")
    asked = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="workbench-"))
    os.environ |= {"WORKBENCH_HOME": str(home), "WORKBENCH_STORE": str(home / "store")}
    os.chdir(home)
    result = {}
    try:
        services.up(["pulsar"])
        for name, value in figures(20 if asked.quick else 200):
            result[name] = round(float(value), 3)
            if not asked.json:
                print(f"{name:20} {value:12,.2f}", flush=True)
    finally:
        services.down()
        shutil.rmtree(home, ignore_errors=True)
    if asked.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
