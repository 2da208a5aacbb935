"""Readings and scores over event time."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from workbench.detectors import Detection
from workbench.figures.marks import as_many, column, draw, flag, only_last, shade
from workbench.figures.style import ALARM, DATA, SCORE, Times, label, name_above


def series(
    ax: Axes,
    times: Times,
    values: ArrayLike,
    *,
    name: str,
    labels: pd.DataFrame | None = None,
    alerts: pd.DataFrame | None = None,
) -> None:
    """Draw one channel of one sensor over event time; a long one keeps every spike.

    Parameters
    ----------
    times, values
        Shape (n,), UTC timestamps or epoch ms, in any order; NaN where there is no value.
    name
        The channel's; its end gives the unit (`flow_l_min`).
    labels, alerts
        Of this sensor: labels as from `read_labels`, alerts as from `episodes`.

    Raises
    ------
    FigureError
        If labels or alerts are of several sensors.
    """
    draw(ax, times, values, color=DATA)
    shade(ax, labels, channel=name)
    flag(ax, alerts)
    name_above(ax, label(name))


def channels(
    axes: object,
    frame: pd.DataFrame,
    channels: Sequence[str],
    *,
    labels: pd.DataFrame | None = None,
    alerts: pd.DataFrame | None = None,
    guilty: Sequence[str] = (),
    time: str = "event_time",
) -> None:
    """Draw the channels of one sensor, one below the other.

    Parameters
    ----------
    axes
        One for each channel: `plt.subplots(len(channels), sharex=True)`.
    frame
        Readings of one sensor, in any order.
    labels, alerts
        Of this sensor. A label is shaded in the channels that it names, outlined in the others.
    guilty
        Channels to mark, by their name and axis in red: those that a detector blames.

    Raises
    ------
    FigureError
        If a channel or the time is not in the frame, there are more or fewer axes than channels,
        or labels or alerts are of several sensors.
    """
    stack = as_many(axes, channels, "channels")
    times = column(frame, time)
    for ax, name in zip(stack, channels, strict=True):
        series(ax, times, column(frame, name), name=name, labels=labels, alerts=alerts)
        name_above(ax, label(name), guilty=name in guilty)
    only_last(stack)


def scores(
    ax: Axes,
    times: Times,
    scores: ArrayLike,
    threshold: float,
    *,
    uncertainty: tuple[float, float] | None = None,
    labels: pd.DataFrame | None = None,
    alerts: pd.DataFrame | None = None,
    name: str = "score",
) -> None:
    """Draw the scores of one sensor and the threshold.

    Parameters
    ----------
    times, scores
        Shape (n,), in any order; NaN where nothing was scored.
    threshold
        A score above it counts for an alarm.
    uncertainty
        Between which values the threshold may as well lie, shaded.
    labels, alerts
        As in `series`.

    Raises
    ------
    FigureError
        If labels or alerts are of several sensors.
    """
    draw(ax, times, scores, color=SCORE)
    if uncertainty is not None:
        ax.axhspan(*uncertainty, color=ALARM, alpha=0.15, lw=0, gid="uncertainty")
    ax.axhline(threshold, color=ALARM, linestyle=(0, (4, 3)), linewidth=1)
    ax.annotate(
        f"{threshold:.3g}", (1, threshold), xycoords=("axes fraction", "data"), xytext=(4, 0),
        textcoords="offset points", va="center", fontsize=8, color=ALARM, annotation_clip=False,
    )  # fmt: skip
    shade(ax, labels)
    flag(ax, alerts)
    name_above(ax, name)


def score_stack(
    axes: object,
    readings: pd.DataFrame,
    detection: Detection,
    threshold: float,
    labels: pd.DataFrame | None = None,
    *,
    sensors: Sequence[str],
    sensor: str = "key",
    time: str = "event_time",
) -> None:
    """Draw the scores of several sensors, one below the other, to one scale.

    Parameters
    ----------
    axes
        One for each sensor: `plt.subplots(len(sensors), sharex=True)`.
    readings, detection
        What was scored, of all sensors, and what `detectors.detect` made of it.
    labels
        Of all sensors: each is drawn where it belongs.
    sensor, time
        Columns of `readings`; a replayed topic has the sensor in `key`.

    Raises
    ------
    FigureError
        If a column is not there, or there are more or fewer axes than sensors.
    """
    stack = as_many(axes, sensors, "sensors")
    names, times = column(readings, sensor), column(readings, time)
    events, alerts = labels, detection.episodes
    for ax, name in zip(stack, sensors, strict=True):
        mask = (names == name).to_numpy()
        scores(
            ax,
            times[mask],
            detection.scores[mask],
            threshold,
            labels=None if events is None else events[events["sensor"] == name],
            alerts=alerts[alerts["sensor"] == name],
            name=f"{name}, score",
        )
    _one_scale(stack)
    only_last(stack)


def _one_scale(stack: Sequence[Axes]) -> None:
    """Give all axes the widest span of time and of scores."""
    lefts, rights = zip(*(ax.get_xlim() for ax in stack), strict=True)
    lows, highs = zip(*(ax.get_ylim() for ax in stack), strict=True)
    for ax in stack:
        ax.set(xlim=(min(lefts), max(rights)), ylim=(min(lows), max(highs)))
