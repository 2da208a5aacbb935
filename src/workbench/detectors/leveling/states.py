"""What a machine is doing: off, idle, at load, by one channel that says so.

With `steady: {channel: motor_current_a, splits: [2, 6]}` in a specification a window is scored only
where that channel is in one state all along: below the first number, between two, or above the
last. Starts and stops score higher than most faults, and a threshold that is bought among them is
deaf to what fails at load; without them, a stopped machine is judged by how it usually stands, and
one at load by how it usually runs. A window across a change has no score, as one with a gap has
none, and so has one that holds no reading of the channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from workbench.arrays import Bools, Floats, Ints
from workbench.errors import DetectorError

MOST = 8  # splits
_LARGEST = 1e300  # of a split; an integer may have any number of digits, NaN is not less


@dataclass(frozen=True)
class States:
    """The states of a machine, and the channel that says which.

    Attributes
    ----------
    column
        Of the channel, on the last axis of a window.
    splits
        What parts one state from the next, ascending, in the channel's unit.
    """

    column: int
    splits: tuple[float, ...]

    def of(self, readings: Floats) -> Ints:
        """Return the state of each reading of the channel, 0 the lowest; -1 where it is missing."""
        states = np.searchsorted(self.splits, readings, side="right")
        return np.where(np.isfinite(readings), states, -1)

    def steady(self, windows: Floats) -> Bools:
        """Return which of (n, w, c) windows are of one state all along.

        Examples
        --------
        >>> States(0, (2.0,)).steady(np.array([[[0.0], [1.0]], [[1.0], [2.0]], [[np.nan], [3.0]]]))
        array([ True, False,  True])
        """
        readings = windows[:, :, self.column]
        readings = np.where(np.isfinite(readings), readings, np.nan)
        low, high = np.fmin.reduce(readings, axis=1), np.fmax.reduce(readings, axis=1)
        steady: Bools = ~np.isnan(low) & (self.of(low) == self.of(high))
        return steady


def checked_states(given: object, channels: Sequence[str]) -> dict[str, object]:
    """Return `steady` of a specification, refused if it does not say channel and splits."""
    if (
        not isinstance(given, Mapping)
        or set(given) != {"channel", "splits"}
        or given["channel"] not in channels
        or not _are_splits(given["splits"])
    ):
        raise DetectorError(
            f"steady is {given!r}, expected channel, one of {', '.join(channels)}, and splits, 1 "
            f"to {MOST} numbers, each larger than the one before"
        )
    return {"channel": given["channel"], "splits": [float(split) for split in given["splits"]]}


def _are_splits(given: object) -> bool:
    if not isinstance(given, list | tuple) or not 1 <= len(given) <= MOST:
        return False
    if not all(type(split) in (int, float) and abs(split) < _LARGEST for split in given):
        return False
    return all(low < high for low, high in pairwise(given))


def states_of(spec: Mapping[str, object]) -> States | None:
    """Return the states that a resolved specification names; None: it judges all windows alike."""
    steady, channels = spec.get("steady"), spec["channels"]
    if not isinstance(steady, Mapping) or not isinstance(channels, list):
        return None
    return States(channels.index(steady["channel"]), tuple(steady["splits"]))
