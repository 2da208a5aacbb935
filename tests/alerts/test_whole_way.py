"""From a planted fault to a person, with kills of notifier, broker and target on the way."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid

import numpy as np
import pandas as pd
import psutil
import pulsar
import pytest
import yaml
from click.testing import CliRunner

from tests.alerts.test_live import RUN, begin, said, until
from workbench import broker, detectors
from workbench import services as here
from workbench.cli import cli
from workbench.services.processes import processes
from workbench.stream.promotion_log import add_package
from workbench.stream.running import live

SENSORS = 40


class Plant(threading.Thread):
    """SENSORS sensors with two readings a second each; those in `faulty` are far off."""

    def __init__(self, topic):
        super().__init__(daemon=True)
        self.topic, self.faulty, self.end, self.failed = topic, set(), threading.Event(), []

    def run(self):
        def sent(result, _):
            if result != pulsar.Result.Ok:
                self.failed.append(result)

        with broker.connect() as client:
            producer = client.create_producer(  # a broker may be away for long
                self.topic, send_timeout_millis=0, max_pending_messages=100_000
            )
            for number in itertools.count():
                if self.end.wait(1 / (2 * SENSORS)):
                    break
                sensor = number % SENSORS
                value = 1000.0 if sensor in self.faulty else np.sin(number)
                body = json.dumps({"pump": f"pump-{sensor}", "flow_l_min": value}).encode()
                producer.send_async(body, sent, event_timestamp=round(time.time() * 1000))
            producer.flush()


def package(folder):
    """Put a detector of noise into the store; return its id."""
    times = pd.to_datetime(np.arange(2000) * 1000, unit="ms", utc=True)
    noise = np.random.default_rng(0).normal(size=2000)
    frame = pd.DataFrame({"event_time": times, "pump": "p", "flow_l_min": noise})
    spec = {"name": "robust_z", "window": 4, "channels": ["flow_l_min"]}
    detector = detectors.fit(spec, frame, sensor="pump")
    rule = detectors.EpisodeRule()
    detectors.save(detector, folder, threshold=100.0, rule=rule, training={})
    return add_package(folder)


@pytest.fixture
def described(services, server, tmp_path, monkeypatch):
    """A plant that is about to send, its stream's name, and the package that scores it."""
    name = f"whole-{uuid.uuid4().hex[:8]}"
    content = {
        "topic": f"persistent://public/default/{name}", "sensor": "pump", "window": 4,
        "alerts": f"persistent://public/default/{name}-alerts", "channels": ["flow_l_min"],
        "lateness_s": 0.5, "routes": {"shift": {"to": "webhook", "url": server.url}},
    }  # fmt: skip
    for folder in ("streams", "notebooks", "params"):
        (tmp_path / folder).mkdir()
    (tmp_path / "streams" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store"))
    with broker.connect() as client:
        for key in ("topic", "alerts"):
            client.create_producer(content[key]).close()
    sending = Plant(content["topic"])
    yield sending, name, package(tmp_path / "package")
    sending.end.set()
    sending.join(60)
    assert sending.failed == []


@pytest.fixture
def plant(described):
    """A plant that sends, a job that scores it; the name of the stream, and the plant."""
    sending, name, detector = described
    path = f"streams/{name}.yaml"
    job = live.start(path, position="earliest", package=detector, restarts=20)
    sending.start()
    yield name, sending
    job.stop()


@pytest.mark.pulsar
@pytest.mark.flink
@pytest.mark.timeout(600)
def test_a_job_that_delivers_too_needs_no_other_process(described, server):
    sending, name, detector = described
    options = ["--package", detector, "--position", "earliest", "--alerts"]
    command = [sys.executable, "-c", RUN, "stream", "run", name, *options]
    process = subprocess.Popen(command, env=os.environ)
    try:
        sending.start()
        sending.faulty.add(3)
        until(lambda: server.posts, 300)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)

    assert process.returncode == 0
    (alert, *_) = json.loads(server.posts[0][2])["alerts"]
    assert (alert["sensor"], alert["status"]) == ("pump-3", "open")


def test_on_a_cluster_another_process_delivers():
    asked = ["stream", "run", "sample", "--target", "session", "--alerts"]
    refused = CliRunner().invoke(cli, asked)

    assert refused.exit_code == 2
    assert "with --target session, let `workbench alerts run sample` deliver" in refused.output


@pytest.mark.pulsar
@pytest.mark.flink
@pytest.mark.timeout(900)
def test_every_planted_fault_reaches_its_target_through_kills_of_notifier_broker_and_target(
    plant, server
):
    name, sending = plant

    def fault(phase):
        sending.faulty.update(range(phase, phase + 10))

    def come(phase):
        until(lambda: {sensor for sensor, _ in came()} >= numbered(phase + 10), 300)

    def came():
        posts = [json.loads(body)["alerts"] for _, _, body in server.posts]
        return {(alert["sensor"], alert["id"]) for alerts in posts for alert in alerts}

    def numbered(count):
        return {f"pump-{number}" for number in range(count)}

    first = begin(name)
    try:
        fault(0)
        come(0)
        fault(10)
    finally:
        first.kill()
        first.wait()
    second = begin(name)
    try:
        come(10)
        fault(20)
        (standalone, *_) = processes("pulsar")
        standalone.kill()
        psutil.wait_procs([standalone], timeout=30)
        here.up(["pulsar"])
        come(20)
        server.stop()
        fault(30)
        time.sleep(5)
        server.start()
        come(30)
    finally:
        second.terminate()
        second.wait()

    assert len(came()) == SENSORS == len(said(server))  # one alert for each fault, and no other
