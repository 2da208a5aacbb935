"""Parse JSON objects whose fields are numbers, strings and booleans, inside compiled code.

A row that needs more (an escaped key, a number with more than 19 digits, a value of another
type, broken JSON) is only marked: `archive.json_values` leaves it to Python's `json`.
Of a repeated key the last counts, as there; fields nobody asked for are stepped over.

Readings of one producer look alike, so the bytes between the values of a row (keys, colons,
commas, spaces) are compared with those of the row before: where they are the same, only the
values are parsed.
"""

from __future__ import annotations

import numpy as np

from workbench.archive.bits import first_byte, load, pointer, same
from workbench.archive.compiled import compiled
from workbench.archive.decimals import number, to_double

LONG, DOUBLE, BOOLEAN, STRING = range(4)  # kinds of fields
NULL, PLAIN, ESCAPED = range(3)  # states of a value
_QUOTE, _BACKSLASH, _COMMA, _COLON = 0x22, 0x5C, 0x2C, 0x3A
_OPEN, _CLOSE, _LIST, _LIST_END = 0x7B, 0x7D, 0x5B, 0x5D
_MOST = 64  # values of an object whose shape is kept
_ONES, _TOPS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)


@compiled
def parse(  # type: ignore[no-untyped-def]
    data, starts, ends, names, bounds, kinds, ints, doubles, state, later
):
    """Fill one column per field, and mark the rows that are left for later.

    Parameters
    ----------
    data, starts, ends
        uint8, and where each of the n objects lies in it.
    names, bounds, kinds
        The k names, one after another, where each ends, and what each is.
    ints
        int64, shape (2, k, n): value (or start of a string), and end of a string.
    doubles
        float64, shape (k, n).
    state
        uint8, shape (k, n): NULL where the field is null or missing.
    later
        uint8, shape (n,): 1 where the row is not parsed.
    """
    shape = np.empty((_MOST + 1, 3), np.int64)
    _parse(data, starts, ends, names, bounds, kinds, ints, doubles, state, later, shape)


@compiled
def _parse(data, starts, ends, names, bounds, kinds, ints, doubles, state, later, shape):  # type: ignore[no-untyped-def]
    fields, n, count = len(kinds), len(starts), 0
    data, names, kinds, bounds = pointer(data), pointer(names), pointer(kinds), pointer(bounds)
    ints, doubles, state = pointer(ints), pointer(doubles), pointer(state)
    shape = pointer(shape)
    for i in range(n):
        at, end = starts[i], ends[i]
        later[i] = 0
        if count and _alike(
            data, at, end, shape, count, kinds, i, n, fields * n, ints, doubles, state
        ):
            continue
        for k in range(fields):
            state[k * n + i] = NULL
        count = _row(data, at, end, shape, names, bounds, fields, kinds, i, n, ints, doubles, state)
        if count < 0:
            later[i], count = 1, 0


@compiled
def _alike(data, at, end, shape, count, kinds, i, n, cells, ints, doubles, state):  # type: ignore[no-untyped-def]
    """Parse an object that has the bytes of an earlier one between its values.

    `shape` holds, for each of its `count` values, where the bytes before it start in `data`, how
    many they are, and the field (-1: nobody's); then the same of the bytes behind the last value.
    Value i of field k is cell k * n + i; where a string ends stands `cells` behind its start.
    """
    for j in range(count):
        size, k = shape[3 * j + 1], shape[3 * j + 2]
        if size >= end - at or not same(data, at, shape[3 * j], size):
            return False
        at += size
        if k < 0:
            at = _skip(data, at, end)
        else:
            at = _value(data, at, end, kinds[k], k * n + i, cells, ints, doubles, state)
        if at < 0:
            return False
    size = shape[3 * count + 1]
    return size == end - at and same(data, at, shape[3 * count], size)


@compiled
def _row(data, at, end, shape, names, bounds, fields, kinds, i, n, ints, doubles, state):  # type: ignore[no-untyped-def]
    """Return how many values the object has, 0 if more than a shape holds, -1 to leave it."""
    last, count = at, 0
    at = _space(data, at, end)
    if at >= end or data[at] != _OPEN:
        return -1
    at = _space(data, at + 1, end)
    if at < end and data[at] == _CLOSE:
        return 0 if _space(data, at + 1, end) == end else -1
    guess = 0
    while True:
        if at >= end or data[at] != _QUOTE:
            return -1
        stop, escaped = _string(data, at + 1, end)
        if stop < 0 or escaped:
            return -1
        k = _find(data, at + 1, stop, names, bounds, fields, guess)
        at = _space(data, stop + 1, end)
        if at >= end or data[at] != _COLON:
            return -1
        at = _space(data, at + 1, end)
        if at >= end:
            return -1
        if count < _MOST:
            shape[3 * count], shape[3 * count + 1] = last, at - last
            shape[3 * count + 2] = k
        count += 1
        if k < 0:
            at = _skip(data, at, end)
        else:
            cell = k * n + i
            at = _value(data, at, end, kinds[k], cell, fields * n, ints, doubles, state)
            guess = k + 1
        if at < 0:
            return -1
        last = at
        at = _space(data, at, end)
        if at >= end:
            return -1
        if data[at] == _CLOSE:
            break
        if data[at] != _COMMA:
            return -1
        at = _space(data, at + 1, end)
    if _space(data, at + 1, end) != end:
        return -1
    if count > _MOST:
        return 0
    shape[3 * count], shape[3 * count + 1] = last, end - last
    return count


