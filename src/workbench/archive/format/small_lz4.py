"""Decompress many small LZ4 payloads in one call: a library's call costs more than the payload.

Sensors often send without batching, so a ledger may have a million payloads of some 50 bytes.
Measured on one core, 100,000 readings of 59 bytes of JSON: 18.7 million payloads a second, 0.42
by one call each of python-lz4 4.4; 44 times as fast. At 1 kB it is 3.8 times, at 4 kB (1 kB packed)
1.4, at 16 kB (3.5 kB packed) 0.9. What is larger, or does not come out as expected, is left to the
library (`codecs`), which says what is wrong. A block is a run of sequences:

    uint8    token: high half length of the literals, low half length of the match less 4;
             a half of 15 goes on in bytes that are added up, until one is below 255
    bytes    rest of the literals' length, literals
    uint16   distance of the match, little-endian, from 1; not after the last literals
    bytes    rest of the match's length; nor this

Source: lz4/lz4, doc/lz4_Block_format.md.
"""

from __future__ import annotations

import numpy as np

from workbench.archive.format import entries as e
from workbench.archive.format.bits import load, pointer, store
from workbench.compiled import compiled

LZ4 = 1
_SMALL = 2048  # bytes, packed; from about here on the library is faster
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
        position, end = rows[row, e.DATA], rows[row, e.DATA_END]
        if rows[row, e.CODEC] == LZ4 and end - position <= _SMALL:
            done[i] = _unpack(data, position, end, starts[i], stops[i])


@compiled
def _unpack(data, position, end, first, stop):  # type: ignore[no-untyped-def]
    """Return whether data[position:end] becomes exactly stop - first bytes."""
    to = first
    while position < end:
        token = np.int64(data[position])
        size, position = _length(data, position + 1, end, token >> 4)
        if size > end - position or size > stop - to:
            return False
        _copy(data, position, to, size, size + 8 <= end - position and size + 8 <= stop - to)
        position += size
        to += size
        if position == end:
            return to == stop
        if end - position < 2:
            return False
        distance = np.int64(data[position]) | np.int64(data[position + 1]) << 8
        size, position = _length(data, position + 2, end, token & 15)
        size += _LEAST
        if distance == 0 or distance > to - first or size > stop - to:
            return False
        _copy(data, to - distance, to, size, distance >= 8 and size + 8 <= stop - to)
        to += size
    return False


@compiled
def _length(data, position, end, size):  # type: ignore[no-untyped-def]
    """Return a length that goes on behind its four bits, and the next position."""
    if size < 15:
        return size, position
    while position < end:
        more = np.int64(data[position])
        position += 1
        size += more
        if more < 255:
            break
    return size, position


@compiled
def _copy(data, position, to, size, wide):  # type: ignore[no-untyped-def]
    """Copy bytes forwards; `wide`: eight at a time, where up to seven too many do no harm."""
    done = 0
    while done < size:
        if wide:
            store(data, to + done, load(data, position + done))
            done += 8
        else:
            data[to + done] = data[position + done]
            done += 1
