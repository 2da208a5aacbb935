"""What the figures over event time share: a line, labels, alerts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from workbench.errors import FigureError, did_you_mean
from workbench.figures.envelope import envelope
from workbench.figures.style import (
    ALARM,
    LABEL,
    LABEL_ALPHA,
    Times,
    days,
    time_axis,
)

_HEADROOM = 0.14  # of the height, for the kinds above the line
_LABEL_TEXT = "#6E5200"  # the label's colour, dark enough to read


def draw(ax: Axes, times: Times, values: ArrayLike, *, color: str) -> None:
    """Draw a line that hides no spike and bridges no gap, on an axis of event time.

    A reading alone between two gaps, where a line has no length, is a dot.
    """
    drawn_times, drawn = envelope(days(times), np.asarray(values, dtype=np.float64))
    ax.plot(drawn_times, drawn, color=color)
    hole = np.isnan(np.concatenate([[np.nan], drawn, [np.nan]]))
    alone = hole[:-2] & hole[2:] & ~hole[1:-1]
    if alone.any():
        ax.plot(drawn_times[alone], drawn[alone], ".", color=color, markersize=3)
    span = days(times)
    if len(span):
        time_axis(ax, span.min(), span.max())
    ax.set_xlabel("event time, UTC")


def shade(ax: Axes, labels: pd.DataFrame | None, *, channel: str | None = None) -> None:
    """Shade each label from its start to its stop, and name its kind.

    One that names channels is shaded where `channel` is one of them, else only outlined.

    Raises
    ------
    FigureError
        If the labels are of several sensors.
    """
    if labels is None or len(labels) == 0:
        return
    _check_one_sensor(labels, "labels")
    left, right = ax.get_xlim()
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + _HEADROOM * (high - low))
    spans = zip(labels.itertuples(), days(labels["start"]), days(labels["stop"]), strict=True)
    for label, start, stop in spans:
        if stop <= left or start >= right:
            continue
        named = getattr(label, "channels", ())
        if channel is None or not named or channel in named:
            ax.axvspan(start, stop, color=LABEL, alpha=LABEL_ALPHA, lw=0, zorder=0, gid="label")
            _name(ax, max(start, left), str(getattr(label, "kind", "")).replace("_", " "))
        else:
            ax.axvspan(start, stop, fill=False, ec=LABEL, lw=1, zorder=0, gid="label elsewhere")
    ax.set_xlim(left, right)


def flag(ax: Axes, alerts: pd.DataFrame | None) -> None:
    """Mark each alert: a red triangle on top where it starts, a red bar until it stops.

    One whose stop is missing is open: its bar goes to the end.

    Raises
    ------
    FigureError
        If the alerts are of several sensors.
    """
    if alerts is None or len(alerts) == 0:
        return
    _check_one_sensor(alerts, "alerts")
    span, on_top = ax.get_xlim(), ax.get_xaxis_transform()
    starts = days(alerts["start"])
    inside = (starts >= span[0]) & (starts <= span[1])
    starts, top = starts[inside], np.ones(int(inside.sum()))
    if "stop" in alerts:
        is_open = alerts["stop"].isna()
        ends = days(alerts["stop"].where(~is_open, alerts["start"]))
        stops = np.minimum(np.where(is_open, np.inf, ends)[inside], span[1])
        ax.hlines(top, starts, stops, transform=on_top, color=ALARM, linewidth=3, zorder=4)
    ax.plot(
        starts, top, "v", transform=on_top, color=ALARM, markersize=6, markeredgewidth=0,
        clip_on=False, zorder=6, gid="alerts",
    )  # fmt: skip
    ax.set_xlim(span)


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """Return a column, or say which there are.

    Raises
    ------
    FigureError
        If the frame has no such column.
    """
    if name not in frame:
        raise FigureError(
            f"the frame has no column {name!r}, it has {', '.join(map(str, frame.columns))}",
            hint=did_you_mean(name, map(str, frame.columns)),
        )
    return frame[name]


def as_many(axes: object, names: Sequence[str], what: str) -> list[Axes]:
    """Return the axes as a list, one for each name.

    Raises
    ------
    FigureError
        If there are more or fewer axes than names.
    """
    listed = list(np.ravel(np.asarray(axes, dtype=object)))
    if len(listed) != len(names):
        raise FigureError(
            f"{len(listed)} axes for {len(names)} {what}",
            hint=f"plt.subplots({len(names)}, sharex=True)",
        )
    return listed


def only_last(stack: Sequence[Axes]) -> None:
    """Name the time axis once, below the lowest of a stack."""
    for ax in stack[:-1]:
        ax.set_xlabel("")
        ax.tick_params(labelbottom=False)
        ax.xaxis.get_offset_text().set_visible(False)


def _name(ax: Axes, at: float, kind: str) -> None:
    ax.annotate(
        kind, (at, 1), xycoords=("data", "axes fraction"), xytext=(2, -4),
        textcoords="offset points", va="top", fontsize=8, color=_LABEL_TEXT, clip_on=True,
        gid="kind",
    )  # fmt: skip


def _check_one_sensor(rows: pd.DataFrame, what: str) -> None:
    names = sorted(set(rows["sensor"])) if "sensor" in rows else []
    if len(names) > 1:
        raise FigureError(
            f"the {what} are of {len(names)} sensors ({', '.join(map(str, names))}),"
            " the axes show one",
            hint=f"pass {what}[{what}['sensor'] == {names[0]!r}]",
        )