@compiled
def _space(data, at, end):  # type: ignore[no-untyped-def]
    while at < end and (data[at] == 32 or data[at] == 10 or data[at] == 13 or data[at] == 9):
        at += 1
    return at


@compiled
def _string(data, at, end):  # type: ignore[no-untyped-def]
    """Return (where the closing quote is or -1, whether anything is escaped)."""
    escaped = False
    while at < end:
        if end - at >= 8:  # eight bytes at once, up to the first that is special
            plain = _plain(load(data, at))
            at += plain
            if plain == 8:
                continue
        byte = data[at]
        if byte == _QUOTE:
            return at, escaped
        if byte < 32:
            return -1, escaped
        if byte == _BACKSLASH:
            escaped = True
            at += 1
        at += 1
    return -1, escaped


@compiled
def _plain(word):  # type: ignore[no-untyped-def]
    """Return how many of eight bytes come before a quote, a backslash or a control character."""
    quote, back = word ^ _ONES * np.uint64(_QUOTE), word ^ _ONES * np.uint64(_BACKSLASH)
    found = ((quote - _ONES) & ~quote) | ((back - _ONES) & ~back)
    found = (found | ((word - _ONES * np.uint64(32)) & ~word)) & _TOPS
    return first_byte(found)


@compiled
def _find(data, start, stop, names, bounds, count, guess):  # type: ignore[no-untyped-def]
    for step in range(count):
        k = (guess + step) % count
        first = bounds[k - 1] if k else 0
        if bounds[k] - first != stop - start:
            continue
        same = True
        for j in range(stop - start):
            if names[first + j] != data[start + j]:
                same = False
                break
        if same:
            return k
    return -1


@compiled
def _literal(data, at, end, word):  # type: ignore[no-untyped-def]
    """Return the position behind `word`, given as its bytes from the last to the first."""
    while word:
        if at >= end or data[at] != word & 0xFF:
            return -1
        word >>= 8
        at += 1
    return at


_TRUE = int.from_bytes(b"true", "little")
_FALSE = int.from_bytes(b"false", "little")
_NULL = int.from_bytes(b"null", "little")


@compiled
def _value(data, at, end, kind, cell, cells, ints, doubles, state):  # type: ignore[no-untyped-def]
    byte = data[at]
    if byte == 0x6E:  # n
        state[cell] = NULL
        return _literal(data, at, end, _NULL)
    if kind == STRING:
        if byte != _QUOTE:
            return -1
        stop, escaped = _string(data, at + 1, end)
        state[cell] = ESCAPED if escaped else PLAIN
        ints[cell], ints[cells + cell] = at + 1, stop
        return stop + 1 if stop >= 0 else -1
    state[cell] = PLAIN
    if kind == BOOLEAN:
        ints[cell] = 1 if byte == 0x74 else 0
        return _literal(data, at, end, _TRUE if byte == 0x74 else _FALSE)
    return _number(data, at, end, kind, cell, ints, doubles)


@compiled
def _number(data, at, end, kind, cell, ints, doubles):  # type: ignore[no-untyped-def]
    negative = data[at] == 0x2D
    w, exponent, whole, at = number(data, at + 1 if negative else at, end)
    if at < 0:
        return at
    if kind == LONG:
        if not whole or w > np.uint64(0x7FFFFFFFFFFFFFFF):
            return -1
        ints[cell] = -np.int64(w) if negative else np.int64(w)
        return at
    value, decided = to_double(w, exponent)
    doubles[cell] = -value if negative else value
    return at if decided else -1


@compiled
def _skip(data, at, end):  # type: ignore[no-untyped-def]
    """Return the position behind a value that nobody asked for, or -1 where it looks broken."""
    depth = 0
    while at < end:
        byte = data[at]
        if byte == _QUOTE:
            at, _ = _string(data, at + 1, end)
            if at < 0:
                return -1
        elif byte in (_OPEN, _LIST):
            depth += 1
        elif byte in (_CLOSE, _LIST_END, _COMMA):
            if depth == 0:
                return at
            depth -= byte != _COMMA
            if depth == 0 and byte != _COMMA:
                return at + 1
        at += 1
    return -1
