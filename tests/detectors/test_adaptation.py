import numpy as np
import pytest

from workbench import detectors
from workbench.detectors import EpisodeRule
from workbench.errors import DetectorError

SPEC = {"name": "robust_z", "window": 3, "channels": ["flow"]}
HOURLY = {"every_h": 1, "trailing_h": 3}
ASKED = {"sensor": "pump", "alerts_per_sensor_day": 2, "rule": EpisodeRule()}


def test_refits_equal_fits_made_by_hand_on_what_had_arrived(readings):
    times = detectors.epoch_ms(readings["event_time"])

    found = detectors.replay_refits(SPEC | {"refit": HOURLY}, readings, **ASKED)

    hours = range(3, 10)
    assert [one.row for one in found.refits] == [120 * hour for hour in hours]
    for one, hour in zip(found.refits, hours, strict=True):
        past = readings[(times >= (hour - 3) * 3_600_000) & (times < hour * 3_600_000)]
        by_hand = detectors.fit(SPEC, past, sensor="pump")
        expected = detectors.score_readings(by_hand, readings, sensor="pump")
        segment = slice(one.row, one.row + 120)
        np.testing.assert_array_equal(found.scores[segment], expected[segment])
        assert (found.thresholds[segment] == one.threshold).all()
    assert np.isnan(found.scores[:360]).all()


def test_what_comes_later_changes_no_earlier_score(readings):
    spec = SPEC | {"refit": HOURLY | {"leave_out_alarmed": True}}
    whole = detectors.replay_refits(spec, readings, **ASKED)
    changed = readings.copy()
    changed.loc[700:, "flow"] *= 3

    cut = detectors.replay_refits(spec, changed, **ASKED)

    np.testing.assert_array_equal(cut.scores[:700], whole.scores[:700])
    np.testing.assert_array_equal(cut.thresholds[:700], whole.thresholds[:700])
    assert (cut.scores[720:] != whole.scores[720:]).any()


def test_a_policy_by_readings_refits_every_so_many(readings):
    policy = {"every_readings": 200, "trailing_readings": 400}

    found = detectors.replay_refits(SPEC | {"refit": policy}, readings, first=300, **ASKED)

    assert [one.row for one in found.refits] == [300, 500, 700, 900, 1100]
    assert [len(one.trained) for one in found.refits] == [300, 400, 400, 400, 400]


def test_what_alarmed_is_left_out_unless_it_stays(readings):
    stepped = readings.copy()
    stepped.loc[500:560, "flow"] += 200
    stepped.loc[800:, "flow"] += 500
    policy = HOURLY | {"leave_out_alarmed": True}

    found = detectors.replay_refits(SPEC | {"refit": policy}, stepped, **ASKED)

    by_row = {one.row: set(one.trained.tolist()) for one in found.refits}
    assert not by_row[600] & set(range(500, 561))  # a short fault is not learnt
    assert set(range(840, 960)) <= by_row[1080]  # a step that stays is


def test_late_readings_are_neither_scored_nor_trained_on(readings):
    shuffled = readings.iloc[[*range(400), 100, *range(400, 1200)]].reset_index(drop=True)

    found = detectors.replay_refits(SPEC | {"refit": HOURLY}, shuffled, lateness_ms=60_000, **ASKED)

    assert np.isnan(found.scores[400])
    assert all(400 not in one.trained for one in found.refits)


def test_a_specification_without_a_policy_is_not_replayed(readings):
    with pytest.raises(DetectorError) as caught:
        detectors.replay_refits(SPEC, readings, **ASKED)

    assert str(caught.value) == (
        "detector robust_z declares no refit policy\n  refit: {every_h: 24, trailing_h: 168}"
    )


@pytest.mark.parametrize(
    "policy",
    [
        [],
        {},
        {"every_h": 1},
        {"every_h": 1, "trailing_readings": 5},
        {"every_h": 0, "trailing_h": 5},
        {"every_h": True, "trailing_h": 5},
        {"every_h": 1, "trailing_h": 5, "leave_out_alarmed": 1},
        {"every_h": 1, "trailing_h": 5, "also": 1},
    ],
)
def test_a_policy_that_does_not_say_how_often_is_refused(policy):
    with pytest.raises(DetectorError) as caught:
        detectors.resolve(SPEC | {"refit": policy})

    assert str(caught.value) == (
        f"refit is {policy!r}, expected every_h and trailing_h, or every_readings and "
        "trailing_readings, numbers > 0, and leave_out_alarmed true or false"
    )


def test_without_a_budget_there_are_the_same_scores_and_no_thresholds(readings):
    spec = SPEC | {"refit": HOURLY}
    asked = {"sensor": "pump", "alerts_per_sensor_day": None}

    found = detectors.replay_refits(spec, readings, **asked)

    with_budget = detectors.replay_refits(spec, readings, **ASKED)
    np.testing.assert_array_equal(found.scores, with_budget.scores)
    assert np.isnan(found.thresholds).all()
    with pytest.raises(DetectorError) as caught:
        detectors.replay_refits(
            SPEC | {"refit": HOURLY | {"leave_out_alarmed": True}}, readings, **asked
        )
    assert str(caught.value) == (
        "leave_out_alarmed needs an alert budget: without one nothing alarms"
    )
