"""NAB's score of what can run: alarms of a package, which has a threshold and a rule.

A detection is the reading that sets an alarm. Nothing else is in between: what `nab_calls` makes of
scores (their surprise against the past, onsets, a mean of several) is in evaluation alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.arrays import Floats, Ints
from workbench.detectors import EpisodeRule, alarm_starts
from workbench.errors import EvaluationError
from workbench.evaluation.budget import thresholds_worth_trying
from workbench.evaluation.nab.files import NabSeries
from workbench.evaluation.nab.running import NabPass
from workbench.evaluation.nab.scorer import PROFILES, NabScore, nab_score
from workbench.times import epoch_ms

_TRIED = 400  # thresholds


def nab_alarms(result: NabPass, threshold: float, *, rule: EpisodeRule | None = None) -> NabPass:
    """Return a pass whose scores are 1 at the readings that set an alarm, else 0.

    Parameters
    ----------
    result
        Of scores, as from `run_nab`.
    threshold
        One for all series; a score must be larger, as everywhere.
    rule
        When an alarm is set and reset.
    """
    rows = _Rows.of(result.pairs())
    (starts,) = alarm_starts(
        rows.times, rows.sensors, rows.scores, [threshold], rule or EpisodeRule()
    )
    scores = tuple(detected for _, detected in rows.detections(starts))
    return NabPass(result.detector, result.series, scores, result.refused, result.seconds)


def nab_alarm_scores(
    result: NabPass, *, rule: EpisodeRule | None = None, half: int | None = None
) -> dict[str, NabScore]:
    """Return by profile the NAB score of a pass's alarms, each at its best threshold.

    Parameters
    ----------
    result
        Of scores, as from `run_nab`.
    rule
        When an alarm is set and reset.
    half
        Of every other series alone (0 or 1). None: of all.

    Notes
    -----
    The threshold is one for all series and found with the labels in hand, as in NAB's own table:
    the best of 400, dense where scores are rare. `swapped_nab_alarms` does without that.

    Raises
    ------
    EvaluationError
        As `nab_score`.
    """
    rows = _Rows.of(result.pairs(half))
    finite = rows.scores[np.isfinite(rows.scores)]
    best: dict[str, NabScore] = {}
    tried = thresholds_worth_trying(finite, _TRIED) if len(finite) else [np.inf]
    started = alarm_starts(rows.times, rows.sensors, rows.scores, tried, rule or EpisodeRule())
    for threshold, starts in zip(tried, started, strict=True):
        detections = rows.detections(starts)
        for profile in PROFILES:
            scored = nab_score(detections, threshold=1.0, profile=profile)
            if profile not in best or scored.score > best[profile].score:
                best[profile] = NabScore(scored.score, scored.raw, threshold)
    return best


def swapped_nab_alarms(
    passes: Sequence[NabPass], *, rule: EpisodeRule | None = None
) -> pd.DataFrame:
    """Return NAB scores of alarms, setting and threshold of one half judged on the other.

    As `swapped_nab` does for calls, whose columns the table has.
    """
    if not passes:
        raise EvaluationError("no settings to choose from")
    table = []
    for half in (0, 1):
        scored = [nab_alarm_scores(setting, rule=rule, half=half)["standard"] for setting in passes]
        nth = int(np.argmax([best.score for best in scored]))
        alarms = nab_alarms(passes[nth], scored[nth].threshold, rule=rule)
        other = nab_score(alarms.pairs(1 - half), threshold=1.0).score
        table.append((half, passes[nth].detector, scored[nth].threshold, scored[nth].score, other))
    columns = ["chosen_on", "setting", "threshold", "chosen_score", "other_score"]
    return pd.DataFrame(table, columns=columns)


@dataclass(frozen=True, eq=False)
class _Rows:
    """The readings of all series that are not late, one series after the other."""

    series: tuple[NabSeries, ...]
    ends: Ints
    rows: Ints
    times: Ints
    sensors: Ints
    scores: Floats

    @classmethod
    def of(cls, pairs: Sequence[tuple[NabSeries, Floats]]) -> _Rows:
        kept, times, scores = [], [], []
        nab_score(pairs, threshold=np.inf)  # checks what it is given
        for series, scored in pairs:
            kept.append(np.flatnonzero(series.forward))
            times.append(epoch_ms(series.frame()["event_time"])[kept[-1]])
            judged = np.where(np.arange(len(scored)) < series.probation, np.nan, scored)
            scores.append(judged[kept[-1]])  # nothing alarms before it is judged
        lengths = [len(rows) for rows in kept]
        return cls(
            tuple(series for series, _ in pairs),
            np.cumsum(lengths),
            np.concatenate(kept),
            np.concatenate(times),
            np.repeat(np.arange(len(pairs)), lengths),
            np.concatenate(scores),
        )

    def detections(self, starts: Ints) -> list[tuple[NabSeries, Floats]]:
        """Return each series with 1 at the rows where an alarm is set, else 0."""
        each = np.searchsorted(self.ends, starts, side="right")
        detections = []
        for nth, series in enumerate(self.series):
            detected = np.zeros(len(series.readings))
            detected[self.rows[starts[each == nth]]] = 1.0
            detections.append((series, detected))
        return detections
