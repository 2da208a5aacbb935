"""A live watch: of a job that is stopped and started again, and of nothing at all."""

import json
import re
import time

import pandas as pd
import pulsar
import pytest
from IPython.core.formatters import DisplayFormatter

from workbench import broker, desk, detectors, plant
from workbench.desk.following import Tails
from workbench.desk.watching import _against, _in_alarm
from workbench.services.connector import POSITIONING
from workbench.stream import parse_stream


def described(**changes):
    return {
        "topic": "persistent://public/default/followed",
        "sensor": "pump",
        "channels": list(plant.CHANNELS),
        "lateness_s": 60,
        "window": 10,
        "alerts": "persistent://public/default/followed-alerts",
        "heartbeat": "persistent://public/default/followed-beats",
        **changes,
    }


def shown(watch):
    data, _ = DisplayFormatter().format(watch)
    return data["text/plain"]


def until(watch, true, *, seconds=120):
    """Look until something is so."""
    end = time.monotonic() + seconds
    while not true(watch.look()):
        assert time.monotonic() < end, shown(watch)
        time.sleep(0.5)


def test_a_watch_without_a_broker_says_so_and_goes_on(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("WORKBENCH_BROKER", "pulsar://127.0.0.1:1")
    monkeypatch.setenv("WORKBENCH_ADMIN", "http://127.0.0.1:1")

    watch = desk.watch(parse_stream("plant", described()), seconds=1, every_s=0.2)

    assert "no broker answers at http://127.0.0.1:1: Connection refused" in shown(watch)
    assert "nobody reads the topic" in shown(watch)
    assert capsys.readouterr().out.count("Watch") > 1  # it was shown, and shown anew


def test_a_watch_that_did_not_look_yet_says_how():
    watch = desk.watch(parse_stream("plant", described()))

    assert "looked  not yet: watch.follow(60)" in shown(watch)
    assert "alerts  0, 0 of them open" in shown(watch)


def test_the_challenger_is_held_against_the_champion_by_sensor_and_time():
    def alerts(*rows):
        frame = pd.DataFrame(rows, columns=["sensor", "start", "stop"])
        for name in ("start", "stop"):
            frame[name] = pd.to_datetime(frame[name], utc=True)
        return frame

    champion = alerts(
        ("a", "2026-01-05T00:00Z", "2026-01-05T02:00Z"),
        ("a", "2026-01-05T10:00Z", None),  # still open
        ("b", "2026-01-05T00:00Z", "2026-01-05T01:00Z"),
    )
    challenger = alerts(
        ("a", "2026-01-05T01:00Z", "2026-01-05T03:00Z"),
        ("a", "2026-01-05T20:00Z", "2026-01-05T21:00Z"),
        ("b", "2026-01-05T05:00Z", "2026-01-05T06:00Z"),
    )

    assert _against(champion, challenger) == {
        "would alert": 3, "where the champion does": 2, "alone": 1, "missing": 1
    }  # fmt: skip


def test_one_alert_that_does_not_end_is_not_quiet():
    """As long as closed ones lasted, and since when the oldest open one does."""
    alerts = pd.DataFrame(
        [
            ("2026-01-05T00:00Z", "2026-01-05T02:30Z", "closed"),
            ("2026-01-05T04:00Z", None, "open"),
            ("2026-01-05T05:00Z", None, "open"),
            ("2026-01-05T06:00Z", "2026-01-05T06:30Z", "closed"),
        ],
        columns=["start", "stop", "status"],
    )
    for name in ("start", "stop"):
        alerts[name] = pd.to_datetime(alerts[name], utc=True)

    assert _in_alarm(alerts) == "3.0 h of closed alerts, open since 2026-01-05 04:00:00 UTC"
    assert _in_alarm(alerts[alerts["status"] == "closed"]) == "3.0 h of closed alerts"
    assert _in_alarm(alerts[:0]) is None


@pytest.mark.pulsar
def test_a_job_comes_back_when_other_consumers_read_for_it(services):
    topic = "persistent://public/default/counted"
    watch = desk.watch(parse_stream("counted", described(topic=topic)))

    with broker.connect() as client:

        def reads(name):
            return client.subscribe(topic, "workbench-counted", consumer_name=name)

        first = reads("a job")
        assert len(watch.look().readers) == 1
        first.close()
        for name, restarts in [("a job", 0), (POSITIONING, 0), ("the job anew", 1)]:
            again = reads(name)
            assert watch.look().restarts == restarts, name
            assert bool(watch.readers) == (name != POSITIONING)
            again.close()


@pytest.mark.pulsar
def test_of_a_look_that_fails_nothing_is_lost(services, monkeypatch):
    names = {kind: f"persistent://public/default/failing-{kind}" for kind in ("alerts", "beats")}
    assert broker.admin("PUT", f"{broker.rest_path(names['alerts'])}/partitions", json=2).ok
    with broker.connect() as client:
        for topic in names.values():
            producer = client.create_producer(topic)
            for number in range(6):
                producer.send(str(number).encode(), partition_key=str(number))
    tails, read_next = Tails(names, dict.fromkeys(names, 0)), pulsar.Reader.read_next
    reads = []

    def fails_at_the_fifth(reader, timeout_ms):
        reads.append(reader.topic())
        if len(reads) == 5:
            raise pulsar.ConnectError("")
        return read_next(reader, timeout_ms)

    monkeypatch.setattr(pulsar.Reader, "read_next", fails_at_the_fifth)
    with pytest.raises(pulsar.ConnectError):
        list(tails.new())

    looks = [dict(tails.new()), dict(tails.new())]
    assert {name: sorted(map(int, contents)) for name, contents in looks[0].items()} == {
        "alerts": [*range(6)], "beats": [*range(6)]
    }  # fmt: skip
    assert looks[1] == {"alerts": [], "beats": []}


@pytest.mark.pulsar
def test_what_is_no_alert_or_heartbeat_is_passed_over_and_counted(services):
    stream = parse_stream("strange", described(alerts="strange", heartbeat="strange-b"))
    alert = {"id": "9f", "status": "open", "sensor": "pump-1", "kind": "episode",
             "stream": "strange", "start": "2026-01-07T14:50:00.000Z"}  # fmt: skip
    beat = {"at": "2026-01-07T14:50:00Z", "read": 5}
    strange = [b"", b"\xff", b"null", b"3", b"[]", b'{"id": 3}', b'{"at": "soon"}', b'{"at": null}',
               b'{"at": "2026-01-07T14:50:00Z", "read": Infinity}', b"[" * 100_000]  # fmt: skip
    with broker.connect() as client:
        client.create_producer(stream.topic)
        for topic, good in (("strange", alert), ("strange-b", beat)):
            producer = client.create_producer(topic)
            for content in (strange[0], json.dumps(good).encode(), *strange[1:]):
                producer.send(content)

    watch = desk.watch(stream).look()

    assert not watch.trouble
    assert watch.alerts["id"].tolist() == ["9f"]
    assert watch.beats["read"] == 5
    assert watch.strange == 2 * len(strange)
    assert "20 messages of its topics that are no alerts" in shown(watch)


@pytest.mark.pulsar
def test_a_tail_begins_with_what_was_published_at_its_moment(services):
    topic = "persistent://public/default/since"
    with broker.connect() as client:
        producer = client.create_producer(topic)
        producer.send(b"before")
        time.sleep(0.01)
        moment_ms = int(time.time() * 1000)
        producer.send(b"then")
    tails = Tails({"t": topic, "none": f"{topic}-not-there"}, {"t": moment_ms, "none": 0})

    assert dict(tails.new()) == {"t": [b"then"], "none": []}
    with broker.connect() as client:
        client.create_producer(topic).send(b"behind")
    assert dict(tails.new()) == {"t": [b"behind"], "none": []}
    later_ms = int(time.time() * 1000) + 60_000
    assert dict(Tails({"t": topic}, {"t": later_ms}).new()) == {"t": []}


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.timeout(900)
def test_a_watch_outlives_the_job_and_shows_each_alert_once(
    services, scored, tmp_path, monkeypatch, short_beats
):
    from workbench.services import ingest_frame
    from workbench.stream import start
    from workbench.stream.promotion_log import add_package

    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store"))
    detectors.save(
        scored.package.detector, tmp_path / "package", threshold=scored.package.threshold,
        rule=scored.package.rule, training={},
    )  # fmt: skip
    package = add_package(tmp_path / "package")
    stream = parse_stream("followed", described())
    sent = {"sensor": "pump", "time": "event_time", "values": list(plant.CHANNELS)}
    half = len(scored.readings) // 2
    ingest_frame(scored.readings.head(half), stream.topic, **sent)
    watch = desk.watch(stream)

    job = start(stream, package=package, position="earliest", restarts=0)
    until(watch, lambda seen: len(seen.alerts) > 0 and seen.readers and seen.beats["scored"] > 0)
    first = watch.alerts["id"].tolist()
    job.stop()
    until(watch, lambda seen: not seen.readers)
    assert "nobody reads the topic" in shown(watch)

    ingest_frame(scored.readings.iloc[half:], stream.topic, **sent)
    until(watch, lambda seen: seen.backlog)
    job = start(stream, package=package, position="earliest", restarts=0)
    expected = scored.detection.episodes
    last = scored.readings["event_time"].max() - pd.Timedelta("60s")
    expected = expected[expected["start"] <= last]
    until(watch, lambda seen: len(seen.alerts) >= len(expected) and seen.backlog == 0)
    # the second job began anew, so its heartbeat counts all of them, some seconds later
    until(watch, lambda seen: seen.beats["read"] >= len(scored.readings))
    job.stop()

    alerts = watch.alerts
    assert watch.restarts == 1
    assert set(first) < set(alerts["id"])
    assert list(zip(alerts["sensor"], alerts["start"], strict=True)) == list(
        zip(expected["sensor"], expected["start"], strict=True)
    )
    assert re.search(r"restarts seen +1\n", shown(watch))
