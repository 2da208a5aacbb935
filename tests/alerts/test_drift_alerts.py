"""Drift as an alert: opened once however often it is looked at, closed when it is over, routed."""

import json
import os
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import asdict

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import alerts as room
from workbench import detectors, replay
from workbench.alerts.drift_alerts import state_path
from workbench.alerts.journal import Journal
from workbench.alerts.lists import _open
from workbench.cli import cli
from workbench.errors import ServicesError, StreamError
from workbench.files import whole_lines
from workbench.stream import Day, Drift, Finding, Promotion, load_stream
from workbench.stream.promotion_log import BEGINNING, add_package, log_path
from workbench.times import iso

RUN = "from workbench.cli import main; main()"
DAY_MS = 86_400_000
START_MS = 1_767_571_200_000  # 2026-01-05


def looked(number, **checks):
    """What `drift` says at the end of a day: of each check whether it passed."""
    start, stop = (iso(START_MS + day * DAY_MS) for day in (number - 1, number))
    findings = tuple(
        Finding(check, passed, f"value {number}", "at most 1") for check, passed in checks.items()
    )
    return Drift("plant", (start, stop), findings, (Day(start, ("ab" * 32,), 100),))


@pytest.fixture
def plant(stream, monkeypatch, tmp_path):
    """A stream whose broker is away: what is to be sent waits in its file."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    return stream({"to": "webhook", "url": "http://plant.example"})


def told(plant, *looks):
    """The alerts that looks make, as they are kept, each look without a broker."""
    for drift in looks:
        with suppress(ServicesError):
            room.announce_drift(plant, drift)
    lines = [json.loads(line) for line in whole_lines(state_path("plant"))]
    return [line["alert"] for line in lines]


def test_a_drift_that_lasts_is_one_alert_until_it_is_back(plant):
    over = [looked(day, channels=False, alerts=True) for day in (1, 2, 3)]

    opened, closed = told(plant, *over, looked(4, channels=True, alerts=True))

    assert (opened["kind"], opened["sensor"], opened["status"]) == ("drift", "topic", "open")
    assert opened["start"] == "2026-01-06T00:00:00.000Z"
    assert opened["reason"] == "channels: value 1 (limit: at most 1)"
    assert (closed["id"], closed["status"]) == (opened["id"], "closed")
    assert closed["stop"] == "2026-01-09T00:00:00.000Z"
    assert closed["reason"] == "channels: value 4 (limit: at most 1)"


def test_a_broker_that_is_away_is_told_at_each_look(plant):
    for day in (1, 2):
        with pytest.raises(ServicesError, match=r"^no broker is known"):
            room.announce_drift(plant, looked(day, channels=False))


def test_each_limit_has_an_alert_of_its_own(plant):
    first, second = told(plant, looked(1, channels=False, alerts=False))

    assert first["id"] != second["id"]


def test_a_limit_that_is_declared_no_more_closes_its_alert(plant):
    gone = looked(2)
    gone = Drift("plant", gone.judged, (Finding("channels", None, "1", "no limit declared"),), ())

    opened, closed = told(plant, looked(1, channels=False), gone)

    assert (closed["id"], closed["status"]) == (opened["id"], "closed")


def test_a_drift_that_opens_again_on_the_same_days_is_another_alert(plant):
    over, back = looked(1, channels=False), looked(1, channels=True)

    first, closed, second = told(plant, over, back, over)

    assert (first["status"], closed["status"], second["status"]) == ("open", "closed", "open")
    assert closed["id"] == first["id"] != second["id"]
    journal = Journal(None)
    journal.record("sent", [first, closed])
    assert not journal.settled(second)


def test_what_is_not_looked_at_any_more_closes_its_alert(plant):
    over = looked(1, channels=False, alerts=False)

    *opened, closed = told(plant, over, looked(2, alerts=None), looked(3, alerts=None))

    assert [alert["status"] for alert in opened] == ["open", "open"]
    assert (closed["id"], closed["status"]) == (opened[0]["id"], "closed")
    assert closed["stop"] == "2026-01-07T00:00:00.000Z"
    assert closed["reason"] == "channels: not looked at any more"


@settings(max_examples=50)
@given(st.lists(st.sampled_from([True, False, None]), max_size=12))
def test_whatever_comes_an_alert_opens_and_closes_in_turn(tmp_path_factory, sequence):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_HOME", str(tmp_path_factory.mktemp("drift")))
        from workbench.stream import parse_stream

        plant = parse_stream(
            "plant",
            {"topic": "pumps", "sensor": "pump", "channels": ["flow"], "alerts": "alerts",
             "window": 10},
        )  # fmt: skip
        kept = told(plant, *(looked(day, channels=is_in) for day, is_in in enumerate(sequence, 1)))

    states = [state for state in sequence if state is not None]
    turns = [
        state for before, state in zip([True, *states], states, strict=False) if state != before
    ]
    assert [alert["status"] == "closed" for alert in kept] == turns
    ids = [alert["id"] for alert in kept]
    assert ids[1::2] == ids[: len(ids) // 2 * 2 : 2]
    assert len(set(ids)) == (len(ids) + 1) // 2


def test_a_look_at_another_time_alerts_nobody():
    asked = ["drift", "plant", "--alert", "--stop", "2026-01-15T06:00:00Z"]

    result = CliRunner().invoke(cli, asked)

    assert result.exit_code == 2
    assert "--alert is of now: without --stop, --package and --archive" in result.output


def until(true, seconds=120):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def shifted(pulsar, tmp_path, monkeypatch):
    """An archive of two pumps, one reading a minute, the fifth of whose days has another pressure.

    The package is fitted on the first two.
    """
    rng, folder = np.random.default_rng(3), tmp_path / "archive"
    folder.mkdir()
    times = START_MS + np.arange(5 * 1440) * 60_000
    entries = []
    for number, at_ms in enumerate(times.tolist()):
        for pump in ("pump-1", "pump-2"):
            pressure = rng.normal(5.0 if number < 4 * 1440 else 9.0)
            reading = {"pump": pump, "at_ms": at_ms, "pressure_bar": pressure}
            entries.append(pulsar.entry(json.dumps(reading).encode(), publish_ms=at_ms))
    pulsar.ledger(folder, entries, topic="public/default/persistent/shifted")
    monkeypatch.setenv("WORKBENCH_ARCHIVE", str(folder))
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store"))
    trained = replay("shifted", iso(START_MS), iso(START_MS + 2 * DAY_MS), archive=str(folder))
    spec = {"name": "robust_z", "window": 5, "channels": ["pressure_bar"]}
    detectors.save(
        detectors.fit(spec, trained, sensor="pump"), tmp_path / "package", threshold=100.0,
        rule=detectors.EpisodeRule(3, 5, 10), training=trained.attrs["manifest"],
    )  # fmt: skip
    return add_package(tmp_path / "package")


@pytest.mark.pulsar
@pytest.mark.timeout(300)
def test_a_channel_that_has_moved_reaches_a_webhook_once_and_is_taken_back(
    services, server, shifted, tmp_path, monkeypatch
):
    name = f"moved-{uuid.uuid4().hex[:8]}"
    for folder in ("streams", "notebooks", "params"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    hook = {"to": "webhook", "url": server.url, "wait_s": 0, "every_s": 0, "kinds": ["drift"]}
    content = {
        "topic": "persistent://public/default/shifted", "sensor": "pump", "event_time": "at_ms",
        "channels": ["pressure_bar"], "window": 10, "alerts": f"persistent://public/default/{name}",
        "severities": {"drift": "critical"}, "routes": {"shift": {**hook, "least": "critical"}},
    }  # fmt: skip

    def declare(**gate):
        gated = {**content, "gate": {"days": 1, **gate}}
        (tmp_path / "streams" / f"{name}.yaml").write_text(yaml.safe_dump(gated))

    def look():
        return CliRunner().invoke(cli, ["drift", name, "--days", "2", "--alert"])

    def posts():
        return [one for _, _, body in server.posts for one in json.loads(body)["alerts"]]

    declare(drift=0.4)
    line = Promotion(name, "champion", shifted, BEGINNING, "2026-01-01T00:00:00Z")
    log_path(name).parent.mkdir(parents=True)
    log_path(name).write_text(json.dumps(asdict(line)) + "\n")
    notifier = subprocess.Popen([sys.executable, "-c", RUN, "alerts", "run", name], env=os.environ)
    try:
        until(lambda: room.route_status(name)[0].backlog is not None)
        first, again = look(), look()
        until(lambda: len(posts()) == 1)
        declare(drift=1)
        back = look()
        until(lambda: len(posts()) == 2)
    finally:
        notifier.terminate()
        notifier.wait()

    assert isinstance(first.exception, StreamError)
    assert "open: drift since training: 0." in first.stderr
    assert "alert" not in again.stderr
    assert " closed: drift since training: 0." in back.stderr
    assert back.exit_code == 0
    opened, closed = posts()
    assert (opened["kind"], opened["severity"]) == ("drift", "critical")
    assert opened["reason"].startswith("drift since training: 0.")
    assert opened["reason"].endswith(" in pressure_bar (limit: at most 0.40)")
    assert opened["package"] == shifted
    assert (closed["id"], closed["status"]) == (opened["id"], "closed")
    assert room.list_alerts(name)[0]["status"] == "closed"
    assert load_stream(name).gate.drift == 1


@pytest.mark.pulsar
@pytest.mark.timeout(300)
def test_an_alert_that_kafka_did_not_take_is_sent_by_the_next_look(
    kafka, stream, monkeypatch, tmp_path
):
    from workbench import event_topics

    topic = f"kafka://drifts-{uuid.uuid4().hex[:8]}"
    plant = stream({"to": "webhook", "url": "http://a"}, alerts="persistent://public/default/a")
    plant = type(plant)(**{**vars(plant), "alerts": topic, "routes": {}, "name": topic[8:]})
    address = kafka.kafka
    monkeypatch.setenv("WORKBENCH_KAFKA", "127.0.0.1:1")
    with pytest.raises(ServicesError):
        room.announce_drift(plant, looked(1, channels=False))
    monkeypatch.setenv("WORKBENCH_KAFKA", address)

    (sent,) = room.announce_drift(plant, looked(2, channels=False))

    assert (sent["start"], sent["status"]) == ("2026-01-06T00:00:00.000Z", "open")
    assert room.announce_drift(plant, looked(3, channels=False)) == []
    room.announce_drift(plant, looked(4, channels=True))
    kept = [json.loads(event) for event in event_topics.read(topic)]
    assert [(alert["id"], alert["status"]) for alert in kept] == [
        (sent["id"], "open"), (sent["id"], "closed"),
    ]  # fmt: skip


def test_what_a_job_left_open_is_what_it_opened_and_nothing_closed(plant):
    alert = {
        "id": "a", "stream": "plant", "sensor": "P1", "kind": "episode", "status": "open",
        "start": "2026-01-05T00:00:00.000Z",
    }  # fmt: skip
    said = [
        alert,
        {**alert, "id": "b"},
        {**alert, "id": "b", "status": "closed"},
        {**alert, "id": "b"},  # a restart says it again
        {**alert, "id": "c", "kind": "drift"},
        {**alert, "id": "d", "stream": "other"},
        {**alert, "id": "e", "start": "x"},
    ]

    left = _open(plant, [b"no alert", *(json.dumps(each).encode() for each in said)])

    assert [each["id"] for each in left] == ["a"]


def test_what_is_not_closed_is_told_with_the_reason(plant):
    alerts = tuple({"sensor": f"P{n}", "kind": "episode", "start": "2026"} for n in range(5))
    left = room.LeftOpen(alerts, "another job reads")

    assert room.close_left_open(plant, left) == (
        "5 alerts of before stay open (P0 episode since 2026; P1 episode since 2026; "
        "P2 episode since 2026; 2 more): another job reads"
    )
    assert room.close_left_open(plant, room.LeftOpen(())) == ""
