"""Plain detectors: one rule that a person can check by hand, on the readings in their own units."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from workbench.arrays import Floats
from workbench.detectors.contract import State
from workbench.detectors.methods.method import Check, Params, Training
from workbench.errors import DetectorError

FLAT = 1e-9  # of a channel's largest reading: what varies less is rounding
MAD_SIGMA = 1.4826  # standard deviation of a normal with a median absolute deviation of 1


def robust_centre(values: Floats, channels: tuple[str, ...]) -> tuple[Floats, Floats]:
    """Return median and scaled median absolute deviation per column of (n, c) values."""
    median: Floats = np.median(values, axis=0)
    scale: Floats = MAD_SIGMA * np.median(np.abs(values - median), axis=0)
    largest = np.abs(values).max(axis=0)
    for channel, spread, most in zip(channels, scale, largest, strict=True):
        if not spread > FLAT * most:
            raise DetectorError(
                f"channel {channel}: more than half of its training readings are the same",
                hint="leave it out, train on a longer span, or use a detector with scale: standard",
            )
    return median, scale


def spread(values: Floats) -> Floats:
    """Return the standard deviation per column of (n, c) values, 1 where a column is constant."""
    return _or_one(values.std(axis=0), values)


def _or_one(deviation: Floats, values: Floats) -> Floats:
    return np.where(deviation > FLAT * np.abs(values).max(axis=0), deviation, 1.0)


def fit_robust_z(training: Training) -> State:
    """Learn each channel's median and deviation."""
    median, scale = robust_centre(training.inputs[:, -1, :], training.channels)
    return {"median": median, "scale": scale}


def robust_z(windows: Floats, state: State, params: Params) -> Floats:
    """Return how far the newest reading lies from the training median, worst channel.

    Notes
    -----
    Source: Iglewicz and Hoaglin (1993), How to Detect and Handle Outliers, modified z-score.
    Theirs takes median and MAD from the sample scored; ours are frozen at fit.
    """
    worst: Floats = robust_z_parts(windows, state, params).max(axis=1)
    return worst


def robust_z_parts(windows: Floats, state: State, params: Params) -> Floats:
    """Return how far each channel's newest reading lies from its training median, (n, c)."""
    deviations: Floats = np.abs(windows[:, -1, :] - state["median"]) / state["scale"]
    return deviations


def robust_z_expected(windows: Floats, state: State, params: Params) -> Floats:
    """Return each channel's training median, (n, c)."""
    return np.broadcast_to(np.asarray(state["median"], dtype=np.float64), windows[:, -1, :].shape)


def fit_limits(training: Training) -> State:
    """Take the limits given, and the unit to measure beyond them from training."""
    c, far = len(training.channels), np.finfo(np.float64).max
    limits = {}
    for name, none in (("low", -far), ("high", far)):
        values = training.params[name]
        if values is not None and len(values) != c:
            raise DetectorError(f"parameter {name} has {len(values)} numbers for {c} channels")
        limits[name] = np.full(c, none) if values is None else np.array(values)
    if training.params["low"] is None and training.params["high"] is None:
        raise DetectorError("detector limits needs parameter low or high, one number per channel")
    return {**limits, "unit": spread(training.inputs[:, -1, :])}


def fit_range(training: Training) -> State:
    """Learn the range of each channel, less the share at either end that may be faults."""
    newest, share = training.inputs[:, -1, :], training.params["beyond"]
    low, high = np.quantile(newest, [share / 2, 1 - share / 2], axis=0)
    return {"low": low, "high": high, "unit": spread(newest)}


def outside(windows: Floats, state: State, params: Params) -> Floats:
    """Return how far the newest reading lies outside its limits, worst channel; inside is < 0.

    In training deviations of the channel.
    """
    worst: Floats = np.maximum(outside_parts(windows, state, params).max(axis=1), -1e9)
    return worst


def outside_parts(windows: Floats, state: State, params: Params) -> Floats:
    """Return how far each channel's newest reading lies outside its limits, (n, c)."""
    newest = windows[:, -1, :]
    with np.errstate(over="ignore"):  # a limit that is not set lies at the largest number
        beyond: Floats = np.maximum(newest - state["high"], state["low"] - newest) / state["unit"]
    return beyond


