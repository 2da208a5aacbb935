"""Episodes: when a sensor's alarm is set and reset; and the threshold that a budget buys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.arrays import Bools, Floats, Ints
from workbench.detectors.contract import Detector
from workbench.detectors.leveling.naming import sensor_codes
from workbench.errors import DetectorError

_DAY_MS = 86_400_000
MOST_ALARMED = 0.1  # of the readings under an alarm, where nothing else is asked
_CELLS = 64  # thresholds tried at each level of the search for a budget


@dataclass(frozen=True)
class EpisodeRule:
    """When an alarm is set and reset.

    Attributes
    ----------
    k, n
        Set when at least k of the sensor's last n readings score above the threshold.
    m
        Reset after m consecutive readings not above it, once the first does not hold any more.
    """

    k: int = 1
    n: int = 1
    m: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.n <= 10_000 or not 1 <= self.m <= 10_000:
            raise DetectorError(
                f"rule has k={self.k}, n={self.n}, m={self.m}",
                hint="needed: 1 <= k <= n <= 10000 and 1 <= m <= 10000",
            )


def episodes(
    times_ms: Ints,
    sensors: Sequence[object] | NDArray[Any],
    scores: Floats,
    threshold: float,
    rule: EpisodeRule,
) -> pd.DataFrame:
    """Return one row per alarm, from the reading that sets it to the one that resets it.

    Parameters
    ----------
    times_ms, sensors, scores
        Shape (n,): event time, sensor and score of each reading, in arrival order, late readings
        left out. A NaN score counts as not above.
    threshold
        A score must be larger.

    Returns
    -------
    episodes
        `sensor`, `start` (event time of the reading that sets it), `peak_time`, `stop` (of the
        reading that resets it; 1 ms after the last reading if none does), `peak_score`,
        `readings` (from `start`, before `stop`); by start.

    Examples
    --------
    >>> found = episodes(np.arange(5), ["a"] * 5, np.array([0.0, 3, 4, 0, 3]), 2, EpisodeRule())
    >>> found[["peak_score", "readings"]].values.tolist()
    [[4.0, 2.0], [3.0, 1.0]]
    """
    order = _Order.of(times_ms, sensors)
    scored = np.asarray(scores, dtype=np.float64)[order.rows]
    on = _alarm(scored > threshold, order, rule)
    starts = np.flatnonzero(_begun(on, order))
    stops = np.flatnonzero(on & (order.last | ~np.roll(on, -1))) + 1
    return _rows(order, scored, starts, stops)


def alarmed(
    times_ms: Ints, sensors: Sequence[object] | NDArray[Any], above: Bools, rule: EpisodeRule
) -> Bools:
    """Return at which readings, in arrival order, the alarm is on; `above` says which scored so."""
    order = _Order.of(times_ms, sensors)
    on = np.zeros(len(above), dtype=np.bool_)
    on[order.rows] = _alarm(above[order.rows], order, rule)
    return on


def alarm_starts(
    times_ms: Ints,
    sensors: Sequence[object] | NDArray[Any],
    scores: Floats,
    thresholds: Iterable[float],
    rule: EpisodeRule,
) -> Iterator[Ints]:
    """Yield for each threshold the positions of the readings that set an alarm, as `episodes` does.

    Many thresholds of the same readings cost little more than one.
    """
    for starts, _ in alarms_at(times_ms, sensors, scores, thresholds, rule):
        yield starts


def alarms_at(
    times_ms: Ints,
    sensors: Sequence[object] | NDArray[Any],
    scores: Floats,
    thresholds: Iterable[float],
    rule: EpisodeRule,
) -> Iterator[tuple[Ints, Ints]]:
    """Yield for each threshold the positions of readings that set an alarm, and of all under one.

    Otherwise as `alarm_starts`.
    """
    order = _Order.of(times_ms, sensors)
    scored = np.asarray(scores, dtype=np.float64)[order.rows]
    for threshold in thresholds:
        on = _alarm(scored > threshold, order, rule)
        yield order.rows[_begun(on, order)], order.rows[on]


def _begun(on: Bools, order: _Order) -> Bools:
    """Return at which readings an alarm begins."""
    return on & (order.first | ~np.roll(on, 1))


@dataclass(frozen=True, eq=False)
class _Order:
    """Readings by sensor and event time: `rows` in the input, and each sensor's first and last."""

    rows: Ints
    times: Ints
    sensors: NDArray[Any]
    first: Bools
    last: Bools

    @classmethod
    def of(cls, times_ms: Ints, sensors: Sequence[object] | NDArray[Any]) -> _Order:
        times = np.asarray(times_ms, dtype=np.int64)
        codes, names = sensor_codes(sensors)
        order = np.lexsort((times, codes))
        rows = order[codes[order] >= 0]  # a reading of no sensor belongs to no alarm
        change = np.diff(codes[rows]) != 0
        edge = np.ones(min(1, len(rows)), dtype=np.bool_)
        first, last = np.concatenate([edge, change]), np.concatenate([change, edge])
        return cls(rows, times[rows], np.asarray(names, dtype=object)[codes[rows]], first, last)

    @property
    def days(self) -> float:
        """The time from each sensor's first reading to its last, summed, days."""
        return float((self.times[self.last] - self.times[self.first]).sum()) / _DAY_MS

    def position(self) -> Ints:
        """Return how many readings of the same sensor stand before each."""
        at = np.arange(len(self.rows))
        started: Ints = np.maximum.accumulate(np.where(self.first, at, 0))
        return at - started


