import json
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from workbench import detectors
from workbench.cli.evaluation import evaluate as command
from workbench.cli.evaluation import nab
from workbench.detectors import EpisodeRule, choose, episodes, replay_refits, resolve
from workbench.errors import EvaluationError, PackageError
from workbench.evaluation import evaluate, joined, read_labels, read_series, recall_at
from workbench.times import iso, now_ms

pytestmark = pytest.mark.slow

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
    outcomes = [evaluate(SPEC, frame, labels, sensor="sensor") for frame in frames(folder)]
    report = joined([one.report for one in outcomes])
    assert (report.events, report.found) == (2, 2)
    assert report.delay_median_s == 0
    assert report.sensor_days == pytest.approx(5, abs=0.1)
    assert [row["detector"] for row in outcomes[0].rows] == ["random", "constant", "robust_z"]
    assert outcomes[0].rows[2]["vus_pr"] > 0.6


def test_events_found_at_a_budget_of_false_alerts(folder):
    labels = read_labels(folder / "labels.csv")
    frame = frames(folder)[0]
    outcome = evaluate(SPEC, frame, labels, sensor="sensor")
    times = frame["event_time"].to_numpy(dtype="datetime64[ms]").astype(np.int64)
    span = (pd.Timestamp("2026-01-07T12:00Z"), pd.Timestamp("2026-01-10T00:05Z"))
    asked = {"span": span, "names": ["one"], "labels": labels}
    sensors = frame["sensor"].to_numpy()
    at = recall_at(times, sensors, outcome.scores, false_per_sensor_day=0, **asked)
    assert (at.recall, at.report.false_alerts) == (1.0, 0)
    blind = recall_at(times, sensors, -outcome.scores, false_per_sensor_day=0, **asked)
    assert blind.recall == 0.0
    with pytest.raises(EvaluationError) as caught:
        recall_at(times, sensors, outcome.scores * np.nan, false_per_sensor_day=0, **asked)
    assert str(caught.value) == f"none of {len(frame)} readings has a score"
    with pytest.raises(EvaluationError) as caught:
        recall_at(times, sensors, outcome.scores, false_per_sensor_day=-1, **asked)
    assert str(caught.value) == "the budget is -1 false alerts, not >= 0"


def test_a_quiet_series_has_no_row_but_its_false_alerts_count(folder):
    labels = read_labels(folder / "labels.csv")
    quiet = frames(folder)[0].assign(sensor="three")

    outcome = evaluate(SPEC, quiet, labels, sensor="sensor")

    assert outcome.rows == []
    assert (outcome.report.events, outcome.report.found) == (0, 0)
    assert outcome.report.false_alerts == outcome.report.alerts > 0


def run(folder, *more):
    asked = ["--series", str(folder / "???.csv"), "--labels", str(folder / "labels.csv")]
    return CliRunner().invoke(command, [*asked, "--spec", str(folder / "spec.yaml"), *more])


