"""A stream as a Pulsar Function: the same scores and alerts as the batch path."""

import json

import numpy as np
import pandas as pd
import pulsar
import pytest
import yaml
from click.testing import CliRunner

from workbench import detectors
from workbench.cli import cli
from workbench.errors import StreamError
from workbench.stream import parse_stream, run
from workbench.stream.function import bundle
from workbench.stream.function.bundle import deploy, export_function
from workbench.stream.function.memory import (
    Expressions,
    Memory,
    Reading,
)
from workbench.stream.function.parsing import parse
from workbench.stream.promotion_log import add_package


def remembered(stream, package, frame, *, end=True):
    """Pass readings through the memory of a function: the rows that it says, by view."""
    memory = Memory(stream, package)
    times = detectors.epoch_ms(frame["event_time"])
    rows = {view: [] for view in ("scores", "alerts", "late", "refused")}
    for at, (_, row) in enumerate(frame.iterrows()):
        values = {name: row[name] for name in stream.channels}
        reading = Reading(row["message_id"], row["pump"], int(times[at]), values)
        for view, said in memory.read(reading):
            rows[view].append(said)
    for view, said in memory.end() if end else ():
        rows[view].append(said)
    return rows


def test_the_memory_scores_and_alerts_as_the_batch_path_does(package_folder, readings, stream):
    package = detectors.load(package_folder)

    said = remembered(stream, package, readings)

    batch = detectors.detect(package, readings, sensor="pump", lateness_ms=30_000)
    given = pd.Series({row["message_id"]: row["score"] for row in said["scores"]}, dtype=float)
    rows = pd.Index(readings["message_id"]).get_indexer(given.index)
    np.testing.assert_allclose(given.to_numpy(), batch.scores[rows], rtol=1e-9)
    late = {row["message_id"] for row in said["late"]}
    assert late == set(readings["message_id"][batch.late])
    assert len(late) > 50
    assert len(given) == len(readings) - len(late)
    opened = [alert for alert in said["alerts"] if alert["status"] == "open"]
    assert sorted((alert["start"], alert["sensor"]) for alert in opened) == sorted(
        (f"{row.start:%Y-%m-%dT%H:%M:%S}.{row.start.microsecond // 1000:03d}Z", row.sensor)
        for row in batch.episodes.itertuples()
    )
    closed = {alert["id"]: alert for alert in said["alerts"] if alert["status"] == "closed"}
    last = readings.groupby("pump")["event_time"].max()
    ended = batch.episodes[batch.episodes["stop"] <= batch.episodes["sensor"].map(last)]
    assert len(closed) == len(ended) > 3
    for alert, row in zip(
        sorted(closed.values(), key=lambda alert: (alert["start"], alert["sensor"])),
        ended.sort_values(["start", "sensor"]).itertuples(),
        strict=True,
    ):
        assert alert["peak_score"] == pytest.approx(row.peak_score, rel=1e-9)
        assert alert["readings"] == row.readings
        assert pd.Timestamp(alert["peak_time"]) == row.peak_time
        assert pd.Timestamp(alert["stop"]) == row.stop


def test_derived_channels_are_made_of_the_others(content):
    stream = parse_stream("s", content(derived={"ratio": "`pressure_bar` / flow_l_min"}))
    made = Expressions(stream, stream.derived.values())

    whole = parse(stream, b'{"pump": "a", "pressure_bar": 6, "flow_l_min": 4}', "", (1, 1), made)
    part = parse(stream, b'{"pump": "a", "flow_l_min": 4}', "", (1, 1), made)

    assert whole.channels == {"pressure_bar": 6.0, "flow_l_min": 4.0, "ratio": 1.5}
    assert np.isnan(part.channels["ratio"])


