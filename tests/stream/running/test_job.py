import dataclasses
import json
import os
import time

import numpy as np
import pandas as pd
import pytest

from workbench import detectors
from workbench.errors import ServicesError, StreamError
from workbench.stream import (
    compare,
    parity,
    parse_stream,
    promote,
    promotions,
    run,
    sql,
    start,
)
from workbench.stream.promotion_log import (
    BEGINNING,
    Promotion,
    add_package,
    log_path,
)
from workbench.stream.running.gateway import _STEADY, _add_java_options
from workbench.stream.running.job import _bring, environment
from workbench.stream.running.outcome import newest


@pytest.mark.flink
def test_the_job_equals_the_batch_path_and_is_promoted(store, package_folder, readings, stream):
    environment(brief=True)  # from here on a JVM runs, with the variables of this moment
    before = {**os.environ, "WORKBENCH_PLANTED": "later than the JVM"}
    os.environ["WORKBENCH_PLANTED"] = before["WORKBENCH_PLANTED"]

    promotion = promote(package_folder, stream=stream, frame=readings)

    assert {name: os.environ.get(name) for name in before} == before
    assert "PYFLINK_GATEWAY_DISABLED" not in os.environ  # which would forbid Flink to children
    del os.environ["WORKBENCH_PLANTED"]

    certificate = json.loads((store / promotion.certificate).read_text())
    batch = detectors.detect(
        detectors.load(package_folder), readings, sensor="pump", lateness_ms=30_000
    )
    assert certificate["passed"]
    assert certificate["readings"] == len(readings)
    assert certificate["scored"] > 1000
    assert certificate["largest_difference"] <= 1e-9
    assert certificate["differing_alerts"] == []
    assert certificate["alerts"] == len(batch.episodes) > 3
    assert certificate["late_batch"] == certificate["late_stream"] == batch.late.sum() > 50
    assert promotions("pumps") == [promotion]


@pytest.mark.flink
def test_derived_channels_are_the_same_in_flink_and_duckdb(store, readings, content):
    stream = parse_stream(
        "derived", content(derived={"ratio": "pressure_bar / (1 + flow_l_min * flow_l_min)"})
    )
    frame = readings.assign(
        ratio=readings["pressure_bar"] / (1 + readings["flow_l_min"] * readings["flow_l_min"])
    )
    spec = {"name": "robust_z", "window": 2, "channels": ["ratio"]}
    detector = detectors.fit(spec, frame, sensor="pump")
    folder = store / "new"
    detectors.save(detector, folder, threshold=4.0, rule=detectors.EpisodeRule(), training={})
    package = add_package(folder)

    certificate = parity(stream, readings, package=package)
    assert certificate.reasons() == []
    assert certificate.alerts > 0


@pytest.mark.flink
def test_packages_switch_at_the_promised_reading_for_the_sensors_named(
    store, package_folder, readings, stream, tmp_path
):
    first = add_package(package_folder)
    package = detectors.load(package_folder)
    higher = tmp_path / "higher"
    detectors.save(package.detector, higher, threshold=4.0, rule=package.rule, training={})
    second = add_package(higher)
    switch = readings["event_time"].iloc[1500]
    _write_log(
        _promotion(first, BEGINNING),
        _promotion(second, switch.value // 10**6, sensors=("pump-3",), threshold=5.0),
    )

    outcome = run(stream, readings.tail(2000))

    taken = (outcome.scores["sensor"] == "pump-3") & (
        outcome.scores["event_ms"] >= switch.value // 10**6
    )
    assert set(outcome.scores.loc[taken, "package"]) == {second}
    assert set(outcome.scores.loc[taken, "threshold"]) == {5.0}
    assert set(outcome.scores.loc[~taken, "package"]) == {first}
    assert set(outcome.scores.loc[~taken, "threshold"]) == {3.0}
    batch = detectors.detect(package, readings.tail(2000), sensor="pump", lateness_ms=30_000)
    rows = pd.Index(readings["message_id"].tail(2000)).get_indexer(outcome.scores["message_id"])
    np.testing.assert_allclose(outcome.scores["score"], batch.scores[rows], rtol=1e-9)


def _promotion(package, effective_ms, **more):
    return Promotion("pumps", "champion", package, effective_ms, "2026-01-01T00:00:00Z", **more)


def _write_log(*promotions):
    """As `append` would have, had it been called before those readings came."""
    path = log_path("pumps")
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(dataclasses.asdict(one)) + "\n" for one in promotions))


