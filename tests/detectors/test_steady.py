"""A machine that stops and starts: windows across a change of its state have no score."""

import numpy as np
import pandas as pd
import pytest

from workbench import detectors
from workbench.detectors import EpisodeRule
from workbench.detectors.choosing.operating import find_states
from workbench.detectors.refits.adaptation import replay_refits
from workbench.errors import DetectorError

CHANNELS = ["current_a", "flow_l_min", "temperature_c"]
STEADY = {"channel": "current_a", "splits": [2.0]}
SPEC = {"name": "knn", "window": 8, "channels": CHANNELS, "steady": STEADY}
RULE = EpisodeRule(3, 5, 10)


def pump(readings=6000, *, seed=1, dwell=(150, 350), idle=False):
    """Off and at load by turns; flow follows the current, and temperature both, slowly."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(*dwell, size=readings // dwell[0] + 2)
    state = np.repeat(np.arange(len(lengths)) % (3 if idle else 2), lengths)[:readings]
    load = 9 + np.sin(2 * np.pi * np.arange(readings) / 1440) + rng.normal(0, 0.1, readings)
    current = np.choose(state, [np.zeros(readings), load, np.full(readings, 4.0)][: 2 + idle])
    warm, temperature = 20.0, np.empty(readings)
    for row in range(readings):
        warm += (20 + 3 * current[row] - warm) / 15
        temperature[row] = warm
    noise = rng.normal(0, [0.05, 0.5, 0.2], (readings, 3))
    values = np.stack([current, 40 * np.maximum(current - 5, 0), temperature], axis=1) + noise
    frame = pd.DataFrame(values, columns=CHANNELS)
    frame.insert(0, "pump", "p")
    frame.insert(
        0, "event_time", pd.date_range("2026-01-05", periods=readings, freq="min", tz="UTC")
    )
    return frame, state


def steady_rows(frame, window, splits=(2.0,)):
    """Where, slowly, the last `window` readings of the current are all of one state."""
    states = np.searchsorted(splits, frame["current_a"].to_numpy(), side="right")
    return np.array(
        [
            row >= window - 1 and len(set(states[row - window + 1 : row + 1])) == 1
            for row in range(len(frame))
        ]
    )


@pytest.fixture(scope="module")
def learnt():
    frame, _ = pump(2000)
    return frame, detectors.fit(SPEC, frame, sensor="pump")


def test_windows_across_a_change_are_neither_scored_nor_learnt_from(learnt):
    frame, detector = learnt

    scores = detectors.score_readings(detector, frame, sensor="pump")

    steady = steady_rows(frame, 8)
    np.testing.assert_array_equal(np.isfinite(scores), steady)
    assert 0.9 < steady.mean() < 1
    assert detector.states.steady(detector.golden).all()
    bare = detectors.fit({**SPEC, "steady": None}, frame, sensor="pump")
    assert np.isfinite(detectors.score_readings(bare, frame, sensor="pump")).sum() > steady.sum()
    assert "steady" not in bare.spec
    assert bare.states is None


def test_a_package_keeps_its_states_and_refuses_others(learnt, tmp_path):
    _, detector = learnt
    detectors.save(detector, tmp_path / "p", threshold=1.0, rule=RULE, training={})

    package = detectors.load(tmp_path / "p")

    assert package.spec["steady"] == STEADY
    assert package.detector.states == detector.states


def test_a_missing_reading_is_of_no_state_and_a_window_of_none_has_no_score():
    frame, _ = pump(2000)
    spec = {**SPEC, "missing": "fill"}
    detector = detectors.fit(spec, frame, sensor="pump")
    windows = np.full((4, 8, 3), [9.0, 160.0, 47.0])
    windows[1, 3, 0] = np.nan  # between two of one state
    windows[2, 3, 0] = 0.0
    windows[3, :, 0] = np.nan

    scores = detectors.score_windows(detector, windows)

    assert np.isfinite(scores).tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"steady": {"channel": "amps", "splits": [2.0]}},
            "steady is {'channel': 'amps', 'splits': [2.0]}, expected channel, one of current_a, "
            "flow_l_min, temperature_c, and splits, 1 to 8 numbers, each larger than the one "
            "before",
        ),
        ({"steady": {**STEADY, "splits": []}}, "steady is {'channel': 'current_a', 'splits': []}"),
        ({"steady": {**STEADY, "splits": [2, 2]}}, "steady is "),
        ({"steady": {**STEADY, "splits": [float("nan")]}}, "steady is "),
        ({"steady": {**STEADY, "splits": [float("inf")]}}, "steady is "),
        ({"steady": {**STEADY, "splits": [10**400]}}, "steady is "),
        ({"steady": {**STEADY, "splits": [True]}}, "steady is "),
        ({"steady": {"channel": ["current_a"], "splits": [2]}}, "steady is "),
        ({"steady": {**STEADY, "for_s": 9}}, "steady is "),
        ({"steady": "current_a"}, "steady is 'current_a', expected channel, "),
        (
            {"level": "sensor"},
            "steady and level: sensor do not go together: the splits are in the channel's unit, "
            "which a level takes from it",
        ),
        (
            {"name": "ensemble", "steady": None, "members": [{"name": "knn", "steady": STEADY}]},
            "member 'knn' has a steady of its own",
        ),
        ({"name": "auto", "window": 8}, "detector auto has no parameter 'steady'"),
    ],
)
def test_states_that_are_none_are_refused_by_name(changes, message):
    with pytest.raises(DetectorError) as caught:
        detectors.resolve({**SPEC, **changes})

    assert caught.value.message.startswith(message)


def test_an_ensemble_looks_back_over_its_own_window_whatever_its_members_see():
    frame, _ = pump(4000)
    spec = {
        "name": "ensemble", "window": 30, "channels": CHANNELS, "steady": STEADY,
        "members": [{"name": "knn", "window": 4}, {"name": "reconstruction", "window": 8}],
    }  # fmt: skip
    detector = detectors.fit(spec, frame, sensor="pump")

    scores = detectors.score_readings(detector, frame, sensor="pump")

    np.testing.assert_array_equal(np.isfinite(scores), steady_rows(frame, 30))


def test_a_replayed_schedule_keeps_the_states():
    frame, _ = pump(4000)
    policy = {"every_h": 12, "trailing_h": 36}

    adapted = replay_refits(
        {**SPEC, "refit": policy}, frame, sensor="pump", alerts_per_sensor_day=1, rule=RULE
    )

    assert len(adapted.refits) > 1
    assert all(refit.detector.spec["steady"] == STEADY for refit in adapted.refits)
    steady = steady_rows(frame, 8)[adapted.refits[0].row :]
    np.testing.assert_array_equal(np.isfinite(adapted.scores[adapted.refits[0].row :]), steady)


def states_in(frame):
    """What the readings of one machine show, of which the first 60 % must show all of it."""
    names = ["current_a"]
    codes = np.zeros(len(frame), dtype=np.int64)
    return find_states(names, frame[names].to_numpy(), codes, 64, 0.6)


def test_states_are_found_where_a_channel_has_them_again_and_again():
    two, three = (states_in(pump(idle=idle)[0]) for idle in (False, True))

    assert two["channel"] == three["channel"] == "current_a"
    assert [round(split) for split in two["splits"]] == [4]
    assert [round(split) for split in three["splits"]] == [2, 6]


def test_a_machine_that_changed_once_or_all_the_time_has_no_states():
    frame, _ = pump()
    once = frame.assign(current_a=np.where(np.arange(len(frame)) > 3000, 9.0, 0.0))
    flicker, _ = pump(dwell=(10, 30))
    running = frame[(frame["current_a"] > 2)]

    assert states_in(once) is None
    assert states_in(flicker) is None
    assert states_in(running) is None


def test_states_are_each_machines_own():
    frame, _ = pump()
    values = np.concatenate([frame[CHANNELS].to_numpy()] * 2)
    codes = np.repeat([0, 1], len(frame))
    once = values.copy()
    once[:, 0] = codes * 9.0  # one always off, one always on

    assert find_states(CHANNELS, values, codes, 64, 0.6)["channel"] == "current_a"
    assert find_states(CHANNELS[:1], once[:, :1], codes, 64, 0.6) is None


@pytest.mark.slow
def test_auto_finds_a_fault_at_load_of_a_machine_that_stops_and_starts():
    frame, state = pump(9000)
    late = np.flatnonzero((state == 1) & (np.arange(len(state)) > 6000))
    run = late[late > 7000]
    begin = run[0] + 90
    assert (state[begin - 90 : begin + 40] == 1).sum() >= 40
    frame.loc[begin : begin + 59, "flow_l_min"] -= 25

    chosen = detectors.auto(frame[:6000], sensor="pump", alerts_per_sensor_day=0.3, rule=RULE)

    assert chosen.spec["steady"]["channel"] == "current_a"
    assert "the machine's states" in chosen.choice.card().text()
    scores = detectors.score_readings(chosen.detector, frame, sensor="pump")
    above = scores[6000:] > chosen.threshold
    assert above[begin - 6000 : begin - 5940].sum() >= 3
