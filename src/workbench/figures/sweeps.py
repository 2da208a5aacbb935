"""What a sweep tells: a figure of merit over two parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from workbench.errors import FigureError, did_you_mean
from workbench.figures.style import label

_COLOURS = "cividis"  # even in lightness, the same for the colour blind


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
    means = np.array([[cells.get((across, other), np.nan) for across in columns] for other in rows])
    mesh = ax.imshow(means, cmap=_COLOURS, origin="lower", aspect="auto")
    for (row, column), value in np.ndenumerate(means):
        dark = mesh.norm(value) < 0.6
        text = "no run" if np.isnan(value) else f"{value:.3g}"
        colour = "white" if dark and not np.isnan(value) else "#222222"
        ax.text(column, row, text, ha="center", va="center", fontsize=9, color=colour)
    ax.set_xticks(range(len(columns)), [str(value) for value in columns])
    ax.set_yticks(range(len(rows)), [str(value) for value in rows])
    ax.set(xlabel=label(x), ylabel=label(y))
    ax.tick_params(length=0)
    ax.figure.colorbar(mesh, ax=ax, pad=0.01).set_label(label(metric))


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
            columns = [str(name) for name in table]
            raise FigureError(
                f"the table has no column {name!r}, it has {', '.join(columns)}",
                hint=did_you_mean(name, columns),
            )
