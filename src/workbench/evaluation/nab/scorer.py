"""The NAB score, by NAB's own rule.

Every row at or above the threshold is a detection. Of the detections in a labelled window only the
earliest counts: near 1 at the window's first row, falling along a sigmoid towards 0 at its last. A
window without one costs `fn`. Every detection outside costs up to `fp`, less for a short while
after a window. Rows in probation do not count. 0 is a detector that never detects, 100 the earliest
detection in every window and no other.

Source: Lavin and Ahmad (2015), Evaluating Real-time Anomaly Detection Algorithms; the rule's fine
print (positions, edges) as numenta/NAB 1.1, nab/sweeper.py, whose published results it reproduces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from workbench.arrays import Floats
from workbench.errors import EvaluationError, did_you_mean
from workbench.evaluation.nab.files import NabSeries


@dataclass(frozen=True)
class Profile:
    """What a hit, a miss and a false detection weigh."""

    tp: float
    fn: float
    fp: float


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "standard": Profile(tp=1.0, fn=1.0, fp=0.11),
        "reward_low_FP_rate": Profile(tp=1.0, fn=1.0, fp=0.22),
        "reward_low_FN_rate": Profile(tp=1.0, fn=2.0, fp=0.11),
    }
)


@dataclass(frozen=True)
class NabScore:
    """A NAB score: normalised (0 never detects, 100 perfect), NAB's raw sum, and the threshold."""

    score: float
    raw: float
    threshold: float


def nab_score(
    scored: Sequence[tuple[NabSeries, Floats]],
    *,
    threshold: float | None = None,
    profile: str = "standard",
) -> NabScore:
    """Return the NAB score of a detector over series.

    Parameters
    ----------
    scored
        Series, each with its scores (n,); NaN is never a detection.
    threshold
        A row scores at or above it: a detection. None takes the best for these very series, as
        NAB's published results do, with the labels in hand.
    profile
        `standard`, `reward_low_FP_rate` or `reward_low_FN_rate`.

    Raises
    ------
    EvaluationError
        On an unknown profile, scores that do not fit their series, or no labelled window.
    """
    if profile not in PROFILES:
        raise EvaluationError(f"no NAB profile {profile!r}", hint=did_you_mean(profile, PROFILES))
    windows = sum(len(series.windows) for series, _ in scored)
    if not windows:
        raise EvaluationError("no series has a labelled window, the NAB score does not exist")
    weights = PROFILES[profile]
    parts = [_gains(series, scores, weights) for series, scores in scored]
    rows = np.concatenate([part[0] for part in parts])
    gains = np.concatenate([part[1] for part in parts])
    least = -weights.fn * windows
    if threshold is None:
        best, threshold = _best(rows, gains)
    else:
        best = float(gains[rows >= threshold].sum())
    return NabScore(
        score=100 * best / (weights.tp * windows - least), raw=least + best, threshold=threshold
    )


def nab_interval(
    scored: Sequence[tuple[NabSeries, Floats]],
    threshold: float,
    *,
    profile: str = "standard",
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % interval of the NAB score at one threshold, by a bootstrap over series.

    Parameters
    ----------
    scored, profile
        As for `nab_score`.
    threshold
        The one of `nab_score`: it is not chosen anew for each resample.

    Raises
    ------
    EvaluationError
        As `nab_score`.
    """
    nab_score(scored, threshold=threshold, profile=profile)  # checks what it is given
    weights = PROFILES[profile]
    gained, windows = np.empty(len(scored)), np.empty(len(scored))
    for at, (series, scores) in enumerate(scored):
        rows, gains = _gains(series, scores, weights)
        gained[at], windows[at] = gains[rows >= threshold].sum(), len(series.windows)
    drawn = np.random.default_rng(seed).integers(len(scored), size=(resamples, len(scored)))
    drawn = drawn[windows[drawn].sum(axis=1) > 0]  # of the others there is no score
    perfect = (weights.tp + weights.fn) * windows[drawn].sum(axis=1)
    low, high = np.percentile(100 * gained[drawn].sum(axis=1) / perfect, [2.5, 97.5])
    return float(low), float(high)


def _best(rows: Floats, gains: Floats) -> tuple[float, float]:
    """Return the largest sum of gains over all thresholds, and that threshold."""
    order = np.argsort(-rows, kind="stable")
    ranked, sums = rows[order], np.cumsum(gains[order])
    if not len(ranked):  # no row has a score
        return 0.0, float("inf")
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    best = int(last[np.argmax(sums[last])])
    if sums[best] <= 0:
        return 0.0, float("inf")
    return float(sums[best]), float(ranked[best])


def _gains(series: NabSeries, scores: Floats, weights: Profile) -> tuple[Floats, Floats]:
    """Return the rows' scores, and what the sum gains as the threshold falls to each of them."""
    n = len(series.readings)
    if scores.shape != (n,):
        raise EvaluationError(f"{series.name} has {n} rows, there are {scores.size} scores")
    ranked = np.where(np.isnan(scores), -np.inf, scores)
    gains = -weights.fp * _distance_past(series)
    for first, last in series.windows:
        inside = np.arange(max(first, series.probation), last + 1)
        position = -(last - np.arange(inside[0], last + 1) + 1) / (last - first + 1)
        worth = weights.tp * _sigmoid(position) / _sigmoid(np.array(-1.0))
        order = np.argsort(-ranked[inside], kind="stable")
        reached = np.maximum.accumulate(np.concatenate([[-weights.fn], worth[order]]))
        gains[inside[order]] = np.diff(reached)
    judged = slice(series.probation, None)
    keep = ranked[judged] > -np.inf
    return ranked[judged][keep], gains[judged][keep]


def _distance_past(series: NabSeries) -> Floats:
    """Return what a false detection costs at each row: 1, or less just past a window."""
    rows = np.arange(len(series.readings))
    cost = np.ones(len(rows))
    for first, last in series.windows:
        past = (rows[last + 1 :] - last) / max(last - first, 1)
        cost[last + 1 :] = np.where(past > 3.0, 1.0, -_sigmoid(past))
    return cost


def _sigmoid(position: Floats) -> Floats:
    scaled: Floats = 2 / (1 + np.exp(5 * position)) - 1
    return scaled
