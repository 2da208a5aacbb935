import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest
from click.testing import CliRunner

from workbench import services as room
from workbench.cli import cli
from workbench.endpoints import endpoints, home
from workbench.errors import ServicesError
from workbench.services import control, processes, state

pytestmark = pytest.mark.slow


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    """A home for this test alone; whatever was started in it ends with the test."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    yield tmp_path / "home"
    room.down()


@pytest.fixture
def java_that(tmp_path, monkeypatch):
    """Let JAVA_HOME name a `java` 17 that does as told when it should run a service."""

    def make(does):
        path = tmp_path / "jdk" / "bin" / "java"
        path.parent.mkdir(parents=True, exist_ok=True)
        version = 'if [ "$1" = -version ]; then echo \'openjdk version "17.0.9"\' >&2; exit; fi'
        path.write_text(f"#!/bin/sh\n{version}\n{does}\n")
        path.chmod(0o755)
        monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))

    return make


def eventually(holds, seconds=20):
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def leave_by_a_crash(holds):
    """Let a process start s3, and kill it once this holds."""
    code = "from workbench import services; services.up(['s3'])"
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    assert eventually(holds)
    parent.send_signal(signal.SIGKILL)
    parent.wait()


@pytest.mark.pulsar
def test_a_second_up_changes_nothing(services):
    before = room.status(["s3", "pulsar"])

    after = room.up()

    assert [service.pids for service in after] == [service.pids for service in before]
    assert [(service.name, service.state, service.detail) for service in after] == [
        ("s3", "up", ""),
        ("pulsar", "up", ""),
    ]
    assert [service.address for service in after] == [services.s3_endpoint, services.broker]


@pytest.mark.pulsar
def test_status_and_logs_are_told_on_the_command_line(services):
    result = CliRunner().invoke(cli, ["services", "status", "--json"])

    found = [json.loads(line) for line in result.stdout.splitlines()]
    states = {one["name"]: one["state"] for one in found}
    assert list(states) == ["s3", "pulsar", "kafka", "jobmanager", "taskmanager"]
    assert (states["s3"], states["pulsar"]) == ("up", "up")
    shown = CliRunner().invoke(cli, ["services", "status"]).stdout
    assert f"pulsar      up        {services.broker}" in shown
    assert "PulsarStandalone" in CliRunner().invoke(cli, "services logs pulsar -n 9999").stdout


@pytest.mark.pulsar
def test_credentials_are_for_their_owner_only_and_in_no_log(services):
    secret = services.s3_secret
    for path in [home() / "services.json", home() / "s3" / "s3proxy.conf"]:
        assert secret in path.read_text()
        assert path.stat().st_mode & 0o077 == 0
    assert secret not in repr(services)
    for process in [psutil.Process(pid) for one in room.status() for pid in one.pids]:
        assert secret not in " ".join(process.cmdline())
    for log in (home() / "logs").glob("*.log"):
        assert secret not in log.read_text(errors="replace")


SECRETS = [
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "WORKBENCH_BROKER_TOKEN",
    "WORKBENCH_SCHEMA_REGISTRY_LOGIN", "WORKBENCH_FLINK_PASSWORD", "WORKBENCH_SERVE_PASSWORD",
    "WORKBENCH_ALERTS_SECRET", "JUPYTER_TOKEN", "PLANT_API_KEY",
]  # fmt: skip


def test_a_service_is_given_no_secret_of_who_starts_it(own_home, monkeypatch):
    for name in SECRETS:
        monkeypatch.setenv(name, "planted")
    monkeypatch.setenv("WORKBENCH_BROKER_TOKEN_FILE", "/run/token")  # where one is, is none
    own_home.mkdir()
    processes.start("s3", ["sleep", "60"], {"OWN_SECRET": "its own"})
    assert eventually(lambda: processes.processes("s3"))

    given = processes.processes("s3")[0].environ()

    assert [name for name, value in given.items() if value == "planted"] == []
    assert (given["OWN_SECRET"], given["WORKBENCH_BROKER_TOKEN_FILE"]) == ("its own", "/run/token")


def test_the_s3_endpoint_comes_up_keeps_its_objects_and_leaves_no_process(own_home):
    (first,) = room.up(["s3"])
    client = control.s3.client(endpoints())
    client.put_object(Bucket="offload", Key="kept", Body=b"readings")
    assert room.down(["s3"]) == {"s3": 1}
    assert not any(psutil.pid_exists(pid) for pid in first.pids)
    assert room.status()[0].state == "down"

    (second,) = room.up(["s3"])

    assert (second.state, second.address) == ("up", first.address)
    assert client.get_object(Bucket="offload", Key="kept")["Body"].read() == b"readings"


def test_a_port_in_use_is_one_clear_line_before_anything_starts(own_home):
    with state.locked(), socket.socket() as other:
        record = state.load()
        state.save(record)
        port = record["ports"]["s3"]
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(ServicesError) as error:
            control._check_ports("s3", record)

    name = psutil.Process().name()
    assert str(error.value) == (
        f"port {port} of s3 (s3) is in use by process {os.getpid()} ({name})\n"
        f"  in {own_home}/services.json\n"
        "  end that process, or write another port there"
    )


def test_a_service_that_ends_while_starting_shows_its_last_lines(own_home, java_that):
    java_that("echo cannot bind; exit 1")

    with pytest.raises(ServicesError) as error:
        room.up(["s3"])

    assert str(error.value) == (
        f"s3 ended while starting\n  in {own_home}/logs/s3.log\n  its last lines:\n  cannot bind"
    )


def test_a_service_that_is_not_ready_in_time_is_stopped(own_home, java_that, monkeypatch):
    java_that("echo starting; sleep 1000")
    monkeypatch.setattr(control, "_READY_S", 1)

    with pytest.raises(ServicesError) as error:
        room.up(["s3"])

    address = state.load()["endpoints"]["s3_endpoint"]
    assert str(error.value) == (
        f's3 is not ready after 1 s: Could not connect to the endpoint URL: "{address}/"\n'
        f"  in {own_home}/logs/s3.log\n"
        "  its last lines:\n  starting"
    )
    assert processes.processes("s3") == []


def test_after_a_crash_of_the_parent_status_shows_and_down_ends_what_runs(own_home, java_that):
    java_that("sleep 1000 & sleep 1000")
    leave_by_a_crash(lambda: len(processes.processes("s3")) == 3)

    s3, *others = room.status()

    assert (s3.state, len(s3.pids)) == ("starting", 3)
    assert {one.state for one in others} == {"down"}
    assert room.down(["s3"]) == {"s3": 3}
    assert not any(psutil.pid_exists(pid) for pid in s3.pids)


def test_what_a_killed_service_had_started_is_shown_and_ended_before_the_next_start(
    own_home, java_that
):
    java_that("sleep 1000 & sleep 1000")
    leave_by_a_crash(lambda: state.load()["processes"].get("s3"))
    psutil.Process(state.load()["processes"]["s3"]["pid"]).kill()
    assert eventually(lambda: len(processes.processes("s3")) == 2)

    (left,) = room.status(["s3"])
    java_that("echo anew; exit 1")
    with pytest.raises(ServicesError, match="s3 ended while starting"):
        room.up(["s3"])

    assert (left.state, left.detail) == ("down", "it was killed, these it had started")
    assert not any(psutil.pid_exists(pid) for pid in left.pids)


def test_a_service_that_is_ending_as_one_looks_is_started_again(own_home):
    (first,) = room.up(["s3"])
    process = psutil.Process(first.pids[0])
    process.suspend()  # it answers no more, and is there when `up` looks
    ends = threading.Timer(1, process.kill)
    ends.start()

    (second,) = room.up(["s3"])

    assert not ends.is_alive()
    assert second.state == "up"
    assert second.pids != first.pids


def test_a_clock_that_is_put_right_makes_no_service_another(own_home, java_that, monkeypatch):
    java_that("sleep 1000")
    leave_by_a_crash(lambda: state.load()["processes"].get("s3"))
    (before,) = room.status(["s3"])
    booted_s = psutil.boot_time()
    psutil.process_iter.cache_clear()  # as another command would see them
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: booted_s + 1)

    assert room.status(["s3"]) == [before]
    assert (before.state, len(before.pids)) == ("starting", 2)


def test_a_service_that_ignores_the_request_to_end_is_killed(own_home, java_that, monkeypatch):
    java_that("trap '' TERM; echo deaf; while :; do sleep 0.1; done")
    monkeypatch.setattr(control, "_READY_S", 1)
    monkeypatch.setattr(processes, "_STOP_S", 0.5)

    with pytest.raises(ServicesError, match="not ready after 1 s"):
        room.up(["s3"])

    assert processes.processes("s3") == []


def test_a_process_that_cannot_be_ended_is_named(own_home, java_that, monkeypatch):
    java_that("trap '' TERM; while :; do sleep 0.1; done")
    monkeypatch.setattr(processes, "_STOP_S", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(control, "_READY_S", 1)
        patch.setattr(processes, "_KILL_S", 0.1)
        patch.setattr(psutil.Process, "kill", lambda process: None)
        with pytest.raises(ServicesError) as error:
            room.up(["s3"])
        (pid, *_) = [process.pid for process in processes.processes("s3")]

    assert str(error.value).startswith(f"s3 does not end: process {pid}")


def test_a_process_that_took_over_a_recorded_id_is_left_alone(own_home):
    stranger = subprocess.Popen(["sleep", "1000"])
    with state.locked():
        known = state.load()
        known["processes"]["s3"] = {"pid": stranger.pid}
        state.save(known)

    try:
        assert set(room.down().values()) == {0}
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_ports_and_credentials_are_remembered(own_home):
    with state.locked():
        state.save(state.load())

    assert state.load() == json.loads((own_home / "services.json").read_text())
    assert len({*state.load()["ports"].values()}) == 8


def test_a_damaged_record_is_refused(own_home):
    own_home.mkdir()
    (own_home / "services.json").write_text("{}")

    with pytest.raises(ServicesError) as error:
        room.status()

    assert str(error.value) == (
        "the record of the local services is damaged: KeyError('ports')\n"
        f"  in {own_home}/services.json\n"
        "  remove it after `workbench services down`; the data beside it stays"
    )
    (own_home / "services.json").unlink()


@pytest.mark.parametrize("call", [room.up, room.down, room.status])
def test_a_misspelt_service_is_answered_with_the_nearest(own_home, call):
    with pytest.raises(ServicesError) as error:
        call(["pulser"])

    assert str(error.value) == "no service 'pulser'\n  did you mean 'pulsar'?"


def test_a_service_that_never_ran_has_no_log(own_home):
    with pytest.raises(ServicesError) as error:
        room.logs("s3")

    assert str(error.value) == (
        f"s3 has no log yet\n  in {own_home}/logs/s3.log\n  workbench services up s3"
    )
