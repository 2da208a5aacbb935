"""Every figure of merit of one detector on labelled readings, a row for each sensor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.arrays import Bools, Floats, Ints, Objects
from workbench.detectors import EpisodeRule, alarmed, episodes, sensor_codes
from workbench.evaluation.budget import recall_at
from workbench.evaluation.events import EventReport, event_report
from workbench.evaluation.labels import labelled
from workbench.evaluation.nab.files import NabSeries
from workbench.evaluation.nab.scorer import nab_score
from workbench.evaluation.ranking import judge
from workbench.times import epoch_ms


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


@dataclass(frozen=True)
class Pointwise:
    """Readings under an alarm and labelled readings, counted one by one, as papers do.

    A reading that no window ends at is under no alarm, and counts like any other. Nothing is
    point-adjusted: with that, random scores look state of the art (Kim et al. 2022).
    """

    hits: int
    alarmed: int
    labelled: int

    @property
    def f1(self) -> float:
        """Harmonic mean of the shares of labelled readings hit and of alarmed ones that are hits.

        NaN where nothing is labelled.
        """
        return 2 * self.hits / (self.alarmed + self.labelled) if self.labelled else math.nan

    def __add__(self, other: Pointwise) -> Pointwise:
        """Return both together."""
        return Pointwise(
            self.hits + other.hits, self.alarmed + other.alarmed, self.labelled + other.labelled
        )

    @classmethod
    def of(cls, alarm: Bools, wrong: Bools) -> Pointwise:
        """Return the counts of readings (n,)."""
        return cls(int((alarm & wrong).sum()), int(alarm.sum()), int(wrong.sum()))


def score_card(
    detector: str,
    times_ms: Ints,
    sensors: Objects,
    scores: Floats,
    threshold: float | Floats,
    terms: Terms,
) -> tuple[list[dict[str, object]], EventReport, Pointwise]:
    """Return a row for each sensor with a labelled reading, and the reports over all sensors.

    Parameters
    ----------
    detector
        The name in the tables.
    times_ms, sensors, scores
        Shape (n,): the readings judged, in arrival order; NaN where there is no score.
    threshold
        Fixed before the readings judged; or shape (n,), the one in force when each arrived.

    Returns
    -------
    rows
        `detector`, `series`, and: `vus_pr` and `auc_pr` of the scores; `recall`, `precision`,
        `delay_median_s`, `delay_p90_s`, `false_alerts_per_sensor_day`, `alarm_share` of the alerts
        at the threshold; `f1_pointwise` of the readings under an alarm;
        `nab`, NAB's rule over the alerts, nothing of the readings being probation;
        `recall_at_budget`. NaN where a figure does not exist.
    """
    beyond = scores - threshold  # > 0 is the same as >, to the last bit
    alerts = episodes(times_ms, sensors, beyond, 0.0, terms.rule)
    alarm = alarmed(times_ms, sensors, beyond > 0, terms.rule)
    wrong = labelled(times_ms, sensors, terms.labels)
    chosen = [str(name) for name in sensor_codes(sensors)[1]]
    bought = recall_at(
        times_ms, sensors, scores, terms.labels, span=terms.span, names=chosen, rule=terms.rule,
        false_per_sensor_day=terms.false_per_sensor_day,
    ).report.table  # fmt: skip
    rows = judge(detector, times_ms, sensors, scores, terms.labels)
    for row in rows:
        name = row["series"]
        positions = np.flatnonzero(sensors == name)
        positions = positions[np.argsort(times_ms[positions], kind="stable")]
        mine = bought.loc[bought["sensor"] == name, "found"]
        row |= _of_alerts(event_report(alerts, terms.labels, span=terms.span, sensors=[str(name)]))
        row |= {
            "f1_pointwise": Pointwise.of(alarm[positions], wrong[positions]).f1,
            "nab": _nab(times_ms[positions], wrong[positions], alerts[alerts["sensor"] == name]),
            "recall_at_budget": float(mine.mean()) if len(mine) else math.nan,
        }
    report = event_report(alerts, terms.labels, span=terms.span, sensors=chosen)
    return rows, report, Pointwise.of(alarm, wrong)


def _of_alerts(report: EventReport) -> dict[str, float]:
    names = (
        "recall", "precision", "delay_median_s", "delay_p90_s", "false_alerts_per_sensor_day",
        "alarm_share",
    )  # fmt: skip
    return {name: float(getattr(report, name)) for name in names}


def _nab(times_ms: Ints, wrong: Bools, alerts: pd.DataFrame) -> float:
    """Return the NAB score of alerts, each a detection at the reading that sets it."""
    edges = np.diff(wrong.astype(np.int8), prepend=0, append=0)
    first, last = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    windows = tuple((int(begin), int(end)) for begin, end in zip(first, last, strict=True))
    series = NabSeries("", times_ms.astype(object), np.zeros(len(times_ms)), windows, learnt=0)
    detected = np.isin(times_ms, epoch_ms(alerts["start"])).astype(np.float64)
    return nab_score([(series, detected)], threshold=1.0).score
