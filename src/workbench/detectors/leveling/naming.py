"""What sensors are called: one rule for the frames of a notebook and the text of a job."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import pandas as pd

from workbench.arrays import Bools, Ints, Objects
from workbench.errors import DetectorError


def sensor_names(values: pd.Series) -> list[str | None]:
    """Return what sensors are called where their column may hold numbers, as the job does.

    Examples
    --------
    >>> sensor_names(pd.Series([7.0, 7.5, None]))
    ['7', '7.5', None]
    >>> sensor_names(pd.Series(["pump-1", "", True], dtype=object))
    ['pump-1', None, 'true']
    """
    if not _plain(values):  # of mixed objects True and 1 would be one
        return [sensor_name(value) for value in values.array]
    codes, each = sensor_codes(values)
    return list(np.array([*map(sensor_name, each), None], dtype=object)[codes])  # -1: the last


def sensor_codes(values: Iterable[object], *, sort: bool = False) -> tuple[Ints, Any]:
    """Return a number for each reading by its sensor, -1 for none, (n,), and the sensors by number.

    As pandas' `factorize`, which reads texts as C does, up to a zero: two sensors would be one.

    Parameters
    ----------
    values
        A column, or an array or sequence of names; numbers stay such.
    sort
        Whether the numbers are in the order of the names, not of the readings.

    Examples
    --------
    >>> codes, sensors = sensor_codes(["a", "a\\0b", None, "a"])
    >>> codes.tolist(), sensors.tolist() == ["a", "a\\0b"]
    ([0, 1, -1, 0], True)
    """
    column = values if isinstance(values, pd.Series) else pd.Series(list(values), dtype=object)
    if column.dtype != object and not isinstance(column.dtype, pd.StringDtype):
        return pd.factorize(column, sort=sort)
    # beside something that is no text, objects are compared as Python does
    names = np.array([*column.to_numpy(dtype=object), None], dtype=object)
    codes, sensors = pd.factorize(names, sort=sort)
    return codes[:-1], sensors


def sensor_rows(values: Iterable[object]) -> dict[Any, Ints]:
    """Return the rows of each sensor, (m,) of n, by its name; sensors in the order they appear.

    Rows without a name, None or NaN, are of no sensor.
    As pandas' `groupby`, which takes two sensors for one as its `factorize` does (`sensor_codes`).

    Examples
    --------
    >>> rows = sensor_rows(["b", "a", None, "b"])
    >>> {name: each.tolist() for name, each in rows.items()}
    {'b': [0, 3], 'a': [1]}
    """
    codes, sensors = sensor_codes(values)
    rows = np.argsort(codes, kind="stable")
    rows = rows[codes[rows] >= 0]
    each = np.split(rows, np.flatnonzero(np.diff(codes[rows])) + 1)
    return dict(zip(sensors, each, strict=False))  # of no sensor numpy makes one piece


def of_sensors(names: Iterable[object], sensors: Collection[str]) -> Bools:
    """Return which readings are of some sensors, by their names, shape (n,).

    Of Python's texts: numpy's are each as long as the longest, so that one name of a megabyte would
    take all memory, and end before a zero, so that two sensors would be one.

    Examples
    --------
    >>> of_sensors(["a", 7, "a\\0"], ["a", "7"]).tolist()
    [True, True, False]
    """
    wanted = set(sensors)
    return np.array([str(name) in wanted for name in names], dtype=np.bool_)


def checked_names(values: pd.Series) -> Objects:
    """Return `sensor_names`, shape (n,), refused where two different sensors would have one name.

    Raises
    ------
    DetectorError
        If, for example, both 7 and "7" are sensors of the column.
    """
    names = sensor_names(values)
    if not _plain(values):
        _refuse_merged(values, names)
    return np.array([*names, None], dtype=object)[:-1]  # of one shape, whatever is in it


def _plain(values: pd.Series) -> bool:
    kind: str = pd.api.types.infer_dtype(values, skipna=True)
    return values.dtype.kind in "iuf" or kind == "string"


def _refuse_merged(values: pd.Series, names: list[str | None]) -> None:
    first: dict[str, object] = {}
    for value, name in zip(values.array, names, strict=True):
        if name is not None and first.setdefault(name, value) != value:
            raise DetectorError(
                f"sensors {first[name]!r} and {value!r} are both called {name!r}",
                hint="give the column one type: each sensor has its own level by its name",
            )


def sensor_name(value: object) -> str | None:
    """Return what one sensor is called; None: it has no name."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, float | np.floating):
        return None if math.isnan(value) else f"{value:.0f}" if value % 1 == 0 else str(value)
    return None if value is None or value is pd.NA else str(value) or None
