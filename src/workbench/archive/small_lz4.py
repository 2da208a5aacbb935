"""Decompress many small LZ4 payloads in one call: a library's call costs more than the payload.

Sensors often send without batching, so a ledger may have a million payloads of some 50 bytes.
What is larger, or does not come out as expected, is left to the library (`archive.codecs`), which
says what is wrong.

Source: lz4/lz4, doc/lz4_Block_format.md.
"""

from __future__ import annotations

import numpy as np

from workbench.archive import entries as e
from workbench.archive.bits import load, pointer, store
from workbench.archive.compiled import compiled

LZ4 = 1
_SMALL = 4096  # bytes, packed; from here on the library is faster
_LEAST = 4  # bytes of a match


@compiled
def unpack(data, rows, packed, starts, stops, done):  # type: ignore[no-untyped-def]
    """Set data[starts[i] : stops[i]] to the payload of entry packed[i], and done[i], where small.

    Parameters
    ----------
    data
        uint8, holds both the payloads and the places for them.
    rows
        int64, shape (n, entries.COLUMNS).
    packed, starts, stops
        int64: which entries, and where their bytes go; places do not overlap.
    done
        bool: set where all bytes are there.
    """
    data = pointer(data)
    for i in range(len(packed)):
        row = packed[i]
        at, end = rows[row, e.DATA], rows[row, e.DATA_END]
        if rows[row, e.CODEC] == LZ4 and end - at <= _SMALL:
            done[i] = _unpack(data, at, end, starts[i], stops[i])


@compiled
def _unpack(data, at, end, first, stop):  # type: ignore[no-untyped-def]
    """Return whether data[at:end] becomes exactly stop - first bytes."""
    to = first
    while at < end:
        token = np.int64(data[at])
        size, at = _length(data, at + 1, end, token >> 4)
        if size > end - at or size > stop - to:
            return False
        _copy(data, at, to, size, size + 8 <= end - at and size + 8 <= stop - to)
        at += size
        to += size
        if at == end:
            return to == stop
        if end - at < 2:
            return False
        distance = np.int64(data[at]) | np.int64(data[at + 1]) << 8
        size, at = _length(data, at + 2, end, token & 15)
        size += _LEAST
        if distance == 0 or distance > to - first or size > stop - to:
            return False
        _copy(data, to - distance, to, size, distance >= 8 and size + 8 <= stop - to)
        to += size
    return False


@compiled
def _length(data, at, end, size):  # type: ignore[no-untyped-def]
    """Return a length that goes on behind its four bits, and the next position."""
    if size < 15:
        return size, at
    while at < end:
        more = np.int64(data[at])
        at += 1
        size += more
        if more < 255:
            break
    return size, at


@compiled
def _copy(data, at, to, size, wide):  # type: ignore[no-untyped-def]
    """Copy bytes forwards; `wide`: eight at a time, where up to seven too many do no harm."""
    done = 0
    while done < size:
        if wide:
            store(data, to + done, load(data, at + done))
            done += 8
        else:
            data[to + done] = data[at + done]
            done += 1
