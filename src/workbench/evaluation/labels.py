"""Read labelled events and lay them over readings.

A label says: on this sensor, something was wrong from `start` up to, not including, `stop`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from workbench.endpoints import located
from workbench.errors import EvaluationError, did_you_mean

REQUIRED = ("sensor", "start", "stop")
OPTIONAL = ("kind", "channels")
Event = tuple[str, pd.Timestamp, pd.Timestamp, str, tuple[str, ...]]


def read_labels(path: str | Path) -> pd.DataFrame:
    """Return the labelled events of a CSV file, ordered by sensor and start.

    Parameters
    ----------
    path
        Columns `sensor,start,stop` and, if you like, `kind,channels`; times ISO-8601 with a
        zone (`2026-01-12T06:00:00Z`); channels separated by a space.

    Returns
    -------
    labels
        `sensor` (str), `start`, `stop` (UTC timestamps, half open), `kind` (str, "" where not
        given), `channels` (tuple of str).

    Raises
    ------
    EvaluationError
        If the file is missing, lacks a column, or a line has no sensor, a time that is not one,
        a time without a zone, or ends before it starts; file and line are named.
    """
    path = located(path)
    if not path.is_file():
        raise EvaluationError("there is no labels file", where=path)
    with path.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        _check_header(reader.fieldnames or [], path)
        rows = list(_rows(reader, path))
    return _frame(rows)


def _frame(
    rows: list[tuple[str, pd.Timestamp, pd.Timestamp, str, tuple[str, ...]]],
) -> pd.DataFrame:
    labels = pd.DataFrame(rows, columns=[*REQUIRED, *OPTIONAL])
    for name in ("start", "stop"):
        labels[name] = pd.to_datetime(labels[name], utc=True).astype("datetime64[ms, UTC]")
    return labels.sort_values(["sensor", "start"], kind="stable", ignore_index=True)


def _check_header(header: Sequence[str], path: Path) -> None:
    for name in REQUIRED:
        if name not in header:
            raise EvaluationError(
                f"the labels have no column {name!r}, they have {', '.join(header) or 'none'}",
                where=f"{path}, line 1",
                hint=did_you_mean(name, header),
            )


def _rows(reader: csv.DictReader[str], path: Path) -> Iterator[Event]:
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        sensor = (row["sensor"] or "").strip()
        if not sensor:
            raise EvaluationError("the sensor is empty", where=where)
        start, stop = _time(row, "start", where), _time(row, "stop", where)
        if stop <= start:
            raise EvaluationError(
                f"the event stops at {row['stop']}, not after its start {row['start']}",
                where=where,
                hint="intervals are half open: [start, stop)",
            )
        channels = tuple((row.get("channels") or "").split())
        yield sensor, start, stop, (row.get("kind") or "").strip(), channels


def _time(row: dict[str, str], name: str, where: str) -> pd.Timestamp:
    text = (row[name] or "").strip()
    example = "write it like 2026-01-12T06:00:00Z"
    try:
        time = pd.Timestamp(text or "nothing")  # pandas takes "" for a missing time
    except ValueError as err:
        raise EvaluationError(f"{name} {text!r} is not a time", where=where, hint=example) from err
    if time.tzinfo is None:
        raise EvaluationError(f"{name} {text!r} has no time zone", where=where, hint=example)
    return time.tz_convert("UTC")


def labelled(times_ms: ArrayLike, sensors: ArrayLike, labels: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which readings lie in a labelled event of their own sensor.

    Parameters
    ----------
    times_ms, sensors
        Shape (n,): event time (epoch ms) and sensor of every reading, in any order.
    labels
        As from `read_labels`.

    Examples
    --------
    >>> labels = pd.DataFrame({"sensor": ["a"], "start": [pd.Timestamp(10, unit="ms", tz="UTC")],
    ...                        "stop": [pd.Timestamp(30, unit="ms", tz="UTC")]})
    >>> labelled([0, 10, 20, 30, 20], ["a", "a", "a", "a", "b"], labels).tolist()
    [False, True, True, False, False]
    """
    times, names = np.asarray(times_ms, dtype=np.int64), np.asarray(sensors)
    inside = np.zeros(len(times), dtype=bool)
    starts, stops = epoch_ms(labels["start"]), epoch_ms(labels["stop"])
    for sensor, start, stop in zip(labels["sensor"], starts, stops, strict=True):
        inside |= (names == sensor) & (times >= start) & (times < stop)
    return inside


def epoch_ms(times: pd.Series) -> NDArray[np.int64]:
    """Return UTC timestamps, or epoch milliseconds as they are, as epoch milliseconds.

    Examples
    --------
    >>> epoch_ms(pd.Series(pd.to_datetime(["1970-01-01T00:00:01Z"])))
    array([1000])
    """
    if pd.api.types.is_integer_dtype(times):
        return times.to_numpy(dtype=np.int64)
    stamps = pd.to_datetime(times, utc=True).dt.tz_localize(None)
    return stamps.to_numpy(dtype="datetime64[ms]").astype(np.int64)
