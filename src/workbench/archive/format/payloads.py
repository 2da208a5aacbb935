"""Split the decompressed payloads of entries into messages, as columns.

Bytes in, one column of integers per message out; nothing is copied. An entry with
`num_messages_in_batch` is a batch; back to back, to the last byte, for each message

    uint32   size of the metadata, big-endian
    bytes    SingleMessageMetadata, protobuf: 1 properties*, 2 key, 3 payload size, 4 compacted
             out, 5 event time, 7 ordering key, 8 sequence id, 9 null value
    bytes    payload, as long as field 3 says

Key, properties and event time of a batched message stand there and nowhere else. An entry without
the field is one message, described by its `MessageMetadata`. A message that compaction has taken
out of its batch keeps its place in the bytes, but is no row.

Source: apache/pulsar 4.0.8, Commands.deSerializeSingleMessageInBatch, PulsarApi.proto,
ConsumerImpl.
"""

from __future__ import annotations

import numpy as np

from workbench.archive.format import entries as e
from workbench.archive.format.bits import advance, pointer
from workbench.archive.format.wire import field, int32
from workbench.compiled import compiled

# rows of the table of messages: one column per message; SIZE is -1 where there is none
(
    ROW,  # of its entry
    INDEX,  # in the batch, -1 if not batched
    VALUE,
    VALUE_SIZE,
    KEY,
    KEY_SIZE,
    ORDERING,
    ORDERING_SIZE,
    EVENT_MS,
    SEQUENCE,
    PROPERTIES,  # how many, between the next two
    HEAD,
    HEAD_END,
) = range(13)
ROWS = 13

FINE, COUNT, CUT, REST = range(4)
WRONG = {
    COUNT: "the batch holds fewer messages than it claims",
    CUT: "a message's metadata in the batch is not protobuf, or passes its bounds",
    REST: "the batch holds bytes after its last message",
}


@compiled
def split(data, rows, out):  # type: ignore[no-untyped-def]
    """Fill `out` with one column per message of the entries, in their order.

    Parameters
    ----------
    data
        uint8, the bytes that all positions point into.
    rows
        int64, shape (n, entries.COLUMNS); DATA to DATA_END is the decompressed payload.
    out
        int64, shape (ROWS, m), m at least the sum of the entries' messages.

    Returns
    -------
    what, row, count
        FINE or what is wrong; the entry it stopped at; the messages filled.
    """
    count, most = 0, out.shape[1]
    entries, data, rows, out = len(rows), pointer(data), pointer(rows), pointer(out)
    for i in range(entries):
        row = advance(rows, i * e.COLUMNS)
        if row[e.BATCH] < 0:
            _unbatched(row, i, count, most, out)
            count += 1
            continue
        position, end = row[e.DATA], row[e.DATA_END]
        for index in range(row[e.BATCH]):
            if end - position < 4:
                return COUNT, i, count
            size = int32(data, position)
            if size < 0 or size > end - position - 4:
                return CUT, i, count
            position, kept = _batched(
                data, position + 4, position + 4 + size, end, row, count, most, out
            )
            if position < 0:
                return CUT, i, count
            out[ROW * most + count], out[INDEX * most + count] = i, index
            count += kept
        if position != end:
            return REST, i, count
    return FINE, entries, count


@compiled
def _unbatched(row, i, m, most, out):  # type: ignore[no-untyped-def]
    out[ROW * most + m], out[INDEX * most + m] = i, -1
    out[VALUE * most + m] = row[e.DATA]
    out[VALUE_SIZE * most + m] = -1 if row[e.NULL_VALUE] > 0 else row[e.DATA_END] - row[e.DATA]
    out[KEY * most + m], out[KEY_SIZE * most + m] = row[e.KEY], row[e.KEY_SIZE]
    out[ORDERING * most + m], out[ORDERING_SIZE * most + m] = row[e.ORDERING], row[e.ORDERING_SIZE]
    out[EVENT_MS * most + m], out[SEQUENCE * most + m] = row[e.EVENT_MS], row[e.SEQUENCE]
    out[PROPERTIES * most + m] = row[e.PROPERTIES]
    out[HEAD * most + m], out[HEAD_END * most + m] = row[e.METADATA], row[e.PAYLOAD]


@compiled
def _batched(data, position, head_end, end, row, m, most, out):  # type: ignore[no-untyped-def]
    out[KEY_SIZE * most + m] = out[ORDERING_SIZE * most + m] = -1
    out[EVENT_MS * most + m] = out[PROPERTIES * most + m] = 0
    out[SEQUENCE * most + m] = row[e.SEQUENCE]
    out[HEAD * most + m], out[HEAD_END * most + m] = position, head_end
    size = np.int64(-1)
    null = compacted = False
    while position < head_end:
        number, value, start, position = field(data, position, head_end)
        if position < 0:
            return np.int64(-1), 0
        if start < 0:
            if number == 3:
                size = np.int64(np.int32(value))
            elif number == 4:
                compacted = value != 0
            elif number == 5:
                out[EVENT_MS * most + m] = value
            elif number == 8:
                out[SEQUENCE * most + m] = value
            elif number == 9:
                null = value != 0
        elif number == 1:
            out[PROPERTIES * most + m] += 1
        elif number == 2:
            out[KEY * most + m], out[KEY_SIZE * most + m] = start, value
        elif number == 7:
            out[ORDERING * most + m], out[ORDERING_SIZE * most + m] = start, value
    if size < 0 or size > end - head_end:
        return np.int64(-1), 0
    out[VALUE * most + m] = head_end
    out[VALUE_SIZE * most + m] = -1 if null else size
    return head_end + size, 0 if compacted else 1


@compiled
def find_properties(data, table, single, batched, out):  # type: ignore[no-untyped-def]
    """Fill `out` with (key start, key size, value start, value size) of all properties.

    `table` is the messages' (ROWS, m); `single` and `batched` are the field numbers of
    properties in the two kinds of metadata. Returns the number filled, or
    -1 - m where a property of message m is cut.
    """
    count = 0
    data = pointer(data)
    for m in range(table.shape[1]):
        if table[PROPERTIES, m] == 0:
            continue
        wanted = single if table[INDEX, m] < 0 else batched
        position, end = table[HEAD, m], table[HEAD_END, m]
        while position < end:
            number, value, start, position = field(data, position, end)
            if position < 0:
                return -1 - m
            if number != wanted or start < 0:
                continue
            out[0, count] = out[1, count] = out[2, count] = out[3, count] = 0
            inner, inner_end = start, start + value
            while inner < inner_end:
                part, size, where, inner = field(data, inner, inner_end)
                if inner < 0:
                    return -1 - m
                if where >= 0 and (part == 1 or part == 2):
                    out[2 * part - 2, count], out[2 * part - 1, count] = where, size
            count += 1
    return count
