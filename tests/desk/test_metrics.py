"""What Prometheus reads is what the topics, journals and promotions hold."""

import json
import re
import time
import urllib.request
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from workbench import broker, desk
from workbench.alerts.journal import Journal, journal_path
from workbench.desk.metrics import OpenAlerts
from workbench.errors import DeskError, StreamError
from workbench.stream import (
    COUNTERS,
    Day,
    Drift,
    Finding,
    Promotion,
    Submitted,
    note_drift,
    parse_stream,
)
from workbench.stream.promotion_log import BEGINNING, log_path

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
HOUR_MS = 3_600_000


def described(name="measured", **changes):
    topic = f"persistent://public/default/{name}"
    return parse_stream(
        name,
        {
            "topic": topic,
            "sensor": "pump",
            "channels": ["flow_l_min"],
            "window": 10,
            "alerts": f"{topic}-alerts",
            "heartbeat": f"{topic}-beats",
            "limits": {"high": "flow_l_min > 9"},
            "severities": {"high": "critical"},
            "routes": {"shift": {"to": "webhook", "url": "http://127.0.0.1:1"}},
            **changes,
        },
    )


def scraped(port):
    """Return what a scrape finds: by name and labels, the value (`named`)."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    return {
        (sample.name.removeprefix("workbench_"), *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def named(name, *, stream="measured", **labels):
    """Return the key of a sample of a scrape."""
    return (name, *sorted({"stream": stream, **labels}.items()))


def alert(key, status="open", kind="episode"):
    start = "2026-01-05T06:30:00.000Z"
    return {"id": key, "sensor": "pump-1", "kind": kind, "status": status, "start": start}


def sent(*alerts):
    return [json.dumps(each).encode() for each in alerts]


@pytest.fixture
def home(monkeypatch, tmp_path):
    """A home and a store of their own, and a broker that is away."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("WORKBENCH_BROKER", "pulsar://127.0.0.1:1")
    monkeypatch.setenv("WORKBENCH_ADMIN", "http://127.0.0.1:1")


def test_without_a_broker_journals_and_packages_are_told_and_that_it_is_away(home):
    now_ms = round(time.time() * 1000)
    decided = "2026-01-05T00:00:00.000Z"
    log = [
        Promotion("measured", "champion", "a" * 64, BEGINNING, decided),
        Promotion("measured", "champion", "b" * 64, now_ms - HOUR_MS, decided),
        Promotion("measured", "champion", "c" * 64, now_ms - 5000, decided, sensors=("p1", "p2")),
        Promotion("measured", "champion", "d" * 64, now_ms + HOUR_MS, decided),
        Promotion("measured", "challenger", "e" * 64, BEGINNING, decided),
    ]
    log_path("measured").parent.mkdir(parents=True)
    log_path("measured").write_text("".join(json.dumps(asdict(line)) + "\n" for line in log))
    journal = Journal(journal_path("measured", "shift"))
    journal.record("failed", [alert("1"), alert("2")], "away")
    journal.record("sent", [alert("1")])

    with desk.expose([described(), described("other", heartbeat="", routes={})], port=0) as port:
        metrics = scraped(port)
        again = scraped(port)

    assert again == metrics
    assert metrics[named("broker_up")] == metrics[named("broker_up", stream="other")] == 0
    assert named("job_readers") not in metrics
    for outcome, count in {"sent": 1, "failed": 2, "dead": 0}.items():
        assert metrics[named("route_alerts_total", route="shift", outcome=outcome)] == count
    assert metrics[named("route_waiting", route="shift")] == 1
    since = {
        tuple(dict(key[1:])[label] for label in ("role", "package", "sensors")): value
        for key, value in metrics.items()
        if key[0] == "package_since_timestamp_seconds"
    }
    assert since == {
        ("champion", "c" * 16, "p1,p2"): pytest.approx(now_ms / 1000 - 5, abs=0.01),
        ("champion", "b" * 16, ""): pytest.approx(now_ms / 1000 - 3600, abs=0.01),
        ("challenger", "e" * 16, ""): 1_767_571_200.0,
    }
    beats = {key for key in metrics if key[0] == "heartbeat_total"}
    assert beats == {named("heartbeat_total", counter=counter) for counter in COUNTERS}
    assert "alerts_open" not in {key[0] for key in metrics}  # unknown is not none


def test_an_alert_that_was_closed_is_not_open_again_when_a_restart_sends_it_again():
    alerts = OpenAlerts("plant")

    alerts.take(sent(alert("1"), alert("2", kind="high"), alert("1", "closed"), alert("1")))
    alerts.take([json.dumps({**json.loads(sent(alert("4"))[0]), "stream": "other"}).encode()])
    alerts.take([b"no alert", b"[]", b'{"id": "3"}', *sent(alert("2", kind="high"))])

    assert alerts.by_kind() == {"high": 1}


def test_nothing_but_loopback_is_listened_on_and_a_taken_port_is_told(home):
    with desk.expose([described(routes={})], port=0) as port:
        with pytest.raises(DeskError) as error, desk.expose([described(routes={})], port=port):
            pass
        listening = Path("/proc/net/tcp").read_text()

    assert str(error.value) == (
        f"port {port} cannot be listened on: Address already in use\n  another --port"
    )
    assert re.findall(rf"([0-9A-F]+):{port:04X} 00000000:0000 0A", listening) == ["0100007F"]


