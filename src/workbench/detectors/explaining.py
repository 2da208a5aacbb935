"""Why a window scores as it does: the share that each channel has in it.

From the detector's own mathematics where its score is made of parts that belong to channels, else
by asking again: how much less would it be if this channel were as in training? A pure function of
the window, as the score is (docs/design.md, D3); asked of single windows, not of all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from workbench.arrays import Bools, Floats, Objects
from workbench.detectors.contract import Detector, score_windows
from workbench.detectors.fitted import Fitted
from workbench.detectors.leveling.levels import Levels
from workbench.detectors.packages import Package
from workbench.detectors.partition_time import arrivals_of, partition_order
from workbench.detectors.windows import index_windows
from workbench.errors import DetectorError
from workbench.times import epoch_ms


@runtime_checkable
class Explains(Protocol):
    """A detector that says which channels its score is due to."""

    def explain(self, windows: Floats, /) -> Floats:
        """Return the share of each channel, (n, w, c) to (n, c)."""


def explain(detector: Detector, windows: Floats, sensors: Iterable[object] | None = None) -> Floats:
    """Return the share that each channel has in the score of each window.

    Parameters
    ----------
    windows
        Shape (n, w, c), as the detector scores them.
    sensors
        Whose they are, as `score_windows` takes them.

    Returns
    -------
    shares
        Shape (n, c), each 0 to 1; those of a window sum to 1. NaN where it has no score.

    Raises
    ------
    DetectorError
        If the detector does not explain itself.

    Examples
    --------
    >>> from workbench.detectors import fit
    >>> training = pd.DataFrame({"pump": "a", "event_time": pd.date_range("2026", periods=50,
    ...     freq="min", tz="UTC"), "flow": np.arange(50) % 5.0, "heat": np.arange(50) % 7.0})
    >>> spec = {"name": "robust_z", "window": 1, "channels": ["flow", "heat"]}
    >>> explain(fit(spec, training, sensor="pump"), np.array([[[2.0, 90.0]]]))
    array([[0., 1.]])
    """
    if not isinstance(detector, Explains):
        raise DetectorError(
            f"a {type(detector).__name__} does not explain its scores",
            hint="give it explain(windows), (n, w, c) to (n, c)",
        )
    shares: Floats = np.full((len(windows), len(detector.channels)), np.nan)
    if isinstance(detector, Fitted) and detector.levels is not None:
        has, _, leveled = detector.leveled(_missing(windows), sensors)
        shares[has] = explain(detector.bare, leveled)
        return shares
    fine = ~np.isnan(score_windows(detector, windows))
    if fine.any():
        shares[fine] = detector.explain(np.asarray(windows, dtype=np.float64)[fine])
    return shares


def _missing(windows: Floats) -> Floats:
    """Return windows in which what is not finite is missing."""
    windows = np.asarray(windows, dtype=np.float64)
    return np.where(np.isfinite(windows), windows, np.nan)


class Contribution(NamedTuple):
    """What one channel has in a score.

    Attributes
    ----------
    channel
        Its name.
    share
        0 to 1; those of a window sum to 1.
    direction
        `above` or `below`: its newest reading, compared with what was expected, or else with all of
        the training windows kept with the detector; `pattern`: within those.
    expected
        What its newest reading should have been, in its own unit; None: the detector does not say.
    """

    channel: str
    share: float
    direction: str
    expected: float | None


def contributions(
    detector: Detector, windows: Floats, sensors: Iterable[object] | None = None
) -> list[tuple[Contribution, ...]]:
    """Return what each channel has in the score of each window, the largest share first.

    Parameters
    ----------
    windows
        Shape (n, w, c). Of one that has no score, and of a detector that does not explain itself,
        there are none.
    sensors
        Whose they are, as `score_windows` takes them. A direction is then by the sensor's own
        level.

    Examples
    --------
    >>> from workbench.detectors import fit
    >>> training = pd.DataFrame({"pump": "a", "event_time": pd.date_range("2026", periods=50,
    ...     freq="min", tz="UTC"), "flow": np.arange(50) % 5.0, "heat": np.arange(50) % 7.0})
    >>> spec = {"name": "robust_z", "window": 1, "channels": ["flow", "heat"]}
    >>> contributions(fit(spec, training, sensor="pump"), np.array([[[2.0, 90.0]]]))[0][0]
    Contribution(channel='heat', share=1.0, direction='above', expected=3.0)
    """
    if not isinstance(detector, Explains):
        return [()] * len(windows)
    if isinstance(detector, Fitted) and detector.levels is not None:
        return _on_level(detector, detector.levels, windows, sensors)
    windows = np.asarray(windows, dtype=np.float64)
    shares = explain(detector, windows)
    expected = _expected(detector, windows, ~np.isnan(shares).any(axis=1))
    low, high = _usual(detector)
    return [
        _ordered(detector.channels, row, _directions(window[-1], wanted, low, high), wanted)
        for row, window, wanted in zip(shares, windows, expected, strict=True)
    ]


def _on_level(
    detector: Fitted, levels: Levels, windows: Floats, sensors: Iterable[object] | None
) -> list[tuple[Contribution, ...]]:
    """Return the contributions of levelled windows, what was expected in the channels' units."""
    has, places, leveled = detector.leveled(_missing(windows), sensors)
    said: list[tuple[Contribution, ...]] = [()] * len(windows)
    found = contributions(detector.bare, leveled)
    for row, place, parts in zip(np.flatnonzero(has), places, found, strict=True):
        said[row] = tuple(_in_own_unit(part, detector.channels, levels, place) for part in parts)
    return said