@pytest.mark.flink
def test_limits_alert_as_in_the_job(store, readings, content):
    limits = {
        "over": {"when": "pressure_bar > 3", "rule": {"k": 2, "n": 3, "m": 4}},
        "under": "flow_l_min < -2.5",
        "rising": "pressure_bar_per_s > 0.08",
    }
    stream = parse_stream("pumps", content(limits=limits, detector="none"))
    frame = readings.head(1200)

    alerts = remembered(stream, None, frame)["alerts"]

    job = run(stream, frame).alerts
    given = {alert["id"]: alert for alert in alerts}
    wanted = {alert["id"]: alert for alert in job.to_dict("records")}
    assert given.keys() == wanted.keys()
    assert {alert["kind"] for alert in given.values()} == limits.keys()
    for alert_id, alert in wanted.items():
        assert given[alert_id]["threshold"] == alert["threshold"]
        assert given[alert_id]["status"] == alert["status"]
        if alert["status"] == "closed":
            assert given[alert_id]["peak_score"] == pytest.approx(alert["peak_score"], rel=1e-12)
            assert given[alert_id]["readings"] == alert["readings"]
            assert pd.Timestamp(given[alert_id]["peak_time"]) == alert["peak_time"]


@pytest.mark.flink
def test_a_clock_that_runs_off_is_the_alert_and_the_refusal_of_the_job(store, readings, content):
    stream = parse_stream("pumps", content(detector="none", limits={"over": "pressure_bar > 99"}))
    frame = readings.head(1200)
    ahead = np.isin(np.arange(1200), [41, 47, 53, 800, 1199])
    times = frame["event_time"] + pd.to_timedelta(ahead * 86_400, unit="s")
    frame = frame.assign(event_time=times)

    said = remembered(stream, None, frame)

    job = run(stream, frame)
    names = ["id", "sensor", "kind", "status", "start", "stop", "first_message_id"]
    newest = {alert["id"]: alert for alert in said["alerts"]}
    given = [[newest[name][key] for key in names] for name in job.alerts["id"]]
    for alert in given:
        alert[4:6] = [pd.NaT if time is None else pd.Timestamp(time) for time in alert[4:6]]
    assert len(newest) == len(job.alerts) == 2
    pd.testing.assert_frame_equal(
        pd.DataFrame(given, columns=names), job.alerts[names], check_dtype=False
    )
    refused = {row["message_id"]: row["reason"] for row in said["refused"]}
    assert refused == dict(job.refused[["message_id", "reason"]].to_numpy())
    assert len(refused) == 4  # nobody contradicts the last one


def test_a_sensor_that_comes_by_a_second_partition_is_refused_there_by_name(
    package_folder, readings, stream
):
    number = np.arange(600)
    frame = readings.head(600).assign(message_id=[f"7:{n}:{n // 300}:-1" for n in number])

    said = remembered(stream, detectors.load(package_folder), frame)

    assert [row["message_id"] for row in said["refused"]] == list(frame["message_id"][300:])
    assert said["refused"][0]["reason"] == (
        "sensor pump-1 comes by partition 1, and came by 0: "
        "a function merges nothing across partitions"
    )
    assert len(said["scores"]) + len(said["late"]) == 300


def test_a_message_becomes_a_reading(stream):
    content = b'{"pump": 7, "pressure_bar": 1, "flow_l_min": null}'

    reading = parse(stream, content, "1:2:-1:0", (0, 1700))

    assert (reading.sensor, reading.event_ms, reading.channels["pressure_bar"]) == ("7", 1700, 1.0)
    assert np.isnan(reading.channels["flow_l_min"])


@pytest.mark.parametrize(
    ("named", "moment"), [("5000", 5000), ("null", 1700), ("9e17", 1700), ("-9e17", 1700)]
)
def test_a_field_whose_time_cannot_be_leaves_the_time_of_publishing(content, named, moment):
    stream = parse_stream("pumps", content(event_time="at_ms"))

    reading = parse(stream, f'{{"pump": "a", "at_ms": {named}}}'.encode(), "1:2:-1:0", (0, 1700))

    assert reading.event_ms == moment


@pytest.mark.parametrize(
    "sent",
    [b'{"pressure_bar": 1.0}', b'{"pump": null}', b'{"pump": "a", "pressure_bar": "x"}', b"[]"],
)
def test_what_is_no_reading_is_refused(stream, sent):
    with pytest.raises(ValueError):
        parse(stream, sent, "1:2:-1:0", (1, 1))


def test_json_of_an_alert_holds_no_nan(package_folder, readings, stream):
    said = remembered(stream, detectors.load(package_folder), readings.head(1500))

    assert all(json.dumps(row, allow_nan=False) for rows in said.values() for row in rows)


