"""Where the parameters of a sweep's runs are drawn or searched: lists of values, or bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.metrics import direction

if TYPE_CHECKING:
    import numpy as np

_MOST_TRIALS = 10_000  # of a search
_LARGEST = 2**62  # of a bound


def space_fault(space: object) -> str | None:
    """Return why something is neither a list of values nor bounds; None if it is."""
    wanted = "expected a list, or {min: , max: , log: true|false}"
    if isinstance(space, list) and space:
        return None
    if not isinstance(space, dict) or set(space) - {"log"} != {"min", "max"}:
        return f"is {space!r}, {wanted}"
    low, high = space["min"], space["max"]
    numbers = all(
        isinstance(bound, (int, float)) and abs(bound) < _LARGEST for bound in (low, high)
    )
    if not numbers or not low < high:
        return f"goes from {low!r} to {high!r}, expected min < max"
    if space.get("log") and low <= 0:
        return f"has log and min {low}, expected min > 0"
    return None


def draw(space: Any, generator: np.random.Generator) -> Any:
    """Return a value of a space, drawn at random."""
    if isinstance(space, list):
        return space[int(generator.integers(len(space)))]
    low, high = space["min"], space["max"]
    whole = isinstance(low, int) and isinstance(high, int)
    if space.get("log"):
        value = math.exp(generator.uniform(math.log(low), math.log(high)))
        return round(value) if whole else value
    return int(generator.integers(low, high + 1)) if whole else float(generator.uniform(low, high))


def end_of(space: Any, end: int) -> Any:
    """Return the first (0) or last (-1) value of a space."""
    return space[end] if isinstance(space, list) else space[("min", "max")[end]]


def trials_fault(trials: object) -> str:
    """Return why something is no number of trials; empty if it is."""
    fine = type(trials) is int and 1 <= trials <= _MOST_TRIALS
    return "" if fine else f"trials is {trials!r}, expected a count, at most {_MOST_TRIALS}"


def seed_fault(seed: object) -> str:
    """Return why something is no seed; empty if it is."""
    fine = type(seed) is int and 0 <= seed < 2**32
    return "" if fine else "seed is no whole number from 0 on"


def metric_fault(metric: object) -> str:
    """Return why nothing can be searched by something; empty if it can."""
    if isinstance(metric, str) and direction(metric):
        return ""
    return f"metric is {metric!r}, expected one of which is known whether more or less is better"


def rungs_fault(rungs: object) -> str:
    """Return why something does not say what trials are given one after the other."""
    fine = isinstance(rungs, dict) and all(isinstance(one, list) and one for one in rungs.values())
    if isinstance(rungs, dict) and fine and len(rungs) <= 1:
        return ""
    return f"rungs is {rungs!r}, expected a parameter with its values, from cheap to dear"


def overlap_fault(names: Sequence[str]) -> str:
    """Return which parameter two sections set, itself or what it is inside of; empty if none."""
    for place, name in enumerate(names):
        for other in names[place + 1 :]:
            if f"{name}.".startswith(f"{other}.") or f"{other}.".startswith(f"{name}."):
                return f"{name} and {other} are set one over the other"
    return ""
