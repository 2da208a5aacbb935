"""Each sensor's own level: what is usual of it, learnt from its own readings.

Sensors of unlike size, or of unlike units, are not of a kind: pooled, the large one's usual is all
that a detector learns. With `level: sensor` in a specification each sensor's channels have a centre
and a spread, its windows are brought to them, and the detector sees deviations only, at the fit as
at every score. A sensor without a level has no score. Channels that say what time it is
(`specs.clocks_of`) are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from workbench.arrays import Bools, Floats, Ints
from workbench.detectors.contract import State
from workbench.detectors.leveling.naming import sensor_codes, sensor_name
from workbench.detectors.methods.method import checked_state
from workbench.detectors.methods.rules import FLAT, MAD_SIGMA
from workbench.errors import DetectorError

LEAST = 10  # readings of each channel, of which a level is learnt
HUGE = 1e200  # where readings are cut, so that no difference or ratio overflows
_IQR_SIGMA = 1 / 1.349  # standard deviation of a normal with an interquartile range of 1
PREFIX = "level_"
SCHEMA = {
    "level_names": "i8[b]",
    "level_ends": "i8[s]",
    "level_centre": "f8[s,c]",
    "level_spread": "f8[s,c]",
    "level_taught": "i8[s,c]",
    "level_golden": "i8[g]",
}


@dataclass(frozen=True, eq=False)
class Levels:
    """Centre and spread of the channels of each sensor.

    Attributes
    ----------
    names
        What the s sensors are called (`sensor_names`), ascending.
    centre, spread
        Shape (s, c), each channel in its own unit; spread > 0.
    taught
        Shape (s, c): 1 where the sensor's own readings gave the spread; 0 where its channel was
        constant, and the spread is that of the other sensors.
    """

    names: tuple[str, ...]
    centre: Floats = field(repr=False)
    spread: Floats = field(repr=False)
    taught: Ints = field(repr=False)
    _places: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_places", {name: n for n, name in enumerate(self.names)})

    def places(self, sensors: Iterable[object]) -> Ints:
        """Return the row of each sensor, (n,); -1: it has no level."""
        known = self._places
        return np.array(
            [known.get(x if type(x) is str else sensor_name(x) or "", -1) for x in sensors],
            dtype=np.int64,
        )

    def has(self, sensors: Iterable[object]) -> Bools:
        """Return which sensors have a level, (n,)."""
        codes, each = sensor_codes(sensors)
        return np.append(self.places(each) >= 0, False)[codes]

    def facts(self, channels: tuple[str, ...]) -> dict[str, str]:
        """Return what a card says: how many sensors, and whose spread is that of the others."""
        said = {"levels": f"{len(self.names):,} sensors"}
        counts = (self.taught == 0).sum(axis=0)
        constant = [
            f"{channel} of {n:,}" for channel, n in zip(channels, counts.tolist(), strict=True) if n
        ]
        return said | ({"spread of the others": ", ".join(constant)} if constant else {})

    def leveled(self, windows: Floats, places: Ints) -> Floats:
        """Return windows (n, w, c) as deviations from the level of the sensor at each place."""
        centre, spread = self.centre[places][:, np.newaxis], self.spread[places][:, np.newaxis]
        windows = np.clip(windows, -HUGE, HUGE)
        with np.errstate(over="ignore"):
            deviations: Floats = np.clip((windows - centre) / spread, -HUGE, HUGE)
        return deviations

    def readings(self, deviations: Floats, places: Ints) -> Floats:
        """Return deviations (n, c) in the channels' own units."""
        values: Floats = deviations * self.spread[places] + self.centre[places]
        return values

    def with_those_of(self, before: Levels) -> Levels:
        """Return these, and of the sensors that have none here those of before.

        Of a channel that was constant here, and is what the other sensors say, the spread of before
        stays: a sensor that stood still has not come to be of another size or unit.
        """
        own = set(self.names)
        kept = [n for n, name in enumerate(before.names) if name not in own]
        names = np.array([*self.names, *(before.names[n] for n in kept)], dtype=object)
        order = np.argsort(names)
        centre = np.concatenate([self.centre, before.centre[kept]])[order]
        places = before.places(self.names)
        stay = (self.taught == 0) & (places >= 0)[:, np.newaxis]
        mine = np.where(stay, before.spread[places], self.spread)
        taught = np.where(stay, before.taught[places], self.taught)
        spread = np.concatenate([mine, before.spread[kept]])[order]
        taught = np.concatenate([taught, before.taught[kept]])[order]
        return Levels(tuple(names[order]), centre, spread, taught)

    def state(self, golden: Ints) -> State:
        """Return them as arrays, with the place of each golden window's sensor."""
        each = [name.encode(errors="surrogatepass") for name in self.names]
        joined = b"".join(each)
        padded = joined + bytes(-len(joined) % 8)
        return {
            "level_names": np.frombuffer(padded, "<i8").astype(np.int64),
            "level_ends": np.cumsum([*map(len, each)], dtype=np.int64),
            "level_centre": self.centre.copy(),
            "level_spread": self.spread.copy(),
            "level_taught": self.taught.copy(),
            "level_golden": np.asarray(golden, dtype=np.int64),
        }