def fit_rolling(training: Training) -> State:
    """Learn each channel's spread, below a share of which no window's deviation counts."""
    return {"least": spread(training.inputs[:, -1, :]) * training.params["least"]}


def rolling(windows: Floats, state: State, params: Params) -> Floats:
    """Return how far the newest reading lies from the median of those before it, worst channel.

    Notes
    -----
    Source: Hampel (1974), as the Hampel filter, looking back only.
    """
    worst: Floats = rolling_parts(windows, state, params).max(axis=1)
    return worst


def rolling_parts(windows: Floats, state: State, params: Params) -> Floats:
    """Return how far each channel's newest reading lies from the median of those before, (n, c)."""
    before = windows[:, :-1, :]
    median = np.median(before, axis=1)
    mad = MAD_SIGMA * np.median(np.abs(before - median[:, np.newaxis]), axis=1)
    deviations: Floats = np.abs(windows[:, -1, :] - median) / np.maximum(mad, state["least"])
    return deviations


def longer_than(name: str, scale: str) -> Check:
    """Return a check that a window holds more readings than parameter `name`, or than 1.

    And that the values of array `scale` are > 0.
    """

    def check(state: State, params: Params, sizes: Mapping[str, int]) -> None:
        least = params.get(name, 1)
        if sizes["w"] <= least:
            raise DetectorError(f"a window of {sizes['w']} is too short, more than {least} needed")
        positive(scale)(state, params, sizes)

    return check


def positive(*names: str) -> Check:
    """Return a check that refuses a state unless all values of these arrays are > 0."""

    def check(state: State, params: Params, sizes: Mapping[str, int]) -> None:
        for name in names:
            if not (state[name] > 0).all():
                raise DetectorError(f"array {name} holds a value that is not > 0")

    return check


def fit_rate(training: Training) -> State:
    """Learn how much each channel usually changes over the lag, as root mean square."""
    windows, lag = training.inputs, training.params["lag"]
    if windows.shape[1] <= lag:
        return {"usual": np.ones(windows.shape[2])}  # refused by the check, with its message
    change = windows[:, -1, :] - windows[:, -1 - lag, :]
    return {"usual": _or_one(np.sqrt((change**2).mean(axis=0)), windows[:, -1, :])}


def rate(windows: Floats, state: State, params: Params) -> Floats:
    """Return the change over the lag, over what is usual in training, worst channel."""
    worst: Floats = rate_parts(windows, state, params).max(axis=1)
    return worst


def rate_parts(windows: Floats, state: State, params: Params) -> Floats:
    """Return each channel's change over the lag, over what is usual in training, (n, c)."""
    change = np.abs(windows[:, -1, :] - windows[:, -1 - params["lag"], :])
    usual: Floats = change / state["usual"]
    return usual


def fit_stuck(training: Training) -> State:
    """Learn the longest usual run of equal readings of each channel."""
    tolerance = spread(training.inputs[:, -1, :]) * training.params["tolerance"]
    usual = np.quantile(_runs(training.inputs, tolerance), 0.99, axis=0)
    return {"tolerance": tolerance, "usual": np.asarray(usual, dtype=np.float64)}


def stuck(windows: Floats, state: State, params: Params) -> Floats:
    """Return for how many readings a channel has not moved, over what is usual; worst channel."""
    worst: Floats = stuck_parts(windows, state, params).max(axis=1)
    return worst


def stuck_parts(windows: Floats, state: State, params: Params) -> Floats:
    """Return for how many readings each channel has not moved, over what is usual, (n, c)."""
    lengths: Floats = _runs(windows, state["tolerance"]) / state["usual"]
    return lengths


def most_stuck(state: State, params: Params) -> float:
    """Return the score of a window that does not move at all."""
    return float(params["window"] / state["usual"].min())


def _runs(windows: Floats, tolerance: Floats) -> Floats:
    """Return (n, c): how many of the last readings equal the newest."""
    same = np.abs(windows - windows[:, -1:, :]) <= tolerance
    runs: Floats = np.cumprod(same[:, ::-1, :], axis=1).sum(axis=1).astype(np.float64)
    return runs
