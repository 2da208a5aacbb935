import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from workbench.cli.evaluation import nab
from workbench.detectors import EpisodeRule, episodes
from workbench.errors import EvaluationError
from workbench.evaluation import (
    NabPass,
    judge_nab,
    nab_alarm_scores,
    nab_alarms,
    nab_calls,
    nab_floors,
    nab_folder,
    nab_interval,
    nab_score,
    read_nab,
    run_nab,
    swapped,
    swapped_nab,
    swapped_nab_alarms,
)

NAB = nab_folder()
needs_nab = pytest.mark.skipif(not NAB.is_dir(), reason=f"NAB is not at {NAB}: set WORKBENCH_NAB")
PARAMS = Path(__file__).parents[2] / "params"
SPEC = {"name": "knn", "window": 1, "scale": "none", "n_neighbors": 1}
REFIT = {"every_readings": 100, "trailing_readings": 1_000_000}


@pytest.fixture
def small(tmp_path):
    """A NAB of four series, one of them constant, each other with one spike in its window."""
    labels = {}
    (tmp_path / "data" / "made").mkdir(parents=True)
    (tmp_path / "labels").mkdir()
    times = pd.date_range("2026-01-05", periods=800, freq="5min").strftime("%Y-%m-%d %H:%M:%S")
    for seed in range(4):
        values = np.random.default_rng(seed).normal(size=800).round(3)
        values[400 + 50 * seed] += 15
        if seed == 3:
            values[:] = 7.0
        name = f"made/{seed}.csv"
        labels[name] = [[f"{times[380 + 50 * seed]}.0", f"{times[430 + 50 * seed]}.0"]]
        pd.DataFrame({"timestamp": times, "value": values}).to_csv(
            tmp_path / "data" / name, index=False
        )
    (tmp_path / "labels" / "combined_windows.json").write_text(json.dumps(labels))
    return tmp_path


@pytest.mark.slow
def test_a_pass_is_judged_by_both_figures_and_says_what_was_refused(small):
    whole = run_nab(SPEC | {"refit": REFIT}, read_nab(small), name="near")
    assert list(whole.refused) == ["made/3.csv"]
    assert whole.refused["made/3.csv"] == "channel value is constant in training, 7"
    assert np.isnan(whole.scores[3]).all()
    rows = judge_nab(whole)
    assert [row["series"] for row in rows] == [f"made/{seed}.csv" for seed in range(4)]
    assert rows[0]["detector"] == "near"
    made = nab_calls(whole)
    assert all(scores.min() >= 0 and scores.max() <= 1 for scores in made.scores)
    assert nab_score(made.pairs()[:3]).score > 60


@pytest.mark.slow
def test_several_passes_make_calls_by_their_mean_surprise(small):
    series = read_nab(small)
    near = run_nab(SPEC, series)
    blind = NabPass("blind", near.series, tuple(np.zeros(800) for _ in series), {}, 0.0)

    alone, halved = nab_calls(near), nab_calls(near, blind)

    level, half = (one.scores[0] / (1 - one.scores[0]) for one in (alone, halved))
    np.testing.assert_allclose(half, level / 2)


def test_a_series_comes_with_clock_channels_and_its_value_in_units_of_probation(small):
    series = read_nab(small)[0]

    frame = series.frame()

    seen = frame["standard_value"][: series.probation]
    assert (seen.mean(), seen.std(ddof=0)) == (pytest.approx(0), pytest.approx(1))
    assert frame["hour_of_day"][12] == 1.0
    spec = SPEC | {"channels": ["standard_value", "hour_cos", "hour_sin"], "features": "compressed"}
    assert np.isfinite(run_nab(spec, [series]).scores[0][series.probation :]).all()


def test_floors_are_judged_like_any_other(small):
    floors = nab_floors(read_nab(small))
    assert [one.detector for one in floors] == ["random", "constant"]
    rates = [one.labels[one.probation :].mean() for one in floors[1].series]
    assert [row["auc_pr"] for row in judge_nab(floors[1])] == pytest.approx(rates)


def test_labelled_windows_are_events_for_figures_too(small):
    series = read_nab(small)[0]
    (event,) = series.events().itertuples()
    assert event.start == pd.Timestamp("2026-01-06T07:40Z")
    assert event.stop == pd.Timestamp("2026-01-06T11:50:00.001Z")


