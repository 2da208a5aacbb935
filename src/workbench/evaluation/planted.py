"""Faults planted into readings, of growing size: the smallest that a package finds.

Labels say what was found of the faults that there were. A stream that has had none for weeks says
nothing of a candidate; planted faults do, and show a threshold that nothing passes. It is a
question to a package as it would run: its detector, threshold and rule, by the batch path.

    smallest = smallest_found({"champion": old, "candidate": new}, frame, sensor="pump")

One row for each kind and channel, one column for each package. The gate hands in the recent span
and `derive`, which computes the stream's derived channels anew from the faulty readings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.arrays import Bools, Floats, Ints, Objects
from workbench.detectors import (
    FAULT_KINDS,
    Detection,
    FaultKind,
    Package,
    alarmed,
    checked_names,
    detect,
    epoch_ms,
    plant_fault,
    sensor_codes,
    time_order,
)
from workbench.errors import EvaluationError

SIZES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
_SCORED = 0.9  # of the readings of a stretch, at least
_OWN = "__sensor__"  # column of the name that a sensor had before a fault was planted
_LEAST = 32  # readings that a fault lasts, a spike aside

Derive = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class _Ask:
    """Columns, and what computes the derived channels."""

    sensor: str
    time: str
    derive: Derive

    def detection(self, package: Package, frame: pd.DataFrame) -> Detection:
        level_by = _OWN if _OWN in frame else None  # a planted fault's number is no sensor's name
        return detect(
            package, self.derive(frame), sensor=self.sensor, time=self.time, level_by=level_by
        )


@dataclass(frozen=True, eq=False)
class _Stretch:
    """Readings of one sensor, quiet under every package, with room for a fault at `begin`."""

    readings: pd.DataFrame
    begin: int
    length: int


@dataclass(frozen=True, eq=False)
class _Fault:
    """A fault planted into a stretch; `unit` is what a size of 1 means there."""

    stretch: _Stretch
    kind: FaultKind
    channel: str
    size: float
    unit: float


def smallest_found(
    packages: Mapping[str, Package],
    frame: pd.DataFrame,
    *,
    sensor: str,
    time: str = "event_time",
    channels: Sequence[str] = (),
    derive: Derive | None = None,
    sizes: Sequence[float] = SIZES,
    places: int = 3,
) -> pd.DataFrame:
    """Return the smallest planted fault that each package finds, by kind and channel.

    Parameters
    ----------
    packages
        By the name of their column, as they would run (their own threshold and rule).
    frame
        Usual readings, in any order; read only.
    sensor, time
        Columns.
    channels
        That faults are planted into; if left out, those of the packages.
    derive
        Computes other channels from the faulty ones; if left out, nothing is.
    sizes
        Ascending, in deviations of the channel around the sensor's own level: the median sensor's,
        and with `level: sensor` those of the sensor that the fault is in. A stuck sensor has
        as many, evenly spread shares of the fault's length.
    places
        Stretches of the frame, on several sensors where there are, each planted with all faults.
        A fault is found if an alarm begins while it lasts (or, a spike, within the rule's n
        readings), and in every place.

    Returns
    -------
    table
        `kind`, `channel`, `unit` (what 1 means: in the channel's own unit, or the readings of a
        stuck sensor), then a column for each package: the smallest size found, NaN where none is.

    Raises
    ------
    EvaluationError
        If there is no package, a channel is missing, or no stretch is long and quiet enough.

    Notes
    -----
    Deterministic: places are spread evenly over the sensors' readings, none is drawn.
    """
    if not packages:
        raise EvaluationError("no package is given, at least one is needed")
    chosen = list(channels) or list(
        dict.fromkeys(name for package in packages.values() for name in package.detector.channels)
    )
    absent = [name for name in chosen if name not in frame]
    if absent:
        raise EvaluationError(f"the readings have no channel {absent[0]!r} to plant a fault into")
    ordered = frame.iloc[time_order(frame, sensor=sensor, time=time)]
    ordered = ordered[ordered[sensor].notna()]
    units = _units(ordered, sensor, chosen)
    ask = _Ask(sensor, time, derive or (lambda faulty: faulty))
    stretches = _stretches(packages, ordered, ask, places)
    of_stretch = [_units_of(stretch, packages, ordered, sensor, units) for stretch in stretches]
    faults = [
        _Fault(stretch, kind, channel, size, own[channel])
        for stretch, own in zip(stretches, of_stretch, strict=True)
        for kind in FAULT_KINDS
        for channel in chosen
        for size in (sizes if kind != "stuck" else np.arange(1, len(sizes) + 1) / len(sizes))
    ]
    planted = _planted(faults, ask)
    table = pd.DataFrame([(fault.kind, fault.channel, float(fault.size)) for fault in faults])
    table.columns = pd.Index(["kind", "channel", "size"])
    for name, package in packages.items():
        table[name] = _caught(package, planted, faults, ask)
    return _smallest(table, list(packages), units, stretches[0].length)


def _units(frame: pd.DataFrame, sensor: str, channels: Sequence[str]) -> dict[str, float]:
    """Return each channel's deviation around the level of its sensor, the median over sensors."""
    codes = sensor_codes(frame[sensor])[0]
    deviations = frame[codes >= 0].groupby(codes[codes >= 0])[list(channels)].std()
    units = {name: float(deviations[name].median()) for name in channels}
    return {name: unit if np.isfinite(unit) and unit > 0 else 1.0 for name, unit in units.items()}


