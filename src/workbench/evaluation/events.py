"""Judge alert episodes against labelled events: what was found, how late, how many false alerts.

What a person gets is the alert at the start of an episode, so that instant decides:

- an **event is found** if an episode of the same sensor *starts* in its [start, stop);
- an **alert is false** if its episode starts in no event of its sensor;
- the **delay** is the start of the first such episode, less the start of the event.

An episode that began before an event and runs into it finds nothing: nobody is called anew.
(By overlap alone, an alarm that never goes off would find every fault without one false alert.)
Several alerts in one event are all true. Nothing is point-adjusted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.cards import Card, Shown
from workbench.errors import EvaluationError
from workbench.evaluation.labels import epoch_ms

DAY_MS = 86_400_000


@dataclass(frozen=True, eq=False)
class EventReport(Shown):
    """Alerts against labels over one span.

    Attributes
    ----------
    events, found
        Labelled events that start in the span, and those of them found.
    alerts, false_alerts
        Episodes that start in the span, and those of them that start in no event.
    sensor_days
        Sensors times the span's length, days.
    table
        One row per event: `sensor`, `start`, `stop`, `kind`, `found`, `delay_s` (NaN: missed).
    """

    events: int
    found: int
    alerts: int
    false_alerts: int
    sensor_days: float
    table: pd.DataFrame = field(repr=False)

    @property
    def recall(self) -> float:
        """Share of events found; NaN without events."""
        return self.found / self.events if self.events else math.nan

    @property
    def precision(self) -> float:
        """Share of alerts that are true; NaN without alerts."""
        return 1 - self.false_alerts / self.alerts if self.alerts else math.nan

    @property
    def delays_s(self) -> pd.Series:
        """The delay of each event found, seconds."""
        return self.table["delay_s"].dropna()

    @property
    def f1(self) -> float:
        """Harmonic mean of recall (of events) and precision (of alerts), 0 where nothing is found.

        At the threshold that the detector takes into the stream, not at the best one.
        """
        if not self.found:
            return 0.0
        return 2 * self.recall * self.precision / (self.recall + self.precision)

    @property
    def delay_median_s(self) -> float:
        """Median delay of the events found, seconds; NaN if none."""
        return float(self.delays_s.quantile(0.5))

    @property
    def delay_p90_s(self) -> float:
        """90th percentile of the delay of the events found, seconds; NaN if none."""
        return float(self.delays_s.quantile(0.9))

    @property
    def false_alerts_per_sensor_day(self) -> float:
        """False alerts for each sensor and day of the span."""
        return self.false_alerts / self.sensor_days

    @property
    def kinds(self) -> pd.DataFrame:
        """One row per kind of event: `kind`, `events`, `found`, `recall`, `delay_median_s`."""
        by_kind = self.table.groupby("kind")
        kinds = pd.DataFrame(
            {
                "events": by_kind["found"].size(),
                "found": by_kind["found"].sum().astype(int),
                "delay_median_s": by_kind["delay_s"].quantile(0.5),
            }
        )
        kinds.insert(2, "recall", kinds["found"] / kinds["events"])
        return kinds.reset_index()

    def card(self) -> Card:
        """Return what a notebook shows of it."""
        facts = {
            "events found": f"{self.found} of {self.events}",
            "alerts": f"{self.alerts}, {self.false_alerts} of them false",
            "false alerts": f"{self.false_alerts_per_sensor_day:.3g} per sensor and day",
            "delay": f"{self.delay_median_s:,.0f} s in the median, "
            f"{self.delay_p90_s:,.0f} s at the 90th percentile",
        }
        kinds = self.kinds.to_dict("records")
        rows = [{str(name): value for name, value in row.items()} for row in kinds]
        return Card("event report", "", facts, rows)

    def metrics(self) -> dict[str, float | int | None]:
        """Return the figures as one flat mapping for JSON; None where a figure does not exist."""
        names = ("recall", "precision", "f1", "delay_median_s", "delay_p90_s")
        figures: dict[str, float | int | None] = {
            name: None if math.isnan(value) else value
            for name, value in ((name, getattr(self, name)) for name in names)
        }
        counts = ("events", "found", "alerts", "false_alerts")
        figures.update({name: getattr(self, name) for name in counts})
        figures["false_alerts_per_sensor_day"] = self.false_alerts_per_sensor_day
        return figures


def event_report(
    episodes: pd.DataFrame,
    labels: pd.DataFrame,
    *,
    span: tuple[pd.Timestamp, pd.Timestamp],
    sensors: Iterable[str],
) -> EventReport:
    """Return how alert episodes compare with the labelled events of a span.

    Parameters
    ----------
    episodes
        Columns `sensor`, `start` (UTC timestamps or epoch ms): the readings that set an alert.
    labels
        As from `read_labels`.
    span
        What was scored, [start, stop), UTC. Events and episodes that start outside are not counted.
    sensors
        Those scored; events and episodes of others are not counted. A quiet sensor belongs here
        too: it adds to the sensor-days.

    Raises
    ------
    EvaluationError
        If the span is empty or no sensor is named.

    Notes
    -----
    The module's first lines say what counts as found and as false.
    """
    start_ms, stop_ms = (int(pd.Timestamp(one).timestamp() * 1000) for one in span)
    names = sorted(set(sensors))
    if stop_ms <= start_ms:
        raise EvaluationError(f"the span stops at {span[1]}, not after its start {span[0]}")
    if not names:
        raise EvaluationError("no sensor is named, at least one is needed")
    alerts = _within(episodes, names, start_ms, stop_ms)
    events = _within(labels, names, start_ms, stop_ms)
    first_ms, true = _match(alerts, events)
    table = events[["sensor", "start", "stop"]].copy()
    table["kind"] = events.get("kind", "")
    table["found"] = first_ms >= 0
    delays_s = (first_ms - epoch_ms(events["start"])) / 1000
    table["delay_s"] = np.where(first_ms >= 0, delays_s, np.nan)
    return EventReport(
        events=len(events),
        found=int(table["found"].sum()),
        alerts=len(alerts),
        false_alerts=int((~true).sum()),
        sensor_days=len(names) * (stop_ms - start_ms) / DAY_MS,
        table=table.reset_index(drop=True),
    )


def joined(reports: Sequence[EventReport]) -> EventReport:
    """Return one report over several spans or groups of sensors: counts add up.

    Raises
    ------
    EvaluationError
        If there is none.
    """
    if not reports:
        raise EvaluationError("no reports to join")
    return EventReport(
        events=sum(one.events for one in reports),
        found=sum(one.found for one in reports),
        alerts=sum(one.alerts for one in reports),
        false_alerts=sum(one.false_alerts for one in reports),
        sensor_days=sum(one.sensor_days for one in reports),
        table=pd.concat([one.table for one in reports], ignore_index=True),
    )


def _within(rows: pd.DataFrame, sensors: list[str], start_ms: int, stop_ms: int) -> pd.DataFrame:
    starts = epoch_ms(rows["start"])
    return rows[rows["sensor"].isin(sensors) & (starts >= start_ms) & (starts < stop_ms)]


def _match(
    alerts: pd.DataFrame, events: pd.DataFrame
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the first alert of each event (epoch ms, -1: none) and which alerts are true."""
    alert_ms, alert_sensors = epoch_ms(alerts["start"]), alerts["sensor"].to_numpy()
    true = np.zeros(len(alerts), dtype=bool)
    first = np.full(len(events), -1, dtype=np.int64)
    bounds = zip(events["sensor"], epoch_ms(events["start"]), epoch_ms(events["stop"]), strict=True)
    for position, (sensor, start, stop) in enumerate(bounds):
        inside = (alert_sensors == sensor) & (alert_ms >= start) & (alert_ms < stop)
        true |= inside
        if inside.any():
            first[position] = alert_ms[inside].min()
    return first, true
