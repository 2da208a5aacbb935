"""Public labelled sets in their own formats, judged causally beside floors that refuse nothing."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from workbench.cli.evaluation import _params
from workbench.cli.evaluation import benchmark as command
from workbench.detectors import EpisodeRule, episodes, fit_with_threshold, score_readings
from workbench.errors import EvaluationError
from workbench.evaluation import (
    LabelledSeries,
    auc_pr,
    benchmark,
    causal_scores,
    labelled_sets,
    read_folder,
)
from workbench.evaluation.benchmarking import _Asked
from workbench.times import epoch_ms

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SPEC = {"knn": {"name": "knn", "window": 4}}


def readings(seed=0, n=600):
    rng = np.random.default_rng(seed)
    x = np.sin(np.arange(n) / 9) + 0.1 * rng.normal(size=n)
    x[450:465] += 3
    return pd.DataFrame({"a": x, "b": 0.05 * rng.normal(size=n) - x, "c": 1.0})


@pytest.fixture
def tsb(tmp_path):
    """Two series in TSB-AD's format, one of which does not move."""
    label = ((np.arange(600) >= 450) & (np.arange(600) < 465)).astype(int)
    readings().assign(Label=label).to_csv(tmp_path / "001_Toy_id_1_tr_300_1st_450.csv", index=False)
    flat = pd.DataFrame({"a": np.ones(600), "Label": label})
    flat.to_csv(tmp_path / "002_Flat_id_1_tr_300_1st_450.csv", index=False)
    return tmp_path


def test_the_format_of_tsb_ad_says_what_is_learnt_from(tsb):
    (toy, flat) = read_folder(tsb)

    assert (toy.name, toy.learn, int(toy.wrong.sum())) == ("001_Toy_id_1_tr_300_1st_450", 300, 15)
    assert list(toy.frame) == ["a", "b", "c", "event_time", "sensor"]
    assert all(later > earlier for earlier, later in pairwise(toy.frame["event_time"]))
    assert flat.learn == 300


def test_a_series_that_is_refused_ends_nothing_and_floors_stand_in_every_table(tsb):
    outcome = benchmark(SPEC, tsb)

    assert {row["detector"] for row in outcome.rows} == {
        "random", "constant", "robust_z", "windowed_pca", "knn",
    }  # fmt: skip
    by_name = {row["detector"]: row["vus_pr"] for row in outcome.rows}
    assert by_name["knn"] > 2 * by_name["random"]
    assert list(outcome.refused) == ["002_Flat_id_1_tr_300_1st_450"]
    result = CliRunner().invoke(command, [str(tsb), "--json"])
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["leaderboard"][0]["detector"] in ("auto", "robust_z")
    assert list(told["refused"]) == list(outcome.refused)


def test_a_folder_with_a_labels_file_has_times_and_sensors(tmp_path):
    times = pd.date_range("2026-01-05", periods=600, freq="min", tz="UTC")
    readings().assign(event_time=times).to_csv(tmp_path / "m1.csv.gz", index=False)
    quiet = readings(1).assign(event_time=times)
    quiet.to_csv(tmp_path / "m2.csv", index=False)
    (tmp_path / "m3.csv").write_text("a,b\n1,2\n")
    (tmp_path / "labels.csv").write_text(
        f"sensor,start,stop\nm1,{times[450].isoformat()},{times[465].isoformat()}\n"
    )

    outcome = benchmark(SPEC, tmp_path, learn=0.6)

    assert {row["series"] for row in outcome.rows} == {"m1"}
    assert outcome.quiet == ("m2",)
    assert list(outcome.refused) == ["m3.csv"]


