"""The socket list: whatever this package starts listens on loopback, and nowhere else.

A job in this process: tests/stream/running/test_listening.py. One on a session cluster, with its
Python workers: tests/stream/running/test_session.py.
"""

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests
import yaml

from workbench import services as room
from workbench.services.processes import processes

SAMPLE = Path(__file__).parents[1] / "data" / "archive"
STREAM = {
    "topic": "persistent://public/default/pumps", "sensor": "pump", "channels": ["flow_l_min"],
    "alerts": "persistent://public/default/alerts", "window": 10, "detector": "none",
    "lateness_s": 1, "limits": {"high": "flow_l_min > 9"},
}  # fmt: skip


def sockets(process):
    """Return (address, port) of what a process listens on.

    TCP alone: a JVM that resolves names has sockets of UDP, on which it waits for the answers.
    """
    try:
        places = process.net_connections("tcp")
    except psutil.NoSuchProcess:  # ended meanwhile
        return set()
    return {
        (place.laddr.ip.removeprefix("::ffff:"), place.laddr.port)
        for place in places
        if place.status == psutil.CONN_LISTEN
    }


def family(pid):
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def elsewhere(found):
    return {place for place in found if place[0] not in ("127.0.0.1", "::1")}


@pytest.mark.pulsar
@pytest.mark.flink
@pytest.mark.parametrize("names", [["s3"], ["pulsar"], ["kafka"], ["jobmanager", "taskmanager"]])
def test_a_service_listens_on_loopback_only(services, names):
    room.up(names)
    listed = set().union(*(sockets(process) for name in names for process in processes(name)))

    ports = {port for name in names for port in room.ports(name)}
    assert ports <= {port for _, port in listed}
    assert elsewhere(listed) == set()


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def running(port, *arguments):
    """Start a command that listens on a port; give its process once it does."""
    command = [sys.executable, "-c", "from workbench.cli import main; main()"]
    process = subprocess.Popen([*command, *map(str, arguments)], env=os.environ)
    try:
        deadline = time.monotonic() + 120
        while port not in {known for _, known in sockets(psutil.Process(process.pid))}:
            assert process.poll() is None, arguments
            assert time.monotonic() < deadline, arguments
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--archive", SAMPLE, "--port", "{port}"),
        ("serve", "--archive", SAMPLE, "--port", "0", "--metrics-port", "{port}"),
        ("alerts", "serve", "plant", "--port", "{port}"),
        ("metrics", "plant", "--port", "{port}"),
    ],
    ids=lambda words: "-".join(str(word) for word in words[:2]),
)
def test_a_command_that_answers_listens_on_loopback_only(port, arguments, tmp_path, monkeypatch):
    for name in ("streams", "notebooks", "params"):
        (tmp_path / name).mkdir()
    (tmp_path / "streams" / "plant.yaml").write_text(yaml.safe_dump(STREAM))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WORKBENCH_ALERTS_SECRET", "0123456789abcdef")

    with running(port, *(str(word).format(port=port) for word in arguments)) as process:
        listed = set().union(*map(sockets, family(process.pid)))

    assert ("127.0.0.1", port) in listed
    assert elsewhere(listed) == set()


@pytest.mark.notebook
@pytest.mark.timeout(300)
def test_jupyterlab_and_its_kernels_listen_on_loopback_only(laboratory, tmp_path):
    for name in ("streams", "notebooks", "params"):
        (tmp_path / name).mkdir()

    with laboratory(tmp_path) as lab:
        token = {"Authorization": f"token {lab.token}"}
        port = int(lab.rpartition(":")[2])
        (server,) = [
            process
            for process in psutil.Process().children()
            if ("127.0.0.1", port) in sockets(process)
        ]
        before = set().union(*map(sockets, family(server.pid)))
        kernel = requests.post(f"{lab}/api/kernels", headers=token, timeout=60)
        deadline = time.monotonic() + 120
        listed = before
        while len(listed) < len(before) + 5 and time.monotonic() < deadline:
            listed = set().union(*map(sockets, family(server.pid)))
            time.sleep(0.2)

    assert kernel.status_code == 201
    assert len(listed) >= len(before) + 5  # shell, iopub, stdin, control, heartbeat
    assert elsewhere(listed) == set()
