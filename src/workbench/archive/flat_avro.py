"""Parse Avro records without nesting, inside compiled code.

A row that does not fit is only marked: `archive.avro_values` leaves it to fastavro.

Source: Apache Avro 1.11 specification, "Binary Encoding".
"""

from __future__ import annotations

import numpy as np

from workbench.archive.bits import load, pointer
from workbench.archive.compiled import compiled
from workbench.archive.flat_json import DOUBLE, PLAIN
from workbench.archive.wire import varint

NOTHING, BOOLEAN, LONG, FLOAT, DOUBLE64, BYTES, ENUM, FIXED = range(8)  # what a writer wrote


@compiled
def parse(  # type: ignore[no-untyped-def]
    data, starts, ends, rows, codes, slots, branches, widths, kinds, ints, doubles, state, later
):
    """Fill the fields of `rows`, and mark those that are left for later.

    Parameters
    ----------
    data, starts, ends
        uint8, and where each value lies.
    rows
        int64, the rows that this writer wrote.
    codes, slots, branches, widths
        Of the writer's fields, in its order: what it is; the field to fill, -1 for none; in a
        union with null the branch that is not null, else -1; bytes of a FIXED, symbols of an ENUM.
    kinds, ints, doubles, state, later
        Of the fields to fill, as in `archive.grid.Grid`.
    """
    n, cells = len(starts), len(kinds) * len(starts)
    data, kinds, ints = pointer(data), pointer(kinds), pointer(ints)
    doubles, state = pointer(doubles), pointer(state)
    for i in rows:
        at, end = starts[i], ends[i]
        for f in range(len(codes)):
            if branches[f] >= 0:
                branch, at = _zigzag(data, at, end)
                if at < 0 or branch < 0 or branch > 1:
                    at = np.int64(-1)
                    break
                if branch != branches[f]:
                    continue
            slot = slots[f]
            at = _value(
                data, at, end, codes[f], slot, widths[f], slot * n + i, cells, kinds, ints,
                doubles, state,
            )  # fmt: skip
            if at < 0:
                break
        later[i] = 0 if at == end else 1


@compiled
def _zigzag(data, at, end):  # type: ignore[no-untyped-def]
    value, at = varint(data, at, end)
    half = np.uint64(value) >> np.uint64(1)
    return np.int64(half) ^ -(value & 1), at


@compiled
def _value(data, at, end, code, slot, width, cell, cells, kinds, ints, doubles, state):  # type: ignore[no-untyped-def]
    if code in (BYTES, FIXED):
        size = np.int64(width)
        if code == BYTES:
            size, at = _zigzag(data, at, end)
        if at < 0 or size < 0 or size > end - at:
            return np.int64(-1)
        if slot >= 0:
            ints[cell], ints[cells + cell] = at, at + size
            state[cell] = PLAIN
        return at + size
    whole, number = np.int64(0), np.float64(0)
    if code in (LONG, ENUM):
        whole, at = _zigzag(data, at, end)
        if at < 0 or (code == ENUM and not 0 <= whole < width):
            return np.int64(-1)
        number = np.float64(whole)
    elif code == BOOLEAN:
        if end - at < 1 or data[at] > 1:
            return np.int64(-1)
        whole = np.int64(data[at])
        at += 1
    elif code != NOTHING:
        bits = 4 if code == FLOAT else 8
        if end - at < bits:
            return np.int64(-1)
        number = _double(data, at) if code == DOUBLE64 else _float(data, at)
        at += bits
    if slot >= 0 and code != NOTHING:
        state[cell] = PLAIN
        if kinds[slot] == DOUBLE:
            doubles[cell] = number
        else:
            ints[cell] = whole
    return at


@compiled
def _double(data, at):  # type: ignore[no-untyped-def]
    return np.uint64(load(data, at)).view(np.float64)


@compiled
def _float(data, at):  # type: ignore[no-untyped-def]
    bits = np.uint32(0)
    for j in range(3, -1, -1):
        bits = (bits << np.uint32(8)) | np.uint32(data[at + j])
    return np.float64(np.uint32(bits).view(np.float32))
