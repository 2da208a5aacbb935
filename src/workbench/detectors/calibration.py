"""What a score means: its tail probability, learnt on a span that the method was not fitted on.

And what scores mean that are not calibrated: whether those of several detectors can be combined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from workbench.arrays import Bools, Floats
from workbench.detectors.contract import State
from workbench.errors import DetectorError

LEAST = 100  # calibration windows
SCHEMA = {"tail_scores": "f8[s]", "tail_logs": "f8[s]", "tail_fit": "f8[3]"}
_POINTS = 500  # of the empirical distribution kept
_TAIL = 0.05  # share of the scores that the tail is fitted to
_STEEPEST = 0.9  # xi: beyond, a tail would have no mean
_HIGH = 0.999  # share of usual scores that one of them is as high as
_DEAF = 10.0  # heights that a score has to rise by before it counts: more, and nobody hears it


def fit_tail(scores: Floats) -> State:
    """Return the distribution of scores: empirical, and a generalised Pareto tail beyond it.

    Parameters
    ----------
    scores
        Shape (n,), of windows that the method was not fitted on.

    Returns
    -------
    state
        `tail_scores`, `tail_logs`: scores, ascending, and -log10 of the probability to exceed
        them; `tail_fit`: where the tail begins, its scale, its shape xi.

    Notes
    -----
    Source: Pickands (1975) for the tail; Hosking and Wallis (1987) for its fit by
    probability-weighted moments. xi is kept within 0 and 0.9, so that no score is impossible:
    a tail that ends would call every score beyond it the same.
    """
    n = len(scores)
    if n < LEAST:
        raise DetectorError(
            f"{n} windows to calibrate on, at least {LEAST} are needed",
            hint="a longer span, a larger calibrate_share, or calibrate: none",
        )
    ordered = np.sort(scores)
    begin = min(int(n * (1 - _TAIL)), n - 10)
    start = float(ordered[begin])
    scale, shape = _pareto(ordered[begin:] - start)
    kept = np.unique(np.linspace(0, begin, min(_POINTS, begin + 1)).astype(int))
    values, first = np.unique(ordered[kept], return_index=True)
    logs = -np.log10((n - np.searchsorted(ordered, ordered[kept][first])) / n)
    return {"tail_scores": values, "tail_logs": logs, "tail_fit": np.array([start, scale, shape])}


def _pareto(excess: Floats) -> tuple[float, float]:
    """Return scale and shape of excesses >= 0, ascending."""
    n, mean = len(excess), float(excess.mean())
    least = max(1e-9, 1e-6 * float(np.abs(excess).max()))
    weighted = float((excess * (n - np.arange(n) - 0.65) / n).mean())
    if mean <= least or mean <= 2 * weighted:
        return max(mean, least), 0.0
    shape = 2 - mean / (mean - 2 * weighted)
    if shape <= 0:
        return mean, 0.0
    shape = min(shape, _STEEPEST)
    return max(mean * (1 - shape), least), shape


def tail_log(scores: Floats, state: State) -> Floats:
    """Return -log10 of the probability that a usual score is as large: 3 is one in a thousand.

    Never falls with the score; finite.
    """
    start, scale, shape = (float(value) for value in state["tail_fit"])
    logs: Floats = np.interp(scores, state["tail_scores"], state["tail_logs"])
    excess = np.minimum(np.maximum(scores - start, 0.0), 1e290)
    beyond = excess / scale  # finite, as scale is at least 1e-9
    if shape < 1e-9:
        logs += beyond / np.log(10)
    else:
        logs += np.log10(1 + shape * beyond) / shape
    return logs


def check_tail(state: State) -> None:
    """Refuse a distribution that falls, or a tail that ends."""
    falls = (np.diff(state["tail_scores"]) <= 0).any() or (np.diff(state["tail_logs"]) < 0).any()
    _, scale, shape = state["tail_fit"]
    if not len(state["tail_scores"]) or falls or not scale >= 1e-9 or not 0 <= shape <= 1:
        raise DetectorError("the arrays of the tail are no distribution")


def refuse_unheard(
    scores: Floats,
    *,
    names: Sequence[str],
    weights: Floats,
    calibrated: Bools,
    combine: Literal["mean", "max"],
) -> None:
    """Refuse to combine scores of which one is so large that another is not heard beside it.

    The height of a score is the 99.9 % quantile of usual ones less their median. In a mean, one
    whose height is a tenth of another's has to rise by ten of its own heights before it outweighs
    what is usual of that; in a maximum, by as many as it lies below the others' usual ones.

    Parameters
    ----------
    scores
        Shape (m, n): of each of m members, those of the same n usual windows.
    names, weights
        Of the m members; one of weight 0 need not be heard.
    calibrated
        Shape (m,): whose scores are logs of tail probabilities: their height is 2.7 by what they
        mean, though they may not move on these windows.

    Raises
    ------
    DetectorError
        If one had to rise by more than ten heights; or, not calibrated, never moves on usual
        windows: it may mean anything when it does.

    Notes
    -----
    Source: Aggarwal and Sathe (2017), Outlier Ensembles: scores are brought to one scale before
    they are combined. That the border lies at ten heights is our choice; scores of one unit, as of
    `robust_z` for two groups of channels, stay far below it.

    Examples
    --------
    >>> usual = np.linspace(0, 1, 1000)
    >>> given = {"names": ["knn", "lof"], "weights": np.ones(2), "combine": "mean"}
    >>> given |= {"calibrated": np.zeros(2, dtype=bool)}
    >>> refuse_unheard(np.stack([usual, 5 * usual]), **given)
    >>> refuse_unheard(np.stack([usual, 50 * usual]), **given)
    Traceback (most recent call last):
    workbench.errors.DetectorError: not heard in the ensemble: knn, whose score has to rise by 50 \
