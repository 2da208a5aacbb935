import numpy as np
import pytest
from scipy import stats

from workbench import detectors
from workbench.detectors.calibration import fit_tail, tail_log
from workbench.errors import DetectorError

TWO = {"window": 8, "channels": ["flow", "pressure"]}


@pytest.mark.parametrize(("law", "args"), [(stats.norm, ()), (stats.expon, ()), (stats.t, (4,))])
def test_a_calibrated_score_is_the_tail_probability(law, args):
    rng = np.random.default_rng(3)
    state = fit_tail(law.rvs(*args, size=20_000, random_state=rng))

    for probability, within in ((0.5, 0.02), (0.1, 0.05), (1e-2, 0.1), (1e-3, 0.3)):
        score = law.isf(probability, *args)
        assert abs(tail_log(np.array([score]), state)[0] + np.log10(probability)) < within


def test_a_tail_that_ends_is_never_called_rarer_than_it_is():
    state = fit_tail(np.random.default_rng(3).uniform(size=20_000))

    logs = tail_log(np.array([0.9, 0.99, 0.999, 2.0]), state)

    assert (logs[:3] <= [1.1, 2.1, 3.1]).all()
    assert logs[3] > 10


@pytest.mark.parametrize("scores", [np.zeros(500), np.r_[np.zeros(499), 1e9], np.arange(500.0)])
def test_whatever_the_scores_the_tail_rises_and_stays_finite(scores):
    state = fit_tail(scores)

    logs = tail_log(np.r_[-1e15, np.linspace(-1, 1000, 400), 1e15, 1e300], state)

    assert np.isfinite(logs).all()
    assert (np.diff(logs) >= 0).all()
    assert logs[-1] > logs[0]


def test_the_estimator_never_sees_the_span_it_is_calibrated_on(readings):
    spec = {"name": "knn", **TWO, "sample": 100}
    calibrated = spec | {"calibrate": "tail", "calibrate_share": 0.5}
    changed = readings.copy()
    changed.loc[620:, "flow"] += 100

    first, second = (
        detectors.fit(calibrated, frame, sensor="pump").state for frame in (readings, changed)
    )

    np.testing.assert_array_equal(first["train"], second["train"])
    assert not np.array_equal(first["tail_fit"], second["tail_fit"])


def test_scores_of_different_detectors_become_comparable(readings):
    quantiles = {}
    for name in ("knn", "pca", "range"):
        spec = {"name": name, **TWO, "calibrate": "tail"}
        scores = detectors.score_readings(
            detectors.fit(spec, readings, sensor="pump"), readings, sensor="pump"
        )
        quantiles[name] = np.nanquantile(scores, 0.9)

    assert max(quantiles.values()) - min(quantiles.values()) < 0.7
    assert 0.5 < np.mean(list(quantiles.values())) < 1.5


def test_a_threshold_for_a_probability_has_an_interval_around_it():
    scores = np.random.default_rng(1).exponential(size=5_000)

    threshold, low, high = detectors.threshold_for_probability(scores, 1e-4, block=20)

    assert low < threshold < high
    assert abs(threshold - -np.log(1e-4)) < 2
    middle, _, _ = detectors.threshold_for_probability(scores, 0.5, block=20, repeats=2)
    assert abs(middle - np.log(2)) < 0.05


@pytest.mark.parametrize("probability", [0, 1, float("nan")])
def test_a_probability_that_is_none_is_refused(probability):
    with pytest.raises(DetectorError) as caught:
        detectors.threshold_for_probability(np.arange(500.0), probability, block=1)

    assert str(caught.value) == f"the probability is {probability}, expected one between 0 and 1"


def test_too_short_a_span_to_calibrate_on_is_refused(readings):
    with pytest.raises(DetectorError) as caught:
        detectors.fit({"name": "knn", **TWO, "calibrate": "tail"}, readings[:200], sensor="pump")

    assert str(caught.value) == (
        "42 windows to calibrate on, at least 100 are needed\n"
        "  a longer span, a larger calibrate_share, or calibrate: none"
    )


MEMBERS = [{"name": "knn", "sample": 200}, {"name": "range", "window": 1, "channels": ["flow"]}]


def test_an_ensemble_is_the_weighted_mean_of_its_calibrated_members(readings):
    spec = {"name": "ensemble", **TWO, "members": MEMBERS}
    windows = detectors.sliding_windows(
        readings, sensor="pump", time="event_time", channels=TWO["channels"], window=8
    ).values

    def scores(**more):
        return detectors.fit(spec | more, readings, sensor="pump").score(windows)

    knn, within = scores(weights=[1, 0]), scores(weights=[0, 2])
    np.testing.assert_allclose(scores(weights=[1, 3]), (knn + 3 * within) / 4)
    np.testing.assert_allclose(scores(), (knn + within) / 2)
    np.testing.assert_allclose(scores(combine="max"), np.maximum(knn, within))
    np.testing.assert_allclose(scores(combine="max", weights=[0, 1]), within)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": []}, "members are [], expected a list of 1 to 20 specifications"),
        ({"weights": [1]}, "weights are [1.0], expected 2, not all 0"),
        ({"weights": [0, 0]}, "weights are [0.0, 0.0], expected 2, not all 0"),
        (
            {"members": [{"name": "ensemble"}]},
            "member {'name': 'ensemble'} is no specification of a single detector",
        ),
        (
            {"members": [{"name": "knn", "window": 9}]},
            "member knn needs window 9 of ['flow', 'pressure'], "
            "the ensemble has 8 of ['flow', 'pressure']",
        ),
        (
            {"members": [{"name": "knn", "missing": "fill"}]},
            "member knn has missing, max_span_s or refit other than the ensemble",
        ),
        (
            {"sample": 5},
            "detector ensemble has no parameter 'sample'\n"
            "  known: combine, max_span_s, members, missing, refit, weights, window",
        ),
    ],
)
def test_an_ensemble_that_does_not_fit_together_is_refused(change, message):
    with pytest.raises(DetectorError) as caught:
        detectors.resolve({"name": "ensemble", **TWO, "members": MEMBERS} | change)

    assert str(caught.value) == message
