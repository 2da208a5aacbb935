"""A threshold hears what people said of earlier alerts."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import detectors
from workbench.detectors.refits.answered import MISSED, Answered, raised
from workbench.errors import DetectorError

RULE = detectors.EpisodeRule()
NOBODY = -1


def heard(scores, faults, usual, threshold=1.0):
    """The threshold after answers about single readings of one sensor."""
    n = len(scores)
    numbers = [np.full(n, NOBODY) for _ in range(2)]
    for rows, into in zip((faults, usual), numbers, strict=True):
        into[rows] = np.arange(len(rows))
    return raised(
        threshold, np.arange(n) * 1000, np.array(["a"] * n), np.array(scores, dtype=float),
        Answered(*numbers), RULE,
    )  # fmt: skip


def test_what_was_false_is_silent_and_what_was_a_fault_is_still_told():
    assert heard([0, 2, 0, 3, 0, 9, 0], faults=[5], usual=[1, 3]) == 3.0


def test_without_answers_the_threshold_stays_what_the_budget_buys():
    assert heard([0, 2, 0, 3, 0, 9, 0], faults=[], usual=[]) == 1.0


def test_a_fault_is_not_given_up_for_a_few_false_alarms():
    scores = [0, 5, 0, 6, 0, 7, 0, 3, 0]

    assert heard(scores, faults=[7], usual=[1, 3, 5]) == 1.0
    assert heard([*scores, 8, 0, 9, 0], faults=[7], usual=[1, 3, 5, 9, 11]) == 9.0


def test_of_ten_false_alarms_the_one_that_is_like_no_other_is_not_chased():
    scores = [value for one in range(10) for value in (0, 2 + one / 10)]

    assert heard([*scores, 0], faults=[], usual=list(range(1, 20, 2))) == 2.8
    assert heard([*scores[:-1], 99, 0], faults=[], usual=list(range(1, 20, 2))) == 2.8


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("ftn")), min_size=1, max_size=60))
def test_no_threshold_among_the_false_alarms_costs_less(rows):
    scores = [float(value) for pair in rows for value in (pair[0], 0)]
    faults = [2 * row for row, pair in enumerate(rows) if pair[1] == "t"]
    usual = [2 * row for row, pair in enumerate(rows) if pair[1] == "f"]

    def cost(threshold):
        lost = sum(1 < scores[row] <= threshold for row in faults)
        return MISSED * lost + max(0, sum(scores[row] > threshold for row in usual)
                                   - len(usual) // 10)  # fmt: skip

    threshold = heard(scores, faults, usual)

    assert threshold >= 1.0
    assert cost(threshold) == min(
        map(cost, [1.0, *(scores[row] for row in usual if scores[row] > 1)])
    )


def test_a_refit_learns_from_a_false_alarm_and_not_from_a_fault():
    rng = np.random.default_rng(3)
    n = 3000
    frame = pd.DataFrame(
        {
            "pump": "a",
            "event_time": pd.date_range("2026-01-05", periods=n, freq="min", tz="UTC"),
            "flow": rng.normal(size=n),
        }
    )
    faults, usual = np.full(n, NOBODY), np.full(n, NOBODY)
    frame.loc[500:520, "flow"] += 30
    faults[500:521] = 0
    frame.loc[1000:1010, "flow"] += 12
    usual[1000:1011] = 0
    spec = {"name": "robust_z", "window": 4, "channels": ["flow"]}
    asked = {"sensor": "pump", "alerts_per_sensor_day": 2.0, "rule": RULE}
    keep = faults < 0

    fitted, threshold = detectors.fit_with_threshold(spec, frame, keep=keep, **asked)
    again, higher = detectors.fit_with_threshold(
        spec, frame, keep=keep, answered=Answered(faults, usual), **asked
    )

    scores = detectors.score_readings(again, frame, sensor="pump")
    assert threshold < scores[1000:1011].max() < 1.2 * higher
    assert higher < scores[500:521].max()
    for name, array in fitted.state.items():
        np.testing.assert_array_equal(again.state[name], array)


def test_a_trial_that_answers_leave_nothing_to_learn_says_that_it_is_the_answers():
    n = 300
    frame = pd.DataFrame(
        {
            "pump": "a",
            "event_time": pd.date_range("2026-01-05", periods=n, freq="10min", tz="UTC"),
            "flow": np.random.default_rng(3).normal(size=n),
        }
    )
    usual = np.where(np.arange(n) < 200, 0, NOBODY)
    spec = {"name": "robust_z", "window": 8, "channels": ["flow"]}

    with pytest.raises(DetectorError) as error:
        detectors.fit_with_threshold(
            spec, frame, sensor="pump", alerts_per_sensor_day=2.0, rule=RULE,
            answered=Answered(np.full(n, NOBODY), usual),
        )  # fmt: skip

    assert str(error.value) == (
        "0 training windows of 8 readings, 10 are needed: of 200 readings of the first two thirds "
        "200 lie in alerts that were answered `false`, which the trial that buys the threshold "
        "does not learn\n  a longer span; or withdraw such answers, if they cover what is no alert"
    )


def test_a_fit_of_readings_that_are_left_out_says_how_many(readings):
    keep = np.arange(len(readings)) < 5

    with pytest.raises(DetectorError) as error:
        detectors.fit_with_threshold(
            {"name": "robust_z", "window": 8, "channels": ["flow"]}, readings, sensor="pump",
            keep=keep, alerts_per_sensor_day=2.0, rule=RULE,
        )  # fmt: skip

    assert error.value.hint.startswith(
        f"from {len(readings)} readings, {len(readings) - 5} of them left out: a longer span, "
    )


@pytest.mark.parametrize("answered", [None, Answered(np.full(300, NOBODY), np.full(300, NOBODY))])
def test_nobody_answered_is_as_if_nobody_was_asked(answered):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "pump": "a",
            "event_time": pd.date_range("2026-01-05", periods=300, freq="10min", tz="UTC"),
            "flow": rng.normal(size=300),
        }
    )
    spec = {"name": "robust_z", "window": 4, "channels": ["flow"]}

    _, threshold = detectors.fit_with_threshold(
        spec, frame, sensor="pump", alerts_per_sensor_day=2.0, rule=RULE, answered=answered
    )

    assert threshold == pytest.approx(2.2, abs=1.5)
