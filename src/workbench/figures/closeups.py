"""One alert from near: the window that set it, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from workbench.arrays import Floats
from workbench.errors import FigureError
from workbench.figures.lines import channels as draw_channels
from workbench.figures.marks import as_many, column
from workbench.figures.style import ALARM, NORMAL, SCORE, days

_LEAST = 60  # readings shown to either side of the alert's start


def closeup(
    axes: object,
    frame: pd.DataFrame,
    channels: Sequence[str],
    *,
    alert: pd.Series,
    window: int,
    normal: Floats | None = None,
    labels: pd.DataFrame | None = None,
    guilty: Sequence[str] = (),
    time: str = "event_time",
) -> None:
    """Draw an alert's channels around its start, the window that set it in the score's blue.

    Parameters
    ----------
    axes
        One for each channel.
    frame
        Readings of the alert's sensor, late ones left out.
    alert
        A row of `episodes`: `start` is the event time of the newest reading in the window.
    window
        w, readings in a window; six times as many are shown before the start and after it, 60 at
        least.
    normal
        Shape (k, w, c), windows of normal times with the channels in this order, as from
        `nearest_windows`: drawn green behind the alert's.
    labels, guilty
        As in `channels`.

    Raises
    ------
    FigureError
        If a column is not there, the axes are not as many as the channels, no reading lies at or
        before the alert, or `normal` has another shape.
    """
    stack = as_many(axes, channels, "channels")
    _check_normal(normal, window, len(channels))
    order = np.argsort(days(column(frame, time)), kind="stable")
    ordered = frame.iloc[order]
    newest = int((ordered[time] <= alert["start"]).sum())
    if newest == 0:
        raise FigureError(f"no reading lies at or before the alert's start, {alert['start']}")
    around = max(_LEAST, 6 * window)
    near = ordered[max(0, newest - around) : newest + around]
    newest_window = ordered[max(0, newest - window) : newest]
    times = days(newest_window[time])
    for position, (ax, name) in enumerate(zip(stack, channels, strict=True)):
        if normal is not None:
            usual = normal[:, -len(times) :, position].T
            ax.plot(times, usual, color=NORMAL, alpha=0.7, zorder=3, gid="normal")
        (line,) = ax.plot(times, newest_window[name], ".-", color=SCORE, zorder=4, gid="window")
        line.set(linewidth=1.8, markersize=4)
        ax.axvline(times[-1], color=ALARM, linewidth=1.2, gid="alert")
    draw_channels(stack, near, channels, labels=labels, guilty=guilty, time=time)  # fixes heights


def nearest_windows(windows: Floats, window: Floats, *, count: int = 5) -> Floats:
    """Return the windows most like one, nearest first.

    Parameters
    ----------
    windows
        Shape (n, w, c), of normal times (`detectors.sliding_windows`).
    window
        Shape (w, c).
    count
        How many.

    Notes
    -----
    Euclidean, each channel in units of its standard deviation over `windows`; of windows that
    overlap in time each may be among the nearest: thin them out first (`windows[::w]`).
    """
    spread = windows.std(axis=(0, 1))
    apart = (windows - window) / np.where(spread > 0, spread, 1)
    nearest = np.argsort(np.einsum("nwc,nwc->n", apart, apart), kind="stable")[:count]
    chosen: Floats = windows[nearest]
    return chosen


def _check_normal(normal: Floats | None, window: int, channels: int) -> None:
    if normal is not None and (normal.ndim != 3 or normal.shape[1:] != (window, channels)):
        raise FigureError(
            f"the normal windows have shape {normal.shape}, not (k, {window}, {channels})"
        )
