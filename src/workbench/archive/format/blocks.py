"""Split the data blocks of an offloaded ledger into entries.

Bytes in, entries out: no I/O, and no look inside an entry (`archive.entries` does that).
A data object is a run of blocks; an entry never crosses a block. Big-endian:

    offset  type     field
    0       uint32   magic, 0xFBDBABCB
    4       int64    header length in bytes, 128
    12      int64    block length in bytes, header and padding included
    20      int64    id of the first entry
    28      bytes    zeros, up to the header length
    128     entry*   int32 size, int64 entry id, `size` bytes
    ...     bytes    FE DC DE AD repeated, to the end; read as a size it is negative

Source: apache/pulsar 4.0.8, DataBlockHeaderImpl.toStream and
BlockAwareSegmentInputStreamImpl. The comment on toStream shows an int32 block length
and no header length; its code, followed here, writes int64 for both.
"""

from __future__ import annotations

import struct

import numpy as np

from workbench.archive.format.wire import int32, int64
from workbench.arrays import Bytes
from workbench.compiled import compiled
from workbench.errors import ArchiveError

HEADER_BYTES = 128
ENTRY_BYTES = 12  # int32 size, int64 entry id
_HEADER = struct.Struct(
    ">I"  # magic
    "q"  # header length
    "q"  # block length
    "q"  # id of the first entry
)
_MAGIC = 0xFBDBABCB
_STREAMING_MAGIC = 0x26A66D32  # the "V2" layout, in the source but written by no release
PADDING = bytes.fromhex("FEDCDEAD")

# what ended a scan
MORE, END, PADDED, GAP, TOO_LONG = range(5)


def check_header(
    header: bytes | memoryview, *, key: str, offset: int, block_bytes: int, first_entry: int
) -> None:
    """Raise unless the block at byte `offset` of `key` starts as the index says.

    Raises
    ------
    ArchiveError
        If magic, header length, block length or first entry id are others.
    """
    where = f"{key} at byte {offset}"
    if len(header) < HEADER_BYTES:
        raise ArchiveError(
            f"a block header has {HEADER_BYTES} bytes, {len(header)} are left", where=where
        )
    magic, header_bytes, length, first = _HEADER.unpack_from(header)
    if magic == _STREAMING_MAGIC:
        raise ArchiveError(
            "the streaming layout (magic 0x26A66D32) is not read: no Pulsar release writes it",
            where=where,
        )
    written = {"magic": hex(magic), "header length": header_bytes, "block length": length}
    written["first entry"] = first
    expected = {"magic": hex(_MAGIC), "header length": HEADER_BYTES, "block length": block_bytes}
    expected["first entry"] = first_entry
    for name, value in written.items():
        if value != expected[name]:
            raise ArchiveError(
                f"the block's {name} is {value}, expected {expected[name]}", where=where
            )


@compiled
def scan(data, position, end, last, expected, rows):  # type: ignore[no-untyped-def]
    """Fill `rows` with (entry id, start, end) of the whole entries in data[position:end].

    Parameters
    ----------
    data
        Bytes of one block, uint8.
    position, end
        Where the first entry starts and where the bytes end.
    last
        True if the block ends at `end`.
    expected
        Entry id that must come first; each later one is one more.
    rows
        int64, shape (n, 3); n bounds the entries of one call.

    Returns
    -------
    what, count, position
        MORE (bytes are missing, or `rows` is full), END, PADDED, GAP or TOO_LONG; the rows
        filled; where the scan stopped.
    """
    count = 0
    while count < len(rows):
        if end - position < 12:
            return (END if last else MORE), count, position
        size = int32(data, position)
        if size < 0:
            return PADDED, count, position
        if size > end - position - 12:
            return (TOO_LONG if last else MORE), count, position
        if int64(data, position + 4) != expected + count:
            return GAP, count, position
        rows[count, 0] = expected + count
        rows[count, 1] = position + 12
        rows[count, 2] = position + 12 + size
        count += 1
        position += 12 + size
    return MORE, count, position


def check_padding(data: Bytes, *, key: str, offset: int, phase: int) -> None:
    """Raise unless `data`, at byte `offset` of `key`, `phase` bytes into the padding, is padding.

    Raises
    ------
    ArchiveError
        If the bytes are not FE DC DE AD, repeated.
    """
    expected = np.resize(np.roll(np.frombuffer(PADDING, np.uint8), -(phase % 4)), len(data))
    wrong = np.flatnonzero(data != expected)
    if len(wrong):
        first = int(wrong[0])
        raise ArchiveError(
            f"padding has byte 0x{data[first]:02X}, expected 0x{expected[first]:02X}",
            where=f"{key} at byte {offset + first}",
        )
