"""What a schema and a value may ask for, looked at before anything is made of them.

A few bytes can claim much: an array of 10^8 items that have no bytes, types that hold each other
2^24 times by reference, a record in a record without end. So what a schema unfolds to is counted
as it is parsed, and a value that compiled code has no plan for is walked through, without making
anything, before fastavro reads it: it would take negative sizes and branches for others.

Measured on one core: 0.5 us for a nested value of 20 parts, 1/250 of what reading it takes.

Source: Apache Avro 1.11 specification, "Binary Encoding"; the budget is our own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.archive.format.bits import pointer
from workbench.archive.format.wire import varint
from workbench.archive.values.avro.schema import LEVELS, TYPES, Type
from workbench.archive.values.claims import (
    FREE,
    PER_BYTE,
    SPARSE,
    SPARSE_PER_BYTE,
    TOO_MANY,
    cells,
)
from workbench.arrays import Bytes, Ints
from workbench.compiled import compiled

_PAIRS = 10 * TYPES  # of a writer's and a reader's types that are compared
(
    _NOTHING, _BOOLEAN, _NUMBER, _FIXED, _BYTES, _ENUM, _UNION, _RECORD, _ARRAY, _MAP,
) = range(10)  # fmt: skip
_CODES = {
    "null": _NOTHING, "boolean": _BOOLEAN, "int": _NUMBER, "long": _NUMBER, "float": _FIXED,
    "double": _FIXED, "fixed": _FIXED, "bytes": _BYTES, "string": _BYTES, "enum": _ENUM,
    "union": _UNION, "record": _RECORD, "array": _ARRAY, "map": _MAP,
}  # fmt: skip
_FINE, _CUT, _SYMBOL, _BRANCH, _TRUTH, _BLOCK, _MANY, _DEEP = range(8)
_WRONG = {
    _CUT: "it ends early, or a size in it is negative or passes its end",
    _SYMBOL: "a symbol that its enum does not have",
    _BRANCH: "a branch that its union does not have",
    _TRUTH: "a boolean that is neither 0 nor 1",
    _BLOCK: "a block of items whose size is not theirs",
    _MANY: TOO_MANY,
    _DEEP: f"it is nested more than {LEVELS} levels deep",
}


@dataclass(frozen=True)
class Layout:
    """The graph of a schema as compiled code takes it: n types, the outermost first.

    Attributes
    ----------
    codes
        Shape (n,), what a type is.
    widths
        Shape (n,): bytes of a fixed width, else how many symbols, branches, fields or items.
    firsts, parts
        The parts of type i are parts[firsts[i] : firsts[i] + widths[i]].
    cells
        Shape (n,): of an array or map, those that an item takes once it is read.
    free
        How many values one of the outermost type may have beside what its bytes pay for.
    """

    codes: Ints
    widths: Ints
    firsts: Ints
    parts: Ints
    cells: Ints
    free: int


def layout(record: Type, reader: Type) -> Layout:
    """Return the layout of a writer's records, which are read as those of `reader`."""
    types, places = [record], {id(record): 0}
    rows: list[tuple[int, int, int]] = []
    parts: list[int] = []
    for kind in types:  # grows on the way
        inner = [*kind.branches, *(field.type for field in kind.fields)]
        inner += [kind.items] if kind.items is not None else []
        rows.append((_CODES[kind.kind], _width(kind, len(inner)), len(parts)))
        for part in inner:
            if id(part) not in places:
                places[id(part)] = len(types)
                types.append(part)
            parts.append(places[id(part)])
    codes, widths, firsts = np.array(rows, np.int64).T.copy()
    most: dict[int, int] = {}
    _note_cells(record, reader, most, set())
    of_items = [most.get(id(kind)) or cells(kind.items) if kind.items else 1 for kind in types]
    lists = np.array([*parts, 0], np.int64), np.array(of_items, np.int64)
    return Layout(codes, widths, firsts, *lists, FREE + max(record.types, reader.types))


def _note_cells(
    written: Type, wanted: Type, most: dict[int, int], met: set[tuple[int, int]]
) -> None:
    """Note the cells of an item, as the reader has it, by the id of the writer's array or map."""
    if (id(written), id(wanted)) in met or len(met) > _PAIRS:
        return
    met.add((id(written), id(wanted)))
    pairs = [(branch, wanted) for branch in written.branches]
    pairs += [(written, branch) for branch in wanted.branches]
    theirs = {field.name: field.type for field in written.fields}
    for field in wanted.fields:
        pairs += [(theirs[x], field.type) for x in (field.name, *field.aliases) if x in theirs]
    if written.items is not None and wanted.items is not None:
        most[id(written)] = max(most.get(id(written), 1), cells(wanted.items))
        pairs.append((written.items, wanted.items))
    for pair in pairs:
        _note_cells(*pair, most, met)


def _width(kind: Type, parts: int) -> int:
    widths = {"float": 4, "double": 8, "fixed": kind.size, "enum": len(kind.symbols)}
    return widths.get(kind.kind, parts)


def misfits(data: Bytes, starts: Ints, ends: Ints, how: Layout) -> dict[int, str]:
    """Return what is wrong with values of one writer, by row: what would not be read as written.

    Parameters
    ----------
    data, starts, ends
        uint8, and where each value lies in it.
    """
    wrong, places = np.zeros((2, len(starts)), np.int64)
    stack = np.empty((LEVELS, 3), np.int64)
    walk(
        data, starts, ends, how.codes, how.widths, how.firsts, how.parts, how.cells,
        how.free, stack, wrong, places,
    )  # fmt: skip
    return {
        int(row): f"{_WRONG[int(wrong[row])]} (at byte {places[row] - starts[row]} of it)"
        for row in np.flatnonzero(wrong)
    }


