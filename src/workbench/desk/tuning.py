"""The threshold under one's hand: drag it and see what it costs and what it finds.

Nothing is fitted or scored here: scores are made once, by `detectors.detect`, and a threshold only
cuts them, so each position of the slider shows what a package with that threshold would do.
"""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from ipywidgets import (
    HTML,
    Dropdown,
    FloatSlider,
    HBox,
    Image,
    Layout,
    SelectionRangeSlider,
    VBox,
)
from matplotlib import style
from matplotlib.figure import Figure

from workbench import detectors, figures
from workbench.arrays import Floats, Ints
from workbench.errors import FigureError
from workbench.evaluation import EventReport, event_report
from workbench.times import epoch_ms

_STEPS = 400  # of the slider, from the median score to the highest
_UNLAID = {"figure.constrained_layout.use": False}  # a layout engine would double the time
_HEAD = ("", "alerts per sensor and day", "events found", "alerts that are false", "median delay",
         "time in alarm")  # fmt: skip
Span = tuple[pd.Timestamp, pd.Timestamp]


def tune(
    readings: pd.DataFrame,
    detection: detectors.Detection,
    package: detectors.Package,
    *,
    labels: pd.DataFrame | None = None,
    sensor: str = "key",
    time: str = "event_time",
) -> Tuning:
    """Return a view of scores whose sensor, span and threshold are chosen by hand.

    Parameters
    ----------
    readings, detection
        What was scored, in order of arrival, and what `detectors.detect` made of it.
    package
        That made the scores: its threshold is where the slider begins, its rule sets the alarms.
    labels
        As from `read_labels`; without them nothing is found or false.
    sensor, time
        Columns of `readings`; a replayed topic has the sensor in `key`.

    Raises
    ------
    FigureError
        If no reading has a score.

    Notes
    -----
    In JupyterLab it is a widget; its `threshold` is where the slider stands. In a report it is a
    still picture of that position.
    """
    return Tuning(Scored.of(readings, detection, package, labels, sensor=sensor, time=time))


@dataclass(frozen=True, eq=False)
class Scored:
    """Readings in time, scored once, to be cut by any threshold."""

    times_ms: Ints
    sensors: np.ndarray[Any, Any]
    scores: Floats
    package: detectors.Package
    labels: pd.DataFrame

    @classmethod
    def of(
        cls,
        readings: pd.DataFrame,
        detection: detectors.Detection,
        package: detectors.Package,
        labels: pd.DataFrame | None,
        *,
        sensor: str,
        time: str,
    ) -> Scored:
        """Return what is needed of the readings: those not late."""
        kept = ~detection.late
        if not np.isfinite(detection.scores[kept]).any():
            raise FigureError(f"none of {len(readings)} readings has a score")
        if labels is None:
            labels = pd.DataFrame({"sensor": [], "start": [], "stop": [], "kind": []})
            labels = labels.astype({"start": "datetime64[ms, UTC]", "stop": "datetime64[ms, UTC]"})
        return cls(
            epoch_ms(readings[time])[kept],
            readings[sensor].to_numpy()[kept],
            detection.scores[kept],
            package,
            labels,
        )

    def names(self) -> list[str]:
        """Return the sensors."""
        return sorted(set(self.sensors))

    def days(self) -> list[pd.Timestamp]:
        """Return the midnights (UTC) around the readings."""
        ends = pd.to_datetime([self.times_ms.min(), self.times_ms.max()], unit="ms", utc=True)
        last = ends[1].floor("D") + pd.Timedelta(days=1)
        return list(pd.date_range(ends[0].floor("D"), last, freq="D"))

    def episodes(self, threshold: float) -> pd.DataFrame:
        """Return the alarms that a package with this threshold would raise."""
        return detectors.episodes(
            self.times_ms, self.sensors, self.scores, threshold, self.package.rule
        )

    def report(self, episodes: pd.DataFrame, span: Span, sensors: list[str]) -> EventReport:
        """Return how good alarms are, of some sensors within a span, where it has readings."""
        first, last = pd.to_datetime(
            [self.times_ms.min(), self.times_ms.max() + 1], unit="ms", utc=True
        )
        seen = max(span[0], first), min(span[1], last)
        return event_report(episodes, self.labels, span=seen, sensors=sensors)

    def draw(
        self, figure: Figure, episodes: pd.DataFrame, threshold: float, span: Span, sensor: str
    ) -> None:
        """Draw one sensor's scores within a span."""
        start_ms, stop_ms = epoch_ms(pd.Series(span, dtype=object))
        mask = (self.sensors == sensor) & (self.times_ms >= start_ms) & (self.times_ms < stop_ms)
        figures.scores(
            figure.subplots(),
            self.times_ms[mask],
            self.scores[mask],
            threshold,
            labels=self.labels[self.labels["sensor"] == sensor],
            alerts=episodes[episodes["sensor"] == sensor],
            name=f"{sensor}, score",
        )


