"""Windows of readings, and the scores of a frame.

One rule, the same in the stream's SQL: readings in arrival order; late ones removed (`late`); then
per sensor, in stable order of event time, a window is the last w readings with the current one.
It counts if it is full, holds no missing value (unless the detector takes them), and its newest
reading is at most `max_span_s` younger than its oldest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from workbench.arrays import Bools, Floats, Ints, Objects
from workbench.detectors.contract import Detector, score_windows
from workbench.detectors.leveling.naming import checked_names, sensor_codes
from workbench.detectors.leveling.states import States
from workbench.detectors.partition_time import arrivals_of, check_columns
from workbench.errors import DetectorError
from workbench.times import epoch_ms

_GAPS = 3  # times the usual length of a window that it may span
_BATCH = 4096  # windows gathered at once: 10 MB at w = 64, c = 5


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of readings.

    Attributes
    ----------
    values
        Shape (n, w, c), newest reading last.
    rows
        Shape (n,): position in the frame of each window's newest reading.
    """

    values: Floats
    rows: Ints


@dataclass(frozen=True, eq=False)
class WindowIndex:
    """Where the windows of a frame are, before their values are copied out.

    Attributes
    ----------
    readings
        Shape (readings, c), by sensor and event time.
    placed
        Shape (readings,): their position in the frame.
    starts
        Shape (n,): position in `readings` of each window's oldest reading; by arrival of the
        newest.
    window
        w, readings per window.
    whose
        Shape (len(frame),): column of the sensor, or of what else levels are kept by.
    """

    readings: Floats
    placed: Ints
    starts: Ints
    window: int
    whose: pd.Series

    @property
    def oldest(self) -> Ints:
        """Position in the frame of each window's oldest reading."""
        oldest: Ints = self.placed[self.starts]
        return oldest

    @property
    def rows(self) -> Ints:
        """Position in the frame of each window's newest reading, ascending."""
        newest: Ints = self.placed[self.starts + self.window - 1]
        return newest

    def within(self, keep: Bools) -> Ints:
        """Return the windows all of whose readings `keep`, by position in the frame, names."""
        holes = np.concatenate([[0], np.cumsum(~keep[self.placed])])
        return np.flatnonzero(holes[self.starts + self.window] == holes[self.starts])

    def values(self, pick: Ints | slice = slice(None)) -> Floats:
        """Return the windows at `pick`, shape (n, w, c)."""
        return self.readings[self.starts[pick][:, np.newaxis] + np.arange(self.window)]

    def steady(self, pick: Ints, states: States | None) -> Bools:
        """Return which of the windows at `pick` are of one state all along; all where None."""
        steady = np.ones(len(pick), dtype=np.bool_)
        if states is not None:
            for start in range(0, len(pick), _BATCH):
                batch = slice(start, start + _BATCH)
                steady[batch] = states.steady(self.values(pick[batch]))
        return steady

    @cached_property
    def names(self) -> Objects:
        """Name of each reading's sensor, (len(frame),), as the job calls it; None: no name."""
        return checked_names(self.whose)

    def score(self, detector: Detector, pick: Ints | slice, into: Floats) -> None:
        """Write the scores of the windows at `pick` to the rows of their newest readings."""
        rows, picked = self.rows, np.arange(len(self.starts))[pick]
        leveled = getattr(detector, "levels", None) is not None
        for start in range(0, len(picked), _BATCH):
            batch = picked[start : start + _BATCH]
            names = self.names[rows[batch]] if leveled else None
            into[rows[batch]] = score_windows(detector, self.values(batch), names)


def interval_s(frame: pd.DataFrame, *, sensor: str, time: str) -> float:
    """Return the median time from a reading of a sensor to its next; 0 where there is none."""
    check_columns(frame, [sensor, time])
    codes, _ = sensor_codes(frame[sensor])
    times = epoch_ms(frame[time])
    order = np.lexsort((times, codes))
    steps_ms = np.diff(times[order])[np.diff(codes[order]) == 0]
    return float(np.median(steps_ms)) / 1000 if len(steps_ms) else 0.0


def usual_span_s(frame: pd.DataFrame, window: int, *, sensor: str, time: str) -> float | None:
    """Return the gap rule of readings: three times what a window spans; None where that is 0."""
    usual_s = interval_s(frame, sensor=sensor, time=time) * max(1, window - 1)
    return float(np.ceil(usual_s * _GAPS)) or None


def time_order(frame: pd.DataFrame, *, sensor: str, time: str) -> Ints:
    """Return the rows by event time, those of one instant by sensor, and else as they stand.

    Where no lateness is asked about, the order of rows says nothing: a file may hold sensor after
    sensor, or the newest reading first. What is cut or sampled is then cut in this order.

    Examples
    --------
    >>> frame = pd.DataFrame({"pump": ["b", "b", "a", "a"], "t": [9, 5, 9, 5]})
    >>> time_order(frame, sensor="pump", time="t")
    array([3, 1, 2, 0])
    """
    check_columns(frame, [sensor, time])
    codes, sensors = sensor_codes(frame[sensor])
    names = np.array([str(name) for name in sensors], dtype=object)
    rank = np.empty(len(names) + 1, dtype=np.int64)
    rank[np.argsort(names, kind="stable")] = np.arange(len(names))
    rank[-1] = len(names)  # of readings without a sensor, whose code is -1
    order: Ints = np.lexsort((rank[codes], epoch_ms(frame[time])))
    return order


