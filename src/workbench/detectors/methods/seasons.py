"""What a channel usually shows at this time of day, learnt from the training span.

Time enters as channels (`with_clock` derives them for a frame; in a stream they are derived
channels in SQL), so that a score still depends on its window only.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from workbench.arrays import Floats, Ints
from workbench.detectors.contract import State
from workbench.detectors.methods.method import Params, Training
from workbench.detectors.methods.rules import MAD_SIGMA
from workbench.errors import DetectorError
from workbench.times import epoch_ms

CLOCKS = ("hour_of_day", "day_of_week", "hour_cos", "hour_sin")  # of `with_clock`
_HOUR_MS = 3_600_000


def with_clock(frame: pd.DataFrame, *, time: str = "event_time") -> pd.DataFrame:
    """Return a frame with `hour_of_day` (0 to 24, UTC) and `day_of_week` (0 is Monday).

    And with `hour_cos` and `hour_sin`, the hour as a point on a circle, where midnight is no jump.

    Examples
    --------
    >>> frame = pd.DataFrame({"event_time": pd.to_datetime(["2026-01-05T06:30:00Z"])})
    >>> with_clock(frame)[["hour_of_day", "day_of_week"]].values.tolist()
    [[6.5, 0.0]]
    """
    hours = epoch_ms(frame[time]) / _HOUR_MS
    angle = hours % 24 * (np.pi / 12)
    return frame.assign(
        hour_of_day=hours % 24,
        day_of_week=(hours // 24 + 3) % 7,
        hour_cos=np.cos(angle),
        hour_sin=np.sin(angle),
    )


def fit_seasonal(training: Training) -> State:
    """Learn the median per time of day (and day of week) and the spread around it."""
    newest, params = training.inputs[:, -1, :], training.params
    day, hour, measured = _split(newest, params, training.channels)
    days = 7 if params["day"] is not None else 1
    cell = day * params["bins"] + (hour / 24 * params["bins"]).astype(np.int64) % params["bins"]
    profile = np.empty((days, params["bins"], measured.shape[1]))
    for column in range(measured.shape[1]):
        profile[:, :, column] = _medians(cell, measured[:, column], days, params["bins"])
    left = measured - _expected(profile, day, hour)
    scale = MAD_SIGMA * np.median(np.abs(left), axis=0)
    for at, spread in enumerate(scale):
        if not spread > 0:
            raise DetectorError(f"measured channel {at} never leaves its profile in training")
    return {"profile": profile, "scale": scale}


def _split(
    newest: Floats, params: Params, channels: tuple[str, ...]
) -> tuple[Ints, Floats, Floats]:
    """Return day (0 where days are alike), hour, and the measured channels, of (n, c) readings."""
    clocks = [name for name in (params["hour"], params["day"]) if name is not None]
    for name in clocks:
        if name not in channels:
            raise DetectorError(f"channel {name!r} is not among {', '.join(channels)}")
    kept = [at for at, name in enumerate(channels) if name not in clocks]
    if not kept:
        raise DetectorError("detector seasonal has no channel but the clock's")
    hour = newest[:, channels.index(params["hour"])] % 24
    day = np.zeros(len(newest), dtype=np.int64)
    if params["day"] is not None:
        day = newest[:, channels.index(params["day"])].astype(np.int64) % 7
    return day, hour, newest[:, kept]


def _medians(cell: Ints, values: Floats, days: int, bins: int) -> Floats:
    """Return (days, bins) medians; an empty cell has that of its time on all days, or of all."""
    by_cell = pd.Series(values).groupby(cell).median().reindex(range(days * bins))
    by_bin = pd.Series(values).groupby(cell % bins).median().reindex(range(bins))
    by_bin = by_bin.fillna(float(np.median(values)))
    found = by_cell.to_numpy().reshape(days, bins)
    return np.where(np.isnan(found), by_bin.to_numpy(), found)


def _expected(profile: Floats, day: Ints, hour: Floats) -> Floats:
    """Return what the profile shows, in between the centres of its bins."""
    bins = profile.shape[1]
    place = hour / 24 * bins - 0.5
    before = np.floor(place)
    share = (place - before)[:, np.newaxis]
    low, high = before.astype(np.int64) % bins, (before.astype(np.int64) + 1) % bins
    expected: Floats = profile[day, low] * (1 - share) + profile[day, high] * share
    return expected


def check_seasonal(state: State, params: Params, sizes: Mapping[str, int]) -> None:
    """Refuse a profile of other days, bins or channels than the parameters say."""
    days, clocks = (7, 2) if params["day"] is not None else (1, 1)
    expected = (days, params["bins"], sizes["c"] - clocks)
    if state["profile"].shape != expected:
        raise DetectorError(f"array profile is {state['profile'].shape}, expected {expected}")
    if state["scale"].shape != expected[2:] or not (state["scale"] > 0).all():
        raise DetectorError(f"array scale does not hold {expected[2]} values > 0")


def seasonal(windows: Floats, state: State, params: Params) -> Floats:
    """Return how far the newest reading lies from its time's usual, worst channel."""
    channels = tuple(params["channels"])
    day, hour, measured = _split(windows[:, -1, :], params, channels)
    left = np.abs(measured - _expected(state["profile"], day, hour)) / state["scale"]
    worst: Floats = left.max(axis=1)
    return worst
