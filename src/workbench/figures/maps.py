"""Sensors by time: what arrived, how many alerts, which change; and how two spans differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, Locator, MaxNLocator
from numpy.typing import NDArray

from workbench.arrays import Floats
from workbench.errors import FigureError
from workbench.figures.style import ALARM, DATA, SCORE, days, label, name_above, time_axis

_DAY_S = 86_400
_DRAWN = 40  # sensors, one above the other
_SHORTEST = 0.004  # of the span: how wide an alert is drawn at least
_NUMBERED = 200  # cells of a map up to which the figure is written into each


def completeness(
    ax: Axes, readings: pd.DataFrame, *, sensor: str, period_s: float, time: str = "event_time"
) -> None:
    """Draw the share of the expected readings that arrived, for each sensor and day.

    Parameters
    ----------
    readings
        Of all sensors. Two of one sensor and instant count once.
    sensor, time
        Columns.
    period_s
        A sensor's time between two readings. Of the first and the last day only the part within
        the readings' span is expected.

    Raises
    ------
    FigureError
        If the period is not > 0, as the median of no steps is.
    """
    if not period_s > 0:
        raise FigureError(
            f"the period is {period_s} s, expected > 0",
            hint="of steps > 0 the median: has no sensor readings at two instants?",
        )
    # pandas' `unique` and `drop_duplicates` of two columns read names as C does, up to a zero
    names = sorted(set(readings[sensor].dropna()))
    row = pd.Index(names).get_indexer(pd.Index(readings[sensor]))
    again = pd.DataFrame({"row": row, "time": readings[time].array}).duplicated()
    once = readings[~again.to_numpy()]
    times = days(once[time])
    edges = np.arange(np.floor(times.min()), np.floor(times.max()) + 2)
    within = np.clip(edges, times.min(), times.max() + period_s / _DAY_S)
    expected = np.maximum(1, np.diff(within) * _DAY_S / period_s)
    share = 100 * _counts(times, once[sensor], names, edges) / expected
    texts = np.floor(share).astype(int).astype(str)
    # most days lose little: the scale gives half its range to the last tenth
    mesh = _map(ax, edges, names, share, texts, "Greys_r", PowerNorm(6, 0, 100))
    _bar(ax, mesh, "readings that arrived, %", FixedLocator([0, 80, 90, 95, 100]))


def alerts_by_day(
    ax: Axes, alerts: pd.DataFrame, *, sensors: Sequence[str], span: tuple[object, object]
) -> None:
    """Draw how many alerts began, for each sensor and day.

    Parameters
    ----------
    alerts
        `sensor`, `start`.
    sensors
        All that were watched: a quiet one is a row too.
    span
        What was watched, [start, stop), UTC.
    """
    start, stop = days(span)
    inside = alerts[(days(alerts["start"]) >= start) & (days(alerts["start"]) < stop)]
    edges = np.arange(np.floor(start), np.ceil(stop) + 1)
    counts = _counts(days(inside["start"]), inside["sensor"], sensors, edges)
    texts = np.where(counts > 0, counts.astype(int).astype(str), "")
    most = Normalize(0, max(1.0, counts.max()))
    mesh = _map(ax, edges, sensors, counts, texts, "Reds", most)
    _bar(ax, mesh, "alerts in a day", MaxNLocator(5, integer=True))


def changes(
    ax: Axes, alerts: pd.DataFrame, *, sensors: Sequence[str], span: tuple[object, object]
) -> None:
    """Draw when each sensor alerts under the champion and under the candidate, one above the other.

    A bar for each stretch; what only one of them has is dark, what both have is light. Beside it
    stands what people answered.

    Parameters
    ----------
    alerts
        `sensor`, `start`, `stop`, `under` (`champion`, `candidate` or `both`) and perhaps `answer`,
        as the `frame` of a verdict's `changes` has them.
    sensors
        All that were watched: a quiet one is a row too. Of more than 40 only those that alert are
        drawn, the 40 that change most.
    span
        What was watched, [start, stop), UTC.
    """
    names = _most_changed(alerts, sensors)
    rows = {name: row for row, name in enumerate(names)}
    start, stop = days(span)
    shortest = (stop - start) * _SHORTEST
    for side, colour, above in (("champion", DATA, -0.2), ("candidate", ALARM, 0.2)):
        for alone in (False, True):
            drawn = alerts[alerts["under"].eq(side if alone else "both")]
            drawn = drawn[drawn["sensor"].isin(rows)]
            begin = days(drawn["start"])
            wide = np.maximum(days(drawn["stop"]) - begin, shortest)
            ax.barh(
                drawn["sensor"].map(rows).to_numpy(dtype=float) + above,
                wide, 0.34, left=begin, color=colour, alpha=1.0 if alone else 0.35, lw=0,
                label=f"{side} only" if alone else f"{side}, both do",
            )  # fmt: skip
    if "answer" in alerts:
        drawn = alerts[alerts["sensor"].isin(rows) & alerts["answer"].ne("")]
        _write_answers(ax, drawn, drawn["sensor"].map(rows), start + 0.8 * (stop - start))
    for row in range(1, len(names)):
        ax.axhline(row - 0.5, color="#dddddd", lw=0.5, zorder=0)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(max(len(names), 1) - 0.5, -0.5)
    time_axis(ax, start, stop)
    ax.set_xlabel("event time, UTC")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8)


def _write_answers(ax: Axes, answered: pd.DataFrame, rows: pd.Series, late: float) -> None:
    """Write answers behind their bars; before those that end late, where there is no room."""
    for answer, row, begin, end in zip(
        answered["answer"], rows, days(answered["start"]), days(answered["stop"]), strict=True
    ):
        behind = end < late
        ax.annotate(
            answer, (end if behind else begin, row), (3 if behind else -3, 0),
            textcoords="offset points", va="center", ha="left" if behind else "right", fontsize=7,
        )  # fmt: skip


def _most_changed(alerts: pd.DataFrame, sensors: Sequence[str]) -> list[str]:
    if len(sensors) <= _DRAWN:
        return list(sensors)
    changed = Counter(alerts["sensor"][alerts["under"] != "both"])
    alerting = set(alerts["sensor"])
    drawn = [name for name in sensors if name in alerting]
    most = set(sorted(drawn, key=lambda name: -changed[name])[:_DRAWN])
    return [name for name in drawn if name in most]


def drift(
    axes: Iterable[Axes],
    before: pd.DataFrame,
    after: pd.DataFrame,
    channels: Sequence[str],
) -> None:
    """Draw how each channel is distributed in two spans.

    Parameters
    ----------
    axes
        One for each channel.
    before, after
        Readings of the two spans; missing values are left out.
    """
    stack = list(np.ravel(np.asarray(axes, dtype=object)))
    for ax, name in zip(stack, channels, strict=True):
        grey, blue = (table[name].dropna().to_numpy(dtype=np.float64) for table in (before, after))
        edges = _edges(np.concatenate([grey, blue]))
        ax.stairs(_share(grey, edges), edges, fill=True, color=DATA, alpha=0.5, label="before")
        ax.stairs(_share(blue, edges), edges, color=SCORE, linewidth=1.6, label="after")
        ax.set_xlabel(label(name))
        ax.set_ylim(bottom=0)
    name_above(stack[0], "share of readings, %")
    stack[0].legend()


def moves(ax: Axes, moved: pd.DataFrame, *, limit: float | None = None) -> None:
    """Draw how far each channel and the score have moved since training, for each day.

    Parameters
    ----------
    moved
        A row for each day, by its start; a column for each; 0 to 1, NaN where it is not known. As
        the `frame` of `stream.drift` has it.
    limit
        What is above it has a red edge.

    Raises
    ------
    FigureError
        If there is no day.
    """
    if not len(moved):
        raise FigureError("there is no day to draw")
    every = moved.reindex(pd.date_range(moved.index[0], moved.index[-1], freq="24h"))
    edges = days(every.index)[0] + np.arange(len(every) + 1.0)
    values = every.to_numpy(dtype=np.float64).T
    names = [label(str(name)).partition(",")[0] for name in every]
    texts = np.where(np.isnan(values), "", np.char.mod("%.2f", values))
    mesh = _map(ax, edges, names, values, texts, "Greys", Normalize(0, 1))
    _bar(ax, mesh, "moved since training", MaxNLocator(5))
    ax.grid(visible=False)
    above = np.argwhere(values > (np.inf if limit is None else limit))
    for row, column in above:
        corner = (edges[column], row - 0.5)
        ax.add_patch(Rectangle(corner, 1, 1, fill=False, ec=ALARM, lw=2, gid="over"))


def _share(values: Floats, edges: Floats) -> Floats:
    share: Floats = 100 * np.histogram(values, edges)[0] / max(1, len(values))
    return share


def _edges(values: Floats) -> Floats:
    """Return some 40 bins, each as many steps of the sensor's resolution wide.

    Others hold now three steps, now four: a comb that the readings do not have.
    """
    levels = np.unique(values)
    steps = np.diff(levels)
    if not len(steps):
        return np.array([-0.5, 0.5]) + (levels[0] if len(levels) else 0.0)
    step = max(steps.min(), (levels[-1] - levels[0]) / 10_000)
    width = step * np.ceil((levels[-1] - levels[0]) / step / 40)
    count = np.ceil((levels[-1] - levels[0] + step) / width)
    edges: Floats = levels[0] - step / 2 + width * np.arange(count + 1)
    return edges


def _counts(times: Floats, sensors: pd.Series, names: Sequence[str], edges: Floats) -> Floats:
    """Return how many times lie in each sensor's days, shape (sensors, days)."""
    rows = pd.Index(list(names)).get_indexer(pd.Index(sensors))
    columns = np.searchsorted(edges, times, side="right") - 1
    inside = (rows >= 0) & (columns >= 0) & (columns < len(edges) - 1)
    counts: Floats = np.zeros((len(names), len(edges) - 1))
    np.add.at(counts, (rows[inside], columns[inside]), 1)
    return counts


