"""What a detector finds for a price: events found at so many false alerts a day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.arrays import Bools, Floats, Ints, Objects
from workbench.detectors import EpisodeRule, alarm_starts, episodes, of_sensors
from workbench.errors import EvaluationError
from workbench.evaluation.events import DAY_MS, EventReport, event_report, within
from workbench.times import epoch_ms

LEVELS = 120  # thresholds tried


@dataclass(frozen=True)
class AtBudget:
    """The most events found within a budget of false alerts, and the threshold that does it."""

    recall: float
    threshold: float
    report: EventReport


def recall_at(
    times_ms: Ints,
    sensors: Objects,
    scores: Floats,
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
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        raise EvaluationError(f"none of {len(scores)} readings has a score")
    if false_per_sensor_day < 0:
        raise EvaluationError(f"the budget is {false_per_sensor_day} false alerts, not >= 0")
    chosen, rule = sorted(set(names)), rule or EpisodeRule()
    start_ms, stop_ms = (int(bound) for bound in epoch_ms(pd.Series(span, dtype=object)))
    most = false_per_sensor_day * len(chosen) * (stop_ms - start_ms) / DAY_MS
    counts = (times_ms >= start_ms) & (times_ms < stop_ms) & of_sensors(sensors, chosen)
    inside = _inside(times_ms, sensors, within(labels, chosen, start_ms, stop_ms))
    levels, most_found, best = thresholds_worth_trying(finite), -1, float(finite.max())
    started = alarm_starts(times_ms, sensors, scores, levels, rule)
    for threshold, starts in zip(levels, started, strict=True):
        faults = inside[:, starts[counts[starts]]]
        found = int(faults.any(axis=1).sum())
        if (~faults.any(axis=0)).sum() <= most and found > most_found:
            most_found, best = found, threshold
    report = event_report(
        episodes(times_ms, sensors, scores, best, rule), labels, span=span, sensors=chosen
    )
    return AtBudget(report.recall, best, report)


def _inside(times_ms: Ints, sensors: Objects, events: pd.DataFrame) -> Bools:
    """Return (events, readings): which reading lies in which event of its sensor."""
    bounds = zip(events["sensor"], epoch_ms(events["start"]), epoch_ms(events["stop"]), strict=True)
    rows = [
        (sensors == sensor) & (times_ms >= start) & (times_ms < stop)
        for sensor, start, stop in bounds
    ]
    return np.array(rows, dtype=np.bool_).reshape(len(rows), len(times_ms))


def thresholds_worth_trying(scores: Floats, count: int = LEVELS) -> list[float]:
    """Return some `count` thresholds, the largest score first, dense where scores are rare."""
    shares = np.concatenate([[0.0], np.geomspace(1 / len(scores), 1.0, count)])
    return [float(level) for level in np.unique(np.quantile(scores, 1 - shares))[::-1]]