def test_a_stream_without_a_champion_is_refused(store, stream, readings):
    with pytest.raises(StreamError) as error:
        run(stream, readings)

    assert str(error.value) == (
        f"stream pumps has no champion yet\n  in {store}\n"
        "  workbench promote RUN --stream pumps --as champion"
    )


def test_a_package_that_does_not_fit_the_stream_does_not_start(
    store, package_folder, readings, content
):
    package = add_package(package_folder)
    stream = parse_stream("narrow", content(window=2))

    with pytest.raises(StreamError) as error:
        run(stream, readings, package=package)

    assert str(error.value) == (
        f"package {package[:16]} does not fit: its window is 4, the stream's 2"
    )


def test_a_column_that_is_missing_is_refused_with_the_nearest(
    store, package_folder, stream, readings
):
    package = add_package(package_folder)

    with pytest.raises(StreamError) as error:
        run(stream, readings.rename(columns={"flow_l_min": "flow_l"}), package=package)

    assert str(error.value) == (
        "the readings have no column 'flow_l_min'\n  did you mean 'flow_l'?"
    )


def test_a_reading_that_is_not_a_number_is_refused(store, package_folder, stream, readings):
    package = add_package(package_folder)

    with pytest.raises(StreamError) as error:
        run(stream, readings.assign(flow_l_min="much"), package=package)

    assert str(error.value) == "channel flow_l_min holds object, not numbers"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("-Xmx2g", ["-Xmx2g", *_STEADY]),
        # Java refuses two collectors
        ("-XX:+UseG1GC -Xmx2g", ["-XX:+UseG1GC", "-Xmx2g", *_STEADY[1:]]),
        # what a short job asked for, in the process that started this one
        ("-XX:TieredStopAtLevel=1 -XX:+UseSerialGC", _STEADY),
    ],
)
def test_a_job_that_stays_has_a_collector_of_its_own_or_the_users(monkeypatch, given, expected):
    monkeypatch.setenv("FLINK_ENV_JAVA_OPTS", given)

    _add_java_options(_STEADY)

    assert os.environ["FLINK_ENV_JAVA_OPTS"].split() == list(expected)


def test_a_job_brings_the_jars_that_its_jvm_has_not(tmp_path):
    there, other = tmp_path / "connector of it.jar", tmp_path / "kafka.jar"
    both = {"pipeline.jars": f"{there.as_uri()};{other.as_uri()}"}
    single = {"pipeline.jars": there.as_uri()}

    _bring(some := dict(both), frozenset({there}), is_here=True)
    _bring(none := dict(single), frozenset({there}), is_here=True)
    _bring(remote := dict(both), frozenset({there}), is_here=False)

    assert some == {"pipeline.jars": other.as_uri()}
    assert none == {}
    assert remote == both


def test_the_sql_shows_every_step(stream):
    text = sql(dataclasses.replace(stream, rule=detectors.EpisodeRule(2, 3, 4)))

    steps = [line.split()[3] for line in text.splitlines() if line.startswith("CREATE")]
    views = ["readings", "late", "derived", "windows", "scores", "alarms", "alerts", "refused"]
    assert steps == views


def test_of_an_alert_the_closed_state_is_kept():
    one = {"id": "a", "sensor": "p", "start": "2026-01-05T00:00:00.000Z"}
    rows = [one | {"status": "closed", "readings": 3}, one | {"status": "open", "readings": 1}]

    kept = newest(iter(rows), ["id", "sensor", "status", "start", "peak_time", "stop", "readings"])

    assert kept[["status", "readings"]].to_numpy().tolist() == [["closed", 3]]


def test_a_certificate_lists_what_differs(store, package_folder, readings, stream):
    package = detectors.load(package_folder)
    batch = detectors.detect(package, readings, sensor="pump", lateness_ms=30_000)
    outcome = _outcome(readings, batch)

    assert compare(outcome, batch, readings).reasons() == []
    wrong = dataclasses.replace(
        outcome,
        scores=outcome.scores.assign(score=outcome.scores["score"] * 1.5),
        late=outcome.late.iloc[1:],
        alerts=outcome.alerts.iloc[1:],
    )
    reasons = compare(wrong, batch, readings).reasons()
    first = batch.episodes.iloc[0]
    first_late = outcome.late.iloc[0]["message_id"]
    assert reasons[0] == (
        f"1 readings are told apart: message {first_late} is late in batch, lost in the stream"
    )
    assert reasons[1].startswith("scores differ by 0.5, at most 1e-09")
    assert reasons[2] == (
        f"1 alerts differ: {first['sensor']} from {first['start']:%Y-%m-%dT%H:%M:%S.%fZ}: "
        "batch only"
    )
    assert len(reasons) == 3


