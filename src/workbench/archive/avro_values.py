"""Decode Avro records of any version into the newest version's fields.

Records without nesting go through compiled code, all others and every row that does not fit
through fastavro.
"""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa

from workbench.archive import flat_avro as flat
from workbench.archive.avro_types import record_fields, union_of
from workbench.archive.columns import Ints
from workbench.archive.flat_json import DOUBLE, LONG, PLAIN, STRING
from workbench.archive.grid import KINDS, Grid
from workbench.archive.rows import Misfit, Rows
from workbench.archive.schemas import Schema

_CODES = {
    "null": flat.NOTHING,
    "boolean": flat.BOOLEAN,
    "int": flat.LONG,
    "long": flat.LONG,
    "float": flat.FLOAT,
    "double": flat.DOUBLE64,
    "bytes": flat.BYTES,
    "string": flat.BYTES,
}
# what a reader's type may have been written as
_PROMOTED = {
    "long": ("int", "long"),
    "float": ("float",),
    "double": ("int", "long", "float", "double"),
}


class AvroValues:
    """Decodes Avro records into the columns `fields`."""

    def __init__(self, schemas: list[Schema], wanted: list[str] | None) -> None:
        newest = schemas[-1]
        fields = record_fields(newest.definition)
        by_name = {field.name: field for field in fields}
        self.fields = fields if wanted is None else [by_name[name] for name in wanted]
        self.newest = newest.version
        self._reader = fastavro.parse_schema(newest.definition)
        self._writers = {one.version: fastavro.parse_schema(one.definition) for one in schemas}
        names = [field.name for field in self.fields]
        reader = {one["name"]: one for one in newest.definition["fields"]}
        self._plans = {one.version: _plan(one.definition, reader, names) for one in schemas}
        self._kinds = np.array([_kind(field.type) for field in self.fields], np.int64)

    def decode(self, rows: Rows, misfit: Misfit) -> list[pa.Array]:
        """Return one array per field; a row of size -1 is nulls."""
        rows = replace(rows, versions=np.where(rows.versions < 0, self.newest, rows.versions))
        found = [int(one) for one in np.unique(rows.versions)]
        if not self.fields or any(self._plans.get(one) is None for one in found):
            return self._slow(rows, misfit)
        grid = Grid(rows.data, self._kinds, len(rows.starts))
        ends = rows.starts + np.maximum(rows.sizes, 0)
        for version in found:
            plan = self._plans[version]
            assert plan is not None  # noqa: S101 - looked at above
            these = np.flatnonzero((rows.versions == version) & (rows.sizes >= 0))
            flat.parse(
                rows.data, rows.starts, ends, these, plan.codes, plan.slots, plan.branches,
                plan.widths, self._kinds, grid.ints, grid.doubles, grid.state, grid.later,
            )  # fmt: skip
            plan.finish(grid, these)
        grid.leave_wide(self.fields)
        for row in np.flatnonzero((grid.later > 0) & (rows.sizes >= 0)):
            value = self._value(rows, int(row), misfit)
            for j, field in enumerate(self.fields):
                grid.set(j, int(row), _plain(value.get(field.name), field.type))
        return [grid.array(j, field.type) for j, field in enumerate(self.fields)]

    def _slow(self, rows: Rows, misfit: Misfit) -> list[pa.Array]:
        values = [self._value(rows, i, misfit) for i in range(len(rows.starts))]
        return [
            pa.array([_fit(value.get(one.name), one.type) for value in values], one.type)
            for one in self.fields
        ]

    def _value(self, rows: Rows, i: int, misfit: Misfit) -> dict[str, Any]:
        raw, version = rows.value(i), int(rows.versions[i])
        if raw is None:
            return {}
        if version not in self._writers:
            misfit(i, f"schema version {version} is not known, only {sorted(self._writers)}")
            return {}
        try:
            value: dict[str, Any] = fastavro.schemaless_reader(
                io.BytesIO(raw), self._writers[version], self._reader
            )
        except Exception as err:  # fastavro raises what it meets
            misfit(i, f"not Avro of version {version}: {type(err).__name__} {err}".rstrip())
            return {}
        for one in self.fields:
            wide = _wide(value.get(one.name), one.type)
            if wide is not None:
                misfit(i, f"field {one.name} has {wide}, expected a whole number of 32 bits")
                return {}
        return value


