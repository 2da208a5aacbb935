"""The order of lines is not the order of time: whatever is cut, is cut by time."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import detectors
from workbench.errors import EvaluationError
from workbench.evaluation import causal_scores, evaluate

SPEC = {"name": "robust_z", "window": 3, "channels": ["bar"]}
REFIT = {"every_h": 1, "trailing_h": 3}
PUMPS = ["p1", "p2", "p3", "p4"]
FAULT = range(300, 320)


def readings():
    """Four pumps, a reading a minute each, all of them wrong for the same twenty minutes."""
    minute, rng = np.repeat(np.arange(400), 4), np.random.default_rng(1)
    return pd.DataFrame(
        {
            "pump": PUMPS * 400,
            "time": pd.Timestamp("2026-01-05", tz="UTC") + pd.to_timedelta(minute, unit="min"),
            "bar": 10 + rng.normal(0, 0.1, 1600) + np.where(np.isin(minute, FAULT), 5, 0),
        }
    )


FRAME = readings()
LABELS = pd.DataFrame(
    {
        "sensor": PUMPS,
        "start": pd.Timestamp("2026-01-05T05:00", tz="UTC"),
        "stop": pd.Timestamp("2026-01-05T05:20", tz="UTC"),
        "kind": "",
    }
)
ORDERS = {
    "sensor after sensor": FRAME.sort_values("pump", kind="stable").index,
    "newest first": FRAME.index[::-1],
    "mixed": np.random.default_rng(5).permutation(len(FRAME)),
}


@pytest.mark.parametrize("rows", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("spec", [SPEC, SPEC | {"refit": REFIT}], ids=["once", "refitted"])
@pytest.mark.slow
def test_a_file_is_judged_alike_in_whatever_order_its_lines_stand(rows, spec):
    asked = {"sensor": "pump", "time": "time", "alerts_per_sensor_day": 1}
    in_time = evaluate(spec, FRAME, LABELS, **asked)

    other = evaluate(spec, FRAME.loc[rows], LABELS, **asked)

    assert (in_time.report.events, in_time.report.found) == (4, 4)
    assert (other.report.events, other.report.found) == (4, 4)
    assert (other.span, other.threshold) == (in_time.span, in_time.threshold)
    assert pd.DataFrame(other.rows).equals(pd.DataFrame(in_time.rows))
    np.testing.assert_array_equal(other.scores, in_time.scores[rows])


@pytest.mark.parametrize("name", ["knn", "iforest", "ecod"])
@given(seed=st.integers(0, 1000))
@settings(max_examples=5)
@pytest.mark.slow
def test_a_fit_is_the_same_in_whatever_order_the_readings_stand(name, seed):
    spec = {**SPEC, "name": name, "sample": 50, "calibrate": "tail"}
    asked = {"sensor": "pump", "time": "time", "seed": 3}
    rows = np.random.default_rng(seed).permutation(len(FRAME))
    keep = FRAME["bar"].to_numpy() < 12

    in_time = detectors.fit(spec, FRAME, keep=keep, **asked)
    other = detectors.fit(spec, FRAME.iloc[rows], keep=keep[rows], **asked)

    for key, array in in_time.state.items():
        np.testing.assert_array_equal(other.state[key], array, err_msg=key)


def test_refits_are_the_same_in_whatever_order_the_readings_stand():
    rows = ORDERS["newest first"]
    asked = {"sensor": "pump", "time": "time", "alerts_per_sensor_day": 1}
    in_time = detectors.replay_refits(SPEC | {"refit": REFIT}, FRAME, **asked)

    other = detectors.replay_refits(SPEC | {"refit": REFIT}, FRAME.loc[rows], **asked)

    np.testing.assert_array_equal(other.scores, in_time.scores[rows])
    np.testing.assert_array_equal(other.thresholds, in_time.thresholds[rows])
    for one, twin in zip(other.refits, in_time.refits, strict=True):
        assert set(rows[one.trained]) == set(twin.trained)
        assert FRAME["time"][rows[one.row]] == FRAME["time"][twin.row]


def test_an_instant_is_learnt_from_as_a_whole_or_not_at_all():
    scores = causal_scores(SPEC, FRAME, learn=802, sensor="pump", time="time")

    assert np.isnan(scores[:800]).all()
    assert np.isfinite(scores[800:]).all()


def test_readings_of_one_instant_leave_nothing_to_learn_from():
    alike = FRAME.assign(time=FRAME["time"].iloc[0])

    with pytest.raises(EvaluationError) as error:
        causal_scores(SPEC, alike, learn=100, sensor="pump", time="time")

    assert str(error.value) == ("all readings are of one instant, so none is left to learn from")