@compiled
def walk(data, starts, ends, codes, widths, firsts, parts, cells, free, stack, wrong, places):  # type: ignore[no-untyped-def]
    """Fill `wrong` with what is wrong with each value, and `places` with where.

    `stack` is int64, shape (LEVELS, 3): a type, how many parts of it (or of a block of its items)
    are still to come, and where the block ends if it says so, else -1. The other parameters are as
    in `misfits` and `Layout`.
    """
    data = pointer(data)
    for row in range(len(starts)):
        position, end = starts[row], ends[row]
        size = end - position
        left = free + PER_BYTE * size + min(SPARSE_PER_BYTE * size, SPARSE)
        stack[0, 0], stack[0, 1], depth = 0, widths[0], 0
        while depth >= 0 and wrong[row] == _FINE:
            kind = stack[depth, 0]
            start = position
            if codes[kind] != _RECORD and stack[depth, 1] == 0:
                is_whole = stack[depth, 2] < 0 or stack[depth, 2] == position
                count, position, stack[depth, 2] = _block(data, position, end)
                if not is_whole:
                    wrong[row] = _BLOCK
                elif position < 0:
                    wrong[row] = _BLOCK if count < 0 else _CUT
                elif count > left // cells[kind]:
                    wrong[row] = _MANY
                elif count == 0:
                    depth -= 1
                else:
                    stack[depth, 1] = count
                    left -= count * (cells[kind] - 1)  # one is taken off as its bytes are met
            elif stack[depth, 1] == 0:
                depth -= 1
            else:
                part = parts[firsts[kind]]
                if codes[kind] == _RECORD:
                    part = parts[firsts[kind] + widths[kind] - stack[depth, 1]]
                elif codes[kind] == _MAP:
                    position = _text(data, position, end)
                stack[depth, 1] -= 1
                left -= 1
                if left < 0:
                    wrong[row] = _MANY
                elif position < 0:
                    wrong[row] = _CUT
                else:
                    what, part, position = _value(
                        data, position, end, part, codes, widths, firsts, parts
                    )
                    wrong[row] = what
                    if part >= 0 and what == _FINE:
                        depth += 1
                        if depth == len(stack):
                            wrong[row] = _DEEP
                            depth -= 1
                        else:
                            is_record = codes[part] == _RECORD
                            stack[depth, 0] = part
                            stack[depth, 1] = widths[part] if is_record else 0
                            stack[depth, 2] = -1
            if wrong[row] != _FINE:
                places[row] = start


@compiled
def _block(data, position, end):  # type: ignore[no-untyped-def]
    """Return (items of the next block, next position, where its size says that it ends or -1).

    (0, -1, -1) where it is cut, (-1, -1, -1) where its size is wrong.
    """
    count, position = _zigzag(data, position, end)
    if position < 0 or count >= 0:
        return count if position >= 0 else np.int64(0), position, np.int64(-1)
    size, position = _zigzag(data, position, end)
    if position < 0:
        return np.int64(0), position, np.int64(-1)
    if size < 0 or size > end - position or -count < 0:
        return np.int64(-1), np.int64(-1), np.int64(-1)
    return -count, position, position + size


@compiled
def _value(data, position, end, part, codes, widths, firsts, parts):  # type: ignore[no-untyped-def]
    """Return (what is wrong, the type whose parts follow or -1, next position)."""
    code = codes[part]
    while code == _UNION:
        branch, position = _zigzag(data, position, end)
        if position < 0:
            return _CUT, np.int64(-1), position
        if branch < 0 or branch >= widths[part]:
            return _BRANCH, np.int64(-1), position
        part = parts[firsts[part] + branch]
        code = codes[part]
    if code >= _RECORD:
        return _FINE, part, position
    if code == _BOOLEAN:
        if end - position < 1:
            return _CUT, np.int64(-1), position
        return (_FINE if data[position] < 2 else _TRUTH), np.int64(-1), position + 1
    if code == _FIXED:
        is_cut = widths[part] > end - position
        return (_CUT if is_cut else _FINE), np.int64(-1), position + widths[part]
    if code == _BYTES:
        position = _text(data, position, end)
        return (_CUT if position < 0 else _FINE), np.int64(-1), position
    if code != _NOTHING:
        number, position = _zigzag(data, position, end)
        if position < 0:
            return _CUT, np.int64(-1), position
        if code == _ENUM and (number < 0 or number >= widths[part]):
            return _SYMBOL, np.int64(-1), position
    return _FINE, np.int64(-1), position


@compiled
def _text(data, position, end):  # type: ignore[no-untyped-def]
    """Return the position behind a size and so many bytes, -1 where they are not there."""
    size, position = _zigzag(data, position, end)
    if position < 0 or size < 0 or size > end - position:
        return np.int64(-1)
    return position + size


@compiled
def _zigzag(data, position, end):  # type: ignore[no-untyped-def]
    value, position = varint(data, position, end)
    half = np.uint64(value) >> np.uint64(1)
    return np.int64(half) ^ -(value & 1), position