def test_a_folder_of_folders_is_several_sets_each_with_its_own_share(tsb, tmp_path_factory):
    sets = tmp_path_factory.mktemp("sets")
    (sets / "toys").symlink_to(tsb)
    (sets / "pumps").mkdir()
    (sets / "papers").mkdir()
    times = pd.date_range("2026-01-05", periods=600, freq="min", tz="UTC")
    readings().assign(event_time=times).to_csv(sets / "pumps" / "m1.csv", index=False)
    event = f"m1,{times[450].isoformat()},{times[465].isoformat()}\n"
    (sets / "pumps" / "labels.csv").write_text(f"sensor,start,stop\n{event}")

    outcome = benchmark(SPEC, sets, learn={"pumps": 0.6})

    alone = benchmark(SPEC, sets / "pumps", learn=0.6)
    both = {row["series"] for row in outcome.rows}
    assert both == {"pumps/m1", "toys/001_Toy_id_1_tr_300_1st_450"}
    assert list(outcome.refused) == ["toys/002_Flat_id_1_tr_300_1st_450"]
    assert [row["vus_pr"] for row in outcome.rows if row["series"] == "pumps/m1"] == [
        row["vus_pr"] for row in alone.rows
    ]
    assert labelled_sets(sets / "pumps") == {"pumps": sets / "pumps"}
    with pytest.raises(EvaluationError) as refused:
        benchmark(SPEC, sets, learn={"pump": 0.6})
    assert str(refused.value) == (
        "a share to learn from is of 'pump', no set here\n  did you mean 'pumps'?"
    )


@pytest.mark.parametrize(
    ("shares", "learnt"),
    [((), 300), (("0.6",), 360), (("0.6", "{set}=0.7"), 420), (("{set}=0.7", "0.6"), 420)],
)
def test_a_share_is_of_all_sets_or_of_one(tmp_path, tmp_path_factory, shares, learnt):
    """A fault right after what is learnt from is judged; one before it is not."""
    times = pd.date_range("2026-01-05", periods=600, freq="min", tz="UTC")
    readings().assign(event_time=times).to_csv(tmp_path / "m1.csv", index=False)
    spec = tmp_path_factory.mktemp("spec") / "near.yaml"
    spec.write_text("detector: {name: knn, window: 4}\n")
    asked = [str(tmp_path), "--json", "--spec", str(spec)]
    for share in shares:
        asked += ["--learn", share.replace("{set}", tmp_path.name)]
    outcomes = []
    for row in (learnt - 1, learnt):
        span = f"{times[row].isoformat()},{(times[row] + pd.Timedelta(seconds=1)).isoformat()}"
        (tmp_path / "labels.csv").write_text(f"sensor,start,stop\nm1,{span}\n")
        outcomes.append(CliRunner().invoke(command, asked).exit_code)
    assert outcomes == [1, 0]


@pytest.mark.parametrize("share", ["half", "1", "toys=0", "nan"])
def test_a_share_that_is_none_is_refused(tsb, share):
    result = CliRunner().invoke(command, [str(tsb), "--learn", share])

    assert result.exit_code == 2
    assert "is no share, expected one between 0 and 1" in result.output


@pytest.mark.parametrize("share", [60, 1.0, 0, float("nan"), {"toys": 60}])
def test_a_share_in_percent_is_refused_and_not_taken_for_a_set_without_labels(tsb, share):
    with pytest.raises(EvaluationError, match="expected one between 0 and 1"):
        benchmark(SPEC, tsb, learn=share)


@pytest.mark.parametrize("name", ["random", "constant", "robust_z", "windowed_pca"])
def test_a_specification_takes_no_floors_place(tsb, name):
    with pytest.raises(EvaluationError, match="as a floor of every table is"):
        benchmark({name: SPEC["knn"]}, tsb)


def test_later_readings_change_no_earlier_score(tsb):
    whole = next(iter(read_folder(tsb)))
    assert isinstance(whole, LabelledSeries)
    changed = whole.frame.copy()
    changed.loc[500:, ["a", "b"]] *= 7
    asked = _Asked(SPEC, 1 / 7, EpisodeRule(), 0)
    times = epoch_ms(whole.frame["event_time"])
    early, late = (
        {**asked._detectors(series), **asked._floors(series, times)}
        for series in (whole, replace(whole, frame=changed))
    )

    assert len(early) == 5
    for name, (scores, thresholds) in early.items():
        np.testing.assert_array_equal(scores[:200], late[name][0][:200])
        np.testing.assert_array_equal(thresholds, late[name][1])


