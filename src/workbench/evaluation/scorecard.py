"""Every figure of merit of one detector on labelled readings, a row for each sensor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.detectors import EpisodeRule, alarmed, episodes
from workbench.evaluation.affiliation import affiliation
from workbench.evaluation.budget import recall_at
from workbench.evaluation.events import EventReport, event_report
from workbench.evaluation.labels import epoch_ms, labelled
from workbench.evaluation.nab import NabSeries
from workbench.evaluation.nab_score import nab_score
from workbench.evaluation.ranking import judge

Floats = NDArray[np.float64]
Times = NDArray[np.int64]
Names = NDArray[np.object_]


@dataclass(frozen=True)
class Terms:
    """What detectors are compared under: the same for all of a table.

    Attributes
    ----------
    labels
        As from `read_labels`.
    span
        What is judged, [start, stop), UTC.
    rule
        When an alarm is set and reset.
    false_per_sensor_day
        The price at which `recall_at_budget` is taken, its threshold found with the labels in hand.
    """

    labels: pd.DataFrame
    span: tuple[pd.Timestamp, pd.Timestamp]
    rule: EpisodeRule
    false_per_sensor_day: float


def score_card(
    detector: str, times_ms: Times, sensors: Names, scores: Floats, threshold: float, terms: Terms
) -> tuple[list[dict[str, object]], EventReport]:
    """Return a row for each sensor with a labelled reading, and the report over all sensors.

    Parameters
    ----------
    detector
        The name in the tables.
    times_ms, sensors, scores
        Shape (n,): the readings judged, in arrival order; NaN where there is no score.
    threshold
        Fixed before the readings judged.

    Returns
    -------
    rows
        `detector`, `series`, and: `vus_pr` and `auc_pr` of the scores; `recall`, `precision`,
        `delay_median_s`, `delay_p90_s`, `false_alerts_per_sensor_day` of the alerts at the
        threshold; `nab`, NAB's rule over the alerts, nothing of the readings being probation;
        `recall_at_budget`; and, as side figures, `affiliation_precision` and
        `affiliation_recall` of the readings under an alarm. NaN where a figure does not exist.
    """
    alerts = episodes(times_ms, sensors, scores, threshold, terms.rule)
    on = alarmed(times_ms, sensors, scores > threshold, terms.rule)
    wrong = labelled(times_ms, sensors, terms.labels)
    chosen = [str(one) for one in pd.unique(sensors)]
    bought = recall_at(
        times_ms, sensors, scores, terms.labels, span=terms.span, names=chosen, rule=terms.rule,
        false_per_sensor_day=terms.false_per_sensor_day,
    ).report.table  # fmt: skip
    rows = judge(detector, times_ms, sensors, scores, terms.labels)
    for row in rows:
        name = row["series"]
        own = np.flatnonzero(sensors == name)
        own = own[np.argsort(times_ms[own], kind="stable")]
        near, found = affiliation(wrong[own], on[own])
        mine = bought.loc[bought["sensor"] == name, "found"]
        row |= _of_alerts(event_report(alerts, terms.labels, span=terms.span, sensors=[str(name)]))
        row |= {
            "nab": _nab(times_ms[own], wrong[own], alerts[alerts["sensor"] == name]),
            "recall_at_budget": float(mine.mean()) if len(mine) else math.nan,
            "affiliation_precision": near,
            "affiliation_recall": found,
        }
    return rows, event_report(alerts, terms.labels, span=terms.span, sensors=chosen)


def _of_alerts(report: EventReport) -> dict[str, float]:
    names = ("recall", "precision", "delay_median_s", "delay_p90_s", "false_alerts_per_sensor_day")
    return {name: float(getattr(report, name)) for name in names}


def _nab(times_ms: Times, wrong: NDArray[np.bool_], alerts: pd.DataFrame) -> float:
    """Return the NAB score of alerts, each a detection at the reading that sets it."""
    edges = np.diff(wrong.astype(np.int8), prepend=0, append=0)
    first, last = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    windows = tuple((int(one), int(other)) for one, other in zip(first, last, strict=True))
    series = NabSeries("", times_ms.astype(object), np.zeros(len(times_ms)), windows, learnt=0)
    detected = np.isin(times_ms, epoch_ms(alerts["start"])).astype(np.float64)
    return nab_score([(series, detected)], threshold=1.0).score