def index_windows(
    frame: pd.DataFrame,
    *,
    sensor: str,
    time: str,
    channels: Sequence[str],
    window: int,
    max_span_s: float | None = None,
    missing: bool = False,
    keep: Bools | None = None,
    level_by: str | None = None,
) -> WindowIndex:
    """Return where the windows of a frame are (the parameters: `sliding_windows`).

    Parameters
    ----------
    missing
        Whether windows that hold missing values count.
    keep
        Shape (len(frame),): readings to use, all if left out.
    level_by
        Column of the name by which a level is looked up; None: that of the sensor.
    """
    check_columns(frame, [sensor, time, *channels])
    codes, _ = sensor_codes(frame[sensor])
    usable = codes >= 0 if keep is None else (codes >= 0) & keep
    kept = np.flatnonzero(usable)
    times = epoch_ms(frame[time])[kept]
    order = np.lexsort((times, codes[kept]))  # stable: arrival decides between equal times
    codes, times = codes[kept][order], times[order]
    readings = numbers(frame, channels)[kept[order]]
    starts = _whole(codes, times, readings, window=window, max_span_s=max_span_s, missing=missing)
    placed = kept[order].astype(np.int64)
    starts = starts[np.argsort(placed[starts + window - 1], kind="stable")]
    return WindowIndex(readings, placed, starts, window, frame[level_by or sensor])


def numbers(frame: pd.DataFrame, channels: Sequence[str]) -> Floats:
    """Return the channels of a frame, (len(frame), c); NaN where not finite: missing."""
    columns = []
    for channel in channels:
        try:
            columns.append(frame[channel].to_numpy(dtype=np.float64, na_value=np.nan))
        except (TypeError, ValueError) as err:
            raise DetectorError(
                f"channel {channel} holds {frame[channel].dtype}, not numbers: {err}"
            ) from err
    readings: Floats = np.stack(columns, axis=1)
    readings[~np.isfinite(readings)] = np.nan  # missing, to a fit as to a score
    return readings


def _whole(
    codes: Ints,
    times: Ints,
    readings: Floats,
    *,
    window: int,
    max_span_s: float | None,
    missing: bool,
) -> Ints:
    """Return the starts of the windows that count, in readings sorted by sensor and time."""
    n = len(codes) - window + 1
    if n <= 0:
        return np.empty(0, dtype=np.int64)
    whole = codes[:n] == codes[window - 1 :]
    if max_span_s is not None:
        whole &= times[window - 1 :] - times[:n] <= round(max_span_s * 1000)
    bad = np.zeros(len(readings), bool) if missing else np.isnan(readings).any(axis=1)
    holes = np.concatenate([[0], np.cumsum(bad)])
    whole &= holes[window:] == holes[:n]
    return np.flatnonzero(whole).astype(np.int64)


def sliding_windows(
    frame: pd.DataFrame,
    *,
    sensor: str,
    time: str,
    channels: Sequence[str],
    window: int,
    max_span_s: float | None = None,
) -> Windows:
    """Return every full window without a missing value or too long a gap.

    Parameters
    ----------
    frame
        Readings in arrival order.
    sensor, time
        Columns: whose reading it is, and its event time (timestamps with a zone, or epoch ms).
    channels
        Columns, in the order of axis c.
    window
        w, readings per window.
    max_span_s
        The longest time from a window's oldest reading to its newest; None: any.

    Examples
    --------
    >>> frame = pd.DataFrame({"pump": list("abaa"), "t": [0, 0, 1, 2], "bar": [1, 9, 2, 3]})
    >>> found = sliding_windows(frame, sensor="pump", time="t", channels=["bar"], window=2)
    >>> found.values[:, :, 0], found.rows
    (array([[1., 2.],
           [2., 3.]]), array([2, 3]))
    """
    index = index_windows(
        frame, sensor=sensor, time=time, channels=channels, window=window, max_span_s=max_span_s
    )
    return Windows(index.values(), index.rows)


def score_readings(
    detector: Detector,
    frame: pd.DataFrame,
    *,
    sensor: str,
    time: str = "event_time",
    max_span_s: float | None = None,
    lateness_ms: int | None = None,
    ahead_ms: int | None = None,
    partition: str | None = None,
    level_by: str | None = None,
) -> Floats:
    """Return the score of every reading, as the stream gives it.

    Parameters
    ----------
    frame
        Readings in arrival order.
    max_span_s
        The gap rule; if left out, the one that the detector was fitted with.
    lateness_ms
        Readings later than this are left out (`partition_time`); None: none is.
    ahead_ms
        With it, so are those that lead their partition's by more; None: none.
    partition
        Column with the source partition; if left out, the message ids say it, if there are any.
    level_by
        With `level: sensor`, a column of the name whose level holds; None: `sensor`.

    Returns
    -------
    scores
        Shape (len(frame),), NaN where there is none: late, ahead, warming up, missing value, gap,
        a sensor without a level.
    """
    limit = max_span_s if max_span_s is not None else getattr(detector, "max_span_s", None)
    gone = arrivals_of(
        frame,
        sensor=sensor,
        time=time,
        lateness_ms=lateness_ms,
        ahead_ms=ahead_ms,
        partition=partition,
    ).left_out
    index = index_windows(
        frame,
        sensor=sensor,
        time=time,
        channels=detector.channels,
        window=detector.window,
        max_span_s=limit,
        missing=getattr(detector, "takes_missing", False),
        keep=~gone,
        level_by=level_by,
    )
    scores: Floats = np.full(len(frame), np.nan)
    index.score(detector, slice(0, len(index.starts)), scores)
    return scores
