import numpy as np
import pytest

from workbench import detectors, plant
from workbench.detectors import EpisodeRule
from workbench.detectors.refits.changing import by_sensor
from workbench.detectors.windows import index_windows
from workbench.errors import DetectorError

SPEC = {"name": "robust_z", "window": 3, "channels": ["flow"]}
HOURLY = {"every_h": 1, "trailing_h": 3}
ASKED = {"sensor": "pump", "alerts_per_sensor_day": 2, "rule": EpisodeRule()}


def test_refits_equal_fits_made_by_hand_on_what_had_arrived(readings):
    times = detectors.epoch_ms(readings["event_time"])

    replayed = detectors.replay_refits(SPEC | {"refit": HOURLY}, readings, **ASKED)

    hours = range(3, 10)
    assert [refit.row for refit in replayed.refits] == [120 * hour for hour in hours]
    for refit, hour in zip(replayed.refits, hours, strict=True):
        past = readings[(times >= (hour - 3) * 3_600_000) & (times < hour * 3_600_000)]
        by_hand = detectors.fit(SPEC, past, sensor="pump")
        expected = detectors.score_readings(by_hand, readings, sensor="pump")
        segment = slice(refit.row, refit.row + 120)
        np.testing.assert_array_equal(replayed.scores[segment], expected[segment])
        assert (replayed.thresholds[segment] == refit.threshold).all()
    assert np.isnan(replayed.scores[:360]).all()


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

    replayed = detectors.replay_refits(SPEC | {"refit": policy}, readings, first=300, **ASKED)

    assert [one.row for one in replayed.refits] == [300, 500, 700, 900, 1100]
    assert [len(one.trained) for one in replayed.refits] == [300, 400, 400, 400, 400]


def test_what_alarmed_is_left_out_unless_it_stays(readings):
    stepped = readings.copy()
    stepped.loc[500:560, "flow"] += 200
    stepped.loc[800:, "flow"] += 500
    policy = HOURLY | {"leave_out_alarmed": True}

    replayed = detectors.replay_refits(SPEC | {"refit": policy}, stepped, **ASKED)

    by_row = {one.row: set(one.trained.tolist()) for one in replayed.refits}
    assert not by_row[720] & set(range(500, 561))  # a short fault is not learnt
    assert not by_row[840] & set(range(800, 840))  # nor is a step at first
    assert set(range(840, 960)) <= by_row[960]  # one that stays is
    assert (replayed.scores[960:] < replayed.thresholds[960:]).all()


def test_a_change_is_learnt_from_at_the_next_fit_and_what_was_before_no_more(readings):
    stepped = readings.copy()
    stepped.loc[800:, "flow"] += 500
    policy = HOURLY | {"leave_out_alarmed": True, "change_h": 0.6}

    adapted = detectors.replay_refits(SPEC | {"refit": policy}, stepped, **ASKED)

    by_row = {fit.row: fit.trained for fit in adapted.refits}
    assert by_row[840].min() < 700  # by then it was an alarm as any
    assert not (by_row[840] >= 800).any()
    assert by_row[960].min() > 720  # pump b was in alarm shortly before the step already
    assert len(by_row[960]) > 150
    assert (adapted.scores[965:] < adapted.thresholds[965:]).mean() > 0.98


@pytest.mark.parametrize(
    ("alarms", "fits", "since"),
    [
        ([(4, 8)], [10], []),  # it went back before anybody fitted again
        ([(4, 8)], [8], [4, 8]),
        ([(4, 8)], [6], []),  # not long enough then
        ([(4, 8), (9, 12)], [12], []),  # each too short, and a pause between them
        ([(2, 8), (14, 20)], [8, 20], [14, 20]),  # the last change counts
        ([(2, 8), (14, 16)], [8, 17], [2, 8]),  # a short alarm after it is none
        ([(16, 20)], [20], [16, 20]),  # still on
    ],
)
def test_an_alarm_is_a_change_if_it_lasts_until_a_fit(alarms, fits, since):
    times = np.arange(20)
    alarm = np.zeros(20, dtype=bool)
    for start, stop in alarms:
        alarm[start:stop] = True
    expected = np.zeros(20, dtype=int)
    if since:
        expected[: since[0]], expected[since[0] : since[1]] = -1, 1

    said = detectors.since_change(times, np.array(["a"] * 20), alarm, np.array(fits), 4)

    assert said.tolist() == expected.tolist()


