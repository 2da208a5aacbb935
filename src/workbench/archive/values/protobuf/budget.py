"""Protocol Buffers looked at before they are made: what each message in a value costs is counted.

The library takes room for all fields of a message, also for one of two bytes that sets none; a
list of these, or two fields of a `oneof` in turn, would be a thousandfold of the value's bytes. So
a value of a type that holds such is walked through before it is parsed.

Measured on one core: 0.1 us for a message inside a value; a type whose messages have few fields is
not walked through.

Source: protobuf.dev, "Encoding"; the budget is our own (`claims`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from workbench.archive.format.bits import pointer
from workbench.archive.format.wire import varint
from workbench.archive.values.avro.schema import LEVELS
from workbench.archive.values.claims import FREE, PER_BYTE, SPARSE, SPARSE_PER_BYTE, TOO_MANY
from workbench.archive.values.protobuf.descriptors import is_repeated, is_text, unfolded
from workbench.arrays import Bytes, Ints
from workbench.compiled import compiled

_LEAST_BYTES = 2  # of a message in a value: its tag and its size
_FINE, _CUT, _MANY, _DEEP = range(4)
_WRONG = {
    _CUT: "it ends early, or a size or a tag in it is none",
    _MANY: TOO_MANY,
    _DEEP: f"it is nested more than {LEVELS} levels deep",
}
_UNKNOWN = -1
_BYTES, _GROUP = 2, 3  # wire types


@dataclass(frozen=True)
class Layout:
    """Message types as compiled code takes them: n types, the outermost first.

    Attributes
    ----------
    costs
        Shape (n,): cells of one message of a type.
    firsts
        Shape (n + 1,): the fields of type i that are messages are rows firsts[i] to firsts[i + 1].
    tags, parts
        One for each of these fields: number * 8 + wire type, ascending in a type, and its type.
    free
        Cells that a value may have beside what its bytes pay for.
    """

    costs: Ints
    firsts: Ints
    tags: Ints
    parts: Ints
    free: int

    @property
    def is_paid(self) -> bool:
        """Whether any value has the bytes that pay for it, so that none has to be looked at."""
        return int(self.costs[1:].max(initial=0)) <= _LEAST_BYTES * PER_BYTE


def layout(messages: Sequence[Descriptor]) -> Layout:
    """Return the layout of a message type, first, and of all that it may hold."""
    places = {message.full_name: i for i, message in enumerate(messages)}
    firsts, rows = [0], []
    for message in messages:
        rows += sorted(
            (field.number * 8 + _wire_type(field), places[field.message_type.full_name])
            for field in message.fields
            if field.message_type is not None
        )
        firsts.append(len(rows))
    tags, parts = np.array(rows, np.int64).reshape(-1, 2).T.copy()
    costs: dict[str, int] = {}
    ints = [_cost(message, costs) for message in messages]
    free = FREE + unfolded(messages[0], {})[0]
    return Layout(np.array(ints, np.int64), np.array(firsts, np.int64), tags, parts, free)


def _wire_type(field: FieldDescriptor) -> int:
    return _GROUP if field.type == FieldDescriptor.TYPE_GROUP else _BYTES


def _cost(message: Descriptor, costs: dict[str, int]) -> int:
    """Return the cells of a message and of those in its fields, repeated ones without.

    Of a message that becomes text, the room that the library takes for its fields.
    """
    name = message.full_name
    if name not in costs:
        costs[name] = 1 + len(message.fields)
        if not is_text(message):
            inner = [field.message_type for field in message.fields if not is_repeated(field)]
            costs[name] += sum(_cost(part, costs) for part in inner if part is not None)
    return costs[name]


def look(data: Bytes, starts: Ints, sizes: Ints, how: Layout) -> tuple[Ints, dict[int, str]]:
    """Return the cells that each value takes, and what is wrong with some, by row.

    Parameters
    ----------
    data, starts, sizes
        uint8, and where each value lies in it; a size of -1 is none.
    """
    used, wrong = np.zeros((2, len(starts)), np.int64)
    if not how.is_paid:
        stack = np.empty((LEVELS, 3), np.int64)
        _walk(
            data, starts, starts + np.maximum(sizes, 0), how.costs, how.firsts, how.tags,
            how.parts, how.free, stack, used, wrong,
        )  # fmt: skip
    return used + how.costs[0], {int(row): _WRONG[int(wrong[row])] for row in np.flatnonzero(wrong)}


@compiled
def _walk(data, starts, ends, costs, firsts, tags, parts, free, stack, used, wrong):  # type: ignore[no-untyped-def]
    """Fill the cells `used` by the messages in each value, and what is `wrong` with it.

    `stack` is int64, shape (LEVELS, 3): a type, where it ends, and the number of its group or 0.
    """
    data = pointer(data)
    for row in range(len(starts)):
        position, size = starts[row], ends[row] - starts[row]
        most = free + PER_BYTE * size + min(SPARSE_PER_BYTE * size, SPARSE)
        stack[0, 0], stack[0, 1], stack[0, 2], depth = 0, ends[row], 0, 0
        while depth >= 0 and wrong[row] == _FINE:
            kind, end, group = stack[depth]
            if group == 0 and position == end:
                depth -= 1
                continue
            tag, position = varint(data, position, end)
            wire = tag & 7
            if position < 0 or tag < 8 or wire > 5:
                wrong[row] = _CUT
            elif wire == 4:
                wrong[row] = _FINE if tag >> 3 == group else _CUT
                depth -= 1
            else:
                stop = _stop(data, position, end, wire)
                part = _part(tag, firsts[kind], firsts[kind + 1], tags, parts) if kind >= 0 else -1
                if stop < 0:
                    wrong[row] = _CUT
                elif part < 0 and wire != _GROUP:
                    position = stop
                else:
                    used[row] += costs[part] if part >= 0 else 1
                    depth += 1
                    if used[row] > most:
                        wrong[row] = _MANY
                    elif depth == len(stack):
                        wrong[row] = _DEEP
                    else:
                        if wire == _BYTES:
                            position = varint(data, position, end)[1]
                        stack[depth, 0], stack[depth, 1] = part, stop
                        stack[depth, 2] = tag >> 3 if wire == _GROUP else 0


@compiled
def _stop(data, position, end, wire):  # type: ignore[no-untyped-def]
    """Return where a field's content ends, -1 where that is not within `end`.

    Of a group that is `end`: its end is a tag that is still to come.
    """
    if wire == _GROUP:
        return end
    if wire == 0:
        return varint(data, position, end)[1]
    width = np.int64(8 if wire == 1 else 4)
    if wire == _BYTES:
        width, position = varint(data, position, end)
        if position < 0:
            return np.int64(-1)
    return position + width if 0 <= width <= end - position else np.int64(-1)


@compiled
def _part(tag, first, last, tags, parts):  # type: ignore[no-untyped-def]
    """Return the type of the message that a tag of a type begins, -1 where it begins none."""
    while first < last:
        middle = (first + last) >> 1
        if tags[middle] == tag:
            return parts[middle]
        if tags[middle] < tag:
            first = middle + 1
        else:
            last = middle
    return np.int64(_UNKNOWN)
