import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from workbench.cli.evaluation import evaluate as command
from workbench.cli.evaluation import nab
from workbench.errors import EvaluationError
from workbench.evaluation import evaluate, joined, read_labels, read_series, recall_at

SPEC = {"name": "robust_z", "window": 2, "channels": ["bar"]}
SPEC_FILE = "detector: {name: robust_z, window: 2, channels: [bar]}\n"
LABELS = (
    "sensor,start,stop,kind\n"
    "one,2026-01-08T00:00:00Z,2026-01-08T02:00:00Z,leak\n"
    "two,2026-01-09T00:00:00Z,2026-01-09T02:00:00Z,leak\n"
)


@pytest.fixture
def folder(tmp_path):
    """Two sensors, a reading every five minutes, each with one fault that shows."""
    (tmp_path / "labels.csv").write_text(LABELS)
    (tmp_path / "spec.yaml").write_text(SPEC_FILE)
    for seed, (name, day) in enumerate((("one", "2026-01-08"), ("two", "2026-01-09"))):
        times = pd.date_range("2026-01-05", "2026-01-10", freq="5min", tz="UTC")
        bar = np.random.default_rng(seed).normal(5, 0.1, len(times))
        fault = (times >= day) & (times < pd.Timestamp(day, tz="UTC") + pd.Timedelta(hours=2))
        bar[fault] += 2
        table = pd.DataFrame({"event_time": times.strftime("%Y-%m-%dT%H:%M:%SZ"), "bar": bar})
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


def frames(folder):
    return read_series(str(folder / "???.csv"), time="event_time")


def test_faults_that_show_are_found_at_the_threshold_fixed_before(folder):
    labels = read_labels(folder / "labels.csv")
    found = [evaluate(SPEC, frame, labels, sensor="sensor") for frame in frames(folder)]
    report = joined([one.report for one in found])
    assert (report.events, report.found) == (2, 2)
    assert report.delay_median_s == 0
    assert report.sensor_days == pytest.approx(5, abs=0.1)
    assert [row["detector"] for row in found[0].rows] == ["random", "constant", "robust_z"]
    assert found[0].rows[2]["vus_pr"] > 0.6


def test_events_found_at_a_budget_of_false_alerts(folder):
    labels = read_labels(folder / "labels.csv")
    frame = frames(folder)[0]
    found = evaluate(SPEC, frame, labels, sensor="sensor")
    times = frame["event_time"].to_numpy(dtype="datetime64[ms]").astype(np.int64)
    span = (pd.Timestamp("2026-01-07T12:00Z"), pd.Timestamp("2026-01-10T00:05Z"))
    asked = {"span": span, "names": ["one"], "labels": labels}
    sensors = frame["sensor"].to_numpy()
    at = recall_at(times, sensors, found.scores, false_per_sensor_day=0, **asked)
    assert (at.recall, at.report.false_alerts) == (1.0, 0)
    blind = recall_at(times, sensors, -found.scores, false_per_sensor_day=0, **asked)
    assert blind.recall == 0.0
    with pytest.raises(EvaluationError) as caught:
        recall_at(times, sensors, found.scores * np.nan, false_per_sensor_day=0, **asked)
    assert str(caught.value) == f"none of {len(frame)} readings has a score"
    with pytest.raises(EvaluationError) as caught:
        recall_at(times, sensors, found.scores, false_per_sensor_day=-1, **asked)
    assert str(caught.value) == "the budget is -1 false alerts, not >= 0"


def test_a_quiet_series_has_no_row_but_its_false_alerts_count(folder):
    labels = read_labels(folder / "labels.csv")
    quiet = frames(folder)[0].assign(sensor="three")

    found = evaluate(SPEC, quiet, labels, sensor="sensor")

    assert found.rows == []
    assert (found.report.events, found.report.found) == (0, 0)
    assert found.report.false_alerts == found.report.alerts > 0


