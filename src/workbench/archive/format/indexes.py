"""Read many index objects at once, in compiled code: those of a fleet's bucket are 200,000.

What it gives is what `index.parse_index` gives of each. It knows objects as brokers write them; of
any other, right or wrong, it says so, and `parse_index` reads it, or says what is wrong with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from workbench.archive.format.blocks import ENTRY_BYTES, HEADER_BYTES
from workbench.archive.format.index import (
    BLOCK,
    CLOSED,
    HEAD,
    MAGIC,
    NAME_KEY,
    STOP_MS,
    Block,
    Index,
    Metadata,
    topic_or_none,
)
from workbench.archive.format.wire import field, int32, int64
from workbench.arrays import Bools, Ints
from workbench.compiled import compiled

MANY = 1000  # fewer are read one by one before the machine code is loaded, or made

# columns of a row; _NAME is where the managed ledger's name starts
_PLAIN, _DATA_BYTES, _FIRST_BLOCK, _BLOCKS, _LAST, _BYTES, _CREATED_MS, _NAME, _NAME_END = range(9)
_COLUMNS = 9
_NAMES = {"last_entry": _LAST, "entry_bytes": _BYTES, "created_ms": _CREATED_MS,
          "data_bytes": _DATA_BYTES}  # fmt: skip
_KEY = np.frombuffer(NAME_KEY, np.uint8)
_HEAD_BYTES, _BLOCK_BYTES = HEAD.size, BLOCK.size


@dataclass(frozen=True)
class Indexes:
    """What n index objects say, an `Index` of each when it is asked for.

    Attributes
    ----------
    topics, topic
        Names, and int64, shape (n,), the place of each object's among them; -1 where it is not as
        brokers write it, and `index.parse_index` has to read it, or to say what is wrong.
    rows, blocks
        As compiled code filled them.
    """

    topics: list[str]
    topic: Ints
    rows: Ints
    blocks: Ints

    @property
    def is_read(self) -> Bools:
        """Where an object was read: bool, shape (n,)."""
        return self.topic >= 0

    def column(self, name: str) -> Ints:
        """Return last_entry, entry_bytes, created_ms or data_bytes: int64, shape (n,)."""
        return self.rows[:, _NAMES[name]]

    def index(self, i: int) -> Index:
        """Return what object `i`, which was read, says."""
        row = self.rows[i].tolist()
        first = row[_FIRST_BLOCK]
        blocks = self.blocks[first : first + row[_BLOCKS]].tolist()
        topic = self.topics[self.topic[i]]
        metadata = Metadata(topic, row[_LAST], row[_BYTES], row[_CREATED_MS])
        return Index(metadata, row[_DATA_BYTES], tuple(Block(*block) for block in blocks))


def read_indexes(contents: pa.BinaryArray) -> Indexes:
    """Return what index objects say, as far as they are as brokers write them."""
    rows = np.zeros((len(contents), _COLUMNS), np.int64)
    topic = np.full(len(contents), -1)
    if len(contents) < MANY:
        return Indexes([], topic, rows, np.empty((0, 3), np.int64))
    _, offsets, data = contents.buffers()
    ends = np.frombuffer(offsets, np.int32)[contents.offset :][: len(contents) + 1]
    raw = np.frombuffer(data, np.uint8)
    blocks = np.empty((len(raw) // _BLOCK_BYTES, 3), np.int64)
    count = _read_indexes(raw, ends.astype(np.int64), rows, blocks)
    joined, places = raw.tobytes(), dict[str | None, int]()
    for i in np.flatnonzero(rows[:, _PLAIN]).tolist():
        name = topic_or_none(joined[rows[i, _NAME] : rows[i, _NAME_END]])
        topic[i] = -1 if name is None else places.setdefault(name, len(places))
    return Indexes([x for x in places if x is not None], topic, rows, blocks[:count])


@compiled
def _read_indexes(data, ends, rows, blocks):  # type: ignore[no-untyped-def]
    """Fill a row for each object, data[ends[k] : ends[k + 1]], and return the number of blocks.

    Parameters
    ----------
    rows
        int64, shape (n, _COLUMNS), zeros; _PLAIN stays 0 where it is not as brokers write it.
    blocks
        int64, shape (m, 3): offset, length and first entry; of those objects that are plain.
    """
    filled = 0
    for k in range(len(rows)):
        start, end = ends[k], ends[k + 1]
        if end - start < _HEAD_BYTES or int32(data, start) & 0xFFFFFFFF != MAGIC:
            continue
        count, size = int32(data, start + 24), int32(data, start + 28)
        left = end - start - _HEAD_BYTES
        if int64(data, start + 16) != HEADER_BYTES or size < 0 or size > left or count < 1:
            continue
        if count > (left - size) // _BLOCK_BYTES:
            continue
        row, position = rows[k], start + _HEAD_BYTES
        row[_DATA_BYTES], row[_FIRST_BLOCK], row[_BLOCKS] = int64(data, start + 8), filled, count
        if not _read_metadata(data, position, position + size, row):
            continue
        if _read_blocks(data, position + size, row, blocks):
            row[_PLAIN] = 1
            filled += count
    return filled


@compiled
def _read_metadata(data, position, end, row):  # type: ignore[no-untyped-def]
    state = np.int64(0)
    row[_LAST] = row[_BYTES] = row[_NAME] = -1
    while position < end:
        number, value, start, position = field(data, position, end)
        if position < 0 or number < 1:  # of fixed size, or nothing that a broker writes
            return False
        if start < 0:
            if number == 5:
                state = value
            elif number == 4:
                row[_LAST] = value
            elif number == 3:
                row[_BYTES] = value
            elif number == 10:
                row[_CREATED_MS] = value
        elif number == 11 and not _read_pair(data, start, start + value, row):
            return False
    fine = state == CLOSED and row[_NAME] >= 0 and row[_BYTES] >= 0
    fine = fine and 0 <= row[_LAST] < 1 << 62
    return fine and 0 <= row[_CREATED_MS] < STOP_MS


@compiled
def _read_pair(data, position, end, row):  # type: ignore[no-untyped-def]
    """Note the value of a custom field if it is the name; return whether it is (key, value)."""
    key_number, key_size, key, position = field(data, position, end)
    if position < 0 or key < 0 or key_number != 1:
        return False
    number, size, start, position = field(data, position, end)
    if position != end or start < 0 or number != 2:
        return False
    if key_size != len(_KEY):
        return True
    for k in range(key_size):
        if data[key + k] != _KEY[k]:
            return True
    row[_NAME], row[_NAME_END] = start, start + size
    return True


@compiled
def _read_blocks(data, position, row, blocks):  # type: ignore[no-untyped-def]
    """Fill a row of `blocks` for each, and return whether they follow one another."""
    count, first = row[_BLOCKS], row[_FIRST_BLOCK]
    entry = offset = np.int64(0)
    for k in range(count):
        begin = position + k * _BLOCK_BYTES
        is_last = k == count - 1
        stop = row[_DATA_BYTES] if is_last else int64(data, begin + _BLOCK_BYTES + 12)
        number, part = int64(data, begin), int32(data, begin + 8)
        if int64(data, begin + 12) != offset or part != k + 1:
            return False
        if number < entry or number > row[_LAST] or (k == 0 and number != 0):
            return False
        if stop < offset or stop - offset < HEADER_BYTES + ENTRY_BYTES:
            return False
        block = blocks[first + k]
        block[0], block[1], block[2] = offset, stop - offset, number
        entry, offset = number + 1, stop
    return True
