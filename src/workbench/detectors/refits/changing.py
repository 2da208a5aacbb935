"""What is not learnt from because it alarmed, and what is although it did.

A change is no anomaly for ever: an alarm that has been on for `change_h` hours when a fit is due is
a change, and begins where the alarm did. From that fit on, what the sensor sent before is not
learnt from, and what came under this alarm is. An alarm that ended by itself, no fit having come in
between, is none: the machine went back. One that pauses for less than a tenth of that time goes on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.arrays import Bools, Floats, Ints
from workbench.detectors.alarms import EpisodeRule, alarmed
from workbench.detectors.leveling.naming import sensor_codes

HOUR_MS = 3_600_000
PAUSE = 0.1  # of the time that makes a change, in which an alarm may be off


def alarming(
    times_ms: Ints, sensors: NDArray[Any], scores: Floats, thresholds: Floats, rule: EpisodeRule
) -> Bools:
    """Return which readings are under an alarm, or led to it.

    Unlike in a stream, a reading without a score says nothing: an alarm is neither reset by it nor
    ends. Else a gap amid a fault would leave the readings behind it to be learnt from.

    Parameters
    ----------
    times_ms, sensors, scores, thresholds
        Shape (n,), in arrival order, late readings left out.

    Examples
    --------
    >>> scores = np.array([0, 9, 9, np.nan, np.nan, 9, 0, 0])
    >>> pumps, rule = np.array(["a"] * 8), EpisodeRule(2, 3, 2)
    >>> alarming(np.arange(8), pumps, scores, np.full(8, 5.0), rule).astype(int).tolist()
    [0, 1, 1, 1, 1, 1, 1, 0]
    """
    scored, above = np.isfinite(scores), scores > thresholds
    on = np.zeros(len(scores), dtype=np.bool_)
    on[scored] = alarmed(times_ms[scored], sensors[scored], above[scored], rule)
    for rows in by_sensor(times_ms, sensors):
        last = np.maximum.accumulate(np.where(scored[rows], np.arange(len(rows)), 0))
        on[rows] = on[rows][last]
        for start in np.flatnonzero(np.diff(on[rows].astype(np.int8)) == 1) + 1:
            before = rows[max(0, start - rule.n + 1) : start]
            on[before] |= above[before]
    return on


def by_sensor(times_ms: Ints, sensors: NDArray[Any]) -> list[Ints]:
    """Return the rows of each sensor, by time; those of no sensor are of none."""
    codes = sensor_codes(sensors)[0]
    order = np.lexsort((times_ms, codes))
    order = order[codes[order] >= 0]
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)


def since_change(
    times_ms: Ints, sensors: NDArray[Any], alarm: Bools, fits_ms: Ints, change_ms: float
) -> Ints:
    """Return whether each reading lies before its sensor's last change (-1) or under its alarm (1).

    Parameters
    ----------
    times_ms, sensors
        Shape (n,): event time and sensor of each reading, in any order.
    alarm
        Shape (n,): whether it was under an alarm of what was in force when it arrived.
    fits_ms
        Instants from which each fit was in force, the one in question too.
    change_ms
        How long an alarm lasts that is a change.

    Returns
    -------
    since
        Shape (n,); 0 behind the alarm, and for a sensor that has not changed.

    Examples
    --------
    >>> alarm = np.array([0, 1, 0, 1, 1, 1], dtype=bool)
    >>> pumps = np.array(["a"] * 6)
    >>> since_change(np.arange(6), pumps, alarm, np.array([6]), 3).tolist()
    [-1, -1, -1, 1, 1, 1]
    >>> since_change(np.arange(6), pumps, alarm, np.array([6]), 4).tolist()
    [0, 0, 0, 0, 0, 0]
    """
    since = np.zeros(len(times_ms), dtype=np.int64)
    for rows in by_sensor(times_ms, sensors):
        if not alarm[rows].any():
            continue
        change = _last_change(times_ms[rows], alarm[rows], fits_ms, change_ms)
        if change is not None:
            since[rows] = np.where(times_ms[rows] < change[0], -1, times_ms[rows] < change[1])
    return since


def _last_change(
    times_ms: Ints, alarm: Bools, fits_ms: Ints, change_ms: float
) -> tuple[int, int] | None:
    """Return from when until when a sensor's last change was an alarm, of readings by time."""
    edges = np.diff(np.concatenate([[0], alarm.astype(np.int8), [0]]))
    starts_ms = times_ms[np.flatnonzero(edges == 1)]
    ends_ms = np.append(times_ms, np.iinfo(np.int64).max)[np.flatnonzero(edges == -1)]
    apart = starts_ms[1:] - ends_ms[:-1] >= PAUSE * change_ms
    starts_ms, ends_ms = starts_ms[np.r_[True, apart]], ends_ms[np.r_[apart, True]]
    for start_ms, end_ms in zip(starts_ms[::-1], ends_ms[::-1], strict=True):
        if ((fits_ms >= start_ms + change_ms) & (fits_ms <= end_ms)).any():
            return int(start_ms), int(end_ms)
    return None