def test_hindsight_is_not_the_causal_pass(small):
    series = read_nab(small)[:1]
    causal = run_nab(SPEC, series)
    hindsight = run_nab(SPEC, series, hindsight=True)
    assert np.isnan(causal.scores[0][: series[0].probation]).all()
    assert np.isfinite(hindsight.scores[0]).all()


def test_settings_are_chosen_on_one_half_and_judged_on_the_other(small):
    series = read_nab(small)
    passes = [
        nab_calls(run_nab(SPEC, series, name="good")),
        nab_calls(run_nab(SPEC, series, name="same")),
    ]
    passes[1] = type(passes[1])("bad", passes[1].series, tuple(-s for s in passes[1].scores), {}, 0)
    table = swapped_nab(passes)
    assert table["setting"].tolist() == ["good", "good"]
    by_hand = nab_score(passes[0].pairs(1), threshold=table["threshold"][0]).score
    assert table["other_score"][0] == by_hand
    for nothing in (swapped_nab, swapped_nab_alarms, swapped):
        with pytest.raises(EvaluationError) as caught:
            nothing([])
        assert str(caught.value) == "no settings to choose from"


def test_the_alarms_that_nab_judges_are_those_that_a_package_would_set(small):
    series = read_nab(small)
    passed = run_nab(SPEC, series, name="near")
    rule = EpisodeRule(2, 3, 40)

    alarms = nab_alarms(passed, 0.05, rule=rule)

    for labelled, scores, detected in zip(series, passed.scores, alarms.scores, strict=True):
        times = labelled.frame()["event_time"]
        times_ms = times.to_numpy(dtype="datetime64[ms]").astype(np.int64)
        judged = scores.copy()
        judged[: labelled.probation] = np.nan
        starts = episodes(times_ms, [labelled.name] * 800, judged, 0.05, rule)["start"]
        assert times[detected == 1].tolist() == starts.tolist()
        assert set(detected) <= {0.0, 1.0}
    assert sum(detected.sum() for detected in alarms.scores) > 3


def test_what_went_back_in_time_sets_no_alarm(small):
    path = small / "data" / "made" / "0.csv"
    table = pd.read_csv(path)
    table.loc[400, "timestamp"] = table["timestamp"][395]  # the spike comes late
    table.to_csv(path, index=False)
    series = read_nab(small)[:1]

    alarms = nab_alarms(NabPass("all", tuple(series), (series[0].readings,), {}, 0.0), 10.0)

    assert series[0].readings[400] > 10
    assert alarms.scores[0].sum() == 0


def test_the_best_threshold_of_alarms_is_worth_what_its_alarms_are(small):
    series = read_nab(small)
    passed = run_nab(SPEC, series)
    rule = EpisodeRule(m=20)

    bests = nab_alarm_scores(passed, rule=rule)

    for profile, best in bests.items():
        alarms = nab_alarms(passed, best.threshold, rule=rule)
        assert nab_score(alarms.pairs(), threshold=1.0, profile=profile).score == best.score
    assert bests["standard"].score > 70  # three spikes of four series, one of which never moves
    silent = NabPass("no", tuple(series), tuple(np.full(800, np.nan) for _ in series), {}, 0.0)
    nothing = nab_alarm_scores(silent)["standard"]
    assert (nothing.score, nothing.raw) == (0.0, -4.0)


def test_alarms_of_series_with_one_name_are_apart_and_what_does_not_fit_is_refused(small):
    first, second, *_ = read_nab(small)
    twins = tuple(replace(series, name="twin") for series in (first, second))
    scores = [np.zeros(800) for _ in twins]
    scores[0][[400, 401]] = scores[1][600] = 9.0

    alarms = nab_alarms(NabPass("x", twins, tuple(scores), {}, 0.0), 5.0, rule=EpisodeRule(m=300))

    assert [np.flatnonzero(detected).tolist() for detected in alarms.scores] == [[400], [600]]
    with pytest.raises(EvaluationError) as refused:
        nab_alarms(NabPass("x", (first,), (np.zeros(900),), {}, 0.0), 5.0)
    assert str(refused.value) == "made/0.csv has 800 rows, there are 900 scores"
    with pytest.raises(EvaluationError) as refused:
        nab_alarm_scores(NabPass("x", (first,), (np.zeros(800),), {}, 0.0), half=1)
    assert str(refused.value) == "no series has a labelled window, the NAB score does not exist"