times what it usually does; of usual scores 99.9 % are up to 0.999 (knn), 50 (lof)
      leave out calibrate of its members: it is tail then, and all scores are of one scale
    """
    middle, high = np.quantile(scores, [0.5, _HIGH], axis=1)
    heights = np.maximum(high - middle, np.where(calibrated, -np.log10((1 - _HIGH) / 0.5), 0.0))
    if combine == "max":
        above = high[weights > 0].max() - middle
    else:
        above = (weights * heights).max() / np.where(weights > 0, weights, np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        times = np.where((weights > 0) & (above > 0), above / heights, 0.0)
    unheard = [_unheard(names[i], times[i]) for i in np.flatnonzero(times > _DEAF)]
    if unheard:
        reached = ", ".join(f"{q:.3g} ({name})" for q, name in zip(high, names, strict=True))
        raise DetectorError(
            f"not heard in the ensemble: {'; '.join(unheard)}; of usual scores 99.9 % are up to "
            f"{reached}",
            hint="leave out calibrate of its members: it is tail then, and all scores are of one "
            "scale",
        )


def _unheard(name: str, times: float) -> str:
    if np.isinf(times):
        return f"{name}, whose usual scores are all the same, so that none says how far one rises"
    return f"{name}, whose score has to rise by {times:,.0f} times what it usually does"


def threshold_for_probability(
    scores: Floats, probability: float, *, block: int, repeats: int = 200, seed: int = 0
) -> tuple[float, float, float]:
    """Return the score that usual readings exceed with a probability, and its 95 % interval.

    Parameters
    ----------
    scores
        Shape (n,), in order, of a span without faults that the detector was not fitted on.
    probability
        Of one reading; may be smaller than 1 / n, where the fitted tail tells.
    block
        Readings that depend on each other, the window at least: the interval is from samples of
        whole blocks.
    """
    if not 0 < probability < 1:
        raise DetectorError(f"the probability is {probability}, expected one between 0 and 1")
    finite = scores[np.isfinite(scores)]
    rng = np.random.default_rng(seed)
    starts = np.arange(max(1, len(finite) - block + 1))
    count = max(1, len(finite) // block)
    thresholds = [
        _score_exceeded(
            fit_tail(finite[(drawn[:, np.newaxis] + np.arange(block)).ravel()]), probability
        )
        for drawn in (rng.choice(starts, count) for _ in range(repeats))
    ]
    low, high = np.quantile(thresholds, [0.025, 0.975])
    return _score_exceeded(fit_tail(finite), probability), float(low), float(high)


def _score_exceeded(state: State, probability: float) -> float:
    """Return the score whose tail probability is `probability`."""
    wanted, joint = -np.log10(probability), float(state["tail_logs"][-1])
    if wanted <= joint:
        return float(np.interp(wanted, state["tail_logs"], state["tail_scores"]))
    start, scale, shape = (float(value) for value in state["tail_fit"])
    more = (wanted - joint) * np.log(10)
    return float(start + scale * (more if shape < 1e-9 else np.expm1(shape * more) / shape))
