"""The notifier on a real broker: killed, with a target that is away, beside one that is not."""

import json
import os
import socket
import subprocess
import sys
import time
import uuid

import psutil
import pytest
import yaml
from click.testing import CliRunner

from workbench import alerts as room
from workbench import event_topics
from workbench import services as here
from workbench.cli import cli
from workbench.errors import AlertsError
from workbench.services.processes import processes

RUN = "from workbench.cli import main; main()"
KEPT = {"type": "record", "name": "Alert", "fields": []}


def until(true, seconds=150):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def begin(name):
    """Start a notifier; it follows the topic when this returns."""
    command = [sys.executable, "-c", RUN, "alerts", "run", name]
    process = subprocess.Popen(command, env=os.environ)
    until(lambda: all(route.backlog is not None for route in room.route_status(name)))
    return process


def said(server):
    """Number and status of each alert that came to the target."""
    found = [json.loads(body)["alerts"] for _, _, body in server.posts]
    return {(int(one["id"], 16), one["status"]) for each in found for one in each}


def test_a_stream_without_routes_has_nobody_to_send_to(stream):
    with pytest.raises(AlertsError, match=r"^stream plant has no routes"):
        room.notify(stream({"to": "webhook", "url": "http://a"}, routes={}))


def test_a_variable_that_is_not_set_is_named_before_anything_starts(stream):
    with pytest.raises(AlertsError, match=r"^NOWHERE is not set"):
        room.notify(stream({"to": "webhook", "url": "${NOWHERE}"}))


def test_what_messages_cannot_say_is_told_before_a_dry_run(stream, monkeypatch):
    monkeypatch.setenv("WORKBENCH_ALERTS_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("WORKBENCH_ALERTS_SECRET", raising=False)

    with pytest.raises(AlertsError, match=r"^WORKBENCH_ALERTS_SECRET has 0 characters"):
        list(room.preview(stream({"to": "webhook", "url": "http://a"})))


@pytest.fixture
def project(tmp_path, monkeypatch, stream):
    """A project with a stream file, whose routes a test writes."""

    def make(name, topic, routes):
        definition = stream({"to": "webhook", "url": "http://a"}, alerts=topic)
        for folder in ("streams", "notebooks", "params"):
            (tmp_path / folder).mkdir()
        content = {**definition.content(), "routes": routes}
        (tmp_path / "streams" / f"{name}.yaml").write_text(yaml.safe_dump(content))
        monkeypatch.chdir(tmp_path)

    return make


# before any test with `kafka`, whose home hides the broker that is started again here
@pytest.mark.pulsar
@pytest.mark.timeout(600)
def test_nothing_is_lost_by_a_kill_of_notifier_broker_and_target_in_turn(
    services, server, alert, project
):
    name = f"killed-{uuid.uuid4().hex[:8]}"
    topic = f"persistent://public/default/{name}"
    hook = {"to": "webhook", "url": server.url, "wait_s": 0, "every_s": 0}
    project(name, topic, {"shift": hook})

    def send(numbers):
        for number in numbers:
            content = json.dumps(alert(number, sensor=f"pump-{number}", stream=name)).encode()
            event_topics.send(topic, content, key=name, schema=KEPT)

    first = begin(name)
    try:
        send(range(10))
    finally:
        first.kill()
        first.wait()
    second = begin(name)
    try:
        send(range(10, 20))
        until(lambda: (10, "open") in said(server))  # it is up: at its start it needs a broker
        (standalone, *_) = processes("pulsar")
        standalone.kill()
        psutil.wait_procs([standalone], timeout=30)
        here.up(["pulsar"])
        send(range(20, 30))
        until(lambda: said(server) == {(number, "open") for number in range(30)}, 300)
        server.stop()
        send(range(30, 40))
        until(lambda: room.route_status(name)[0].failure)
        server.start()
        until(lambda: said(server) == {(number, "open") for number in range(40)})
        until(lambda: room.route_status(name)[0].sent == 40)
        assert second.poll() is None  # it was the same one all the time
    finally:
        second.terminate()
        second.wait()

    (shift,) = room.route_status(name)
    assert (shift.sent, shift.dead, shift.waiting) == (40, 0, 0)
    assert shift.failed > 0


@pytest.fixture(params=["persistent://public/default/", "kafka://"])
def queue(request, services, kafka, monkeypatch):
    """How topics begin, of a queue that runs; both are asked for as in `test_elsewhere`."""
    monkeypatch.setenv("WORKBENCH_BROKER", services.broker)
    monkeypatch.setenv("WORKBENCH_ADMIN", services.admin)
    monkeypatch.setenv("WORKBENCH_BROKER_TOKEN", services.broker_token)
    monkeypatch.setenv("WORKBENCH_KAFKA", kafka.kafka)
    monkeypatch.setenv("WORKBENCH_KAFKA_CONFIG", kafka.kafka_config)
    return request.param


@pytest.mark.pulsar
@pytest.mark.timeout(300)
def test_nothing_is_lost_by_a_kill_and_a_dead_target_blocks_no_other(queue, server, alert, project):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{free.getsockname()[1]}"
    hook = {"to": "webhook", "wait_s": 0, "every_s": 0}
    name = f"told-{uuid.uuid4().hex[:8]}"  # a second try begins with no journal of the first
    topic = f"{queue}{name}"
    project(name, topic, {"shift": {**hook, "url": server.url}, "away": {**hook, "url": away}})

    def send(content):
        event_topics.send(topic, json.dumps(content).encode(), key=name, schema=KEPT)

    first = begin(name)
    try:
        for number in range(20):
            send(alert(number, stream=name))
            until(lambda number=number: (number, "open") in said(server))
        send("no alert")
        for number in range(20):
            send(alert(number, "closed", stream=name))
        first.kill()
        first.wait()
        for number in range(20, 30):
            send(alert(number, stream=name))
        send(alert(3, stream=name))  # a restarted job sends it again
    finally:
        first.kill()
        first.wait()
    second = begin(name)
    try:
        until(lambda: len(said(server)) == 50)
        until(lambda: {one.route: one for one in room.route_status(name)}["shift"].backlog == 0)
    finally:
        second.terminate()
        second.wait()

    routes = {status.route: status for status in room.route_status(name)}
    shift, dead = routes["shift"], routes["away"]
    assert (shift.sent, shift.dead, shift.waiting) == (50, 1, 0)  # one was no alert
    assert (dead.sent, dead.failure.split(",")[0]) == (
        0,
        "no answer from the target: ConnectionError",
    )
    assert dead.waiting > 0
    # all that are alerts; Kafka's group has one place, before the first that is not settled
    assert dead.backlog == (52 if queue == "kafka://" else 51)
    messages = [headers["webhook-id"] for _, headers, _ in server.posts]
    assert len(set(messages)) >= len(messages) - 1  # the kill repeats one at most, recognisably

    shown = CliRunner().invoke(cli, ["alerts", "run", name, "--dry-run"]).output
    assert f"shift: line-1-pump-1: 1 open ({name})" in shown
    assert "line-1-pump-1: episode closed, 2026-01-15T06:30:00.000Z to 2026-01-15T07:00" in shown
    rows = CliRunner().invoke(cli, ["alerts", "list", name, "--json"]).output.splitlines()
    assert len(rows) == 30
    assert sum(json.loads(row)["status"] == "closed" for row in rows) == 20
    assert "50 sent, 0 tried in vain, 1 given up, 0 silent, backlog 0" in (
        CliRunner().invoke(cli, ["alerts", "status", name]).output
    )
