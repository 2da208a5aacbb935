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
from workbench.stream.export import deploy, export_function
from workbench.stream.memory import Expressions, Memory, Reading, parse
from workbench.stream.promotions import add_package


def remembered(stream, package, frame):
    """Pass readings through the memory of a function; its scores by id, its alerts."""
    memory = Memory(stream, package)
    times = detectors.epoch_ms(frame["event_time"])
    scores, alerts = {}, []
    for at, (_, row) in enumerate(frame.iterrows()):
        values = {name: row[name] for name in stream.channels}
        one = Reading(row["message_id"], row["pump"], int(times[at]), values)
        for due, score, told in memory.read(one):
            scores[due.message_id] = score
            alerts += told
    return memory, scores, alerts


def test_the_memory_scores_and_alerts_as_the_batch_path_does(package_folder, readings, stream):
    package = detectors.load(package_folder)

    memory, scores, alerts = remembered(stream, package, readings)

    batch = detectors.detect(package, readings, sensor="pump", lateness_ms=30_000)
    given = pd.Series(scores)
    rows = pd.Index(readings["message_id"]).get_indexer(given.index)
    np.testing.assert_allclose(given.to_numpy(), batch.scores[rows], rtol=1e-9)
    assert memory.late == batch.late.sum() > 50
    assert len(given) > 2000
    due = readings["event_time"].max() - pd.Timedelta("30s")
    opened = batch.episodes[batch.episodes["start"] <= due]
    assert [(one["sensor"], one["start"]) for one in alerts if one["status"] == "open"] == [
        (row.sensor, f"{row.start:%Y-%m-%dT%H:%M:%S}.{row.start.microsecond // 1000:03d}Z")
        for row in opened.itertuples()
    ]
    closed = {one["id"]: one for one in alerts if one["status"] == "closed"}
    ended = opened[opened["stop"] <= due]
    assert len(closed) == len(ended) > 3
    for one, row in zip(
        sorted(closed.values(), key=lambda one: (one["start"], one["sensor"])),
        ended.sort_values(["start", "sensor"]).itertuples(),
        strict=True,
    ):
        assert one["peak_score"] == pytest.approx(row.peak_score, rel=1e-9)
        assert one["readings"] == row.readings
        assert pd.Timestamp(one["peak_time"]) == row.peak_time
        assert pd.Timestamp(one["stop"]) == row.stop


def test_derived_channels_are_made_of_the_others(content):
    stream = parse_stream("s", content(derived={"ratio": "`pressure_bar` / flow_l_min"}))
    made = Expressions(stream, stream.derived.values())

    whole = parse(stream, {"pump": "a", "pressure_bar": 6, "flow_l_min": 4}, "", (1, 1), made)
    part = parse(stream, {"pump": "a", "flow_l_min": 4}, "", (1, 1), made)

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

    _, _, alerts = remembered(stream, None, frame)

    last = frame["event_time"].max() - pd.Timedelta("30s")
    job = run(stream, frame).alerts
    given = {one["id"]: one for one in alerts}
    wanted = {one["id"]: one for one in job[job["start"] <= last].to_dict("records")}
    assert given.keys() == wanted.keys()
    assert {one["kind"] for one in given.values()} == limits.keys()
    for key, one in wanted.items():
        assert given[key]["threshold"] == one["threshold"]
        if pd.notna(one["stop"]) and one["stop"] <= last:
            assert given[key]["peak_score"] == pytest.approx(one["peak_score"], rel=1e-12)
            assert given[key]["readings"] == one["readings"]
            assert pd.Timestamp(given[key]["peak_time"]) == one["peak_time"]


def test_a_message_becomes_a_reading(stream):
    content = {"pump": 7, "pressure_bar": 1, "flow_l_min": None}

    one = parse(stream, content, "1:2:-1:0", (0, 1700))

    assert (one.sensor, one.event_ms, one.channels["pressure_bar"]) == ("7", 1700, 1.0)
    assert np.isnan(one.channels["flow_l_min"])


@pytest.mark.parametrize(
    "sent", [{"pressure_bar": 1.0}, {"pump": None}, {"pump": "a", "pressure_bar": "much"}, []]
)
def test_what_is_no_reading_is_refused(stream, sent):
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        parse(stream, sent, "1:2:-1:0", (1, 1))


def test_json_of_an_alert_holds_no_nan(package_folder, readings, stream):
    _, _, alerts = remembered(stream, detectors.load(package_folder), readings.head(1500))

    assert all(json.dumps(one, allow_nan=False) for one in alerts)


@pytest.mark.pulsar
def test_the_function_alerts_on_a_real_worker_as_the_batch_path_does(
    functions, store, package_folder, readings, content, tmp_path
):
    from workbench.services import connect, ingest_frame

    names = {one: f"persistent://public/default/function-{one}" for one in ("topic", "alerts")}
    (tmp_path / "pumps.yaml").write_text(yaml.safe_dump(content(**names)))
    package = detectors.load(package_folder)
    sent = {"sensor": "pump", "time": "event_time", "values": ["pressure_bar", "flow_l_min"]}
    ingest_frame(readings, names["topic"], **sent)
    with connect() as client:
        client.create_producer(names["topic"]).send(b"poison")
        found = client.subscribe(
            names["alerts"], "test", initial_position=pulsar.InitialPosition.Earliest
        )

        deploy(
            export_function(tmp_path / "pumps.yaml", tmp_path, package=add_package(package_folder))
        )

        stream = parse_stream("pumps", content(**names))
        _, _, expected = remembered(stream, package, readings)
        alerts = [found.receive(120_000) for _ in expected]
    keys = ("id", "status", "sensor", "start", "peak_time", "stop", "peak_score", "readings")
    given = [json.loads(one.data()) for one in alerts]
    assert [[one[key] for key in keys] for one in given] == [
        [one[key] for key in keys] for one in expected
    ]
    assert [one.partition_key() for one in alerts] == [one["id"] for one in given]
    assert all(one["last_message_id"].count(":") == 3 for one in given)


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


def test_a_stream_that_needs_flink_is_no_function(
    store, package_folder, content, tmp_path, monkeypatch
):
    from workbench.stream import export

    monkeypatch.setattr(export, "_FLINK_ONLY", ("lateness_s",))
    (tmp_path / "pumps.yaml").write_text(yaml.safe_dump(content()))

    with pytest.raises(StreamError) as error:
        export_function(tmp_path / "pumps.yaml", tmp_path)

    assert str(error.value) == (
        "a function cannot do 'lateness_s' of stream pumps\n"
        "  workbench stream run pumps, or leave 'lateness_s' out"
    )