def run(folder, *more):
    asked = ["--series", str(folder / "???.csv"), "--labels", str(folder / "labels.csv")]
    return CliRunner().invoke(command, [*asked, "--spec", str(folder / "spec.yaml"), *more])


def test_the_command_prints_the_board_with_floors_and_the_alerts(folder):
    result = run(folder, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["leaderboard"][0]["detector"] == "robust_z"
    assert {row["detector"] for row in found["leaderboard"]} == {"robust_z", "random", "constant"}
    assert found["alerts"]["recall"] == 1.0
    assert "recall" in run(folder).output


def test_every_figure_is_told_with_its_interval_beside_both_floors(folder):
    found = json.loads(run(folder, "--json", "--false-alerts-per-sensor-day", "0").stdout)

    figures = pd.DataFrame(found["figures"])
    assert list(figures["figure"].unique()) == [
        "vus_pr", "auc_pr", "recall", "precision", "delay_median_s", "delay_p90_s",
        "false_alerts_per_sensor_day", "nab", "recall_at_budget", "affiliation_precision",
        "affiliation_recall",
    ]  # fmt: skip
    assert figures.groupby("figure")["detector"].apply(set).map(len).eq(3).all()
    own = figures[figures["detector"] == "robust_z"].set_index("figure")
    assert own.loc["recall", ["mean", "median", "low", "high", "wins"]].tolist() == [1, 1, 1, 1, 2]
    assert own.loc["delay_median_s", "mean"] == 0
    false = found["alerts"]["false_alerts"] / 2  # per sensor; each costs 0.11 of two points
    assert own.loc["nab", "mean"] == pytest.approx(100 - 5.5 * false, abs=2)
    assert own.loc["recall_at_budget", "mean"] == 1
    assert own.loc["affiliation_recall", "mean"] > 0.9
    floors = figures[figures["figure"] == "recall_at_budget"].set_index("detector")
    assert floors.loc["constant", "mean"] == 0
    silent = figures[(figures["figure"] == "precision") & (figures["detector"] == "constant")]
    assert silent[["mean", "low"]].isna().all(axis=None)
    assert silent["series"].item() == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--series", "no/*.csv"], "no file matches no/*.csv"),
        (
            ["--time", "event_tim"],
            "there is no column 'event_tim'\n  in {folder}/one.csv\n  did you mean 'event_time'?",
        ),
        (["--time", "bar"], "bar {first} is not a time\n  in {folder}/one.csv, line 2"),
        (
            ["--learn", "0.99"],
            "no reading to judge is labelled\n"
            "  they begin at 2026-01-09T22:50:00Z; are the sensors' names the same?",
        ),
        (["--learn", "1"], "the share to learn from is 1.0, expected one between 0 and 1"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(folder, more, message):
    first = pd.read_csv(folder / "one.csv")["bar"][0]
    result = run(folder, *more)
    assert isinstance(result.exception, EvaluationError)
    assert str(result.exception) == message.format(folder=folder, first=repr(first))


def test_a_time_that_is_none_is_named_by_its_line(folder):
    path = folder / "one.csv"
    lines = path.read_text().splitlines()
    lines[3] = "noon,5.0"
    path.write_text("\n".join(lines))
    with pytest.raises(EvaluationError) as caught:
        read_series(str(path), time="event_time")
    assert str(caught.value) == f"event_time 'noon' is not a time\n  in {path}, line 4"


def test_no_reports_make_no_report():
    with pytest.raises(EvaluationError) as caught:
        joined([])
    assert str(caught.value) == "no reports to join"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("window: 3\n", "the file has no mapping `detector`\n  in {path}"),
        (
            SPEC_FILE + "calls: {memry: 5}\n",
            "calls have no parameter 'memry'\n  in {path}\n  did you mean 'memory'?",
        ),
    ],
)
def test_a_file_that_specifies_no_detector_is_refused(folder, text, message):
    path = folder / "spec.yaml"
    path.write_text(text)
    result = CliRunner().invoke(nab, [str(folder), "--detector", str(path), "--out", "x"])
    assert str(result.exception) == message.format(path=path)
