from collections import defaultdict, deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.detectors import (
    EpisodeRule,
    budget_interval,
    episodes,
    epoch_ms,
    threshold_for_budget,
)
from workbench.errors import DetectorError

RULES = [
    EpisodeRule(),
    EpisodeRule(2, 3, 1),
    EpisodeRule(1, 3, 1),
    EpisodeRule(2, 4, 5),
    EpisodeRule(3, 3, 2),
]


def naive_episodes(times_ms, sensors, scores, threshold, rule):
    """Return (sensor, start, peak time, stop, peak score, readings) by sensor and start."""
    by_sensor = defaultdict(list)
    for time, sensor, score in zip(times_ms, sensors, scores, strict=True):
        by_sensor[sensor].append((time, score))
    return sorted(
        one
        for sensor, readings in by_sensor.items()
        for one in _of_sensor(sensor, sorted(readings, key=lambda r: r[0]), threshold, rule)
    )


def _of_sensor(sensor, readings, threshold, rule):
    last_n, quiet, current, ended = deque(maxlen=rule.n), 0, [], []
    for time, score in readings:
        above = bool(score > threshold)
        last_n.append(above)
        quiet = 0 if above else quiet + 1
        if sum(last_n) >= rule.k or (current and quiet < rule.m):
            current.append((time, score))
        elif current:
            ended.append(_episode(sensor, current, time))
            current = []
    if current:
        ended.append(_episode(sensor, current, current[-1][0] + 1))
    return ended


def _episode(sensor, readings, stop):
    peak_time, peak = max(
        ((t, s) for t, s in readings if not np.isnan(s)), key=lambda one: (one[1], -one[0])
    )
    return sensor, readings[0][0], peak_time, stop, peak, len(readings)


@st.composite
def scored(draw):
    n = draw(st.integers(0, 80))
    score = st.one_of(st.integers(0, 3).map(float), st.just(float("nan")))
    times = draw(st.lists(st.integers(0, 10**6), min_size=n, max_size=n, unique=True))
    sensors = draw(st.lists(st.sampled_from("ab"), min_size=n, max_size=n))
    scores = draw(st.lists(score, min_size=n, max_size=n))
    return np.array(times, np.int64), sensors, np.array(scores, float)


@settings(max_examples=200)
@given(scored(), st.sampled_from(RULES))
@pytest.mark.slow
def test_episodes_are_those_of_the_slow_twin(given, rule):
    frame = episodes(*given, 1.0, rule)

    rows = zip(
        frame["sensor"],
        *(epoch_ms(frame[name]).tolist() for name in ("start", "peak_time", "stop")),
        frame["peak_score"],
        frame["readings"],
        strict=True,
    )
    assert sorted(rows) == naive_episodes(*given, 1.0, rule)


def test_an_alarm_at_the_end_is_still_open():
    found = episodes(np.array([0, 60_000]), ["a", "a"], np.array([0.0, 9.0]), 1.0, EpisodeRule())

    assert epoch_ms(found["stop"]).tolist() == [60_001]


@pytest.mark.parametrize("rule", RULES)
def test_the_threshold_keeps_within_the_budget_and_the_next_lower_score_does_not(rule):
    rng = np.random.default_rng(7)
    times = np.repeat(np.arange(2_000) * 60_000, 2)
    sensors = np.tile(["a", "b"], 2_000)
    scores = rng.normal(size=4_000)
    days = 2 * 1999 / 1440

    threshold = threshold_for_budget(times, sensors, scores, alerts_per_sensor_day=5, rule=rule)

    lower = np.sort(scores)[np.searchsorted(np.sort(scores), threshold) - 1]
    assert len(episodes(times, sensors, scores, threshold, rule)) <= 5 * days
    assert len(episodes(times, sensors, scores, lower, rule)) > 5 * days


def test_no_alerts_at_all_is_the_largest_score():
    scores = np.array([1.0, 3.0, np.nan, 2.0])

    threshold = threshold_for_budget(
        np.arange(4), ["a"] * 4, scores, alerts_per_sensor_day=0, rule=EpisodeRule()
    )

    assert threshold == 3.0


def test_a_budget_without_scores_is_refused():
    with pytest.raises(DetectorError) as caught:
        threshold_for_budget(
            np.arange(2), ["a"] * 2, np.full(2, np.nan), alerts_per_sensor_day=1, rule=EpisodeRule()
        )

    assert str(caught.value) == (
        "no threshold from 0 different scores over 1.15741e-08 sensor-days "
        "for 1 alerts per sensor and day"
    )


def test_the_threshold_of_a_budget_lies_within_its_interval():
    rng = np.random.default_rng(7)
    times = np.repeat(np.arange(5 * 1440) * 60_000, 2)
    sensors = np.tile(["a", "b"], 5 * 1440)
    scores = rng.exponential(size=len(times))
    asked = {"alerts_per_sensor_day": 2, "rule": EpisodeRule()}

    low, high = budget_interval(times, sensors, scores, repeats=30, **asked)

    threshold = threshold_for_budget(times, sensors, scores, **asked)
    assert low <= threshold <= high
    assert 0.1 < high - low < 2


def test_a_rule_that_can_never_hold_is_refused():
    with pytest.raises(DetectorError) as caught:
        EpisodeRule(k=3, n=2)

    assert str(caught.value) == (
        "rule has k=3, n=2, m=1\n  needed: 1 <= k <= n <= 10000 and 1 <= m <= 10000"
    )
