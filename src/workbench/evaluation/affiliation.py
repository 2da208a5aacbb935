"""Affiliation precision and recall: how near alarms and events lie. A side figure only.

Both forgive so much that a random scorer reaches 0.5, and on TSB-AD every one of 32 methods 0.77:
fit to see whether alarms cluster around events, unfit to put detectors in order.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import EvaluationError

Ints = NDArray[np.int64]


def affiliation(labels: ArrayLike, alarms: ArrayLike) -> tuple[float, float]:
    """Return affiliation precision and recall of one series in time order.

    Every reading belongs to the zone of its nearest event. In each zone an alarmed reading earns
    the probability that a reading drawn at random there lies as far from the event, or farther;
    an event's reading that one drawn at random lies as far from it as the nearest alarm, or
    farther. Precision is the mean over zones with an alarm (NaN without any), recall over all.

    Parameters
    ----------
    labels, alarms
        Shape (n,), true where something was wrong, and where an alarm was on.

    Raises
    ------
    EvaluationError
        If the shapes differ, or no reading is labelled.

    Notes
    -----
    Source: Huet, Navarro and Rossi (2022), Local Evaluation of Time Series Anomaly Detection
    Algorithms. Theirs integrates over time; here readings are counted.

    Examples
    --------
    >>> affiliation([0, 0, 1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 0])
    (1.0, 0.9375)
    """
    wrong, alarmed = np.asarray(labels, dtype=bool), np.asarray(alarms, dtype=bool)
    if wrong.ndim != 1 or wrong.shape != alarmed.shape:
        raise EvaluationError(
            f"labels have shape {wrong.shape}, alarms {alarmed.shape}; both must be (n,)"
        )
    if not wrong.any():
        raise EvaluationError(f"none of {len(wrong)} readings is labelled")
    edges = np.diff(wrong.astype(np.int8), prepend=0, append=0)
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    middles = (stops[:-1] + starts[1:]) // 2
    zones = np.concatenate([[0], middles, [len(wrong)]])
    on = np.flatnonzero(alarmed)
    precisions, recalls = [], []
    for zone, stop, first, last in zip(zones[:-1], zones[1:], starts, stops - 1, strict=True):
        inside = on[(on >= zone) & (on < stop)]
        if len(inside):
            precisions.append(_near_event(inside, int(zone), int(stop), int(first), int(last)))
        recalls.append(_near_alarm(inside, int(zone), int(stop), int(first), int(last)))
    return (float(np.mean(precisions)) if precisions else math.nan), float(np.mean(recalls))


def _near_event(alarms: Ints, zone: int, stop: int, first: int, last: int) -> float:
    rows = np.arange(zone, stop)
    far = np.sort(np.maximum(np.maximum(first - rows, rows - last), 0))
    own = np.maximum(np.maximum(first - alarms, alarms - last), 0)
    return float(np.mean(1 - np.searchsorted(far, own) / len(rows)))


def _near_alarm(alarms: Ints, zone: int, stop: int, first: int, last: int) -> float:
    if not len(alarms):
        return 0.0
    rows = np.arange(first, last + 1)
    after = np.minimum(np.searchsorted(alarms, rows), len(alarms) - 1)
    before = np.maximum(after - 1, 0)
    far = np.minimum(np.abs(alarms[after] - rows), np.abs(alarms[before] - rows))
    nearer = np.minimum(rows + far, stop) - np.maximum(rows - far + 1, zone)
    return float(np.mean(1 - np.where(far > 0, nearer, 0) / (stop - zone)))