def test_no_stream_and_an_unknown_one_are_refused():
    with pytest.raises(DeskError, match=r"^no stream is named, at least one is needed$"):
        desk.StreamMetrics([])
    with pytest.raises(StreamError, match=r"^there is no stream 'plnt'"):
        desk.StreamMetrics(["plnt"])


def test_what_was_found_of_drift_and_a_cluster_that_is_away_are_told(home, tmp_path):
    findings = (
        Finding("drift since training", False, "0.40 in flow_l_min", "0.30"),
        Finding("readings scored", True, "99 %", "at least 90 %"),
    )
    day = Day("2026-01-05T00:00:00.000Z", ("a",), 100, {"flow_l_min": 0.4, "the score": None}, 0.25)
    span = ("2026-01-05T00:00:00.000Z", "2026-01-06T00:00:00.000Z")
    note_drift(Drift("measured", span, findings, (replace(day, moved={"flow_l_min": 0.9}), day)))

    jobs = tmp_path / "flink" / "jobs"
    jobs.mkdir(parents=True)
    away = Submitted("measured", "7c1d0f", "http://127.0.0.1:1", "", False, "2026-01-01T00:00:00Z")
    (jobs / "measured.json").write_text(json.dumps(asdict(away)))

    with desk.expose([described(), described("other")], port=0) as port:
        metrics = scraped(port)

    assert metrics[named("drift", channel="flow_l_min")] == 0.4
    assert named("drift", channel="the score") not in metrics
    assert metrics[named("drift_unscored_ratio")] == 0.25
    assert metrics[named("drift_judged_timestamp_seconds")] == 1_767_657_600
    assert metrics[named("drift_over_limit", check="drift since training")] == 1
    assert metrics[named("drift_over_limit", check="readings scored")] == 0
    assert metrics[named("job_up")] == 0
    others = {key[0] for key in metrics if ("stream", "other") in key}
    assert not {name for name in others if name.startswith("drift")}


def test_the_rules_in_the_documentation_ask_for_metrics_that_there_are(home):
    text = PAGE.read_text()
    (block,) = re.findall(r"```yml\n(.*?)```", text, re.DOTALL)
    rules = yaml.safe_load(block)["groups"][0]["rules"]
    documented = set(re.findall(r"`(\w+)`", text.split("| metric,")[1].split("\n\n")[0]))

    asked = {name for rule in rules for name in re.findall(r"workbench_(\w+)", rule["expr"])}

    assert len(rules) == 5
    assert asked <= documented
    source = Path(desk.__file__).with_name("metrics.py").read_text()
    assert [name for name in asked if f'"{name}"' not in source] == []


def test_the_dashboard_asks_for_metrics_that_there_are():
    board = json.loads((PAGE.parent / "dashboards" / "watch.json").read_text())
    variables = [each["definition"] for each in board["templating"]["list"] if "definition" in each]
    asked = [panel["targets"][0]["expr"] for panel in board["panels"]] + variables
    names = {name for text in asked for name in re.findall(r"workbench_(\w+)", text)}
    source = Path(desk.__file__).with_name("metrics.py").read_text()

    assert len(names) == len(asked) == 7
    assert [name for name in names if f'"{name.removesuffix("_total")}' not in source] == []


@pytest.mark.pulsar
@pytest.mark.timeout(300)
def test_a_scrape_counts_what_comes_while_it_runs(services, monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store"))
    stream = described("scraped")
    beat = {"at": "2026-01-05T00:00:10Z", **dict.fromkeys(COUNTERS, 0), "read": 7, "late": 2}
    with broker.connect() as client:
        job = client.subscribe(stream.topic, "workbench-scraped")
        readings = client.create_producer(stream.topic)
        beats = client.create_producer(stream.heartbeat)
        alerts = client.create_producer(stream.alerts)
        beats.send(json.dumps(beat).encode())
        for content in sent(alert("1"), alert("2", kind="high")):
            alerts.send(content)
        time.sleep(0.05)  # that beat was before
        with desk.expose([stream], port=0) as port:
            before = scraped(port)
            readings.send(b"{}")
            beats.send(json.dumps(beat).encode())
            beats.send(json.dumps({**beat, "scored": 5}).encode())
            alerts.send(sent(alert("1", "closed"))[0])
            after = scraped(port)
        job.close()

    def of(scrape, name, **labels):
        return scrape[named(name, stream="scraped", **labels)]

    def is_open(scrape):
        kinds = {"episode": "warning", "high": "critical"}.items()
        return [of(scrape, "alerts_open", kind=kind, severity=level) for kind, level in kinds]

    assert of(before, "broker_up") == of(before, "job_readers") == 1
    assert of(before, "heartbeat_total", counter="read") == 0
    assert of(after, "heartbeat_total", counter="read") == 14
    assert of(after, "heartbeat_total", counter="scored") == 5
    assert of(after, "heartbeat_timestamp_seconds") == 1_767_571_210
    assert of(after, "job_backlog_entries") == 1
    assert (is_open(before), is_open(after)) == ([1, 1], [0, 1])
