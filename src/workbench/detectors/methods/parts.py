"""How much of a score is due to each channel, from parts of it or by asking again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from workbench.arrays import Floats

_AT_ONCE = 1 << 20  # readings in windows that are made at once


def shares(parts: Floats, channels: int) -> Floats:
    """Return parts of scores as shares of channels that sum to 1.

    Parameters
    ----------
    parts
        Shape (n, f), f a multiple of the channels, theirs in turn, as features are; what is below
        0 counts as 0, and where nothing is above all channels share alike.

    Examples
    --------
    >>> shares(np.array([[1.0, 0.0, 1.0, 2.0], [0.0, 0.0, 0.0, -1.0]]), 2)
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    positive = np.maximum(parts, 0.0)
    largest = positive.max(axis=1, keepdims=True)
    scaled = positive / np.where(largest > 0, largest, 1.0)
    summed = scaled.reshape(len(parts), -1, channels).sum(axis=1)
    summed[largest[:, 0] <= 0] = 1.0
    whole: Floats = summed / summed.sum(axis=1, keepdims=True)
    return whole


def rooted(inputs: Floats, precision: Floats) -> Floats:
    """Return the parts of squared Mahalanobis distances, one for each column; they sum to them.

    Notes
    -----
    Source: Garthwaite and Koch (2016), Evaluating the Contributions of Individual Variables to a
    Quadratic Form: the squares of the row times the symmetric root of the precision.
    """
    sizes, axes = np.linalg.eigh(precision)
    root = (axes * np.sqrt(np.maximum(sizes, 0.0))) @ axes.T
    squares: Floats = np.square(inputs @ root)
    return squares


def replaced(score: Callable[[Floats], Floats], windows: Floats, typical: Floats) -> Floats:
    """Return by how much scores fall when a channel alone is as in a typical window, (n, c).

    Parameters
    ----------
    typical
        Shape (k, w, c): of these the one that fits best, that is with which the score is least.
    """
    n, w, c = windows.shape
    k, before = len(typical), score(windows)
    most = max(1, _AT_ONCE // (c * k * w * c))
    parts: Floats = np.empty((n, c))
    for start in range(0, n, most):  # all channels in one call: it is asked of single windows
        some = slice(start, start + most)
        tried = np.tile(windows[some, np.newaxis, np.newaxis], (1, c, k, 1, 1))
        for channel in range(c):
            tried[:, channel, ..., channel] = typical[np.newaxis, ..., channel]
        after = score(tried.reshape(-1, w, c)).reshape(-1, c, k)
        parts[some] = before[some, np.newaxis] - after.min(axis=2)
    return parts


__all__ = ["replaced", "rooted", "shares"]
