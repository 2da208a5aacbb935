"""Read the head of every entry of a block: checksum and `MessageMetadata`, as columns.

Bytes in, one row of integers per entry out; strings stay where they are, as start and size. The
payload is not looked at: `payloads` splits it, once it is decompressed. Big-endian:

    uint16   0x0E02           the first three only where the broker adds them
    uint32   size
    bytes    BrokerEntryMetadata, protobuf: 1 broker's time, 2 index
    uint16   0x0E01           these two only where the producer adds them
    uint32   CRC32C of all that follows
    uint32   size
    bytes    MessageMetadata, protobuf; `_read_metadata` has the numbers of its fields
    bytes    payload, to the end of the entry

Source: apache/pulsar 4.0.8, Commands.java (parseMessageMetadata, hasChecksum) and
PulsarApi.proto; RFC 3720, appendix B.4 for CRC32C (Castagnoli), here eight bytes at a time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.archive.format.bits import advance, load, pointer
from workbench.archive.format.wire import field, int32
from workbench.compiled import compiled

# columns of a row; SIZE is -1 where the message has none
(
    ENTRY,
    START,
    END,
    METADATA,
    PAYLOAD,
    PRODUCER,
    PRODUCER_SIZE,
    SEQUENCE,
    PUBLISH_MS,
    PROPERTIES,
    KEY,
    KEY_SIZE,
    CODEC,
    RAW_SIZE,
    BATCH,
    EVENT_MS,
    ENCRYPTED,
    SCHEMA,
    SCHEMA_SIZE,
    ORDERING,
    ORDERING_SIZE,
    MARKER,
    TXN_LEAST,
    TXN_MOST,
    NULL_VALUE,
    UUID,
    UUID_SIZE,
    CHUNKS,
    CHUNK_BYTES,
    CHUNK,
    BROKER_MS,
    BROKER_INDEX,
    DATA,
    DATA_END,
) = range(34)
COLUMNS = 34
# those that say where something lies in the data
POSITIONS = (
    START, END, METADATA, PAYLOAD, PRODUCER, KEY, SCHEMA, ORDERING, UUID, DATA, DATA_END,
)  # fmt: skip
NONE = -1  # for numbers that an entry does not carry

# what is wrong with an entry
FINE, SHORT, CHECKSUM, METADATA_CUT, REQUIRED = range(5)
WRONG = {
    SHORT: "the entry is too short for its headers",
    METADATA_CUT: "the entry's metadata is not protobuf, or is cut short",
    REQUIRED: "the entry's metadata lacks producer, sequence id or publish time",
}


def _crc_tables() -> NDArray[np.uint32]:
    tables = np.zeros((8, 256), np.uint32)
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = (values >> 1) ^ np.where(values & 1, np.uint32(0x82F63B78), np.uint32(0))
    tables[0] = values
    for k in range(1, 8):
        tables[k] = (tables[k - 1] >> 8) ^ tables[0][tables[k - 1] & 255]
    return tables


_CRC = _crc_tables()


@compiled
def crc32c(data, position, end):  # type: ignore[no-untyped-def]
    """Return the CRC32C of data[position:end]."""
    c = np.uint32(0xFFFFFFFF)
    while end - position >= 8:
        word = load(data, position)
        low, high = c ^ np.uint32(word), np.uint32(word >> np.uint64(32))
        c = (
            _CRC[7, low & 255]
            ^ _CRC[6, (low >> 8) & 255]
            ^ _CRC[5, (low >> 16) & 255]
            ^ _CRC[4, low >> 24]
            ^ _CRC[3, high & 255]
            ^ _CRC[2, (high >> 8) & 255]
            ^ _CRC[1, (high >> 16) & 255]
            ^ _CRC[0, high >> 24]
        )
        position += 8
    while position < end:
        c = (c >> np.uint32(8)) ^ _CRC[0, (c ^ data[position]) & 255]
        position += 1
    return c ^ np.uint32(0xFFFFFFFF)


@compiled
def read_entries(data, rows, verify, out):  # type: ignore[no-untyped-def]
    """Fill `out` with one row per entry, and return (what is wrong, the row it stopped at).

    Parameters
    ----------
    data
        uint8, the bytes that `rows` points into.
    rows
        int64, shape (n, 3): entry id, start, end, from `blocks.scan`.
    verify
        Whether to compare the checksum of the entries that have one.
    out
        int64, shape (n, COLUMNS).
    """
    data, out = pointer(data), pointer(out)
    for i in range(len(rows)):
        row = advance(out, i * COLUMNS)
        for column in range(COLUMNS):
            row[column] = NONE
        row[ENTRY], row[START], row[END] = rows[i, 0], rows[i, 1], rows[i, 2]
        wrong = _read_entry(data, verify, row)
        if wrong != FINE:
            return wrong, i
    return FINE, len(rows)


@compiled
def _read_entry(data, verify, row):  # type: ignore[no-untyped-def]
    position, end = row[START], row[END]
    if end - position >= 6 and data[position] == 0x0E and data[position + 1] == 0x02:
        size = int32(data, position + 2)
        if size < 0 or size > end - position - 6:
            return SHORT
        if not _read_broker(data, position + 6, position + 6 + size, row):
            return METADATA_CUT
        position += 6 + size
    if end - position >= 6 and data[position] == 0x0E and data[position + 1] == 0x01:
        if verify and crc32c(data, position + 6, end) != np.uint32(int32(data, position + 2)):
            return CHECKSUM
        position += 6
    if end - position < 4:
        return SHORT
    size = int32(data, position)
    if size < 0 or size > end - position - 4:
        return SHORT
    row[METADATA], row[PAYLOAD] = position + 4, position + 4 + size
    row[DATA], row[DATA_END] = row[PAYLOAD], end
    return _read_metadata(data, row)


@compiled
def _read_broker(data, position, end, row):  # type: ignore[no-untyped-def]
    while position < end:
        number, value, _, position = field(data, position, end)
        if position < 0:
            return False
        if number == 1:
            row[BROKER_MS] = value
        elif number == 2:
            row[BROKER_INDEX] = value
    return True


@compiled
def _read_metadata(data, row):  # type: ignore[no-untyped-def]
    position, end = row[METADATA], row[PAYLOAD]
    row[PROPERTIES] = row[CODEC] = row[EVENT_MS] = row[ENCRYPTED] = row[NULL_VALUE] = 0
    row[RAW_SIZE] = row[CHUNKS] = row[MARKER] = 0
    required = 0
    while position < end:
        number, value, start, position = field(data, position, end)
        if position < 0:
            return METADATA_CUT
        if start < 0:
            if number == 2:
                row[SEQUENCE] = value
                required |= 2
            elif number == 3:
                row[PUBLISH_MS] = value
                required |= 4
            elif number == 8:
                row[CODEC] = value
            elif number == 9:
                row[RAW_SIZE] = value
            elif number == 11:
                if value < 0:
                    return METADATA_CUT
                row[BATCH] = value
            elif number == 12:
                row[EVENT_MS] = value
            elif number == 20:
                row[MARKER] = value
            elif number == 22:
                row[TXN_LEAST] = value
            elif number == 23:
                row[TXN_MOST] = value
            elif number == 25:
                row[NULL_VALUE] = value
            elif number == 27:
                row[CHUNKS] = value
            elif number == 28:
                row[CHUNK_BYTES] = value
            elif number == 29:
                row[CHUNK] = value
        elif number == 1:
            row[PRODUCER], row[PRODUCER_SIZE] = start, value
            required |= 1
        elif number == 4:
            row[PROPERTIES] += 1
        elif number == 6:
            row[KEY], row[KEY_SIZE] = start, value
        elif number == 13:
            row[ENCRYPTED] += 1
        elif number == 16:
            row[SCHEMA], row[SCHEMA_SIZE] = start, value
        elif number == 18:
            row[ORDERING], row[ORDERING_SIZE] = start, value
        elif number == 26:
            row[UUID], row[UUID_SIZE] = start, value
    return FINE if required == 7 else REQUIRED
