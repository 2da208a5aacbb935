"""Public labelled sets in their own formats, judged causally beside floors that refuse nothing."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from workbench.cli.evaluation import benchmark as command
from workbench.errors import EvaluationError
from workbench.evaluation import LabelledSeries, auc_pr, benchmark, causal_scores, read_folder

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


def test_later_readings_change_no_earlier_score(tsb):
    whole = next(iter(read_folder(tsb)))
    assert isinstance(whole, LabelledSeries)
    changed = whole.frame.copy()
    changed.loc[500:, ["a", "b"]] *= 7
    from workbench.evaluation.benchmark import _scores

    early, late = (
        _scores(SPEC, LabelledSeries("x", frame, whole.wrong, whole.learn), 0)
        for frame in (whole.frame, changed)
    )

    for name, scores in early.items():
        np.testing.assert_array_equal(scores[:500], late[name][:500])


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
        (None, "", "there are no CSV files\n  in {folder}"),
        ("a.csv", "a,b\n1,2\n", "the last column is 'b', expected 'Label'\n  in {folder}/a.csv*"),
    ],
)
def test_what_is_no_labelled_folder_is_refused(tmp_path, name, text, message):
    if name:
        (tmp_path / name).write_text(text)
    with pytest.raises(EvaluationError) as refused:
        benchmark(SPEC, tmp_path)
    assert str(refused.value).startswith(message.format(folder=tmp_path).removesuffix("*"))
