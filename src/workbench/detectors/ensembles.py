"""Weights of an ensemble, chosen on a validation span."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from workbench.detectors.contract import Floats
from workbench.errors import DetectorError


def choose_weights(
    scores: Floats, judge: Callable[[Floats], float], *, rounds: int = 20
) -> list[float]:
    """Return the weight of each member, so that `judge` likes their mean best.

    Parameters
    ----------
    scores
        Shape (members, n): calibrated scores of a validation span, on which no member was fitted.
    judge
        How good scores of shape (n,) are; higher is better. `evaluation` has such measures.
    rounds
        Members drawn in all; a member may be drawn again.

    Notes
    -----
    Source: Caruana et al. (2004), Ensemble Selection from Libraries of Models: greedy, with
    replacement; the best set along the way is kept.

    Examples
    --------
    >>> good, bad = np.array([0.0, 0, 1]), np.array([1.0, 0, 0])
    >>> choose_weights(np.stack([good, bad]), lambda s: s[2] - s[:2].max(), rounds=3)
    [1.0, 0.0]
    """
    if scores.ndim != 2 or not scores.size:
        raise DetectorError(f"scores have shape {scores.shape}, expected (members, n)")
    counts, best = np.zeros(len(scores)), (-np.inf, np.zeros(len(scores)))
    for _ in range(rounds):
        tried = [judge((counts + one) @ scores / (counts.sum() + 1)) for one in np.eye(len(scores))]
        counts[int(np.argmax(tried))] += 1
        if max(tried) > best[0]:
            best = (max(tried), counts.copy())
    return [float(one) for one in best[1] / best[1].sum()]
