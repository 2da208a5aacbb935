"""Why a reading has no score: one reason for each, counted by the certificate."""

from __future__ import annotations

import numpy as np
import pandas as pd

from workbench.arrays import Bools, Ints
from workbench.detectors import Detection, Detector, Levels, checked_names, sensor_codes
from workbench.times import epoch_ms

REASONS = (
    "refused", "late", "ahead", "warming", "gap", "missing", "undefined", "unleveled", "unsteady",
)  # fmt: skip


def reasons(
    detector: Detector,
    frame: pd.DataFrame,
    detection: Detection,
    *,
    sensor: str,
    time: str,
    max_span_s: float | None,
) -> dict[str, int]:
    """Return how many readings have no score, by reason.

    *refused* has no sensor; *late* and *ahead* are by their time; *warming* has too few of its
    sensor before it; *gap* has a window that spans more than `max_span_s`; *missing* one with a
    missing value; of *undefined* the detector says that there is none; *unleveled* is of a sensor
    that has no level, where the detector judges each by its own (`level: sensor`); *unsteady* has a
    window across a change of the machine's state, where the detector judges `steady` ones alone.

    Parameters
    ----------
    frame
        Readings in order of arrival, with all channels of the detector.
    detection
        What the batch path made of them.
    """
    why = codes(detector, frame, detection, sensor=sensor, time=time, max_span_s=max_span_s)
    return counts(why)


def counts(why: Ints) -> dict[str, int]:
    """Return how many readings each of REASONS has, of the `codes` of some."""
    sums = np.bincount(why[why >= 0], minlength=len(REASONS))
    return dict(zip(REASONS, map(int, sums), strict=True))


def codes(
    detector: Detector,
    frame: pd.DataFrame,
    detection: Detection,
    *,
    sensor: str,
    time: str,
    max_span_s: float | None,
) -> Ints:
    """Return why each reading has no score, as a position in REASONS, (n,); -1: it has one."""
    sensors = sensor_codes(frame[sensor])[0].astype(np.int64)
    why = np.where(np.isfinite(detection.scores), -1, REASONS.index("undefined"))
    gone = {"late": detection.late, "ahead": detection.ahead, "refused": sensors < 0}
    kept = np.flatnonzero(~np.logical_or.reduce([rows for rows in gone.values() if len(rows)]))
    order = kept[np.lexsort((epoch_ms(frame[time])[kept], sensors[kept]))]
    wrong = _of_windows(detector, frame, order, sensors, time, max_span_s)
    bare = why[order] >= 0
    for name, rows in reversed(wrong.items()):  # of several reasons the first counts
        why[order[rows & bare]] = REASONS.index(name)
    if getattr(detector, "levels", None) is not None:
        gone = {"unleveled": (why >= 0) & ~leveled(detector, frame[sensor]), **gone}
    for name, rows in gone.items():
        if len(rows):
            why[rows] = REASONS.index(name)
    return why.astype(np.int64)


def leveled(detector: Detector, sensors: pd.Series) -> Bools:
    """Return which readings' sensors the detector can judge, (n,): all, unless it levels them."""
    levels: Levels | None = getattr(detector, "levels", None)
    if levels is None:
        return np.ones(len(sensors), dtype=np.bool_)
    return levels.has(checked_names(sensors))


def _of_windows(
    detector: Detector,
    frame: pd.DataFrame,
    order: Ints,
    codes: Ints,
    time: str,
    max_span_s: float | None,
) -> dict[str, Bools]:
    """Return what is wrong with the window that ends at each reading of `order`."""
    n, w = len(order), detector.window
    oldest = np.arange(n) - (w - 1)
    sensors, times = codes[order], epoch_ms(frame[time])[order]
    full = (oldest >= 0) & (sensors[np.maximum(oldest, 0)] == sensors)
    span_ms = times - times[np.maximum(oldest, 0)]
    gap = np.zeros(n, bool) if max_span_s is None else span_ms > round(max_span_s * 1000)
    values = frame[list(detector.channels)].to_numpy(dtype=np.float64, na_value=np.nan)[order]
    holes = np.concatenate([[0], np.cumsum(~np.isfinite(values).all(axis=1))])
    missing = holes[1:] != holes[np.maximum(oldest, 0)]
    missing &= not getattr(detector, "takes_missing", False)
    unsteady = np.zeros(n, dtype=np.bool_)
    states = getattr(detector, "states", None)
    if states is not None and n >= w:
        windows = np.lib.stride_tricks.sliding_window_view(values, w, axis=0).swapaxes(1, 2)
        unsteady[w - 1 :] = ~states.steady(windows)
    return {"warming": ~full, "gap": gap, "missing": missing, "unsteady": unsteady}


def able(frame: pd.DataFrame, *, sensor: str, window: int) -> int:
    """Return how many readings could have a full window: all but the first of each sensor.

    A message that names no sensor could have been a reading that has one.
    """
    of_sensor = frame[sensor].value_counts()
    nameless = len(frame) - int(of_sensor.sum())
    return int((of_sensor - (window - 1)).clip(lower=0).sum()) + nameless


__all__ = ["REASONS", "able", "codes", "counts", "leveled", "reasons"]