def test_a_refit_policy_is_followed_not_passed_over(tsb):
    (tsb / "002_Flat_id_1_tr_300_1st_450.csv").unlink()
    file = tsb / "001_Toy_id_1_tr_300_1st_450.csv"
    moved = pd.read_csv(file)
    moved.loc[330:, "b"] += 2  # for good, which only the second one comes to know
    moved.to_csv(file, index=False)
    policy = {"every_readings": 50, "trailing_readings": 300}
    specs = {name: {"name": "knn", "window": 4, "refit": refit} for name, refit in
             (("once", None), ("again", policy))}  # fmt: skip

    by_name = {row["detector"]: row["auc_pr"] for row in benchmark(specs, tsb).rows}

    series = next(iter(read_folder(tsb)))
    again = causal_scores(
        {**specs["again"], "channels": ["a", "b"]}, series.frame, learn=300, sensor="sensor"
    )
    assert by_name["again"] == auc_pr(series.wrong[300:], again[300:])
    assert by_name["again"] > by_name["once"] + 0.05


@pytest.mark.parametrize("key", ["beside", "calls"])
def test_what_only_calls_have_is_refused(tsb, tmp_path_factory, key):
    spec = tmp_path_factory.mktemp("spec") / "spec.yaml"
    spec.write_text(f"detector: {{name: knn, window: 4}}\n{key}: {{}}\n")
    result = CliRunner().invoke(command, [str(tsb), "--spec", str(spec)])
    assert str(result.exception).startswith(f"{key} is of calls, which no package makes")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (None, "", "there are no CSV files, and no folders of any\n  in {folder}"),
        ("a.csv", "a,b\n1,2\n", "the last column is 'b', expected 'Label'\n  in {folder}/a.csv*"),
    ],
)
def test_what_is_no_labelled_folder_is_refused(tmp_path, name, text, message):
    if name:
        (tmp_path / name).write_text(text)
    with pytest.raises(EvaluationError) as refused:
        benchmark(SPEC, tmp_path)
    assert str(refused.value).startswith(message.format(folder=tmp_path).removesuffix("*"))


def hourly(folder, name, *, noisy_from=None, events=((800, 810),)):
    """Write 1,200 hours of a machine that is quiet, with events, and louder from some hour on."""
    rng = np.random.default_rng(len(name))
    values = rng.normal(size=1200)
    if noisy_from is not None:
        values[noisy_from:] *= 6
    for start, stop in events:
        values[start:stop] += 12
    times = pd.date_range("2026-01-05", periods=1200, freq="h", tz="UTC")
    pd.DataFrame({"event_time": times, "a": values}).to_csv(folder / f"{name}.csv", index=False)
    spans = [(times[start].isoformat(), times[stop].isoformat()) for start, stop in events]
    return [f"{name},{start},{stop}" for start, stop in spans]


def test_a_channel_in_the_place_of_sensor_or_time_is_refused_not_overwritten(tsb):
    file = tsb / "001_Toy_id_1_tr_300_1st_450.csv"
    pd.read_csv(file).rename(columns={"b": "sensor"}).to_csv(file, index=False)

    (name, error), flat = read_folder(tsb)

    assert name == file.name
    assert str(error).startswith("a channel is called 'sensor'")
    assert flat.learn == 300


def test_two_files_of_one_series_are_refused_both(tsb):
    file = tsb / "001_Toy_id_1_tr_300_1st_450.csv"
    pd.read_csv(file).to_csv(f"{file}.gz", index=False)

    (_, first), (_, second), flat = read_folder(tsb)

    assert str(first).startswith("two files are series '001_Toy_id_1_tr_300_1st_450'")
    assert str(second) == str(first)
    assert flat.learn == 300


