"""A stream as the job of an application cluster, as on Kubernetes: Flink starts its Python."""

import json
import os
import socket
import sys
import time

import numpy as np
import psutil
import pulsar
import pytest
import yaml

from workbench import detectors
from workbench import services as room
from workbench.broker import connect
from workbench.services import flink, ingest_frame
from workbench.stream.flink_sql.functions import function_jar
from workbench.stream.promotion_log import add_package
from workbench.stream.running.job import JOB_SETTINGS
from workbench.stream.running.kubernetes import driver


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def distribution(folder):
    """A configuration and class path as the image has them; the environment that names them."""
    shipped = flink._distribution()
    (folder / "conf").mkdir()
    (folder / "lib").mkdir()
    (folder / "conf" / "config.yaml").write_text((shipped / "conf" / "config.yaml").read_text())
    ours = [*room.connector_jars(), function_jar()]
    jars = [*shipped.glob("lib/*.jar"), *shipped.glob("opt/flink-python-*.jar"), *ours]
    for jar in jars:
        (folder / "lib" / jar.name).symlink_to(jar)
    return {
        "JAVA_HOME": str(room.java().parent.parent),
        "FLINK_HOME": str(shipped),
        "FLINK_CONF_DIR": str(folder / "conf"),
        "FLINK_LIB_DIR": str(folder / "lib"),
        "FLINK_LOG_DIR": str(folder),
        "FLINK_PID_DIR": str(folder),
    }


def options(folder):
    port = free_port()
    settings = {
        **JOB_SETTINGS,
        "jobmanager.rpc.address": "127.0.0.1",
        "jobmanager.rpc.port": free_port(),
        "jobmanager.bind-host": "127.0.0.1",
        "jobmanager.memory.process.size": "1024m",
        "rest.address": "127.0.0.1",
        "rest.port": port,
        "rest.bind-port": port,
        "rest.bind-address": "127.0.0.1",
        "taskmanager.host": "127.0.0.1",
        "taskmanager.bind-host": "127.0.0.1",
        "taskmanager.memory.process.size": "1600m",
        "execution.checkpointing.interval": "5 s",
        "execution.checkpointing.dir": (folder / "checkpoints").as_uri(),
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
    }
    return [f"-D{key}={value}" for key, value in settings.items()]


def end(found):
    """End these processes and all below them."""
    below = [one for root in found for one in [*root.children(recursive=True), root]]
    for one in below:
        one.kill()
    psutil.wait_procs(below, timeout=20)


@pytest.mark.flink
@pytest.mark.pulsar
def test_a_stream_runs_as_an_application(
    services, store, package_folder, readings, content, tmp_path
):
    names = {
        item: f"persistent://public/default/app-{item}" for item in ("topic", "alerts", "scores")
    }
    (tmp_path / "pumps.yaml").write_text(yaml.safe_dump(content(**names)))
    package = add_package(package_folder)
    sent = {"sensor": "pump", "time": "event_time", "values": ["pressure_bar", "flow_l_min"]}
    ingest_frame(readings.head(600), names["topic"], **sent)
    environment = {**os.environ, **distribution(tmp_path)}
    given, scripts = options(tmp_path), flink._distribution() / "bin"
    arguments = [str(tmp_path / "pumps.yaml"), "--position", "earliest", "--package", package]
    commands = [
        ["taskmanager.sh", "start-foreground", *given],
        [
            "standalone-job.sh", "start-foreground",
            "--job-classname", "org.apache.flink.client.python.PythonDriver",
            *given, *driver(arguments, python=sys.executable),
        ],
    ]  # fmt: skip
    with (tmp_path / "out").open("w") as out:
        started = [
            psutil.Popen([scripts / name, *rest], env=environment, stdout=out, stderr=out)
            for name, *rest in commands
        ]
    try:
        with connect() as client:
            client.create_producer(names["scores"]).close()
            reader = client.create_reader(names["scores"], pulsar.MessageId.earliest)
            scores, deadline = [], time.monotonic() + 240
            while len(scores) < 500 and time.monotonic() < deadline:
                try:
                    scores.append(json.loads(reader.read_next(1000).data()))
                except pulsar.Timeout:
                    assert all(item.poll() is None for item in started), (
                        tmp_path / "out"
                    ).read_text()
    finally:
        end(started)

    batch = detectors.detect(
        detectors.load(package_folder), readings.head(600), sensor="pump", lateness_ms=30_000
    )
    times = detectors.epoch_ms(readings["event_time"].head(600))
    wanted = {}
    for pump, event_ms, score in zip(readings["pump"].head(600), times, batch.scores, strict=True):
        wanted.setdefault((pump, event_ms), []).append(score)
    assert len(scores) == 500
    assert {item["package"] for item in scores} == {package}
    for item in scores:
        score = np.nan if item["score"] is None else item["score"]
        these = wanted[item["sensor"], item["event_ms"]]
        assert np.isclose(score, these, rtol=1e-9, atol=0, equal_nan=True).any()
