"""From scores to the instants that are worth a call: surprise against the past, and onsets.

Both look back only, over rows of one sensor in order, so that each is an SQL window in the stream:
`AVG(score) OVER`, `STDDEV_SAMP(score) OVER`, `MAX(score) OVER (… 1 PRECEDING)`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from workbench.arrays import Floats
from workbench.compiled import compiled
from workbench.errors import EvaluationError

LEAST = 20  # past scores, before which nothing surprises
_OF_MEAN = 0.05  # of the mean, added to the deviation: scores that hardly vary surprise nobody


def surprise(scores: Floats, *, memory: int) -> Floats:
    """Return how far each score lies above the scores before it.

    Parameters
    ----------
    scores
        Shape (n,), in order, of one sensor; NaN where there is none.
    memory
        How many rows back the past reaches.

    Returns
    -------
    surprise
        Shape (n,), log(1 + z), z in deviations above the mean of the past, >= 0; 0 where there is
        no score or fewer than 20 are known.

    Notes
    -----
    Source: after Lavin and Ahmad (2015), who take the tail probability of recent scores in their
    past; here the logarithm of one score's deviation, which keeps large ones apart.

    Examples
    --------
    >>> surprise(np.array([1.0, 2.0] * 20 + [9.0]), memory=100)[-1].round(1)
    2.6
    """
    if memory < LEAST:
        raise EvaluationError(f"the memory is {memory} scores, at least {LEAST} are needed")
    past = pd.Series(scores).shift(1).rolling(memory, min_periods=LEAST)
    mean, deviation = past.mean().to_numpy(), past.std().to_numpy()
    above = (scores - mean) / np.maximum(deviation + _OF_MEAN * np.abs(mean), 1e-9)
    surprising: Floats = np.log1p(np.maximum(np.nan_to_num(above, nan=0.0), 0.0))
    return surprising


def onsets(scores: Floats, *, quiet: int) -> Floats:
    """Return scores where each is larger than all of the `quiet` rows before it, else 0.

    A person is called once for a rise, and again within `quiet` rows only for something worse.

    Parameters
    ----------
    scores
        Shape (n,), in order, of one sensor, >= 0.
    quiet
        Rows.

    Examples
    --------
    >>> onsets(np.array([0.0, 3.0, 2.0, 5.0, 1.0, 2.0]), quiet=2)
    array([0., 3., 0., 5., 0., 0.])
    """
    if quiet < 1:
        raise EvaluationError(f"quiet is {quiet} rows, not >= 1")
    found: Floats = _records(np.ascontiguousarray(scores, dtype=np.float64), quiet)
    return found


@compiled
def _records(scores: Floats, quiet: int) -> Floats:
    n = len(scores)
    records = np.zeros(n)
    queue, head, tail = np.empty(n, dtype=np.int64), 0, 0  # rows in reach, scores falling
    for i in range(n):
        while head < tail and queue[head] < i - quiet:
            head += 1
        if head == tail or scores[i] > scores[queue[head]]:
            records[i] = max(scores[i], 0.0)
        while head < tail and scores[queue[tail - 1]] <= scores[i]:
            tail -= 1
        queue[tail] = i
        tail += 1
    return records
