"""Thin out a long line so that its picture stays the same: no spike is lost, no gap bridged."""

from __future__ import annotations

import numpy as np

from workbench.arrays import Bools, Floats, Ints

COLUMNS = 2000  # more than a figure has pixels from left to right
_GAP = 5  # of the usual interval; a reading or two lost now and then is not a gap


def envelope(times: Floats, values: Floats, *, columns: int = COLUMNS) -> tuple[Floats, Floats]:
    """Return the points to draw, in order of time, NaN where the line must break.

    Parameters
    ----------
    times, values
        Shape (n,), in any order and unit; a reading without a value is left out.
    columns
        Of pixels. Where one holds more than four readings, its first, lowest, highest and last
        stand for them.

    Notes
    -----
    Source: Jugel et al. (2014), M4: a visualization-oriented time series data aggregation. The line
    breaks where no value came for more than five usual intervals (their median).

    Examples
    --------
    >>> times = np.arange(100_000.0)
    >>> thin_times, thin = envelope(times, np.where(times == 31_415, 9.0, 0.0))
    >>> len(thin) <= 8000, float(thin_times[thin == 9.0][0])
    (True, 31415.0)
    """
    order = np.argsort(times, kind="stable")
    order = order[np.isfinite(values[order])]
    if len(order) == 0:
        return times[order], values[order]
    instants, drawn = times[order], values[order]
    run = np.cumsum(_after_gap(instants))
    if len(instants) > 4 * columns:
        keep = _m4(_column(instants, columns) + run * columns, drawn)
        instants, drawn, run = instants[keep], drawn[keep], run[keep]
    breaks = np.flatnonzero(np.diff(run)) + 1
    return np.insert(instants, breaks, instants[breaks]), np.insert(drawn, breaks, np.nan)


def _after_gap(times: Floats) -> Bools:
    """Return which readings came after a long silence."""
    intervals = np.diff(times, prepend=times[0])
    usual = np.median(intervals[1:]) if len(intervals) > 1 else 0
    return np.asarray(intervals > _GAP * usual)


def _column(times: Floats, columns: int) -> Ints:
    """Return the column of pixels that each time falls in."""
    share = (times - times[0]) / max(times[-1] - times[0], 1e-12)
    at: Ints = np.minimum((share * columns).astype(np.int64), columns - 1)
    return at


def _m4(group: Ints, values: Floats) -> Ints:
    """Return the positions of the first, lowest, highest and last of each run of equal `group`."""
    first = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
    last = np.append(first[1:], len(group)) - 1
    by_value = np.lexsort((values, group))
    keep: Ints = np.unique(np.concatenate([first, last, by_value[first], by_value[last]]))
    return keep