def read_levels(state: State, channels: int, golden: int) -> tuple[Levels, Ints]:
    """Return the levels in the arrays of a state, and the place of each golden window's sensor.

    Raises
    ------
    DetectorError
        On anything that `Levels.state` would not have written.
    """
    held = {name: array for name, array in state.items() if name.startswith(PREFIX)}
    checked_state(held, SCHEMA, {"c": channels, "g": golden})
    names = _names(held["level_names"].astype("<i8").tobytes(), held["level_ends"])
    if not (held["level_spread"] > 0).all():
        raise DetectorError("array level_spread holds a value that is not > 0")
    if not np.isin(held["level_taught"], (0, 1)).all():
        raise DetectorError("array level_taught holds what is neither 0 nor 1")
    places = held["level_golden"]
    if len(places) and not (0 <= places.min() <= places.max() < len(names)):
        raise DetectorError(f"array level_golden names a sensor that is none of {len(names)}")
    centre, spread, taught = (held[f"level_{name}"] for name in ("centre", "spread", "taught"))
    return Levels(names, centre, spread, taught), places


def _names(joined: bytes, ends: Ints) -> tuple[str, ...]:
    sizes = np.diff(ends, prepend=0)
    is_whole = len(ends) and (sizes > 0).all() and -(-int(ends[-1]) // 8) * 8 == len(joined)
    if not is_whole or any(joined[int(ends[-1]) :]):
        raise DetectorError("array level_ends does not say where the names of sensors end")
    starts = ends - sizes
    try:
        names = tuple(
            joined[start:end].decode(errors="surrogatepass")
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        )
    except UnicodeDecodeError as err:
        raise DetectorError(f"array level_names holds what is no name: {err}") from err
    if any(left >= right for left, right in pairwise(names)):
        raise DetectorError("array level_names does not hold different names, ascending")
    return names


def learn(
    values: Floats, names: Iterable[str | None], *, channels: tuple[str, ...], clocks: set[str]
) -> Levels:
    """Return the level of each sensor that has enough readings to learn it from.

    Parameters
    ----------
    values
        Shape (n, c), NaN where missing.
    names
        Whose readings they are; of None none is learnt.
    clocks
        Channels that are left as they are.

    Raises
    ------
    DetectorError
        If no sensor has `LEAST` readings of each channel.

    Notes
    -----
    The centre is the median, the spread the scaled median absolute deviation; where more than half
    of the readings are the same, the scaled interquartile range; where that says nothing, the
    standard deviation; and of a channel that is constant, the median spread of the other sensors
    (1 where they say nothing either).
    """
    codes, each = sensor_codes(names, sort=True)
    table = pd.DataFrame(np.clip(values, -HUGE, HUGE))[codes >= 0]
    codes = codes[codes >= 0]
    measured = [n for n, name in enumerate(channels) if name not in clocks]
    enough = (table.groupby(codes).count()[measured] >= LEAST).all(axis=1).to_numpy()
    if not enough.any():
        raise DetectorError(
            f"none of {len(each)} sensors has {LEAST} readings of each channel, which level: "
            "sensor learns from",
            hint="a longer span; a channel that a sensor does not have gives it no level",
        )
    kept = enough[codes]
    codes, table = (np.cumsum(enough) - 1)[codes[kept]], table[kept]
    is_clock = np.isin(channels, [*clocks])
    centre = table.groupby(codes).median().to_numpy(dtype=np.float64)
    moving = _spread(table, codes, centre)
    is_taught = ~np.isnan(moving) | is_clock
    spread = np.where(np.isnan(moving), _usual(moving), moving)
    centre, spread = np.where(is_clock, 0.0, centre), np.where(is_clock, 1.0, spread)
    return Levels(tuple(each[enough]), centre, spread, is_taught.astype(np.int64))


def _spread(table: pd.DataFrame, codes: Ints, centre: Floats) -> Floats:
    """Return the spread (s, c) of readings by sensor around their centre; NaN: constant."""
    away = (table - centre[codes]).abs()
    least = FLAT * table.abs().groupby(codes).max().to_numpy(dtype=np.float64)
    spread = MAD_SIGMA * away.groupby(codes).median().to_numpy(dtype=np.float64)
    if not (spread > least).all():
        by_sensor = table.groupby(codes)
        quartiles: Any = by_sensor.quantile(0.75) - by_sensor.quantile(0.25)
        for other in (_IQR_SIGMA * quartiles, by_sensor.std(ddof=0)):
            spread = np.where(spread > least, spread, other.to_numpy(dtype=np.float64))
    moving: Floats = np.where(spread > least, spread, np.nan)
    return moving


def _usual(moving: Floats) -> Floats:
    """Return the median spread (c,) of the sensors whose channel moves; 1 where none does."""
    return np.array(
        [np.median(column[~np.isnan(column)]) if (~np.isnan(column)).any() else 1.0
         for column in moving.T]
    )  # fmt: skip
