"""A threshold that has heard what people said of earlier alerts.

The budget says how many alerts people will look at, not which. Where they answered, the threshold
that it buys is raised while that silences more of what they called false than it costs of what they
called faults.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.arrays import Floats, Ints
from workbench.detectors.alarms import EpisodeRule, alarms_at

MISSED = 4  # a fault that is not told any more weighs as much as so many false alarms
_SPARED = 10  # of so many false alarms one need not be silenced: people err
_LEVELS = 200  # thresholds tried


@dataclass(frozen=True, eq=False)
class Answered:
    """What people said of readings.

    Attributes
    ----------
    faults, usual
        Shape (n,): number of the fault, and of the false alarm, that a reading lies in; -1: none.
    """

    faults: Ints
    usual: Ints

    def of(self, rows: NDArray[Any]) -> Answered:
        """Return what was said of some readings."""
        return replace(self, faults=self.faults[rows], usual=self.usual[rows])


def raised(
    threshold: float,
    times_ms: Ints,
    sensors: NDArray[Any],
    scores: Floats,
    answered: Answered,
    rule: EpisodeRule,
) -> float:
    """Return the threshold, or a higher one that answers speak for.

    A fault is told by an alarm that begins in it, a false alarm is silent if none is on in it.

    Parameters
    ----------
    times_ms, sensors, scores
        Shape (n,), as `episodes` takes them: by a detector that was fitted neither on the faults
        nor on the false alarms.

    Examples
    --------
    >>> scores = np.array([0.0, 3, 0, 0, 9, 0])
    >>> answered = Answered(np.array([-1, -1, -1, -1, 0, -1]), np.array([-1, 0, -1, -1, -1, -1]))
    >>> raised(2.0, np.arange(6), np.array(["a"] * 6), scores, answered, EpisodeRule())
    3.0
    """
    false = scores[(answered.usual >= 0) & (scores > threshold)]
    levels = np.unique(np.append(false, threshold))
    picks = np.unique(np.linspace(0, len(levels) - 1, min(_LEVELS, len(levels))).astype(int))
    tried = list(alarms_at(times_ms, sensors, scores, levels[picks], rule))
    faults = np.array([_numbers(answered.faults[starts]) for starts, _ in tried])
    alarms = np.array([_numbers(answered.usual[on]) for _, on in tried])
    spared = _numbers(answered.usual) // _SPARED
    cost = MISSED * (faults[0] - faults) + np.maximum(alarms - spared, 0)
    return float(levels[picks][np.argmin(cost)])


def _numbers(values: Ints) -> int:
    return len(np.unique(values[values >= 0]))


__all__ = ["MISSED", "Answered", "raised"]
