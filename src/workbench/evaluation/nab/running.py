"""Run a detector over NAB, one setting for all files, and judge what it found.

Two figures with two aims: VUS-PR of the scores (are the wrong stretches scored above the others?)
and the NAB score of the onsets (is one early call made for each?). Both from the same causal pass.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from workbench.arrays import Floats
from workbench.detectors import resolve
from workbench.errors import DetectorError, EvaluationError
from workbench.evaluation.causal import causal_scores, transductive_scores
from workbench.evaluation.curves import auc_pr, period, vus_pr
from workbench.evaluation.nab.files import NabSeries
from workbench.evaluation.nab.onsets import onsets, surprise
from workbench.evaluation.nab.scorer import NabScore, nab_score
from workbench.evaluation.ranking import FLOORS, checked_direction, floor_scores

LATENESS_MS = 1  # NAB's rows are in order of arrival; one that goes back in time is late
SETTLING = 0.3  # of probation: the first fit, so that the rest of it shows what scores are usual


@dataclass(frozen=True, eq=False)
class NabPass:
    """A detector's scores on series of NAB.

    Attributes
    ----------
    detector
        The name in the leaderboard.
    series, scores
        Each series and its scores (n,), NaN where there is none.
    refused
        Series on which no detector could be fitted, with the reason; their scores are all NaN.
    seconds
        How long fitting and scoring took.
    """

    detector: str
    series: tuple[NabSeries, ...] = field(repr=False)
    scores: tuple[Floats, ...] = field(repr=False)
    refused: Mapping[str, str]
    seconds: float

    def pairs(self, half: int | None = None) -> list[tuple[NabSeries, Floats]]:
        """Return series with their scores: all, or those of one half (0 or 1, every other)."""
        both = list(zip(self.series, self.scores, strict=True))
        return both if half is None else both[half::2]

    def called(self, series: NabSeries, threshold: float) -> pd.DataFrame:
        """Return the rows of a series that score at or above a threshold, as alerts of one row."""
        scores = dict(zip(self.series, self.scores, strict=True))[series]
        rows = np.flatnonzero(scores >= threshold)  # NaN never is
        starts = series.frame()["event_time"].iloc[rows[rows >= series.probation]]
        stops = starts + pd.Timedelta(milliseconds=1)
        return pd.DataFrame({"sensor": series.name, "start": starts, "stop": stops})


def run_nab(
    spec: Mapping[str, Any],
    series: Sequence[NabSeries],
    *,
    name: str = "",
    seed: int = 0,
    hindsight: bool = False,
) -> NabPass:
    """Return a detector's scores on series of NAB, by NAB's rules.

    Parameters
    ----------
    spec
        As for `detectors.fit`; `channels` may be left out (NAB has one: `value`).
    name
        In the leaderboard; if left out, the detector's.
    hindsight
        Break the rules: fit on each whole series. For the transductive gap only.

    Raises
    ------
    DetectorError
        If the specification is wrong.
    """
    spec = {"channels": ["value"], **spec}
    resolved = resolve(spec)
    began = time.perf_counter()
    scores: list[Floats] = []
    refused: dict[str, str] = {}
    for member in tqdm(series, desc=name or resolved["name"], unit="series", disable=None):
        try:
            scores.append(_scores(spec, member, resolved["window"], hindsight=hindsight, seed=seed))
        except DetectorError as error:
            refused[member.name] = error.message
            scores.append(np.full(len(member.readings), np.nan))
    taken = time.perf_counter() - began
    return NabPass(name or resolved["name"], tuple(series), tuple(scores), refused, taken)


def _scores(
    spec: Mapping[str, Any], series: NabSeries, window: int, *, hindsight: bool, seed: int
) -> Floats:
    frame = series.frame()
    asked: Any = {"sensor": "sensor", "lateness_ms": LATENESS_MS, "seed": seed}
    if hindsight:
        return transductive_scores(spec, frame, **asked)
    learn = max(int(SETTLING * series.probation), window + 15)
    if spec.get("refit") and learn < series.probation:
        try:
            return causal_scores(spec, frame, learn=learn, **asked)
        except DetectorError:  # constant so far, or too short: learn from all of probation
            pass
    return causal_scores(spec, frame, learn=series.probation, **asked)


def nab_floors(series: Sequence[NabSeries], *, seed: int = 0) -> list[NabPass]:
    """Return passes of the two floors, which know nothing: `random` and `constant`."""
    lengths = [len(labelled.readings) for labelled in series]
    each = [floor_scores(length, seed=seed + nth) for nth, length in enumerate(lengths)]
    return [
        NabPass(floor, tuple(series), tuple(floors[floor] for floors in each), {}, 0.0)
        for floor in FLOORS
    ]


def judge_nab(result: NabPass) -> list[dict[str, object]]:
    """Return a row for each labelled series: `detector`, `series`, `vus_pr`, `auc_pr`.

    Probation is left out; the buffer is the series' period, as in TSB-AD.
    """
    rows: list[dict[str, object]] = []
    for series, scores in result.pairs():
        labels, judged = series.labels[series.probation :], scores[series.probation :]
        if not labels.any():
            continue
        volume = vus_pr(labels, judged, buffer=period(series.readings))
        figures = {"vus_pr": volume, "auc_pr": auc_pr(labels, judged)}
        rows.append({"detector": result.detector, "series": series.name, **figures})
    return rows


def nab_calls(first: NabPass, *beside: NabPass, memory: int = 20_000, quiet: int = 100) -> NabPass:
    """Return a pass whose scores are calls, from 0 to 1: what the NAB score judges.

    Parameters
    ----------
    beside
        Passes of other detectors over the same series: the mean surprise of all makes the call.
    memory, quiet
        See `surprise` and `onsets`; rows.
    """
    levels = []
    for series, *scores in zip(
        first.series, first.scores, *(passed.scores for passed in beside), strict=True
    ):
        level = np.mean([surprise(row_scores, memory=memory) for row_scores in scores], axis=0)
        level[: series.probation] = 0.0
        risen = onsets(level, quiet=quiet)
        levels.append(risen / (1.0 + risen))
    name = " + ".join(passed.detector for passed in (first, *beside))
    return NabPass(name, first.series, tuple(levels), first.refused, first.seconds)


def swapped_nab(passes: Sequence[NabPass]) -> pd.DataFrame:
    """Return NAB scores of settings chosen on one half of the series and judged on the other.

    The better setting and its threshold come from the half `chosen_on`; nothing of the other half
    is known to them.

    Parameters
    ----------
    passes
        Of calls, one per setting, on the same series.

    Returns
    -------
    table
        `chosen_on` (0 or 1), `setting`, `threshold`, `chosen_score`, `other_score`.
    """
    rows = []
    for half in (0, 1):
        best, setting = _best(passes, half)
        other = nab_score(setting.pairs(1 - half), threshold=best.threshold)
        rows.append((half, setting.detector, best.threshold, best.score, other.score))
    columns = ["chosen_on", "setting", "threshold", "chosen_score", "other_score"]
    return pd.DataFrame(rows, columns=columns)


def _best(passes: Sequence[NabPass], half: int) -> tuple[NabScore, NabPass]:
    if not passes:
        raise EvaluationError("no settings to choose from")
    scored = [(nab_score(setting.pairs(half)), setting) for setting in passes]
    return max(scored, key=lambda pair: pair[0].score)


def swapped(rows: Sequence[Mapping[str, object]], *, headline: str = "vus_pr") -> pd.DataFrame:
    """Return a figure of settings chosen on one half of the series and judged on the other.

    Parameters
    ----------
    rows
        As for `leaderboard`; every setting judged on the same series. Halves are every other
        series in order of their names.

    Returns
    -------
    table
        `chosen_on` (0 or 1), `setting`, `chosen_mean`, `other_mean`, `series` (judged).

    Examples
    --------
    >>> rows = [{"detector": d, "series": s, "vus_pr": v} for d, s, v in
    ...         [("a", "1", 0.9), ("b", "1", 0.1), ("a", "2", 0.2), ("b", "2", 0.3)]]
    >>> swapped(rows)[["setting", "chosen_mean", "other_mean"]].to_numpy().tolist()
    [['a', 0.9, 0.2], ['b', 0.3, 0.1]]
    """
    if not rows:
        raise EvaluationError("no settings to choose from")
    sign = checked_direction(headline)
    table = pd.DataFrame([dict(row) for row in rows])
    wide = table.pivot_table(index="series", columns="detector", values=headline)
    chosen = []
    for half in (0, 1):
        mean, other_mean = wide.iloc[half::2].mean(), wide.iloc[1 - half :: 2].mean()
        setting = str(mean.idxmax() if sign > 0 else mean.idxmin())
        count = len(wide.iloc[1 - half :: 2])
        chosen.append((half, setting, mean[setting], other_mean[setting], count))
    columns = ["chosen_on", "setting", "chosen_mean", "other_mean", "series"]
    return pd.DataFrame(chosen, columns=columns)
