"""What a detector finds for a price: events found at so many false alerts a day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.detectors import EpisodeRule, episodes
from workbench.errors import EvaluationError
from workbench.evaluation.events import EventReport, event_report

LEVELS = 120  # thresholds tried


@dataclass(frozen=True)
class AtBudget:
    """The most events found within a budget of false alerts, and the threshold that does it."""

    recall: float
    threshold: float
    report: EventReport


def recall_at(
    times_ms: NDArray[np.int64],
    sensors: NDArray[np.object_],
    scores: NDArray[np.float64],
    labels: pd.DataFrame,
    *,
    false_per_sensor_day: float,
    span: tuple[pd.Timestamp, pd.Timestamp],
    names: Iterable[str],
    rule: EpisodeRule | None = None,
) -> AtBudget:
    """Return the recall of events at the best threshold within a budget of false alerts.

    It compares detectors at equal cost; the threshold is found with the labels in hand, so the
    figure of a deployed detector is that of its own, fixed threshold (`event_report`).

    Parameters
    ----------
    times_ms, sensors, scores
        Shape (n,), in arrival order, late readings left out; NaN counts as not above.
    labels, span, names
        As for `event_report`.
    false_per_sensor_day
        At most so many false alerts.
    rule
        When an alarm is set and reset.

    Raises
    ------
    EvaluationError
        If no reading has a score, or the budget is negative.
    """
    known = scores[np.isfinite(scores)]
    if not len(known):
        raise EvaluationError(f"none of {len(scores)} readings has a score")
    if false_per_sensor_day < 0:
        raise EvaluationError(f"the budget is {false_per_sensor_day} false alerts, not >= 0")
    chosen = list(names)
    best: AtBudget | None = None
    for threshold in _levels(known):
        found = episodes(times_ms, sensors, scores, threshold, rule or EpisodeRule())
        report = event_report(found, labels, span=span, sensors=chosen)
        fits = report.false_alerts_per_sensor_day <= false_per_sensor_day
        if fits and (best is None or report.found > best.report.found):
            best = AtBudget(report.recall, threshold, report)
    assert best is not None  # noqa: S101 - above the largest score nothing alarms
    return best


def _levels(known: NDArray[np.float64]) -> list[float]:
    """Return thresholds from the largest score downwards, dense where scores are rare."""
    shares = np.concatenate([[0.0], np.geomspace(1 / len(known), 1.0, LEVELS)])
    return [float(one) for one in np.unique(np.quantile(known, 1 - shares))[::-1]]
