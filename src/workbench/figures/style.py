"""Colours, units and the time axis, the same in every figure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from pathlib import Path
from typing import Any

import matplotlib.dates as mdates
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

from workbench.arrays import Floats
from workbench.metrics import METRICS
from workbench.times import epoch_ms

Times = Any  # Series, index or array of UTC timestamps or epoch ms

STYLE = str(Path(__file__).with_name("workbench.mplstyle"))

# Blue, red and yellow of Paul Tol's vibrant and light schemes: apart for every kind of colour
# blindness, and in grey print by lightness.
DATA = "#6b6b6b"
SCORE = "#0077bb"
ALARM = "#cc3311"
LABEL = "#eecc66"
NORMAL = "#44aa88"
LABEL_ALPHA = 0.55

_DAY_MS = 86_400_000
_DATE_IN = 0.55  # what a date on the axis takes, inches
_ABOVE_IN = 0.05  # the triangle of an alert stands up so far above the axes
_UNITS = {
    "l_min": "l/min",
    "m3_h": "m³/h",
    "mm_s": "mm/s",
    "m_s": "m/s",
    "m_s2": "m/s²",
    "bar": "bar",
    "mbar": "mbar",
    "kpa": "kPa",
    "kw": "kW",
    "hz": "Hz",
    "rpm": "1/min",
    "pct": "%",
    "mm": "mm",
    "ms": "ms",
    "celsius": "°C",
}
# One letter is a unit only after a word that it measures: `channel_a` is not in amperes.
_LETTERS = {
    "a": ("A", {"current"}),
    "v": ("V", {"voltage"}),
    "w": ("W", {"power"}),
    "c": ("°C", {"temperature", "temp"}),
    "f": ("°F", {"temperature", "temp"}),
    "k": ("K", {"temperature", "temp"}),
    "m": ("m", {"level", "depth", "height", "length", "distance"}),
    "s": ("s", {"delay", "duration", "period", "lateness", "lag", "time", "median", "p90", "wall"}),
}


def label(name: str) -> str:
    """Return a field's name with its unit for an axis; as it is where the suffix says none.

    Examples
    --------
    >>> label("flow_l_min"), label("bearing_temperature_c"), label("channel_a")
    ('flow, l/min', 'bearing temperature, °C', 'channel_a')
    >>> label("false_alerts_per_sensor_day")
    'false alerts, per sensor and day'
    """
    if name in METRICS and METRICS[name].unit:
        said = name.partition("_per_")[0].removesuffix("_s").replace("_", " ")
        return f"{said}, {METRICS[name].unit}"
    words = name.split("_")
    for taken in (2, 1):
        before, suffix = " ".join(words[:-taken]), "_".join(words[-taken:])
        if before and suffix in _UNITS:
            return f"{before}, {_UNITS[suffix]}"
    letter, measured = _LETTERS.get(words[-1], ("", set()))
    if measured & set(words[:-1]):
        return f"{' '.join(words[:-1])}, {letter}"
    return name


def stacked(names: Iterable[str], *, first: Iterable[str] = (), most: int = 12) -> list[str]:
    """Return those of many sensors or channels that are drawn one below the other in a report.

    Parameters
    ----------
    names
        All, in the order in which they are drawn.
    first
        Those of `names` that are to be among them, before others.
    most
        How many a picture holds that a person looks through.

    Examples
    --------
    >>> stacked(["a", "b", "c", "d"], first=["d", "d", "gone"], most=2)
    ['a', 'd']
    """
    every = dict.fromkeys(names)
    chosen = {*[*dict.fromkeys(name for name in [*first, *every] if name in every)][:most]}
    return [name for name in every if name in chosen]


def days(times: Times) -> Floats:
    """Return times as matplotlib's: days since 1970, UTC.

    Examples
    --------
    >>> days([43_200_000])
    array([0.5])
    """
    values: Floats = epoch_ms(pd.Series(times)) / _DAY_MS
    return values


def time_axis(ax: Axes, start: float, stop: float) -> None:
    """Let the x axis run over [start, stop) days since 1970, with dates in UTC."""
    room = int(ax.bbox.width / ax.figure.dpi / _DATE_IN)
    locator = mdates.AutoDateLocator(  # type: ignore[no-untyped-call]
        tz=UTC, minticks=2, maxticks=min(8, max(5, room))
    )
    formatter = mdates.ConciseDateFormatter(  # type: ignore[no-untyped-call]
        locator,
        tz=UTC,
        formats=["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%S.%f"],
        zero_formats=["", "%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"],
        offset_formats=["", "%Y", "%Y", "%d %b %Y", "%d %b %Y", "%d %b %Y %H:%M"],
    )
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(formatter)
    ax.set_xlim(start, stop if stop > start else start + 1 / 24)


def name_above(ax: Axes, text: str, *, guilty: bool = False) -> None:
    """Write the y axis' name upright above its upper end, where no stack is too low for it."""
    ax.set_ylabel(text, rotation=0, ha="left", va="bottom")
    above = ScaledTranslation(0, _ABOVE_IN, ax.figure.dpi_scale_trans)
    ax.yaxis.set_label_coords(0, 1, transform=ax.transAxes + above)
    ax.yaxis.set_offset_position("right")  # a power of ten would stand where the name does
    if guilty:
        ax.yaxis.label.set(color=ALARM, fontweight="bold")
        ax.spines["left"].set(color=ALARM, linewidth=3)