def _in_own_unit(
    part: Contribution, channels: tuple[str, ...], levels: Levels, place: int
) -> Contribution:
    if part.expected is None:
        return part
    at = place, channels.index(part.channel)
    return part._replace(expected=float(part.expected * levels.spread[at] + levels.centre[at]))


def _expected(detector: Detector, windows: Floats, fine: Bools) -> Floats:
    """Return what the detector expected, (n, c), of the windows that it scores; else NaN."""
    values: Floats = np.full((len(windows), len(detector.channels)), np.nan)
    if isinstance(detector, Fitted) and fine.any():
        values[fine] = detector.expected(windows[fine])
    return values


def _usual(detector: Detector) -> tuple[Floats, Floats]:
    """Return the least and the largest reading of each channel in the training windows kept."""
    c = len(detector.channels)
    if not isinstance(detector, Fitted):
        return np.full(c, -np.inf), np.full(c, np.inf)
    golden = detector.golden
    return np.nanmin(golden, axis=(0, 1)), np.nanmax(golden, axis=(0, 1))


def _directions(newest: Floats, wanted: Floats, low: Floats, high: Floats) -> list[str]:
    low, high = (np.where(np.isnan(wanted), edge, wanted) for edge in (low, high))
    words = np.select([newest > high, newest < low], ["above", "below"], "pattern")
    return [str(word) for word in words]


def _ordered(
    channels: tuple[str, ...], shares: Floats, directions: list[str], expected: Floats
) -> tuple[Contribution, ...]:
    if np.isnan(shares).any():
        return ()
    return tuple(
        Contribution(
            channels[c], float(shares[c]), directions[c],
            None if np.isnan(expected[c]) else float(expected[c]),
        )
        for c in np.argsort(-shares, kind="stable")
    )  # fmt: skip