class _Plan:
    """How one writer's records become the reader's fields."""

    def __init__(
        self,
        ops: list[tuple[int, int, int, int]],
        symbols: dict[int, list[str]],
        missing: dict[int, Any],
    ) -> None:
        columns = np.array(ops, np.int64).reshape(-1, 4).T.copy()
        self.codes, self.slots, self.branches, self.widths = columns
        self._symbols = symbols
        self._missing = missing

    def finish(self, grid: Grid, rows: Ints) -> None:
        """Put symbols for the numbers of enums, and defaults for what the writer lacks."""
        for j, symbols in self._symbols.items():
            places = np.array([grid.add(one.encode()) for one in symbols], np.int64)
            known = rows[(grid.state[j, rows] == PLAIN) & (grid.later[rows] == 0)]
            numbers = grid.ints[0, j, known]
            grid.ints[0, j, known], grid.ints[1, j, known] = places[numbers].T
        for j, default in self._missing.items():
            if default is None:
                continue
            grid.state[j, rows] = PLAIN
            if isinstance(default, str):
                grid.ints[0, j, rows], grid.ints[1, j, rows] = grid.add(default.encode())
            elif grid.kinds[j] == DOUBLE:
                grid.doubles[j, rows] = default
            else:
                grid.ints[0, j, rows] = default


def _plan(
    writer: dict[str, Any], reader: dict[str, dict[str, Any]], names: list[str]
) -> _Plan | None:
    """Return how records of `writer` are read, or None where that takes fastavro."""
    ops, symbols = [], {}
    if "aliases" in json.dumps(reader):
        return None
    for one in writer["fields"]:
        branch, kind = _branch(one["type"])
        code, width = _code(kind)
        slot = names.index(one["name"]) if one["name"] in names else -1
        if code is None:
            return None
        target = reader.get(one["name"])
        if slot >= 0 and target is not None and not _is_promoted(kind, union_of(target["type"])):
            return None
        if code == flat.ENUM and slot >= 0:
            symbols[slot] = list(kind["symbols"])
        ops.append((code, slot, branch, width))
    written = {one["name"] for one in writer["fields"]}
    missing = {j: reader[name] for j, name in enumerate(names) if name not in written}
    if not all("default" in one and _is_simple(one["default"]) for one in missing.values()):
        return None
    return _Plan(ops, symbols, {j: one["default"] for j, one in missing.items()})


def _branch(definition: Any) -> tuple[int, Any]:
    if isinstance(definition, list) and len(definition) == 2 and "null" in definition:
        branch = 1 - definition.index("null")
        return branch, definition[branch]
    return -1, definition


def _code(kind: Any) -> tuple[int | None, int]:
    if isinstance(kind, dict) and kind.get("type") == "enum":
        return flat.ENUM, len(kind["symbols"])
    if isinstance(kind, dict) and kind.get("logicalType") == "decimal":
        return None, 0
    name = kind.get("type") if isinstance(kind, dict) else kind
    return (_CODES.get(name), 0) if isinstance(name, str) else (None, 0)


def _is_promoted(written: Any, read: Any) -> bool:
    if written == read:
        return True
    return isinstance(read, str) and written in _PROMOTED.get(read, ())


def _is_simple(default: Any) -> bool:
    return default is None or isinstance(default, str | int | float)


def _kind(kind: pa.DataType) -> int:
    if kind in KINDS:
        return KINDS[kind]
    return STRING if pa.types.is_binary(kind) else LONG


def _wide(value: Any, kind: pa.DataType) -> int | None:
    """Return a number in `value` that passes the 32 bits of an int, which fastavro lets through."""
    if kind == pa.int32():
        return value if isinstance(value, int) and not -(1 << 31) <= value < 1 << 31 else None
    parts: list[tuple[Any, pa.DataType]] = []
    if value and pa.types.is_struct(kind):
        parts = [(value.get(one.name), one.type) for one in kind]
    elif value and pa.types.is_list(kind):
        parts = [(one, kind.value_type) for one in value]
    elif value and pa.types.is_map(kind):
        parts = [(one, kind.item_type) for one in value.values()]
    found = (_wide(*part) for part in parts)
    return next((one for one in found if one is not None), None)


def _plain(value: Any, kind: pa.DataType) -> Any:
    """Return a value of fastavro as a grid keeps it: times as their number."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return float(value) if pa.types.is_floating(kind) and value is not None else value
    if pa.types.is_temporal(kind):
        return pa.scalar(value, kind).value
    return str(value)


def _fit(value: Any, kind: pa.DataType) -> Any:
    """Return a value of fastavro as Arrow takes it; unions of several types become JSON."""
    if value is None:
        return None
    if pa.types.is_string(kind):
        return value if isinstance(value, str) else json.dumps(value, default=str)
    if pa.types.is_floating(kind):
        return float(value)
    if pa.types.is_struct(kind):
        return {one.name: _fit(value.get(one.name), one.type) for one in kind}
    if pa.types.is_list(kind):
        return [_fit(one, kind.value_type) for one in value]
    if pa.types.is_map(kind):
        return [(key, _fit(one, kind.item_type)) for key, one in value.items()]
    return value