def test_setting_and_threshold_of_alarms_come_from_the_other_half(small):
    series = read_nab(small)
    good = run_nab(SPEC, series, name="good")
    bad = NabPass("bad", good.series, tuple(-scores for scores in good.scores), {}, 0.0)

    table = swapped_nab_alarms([bad, good])

    assert table["setting"].tolist() == ["good", "good"]
    best = nab_alarm_scores(good, half=0)["standard"]
    assert table["threshold"][0] == best.threshold
    alarms = nab_alarms(good, best.threshold)
    assert table["other_score"][0] == nab_score(alarms.pairs(1), threshold=1.0).score


def test_the_command_writes_files_for_nab_and_prints_the_figures(small, tmp_path):
    spec = tmp_path / "spec.yaml"
    content = {"detector": SPEC, "calls": {"quiet": 50}, "alarm_m": 30, "mark": "nab"}
    spec.write_text(yaml.safe_dump(content))
    asked = [str(small), "--detector", str(spec), "--out", str(tmp_path / "out"), "--name", "near"]
    result = CliRunner().invoke(nab, [*asked, "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout.splitlines()[-1])
    assert figures["labelled_series"] == 4
    assert {"vus_pr", "nab_standard", "seconds", "refused"} <= figures.keys()
    names = list(figures)
    assert names.index("nab_alarms_standard") < names.index("nab_standard")
    rule = EpisodeRule(m=30)
    best = nab_alarm_scores(run_nab(SPEC, read_nab(small)), rule=rule)["standard"]
    assert figures["nab_alarms_standard"] == best.score
    assert figures["evaluation_only"].startswith("nab_standard, ")
    assert result.stderr.splitlines()[0] == f"{spec}: not read here: mark"
    written = sorted((tmp_path / "out" / "near" / "made").glob("*.csv"))
    assert [path.name for path in written] == [f"near_{seed}.csv" for seed in range(4)]
    table = pd.read_csv(written[0])
    assert table["anomaly_score"][400] == table["anomaly_score"].max() > 0
    assert "nab_standard" in CliRunner().invoke(nab, asked).output


def test_the_interval_of_a_nab_score_is_as_wide_as_series_differ(small):
    series = read_nab(small)
    early, never = np.zeros(800), np.zeros(800)
    early[381] = 0.9
    alike = [(series[0], early)] * 5
    mixed = [(series[0], early)] * 5 + [(series[1], never)] * 5
    calm = replace(series[2], windows=())

    for scored in (alike, mixed):
        best = nab_score(scored)
        low, high = nab_interval(scored, best.threshold)
        assert low <= best.score <= high
        assert (high - low > 20) == (scored is mixed)
        assert nab_interval(scored, best.threshold) == (low, high)
    # a resample of calm series alone has no score
    assert nab_interval([(calm, never), (series[0], early)], 0.5) == pytest.approx(
        (100, 100), abs=2
    )
    with pytest.raises(EvaluationError) as error:
        nab_interval([(calm, never)], 0.5)
    assert str(error.value) == "no series has a labelled window, the NAB score does not exist"


def test_calls_become_alerts_from_the_end_of_probation_on(small):
    first = read_nab(small)[0]
    scores = np.zeros(800)
    scores[[10, 400, 401, 700]] = 0.9, 0.9, np.nan, 0.5

    alerts = NabPass("one", (first,), (scores,), {}, 0.0).called(first, 0.5)

    assert list(alerts.index) == [400, 700]
    assert set(alerts["sensor"]) == {"made/0.csv"}
    assert alerts["start"].tolist() == first.frame()["event_time"].iloc[[400, 700]].tolist()


@needs_nab
@pytest.mark.slow
def test_the_vus_preset_keeps_its_figure_on_a_part_of_nab():
    preset = yaml.safe_load((PARAMS / "60_leaderboard-vus_pr.yaml").read_text())
    part = [one for one in read_nab(NAB) if "realTraffic" in one.name]

    rows = judge_nab(run_nab(preset["detector"], part))

    assert np.mean([row["vus_pr"] for row in rows]) > 0.41


@needs_nab
def test_the_nab_preset_keeps_its_figure_on_a_part_and_its_members_are_better_together():
    preset = yaml.safe_load((PARAMS / "60_leaderboard-nab.yaml").read_text())
    part = [one for one in read_nab(NAB) if "realAdExchange" in one.name]
    (change,) = preset["beside"].values()

    alone, beside = (run_nab(preset["detector"] | more, part) for more in ({}, change))

    together = nab_score(nab_calls(alone, beside, **preset["calls"]).pairs()).score
    assert together > 84
    assert together > 5 + nab_score(nab_calls(alone, **preset["calls"]).pairs()).score
