"""Sensors by day: what arrived, and how many alerts; and how two spans differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.ticker import FixedLocator, Locator, MaxNLocator
from numpy.typing import NDArray

from workbench.figures.style import DATA, SCORE, Floats, days, label, name_above, time_axis

_DAY_S = 86_400
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
    """
    once = readings[[sensor, time]].drop_duplicates()
    at = days(once[time])
    names = sorted(once[sensor].dropna().unique())
    edges = np.arange(np.floor(at.min()), np.floor(at.max()) + 2)
    within = np.clip(edges, at.min(), at.max() + period_s / _DAY_S)
    expected = np.maximum(1, np.diff(within) * _DAY_S / period_s)
    share = 100 * _counts(at, once[sensor], names, edges) / expected
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
        grey, blue = (one[name].dropna().to_numpy(dtype=np.float64) for one in (before, after))
        edges = _edges(np.concatenate([grey, blue]))
        ax.stairs(_share(grey, edges), edges, fill=True, color=DATA, alpha=0.5, label="before")
        ax.stairs(_share(blue, edges), edges, color=SCORE, linewidth=1.6, label="after")
        ax.set_xlabel(label(name))
        ax.set_ylim(bottom=0)
    name_above(stack[0], "share of readings, %")
    stack[0].legend()


def _share(values: Floats, edges: Floats) -> Floats:
    share: Floats = 100 * np.histogram(values, edges)[0] / max(1, len(values))
    return share


def _edges(values: Floats) -> Floats:
    """Return some 40 bins, each as many steps of the sensor's resolution wide.

    Others hold now three steps, now four: a comb that the readings do not have.
    """
    known = np.unique(values)
    steps = np.diff(known)
    if not len(steps):
        return np.array([-0.5, 0.5]) + (known[0] if len(known) else 0.0)
    step = max(steps.min(), (known[-1] - known[0]) / 10_000)
    width = step * np.ceil((known[-1] - known[0]) / step / 40)
    count = np.ceil((known[-1] - known[0] + step) / width)
    edges: Floats = known[0] - step / 2 + width * np.arange(count + 1)
    return edges


def _counts(at: Floats, sensors: pd.Series, names: Sequence[str], edges: Floats) -> Floats:
    """Return how many times lie in each sensor's days, shape (sensors, days)."""
    rows = pd.Categorical(sensors, categories=list(names)).codes
    columns = np.searchsorted(edges, at, side="right") - 1
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