def test_alarms_are_told_at_a_threshold_that_was_bought_before(tmp_path):
    lines = hourly(tmp_path, "calm") + hourly(tmp_path, "loud", noisy_from=700)
    (tmp_path / "labels.csv").write_text("\n".join(["sensor,start,stop", *lines]) + "\n")
    rule = EpisodeRule(1, 1, 2)

    outcome = benchmark(
        {"near": {"name": "robust_z", "window": 1}}, tmp_path, alerts_per_sensor_day=0.5, rule=rule
    )

    calm = next(series for series in read_folder(tmp_path) if series.name == "calm")
    fitted, threshold = fit_with_threshold(
        {"name": "robust_z", "window": 1, "channels": ["a"]}, calm.frame[: calm.learn],
        sensor="sensor", alerts_per_sensor_day=0.5, rule=rule,
    )  # fmt: skip
    later = calm.frame[calm.learn :]
    alerts = episodes(
        epoch_ms(later["event_time"]), later["sensor"].to_numpy(),
        score_readings(fitted, later, sensor="sensor"), threshold, rule,
    )  # fmt: skip
    worth = {judged.series: judged for judged in outcome.judged if judged.detector == "near"}
    assert worth["calm"].report.alerts == len(alerts)
    assert worth["calm"].report.found == 1
    assert worth["calm"].kept(0.5) == 1
    assert worth["loud"].report.alarm_share > 0.1
    assert worth["loud"].kept(0.5) == 0
    assert math.isnan(worth["calm"].kept(0.01))  # a quarter of an alert in these 25 days
    own = outcome.alarms().set_index("detector").loc["near"]
    assert (own["events"], own["budget_kept"], own["often_in_alarm"]) == (2, 0.5, 0.5)
    together = worth["calm"].pointwise + worth["loud"].pointwise
    assert own["f1_pointwise"] == together.f1
    assert {"alarm_share", "f1_pointwise"} <= outcome.rows[0].keys()


def test_rule_and_budget_are_those_of_the_files_which_may_not_differ(tmp_path, tmp_path_factory):
    lines = hourly(tmp_path, "calm")
    (tmp_path / "labels.csv").write_text("\n".join(["sensor,start,stop", *lines]) + "\n")
    folder = tmp_path_factory.mktemp("specs")
    detector = "detector: {name: robust_z, window: 1}\n"
    (folder / "a.yaml").write_text(f"{detector}alarm_m: 2\nalerts_per_sensor_day: 0.2\n")
    (folder / "b.yaml").write_text(f"{detector}alarm_m: 3\nalerts_per_sensor_day: 0.2\n")
    asked = [str(tmp_path), "--json", "--spec", str(folder / "a.yaml")]

    alone = CliRunner().invoke(command, asked)
    both = CliRunner().invoke(command, [*asked, "--spec", str(folder / "b.yaml")])

    direct = benchmark(
        {"a": {"name": "robust_z", "window": 1}}, tmp_path, alerts_per_sensor_day=0.2,
        rule=EpisodeRule(m=2),
    )  # fmt: skip
    mine = [row for row in json.loads(alone.stdout)["alarms"] if row["detector"] == "a"]
    assert mine[0]["f1_pointwise"] == direct.alarms().set_index("detector").loc["a", "f1_pointwise"]
    assert both.exit_code == 2
    assert "the files differ in alarm_k, n, m" in both.output


def test_two_files_of_one_name_are_refused_and_not_one_of_them_judged(tsb, tmp_path_factory):
    asked = [str(tsb), "--json"]
    for method in ("knn", "robust_z"):
        file = tmp_path_factory.mktemp(method) / "spec.yaml"
        file.write_text(f"detector: {{name: {method}, window: 4}}\n")
        asked += ["--spec", str(file)]

    result = CliRunner().invoke(command, asked)

    assert result.exit_code == 2
    assert "two files have one name in the tables, of spec" in result.output


def test_the_page_is_told_all_that_the_command_judges_by(tmp_path):
    cells = json.loads((NOTEBOOKS / "61_benchmark.ipynb").read_text())["cells"]
    (parameters,) = [c for c in cells if "parameters" in c["metadata"].get("tags", ())]
    names = {line.partition(":")[0] for line in parameters["source"] if ":" in line}

    terms = {"learn": {}, "alerts_per_sensor_day": 0.2, "seed": 3}
    params = _params(tmp_path, SPEC, EpisodeRule(), terms)

    assert params.keys() == names
    assert [params[name] for name in ("alarm_k", "alarm_n", "alarm_m")] == [1, 1, 1]
