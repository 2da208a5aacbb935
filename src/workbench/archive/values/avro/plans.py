"""How compiled code reads the records of one writer into the fields of a reader.

A plan exists where every field of the writer is a number, text, bytes, an enum or a fixed, or one
of these or null; and where the reader's fields that are asked for need no more than a promotion.
Else `plan` is None, and fastavro reads the rows (`objects`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.archive.values.avro import flat
from workbench.archive.values.avro.objects import conflict, scalar
from workbench.archive.values.avro.schema import (
    NO_DEFAULT,
    Field,
    Type,
    plain_union,
)
from workbench.archive.values.flat_json import DOUBLE, PLAIN
from workbench.archive.values.grid import Grid
from workbench.arrays import Ints

_CODES = {
    "null": flat.NOTHING,
    "boolean": flat.BOOLEAN,
    "int": flat.LONG,
    "long": flat.LONG,
    "float": flat.FLOAT,
    "double": flat.DOUBLE64,
    "bytes": flat.BYTES,
    "string": flat.BYTES,
    "enum": flat.ENUM,
    "fixed": flat.FIXED,
}
# what a reader's type may have been written as; a long as float would be rounded twice here, and
# between text and bytes it matters whether they are UTF-8, which is not looked at here
_PROMOTED = {
    "long": ("int",),
    "double": ("int", "long", "float"),
}


@dataclass
class Plan:
    """What `flat.parse` is told of one writer.

    Attributes
    ----------
    codes, slots, branches, widths
        One for each field of the writer, as there.
    symbols
        Of the enums, by slot: their numbers become text afterwards.
    defaults
        Of the reader's fields that the writer lacks, by slot; None is null.
    """

    codes: Ints
    slots: Ints
    branches: Ints
    widths: Ints
    symbols: dict[int, list[str]]
    defaults: dict[int, Any]

    def finish(self, grid: Grid, rows: Ints) -> None:
        """Put symbols for the numbers of enums, and defaults for what the writer lacks."""
        for slot, symbols in self.symbols.items():
            places = np.array([grid.add(symbol.encode()) for symbol in symbols], np.int64)
            filled = rows[(grid.state[slot, rows] == PLAIN) & (grid.later[rows] == 0)]
            numbers = grid.ints[0, slot, filled]
            grid.ints[0, slot, filled], grid.ints[1, slot, filled] = places[numbers].T
        for slot, default in self.defaults.items():
            if default is not None:
                _fill(grid, slot, rows, default)


def _fill(grid: Grid, slot: int, rows: Ints, value: Any) -> None:
    grid.state[slot, rows] = PLAIN
    if isinstance(value, str | bytes):
        raw = value.encode("utf-8", "replace") if isinstance(value, str) else value
        grid.ints[0, slot, rows], grid.ints[1, slot, rows] = grid.add(raw)
    elif grid.kinds[slot] == DOUBLE:
        grid.doubles[slot, rows] = value
    else:
        grid.ints[0, slot, rows] = value


def plan(writer: Type, wanted: list[Field]) -> Plan | None:
    """Return how records of `writer` become the reader's fields `wanted`, or None for fastavro."""
    slots = {field.name: slot for slot, field in enumerate(wanted)}
    if any(field.aliases for field in wanted):
        return None
    columns, symbols = [], {}
    for field in writer.fields:
        branch, kind = _branch(field.type)
        if kind.kind not in _CODES or kind.logical == "decimal":
            return None
        slot = slots.get(field.name, -1)
        if slot >= 0 and not _is_promoted(kind, _branch(wanted[slot].type)[1]):
            return None
        if slot >= 0 and branch >= 0 and wanted[slot].type.kind != "union":
            return None  # a null would have no place in the reader's type
        if kind.kind == "enum" and slot >= 0:
            symbols[slot] = kind.symbols
        width = kind.size if kind.kind == "fixed" else len(kind.symbols)
        columns.append((_CODES[kind.kind], slot, branch, width))
    written = {field.name for field in writer.fields}
    lacking = {slots[field.name]: field for field in wanted if field.name not in written}
    if not all(_has_plain_default(field) for field in lacking.values()):
        return None
    codes, places, branches, widths = np.array(columns, np.int64).reshape(-1, 4).T.copy()
    defaults = {slot: _default(field) for slot, field in lacking.items()}
    return Plan(codes, places, branches, widths, symbols, defaults)


def _branch(kind: Type) -> tuple[int, Type]:
    """Return the branch that is not null, and its type; -1 and the type where it is another."""
    single = plain_union(kind) if kind.kind == "union" and len(kind.branches) == 2 else None
    return (-1, kind) if single is None else (kind.branches.index(single), single)


def _is_promoted(written: Type, wanted: Type) -> bool:
    if written.name or wanted.name:
        same = (written.kind, written.short_name) == (wanted.kind, wanted.short_name)
        return same and (written.symbols, written.size) == (wanted.symbols, wanted.size)
    if "decimal" in (written.logical, wanted.logical) or conflict(written, wanted):
        return False
    return written.kind == wanted.kind or written.kind in _PROMOTED.get(wanted.kind, ())


def _has_plain_default(field: Field) -> bool:
    if field.default is NO_DEFAULT:
        return False
    kind = _branch(field.type)[1]
    return field.default is None or (kind.kind in _CODES and kind.logical != "decimal")


def _default(field: Field) -> Any:
    return None if field.default is None else scalar(_branch(field.type)[1], field.default)
