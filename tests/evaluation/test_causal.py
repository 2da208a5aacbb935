import numpy as np
import pandas as pd
import pytest

from workbench.errors import DetectorError, EvaluationError
from workbench.evaluation import causal_scores, onsets, surprise, transductive_scores

SPEC = {"name": "knn", "window": 4, "channels": ["value"], "scale": "none", "n_neighbors": 1}
REFIT = {"every_readings": 50, "trailing_readings": 1_000_000}


@pytest.fixture
def frame():
    rng = np.random.default_rng(4)
    n = 600
    values = np.sin(np.arange(n) / 9) + 0.1 * rng.normal(size=n)
    values[450:455] += 4
    times = pd.date_range("2026-01-05", periods=n, freq="min", tz="UTC")
    return pd.DataFrame({"sensor": "a", "event_time": times, "value": values})


@pytest.mark.parametrize("refit", [None, REFIT])
def test_no_score_knows_what_comes_later(frame, refit):
    spec = {**SPEC, "refit": refit}
    whole = causal_scores(spec, frame, learn=200, sensor="sensor")
    for stop in (201, 333, 520):
        early = causal_scores(spec, frame[:stop], learn=200, sensor="sensor")
        np.testing.assert_array_equal(early, whole[:stop])


def test_readings_learnt_from_have_no_score_and_all_others_do(frame):
    scores = causal_scores(SPEC, frame, learn=200, sensor="sensor")
    assert np.isnan(scores[:200]).all()
    assert np.isfinite(scores[200:]).all()


def test_a_reading_that_goes_back_in_time_is_late_and_changes_no_other(frame):
    later = frame.copy()
    later.loc[300, "event_time"] -= pd.Timedelta(hours=1)
    scores = causal_scores(SPEC, later, learn=200, sensor="sensor", lateness_ms=1)
    without = causal_scores(SPEC, frame.drop(index=300), learn=200, sensor="sensor")
    assert np.isnan(scores[300])
    np.testing.assert_array_equal(np.delete(scores, 300), without)


def test_what_was_learnt_again_is_usual_the_second_time(frame):
    frame.loc[550:554, "value"] = frame.loc[450:454, "value"].to_numpy()
    once = causal_scores(SPEC, frame, learn=200, sensor="sensor")
    again = causal_scores({**SPEC, "refit": REFIT}, frame, learn=200, sensor="sensor")
    assert again[450:455].max() == pytest.approx(once[450:455].max(), rel=0.2)
    assert again[552:555].max() < 0.5 * once[552:555].max()


def test_hindsight_has_seen_everything(frame):
    assert transductive_scores(SPEC, frame, sensor="sensor")[3:].max() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("learn", [0, 600])
def test_something_must_be_left_to_learn_from_and_to_score(frame, learn):
    with pytest.raises(EvaluationError) as caught:
        causal_scores(SPEC, frame, learn=learn, sensor="sensor")
    assert str(caught.value) == (
        f"{learn} of 600 readings are to be learnt from, some must be, and some not"
    )


def test_a_wrong_specification_is_refused_by_name(frame):
    with pytest.raises(DetectorError) as caught:
        causal_scores({**SPEC, "neighbours": 1}, frame, learn=200, sensor="sensor")
    assert str(caught.value).startswith("detector knn has no parameter 'neighbours'")


def naive_surprise(scores, memory):
    surprises = []
    for row, score in enumerate(scores):
        past = scores[max(0, row - memory) : row]
        past = past[~np.isnan(past)]
        if np.isnan(score) or len(past) < 20:
            surprises.append(0.0)
            continue
        spread = past.std(ddof=1) + 0.05 * abs(past.mean())
        surprises.append(np.log1p(max(0.0, (score - past.mean()) / max(spread, 1e-9))))
    return surprises


def naive_onsets(scores, quiet):
    return [
        score if score > max(scores[max(0, row - quiet) : row], default=-1) else 0.0
        for row, score in enumerate(scores)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_surprise_and_onsets_equal_their_naive_twins(seed):
    rng = np.random.default_rng(seed)
    scores = rng.gamma(1.0, size=300)
    scores[rng.random(300) < 0.1] = np.nan
    level = surprise(scores, memory=60)
    np.testing.assert_allclose(level, naive_surprise(scores, 60), rtol=1e-6, atol=1e-9)
    rounded = np.round(level, 1)
    np.testing.assert_array_equal(onsets(rounded, quiet=25), naive_onsets(rounded, 25))


def test_too_little_memory_or_quiet_is_refused():
    with pytest.raises(EvaluationError) as caught:
        surprise(np.zeros(3), memory=19)
    assert str(caught.value) == "the memory is 19 scores, at least 20 are needed"
    with pytest.raises(EvaluationError) as caught:
        onsets(np.zeros(3), quiet=0)
    assert str(caught.value) == "quiet is 0 rows, not >= 1"
