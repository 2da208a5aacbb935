"""Which channel says what a machine is doing, and where its states part; from the readings alone.

A channel says so whose readings lie in a few far-apart groups, with next to none between, and which
stays in one for long: a motor's current at rest, idle and at load. Whether windows across a change
are then left out is not decided here: `choice` tries it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from workbench.arrays import Floats, Ints
from workbench.detectors.leveling.states import MOST, States
from workbench.detectors.methods.rules import spread

_EMPTY = 0.004  # share of the readings that may lie in a gap: machines pass through it
_GAP = 0.1  # of the range of the readings, that a gap is at least
_WIDE = 3.0  # times the wider neighbouring group's deviation, that a gap is at least
_RARE = 0.05  # share of the readings, below which a group is none
_CHANGES = 4  # of state, in each part of the span: one that comes once is no state but an event
_STEADY = 0.5  # share of the windows that must be of one state


def find_states(
    names: Sequence[str], values: Floats, codes: Ints, window: int, first: float
) -> dict[str, Any] | None:
    """Return `steady` of a specification, as the readings have it; None: they have no states.

    Parameters
    ----------
    names
        Of the channels, c.
    values, codes
        Shape (n, c) and (n,): readings by sensor and time, and whose they are.
    window
        Readings in which nothing may change.
    first
        Share of each sensor's readings that must show all of it, as the rest must.
    """
    best: tuple[float, dict[str, Any]] | None = None
    for column, name in enumerate(names):
        splits, width = _splits(values[:, column])
        if not splits or (best is not None and best[0] >= width):
            continue
        states = States(0, tuple(splits)).of(values[:, column])
        if _lasting(states, codes, window, first):
            best = width, {"channel": name, "splits": splits}
    return None if best is None else best[1]


def _splits(readings: Floats) -> tuple[list[float], float]:
    """Return the middles of the gaps between groups, and the widest gap by the deviation beside it.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(0, 0.1, 1000)
    >>> [round(split) for split in _splits(noise + np.repeat([0, 4, 10], [300, 300, 400]))[0]]
    [2, 7]
    >>> _splits(noise)
    ([], 0.0)
    """
    there = np.sort(readings[np.isfinite(readings)])
    few, least = max(1, int(_EMPTY * len(there))), max(2, int(_RARE * len(there)))
    if len(there) < 1 / _EMPTY:
        return [], 0.0
    gaps = _gaps(there, few, least, _GAP * float(there[-few] - there[few - 1]))
    bounds = [0, *(place for gap in gaps for place in (gap, gap + few)), len(there)]
    groups = [there[start:stop] for start, stop in zip(bounds[::2], bounds[1::2], strict=True)]
    widths = [
        float(there[gap + few] - there[gap]) / max(float(low.std()), float(high.std()), 1e-12)
        for gap, (low, high) in zip(gaps, pairwise(groups), strict=True)
    ]
    middles = [float(there[gap] + there[gap + few]) / 2 for gap in gaps]
    kept = [middle for middle, width in zip(middles, widths, strict=True) if width >= _WIDE]
    return (kept, max(widths)) if 1 <= len(kept) <= MOST else ([], 0.0)


def _gaps(there: Floats, few: int, least: int, wide: float) -> list[int]:
    """Return where, in readings by size, the gaps begin: `few` readings on, they end."""
    if len(there) < 2 * least + few:
        return []
    spans = there[few:] - there[:-few]
    inner = spans[least : len(spans) - least]
    if not len(inner) or inner.max() < wide:
        return []
    gap = least + int(np.argmax(inner))
    after = _gaps(there[gap + few :], few, least, wide)
    return [*_gaps(there[: gap + 1], few, least, wide), gap, *(gap + few + at for at in after)]


def _lasting(states: Ints, codes: Ints, window: int, first: float) -> bool:
    """Return whether states come again and again, in both parts, and mostly last a window."""
    last = pd.Series(np.where(states < 0, np.nan, states)).groupby(codes).ffill().to_numpy()
    step, same = np.diff(last), np.diff(codes) == 0
    changed = np.r_[False, same & np.isfinite(step) & (step != 0)]
    begun = np.r_[True, ~same] | changed
    since = np.arange(len(last)) - np.maximum.accumulate(np.where(begun, np.arange(len(last)), 0))
    own = np.bincount(codes, minlength=int(codes.max()) + 1)
    place = np.arange(len(codes)) - np.concatenate([[0], np.cumsum(own)[:-1]])[codes]
    early = place < first * own[codes]
    return all(
        int(changed[part].sum()) >= _CHANGES
        and float((since[part] >= window - 1).mean()) >= _STEADY
        and set(np.unique(states[part])) >= set(range(int(states.max()) + 1))
        for part in (early, ~early)
    )


def within_states(newest: Floats, states: States | None) -> Floats:
    """Return each channel's deviation, (n, c) to (c,), from its mean in the machine's state."""
    if states is None:
        return spread(newest)
    less, which = newest.copy(), states.of(newest[:, states.column])
    for state in np.unique(which):
        less[which == state] -= less[which == state].mean(axis=0)
    return spread(less)
