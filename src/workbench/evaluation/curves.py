"""Threshold-free figures of scores against labels: VUS-PR (the headline) and AUC-PR.

Both take one series in time order. A reading without a score (NaN) counts as the lowest score of
all: nothing would ever be raised for it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from workbench.arrays import Bools, Floats, Ints
from workbench.compiled import compiled
from workbench.errors import EvaluationError

THRESHOLDS = 250  # TSB-AD's default
DEFAULT_PERIOD = 125  # TSB-AD's, where the autocorrelation shows none


def auc_pr(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the average precision: the step-wise area under precision over recall.

    Parameters
    ----------
    labels
        Shape (n,), true where something was wrong.
    scores
        Shape (n,), higher is more anomalous; NaN counts as the lowest.

    Raises
    ------
    EvaluationError
        If the shapes differ, or not both kinds of reading are there.

    Notes
    -----
    Source: sum of (R_k - R_(k-1)) P_k over the distinct scores, as sklearn's
    `average_precision_score`, which TSB-AD calls.

    Examples
    --------
    >>> auc_pr([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])  # doctest: +ELLIPSIS
    0.8333...
    """
    wrong, values = _checked(labels, scores)
    order = np.argsort(-values, kind="stable")
    ranked = values[order]
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(values) - 1)
    hits = np.cumsum(wrong[order])[last]
    return float(np.sum(np.diff(hits, prepend=0) / hits[-1] * hits / (last + 1)))


def vus_pr(
    labels: ArrayLike, scores: ArrayLike, *, buffer: int, thresholds: int = THRESHOLDS
) -> float:
    """Return the volume under the precision-recall surface.

    The labels' edges are softened by 0, 1, … `buffer` readings, so that an alarm a little early
    or late earns a part; the figure is the mean average precision over those softenings.

    Parameters
    ----------
    labels
        Shape (n,), true where something was wrong.
    scores
        Shape (n,), higher is more anomalous; NaN counts as the lowest.
    buffer
        The largest softening, readings; TSB-AD takes the series' period: `period(values)`.
    thresholds
        How many, evenly spread over the ranks of the scores.

    Raises
    ------
    EvaluationError
        If the shapes differ, not both kinds of reading are there, the buffer is negative, or
        fewer than two thresholds are asked for.

    Notes
    -----
    Source: Paparrizos et al. (2022), Volume Under the Surface, as TSB-AD 1.5 computes it
    (`basic_metricor.RangeAUC_volume_opt`, quirks included); equal to it to 1e-6. The order of the
    work differs: a reading is counted once per softening, under the first threshold that it
    passes, in place of once per softening and threshold.

    Examples
    --------
    >>> vus_pr([0, 0, 1, 1, 0, 0], [0, 0, 9, 8, 0, 0], buffer=0)
    1.0
    """
    wrong, values = _checked(labels, scores)
    if buffer < 0:
        raise EvaluationError(f"the buffer is {buffer}, not >= 0")
    if thresholds < 2:
        raise EvaluationError(f"{thresholds} thresholds are asked for, at least 2 are needed")
    ordered = -np.sort(-values)
    cuts = ordered[np.linspace(0, len(values) - 1, thresholds).astype(np.int64)]
    passed = np.searchsorted(-cuts, -values).astype(np.int64)  # the first threshold it passes
    predicted = np.searchsorted(-ordered, -cuts, side="right").astype(np.float64)
    edges = np.diff(wrong.astype(np.int8), prepend=0, append=0)
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return float(_volume(wrong, passed, predicted, starts, stops, buffer))


def period(values: ArrayLike) -> int:
    """Return the length of a series' strongest repetition, readings; 125 where it shows none.

    Only the first 20,000 readings are looked at. It reads the whole series, so it may choose a
    metric's buffer, never a detector's window.

    Notes
    -----
    Source: TSB-AD 1.5, `utils.slidingWindows.find_length_rank`, rank 1: the highest local maximum
    of the autocorrelation between lags 3 and 400, unless it lies below 6 or above 303.

    Examples
    --------
    >>> period(np.sin(np.arange(2000) * 2 * np.pi / 48))
    48
    """
    series = np.asarray(values, dtype=np.float64)[:20_000]
    centred = series - series.mean()
    if len(series) < 8 or not centred.any():
        return DEFAULT_PERIOD
    size = 1 << (2 * len(series) - 1).bit_length()
    power = np.abs(np.fft.rfft(centred, size)) ** 2
    lags = np.fft.irfft(power, size)[3 : min(401, len(series))]
    peaks = np.flatnonzero((lags[1:-1] > lags[:-2]) & (lags[1:-1] > lags[2:])) + 1
    if not len(peaks):
        return DEFAULT_PERIOD
    best = int(peaks[np.argmax(lags[peaks])])
    return best + 3 if 3 <= best <= 300 else DEFAULT_PERIOD


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[Bools, Floats]:
    wrong = np.asarray(labels).astype(bool)
    values = np.array(scores, dtype=np.float64)
    if wrong.ndim != 1 or wrong.shape != values.shape:
        raise EvaluationError(
            f"labels have shape {wrong.shape}, scores {values.shape}; both must be (n,)"
        )
    if wrong.all() or not wrong.any():
        raise EvaluationError(
            f"{int(wrong.sum())} of {len(wrong)} readings are labelled, some must be, and some not"
        )
    values[np.isnan(values)] = -np.inf
    return wrong, values


@compiled
def _volume(
    wrong: Bools,
    passed: Ints,
    predicted: Floats,
    starts: Ints,
    stops: Ints,
    buffer: int,
) -> float:
    total = 0.0
    for width in range(buffer + 1):
        total += _softened_precision(wrong, passed, predicted, starts, stops, width)
    return total / (buffer + 1)


@compiled
def _softened_precision(
    wrong: Bools,
    passed: Ints,
    predicted: Floats,
    starts: Ints,
    stops: Ints,
    width: int,
) -> float:
    """Average precision with the labels' edges softened over `width` readings."""
    n, count, half = len(wrong), len(predicted), width // 2
    hard, soft, starting = np.zeros(count), np.zeros(count), np.zeros(count)
    groups, position, earliest = 0, 0, count
    for k in range(len(starts)):
        begin, end = max(position, starts[k] - half), min(n, stops[k] + half)
        for i in range(begin, end):
            earliest = min(earliest, passed[i])
            if wrong[i]:
                hard[passed[i]] += 1.0
            else:
                soft[passed[i]] += _weight(i, k, starts, stops, width, half)
        position = end
        if k + 1 == len(starts) or stops[k] - 1 + half < starts[k + 1] - half:
            starting[earliest] += 1.0  # events whose softened edges meet are found as one
            groups, earliest = groups + 1, count
    positives = hard.sum()
    area = hits = extra = events = before = 0.0
    for j in range(count):
        hits += hard[j] + soft[j]
        extra += soft[j]
        events += starting[j]
        recall = min(hits / (positives + extra / 2), 1.0) * events / groups
        area += (recall - before) * hits / predicted[j]
        before = recall
    return area


@compiled
def _weight(i: int, near: int, starts: Ints, stops: Ints, width: int, half: int) -> float:
    """What an unlabelled reading next to labelled events counts: sums, at most 1."""
    k = near
    while k + 1 < len(starts) and starts[k + 1] - half <= i:
        k += 1
    weight = 0.0
    while k >= 0 and stops[k] - 1 + half >= i:
        if i < starts[k]:
            weight += np.sqrt(1 - (starts[k] - i) / width)
        else:
            weight += np.sqrt(1 - (i - (stops[k] - 1)) / width)
        k -= 1
    return min(weight, 1.0)