def _map(
    ax: Axes,
    edges: Floats,
    names: Sequence[str],
    values: Floats,
    texts: NDArray[np.str_],
    colours: str,
    scale: Normalize,
) -> QuadMesh:
    rows = np.arange(len(names) + 1) - 0.5
    mesh = ax.pcolormesh(
        edges, rows, values, cmap=colours, norm=scale, edgecolors="#dddddd", linewidth=0.5
    )
    ax.set_yticks(range(len(names)), list(names))
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    time_axis(ax, edges[0], edges[-1])
    ax.set_xlabel("day, UTC")
    if values.size > _NUMBERED:
        return mesh
    dark = mesh.cmap(mesh.norm(values))[..., :3] @ [0.299, 0.587, 0.114] < 0.5
    middles = (edges[:-1] + edges[1:]) / 2
    for row, column in np.ndindex(values.shape):
        colour = "white" if dark[row, column] else "#222222"
        at = middles[column], row
        ax.text(*at, texts[row, column], ha="center", va="center", fontsize=8, color=colour)
    return mesh


def _bar(ax: Axes, mesh: QuadMesh, says: str, ticks: Locator) -> None:
    bar = ax.figure.colorbar(mesh, ax=ax, pad=0.01, ticks=ticks)
    bar.set_label(says)
