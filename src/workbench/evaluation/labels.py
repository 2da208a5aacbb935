"""Read labelled events and lay them over readings.

A label says: on this sensor, something was wrong from `start` up to, not including, `stop`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from workbench.arrays import Bools, Ints, Objects
from workbench.detectors import sensor_names
from workbench.endpoints import located
from workbench.errors import EvaluationError, TimesError, did_you_mean
from workbench.times import epoch_ms, parse_column, timestamps

REQUIRED = ("sensor", "start", "stop")
OPTIONAL = ("kind", "channels")
_BETWEEN_MS = (0, 4_102_444_800_000)  # 1970 to 2100: an event may be labelled before it ends


def read_labels(path: str | Path) -> pd.DataFrame:
    """Return the labelled events of a CSV file, ordered by sensor and start.

    Parameters
    ----------
    path
        Columns `sensor,start,stop` and, if you like, `kind,channels`; times as
        `times.recognise` reads them, best ISO 8601 (`2026-01-12T06:00:00Z`), UTC where none has
        an offset; channels separated by a space.

    Returns
    -------
    labels
        `sensor` (str), `start`, `stop` (UTC timestamps, half open), `kind` (str, "" where not
        given), `channels` (tuple of str).

    Raises
    ------
    EvaluationError
        If the file is missing, lacks a column, or a line has no sensor, a time that is not one,
        or without an offset where others have one, or ends before it starts; file and line are
        named.
    """
    path = located(path)
    if not path.is_file():
        raise EvaluationError("there is no labels file", where=path)
    with path.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        _check_header(reader.fieldnames or [], path)
        events = list(_events(reader, path))
    starts_ms, stops_ms = _bounds_ms(events, path)
    for event, start_ms, stop_ms in zip(events, starts_ms, stops_ms, strict=True):
        if stop_ms <= start_ms:
            raise EvaluationError(
                f"the event stops at {event.stop}, not after its start {event.start}",
                where=f"{path}, line {event.line}",
                hint="intervals are half open: [start, stop)",
            )
    labels = pd.DataFrame(events, columns=_Event._fields).drop(columns="line")
    labels["start"], labels["stop"] = timestamps(starts_ms), timestamps(stops_ms)
    return labels.sort_values(["sensor", "start"], kind="stable", ignore_index=True)


class _Event(NamedTuple):
    """A line of the file; its times as they are written."""

    line: int
    sensor: str
    start: str
    stop: str
    kind: str
    channels: tuple[str, ...]


def _bounds_ms(events: Sequence[_Event], path: Path) -> tuple[Ints, Ints]:
    """Return starts and stops, all read by one rule; a stop may lie ahead."""
    texts = [event.start for event in events] + [event.stop for event in events]
    try:
        bounds = parse_column(texts, between=_BETWEEN_MS)
    except TimesError as err:
        where = str(path)
        if err.rows:
            name = "start" if err.rows[0] < len(events) else "stop"
            where += f", line {events[err.rows[0] % len(events)].line}, column {name}"
        raise EvaluationError(err.message, where=where, hint=err.hint) from err
    return bounds[: len(events)], bounds[len(events) :]


def _check_header(header: Sequence[str], path: Path) -> None:
    for name in REQUIRED:
        if name not in header:
            raise EvaluationError(
                f"the labels have no column {name!r}, they have {', '.join(header) or 'none'}",
                where=f"{path}, line 1",
                hint=did_you_mean(name, header),
            )


def _events(reader: csv.DictReader[str], path: Path) -> Iterator[_Event]:
    for row in reader:
        sensor, start, stop, kind, channels = (
            (row.get(name) or "").strip() for name in (*REQUIRED, *OPTIONAL)
        )
        if not sensor:
            raise EvaluationError("the sensor is empty", where=f"{path}, line {reader.line_num}")
        yield _Event(reader.line_num, sensor, start, stop, kind, tuple(channels.split()))


def by_name(sensors: ArrayLike) -> Objects:
    """Return what sensors (n,) are called, (n,), None for none: 7, 7.0 and "7" are one.

    It is the rule of the job, whose sensors are texts.
    """
    values = pd.Series(np.asarray(sensors, dtype=object)).infer_objects()
    return np.array([*sensor_names(values), None], dtype=object)[:-1]


def labelled(times_ms: ArrayLike, sensors: ArrayLike, labels: pd.DataFrame) -> Bools:
    """Return which readings lie in a labelled event of their own sensor.

    Parameters
    ----------
    times_ms, sensors
        Shape (n,): event time (epoch ms) and sensor of every reading, in any order; a number is
        the sensor that a label calls by its text.
    labels
        As from `read_labels`.

    Examples
    --------
    >>> labels = pd.DataFrame({"sensor": ["a"], "start": [pd.Timestamp(10, unit="ms", tz="UTC")],
    ...                        "stop": [pd.Timestamp(30, unit="ms", tz="UTC")]})
    >>> labelled([0, 10, 20, 30, 20], ["a", "a", "a", "a", "b"], labels).tolist()
    [False, True, True, False, False]
    """
    times, names = np.asarray(times_ms, dtype=np.int64), by_name(sensors)
    inside = np.zeros(len(times), dtype=bool)
    starts, stops = epoch_ms(labels["start"]), epoch_ms(labels["stop"])
    for sensor, start, stop in zip(by_name(labels["sensor"]), starts, stops, strict=True):
        inside |= (names == sensor) & (times >= start) & (times < stop)
    return inside
