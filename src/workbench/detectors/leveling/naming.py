"""What sensors are called: one rule for the frames of a notebook and the text of a job."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from workbench.arrays import Objects
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
    codes, each = pd.factorize(values)
    return list(np.array([*map(sensor_name, each), None], dtype=object)[codes])  # -1: the last


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
