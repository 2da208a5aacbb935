"""Drift of a running detector: what it says of each day is what the batch path says by hand."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from workbench import alerts, detectors, evaluation, replay
from workbench.cli import cli
from workbench.errors import StreamError
from workbench.stream import drift, load_stream, parse_stream, promotions, reason_to_refit
from workbench.stream.promotion.distributions import moved_by
from workbench.stream.promotion_log import BEGINNING, Promotion, add_package, log_path
from workbench.times import epoch_ms, instant_ms

ARCHIVE = str(Path(__file__).parents[3] / "data" / "archive")
CHANNELS = ["flow_l_min", "vibration_mm_s"]
RULE = detectors.EpisodeRule(3, 5, 10)
TRAINED = ("2026-01-05T00:00:00Z", "2026-01-09T12:00:00Z")
STOP = "2026-01-15T06:00:00Z"
DAY = pd.Timedelta(days=1)


@pytest.fixture(scope="module")
def history():
    return replay("pumps", archive=ARCHIVE)


def packaged(folder, *, threshold=3.0, trained=TRAINED, window=10, training=None):
    """Fit a package on a span of the sample; return its id in the store, and itself."""
    frame = replay("pumps", *trained, archive=ARCHIVE)
    spec = {"name": "robust_z", "window": window, "channels": CHANNELS, "max_span_s": 1800}
    detectors.save(
        detectors.fit(spec, frame, sensor="pump"),
        folder,
        threshold=threshold,
        rule=RULE,
        training=frame.attrs["manifest"] if training is None else training,
    )
    return add_package(folder), detectors.load(folder)


def in_log(*lines):
    """Write promotions as they would stand in the log by now."""
    path = log_path("plant")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(asdict(line)) + "\n" for line in lines))


def champion(package, effective_ms=BEGINNING, **more):
    return Promotion("plant", "champion", package, effective_ms, "2026-01-01T00:00:00Z", **more)


def plant(**gate):
    content = load_stream("plant").content()
    content["gate"] = {**content["gate"], "labels": str(Path(ARCHIVE).parent / "labels.csv")} | gate
    return parse_stream("plant", content)


@pytest.mark.slow
def test_each_day_says_what_the_batch_path_says_of_it(store, tmp_path, history):
    package, loaded = packaged(tmp_path / "package")
    in_log(champion(package))

    drifted = drift(plant(), days=6, stop=STOP, archive=ARCHIVE)

    assert [day.start for day in drifted.days] == [
        f"2026-01-{number:02d}T06:00:00.000Z" for number in range(10, 15)
    ]
    assert drifted.left_out == 1  # it was fitted on a part of the first
    batch = detectors.detect(loaded, history, sensor="pump", lateness_ms=60_000)
    trained = history[history["event_time"] < TRAINED[1]]
    train_scores = detectors.detect(loaded, trained, sensor="pump", lateness_ms=60_000).scores
    labels = evaluation.read_labels(plant().gate.labels)
    for day in drifted.days:
        start = pd.Timestamp(day.start)
        inside = (
            (history["event_time"] >= start) & (history["event_time"] < start + DAY)
        ).to_numpy()
        report = evaluation.event_report(
            batch.episodes, labels, span=(start, start + DAY), sensors=history["pump"].unique()
        )
        assert day.packages == (package,)
        assert day.readings == inside.sum()
        assert day.alerts == report.false_alerts
        assert day.alarm_share == pytest.approx(report.alarm_share)
        assert day.unscored == pytest.approx(np.isnan(batch.scores[inside]).mean())
        for channel in CHANNELS:
            assert day.moved[channel] == moved_by(trained[channel], history[channel][inside])
        assert day.moved["the score"] == moved_by(
            pd.Series(train_scores), pd.Series(batch.scores[inside])
        )
    assert sum(day.alerts for day in drifted.days) > 0
    assert list(drifted.frame().columns) == [*CHANNELS, "the score"]


@pytest.mark.slow
def test_a_reading_is_scored_by_what_was_in_force_and_an_alarm_goes_on(store, tmp_path, history):
    low, first = packaged(tmp_path / "low", threshold=1.0)
    high, _ = packaged(tmp_path / "high", threshold=1e6)
    switch = "2026-01-13T18:00:00Z"
    in_log(champion(low), champion(high, instant_ms(switch), sensors=("pump-3",)))

    drifted = drift(plant(alerts_per_sensor_day=100), days=3, stop=STOP, archive=ARCHIVE)

    history = history[history["event_time"] < STOP]
    batch = detectors.detect(first, history, sensor="pump", lateness_ms=60_000)
    times, pumps = epoch_ms(history["event_time"]), history["pump"].to_numpy()
    above = (batch.scores > 1.0) & ~((pumps == "pump-3") & (times >= instant_ms(switch)))
    kept = ~batch.late
    expected = detectors.episodes(times[kept], pumps[kept], above[kept].astype(float), 0.5, RULE)
    labels = evaluation.read_labels(plant().gate.labels)
    for day, packages in zip(drifted.days, [(low,), (low, high), (low, high)], strict=True):
        start = pd.Timestamp(day.start)
        report = evaluation.event_report(
            expected, labels, span=(start, start + DAY), sensors=history["pump"].unique()
        )
        assert set(day.packages) == set(packages)
        assert day.alerts == report.false_alerts > 0
        assert day.alarm_share == pytest.approx(report.alarm_share)


@pytest.mark.slow
def test_over_a_limit_the_command_tells_the_table_the_reason_and_fails(store, tmp_path):
    package, _ = packaged(tmp_path / "package")
    content = plant(drift=0.01).content()
    (tmp_path / "plant.yaml").write_text(yaml.safe_dump(content))
    in_log(champion(package))
    asked = ["drift", str(tmp_path / "plant.yaml"), "--days", "2", "--archive", ARCHIVE]

    result = CliRunner().invoke(cli, asked)

    assert isinstance(result.exception, StreamError)
    assert result.exception.exit_code == 1
    assert str(result.exception).count("\n") == 0
    assert str(result.exception).startswith(
        "stream plant is over a limit: drift since training: 0."
    )
    assert "(limit: at most 0.01)" in str(result.exception)
    lines = result.stdout.splitlines()
    assert lines[0] == "drift plant"
    assert sum(f"  {package[:8]}  " in line for line in lines) == 2
    printed = json.loads(CliRunner().invoke(cli, [*asked, "--json"]).stdout)
    assert printed["passed"] is False
    assert [finding["check"] for finding in printed["findings"]] == [
        "drift since training", "drift of the score", "readings scored", "expected alerts",
    ]  # fmt: skip
    assert printed["judged"] == ["2026-01-16T23:59:05.001Z", "2026-01-18T23:59:05.001Z"]


@pytest.mark.slow
def test_what_is_over_a_limit_is_a_reason_to_refit_once_the_champion_scored_what_is_judged(
    store, tmp_path
):
    package, _ = packaged(tmp_path / "package", threshold=1e6)
    over = plant(drift=0.01, alerts_per_sensor_day=100)
    in_log(champion(package))

    reason = reason_to_refit(over, archive=ARCHIVE)

    assert re.fullmatch(r"drift since training: 0.\d\d in \w+ \(limit: at most 0.01\)", reason)
    assert reason_to_refit(plant(drift=1, alerts_per_sensor_day=100), archive=ARCHIVE) == ""
    in_log(champion(package), champion(package, instant_ms("2026-01-17T00:00:00Z")))
    assert reason_to_refit(over, archive=ARCHIVE) == ""  # half of it the other one has scored


@pytest.mark.flink
@pytest.mark.timeout(600)
def test_a_refit_for_drift_is_done_once_and_the_log_says_why(store, tmp_path, monkeypatch):
    package, _ = packaged(tmp_path / "package", threshold=1.5)
    monkeypatch.setenv("WORKBENCH_ARCHIVE", ARCHIVE)
    path = tmp_path / "plant.yaml"
    path.write_text(
        yaml.safe_dump(plant(drift=1, alerts_per_sensor_day=1.5, alarm_share=0.3).content())
    )
    in_log(champion(package))
    asked = ["refit", str(path), "--if-drift", "--trailing-days", "6", "--readings", "2000"]

    first = CliRunner().invoke(cli, asked)
    again = CliRunner().invoke(cli, asked)

    assert (first.exception, again.exception) == (None, None)
    _, last = promotions("plant")
    assert last.why.startswith("expected alerts: ")
    assert last.package != package
    assert last.why in first.stdout
    assert again.stderr == "nothing that the newest champion scored is over a limit\n"
    assert again.stdout == ""


def test_within_its_limits_a_stream_drifts_in_silence(store, tmp_path):
    package, _ = packaged(tmp_path / "package", threshold=1e6)
    generous = plant(drift=1, alerts_per_sensor_day=100)

    drifted = drift(generous, package=package, days=2, stop="2026-01-12T00:00:00Z", archive=ARCHIVE)

    assert drifted.passed
    assert drifted.reasons() == []
    assert [day.alerts for day in drifted.days] == [0, 0]
    assert drifted.card().facts["over a limit"] == "nothing"


def test_a_training_span_that_the_archive_has_lost_is_not_a_drift_of_one(store, tmp_path):
    gone = {"start": "2025-01-01T00:00:00Z", "stop": "2025-02-01T00:00:00Z"}
    package, _ = packaged(tmp_path / "package", training=gone)
    in_log(champion(package))

    drifted = drift(plant(), days=1, stop=STOP, archive=ARCHIVE)

    assert drifted.days[0].moved == dict.fromkeys([*CHANNELS, "the score"])
    assert drifted.findings[0].passed is False
    assert drifted.findings[0].found == (
        "not known: the archive has no readings of 2025-01-01T00:00:00.000Z to "
        "2025-02-01T00:00:00.000Z, which the package was fitted on"
    )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"days": 0}, "drift over 0 days, expected 1 or more"),
        (
            {"stop": "2026-01-05T10:00:00Z"},
            "the archive's readings begin at 2026-01-05T00:00:00.000Z, expected a day or more "
            "before 2026-01-05T10:00:00.000Z\n  in persistent://public/default/pumps",
        ),
        (
            {"stop": "2026-01-09T00:00:00Z"},
            "what was in force was fitted on data up to 2026-01-09T12:00:00.000Z, the days end at "
            "2026-01-09T00:00:00.000Z: nothing is left to judge it on\n"
            "  offload what came since, or choose a later --stop",
        ),
        (
            {"stop": "2026-03-01T00:00:00Z"},
            "there are no readings from 2026-02-25T12:00:00.000Z to 2026-03-01T00:00:00.000Z that "
            "a package was in force for\n  in persistent://public/default/pumps\n"
            "  offload what came since, or choose another --stop",
        ),
    ],
    ids=["no days", "less than a day", "all of it learnt", "nothing came"],
)
def test_a_span_that_says_nothing_is_refused(store, tmp_path, asked, message):
    package, _ = packaged(tmp_path / "package")
    in_log(champion(package))

    with pytest.raises(StreamError) as error:
        drift(plant(), **asked, archive=ARCHIVE)

    assert str(error.value) == message


def test_days_that_are_all_known_are_told_and_not_judged(store, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    package, _ = packaged(tmp_path / "package")
    in_log(champion(package))
    maintained = plant(labels="feedback", drift=1)
    for number in range(1, 7):
        alerts.answer(
            maintained, "known", sensor=f"pump-{number}", start="2026-01-01T00:00Z",
            stop="2026-02-01T00:00Z", why="overhaul",
        )  # fmt: skip

    drifted = drift(maintained, days=2, stop=STOP, archive=ARCHIVE)

    expected = drifted.findings[-1]
    assert (expected.check, expected.passed) == ("expected alerts", None)
    assert drifted.card().facts["expected alerts"] == "not judged: all of it is known"
    assert [(day.alerts, day.alarm_share) for day in drifted.days] == [(0, None), (0, None)]
    assert drifted.passed


def test_a_stream_without_a_detector_has_no_drift(store, content):
    bare = parse_stream("bare", content(detector="none", limits={"high": "pressure_bar > 9"}))

    with pytest.raises(StreamError) as error:
        drift(bare, archive=ARCHIVE)

    assert str(error.value) == "stream bare has no detector: nothing can drift"