def test_a_change_after_which_too_little_has_come_waits_for_the_next_fit(readings):
    slow = readings.iloc[::10].reset_index(drop=True)
    slow.loc[80:, "flow"] += 500
    policy = HOURLY | {"leave_out_alarmed": True, "change_h": 0.5}
    spec = {"name": "knn", "window": 3, "channels": ["flow"], "refit": policy}

    adapted = detectors.replay_refits(spec, slow, **ASKED)

    trained = [fit.trained for fit in adapted.refits]
    assert any(rows.min() < 80 < rows.max() + 20 for rows in trained)
    assert all(len(rows) >= 10 for rows in trained)


def test_the_rows_of_each_sensor_are_by_time_and_those_of_none_are_left_out():
    times = np.array([5, 1, 4, 2, 3, 9])
    sensors = np.array(["b", "a", "a", "b", None, "a"], dtype=object)

    rows = by_sensor(times, sensors)

    assert [list(part) for part in rows] == [[3, 0], [1, 2, 5]]
    assert [list(part) for part in by_sensor(times[:0], sensors[:0])] == [[]]


@pytest.mark.slow
def test_after_a_level_shift_the_alarm_ends_and_later_faults_are_told():
    pump, _ = plant.simulate(pumps=1, days=12, seed=3, faults=False)
    times = detectors.epoch_ms(pump["event_time"])
    hours = (times - times.min()) / 3_600_000
    usual = pump[hours < 168].std(numeric_only=True)
    pump.loc[hours >= 175, "vibration_mm_s"] += 6 * usual["vibration_mm_s"]
    faults = {214: "bearing_temperature_c", 234: "flow_l_min", 253: "motor_current_a"}
    for begin, channel in faults.items():
        inside = (hours >= begin) & (hours < begin + 3)
        pump.loc[inside, channel] -= 4 * usual[channel]
    daily = {"every_h": 24, "trailing_h": 168}
    spec = {"name": "knn", "window": 10, "channels": list(plant.CHANNELS)}
    rule = EpisodeRule(3, 5, 10)

    def alarm(policy):
        adapted = detectors.replay_refits(
            {**spec, "refit": policy}, pump, sensor="pump", alerts_per_sensor_day=0.3, rule=rule
        )
        above = adapted.scores > adapted.thresholds
        return detectors.alarmed(times, pump["pump"].to_numpy(), above, rule)

    in_fault = np.any([(hours >= begin) & (hours < begin + 4) for begin in faults], axis=0)
    quiet = (hours >= 199) & ~in_fault  # from a day after the shift on
    endless = alarm({"every_h": 10_000, "trailing_h": 168})
    adapted = alarm(daily | {"leave_out_alarmed": True, "change_h": 12})
    assert endless[quiet].mean() > 0.9
    assert adapted[quiet].mean() < 0.05
    for begin in faults:
        assert adapted[(hours >= begin) & (hours < begin + 3)].any(), begin
        assert not adapted[(hours >= begin - 0.5) & (hours < begin)].any(), begin


def test_late_readings_are_neither_scored_nor_trained_on(readings):
    shuffled = readings.iloc[[*range(400), 100, *range(400, 1200)]].reset_index(drop=True)

    replayed = detectors.replay_refits(
        SPEC | {"refit": HOURLY}, shuffled, lateness_ms=60_000, **ASKED
    )

    assert np.isnan(replayed.scores[400])
    assert all(400 not in one.trained for one in replayed.refits)


def test_windows_join_across_readings_that_came_late(readings):
    late = readings.iloc[[*range(100), 3, *range(100, 1200)]].reset_index(drop=True)
    in_time = readings.reset_index(drop=True)

    replayed = detectors.replay_refits(SPEC | {"refit": HOURLY}, late, lateness_ms=60_000, **ASKED)

    wanted = detectors.replay_refits(SPEC | {"refit": HOURLY}, in_time, lateness_ms=60_000, **ASKED)
    np.testing.assert_array_equal(np.delete(replayed.scores, 100), wanted.scores)
    np.testing.assert_array_equal(np.delete(replayed.thresholds, 100), wanted.thresholds)
    assert len(replayed.refits[0].trained) == len(wanted.refits[0].trained)


