"""What a score with a ceiling gains beyond the training range, so that it has none.

Some methods call everything outside of training equally odd: an empty tail, an empty bin, the
shortest path of a tree. The largest score of a mild bump is then the largest there is, and a
threshold set by it is one that no reading can pass. Their scores go on to rise with the distance to
the range of training, feature by feature; inside of it they are what the method says.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from workbench.arrays import Floats
from workbench.detectors.contract import State
from workbench.errors import DetectorError

SCHEMA = {"reach_low": "f8[f]", "reach_high": "f8[f]", "reach_gain": "f8[f]"}
_JUMP = 50.0  # how many times its largest reading a channel jumps by
_NARROW = 1e-9  # of a scaled feature: it is constant in training, and 1 stands in for its range
_PLACES = 64  # readings at which a jump begins


def fit_reach(inputs: Floats, scores: Floats) -> State:
    """Return the range of each feature, and what a score gains for each unit beyond it.

    Parameters
    ----------
    inputs, scores
        Shape (n, f) and (n,): what the method was fitted on, and the scores that it gives that.

    Notes
    -----
    A row as far beyond the range of a feature as that range is wide gains the difference of the
    largest and the smallest training score, and so stands above all of training.
    """
    low, high = inputs.min(axis=0), inputs.max(axis=0)
    width = np.where(high - low > _NARROW, high - low, 1.0)
    gained = float(scores.max() - scores.min())
    return {
        "reach_low": low,
        "reach_high": high,
        "reach_gain": (gained if gained > 0 else 1.0) / width,
    }


def beyond(inputs: Floats, state: State) -> Floats:
    """Return what rows gain for lying beyond the training range, 0 within; the farthest feature."""
    outside = np.maximum(inputs - state["reach_high"], state["reach_low"] - inputs)
    farthest: Floats = (outside * state["reach_gain"]).max(axis=1, initial=0.0)
    return farthest


def check_reach(state: State) -> None:
    """Refuse a range that ends before it begins, and a gain that is none."""
    if (state["reach_high"] < state["reach_low"]).any() or not (state["reach_gain"] > 0).all():
        raise DetectorError("the arrays of the reach are no range with a gain > 0")


def jumps(windows: Floats) -> Iterator[Floats]:
    """Yield windows in which one channel jumps far out of its range.

    Parameters
    ----------
    windows
        Shape (n, w, c), usual ones.

    Yields
    ------
    jumping
        Shape (2 * c * n, w, c): for each reading at which the jump may be, each channel up and
        down in each window; (n, w, c), the windows themselves, where w is 1.
    """
    _, w, c = windows.shape
    if w == 1:
        yield windows
        return
    heights = np.eye(c) * (np.nanmax(np.abs(windows), axis=(0, 1)) + 1) * _JUMP
    begins = np.unique(np.linspace(1, w - 1, min(w - 1, _PLACES)).astype(int))
    each = np.concatenate([heights, -heights])[:, np.newaxis, np.newaxis]
    for begin in begins:  # one at a time: all would be gigabytes for long windows of many channels
        after = (np.arange(w) >= begin).astype(np.float64)[:, np.newaxis]
        yield (windows + after * each).reshape(-1, w, c)