def explain_episodes(
    package: Package,
    frame: pd.DataFrame,
    episodes: pd.DataFrame,
    *,
    sensor: str,
    time: str = "event_time",
    lateness_ms: int | None = None,
    ahead_ms: int | None = None,
    partition: str | None = None,
) -> pd.DataFrame:
    """Return the share of each channel in the peak of each episode of `detect`.

    Parameters
    ----------
    frame
        The readings that were given to `detect`; the others as there, too.
    episodes
        Rows of `Detection.episodes`.

    Returns
    -------
    shares
        A column for each channel, the index of `episodes`; NaN where the frame has no such window.
    """
    windows, named, is_there = _peak_windows(
        package, frame, episodes, sensor=sensor, time=time, lateness_ms=lateness_ms,
        ahead_ms=ahead_ms, partition=partition,
    )  # fmt: skip
    shares = np.full((len(episodes), len(package.detector.channels)), np.nan)
    shares[is_there] = explain(package.detector, windows, named)
    return pd.DataFrame(shares, index=episodes.index, columns=list(package.detector.channels))


def episode_contributions(
    package: Package,
    frame: pd.DataFrame,
    episodes: pd.DataFrame,
    *,
    sensor: str,
    time: str = "event_time",
    lateness_ms: int | None = None,
    ahead_ms: int | None = None,
    partition: str | None = None,
) -> list[tuple[Contribution, ...]]:
    """Return what each channel has in the peak of each episode of `detect`, as alerts carry it.

    Parameters are those of `explain_episodes`; of an episode whose window the frame has not, there
    are none.
    """
    windows, named, is_there = _peak_windows(
        package, frame, episodes, sensor=sensor, time=time, lateness_ms=lateness_ms,
        ahead_ms=ahead_ms, partition=partition,
    )  # fmt: skip
    said = iter(contributions(package.detector, windows, named))
    return [next(said) if has_window else () for has_window in is_there]


def _peak_windows(
    package: Package,
    frame: pd.DataFrame,
    episodes: pd.DataFrame,
    *,
    sensor: str,
    time: str,
    lateness_ms: int | None,
    ahead_ms: int | None,
    partition: str | None,
) -> tuple[Floats, Objects, Bools]:
    """Return the windows of the peaks, whose they are, and of which episodes."""
    gone = arrivals_of(
        frame, sensor=sensor, time=time, lateness_ms=lateness_ms, ahead_ms=ahead_ms,
        partition=partition,
    ).left_out  # fmt: skip
    order = partition_order(frame, partition)  # as in `detect`: it decides between equal times
    frame, gone = frame.iloc[order], gone[order]
    index = index_windows(
        frame, sensor=sensor, time=time, channels=package.detector.channels,
        window=package.detector.window, max_span_s=package.max_span_s,
        missing=getattr(package.detector, "takes_missing", False), keep=~gone,
    )  # fmt: skip
    newest = index.rows
    names, times_ms = frame[sensor].to_numpy()[newest], epoch_ms(frame[time])[newest]
    named = index.names[newest] if _is_leveled(package) else names
    picks = np.full(len(episodes), -1, dtype=np.int64)
    peaks = zip(episodes["sensor"], epoch_ms(episodes["peak_time"]), strict=True)
    for row, (name, time_ms) in enumerate(peaks):
        there = np.flatnonzero(times_ms == time_ms)
        there = there[names[there] == name]
        if len(there):
            scores = score_windows(package.detector, index.values(there), named[there])
            picks[row] = there[np.argmax(scores)]
    return index.values(picks[picks >= 0]), named[picks[picks >= 0]], picks >= 0


def _is_leveled(package: Package) -> bool:
    return getattr(package.detector, "levels", None) is not None


def guilty(shares: pd.DataFrame, count: int = 2) -> list[tuple[str, ...]]:
    """Return the channels with the largest shares, largest first, for each row.

    Examples
    --------
    >>> guilty(pd.DataFrame({"flow": [0.2], "heat": [0.7], "noise": [0.1]}))
    [('heat', 'flow')]
    """
    order = np.argsort(-shares.to_numpy(), axis=1, kind="stable")[:, :count]
    return [tuple(shares.columns[row]) for row in order]


__all__ = [
    "Contribution",
    "Explains",
    "contributions",
    "episode_contributions",
    "explain",
    "explain_episodes",
    "guilty",
]