def test_a_specification_without_a_policy_is_not_replayed(readings):
    with pytest.raises(DetectorError) as caught:
        detectors.replay_refits(SPEC, readings, **ASKED)

    assert str(caught.value) == (
        "detector robust_z declares no refit policy\n  refit: {every_h: 24, trailing_h: 168}"
    )


def test_a_policy_that_refits_without_end_is_refused_before_the_first_fit(readings):
    policy = {"every_h": 1e-9, "trailing_h": 1}
    far = readings.copy()
    far.loc[len(far) - 1, "event_time"] += np.timedelta64(365, "D")

    with pytest.raises(DetectorError) as caught:
        detectors.replay_refits(SPEC | {"refit": policy}, far, **ASKED)

    assert str(caught.value) == (
        "the refit policy asks for 3.16e+10 fits of this span, at most 1,000,000\n"
        "  a longer every_h, or more every_readings"
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
        {"every_h": 1, "trailing_h": 5, "threshold_only": "yes"},
        {"every_h": 1, "trailing_h": 5, "also": 1},
    ],
)
def test_a_policy_that_does_not_say_how_often_is_refused(policy):
    with pytest.raises(DetectorError) as caught:
        detectors.resolve(SPEC | {"refit": policy})

    assert str(caught.value) == (
        f"refit is {policy!r}, expected every_h and trailing_h, or every_readings and "
        "trailing_readings, numbers > 0; and may be leave_out_alarmed, true or false, and "
        "change_h, a number > 0; or threshold_only, true or false, and then carry_over, "
        "a number > 0"
    )


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"leave_out_alarmed": True}, "leave_out_alarmed"),
        ({"leave_out_alarmed": True, "change_h": 2}, "leave_out_alarmed and change_h"),
    ],
)
def test_a_threshold_bought_alone_leaves_out_no_alarm(more, named):
    with pytest.raises(DetectorError) as caught:
        detectors.resolve(SPEC | {"refit": {**HOURLY, "threshold_only": True, **more}})

    assert str(caught.value) == (
        f"refit has threshold_only and {named}: what alarmed is not learnt from, and with "
        "threshold_only nothing is; the threshold is bought by all that nobody called a fault\n"
        "  leave out one of them"
    )


def test_a_threshold_alone_is_bought_on_what_the_first_detector_scored_since(readings):
    policy = HOURLY | {"threshold_only": True}
    times = detectors.epoch_ms(readings["event_time"])
    event = np.zeros(len(readings), dtype=np.bool_)
    event[590:601] = True

    replayed = detectors.replay_refits(SPEC | {"refit": policy}, readings, in_event=event, **ASKED)

    first = replayed.refits[0]
    for refit, hour in zip(replayed.refits[1:], range(4, 10), strict=True):
        assert refit.detector is first.detector
        past = (times >= max(3, hour - 3) * 3_600_000) & (times < hour * 3_600_000)
        index = index_windows(
            readings[past], sensor="pump", time="event_time", channels=["flow"], window=3
        )
        scores = np.full(past.sum(), np.nan)
        index.score(first.detector, index.within(~event[past]), scores)
        quiet = ~event[past]
        assert refit.threshold == detectors.threshold_for_budget(
            times[past][quiet], readings["pump"].to_numpy()[past][quiet], scores[quiet],
            alerts_per_sensor_day=2, rule=EpisodeRule(),
        )  # fmt: skip
        assert (replayed.thresholds[refit.row : refit.row + 120] == refit.threshold).all()
    assert len({refit.threshold for refit in replayed.refits}) > 3
    alone = detectors.score_readings(first.detector, readings, sensor="pump")
    np.testing.assert_array_equal(replayed.scores[first.row :], alone[first.row :])


def test_a_threshold_stays_while_less_than_a_third_of_the_span_came_after_the_fit(readings):
    policy = {"every_h": 0.5, "trailing_h": 3, "threshold_only": True}

    replayed = detectors.replay_refits(SPEC | {"refit": policy}, readings, **ASKED)

    first, early, enough = replayed.refits[:3]
    assert early.threshold == first.threshold  # half an hour of three
    assert enough.threshold != first.threshold
    with pytest.raises(DetectorError) as caught:
        detectors.buy_again(
            first.detector, readings[:360], sensor="pump", left_out=np.zeros(360, dtype=np.bool_),
            terms=detectors.Terms(2, EpisodeRule()), fresh=np.arange(360) >= 300,
        )  # fmt: skip
    assert str(caught.value) == (
        "of 360 readings of the trailing span 60 came after those that the detector was fitted on "
        "and are of no known event, at least 33% must be to buy a threshold\n"
        "  later, when more has come; or a shorter span"
    )