def _alarm(above: Bools, order: _Order, rule: EpisodeRule) -> Bools:
    """Return whether the alarm is on at each reading: a latch, set before reset."""
    if len(above) == 0:
        return above
    position = order.position()
    counts = np.concatenate([[0], np.cumsum(above)])
    rows = np.arange(len(above))
    in_n = counts[rows + 1] - counts[rows - np.minimum(position, rule.n - 1)]
    in_m = counts[rows + 1] - counts[rows - np.minimum(position, rule.m - 1)]
    set_ = in_n >= rule.k
    reset = (in_m == 0) & (position >= rule.m - 1)
    changes = np.where(set_ | reset | order.first, rows, 0)
    return np.asarray(set_[np.maximum.accumulate(changes)], dtype=np.bool_)


def _rows(order: _Order, scores: Floats, starts: Ints, stops: Ints) -> pd.DataFrame:
    open_ = order.last[stops - 1]  # nothing reset it before the readings ended
    end = np.where(open_, order.times[stops - 1] + 1, order.times[np.where(open_, 0, stops)])
    filled = np.nan_to_num(scores, nan=-np.inf)
    peaks = _argmax(filled, starts, stops)
    alerts = pd.DataFrame(
        {
            "sensor": np.asarray(order.sensors, dtype=object)[starts],
            "start": _utc(order.times[starts]),
            "peak_time": _utc(order.times[peaks]),
            "stop": _utc(end),
            "peak_score": scores[peaks],
            "readings": stops - starts,
        }
    )
    return alerts.sort_values("start", kind="stable", ignore_index=True)


def _argmax(values: Floats, starts: Ints, stops: Ints) -> Ints:
    """Return the position of the first largest value in each [start, stop)."""
    if len(starts) == 0:
        return starts
    lengths = stops - starts
    group = np.repeat(np.arange(len(starts)), lengths)
    at = np.arange(len(group)) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
    best = np.lexsort((at, -values[at], group))
    first: Ints = at[best[np.cumsum(lengths) - lengths]]
    return first


def _utc(times_ms: Ints) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(times_ms.astype("datetime64[ms]")).tz_localize("UTC")


