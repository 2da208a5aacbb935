"""Faults to plant into readings, of a kind and a size."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from workbench.arrays import Floats

FaultKind = Literal["spike", "shift", "stuck", "drift"]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)


def plant_fault(
    readings: Floats, kind: FaultKind, *, size: float, unit: float, length: int
) -> Floats:
    """Return the readings of one channel with a fault that begins at the first of them.

    Parameters
    ----------
    readings
        Shape (n,), of one sensor in order of time; n >= length.
    kind
        `spike`: the first reading alone lies `size` units higher. `shift`: all of `length` do.
        `drift`: they rise evenly, to `size` units at the last. `stuck`: the first reading repeats
        for `size` shares of `length`, 1 at most.
    unit
        Of the channel: its usual deviation.

    Examples
    --------
    >>> usual = np.array([1.0, 2.0, 3.0, 4.0])
    >>> plant_fault(usual, "drift", size=2, unit=10, length=2).tolist()
    [11.0, 22.0, 3.0, 4.0]
    >>> plant_fault(usual, "stuck", size=0.75, unit=10, length=4).tolist()
    [1.0, 1.0, 1.0, 4.0]
    """
    faulty = readings.copy()
    if kind == "stuck":
        faulty[: round(min(size, 1.0) * length)] = readings[0]
    elif kind == "spike":
        faulty[:1] += size * unit
    else:
        rise = np.linspace(1 / length, 1.0, length) if kind == "drift" else np.ones(length)
        faulty[:length] += size * unit * rise
    return faulty