def _outcome(readings, batch):
    """What a job would give that does exactly what the batch path does."""
    from workbench.stream import Outcome

    times = detectors.epoch_ms(readings["event_time"])
    seen = pd.DataFrame(
        {"message_id": readings["message_id"], "sensor": readings["pump"], "event_ms": times}
    )
    last = pd.to_datetime(
        batch.episodes["sensor"].map(seen.groupby("sensor")["event_ms"].max()), unit="ms", utc=True
    )
    status = (batch.episodes["stop"] <= last).map({True: "closed", False: "open"})
    scores = seen.assign(score=batch.scores)[~batch.late]
    alerts = batch.episodes.assign(status=status)
    return Outcome("pumps", "p", alerts, scores, seen[batch.late], len(readings), 1.0, 1.0)


@pytest.mark.pulsar
def test_a_topic_that_is_not_there_is_refused_before_flink_starts(
    services, store, package_folder, content
):
    package = add_package(package_folder)
    missing = parse_stream("x", content(topic="persistent://public/default/no-such-topic"))

    with pytest.raises(ServicesError) as error:
        start(missing, package=package)

    assert error.value.message == "there is no topic persistent://public/default/no-such-topic"


def test_an_unreachable_broker_is_refused_before_flink_starts(
    store, package_folder, stream, monkeypatch, tmp_path
):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("WORKBENCH_BROKER", "pulsar://127.0.0.1:1")
    monkeypatch.setenv("WORKBENCH_ADMIN", "http://127.0.0.1:1")
    package = add_package(package_folder)

    with pytest.raises(ServicesError) as error:
        start(stream, package=package)

    assert str(error.value) == (
        "no broker answers at http://127.0.0.1:1: Connection refused\n"
        "  workbench services up pulsar, or set WORKBENCH_ADMIN to a broker that runs"
    )


@pytest.mark.flink
@pytest.mark.pulsar
def test_live_readings_give_each_alert_once_by_id(
    services, store, package_folder, readings, content
):
    from workbench.services import ingest_frame

    package = detectors.load(add_package(package_folder) and package_folder)
    stream = parse_stream(
        "live",
        content(
            topic="persistent://public/default/live-readings",
            alerts="persistent://public/default/live-alerts",
        ),
    )
    channels = list(stream.channels)
    sent = {"sensor": "pump", "time": "event_time", "values": channels}
    ingest_frame(readings.head(60), stream.topic, **sent)
    job = start(stream, package=package.id, position="earliest", restarts=0)
    ingest_frame(readings.iloc[60:], stream.topic, **sent, rate=2000)
    batch = detectors.detect(package, readings, sensor="pump", lateness_ms=30_000)
    # the last readings are still in their windows: nothing newer has come after them
    limit = readings["event_time"].max() - pd.Timedelta("30s")
    expected = batch.episodes[batch.episodes["start"] <= limit]

    alerts = _alerts(stream.alerts, len(expected), job)

    assert job.state() == "RUNNING"
    job.stop()
    with pytest.raises(StreamError, match="cancelled"):
        job.wait(60)
    assert job.state() == "CANCELED"
    assert {
        (alert["sensor"], alert["start"], alert["status"]) for alert in alerts if alert["key"]
    } >= {
        (row.sensor, f"{row.start:%Y-%m-%dT%H:%M:%S}.{row.start.microsecond // 1000:03d}Z", "open")
        for row in expected.itertuples()
    }
    opened = [alert["id"] for alert in alerts if alert["status"] == "open"]
    assert len(opened) == len(set(opened)) == len(expected) > 3
    assert all(alert["first_message_id"].count(":") == 3 for alert in alerts)


def _alerts(topic, openings, job):
    """Read the alerts topic until so many alarms opened and no more come."""
    import base64

    import pulsar

    from workbench.broker import connect

    alerts, until = [], time.monotonic() + 240
    with connect() as client:
        reader = client.create_reader(topic, pulsar.MessageId.earliest)
        while time.monotonic() < until and job.state() in {"CREATED", "RUNNING"}:
            try:
                message = reader.read_next(3000)
            except pulsar.Timeout:
                if sum(one["status"] == "open" for one in alerts) >= openings:
                    break
                continue
            value = json.loads(message.data())
            # the connector writes keys as bytes, which Pulsar carries as base64
            key = base64.b64decode(message.partition_key()).decode()
            alerts.append(value | {"key": key == value["id"]})
    return alerts
