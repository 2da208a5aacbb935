"""Read protobuf fields out of a byte array, inside compiled code.

A message is a run of fields, each a varint tag (number * 8 + wire type) and a value. Only what
the hot path needs: varints (type 0) and length-delimited bytes (2); fixed widths (1, 5) are
stepped over. Every read is bounded by `end`; a position of -1 says that it would pass it.
`data` is an array of uint8, or faster, its `bits.pointer`.

Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import numpy as np

from workbench.compiled import compiled


@compiled
def varint(data, position, end):  # type: ignore[no-untyped-def]
    """Return (value as int64, next position), or (0, -1) where it does not end in time."""
    if position < end and data[position] < 0x80:  # most are one byte long
        return np.int64(data[position]), position + 1
    value = np.uint64(0)
    shift = np.uint64(0)
    while position < end and shift < np.uint64(70):
        byte = data[position]
        position += 1
        value |= np.uint64(byte & 0x7F) << shift
        if byte < 0x80:
            return np.int64(value), position
        shift += np.uint64(7)
    return np.int64(0), np.int64(-1)


@compiled
def field(data, position, end):  # type: ignore[no-untyped-def]
    """Return (number, value or size, start of bytes or -1, next position or -1).

    For a varint the second is its value; for bytes the second is their size, the third their start.
    """
    tag, position = varint(data, position, end)
    if position < 0:
        return np.int64(0), np.int64(0), np.int64(-1), np.int64(-1)
    number, kind = tag >> 3, tag & 7
    if kind == 0:
        value, position = varint(data, position, end)
        return number, value, np.int64(-1), position
    if kind == 2:
        size, start = varint(data, position, end)
        if start < 0 or size < 0 or size > end - start:
            return number, np.int64(0), np.int64(-1), np.int64(-1)
        return number, size, start, start + size
    if kind == 1 or kind == 5:
        width = 8 if kind == 1 else 4
        if end - position < width:
            return number, np.int64(0), np.int64(-1), np.int64(-1)
        return np.int64(-1), np.int64(0), np.int64(-1), position + width
    return number, np.int64(0), np.int64(-1), np.int64(-1)


@compiled
def int32(data, position):  # type: ignore[no-untyped-def]
    """Return the big-endian signed 32-bit number at `position`."""
    value = (
        np.int64(data[position]) << 24
        | np.int64(data[position + 1]) << 16
        | np.int64(data[position + 2]) << 8
        | np.int64(data[position + 3])
    )
    return value - (np.int64(1) << 32) if value >= np.int64(1) << 31 else value


@compiled
def int64(data, position):  # type: ignore[no-untyped-def]
    """Return the big-endian signed 64-bit number at `position`."""
    value = np.uint64(0)
    for i in range(8):
        value = (value << np.uint64(8)) | np.uint64(data[position + i])
    return np.int64(value)
