"""What a sweep tells: a figure of merit over two parameters, or over many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from workbench.errors import FigureError, did_you_mean
from workbench.figures.style import Floats, label

_COLOURS = "cividis"  # even in lightness, the same for the colour blind
_TICKS = 8  # values of a parameter up to which each is named


def parameter_map(ax: Axes, table: pd.DataFrame, *, x: str, y: str, metric: str) -> None:
    """Draw a metric over two parameters; a pair that was not run is left empty.

    Parameters
    ----------
    table
        One row for each run. Runs of one pair (other parameters, repeats) are averaged.
    x, y, metric
        Columns.

    Raises
    ------
    FigureError
        If a column is not there.
    """
    _check(table, [x, y, metric])
    columns, rows = _values(table[x]), _values(table[y])
    cells = table.groupby([x, y], sort=False)[metric].mean()
    means = np.array([[cells.get((one, other), np.nan) for one in columns] for other in rows])
    mesh = ax.imshow(means, cmap=_COLOURS, origin="lower", aspect="auto")
    for (row, column), value in np.ndenumerate(means):
        dark = mesh.norm(value) < 0.6
        text = "no run" if np.isnan(value) else f"{value:.3g}"
        colour = "white" if dark and not np.isnan(value) else "#222222"
        ax.text(column, row, text, ha="center", va="center", fontsize=9, color=colour)
    ax.set_xticks(range(len(columns)), [str(one) for one in columns])
    ax.set_yticks(range(len(rows)), [str(one) for one in rows])
    ax.set(xlabel=label(x), ylabel=label(y))
    ax.tick_params(length=0)
    ax.figure.colorbar(mesh, ax=ax, pad=0.01).set_label(label(metric))


def parameter_lines(
    ax: Axes, table: pd.DataFrame, *, parameters: Sequence[str], metric: str
) -> None:
    """Draw each run as a line through its parameters, coloured by where it ends: its metric.

    Parameters
    ----------
    table
        One row for each run; one without the metric (it failed) is left out.
    parameters, metric
        Columns. A parameter's values are spread evenly, in order: grids are mostly powers.

    Raises
    ------
    FigureError
        If a column is not there.
    """
    _check(table, [*parameters, metric])
    names = [*parameters, metric]
    there = table.dropna(subset=[metric]).sort_values(metric, kind="stable")
    merit = there[metric].to_numpy(dtype=np.float64)
    ranks = [_ranks(there[name]) for name in parameters]
    heights = np.column_stack([_spread(one) for one in (*ranks, merit)])
    colours = matplotlib.colormaps[_COLOURS](Normalize()(merit))
    for line, colour in zip(heights, colours, strict=True):
        ax.plot(range(len(names)), line, color=colour, linewidth=1.4, alpha=0.85)
    for position, name in enumerate(names):
        ax.axvline(position, color="#555555", linewidth=0.8, zorder=0)
        _scale(ax, position, there[name], heights[:, position])
    ax.set_xticks(range(len(names)), [label(name) for name in names])
    ax.tick_params(length=0)
    ax.set(xlim=(-0.15, len(names) - 0.7), ylim=(-0.06, 1.06), yticks=[])
    ax.spines[["left", "bottom"]].set_visible(False)


def _scale(ax: Axes, position: int, values: pd.Series, heights: Floats) -> None:
    """Write the values beside their axis; of very many only the ends."""
    named = dict(sorted(zip(heights, values, strict=True), key=lambda one: one[0]))
    if len(named) > _TICKS:
        named = {height: named[height] for height in (min(named), max(named))}
    for height, value in named.items():
        text = f"{value:.3g}" if isinstance(value, float) else str(value)
        ax.annotate(
            text,
            (position, height),
            (5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            bbox={"facecolor": "white", "alpha": 0.75, "pad": 1, "edgecolor": "none"},
        )


def _ranks(values: pd.Series) -> Floats:
    ranks = {value: rank for rank, value in enumerate(_values(values))}
    found: Floats = values.map(ranks).to_numpy(dtype=np.float64)
    return found


def _spread(values: Floats) -> Floats:
    """Return where each value lies between 0 and 1; in the middle if there is but one."""
    low, high = (np.nanmin(values), np.nanmax(values)) if len(values) else (0.0, 0.0)
    heights: Floats = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    return heights


def _values(values: pd.Series) -> list[Any]:
    """Return the different values, in order; by their text where they cannot be compared."""
    different = values.dropna().unique().tolist()
    try:
        return sorted(different)
    except TypeError:
        return sorted(different, key=str)


def _check(table: pd.DataFrame, names: Sequence[str]) -> None:
    for name in names:
        if name not in table:
            known = [str(one) for one in table]
            raise FigureError(
                f"the table has no column {name!r}, it has {', '.join(known)}",
                hint=did_you_mean(name, known),
            )