@pytest.mark.pulsar
def test_the_function_alerts_on_a_real_worker_as_the_batch_path_does(
    functions, store, package_folder, readings, content, tmp_path
):
    from workbench.broker import connect
    from workbench.services import ingest_frame

    names = {item: f"persistent://public/default/function-{item}" for item in ("topic", "alerts")}
    (tmp_path / "pumps.yaml").write_text(yaml.safe_dump(content(**names)))
    package = detectors.load(package_folder)
    sent = {"sensor": "pump", "time": "event_time", "values": ["pressure_bar", "flow_l_min"]}
    ingest_frame(readings, names["topic"], **sent)
    with connect() as client:
        client.create_producer(names["topic"]).send(b"poison")
        consumer = client.subscribe(
            names["alerts"], "test", initial_position=pulsar.InitialPosition.Earliest
        )

        deploy(
            export_function(tmp_path / "pumps.yaml", tmp_path, package=add_package(package_folder))
        )

        stream = parse_stream("pumps", content(**names))
        expected = remembered(stream, package, readings, end=False)["alerts"]
        alerts = [consumer.receive(120_000) for _ in expected]
    keys = ("id", "status", "sensor", "start", "peak_time", "stop", "peak_score", "readings")
    given = [json.loads(item.data()) for item in alerts]
    assert [[item[key] for key in keys] for item in given] == [
        [item[key] for key in keys] for item in expected
    ]
    assert [item.partition_key() for item in alerts] == [item["id"] for item in given]
    assert all(item["last_message_id"].count(":") == 3 for item in given)


def test_a_function_is_one_file_its_config_and_the_package(
    store, package_folder, content, tmp_path
):
    (tmp_path / "pumps.yaml").write_text(yaml.safe_dump(content()))
    package = add_package(package_folder)

    asked = [
        "stream",
        "export-function",
        str(tmp_path / "pumps.yaml"),
        "--out",
        str(tmp_path / "f"),
    ]
    result = CliRunner().invoke(cli, [*asked, "--package", package[:12]], catch_exceptions=False)

    assert result.exit_code == 0
    written = sorted(path.name for path in (tmp_path / "f").iterdir())
    assert written == ["function.json", "package", "pumps_function.py"]
    config = json.loads((tmp_path / "f" / "function.json").read_text())
    assert config["className"] == "pumps_function.Pumps"
    assert detectors.load(config["userConfig"]["package"]).id == package
    compile((tmp_path / "f" / "pumps_function.py").read_text(), "pumps_function.py", "exec")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"heartbeat": "beats"}, "'heartbeat'"),
        ({"also": ["ab"], "shadow": "what"}, "'also', 'shadow'"),
        ({"patterns": {"dead": {"template": "silent_topic", "after_s": 9}}}, "'patterns'"),
    ],
)
def test_a_stream_that_needs_flink_is_no_function(store, content, tmp_path, changes, named):
    (tmp_path / "pumps.yaml").write_text(yaml.safe_dump(content(**changes)))

    with pytest.raises(StreamError) as error:
        export_function(tmp_path / "pumps.yaml", tmp_path)

    assert str(error.value) == (
        f"a function cannot do {named} of stream pumps\n"
        f"  workbench stream run pumps, or leave {named} out"
    )


def test_a_stream_of_kafka_is_no_function(store, content, tmp_path):
    changed = yaml.safe_dump(content(alerts="kafka://alerts"))
    (tmp_path / "pumps.yaml").write_text(changed)

    with pytest.raises(StreamError) as error:
        export_function(tmp_path / "pumps.yaml", tmp_path)

    assert str(error.value) == (
        "a function reads and writes topics of Pulsar, kafka://alerts is Kafka's\n"
        "  workbench stream run pumps"
    )


def test_a_key_that_is_new_to_a_function_is_refused_until_it_is_taught(store, content, monkeypatch):
    stream = parse_stream("pumps", content(event_time="at_ms"))
    monkeypatch.setattr(bundle, "KEYS", bundle.KEYS - {"event_time"})

    with pytest.raises(StreamError, match=r"^a function cannot do 'event_time' of stream pumps"):
        bundle.check_possible(stream)
