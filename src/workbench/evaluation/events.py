"""Judge alert episodes against labelled events: what was found, how late, how many false alerts.

What a person gets is the alert at the start of an episode, so that instant decides:

- an **event is found** if an episode of the same sensor *starts* in its [start, stop);
- an **alert is false** if its episode starts in no event of its sensor;
- the **delay** is the start of the first such episode, less the start of the event.

An episode that began before an event and runs into it finds nothing: nobody is called anew.
(By overlap alone, an alarm that never goes off would find every fault without one false alert.)
Several alerts in one event are all true. Nothing is point-adjusted. How long alarms last is counted
beside (`alarm_share`): one that never ends is a single alert, and not quiet.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from workbench.arrays import Ints
from workbench.cards import Card, HasCard
from workbench.errors import EvaluationError
from workbench.evaluation.alarm_time import AlarmTime, alarm_time, judged_s
from workbench.evaluation.labels import by_name, labelled
from workbench.times import epoch_ms

DAY_MS = 86_400_000


@dataclass(frozen=True, eq=False)
class EventReport(HasCard):
    """Alerts against labels over one span.

    Attributes
    ----------
    events, found
        Labelled events that start in the span, and those of them found.
    alerts, false_alerts
        Episodes that start in the span, and those of them that start in no event.
    sensor_days
        Sensors times the span's length, less what is left out, days; 0: nothing is judged.
    table
        One row per event: `sensor`, `start`, `stop`, `kind`, `found`, `delay_s` (NaN: missed).
    time
        Time outside of events, and under an alarm there.
    """

    events: int
    found: int
    alerts: int
    false_alerts: int
    sensor_days: float
    table: pd.DataFrame = field(repr=False)
    time: AlarmTime

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
        """False alerts for each sensor and day of the span; NaN where no time of it is judged."""
        return self.false_alerts / self.sensor_days if self.sensor_days else math.nan

    @property
    def alerts_per_sensor_day(self) -> float:
        """All alerts for each sensor and day of the span; NaN where no time of it is judged."""
        return self.alerts / self.sensor_days if self.sensor_days else math.nan

    @property
    def alarm_share(self) -> float:
        """Share of the time outside of events that is under an alarm; NaN where not known."""
        return self.time.share

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
            "not judged": "" if self.sensor_days else "all of the span is left out",
            "events found": f"{self.found} of {self.events}",
            "alerts": f"{self.alerts}, {self.false_alerts} of them false",
            "false alerts": f"{self.false_alerts_per_sensor_day:.3g} per sensor and day",
            "in alarm": f"{self.alarm_share:.2%} of the time outside of events",
            "delay": f"{self.delay_median_s:,.0f} s in the median, "
            f"{self.delay_p90_s:,.0f} s at the 90th percentile",
        }
        kinds = self.kinds.to_dict("records")
        rows = [{str(name): value for name, value in row.items()} for row in kinds]
        return Card("event report", "", facts, rows)

    def metrics(self, *, is_labelled: bool = True) -> dict[str, float | int | None]:
        """Return the figures as one flat mapping for JSON; None where a figure does not exist.

        Parameters
        ----------
        is_labelled
            Whether anybody looked for events. Where nobody did, no alert is false, nothing was
            missed, and only alerts and the time in alarm are figures.
        """
        names = (
            "recall", "precision", "f1", "delay_median_s", "delay_p90_s", "alarm_share",
            "false_alerts_per_sensor_day",
        )  # fmt: skip
        figures: dict[str, float | int | None] = {
            name: None if math.isnan(value) else value
            for name, value in ((name, getattr(self, name)) for name in names)
        }
        counts = ("events", "found", "alerts", "false_alerts")
        figures.update({name: getattr(self, name) for name in counts})
        needed = () if is_labelled else figures.keys() - {"alerts", "alarm_share"}
        return figures | dict.fromkeys(needed)


def event_report(
    episodes: pd.DataFrame,
    labels: pd.DataFrame,
    *,
    span: tuple[pd.Timestamp, pd.Timestamp],
    sensors: Iterable[str],
    left_out: pd.DataFrame | None = None,
) -> EventReport:
    """Return how alert episodes compare with the labelled events of a span.

    Parameters
    ----------
    episodes
        Columns `sensor`, `start` (UTC timestamps or epoch ms): the readings that set an alert; and
        `stop`, without which the time in alarm is not known.
    labels
        As from `read_labels`.
    span
        What was scored, [start, stop), UTC. Events and episodes that start outside are not counted;
        an episode in an event that began before it is not false.
    sensors
        Those scored, by name or number; events and episodes of others are not counted. A quiet
        sensor belongs here too: it adds to the sensor-days.
    left_out
        Spans, as labels are, that are not judged: neither alerts nor events that start in one, nor
        its time.

    Raises
    ------
    EvaluationError
        If the span is empty or no sensor is named.

    Notes
    -----
    The module's first lines say what counts as found and as false.
    """
    start_ms, stop_ms = epoch_ms(pd.Series(span, dtype=object))
    names = sorted({*by_name(list(sensors))} - {None})
    if stop_ms <= start_ms:
        raise EvaluationError(f"the span stops at {span[1]}, not after its start {span[0]}")
    if not names:
        raise EvaluationError("no sensor is named, at least one is needed")
    episodes, labels = (rows.assign(sensor=by_name(rows["sensor"])) for rows in (episodes, labels))
    if left_out is not None:
        left_out = left_out.assign(sensor=by_name(left_out["sensor"]))
    alerts, events = (
        _outside(within(rows, names, start_ms, stop_ms), left_out) for rows in (episodes, labels)
    )
    aside = labels.iloc[:0] if left_out is None else left_out
    unusual = pd.concat([labels, aside]) if len(aside) else labels
    first_ms = _first_ms(alerts, events)
    true = labelled(epoch_ms(alerts["start"]), alerts["sensor"], labels)
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
        sensor_days=judged_s(aside, names, int(start_ms), int(stop_ms)) * 1000 / DAY_MS,
        table=table.reset_index(drop=True),
        time=alarm_time(episodes, unusual, names, int(start_ms), int(stop_ms)),
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
        events=sum(report.events for report in reports),
        found=sum(report.found for report in reports),
        alerts=sum(report.alerts for report in reports),
        false_alerts=sum(report.false_alerts for report in reports),
        sensor_days=sum(report.sensor_days for report in reports),
        table=pd.concat([report.table for report in reports], ignore_index=True),
        time=sum((report.time for report in reports), AlarmTime(0.0, 0.0)),
    )


def within(rows: pd.DataFrame, sensors: list[str], start_ms: int, stop_ms: int) -> pd.DataFrame:
    """Return the events or alerts of some sensors that start in [start_ms, stop_ms)."""
    starts = epoch_ms(rows["start"])
    return rows[rows["sensor"].isin(sensors) & (starts >= start_ms) & (starts < stop_ms)]


def _outside(rows: pd.DataFrame, left_out: pd.DataFrame | None) -> pd.DataFrame:
    """Return the events or alerts that start in no span of those left out."""
    if left_out is None or not len(left_out):
        return rows
    return rows[~labelled(epoch_ms(rows["start"]), rows["sensor"], left_out)]


def _first_ms(alerts: pd.DataFrame, events: pd.DataFrame) -> Ints:
    """Return the start of the first alert in each event, epoch ms; -1: none."""
    alert_ms, alert_sensors = epoch_ms(alerts["start"]), alerts["sensor"].to_numpy()
    first = np.full(len(events), -1, dtype=np.int64)
    bounds = zip(events["sensor"], epoch_ms(events["start"]), epoch_ms(events["stop"]), strict=True)
    for position, (sensor, start, stop) in enumerate(bounds):
        inside = (alert_sensors == sensor) & (alert_ms >= start) & (alert_ms < stop)
        if inside.any():
            first[position] = alert_ms[inside].min()
    return first