def _units_of(
    stretch: _Stretch,
    packages: Mapping[str, Package],
    frame: pd.DataFrame,
    sensor: str,
    units: Mapping[str, float],
) -> Mapping[str, float]:
    """Return the units of faults in a stretch: its sensor's, where a package levels sensors."""
    if all(package.detector.levels is None for package in packages.values()):
        return units
    own = frame[frame[sensor] == stretch.readings[sensor].iloc[0]]
    deviations = own[list(units)].std()
    return {
        name: float(deviations[name]) if deviations[name] > 0 else unit
        for name, unit in units.items()
    }


def _stretches(
    packages: Mapping[str, Package], frame: pd.DataFrame, ask: _Ask, places: int
) -> list[_Stretch]:
    """Return stretches in which every package scores and none alarms, spread evenly."""
    begin = max(
        package.detector.window + package.rule.n + package.rule.m for package in packages.values()
    )
    length = max(_LEAST, 2 * begin)
    scored, silent = np.ones((2, len(frame)), dtype=np.bool_)
    for package in packages.values():
        scores, alarm = _alarm(package, frame, ask)
        scored &= np.isfinite(scores)
        silent &= ~alarm
    sensors = sorted(_judged(packages, frame[ask.sensor]), key=str)
    stretches = []
    for place in range(places):
        rows = np.flatnonzero(frame[ask.sensor] == sensors[place % len(sensors)])
        starts = _starts(scored[rows], silent[rows], begin + length)
        share = (place + 1) / (places + 1)
        if len(starts):
            start = starts[np.argmin(np.abs(starts - share * len(rows)))]
            kept = frame.iloc[rows[start : start + begin + length]]
            stretches.append(_Stretch(kept, begin, length))
    if not stretches:
        raise EvaluationError(
            f"no sensor has {begin + length} readings in a row with scores and without an alarm,"
            " to plant a fault into",
            hint="a longer span, or a threshold that is passed less often",
        )
    return stretches


def _judged(packages: Mapping[str, Package], sensors: pd.Series) -> Objects:
    """Return the sensors that every package can judge: all, unless one levels them."""
    names = pd.Series(list(sensor_codes(sensors)[1]), dtype=object)
    fine = np.ones(len(names), dtype=np.bool_)
    for package in packages.values():
        if package.detector.levels is not None:
            fine &= package.detector.levels.has(checked_names(names))
    judged: Objects = names.to_numpy()[fine] if fine.any() else names.to_numpy()
    return judged


def _alarm(package: Package, frame: pd.DataFrame, ask: _Ask) -> tuple[Floats, Bools]:
    """Return the scores, and which readings are under an alarm."""
    scores = ask.detection(package, frame).scores
    names, above = frame[ask.sensor].to_numpy(dtype=object), scores > package.threshold
    return scores, alarmed(epoch_ms(frame[ask.time]), names, above, package.rule)


def _starts(scored: Bools, silent: Bools, readings: int) -> Ints:
    """Return where so many readings begin that are silent and, but for a tenth, scored."""
    starts: Ints = np.arange(max(0, len(scored) - readings + 1))
    some, none = (
        (count := np.concatenate([[0], np.cumsum(which)]))[starts + readings] - count[starts]
        for which in (scored, silent)
    )
    fine: Ints = starts[(none == readings) & (some >= _SCORED * readings)]
    return fine


def _planted(faults: Sequence[_Fault], ask: _Ask) -> pd.DataFrame:
    """Return the stretch of each fault with that in it, as readings of a sensor of its number."""
    parts = []
    for number, fault in enumerate(faults):
        stretch = fault.stretch
        readings = stretch.readings[fault.channel].to_numpy(dtype=np.float64, na_value=np.nan)
        faulty = np.concatenate(
            [
                readings[: stretch.begin],
                plant_fault(
                    readings[stretch.begin :],
                    fault.kind,
                    size=fault.size,
                    unit=fault.unit,
                    length=stretch.length,
                ),
            ]
        )
        own = {_OWN: stretch.readings[ask.sensor], fault.channel: faulty}
        parts.append(stretch.readings.assign(**own, **{ask.sensor: str(number)}))
    return pd.concat(parts, ignore_index=True)


def _caught(
    package: Package, planted: pd.DataFrame, faults: Sequence[_Fault], ask: _Ask
) -> list[bool]:
    """Return which faults an alarm begins in."""
    episodes = ask.detection(package, planted).episodes
    starts_ms = pd.Series(epoch_ms(episodes["start"])).groupby(episodes["sensor"]).apply(np.array)
    caught = []
    for number, fault in enumerate(faults):
        times_ms = epoch_ms(fault.stretch.readings[ask.time])
        lasts = package.rule.n if fault.kind == "spike" else fault.stretch.length
        begin, end = times_ms[fault.stretch.begin :][[0, lasts - 1]]
        own_ms = starts_ms.get(str(number), np.empty(0))
        caught.append(bool(((own_ms >= begin) & (own_ms <= end)).any()))
    return caught


def _smallest(
    faults: pd.DataFrame, names: Sequence[str], units: Mapping[str, float], length: int
) -> pd.DataFrame:
    everywhere = faults.groupby(["kind", "channel", "size"], sort=False)[list(names)].all()
    sizes = everywhere.index.get_level_values("size").to_numpy()
    found = everywhere.apply(lambda column: pd.Series(sizes, everywhere.index).where(column))
    table = found.groupby(["kind", "channel"], sort=False).min().reset_index()
    each = [
        length if kind == "stuck" else units[channel]
        for kind, channel in zip(table["kind"], table["channel"], strict=True)
    ]
    table.insert(2, "unit", np.array(each, dtype=np.float64))
    return table