def threshold_for_budget(
    times_ms: Ints,
    sensors: Sequence[object] | NDArray[Any],
    scores: Floats,
    *,
    alerts_per_sensor_day: float,
    rule: EpisodeRule,
    alarm_share: float = MOST_ALARMED,
    detector: Detector | None = None,
) -> float:
    """Return the smallest threshold whose episodes stay within the budget.

    Parameters
    ----------
    times_ms, sensors, scores
        As `episodes` takes them.
    alerts_per_sensor_day
        The budget: episodes per sensor and day of event time.
    alarm_share
        And no more than so much of the readings is under an alarm: one that never ends is a single
        episode.
    detector
        Whose scores they are: with `level: sensor`, a sensor without a level cannot alarm and is no
        part of the budget. None: all are.

    Raises
    ------
    DetectorError
        If no reading has a score, no time passes, or the budget is negative.

    Notes
    -----
    The search comes from above, so that everything higher stays within the budget too: a very low
    threshold, one endless alarm per sensor, is never the answer. It tries 64 of the scores, then 64
    between the last that fits and the first that does not, and so on down to single scores.
    """
    can = _can_alarm(sensors, detector)
    times_ms, sensors, scores = (np.asarray(x)[can] for x in (times_ms, sensors, scores))
    order = _Order.of(times_ms, sensors)
    scored = np.asarray(scores, dtype=np.float64)[order.rows]
    days = order.days
    levels = np.unique(scored[np.isfinite(scored)])[::-1]
    if len(levels) == 0 or days <= 0 or not alerts_per_sensor_day >= 0:
        raise DetectorError(
            f"no threshold from {len(levels)} different scores over {days:g} sensor-days "
            f"for {alerts_per_sensor_day:g} alerts per sensor and day"
        )
    budget = alerts_per_sensor_day * days

    def fits(level: int) -> bool:
        on = _alarm(scored > levels[level], order, rule)
        return int(_begun(on, order).sum()) <= budget and bool(on.mean() <= alarm_share)

    return float(levels[_last_that_fits(len(levels), fits)])


def _can_alarm(sensors: Sequence[object] | NDArray[Any], detector: Detector | None) -> Bools:
    """Return which readings are of a sensor that can alarm: with `level: sensor`, has a level."""
    levels_of = getattr(detector, "levels", None)
    if levels_of is None:
        return np.ones(len(sensors), dtype=np.bool_)
    has: Bools = levels_of.has(sensors)
    return has


def sensor_days(
    times_ms: Ints, sensors: Sequence[object] | NDArray[Any], detector: Detector | None = None
) -> float:
    """Return the time that a budget is of: each sensor's from its first reading to its last, days.

    The parameters are those of `threshold_for_budget`.
    """
    can = _can_alarm(sensors, detector)
    return _Order.of(np.asarray(times_ms)[can], np.asarray(sensors)[can]).days


def _last_that_fits(n: int, fits: Callable[[int], bool]) -> int:
    """Return the last of 0..n-1 up to which `fits` was seen to hold; 0 is taken to fit."""
    low, high = 0, n
    while high - low > 1:
        step = max(1, (high - low) // _CELLS)
        for level in range(low + step, high, step):
            if not fits(level):
                high = level
                break
            low = level
    return low


def budget_interval(
    times_ms: Ints,
    sensors: Sequence[object] | NDArray[Any],
    scores: Floats,
    *,
    alerts_per_sensor_day: float,
    rule: EpisodeRule,
    repeats: int = 100,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % interval of `threshold_for_budget`, by a bootstrap over sensor-days."""
    times = np.asarray(times_ms, dtype=np.int64)
    codes = sensor_codes(sensors)[0] * 100_000 + times // _DAY_MS
    blocks = pd.Series(np.arange(len(times))).groupby(codes).indices
    days = [np.asarray(rows, dtype=np.int64) for rows in blocks.values()]
    rng, thresholds = np.random.default_rng(seed), []
    for _ in range(repeats):
        drawn = [days[day] for day in rng.integers(0, len(days), len(days))]
        rows = np.concatenate(drawn)
        alike = np.repeat(np.arange(len(drawn)), [len(rows_of_day) for rows_of_day in drawn])
        thresholds.append(
            threshold_for_budget(
                times[rows],
                alike,
                np.asarray(scores)[rows],
                alerts_per_sensor_day=alerts_per_sensor_day,
                rule=rule,
            )
        )
    low, high = np.quantile(thresholds, [0.025, 0.975])
    return float(low), float(high)
