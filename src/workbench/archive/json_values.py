"""Decode JSON values by a record schema: flat ones in compiled code, the rest by `json`."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pyarrow as pa

from workbench.archive import flat_json as flat
from workbench.archive.grid import KINDS, Grid
from workbench.archive.rows import Misfit, Rows


class JsonValues:
    """Decodes JSON objects into the columns `fields`.

    Attributes
    ----------
    fields
        Arrow fields; numbers, strings and booleans are parsed without a Python object per row.
    """

    def __init__(self, fields: list[pa.Field]) -> None:
        self.fields = fields
        names = [field.name.encode() for field in fields]
        self._names = np.frombuffer(b"".join(names), np.uint8).copy()
        self._bounds = np.cumsum([len(name) for name in names]).astype(np.int64)
        self._kinds = np.array([KINDS.get(field.type, -1) for field in fields], np.int64)
        self._is_flat = bool(len(fields)) and bool((self._kinds >= 0).all())

    def decode(self, rows: Rows, misfit: Misfit) -> list[pa.Array]:
        """Return one array per field; a row of size -1 is null.

        Parameters
        ----------
        rows
            Where each value lies.
        misfit
            Called with a row and what is wrong with it.
        """
        if not self._is_flat:
            return self._slow_columns(rows, misfit)
        grid = Grid(rows.data, self._kinds, len(rows.starts))
        flat.parse(
            rows.data, rows.starts, rows.starts + np.maximum(rows.sizes, 0), self._names,
            self._bounds, self._kinds, grid.ints, grid.doubles, grid.state, grid.later,
        )  # fmt: skip
        grid.leave_wide(self.fields)
        for row in np.flatnonzero((grid.later > 0) & (rows.sizes >= 0)):
            for j, value in enumerate(self._values(rows, int(row), misfit)):
                grid.set(j, int(row), value)
        return [grid.array(j, field.type) for j, field in enumerate(self.fields)]

    def _values(self, rows: Rows, i: int, misfit: Misfit) -> list[Any]:
        """Return the row's values in the order of the fields, as Arrow wants them."""
        raw = rows.value(i)
        if raw is None:
            return [None] * len(self.fields)
        try:
            value = json.loads(raw)
            if not isinstance(value, dict):
                raise ValueError(f"a JSON {type(value).__name__}, expected an object")
            return [fit(value.get(one.name), one.type, one.name) for one in self.fields]
        except (ValueError, OverflowError, RecursionError) as err:
            misfit(i, _what(err, raw))
            return [None] * len(self.fields)

    def _slow_columns(self, rows: Rows, misfit: Misfit) -> list[pa.Array]:
        values = [self._values(rows, i, misfit) for i in range(len(rows.starts))]
        columns = zip(*values, strict=True) if values else [() for _ in self.fields]
        return [
            pa.array(list(column), field.type)
            for column, field in zip(columns, self.fields, strict=True)
        ]


def _what(err: Exception, raw: bytes) -> str:
    shown = raw[:60] + b"..." if len(raw) > 60 else raw
    return f"{err}: {shown.decode(errors='replace')!r}"


def fit(value: Any, kind: pa.DataType, name: str) -> Any:
    """Return a value out of `json` as Arrow wants it for `kind`.

    Raises
    ------
    ValueError
        If it does not fit.
    """
    if value is None:
        return None
    if pa.types.is_floating(kind):
        return _double(value, name)
    if pa.types.is_string(kind):
        return value if isinstance(value, str) else json.dumps(value)
    if pa.types.is_boolean(kind):
        return _only(value, bool, name, "a boolean")
    if pa.types.is_struct(kind):
        inner = _only(value, dict, name, "an object")
        return {one.name: fit(inner.get(one.name), one.type, f"{name}.{one.name}") for one in kind}
    if pa.types.is_map(kind):
        inner = _only(value, dict, name, "an object")
        return [(key, fit(one, kind.item_type, f"{name}.{key}")) for key, one in inner.items()]
    if pa.types.is_list(kind):
        inner = _only(value, list, name, "a list")
        return [fit(one, kind.value_type, f"{name}[]") for one in inner]
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return base64.b64decode(_only(value, str, name, "base64 text"), validate=True)
    if pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        return _long(value, kind, name)
    raise ValueError(f"field {name}: {value!r} cannot become {kind}")


def _only(value: Any, kind: type, name: str, expected: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"field {name} is {value!r}, expected {expected}")
    return value


def _double(value: Any, name: str) -> float:
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)  # as Java's Jackson writes them
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"field {name} is {value!r}, expected a number")
    return float(value)


def _long(value: Any, kind: pa.DataType, name: str) -> int:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    bits = 31 if kind in (pa.int32(), pa.date32(), pa.time32("ms")) else 63
    if isinstance(value, bool) or not whole or not -(1 << bits) <= value < 1 << bits:
        raise ValueError(f"field {name} is {value!r}, expected a whole number of {bits + 1} bits")
    return int(value)
