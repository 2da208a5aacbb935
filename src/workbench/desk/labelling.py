"""Answers by hand: a span is dragged over the picture and named, and buttons beside each alert.

Whatever is kept is an answer (`alerts.answer`), written at once: nothing is lost when the kernel
ends. What is undone is withdrawn, by an answer of its own.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ipywidgets import HTML, Button, Dropdown, HBox, Layout, SelectionRangeSlider, Text, VBox
from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.widgets import SpanSelector

from workbench import alerts, figures
from workbench.arrays import Floats
from workbench.desk.canvases import canvas_of
from workbench.detectors import sensor_codes, sensor_names
from workbench.errors import DeskError, WorkbenchError, did_you_mean
from workbench.evaluation import Answer, answered_spans
from workbench.stream import Stream, load_stream

KINDS = {  # what is chosen: verdict
    "a fault that no alert told": "missed",
    "known: maintenance, or meant to be": "known",
    "nothing, whatever it looks like": "false",
}
_DRAWN = ("true", "missed", "known", "false")
_STEPS = 720  # of the slider: two minutes of a day
_UNLAID = {"figure.constrained_layout.use": False}  # a layout engine would double the time
_MINUTE = pd.Timedelta(minutes=1)
_WIDE = {"description_width": "5em"}


def label(
    stream: str | Path | Stream,
    readings: pd.DataFrame,
    *,
    episodes: pd.DataFrame | None = None,
    time: str = "event_time",
    who: str = "",
) -> Labelling:
    """Return a view of readings in which spans are dragged and named; each is an answer at once.

    A drag over any channel chooses a span; the slider below moves its ends.

    Parameters
    ----------
    stream
        Whose answers they are.
    readings
        As `workbench.replay` gives them.
    episodes
        Alerts to draw: of `detectors.detect`, or of a watch (`desk.watch(stream).look().alerts`).
    who
        Who says it; if left out, the user of this process.

    Raises
    ------
    DeskError
        If the readings lack the stream's sensor or a channel, or there are none.
    """
    definition = load_stream(stream)
    for name in (definition.sensor, *definition.channels, time):
        if name not in readings:
            raise DeskError(f"no column {name!r}", hint=did_you_mean(name, map(str, readings)))
    if not readings[definition.sensor].notna().any():
        raise DeskError(f"none of {len(readings):,} readings names a {definition.sensor}")
    shown = None if episodes is None else _named(episodes, "sensor")
    return Labelling(definition, _named(readings, definition.sensor), shown, time, who)


def _named(frame: pd.DataFrame, sensor: str) -> pd.DataFrame:
    """Return a frame with its sensors by the names that they have in answers: 7 is "7"."""
    names = pd.Series(sensor_names(frame[sensor]), index=frame.index, dtype=object)
    return frame.assign(**{sensor: names})


class Labelling(VBox):  # type: ignore[misc]
    """Sensor and span to choose, a kind to give it, and what was said so far."""

    def __init__(
        self, stream: Stream, readings: pd.DataFrame, episodes: pd.DataFrame | None, time: str,
        who: str,
    ) -> None:  # fmt: skip
        self._stream, self._readings, self._time, self._who = stream, readings, time, who
        self._episodes, self._given = episodes, list[Answer]()
        names = sorted(sensor_codes(readings[stream.sensor])[1])
        self._sensor = Dropdown(options=names, description="sensor", style=_WIDE)
        self._span = SelectionRangeSlider(
            options=["", " "], description="span", style=_WIDE, continuous_update=False,
            layout=Layout(width="60em", max_width="100%"),
        )  # fmt: skip
        self._kind = Dropdown(
            options=list(KINDS.items()), description="it was", style=_WIDE,
            layout=Layout(width="26em"),
        )  # fmt: skip
        self._why = Text(description="why", style=_WIDE)
        keep, undo = Button(description="keep", button_style="primary"), Button(description="undo")
        self._said = HTML()
        self._figure = Figure(figsize=(9, 1.1 * len(stream.channels) + 0.6), dpi=100)
        self._canvas = canvas_of(self._figure)
        self._marks, self._selectors = list[Artist](), list[SpanSelector]()
        self._buttons = {"keep": keep, "undo": undo}
        keep.on_click(lambda _: self.keep())
        undo.on_click(lambda _: self.undo())
        self._sensor.observe(self._choose, names="value")
        self._span.observe(self._mark, names="value")
        super().__init__([
            self._sensor, self._canvas, self._span, HBox([self._kind, self._why, keep, undo]),
            self._said,
        ])  # fmt: skip
        self._choose()

    @property
    def span(self) -> tuple[pd.Timestamp, pd.Timestamp]:
        """What is chosen: where the two handles stand."""
        start, stop = self._span.value
        return start, stop

    def keep(self) -> None:
        """Keep the span as an answer of the chosen kind."""
        start, stop = self.span
        if start == stop:
            self._say("choose a span: drag over the picture")
            return
        self._give(
            self._kind.value, sensor=self._sensor.value, start=start.isoformat(),
            stop=stop.isoformat(), why=self._why.value,
        )  # fmt: skip
        self._show()

    def undo(self) -> None:
        """Withdraw what was kept here last."""
        if not self._given:
            self._say("nothing was kept here")
            return
        last = self._given.pop()
        self._give("withdrawn", alert=last.id, sensor=last.sensor, start=last.start, stop=last.stop)
        self._given.pop()
        self._show()

    def _give(self, verdict: str, **about: str) -> None:
        given, said = _answered(self._stream, verdict, who=self._who, **about)
        if given is not None:
            self._given.append(given)
        self._say(said)

    def _say(self, text: str) -> None:
        self._said.value = html.escape(text)

    def _own(self) -> pd.DataFrame:
        own: pd.DataFrame = self._readings[
            self._readings[self._stream.sensor] == self._sensor.value
        ]
        return own

    def _choose(self, change: object = None) -> None:
        """Let the slider go over the chosen sensor's readings."""
        times = self._own()[self._time]
        steps = pd.date_range(times.min(), times.max(), periods=_STEPS).floor("s").unique()
        if len(steps) < 2:
            steps = pd.DatetimeIndex([times.min(), times.max() + pd.Timedelta(seconds=1)])
        self._span.unobserve(self._mark, names="value")
        form = "%d %b %H:%M" if steps[1] - steps[0] >= _MINUTE else "%d %b %H:%M:%S"
        self._span.options = [(step.strftime(form), step) for step in steps]
        self._span.index = (len(steps) // 3, 2 * len(steps) // 3)
        self._span.observe(self._mark, names="value")
        self._show()

    def _drag(self, low: float, high: float) -> None:
        """Choose the steps of the slider that are next to where a drag began and ended."""
        steps = _on_axis(step for _, step in self._span.options)
        first, last = (int(np.abs(steps - place).argmin()) for place in (low, high))
        if first < last:
            self._span.index = (first, last)

    def _mark(self, change: object = None) -> None:
        """Draw where the chosen span lies."""
        with self._canvas.drawing:
            for mark in self._marks:
                mark.remove()
            self._marks = [
                ax.axvspan(*_on_axis(self.span), color=figures.SCORE, alpha=0.15)
                for ax in self._figure.axes
            ]
        self._canvas.draw_idle()

    def _show(self) -> None:
        """Draw readings, alerts, and what was said."""
        sensor, channels = self._sensor.value, list(self._stream.channels)
        said = answered_spans(alerts.answers(self._stream), _DRAWN)
        labels, episodes = (
            None if rows is None else rows[rows["sensor"] == sensor].assign(channels=None)
            for rows in (said, self._episodes)
        )
        with self._canvas.drawing, style.context([figures.STYLE, _UNLAID]):
            self._figure.clear()
            axes = np.atleast_1d(self._figure.subplots(len(channels), sharex=True))
            self._figure.subplots_adjust(left=0.07, right=0.97, hspace=0.5, top=0.93, bottom=0.12)
            figures.channels(
                axes, self._own(), channels, labels=labels, alerts=episodes, time=self._time
            )
            chosen = {"color": figures.SCORE, "alpha": 0.15}
            self._selectors = [  # one that nothing holds is deaf
                SpanSelector(ax, self._drag, "horizontal", props=chosen) for ax in axes
            ]
            self._marks = []
        self._mark()


def _on_axis(times: Iterable[pd.Timestamp]) -> Floats:
    """Return where times lie on an axis of matplotlib's, days."""
    days: Floats = np.array(
        date2num([*times]),  # type: ignore[no-untyped-call] # matplotlib.dates has no types
        dtype=np.float64,
    )
    return days


class Answering(VBox):  # type: ignore[misc]
    """Alerts, and beside each one three buttons that answer it."""

    def __init__(
        self, stream: Stream, rows: pd.DataFrame, *, who: str = "", most: int = 50
    ) -> None:
        self._stream, self._who = stream, who
        newest = rows.iloc[::-1].head(most)
        super().__init__([self._row(row) for row in newest.to_dict("records")])

    def _row(self, alert: dict[Any, Any]) -> HBox:
        text = f"{alert['start']:%Y-%m-%d %H:%M:%S} {alert['sensor']} {alert['kind']}"
        why, said = Text(placeholder="why", layout=Layout(width="14em")), HTML()
        buttons = [
            Button(description=word, layout=Layout(width="6em"))
            for word in ("true", "false", "known")
        ]
        for button in buttons:
            button.on_click(self._answer(alert, why, said))
        return HBox([HTML(html.escape(text)), *buttons, why, said])

    def _answer(self, alert: dict[Any, Any], why: Text, said: HTML) -> Callable[[Button], None]:
        def answer(button: Button) -> None:
            stop = "" if pd.isna(alert["stop"]) else alert["stop"].isoformat()
            _, text = _answered(
                self._stream, button.description, alert=alert["id"], sensor=alert["sensor"],
                start=alert["start"].isoformat(), stop=stop, why=why.value, who=self._who,
            )  # fmt: skip
            said.value = html.escape(text)

        return answer


def _answered(stream: Stream, verdict: str, **about: str) -> tuple[Answer | None, str]:
    """Give an answer; return it, and what a person is told of it. A failure is told, too."""
    before = len(alerts.answers(stream))
    try:
        given = alerts.answer(stream, verdict, **about)
    except WorkbenchError as err:
        kept = len(alerts.answers(stream)) > before
        return None, f"{'kept, but: ' if kept else ''}{err.message}"
    return given, f"{given.sensor} {given.start[:16]}: {verdict}, kept"


__all__ = ["KINDS", "Answering", "Labelling", "label"]
