"""Read sensor readings from CSV files as they are found, and refuse what is no reading.

Line and column of the first fault are named; nothing is guessed, dropped or rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.errors import ServicesError, did_you_mean

_MISSING = {"", "nan", "null", "none", "na", "n/a"}
_SECONDS, _MILLISECONDS = 10**9, 10**11  # since 1970; 10^11 s would be the year 5138


def read_csv(
    path: str | Path,
    *,
    sensor: str | None,
    sensor_name: str | None = None,
    time: str,
    values: Sequence[str],
) -> pd.DataFrame:
    """Return the sensor, time (UTC) and readings (float64) of a CSV file; see `ingest`."""
    text = _read_text(Path(path), [*([sensor] if sensor else []), time, *values])
    text = text[(text != "").any(axis=1)]  # blank lines; the index still counts them
    frame = pd.DataFrame(index=text.index)
    if sensor:
        _refuse_first(text[sensor] == "", text[sensor], path, "is not the name of a sensor")
        frame[sensor] = text[sensor]
    else:
        frame["sensor"] = sensor_name or Path(path).stem
    frame[time] = _times(text[time], path)
    for value in values:
        frame[value] = _readings(text[value], path)
    return frame


def _read_text(path: Path, columns: list[str]) -> pd.DataFrame:
    try:
        text = pd.read_csv(path, dtype=str, keep_default_na=False, skip_blank_lines=False)
    except OSError as err:
        raise ServicesError(f"cannot be read: {err.strerror}", where=path) from err
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as err:
        raise ServicesError(f"not a CSV file: {str(err).strip()}", where=path) from err
    if not isinstance(text.index, pd.RangeIndex):  # pandas took the first column for an index
        raise ServicesError("not a CSV file: its lines are longer than its header", where=path)
    for column in columns:
        if column not in text:
            raise ServicesError(
                f"there is no column {column!r}",
                where=f"{path} line 1",
                hint=did_you_mean(column, map(str, text.columns)),
            )
    stripped: pd.DataFrame = text[columns].apply(lambda column: column.str.strip())
    return stripped


def _times(column: pd.Series[str], path: str | Path) -> pd.Series[pd.Timestamp]:
    times: pd.Series[pd.Timestamp]
    numbers = pd.to_numeric(column, errors="coerce")
    if len(column) and (numbers >= _SECONDS).all():
        per_ms = 1 if (numbers >= _MILLISECONDS).all() else 1000
        times = pd.to_datetime(column.astype("int64") * per_ms, unit="ms", utc=True)
    else:
        times = pd.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
    _refuse_first(times.isna(), column, path, "is not a time, such as 2026-01-05T00:00:00Z")
    return times


def _readings(column: pd.Series[str], path: str | Path) -> pd.Series[float]:
    numbers = pd.to_numeric(column, errors="coerce")  # finds what is none, but rounds the rest
    missing = column.str.lower().isin(_MISSING)
    _refuse_first(~missing & ~np.isfinite(numbers), column, path, "is not a number")
    return column.mask(missing, "nan").astype("float64")


def _refuse_first(bad: pd.Series[bool], column: pd.Series[str], path: object, what: str) -> None:
    lines = bad.index[bad]
    if len(lines):
        more = f"{len(lines) - 1} more such lines" if len(lines) > 1 else None
        raise ServicesError(
            f"{column[lines[0]]!r} {what}",
            where=f"{path} line {lines[0] + 2}, column {column.name}",  # line 1 is the header
            hint=more,
        )
