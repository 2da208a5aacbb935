"""What readings are like: channels that say something, the interval, how long they remember.

Nothing here asks what is anomalous; it decides what a detector can be fitted on at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.arrays import Bools, Floats, Ints
from workbench.detectors.leveling.naming import sensor_codes
from workbench.detectors.methods.rules import FLAT
from workbench.detectors.methods.seasons import CLOCKS as CLOCKS
from workbench.detectors.partition_time import check_columns
from workbench.detectors.specs import MOST_CHANNELS
from workbench.detectors.windows import interval_s
from workbench.errors import DetectorError, did_you_mean
from workbench.times import epoch_ms

_MOST = 200_000  # readings looked at: of more, every k-th
_RARE = 0.002  # share of the readings that differ from the usual value, below which none can learn
_EARLY = 0.45  # share of the time within which a channel must move: a trial fit sees no more
_ABSENT = 0.95  # share of the readings that are missing
_LARGEST = 1e150  # readings, whose squares a double holds
_ALIKE = 0.9999  # correlation of two channels that are one
_FALLS, _RISES = 0.002, 0.2  # shares of a counter's steps: it falls when it is reset, if ever
_FORGOTTEN = 0.5  # autocorrelation below which a reading says little of a later one


@dataclass(frozen=True, eq=False)
class Series:
    """Readings by sensor and event time, and what they are like.

    Attributes
    ----------
    kept
        Channels to detect on, in order.
    left_out
        Why others are not among them, by channel.
    interval_s
        Median time from one reading of a sensor to its next; 0 where all are of one instant.
    memory
        Readings after which the median channel's autocorrelation has fallen below one half.
    readings
        Of the median sensor.
    counters
        Whether the channels kept are counters: no other moves.
    rare
        Whether all of them hardly move at first: a part of the readings may teach none of it.
    """

    kept: tuple[str, ...]
    left_out: Mapping[str, str]
    interval_s: float
    memory: int
    readings: int
    counters: bool
    rare: bool = False


def look(
    frame: pd.DataFrame, *, sensor: str, time: str, channels: Sequence[str] | None = None
) -> Series:
    """Return what readings are like.

    Parameters
    ----------
    frame
        Readings, in any order.
    channels
        Columns that may be detected on; None: all that hold numbers.

    Raises
    ------
    DetectorError
        If a column is missing, twice there or named by a number, no channel moves, or no time
        passes.
    """
    _check_names(frame)
    names = _numeric(frame, sensor, time) if channels is None else list(channels)
    check_columns(frame, [sensor, time, *names])
    codes, sensors = sensor_codes(frame[sensor])
    times = epoch_ms(frame[time])
    order = np.lexsort((times, codes))
    order = order[codes[order] >= 0]
    if not len(order):
        raise DetectorError("there are no readings to choose a detector for")
    if len(order) > 1 and times[order].min() == times[order].max():
        raise DetectorError(f"all {len(order)} readings are of one instant, and none comes later")
    own = np.bincount(codes[order], minlength=len(sensors))
    longest = order[codes[order] == int(np.argmax(own))][:_MOST]
    thin = order[:: 1 + len(order) // _MOST]
    early = times[thin] <= np.quantile(times[thin], _EARLY)
    same = np.diff(codes[thin]) == 0
    kept, left_out, spare = _sorted_out(names, _values(frame, names, thin), same, early)
    counters = any("counter" in reason for reason in spare)
    return Series(
        tuple(kept),
        left_out,
        interval_s(frame, sensor=sensor, time=time),
        _memory(_values(frame, kept, longest)),
        int(np.median(own)),
        counters,
        rare=bool(spare) and not counters,
    )


def _check_names(frame: pd.DataFrame) -> None:
    """Refuse columns of one name, and those that are no texts, as a specification names them."""
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DetectorError(f"two columns are called {twice[0]!r}", hint="rename one of them")
    names: list[object] = [*frame.columns]
    for name in names:
        if not isinstance(name, str):
            hint = "readings = readings.rename(columns=str)"
            raise DetectorError(f"a column is called {name!r}, which is no text", hint=hint)


def _numeric(frame: pd.DataFrame, sensor: str, time: str) -> list[str]:
    numbers = frame.select_dtypes(["number", "bool"]).columns
    known = {sensor, time, "partition", "publish_time", "message_id"}
    names = [str(name) for name in numbers if name not in known]
    if not names:
        raise DetectorError("the readings have no column of numbers to detect on")
    return names


def _values(frame: pd.DataFrame, names: Sequence[str], order: Ints) -> Floats:
    columns = []
    for name in names:
        try:
            columns.append(frame[name].to_numpy(dtype=np.float64, na_value=np.nan)[order])
        except (TypeError, ValueError) as err:
            raise DetectorError(
                f"channel {name} holds {frame[name].dtype}, not numbers: {err}",
                hint=did_you_mean(name, map(str, frame)),
            ) from err
    values: Floats = np.stack(columns, axis=1)
    values[~np.isfinite(values)] = np.nan
    return values


def _sorted_out(
    names: Sequence[str], values: Floats, same: Bools, early: Bools
) -> tuple[list[str], dict[str, str], list[str]]:
    """Return the channels to detect on, why the others are none, and what speaks against those.

    Nothing does, unless there are no better ones.
    """
    why: dict[str, str] = {}
    spare: dict[str, str] = {}  # better than nothing, where nothing better is there
    for column, name in enumerate(names):
        if name in CLOCKS:
            why[name] = "a clock"
        elif reason := _still(values[:, column]):
            why[name] = reason
        elif reason := _rare(values[early, column]) or _counter(values[:, column], same):
            spare[name] = reason
    moving = [name for name in names if name not in why]
    if not moving:
        told = "; ".join(f"{name}: {reason}" for name, reason in why.items())
        raise DetectorError(f"no channel moves in {len(values)} readings: {told}")
    useful = [name for name in moving if name not in spare]
    if useful:
        why |= spare
        moving = useful
    for name, twin in _doubles(moving, values[:, [names.index(name) for name in moving]]).items():
        why[name] = f"the same as {twin}"
    kept = [name for name in moving if name not in why]
    why |= dict.fromkeys(kept[MOST_CHANNELS:], f"beyond the first {MOST_CHANNELS} that move")
    kept = kept[:MOST_CHANNELS]
    return kept, why, [] if useful else [spare[name] for name in kept]


def _still(column: Floats) -> str:
    there = column[~np.isnan(column)]
    if len(there) < (1 - _ABSENT) * len(column) or not len(there):
        return f"missing in {1 - len(there) / max(1, len(column)):.0%} of the readings"
    low, high = float(there.min()), float(there.max())
    if max(-low, high) > _LARGEST:
        return f"as large as {max(-low, high):g}, whose square is no number"
    if high - low <= max(FLAT * max(abs(low), abs(high)), 1 / _LARGEST):
        return f"constant, {low:g}"
    return ""


def _rare(column: Floats) -> str:
    there = column[~np.isnan(column)]
    if not len(there):
        return "missing at first"
    values, counts = np.unique(there, return_counts=True)
    most = int(np.argmax(counts))
    other = 1 - counts[most] / len(there)
    if other >= _RARE:
        return ""
    return f"{values[most]:g} but for {other:.2%} of the first readings"


def _counter(column: Floats, same: Bools) -> str:
    steps = np.diff(column)[same]
    steps = steps[~np.isnan(steps)]
    if len(steps) and (steps < 0).mean() <= _FALLS and (steps > 0).mean() >= _RISES:
        return "a counter; its rate, as a derived channel, says more"
    return ""


def _doubles(names: Sequence[str], values: Floats) -> dict[str, str]:
    """Return the channels that repeat an earlier one, up to a unit, and which."""
    less = _centred(values)
    lengths = np.sqrt((less**2).sum(axis=0))
    alike = np.abs(less.T @ less) >= _ALIKE * np.outer(lengths, lengths)
    doubles: dict[str, str] = {}
    for at, name in enumerate(names):
        twins = [names[other] for other in np.flatnonzero(alike[at, :at])]
        twins = [twin for twin in twins if twin not in doubles]
        if twins:
            doubles[name] = twins[0]
    return doubles


def _centred(values: Floats) -> Floats:
    """Return columns around their mean, in units in which squares neither overflow nor vanish."""
    largest = np.nanmax(np.abs(values), axis=0)
    scaled = values / np.where(largest > 0, largest, 1.0)
    scaled = scaled - np.nanmean(scaled, axis=0)
    widest = np.nanmax(np.abs(scaled), axis=0)
    less: Floats = np.nan_to_num(scaled / np.where(widest > 0, widest, 1.0))
    return less


def _memory(values: Floats) -> int:
    """Return the lag at which the autocorrelation of the median channel has halved."""
    n = len(values)
    if n < 8:
        return 1
    power = np.abs(np.fft.rfft(_centred(values), 2 * n, axis=0)) ** 2
    together = np.fft.irfft(power, axis=0)[: n // 2]
    correlation = together / np.maximum(together[0], 1e-300)
    low = correlation < _FORGOTTEN
    lags = np.where(low.any(axis=0), low.argmax(axis=0), n // 2)
    return int(np.median(lags))