def test_the_command_prints_the_board_with_floors_and_the_alerts(folder):
    result = run(folder, "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed["leaderboard"][0]["detector"] == "robust_z"
    assert {row["detector"] for row in printed["leaderboard"]} == {"robust_z", "random", "constant"}
    assert printed["alerts"]["recall"] == 1.0
    assert "recall" in run(folder).output


def test_every_figure_is_told_with_its_interval_beside_both_floors(folder):
    printed = json.loads(run(folder, "--json", "--false-alerts-per-sensor-day", "0").stdout)

    figures = pd.DataFrame(printed["figures"])
    assert list(figures["figure"].unique()) == [
        "vus_pr", "auc_pr", "recall", "precision", "delay_median_s", "delay_p90_s",
        "false_alerts_per_sensor_day", "alarm_share", "f1_pointwise", "nab", "recall_at_budget",
    ]  # fmt: skip
    assert figures.groupby("figure")["detector"].apply(set).map(len).eq(3).all()
    own = figures[figures["detector"] == "robust_z"].set_index("figure")
    assert own.loc["recall", ["mean", "median", "low", "high", "wins"]].tolist() == [1, 1, 1, 1, 2]
    assert own.loc["delay_median_s", "mean"] == 0
    false = printed["alerts"]["false_alerts"] / 2  # per sensor; each costs 0.11 of two points
    assert own.loc["nab", "mean"] == pytest.approx(100 - 5.5 * false, abs=2)
    assert own.loc["recall_at_budget", "mean"] == 1
    floors = figures[figures["figure"] == "recall_at_budget"].set_index("detector")
    assert floors.loc["constant", "mean"] == 0
    silent = figures[(figures["figure"] == "precision") & (figures["detector"] == "constant")]
    assert silent[["mean", "low"]].isna().all(axis=None)
    assert silent["series"].item() == 0


def test_rule_and_budget_of_the_file_are_judged_and_an_option_goes_before(folder):
    asked = {"alarm_k": 2, "alarm_n": 3, "alarm_m": 4, "alerts_per_sensor_day": 2}
    plain = json.loads(run(folder, "--json").stdout)
    (folder / "spec.yaml").write_text(SPEC_FILE + json.dumps(asked)[1:-1].replace(", ", "\n"))

    result = run(folder, "--json")
    by_option = json.loads(run(folder, "--json", "--alerts-per-sensor-day", str(1 / 7)).stdout)

    labels, rule = read_labels(folder / "labels.csv"), EpisodeRule(2, 3, 4)
    for budget, figures in ((2, json.loads(result.stdout)), (1 / 7, by_option)):
        report = joined(
            [evaluate(SPEC, frame, labels, sensor="sensor", rule=rule, alerts_per_sensor_day=budget)
             .report for frame in frames(folder)]
        )  # fmt: skip
        assert figures["alerts"]["alerts"] == report.alerts
        assert figures["alerts"] != plain["alerts"]
    assert result.stderr == ""


def test_what_buys_the_threshold_of_auto_is_what_auto_chose_for_the_readings_judged(folder):
    labels = read_labels(folder / "labels.csv")
    frame = frames(folder)[0].assign(flow=lambda table: np.sin(np.arange(len(table)) / 9))
    cut = len(frame) // 2
    chosen = choose(resolve({"name": "auto"}), frame[:cut], sensor="sensor").spec

    by_name, by_spec = (
        evaluate(spec, frame, labels, sensor="sensor") for spec in ({"name": "auto"}, chosen)
    )

    assert by_name.threshold == by_spec.threshold
    np.testing.assert_array_equal(by_name.scores, by_spec.scores)


def judged_and_learnt(table):
    """Return readings a minute apart or by their own gaps, labels, and the half learnt from."""
    gaps_s = table.get("gap_s", pd.Series(60.0, table.index)).to_numpy()
    times = pd.Timestamp("2026-01-05", tz="UTC") + pd.to_timedelta(np.cumsum(gaps_s), unit="s")
    frame = table.drop(columns="gap_s", errors="ignore").assign(event_time=times)
    late = times[-20], times[-10]
    labels = pd.DataFrame({"sensor": ["m"], "start": [late[0]], "stop": [late[1]]})
    return frame, labels, frame[: len(frame) // 2]


STILL = np.r_[np.random.default_rng(1).normal(size=200), np.ones(2800)]
GAPS = 60 * (1 + np.random.default_rng(0).pareto(0.7, 3000))


@pytest.mark.parametrize(
    ("values", "gap_s"),
    [(STILL, 60.0), (np.arange(3000) % 2.0, 60.0), (np.sin(np.arange(3000) / 30), GAPS)],
    ids=["stood still", "alternates", "gaps without end"],
)
def test_what_is_judged_of_auto_is_what_it_promotes_on_the_same_readings(values, gap_s):
    """An endless alarm was judged of a machine that stood still, and gaps without end refused."""
    later = np.random.default_rng(2).normal(size=3000)
    table = pd.DataFrame(
        {"x": np.r_[values, later], "gap_s": np.tile(gap_s, 6000 // np.size(gap_s))}
    )
    frame, labels, learnt = judged_and_learnt(table.assign(sensor="m"))
    rule = EpisodeRule(k=2, n=3, m=5)

    judged = evaluate({"name": "auto"}, frame, labels, sensor="sensor", rule=rule)
    promoted = detectors.auto(learnt, sensor="sensor", rule=rule)

    assert judged.threshold == promoted.threshold
    scores = detectors.score_readings(promoted.detector, frame, sensor="sensor")
    np.testing.assert_array_equal(judged.scores[3000:], scores[3000:])
    own = detectors.score_readings(promoted.detector, learnt, sensor="sensor")
    assert (own > judged.threshold).mean() < 0.1


@pytest.mark.parametrize("more", [{}, {"level": "sensor"}], ids=["pooled", "levelled"])
def test_what_is_judged_is_what_a_refit_makes_of_the_same_readings(more):
    """Of sensors that send unlike often: each one's own last third buys, as in a refit."""
    rng = np.random.default_rng(3)
    sensor = np.where(np.arange(4000) < 1000, "m", rng.choice(["m", "n"], 4000, p=[0.2, 0.8]))
    size = rng.normal(size=4000) * (1 + np.arange(4000) / 1000) * np.where(sensor == "m", 1, 3)
    frame, labels, learnt = judged_and_learnt(pd.DataFrame({"bar": size, "sensor": sensor}))
    spec = {**SPEC, **more}

    judged = evaluate(spec, frame, labels, sensor="sensor", alerts_per_sensor_day=5)
    detector, threshold = detectors.fit_with_threshold(
        spec, learnt, sensor="sensor", alerts_per_sensor_day=5, rule=EpisodeRule()
    )

    assert judged.threshold == threshold
    scores = detectors.score_readings(detector, frame, sensor="sensor")
    np.testing.assert_array_equal(judged.scores[2000:], scores[2000:])


def test_a_threshold_that_no_score_can_pass_is_refused_as_in_production():
    still = np.where(np.arange(4000) % 900 < 40, 1.0, np.random.default_rng(4).normal(size=4000))
    frame, labels, _ = judged_and_learnt(pd.DataFrame({"bar": still, "sensor": "m"}))

    with pytest.raises(PackageError, match="no score passes the threshold"):
        evaluate({**SPEC, "name": "stuck", "window": 8}, frame, labels, sensor="sensor")


def test_a_sensors_number_is_no_reading_of_it(folder):
    """`auto` on all sensors together took the column for a channel that moves."""
    numbered = [
        frame.drop(columns="sensor").assign(pump=number)
        for number, frame in enumerate(frames(folder))
    ]
    pd.concat(numbered).to_csv(folder / "all.csv", index=False)

    (frame,) = read_series(str(folder / "all.csv"), time="event_time", sensor="pump")

    assert list(frame) == ["event_time", "bar", "sensor"]
    assert set(frame["sensor"]) == {0, 1}


def test_with_a_refit_policy_threshold_and_alarms_are_those_of_the_replay(folder):
    frame = frames(folder)[0]
    frame.loc[1000:, "bar"] += 0.15  # readings drift, and with them the threshold
    policy = {"every_h": 12, "trailing_h": 24, "leave_out_alarmed": True}
    spec = {**SPEC, "refit": policy}
    rule = EpisodeRule(2, 3, 4)
    asked = {"sensor": "sensor", "rule": rule, "alerts_per_sensor_day": 1}

    judged = evaluate(spec, frame, read_labels(folder / "labels.csv"), **asked)

    cut = int(len(frame) * 0.5)
    replay = replay_refits(spec, frame, first=cut, **asked)
    assert len(replay.refits) > 3
    np.testing.assert_array_equal(judged.scores[cut:], replay.scores[cut:])
    assert judged.threshold == replay.refits[0].threshold
    times = frame["event_time"].to_numpy(dtype="datetime64[ms]").astype(np.int64)[cut:]
    above = replay.scores[cut:] - replay.thresholds[cut:]
    by_hand = episodes(times, ["one"] * len(times), above, 0.0, rule)
    assert judged.report.alerts == len(by_hand) > 0
    fixed = episodes(times, ["one"] * len(times), judged.scores[cut:], judged.threshold, rule)
    assert len(fixed) != len(by_hand)


def test_readings_under_an_alarm_are_counted_one_by_one_too(folder):
    printed = json.loads(run(folder, "--json").stdout)

    figures = pd.DataFrame(printed["figures"]).query("detector == 'robust_z'").set_index("figure")
    assert 0.8 < figures.loc["f1_pointwise", "mean"] <= 1
    assert printed["alerts"]["f1_pointwise"] == pytest.approx(
        figures.loc["f1_pointwise", "mean"], abs=0.1
    )
    assert 0 <= printed["alerts"]["alarm_share"] < 0.02


def test_a_series_that_is_refused_is_told_at_the_end_and_ends_nothing(folder):
    whole = json.loads(run(folder, "--json").stdout)
    times = pd.date_range("2026-01-05", periods=900, freq="5min", tz="UTC")
    still = pd.DataFrame({"event_time": times, "bar": 5.0})
    still.to_csv(folder / "flt.csv", index=False)
    (folder / "dmg.csv").write_text("event_time,bar\n2026-01-05T00:00:00Z,1,2,3\n\n4,5\n")

    result = run(folder, "--json")

    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["figures"] == whole["figures"]
    assert sorted(found["refused"]) == [str(folder / "dmg.csv"), "flt"]
    assert "flt is refused: channel bar is constant in training, 5" in result.stderr


def test_sensors_in_one_file_or_in_many_give_the_same_figures(folder):
    whole = json.loads(run(folder, "--json").stdout)
    every = pd.concat([pd.read_csv(folder / f"{n}.csv").assign(pump=n) for n in ("one", "two")])
    for name in ("one", "two"):
        (folder / f"{name}.csv").unlink()
    every.to_csv(folder / "all.csv", index=False)
    as_one = json.loads(run(folder, "--json", "--sensor", "pump").stdout)
    (folder / "all.csv").unlink()
    for day, own in every.groupby(every["event_time"].str[:10]):
        own.to_csv(folder / f"d{day[-2:]}.csv", index=False)

    by_day = json.loads(run(folder, "--json", "--sensor", "pump").stdout)

    assert as_one == whole
    assert by_day == whole
    together = json.loads(run(folder, "--json", "--sensor", "pump", "--together").stdout)
    assert together["alerts"]["events"] == 2
    assert together["figures"] != whole["figures"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--series", "no/*.csv"], "no file matches no/*.csv"),
        (
            ["--time", "event_tim"],
            "there is no column 'event_tim'\n  in {folder}/one.csv\n  did you mean 'event_time'?",
        ),
        (["--time", "bar"], "by no rule do all times lie between 1980-01-01 and {tomorrow}\n*"),
        (
            ["--learn", "0.99"],
            "no reading to judge is labelled\n"
            "  they begin at 2026-01-09T22:50:00Z; are the sensors' names the same?",
        ),
        (["--learn", "1"], "the share to learn from is 1.0, expected one between 0 and 1"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(folder, more, message):
    result = run(folder, *more)
    assert isinstance(result.exception, EvaluationError)
    message = message.format(folder=folder, tomorrow=iso(now_ms() + 86_400_000)[:10])
    assert fnmatchcase(str(result.exception), message)


def test_a_time_that_is_none_is_named_by_its_line(folder):
    path = folder / "one.csv"
    lines = path.read_text().splitlines()
    lines[3] = "noon,5.0"
    path.write_text("\n".join(lines))
    with pytest.raises(EvaluationError) as caught:
        read_series(str(path), time="event_time")
    assert str(caught.value) == (
        "'noon' is not a time in ISO 8601\n"
        f"  in {path}, line 4, column event_time\n"
        "  a time is written as 2026-01-05T00:00:00Z, or say its format"
    )


def test_an_offset_is_not_carried_over_to_the_next_line(folder):
    path = folder / "mixed.csv"
    lines = ["2026-01-05T12:00:00-05:00", "2026-01-05T17:01:00", "2026-01-05T17:02:00Z"]
    path.write_text("\n".join(["event_time,bar", *(f"{line},1" for line in lines)]))
    with pytest.raises(EvaluationError) as caught:
        read_series(str(path), time="event_time")
    assert str(caught.value).startswith(
        f"'2026-01-05T17:01:00' has no offset from UTC, unlike 2 of 3 times\n  in {path}, line 3"
    )


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
        (
            "detector: [",
            "the file is no YAML: while parsing a flow node\nexpected the node content, "
            "but found '<stream end>'\n"
            '  in "<unicode string>", line 1, column 12:\n    detector: [\n'
            "               ^\n  in {path}",
        ),
    ],
)
def test_a_file_that_specifies_no_detector_is_refused(folder, text, message):
    path = folder / "spec.yaml"
    path.write_text(text)
    result = CliRunner().invoke(nab, [str(folder), "--detector", str(path), "--out", "x"])
    assert str(result.exception) == message.format(path=path)