def test_without_a_budget_no_threshold_is_bought_and_the_first_detector_scores(readings):
    spec = SPEC | {"refit": HOURLY | {"threshold_only": True}}
    asked = {"sensor": "pump", "alerts_per_sensor_day": None}

    replayed = detectors.replay_refits(spec, readings, **asked)

    with_budget = detectors.replay_refits(spec, readings, **ASKED)
    np.testing.assert_array_equal(replayed.scores, with_budget.scores)
    assert np.isnan(replayed.thresholds).all()
    with pytest.raises(DetectorError) as caught:
        detectors.buy_again(
            replayed.refits[0].detector, readings, sensor="pump",
            terms=detectors.Terms(None, EpisodeRule()),
            left_out=np.zeros(len(readings), dtype=np.bool_),
            fresh=np.ones(len(readings), dtype=np.bool_),
        )  # fmt: skip
    assert str(caught.value) == "a threshold is bought by an alert budget, and there is none"


def test_without_a_budget_there_are_the_same_scores_and_no_thresholds(readings):
    spec = SPEC | {"refit": HOURLY}
    asked = {"sensor": "pump", "alerts_per_sensor_day": None}

    replayed = detectors.replay_refits(spec, readings, **asked)

    with_budget = detectors.replay_refits(spec, readings, **ASKED)
    np.testing.assert_array_equal(replayed.scores, with_budget.scores)
    assert np.isnan(replayed.thresholds).all()
    with pytest.raises(DetectorError) as caught:
        detectors.replay_refits(
            SPEC | {"refit": HOURLY | {"leave_out_alarmed": True}}, readings, **asked
        )
    assert str(caught.value) == (
        "leave_out_alarmed needs an alert budget: without one nothing alarms"
    )


@pytest.mark.parametrize("method", [{"name": "robust_z"}, {"name": "knn", "n_neighbors": 1}])
@pytest.mark.slow
def test_a_threshold_is_bought_out_of_sample(readings, method):
    spec = {**method, "window": 3, "channels": ["flow", "pressure"], "refit": HOURLY}

    replayed = detectors.replay_refits(spec, readings, **ASKED)

    times = detectors.epoch_ms(readings["event_time"])
    assert all(one.threshold > 0.01 for one in replayed.refits)
    above = replayed.scores > replayed.thresholds
    assert 0 < above[360:].mean() < 0.3  # the plant's wave is longer than the trailing span
    last = replayed.refits[-1]
    past = readings.iloc[last.trained]
    cut = detectors.before_instant(times[last.trained], int(len(past) * 2 / 3))
    trial = detectors.fit(spec, past[:cut], sensor="pump")
    scores = detectors.score_readings(trial, past, sensor="pump")[cut:]
    assert last.threshold == detectors.threshold_for_budget(
        times[last.trained][cut:], past["pump"][cut:], scores, alerts_per_sensor_day=2,
        rule=EpisodeRule(),
    )  # fmt: skip


def test_readings_of_known_events_are_scored_and_never_learnt_from(readings):
    in_event = np.zeros(len(readings), dtype=bool)
    in_event[400:500] = True

    replayed = detectors.replay_refits(
        SPEC | {"refit": HOURLY}, readings, in_event=in_event, **ASKED
    )

    assert np.isfinite(replayed.scores[400:500]).all()
    assert all(not in_event[one.trained].any() for one in replayed.refits)


def test_auto_is_chosen_at_the_first_fit_and_refitted_as_it_is(readings):
    spec = {"name": "auto", "window": 8, "refit": {"every_h": 3, "trailing_h": 6}}

    found = detectors.replay_refits(spec, readings, **ASKED)

    specs = [one.detector.spec for one in found.refits]
    assert len(specs) > 1
    assert all(one == specs[0] for one in specs)
    assert specs[0]["name"] != "auto"
    assert specs[0]["refit"] == spec["refit"]
