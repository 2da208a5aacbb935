"""Turn narrow readings (time, tag, value) into one reading per machine and instant.

No reading is lost and none invented: where a tag has no value at an instant, its field is missing,
unless it is asked to hold its last value for a while.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.arrays import Floats, Ints
from workbench.errors import ServicesError
from workbench.times import epoch_ms, timestamps

_SHOWN = 3


@dataclass(frozen=True)
class Narrow:
    """How a narrow export is made.

    Attributes
    ----------
    tag, value
        Its columns: what was measured, and the reading.
    machine_from
        Regular expression that finds the machine in a tag: its group `machine`, or its first
        group, or all of it. What is left of the tag names the field, or the group `field` does.
        None: the machine is that of the sensor column, or the file's.
    tolerance_s
        How far apart readings of one instant may lie; the reading has the time of the last.
    hold_s
        For how long a tag's last value stands in for one that is missing.
    """

    tag: str
    value: str
    machine_from: str | None = None
    tolerance_s: float = 0.0
    hold_s: float = 0.0


def pivot(frame: pd.DataFrame, narrow: Narrow, *, sensor: str, time: str) -> pd.DataFrame:
    """Return a row per machine and instant, in the order of time; a column per tag.

    A tag that comes twice at an instant gives two rows, in the order of time, then of lines.

    Parameters
    ----------
    frame
        Columns `sensor`, `time` (UTC), and the tag and value of `narrow`.

    Raises
    ------
    ServicesError
        If `machine_from` is no regular expression or does not find a machine in every tag.

    Examples
    --------
    >>> times = pd.to_datetime([0, 0, 9], unit="s", utc=True)
    >>> readings = pd.DataFrame({"machine": "m", "at": times,
    ...                          "tag": ["P1.bar", "P2.bar", "P1.flow"], "value": [7.0, 8.0, 2.0]})
    >>> pivot(readings, Narrow("tag", "value", r"(P\\d)\\."), sensor="machine", time="at")[
    ...     ["machine", "bar", "flow"]]
      machine  bar  flow
    0      P1  7.0   NaN
    1      P2  8.0   NaN
    2      P1  NaN   2.0
    """
    machines, fields = _split(frame, narrow, sensor)
    times_ms = epoch_ms(frame[time])
    # the user's names stay out of here: a sensor column may be called as one of these
    long = pd.DataFrame({"machine": machines.array, "field": fields.array, "ms": times_ms})
    if narrow.tolerance_s:
        long["ms"] = _instants(long, round(narrow.tolerance_s * 1000))
    by_time = long.iloc[np.argsort(times_ms, kind="stable")]
    long["again"] = by_time.groupby(["machine", "ms", "field"]).cumcount()
    long["row"] = np.arange(len(long), dtype=np.float64)
    rows = long.set_index(["ms", "machine", "again", "field"])["row"].unstack("field")  # noqa: PD010 - nothing is aggregated
    rows = rows[list(dict.fromkeys(fields))]
    if clash := {sensor, time} & set(rows):
        raise ServicesError(f"a tag is called as the column {clash.pop()!r}", where="the export")
    instants_ms = rows.index.get_level_values("ms").to_numpy()
    if narrow.hold_s:
        rows = _held(rows, instants_ms, times_ms, narrow.hold_s)
    readings = frame[narrow.value].to_numpy()
    columns = {name: _taken(readings, rows[name].to_numpy()) for name in rows}
    keys = rows.index.get_level_values("machine").to_numpy()
    return pd.DataFrame({sensor: keys, time: timestamps(instants_ms), **columns})


def _taken(values: Floats, rows: Floats) -> Floats:
    """Return the values of rows, NaN where there is none."""
    there = ~np.isnan(rows)
    taken = np.full(len(rows), np.nan)
    taken[there] = values[rows[there].astype(np.int64)]
    return taken


def _held(rows: pd.DataFrame, instants_ms: Ints, times_ms: Ints, hold_s: float) -> pd.DataFrame:
    """Let the last row of a tag, whatever it says, stand for those that are missing for a while."""
    last = rows.groupby(level="machine", sort=False).ffill()
    for name in rows:
        at_ms = _taken(times_ms.astype(np.float64), last[name].to_numpy())
        last.loc[~(instants_ms - at_ms <= hold_s * 1000), name] = np.nan
    return last.fillna(rows)


def _instants(long: pd.DataFrame, tolerance_ms: int) -> Ints:
    """Return the instant of each row: the last time of what lies together."""
    order = long.sort_values(["machine", "ms"], kind="stable").index.to_numpy()
    machines = long["machine"].to_numpy()[order].tolist()
    tags, times = long["field"].to_numpy()[order].tolist(), long["ms"].to_numpy()[order].tolist()
    groups = np.zeros(len(order), dtype=np.int64)
    group, machine, began, present = -1, None, 0, set[str]()
    for row, tag in enumerate(tags):
        apart = times[row] - began > tolerance_ms
        if machines[row] != machine or apart or tag in present:
            group, machine, began, present = group + 1, machines[row], times[row], set()
        present.add(tag)
        groups[row] = group
    last = pd.Series(times).groupby(groups).transform("max").to_numpy()
    instants = np.empty(len(order), dtype=np.int64)
    instants[order] = last
    return instants


def _split(frame: pd.DataFrame, narrow: Narrow, sensor: str) -> tuple[pd.Series, pd.Series]:
    """Return machine and field of each row."""
    tags = frame[narrow.tag]
    if narrow.machine_from is None:
        return frame[sensor], tags
    try:
        pattern = re.compile(narrow.machine_from)
    except re.error as err:
        raise ServicesError(f"{narrow.machine_from!r} is no regular expression: {err}") from err
    parts = {tag: _parts(tag, pattern.search(tag)) for tag in tags.unique()}
    without = [tag for tag, (machine, _) in parts.items() if not machine]
    if without:
        raise ServicesError(
            f"{narrow.machine_from!r} finds no machine in {len(without)} of {len(parts)} tags: "
            + ", ".join(map(repr, without[:_SHOWN])),
            hint="a group of it is the machine: as '^([^.]+)\\.' of P1.pressure",
        )
    if len(set(parts.values())) < len(parts):
        first = next(tag for tag, part in parts.items() if list(parts.values()).count(part) > 1)
        machine, field = parts[first]
        both = [repr(tag) for tag, part in parts.items() if part == parts[first]]
        raise ServicesError(
            f"tags {' and '.join(both[:2])} are both {field!r} of machine {machine!r}",
            hint="let machine_from find less, or a group 'field' more",
        )
    return tags.map({tag: part[0] for tag, part in parts.items()}), tags.map(
        {tag: part[1] for tag, part in parts.items()}
    )


def _parts(tag: str, match: re.Match[str] | None) -> tuple[str, str]:
    """Return machine and field; no machine where none is found, or its group took no part."""
    if match is None:
        return "", ""
    names = match.groupdict()
    machine = names.get("machine") or (match[1] if match.re.groups else match[0])
    rest = (tag[: match.start()] + tag[match.end() :]).strip(" ._-/:|\\")
    return machine or "", names.get("field") or rest or "value"