class Tuning(VBox):  # type: ignore[misc]
    """Sensor, span and threshold to choose; scores, alerts and events found to see."""

    def __init__(self, scored: Scored) -> None:
        self._scored = scored
        midnights = scored.days()
        form = "%d %b" if len(midnights) < 300 else "%y-%m-%d"  # the readout is narrow
        days = [(control.strftime(form), control) for control in midnights]
        wide = {"description_width": "5em"}
        self._sensor = Dropdown(options=scored.names(), description="sensor", style=wide)
        self._span = SelectionRangeSlider(
            options=days, index=(0, len(days) - 1), description="days", style=wide,
            layout=Layout(width="36em"), continuous_update=False,
        )  # fmt: skip
        self._threshold = _slider(scored, wide)
        self._table, self._image = HTML(), Image(format="png", layout=Layout(max_width="100%"))
        for control in (self._sensor, self._span, self._threshold):
            control.observe(self._show, names="value")
        super().__init__(
            [HBox([self._sensor, self._span]), self._threshold, self._table, self._image]
        )
        self._show()

    @property
    def threshold(self) -> float:
        """Where the slider stands."""
        return float(self._threshold.value)

    @property
    def report(self) -> EventReport:
        """The alerts of all sensors, in the span, at this threshold."""
        found = self._scored.episodes(self.threshold)
        return self._scored.report(found, self._span.value, self._scored.names())

    def _show(self, change: object = None) -> None:
        scored, span, sensor = self._scored, self._span.value, self._sensor.value
        if span[0] == span[1]:
            self._table.value = "choose two different days"
            return
        episodes = scored.episodes(self.threshold)
        rows = [
            (sensor, scored.report(episodes, span, [sensor])),
            ("all sensors", scored.report(episodes, span, scored.names())),
        ]
        self._table.value = _table(rows)
        with style.context([figures.STYLE, _UNLAID]):
            figure = Figure(figsize=(9, 3))
            figure.subplots_adjust(left=0.05, right=0.95, bottom=0.2, top=0.88)
            scored.draw(figure, episodes, self.threshold, span, sensor)
            self._image.value = _png(figure)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Return the widget, with what stands in for it where nothing runs: text and a picture."""
        bundle: dict[str, Any] = super()._repr_mimebundle_(**kwargs)
        bundle["text/plain"] = f"threshold {self.threshold:.3g}: {_sentence(self.report)}"
        bundle["image/png"] = base64.b64encode(self._still()).decode()
        return bundle

    def _still(self) -> bytes:
        with style.context(figures.STYLE):
            figure = Figure(figsize=(9, 3.2))
            found = self._scored.episodes(self.threshold)
            self._scored.draw(figure, found, self.threshold, self._span.value, self._sensor.value)
            figure.supxlabel(f"all sensors: {_sentence(self.report)}", fontsize=9)
            return _png(figure)


def _slider(scored: Scored, wide: dict[str, str]) -> FloatSlider:
    known = scored.scores[np.isfinite(scored.scores)]
    here = scored.package.threshold
    low, high = min(float(np.median(known)), here), max(float(known.max()), here)
    step = max((high - low) / _STEPS, 1e-12)
    low = here - step * np.ceil((here - low) / step)  # a browser moves a value off the steps
    return FloatSlider(
        value=here, min=float(low), max=high, step=step, readout_format=".3g",
        description="threshold", style=wide, layout=Layout(width="60em", max_width="100%"),
    )  # fmt: skip


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _cells(name: str, report: EventReport) -> tuple[str, ...]:
    delay = report.delay_median_s
    return (
        name,
        f"{report.alerts_per_sensor_day:.2f}",
        f"{report.found} of {report.events}",
        f"{report.false_alerts} of {report.alerts}",
        "none" if np.isnan(delay) else f"{delay / 60:.0f} min",
        f"{report.alarm_share:.1%}",
    )


def _table(rows: list[tuple[str, EventReport]]) -> str:
    """Return the figures of some sensors as an HTML table."""
    head = "".join(
        f"<th style='padding:0 1em;text-align:right'>{heading}</th>" for heading in _HEAD
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td style='padding:0 1em;text-align:right'>{html.escape(cell)}</td>"
            for cell in _cells(*row)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _sentence(report: EventReport) -> str:
    _, daily, found, false, delay, share = _cells("", report)
    return (
        f"{daily} alerts per sensor and day, {found} events found, {false} alerts false,"
        f" median delay {delay}, in alarm {share} of the time"
    )
