"""Windows of readings, and the scores of a frame.

One rule, the same in the stream's SQL: readings in arrival order; late ones removed (`late`); then
per sensor, in stable order of event time, a window is the last w readings with the current one.
It counts if it is full, holds no missing value (unless the detector takes them), and its newest
reading is at most `max_span_s` younger than its oldest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.detectors.contract import Bools, Detector, Floats, Ints, score_windows
from workbench.errors import DetectorError, did_you_mean

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
    """

    readings: Floats
    placed: Ints
    starts: Ints
    window: int

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

    def score(self, detector: Detector, pick: slice, into: Floats) -> None:
        """Write the scores of the windows at `pick` to the rows of their newest readings."""
        rows = self.rows
        for start in range(pick.start, pick.stop, _BATCH):
            batch = slice(start, min(start + _BATCH, pick.stop))
            into[rows[batch]] = score_windows(detector, self.values(batch))


def epoch_ms(times: pd.Series | pd.DatetimeIndex | Ints) -> Ints:
    """Return times as epoch milliseconds; integers are taken to be that already.

    Examples
    --------
    >>> epoch_ms(pd.to_datetime(pd.Series(["1970-01-01T00:00:01Z"])))
    array([1000])
    """
    if pd.api.types.is_integer_dtype(times):
        return np.asarray(times, dtype=np.int64)
    if not isinstance(getattr(times, "dtype", None), pd.DatetimeTZDtype):
        raise DetectorError(
            f"times are {times.dtype}, expected epoch milliseconds or timestamps with a zone",
            hint="pandas.to_datetime(..., utc=True) makes them",
        )
    index = pd.DatetimeIndex(times)
    if index.hasnans:
        raise DetectorError(
            f"{np.count_nonzero(index.isna())} of {len(index)} readings have no time"
        )
    return np.asarray(index.as_unit("ms").asi8, dtype=np.int64)


def late(
    times_ms: Ints, lateness_ms: int, partition: Sequence[object] | Ints | None = None
) -> Bools:
    """Return which readings, in arrival order, come too late to be scored.

    Parameters
    ----------
    times_ms
        Shape (n,), event times in arrival order.
    lateness_ms
        How far behind the largest event time seen a reading may come; at least 1, as in Flink.
    partition
        Shape (n,): source partition of each reading; one partition if left out.

    Notes
    -----
    Late means at or below the largest event time seen before it in its source partition, less
    the lateness. Source: Flink 1.20, BoundedOutOfOrdernessWatermarks with a watermark per reading.

    Examples
    --------
    >>> late(np.array([10, 20, 15, 21]), 5)
    array([False, False,  True, False])
    """
    if lateness_ms < 1:
        raise DetectorError(f"lateness is {lateness_ms} ms, at least 1 is needed")
    times = pd.Series(np.asarray(times_ms, dtype=np.int64))
    if partition is None:
        before = times.cummax().shift()
    else:
        by = np.asarray(partition)
        before = times.groupby(by).cummax().groupby(by).shift()
    # the first of a partition compares with NaN, and is not late; float64 is exact below 2**53 ms
    return np.asarray(times <= before - lateness_ms, dtype=np.bool_)


def late_readings(
    frame: pd.DataFrame, *, time: str, lateness_ms: int | None, partition: str | None
) -> Bools:
    """Return which readings of a frame are late; none is if `lateness_ms` is None."""
    _present(frame, [time] if partition is None else [time, partition])
    if lateness_ms is None:
        return np.zeros(len(frame), dtype=np.bool_)
    by = None if partition is None else pd.factorize(frame[partition])[0].astype(np.int64)
    return late(epoch_ms(frame[time]), lateness_ms, by)


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
) -> WindowIndex:
    """Return where the windows of a frame are (the parameters: `sliding_windows`).

    Parameters
    ----------
    missing
        Whether windows that hold missing values count.
    keep
        Shape (len(frame),): readings to use, all if left out.
    """
    _present(frame, [sensor, time, *channels])
    codes, _ = pd.factorize(frame[sensor])
    usable = codes >= 0 if keep is None else (codes >= 0) & keep
    kept = np.flatnonzero(usable)
    times = epoch_ms(frame[time])[kept]
    order = np.lexsort((times, codes[kept]))  # stable: arrival decides between equal times
    codes, times = codes[kept][order], times[order]
    readings = _numbers(frame, channels)[kept[order]]
    starts = _whole(codes, times, readings, window=window, max_span_s=max_span_s, missing=missing)
    placed = kept[order].astype(np.int64)
    starts = starts[np.argsort(placed[starts + window - 1], kind="stable")]
    return WindowIndex(readings, placed, starts, window)


def _present(frame: pd.DataFrame, names: Sequence[str]) -> None:
    for name in names:
        if name not in frame.columns:
            raise DetectorError(
                f"the readings have no column {name!r}", hint=did_you_mean(name, map(str, frame))
            )


def _numbers(frame: pd.DataFrame, channels: Sequence[str]) -> Floats:
    columns = []
    for channel in channels:
        try:
            columns.append(frame[channel].to_numpy(dtype=np.float64, na_value=np.nan))
        except (TypeError, ValueError) as err:
            raise DetectorError(
                f"channel {channel} holds {frame[channel].dtype}, not numbers: {err}"
            ) from err
    return np.stack(columns, axis=1)


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
    bad = np.isinf(readings) if missing else ~np.isfinite(readings)
    holes = np.concatenate([[0], np.cumsum(bad.any(axis=1))])
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
    partition: str | None = None,
) -> Floats:
    """Return the score of every reading, as the stream gives it.

    Parameters
    ----------
    frame
        Readings in arrival order.
    max_span_s
        The gap rule; if left out, the one that the detector was fitted with.
    lateness_ms
        Readings later than this are left out (`late`); None: none is.
    partition
        Column with the source partition, for `lateness_ms`; one partition if left out.

    Returns
    -------
    scores
        Shape (len(frame),), NaN where there is none: late, warming up, missing value, gap.
    """
    limit = max_span_s if max_span_s is not None else getattr(detector, "max_span_s", None)
    gone = late_readings(frame, time=time, lateness_ms=lateness_ms, partition=partition)
    index = index_windows(
        frame,
        sensor=sensor,
        time=time,
        channels=detector.channels,
        window=detector.window,
        max_span_s=limit,
        missing=getattr(detector, "takes_missing", False),
        keep=~gone,
    )
    scores: Floats = np.full(len(frame), np.nan)
    index.score(detector, slice(0, len(index.starts)), scores)
    return scores
