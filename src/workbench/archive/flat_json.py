"""Parse JSON objects whose fields are numbers, strings and booleans, inside compiled code.

A row that needs more (an escaped key, a number with more than 19 digits, a value of another
type, broken JSON) is only marked: `archive.json_values` leaves it to Python's `json`.
Of a repeated key the last counts, as there; fields nobody asked for are stepped over.
"""

from __future__ import annotations

import numpy as np

from workbench.archive.compiled import compiled
from workbench.archive.decimals import to_double

LONG, DOUBLE, BOOLEAN, STRING = range(4)  # kinds of fields
NULL, PLAIN, ESCAPED = range(3)  # states of a value
_QUOTE, _BACKSLASH, _COMMA, _COLON = 0x22, 0x5C, 0x2C, 0x3A
_OPEN, _CLOSE, _LIST, _LIST_END = 0x7B, 0x7D, 0x5B, 0x5D


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
    for i in range(len(starts)):
        for k in range(len(kinds)):
            state[k, i] = NULL
        done = _row(data, starts[i], ends[i], names, bounds, kinds, ints, doubles, state, i)
        later[i] = 0 if done else 1


@compiled
def _row(data, at, end, names, bounds, kinds, ints, doubles, state, i):  # type: ignore[no-untyped-def]
    at = _space(data, at, end)
    if at >= end or data[at] != _OPEN:
        return False
    at = _space(data, at + 1, end)
    if at < end and data[at] == _CLOSE:
        return _space(data, at + 1, end) == end
    guess = 0
    while True:
        if at >= end or data[at] != _QUOTE:
            return False
        stop, escaped = _string(data, at + 1, end)
        if stop < 0 or escaped:
            return False
        k = _find(data, at + 1, stop, names, bounds, guess)
        at = _space(data, stop + 1, end)
        if at >= end or data[at] != _COLON:
            return False
        at = _space(data, at + 1, end)
        if at >= end:
            return False
        if k < 0:
            at = _skip(data, at, end)
        else:
            at = _value(data, at, end, kinds[k], k, i, ints, doubles, state)
            guess = k + 1
        if at < 0:
            return False
        at = _space(data, at, end)
        if at >= end:
            return False
        if data[at] == _CLOSE:
            return _space(data, at + 1, end) == end
        if data[at] != _COMMA:
            return False
        at = _space(data, at + 1, end)


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
def _find(data, start, stop, names, bounds, guess):  # type: ignore[no-untyped-def]
    count = len(bounds)
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
def _value(data, at, end, kind, k, i, ints, doubles, state):  # type: ignore[no-untyped-def]
    byte = data[at]
    if byte == 0x6E:  # n
        state[k, i] = NULL
        return _literal(data, at, end, _NULL)
    if kind == STRING:
        if byte != _QUOTE:
            return -1
        stop, escaped = _string(data, at + 1, end)
        state[k, i] = ESCAPED if escaped else PLAIN
        ints[0, k, i], ints[1, k, i] = at + 1, stop
        return stop + 1 if stop >= 0 else -1
    state[k, i] = PLAIN
    if kind == BOOLEAN:
        ints[0, k, i] = 1 if byte == 0x74 else 0
        return _literal(data, at, end, _TRUE if byte == 0x74 else _FALSE)
    return _number(data, at, end, kind, k, i, ints, doubles)


@compiled
def _number(data, at, end, kind, k, i, ints, doubles):  # type: ignore[no-untyped-def]
    negative = data[at] == 0x2D
    if negative:
        at += 1
    first = at
    w, at = _digits(data, at, end, np.uint64(0))
    digits = at - first
    if digits == 0 or (digits > 1 and data[first] == 0x30):
        return -1
    exponent = np.int64(0)
    if at < end and data[at] == 0x2E:
        point = at + 1
        w, at = _digits(data, point, end, w)
        exponent = point - at
        digits -= exponent
        if exponent == 0:
            return -1
        if digits > 19:  # zeros in front do not count
            while first < at and (data[first] == 0x30 or data[first] == 0x2E):
                digits -= data[first] == 0x30
                first += 1
    whole = exponent == 0
    if at < end and (data[at] | 0x20) == 0x65:
        whole = False
        power, at = _power(data, at + 1, end)
        if at < 0:
            return -1
        exponent += power
    if digits > 19:
        return -1
    if kind == LONG:
        if not whole or w > np.uint64(0x7FFFFFFFFFFFFFFF):
            return -1
        ints[0, k, i] = -np.int64(w) if negative else np.int64(w)
        return at
    value, decided = to_double(w, exponent)
    doubles[k, i] = -value if negative else value
    return at if decided else -1


@compiled
def _digits(data, at, end, w):  # type: ignore[no-untyped-def]
    while at < end and 0x30 <= data[at] <= 0x39:
        w = w * np.uint64(10) + np.uint64(data[at] - 0x30)
        at += 1
    return w, at


@compiled
def _power(data, at, end):  # type: ignore[no-untyped-def]
    sign = 1
    if at < end and (data[at] == 0x2D or data[at] == 0x2B):
        sign = -1 if data[at] == 0x2D else 1
        at += 1
    first, power = at, np.int64(0)
    while at < end and 0x30 <= data[at] <= 0x39 and at - first < 6:
        power = power * 10 + np.int64(data[at] - 0x30)
        at += 1
    return sign * power, (at if at > first else -1)


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


@compiled
def copy_strings(data, starts, ends, state, offsets, out):  # type: ignore[no-untyped-def]
    """Copy strings into `out`, escapes undone; offsets[i + 1] is where string i ends.

    Returns the row whose escapes are broken, or -1.
    """
    at = 0
    for i in range(len(starts)):
        if state[i] == PLAIN:
            for k in range(starts[i], ends[i]):
                out[at] = data[k]
                at += 1
        elif state[i] == ESCAPED:
            at = _unescape(data, starts[i], ends[i], out, at)
            if at < 0:
                return i
        offsets[i + 1] = at
    return -1


@compiled
def _unescape(data, k, end, out, at):  # type: ignore[no-untyped-def]
    while k < end:
        byte = data[k]
        k += 1
        if byte != _BACKSLASH:
            out[at] = byte
            at += 1
            continue
        byte = data[k]
        k += 1
        if byte == 0x75:  # u
            code, k = _hex(data, k, end)
            if 0xD800 <= code < 0xDC00 and k + 1 < end and data[k] == 0x5C and data[k + 1] == 0x75:
                low, after = _hex(data, k + 2, end)
                if 0xDC00 <= low < 0xE000:
                    code, k = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00), after
            if code < 0 or 0xD800 <= code < 0xE000:
                return -1
            at = _utf8(code, out, at)
            continue
        plain = _escape(byte)
        if plain < 0:
            return -1
        out[at] = plain
        at += 1
    return at


@compiled
def _escape(byte):  # type: ignore[no-untyped-def]
    if byte == 0x22 or byte == 0x5C or byte == 0x2F:
        return np.int64(byte)
    if byte == 0x62:
        return np.int64(8)
    if byte == 0x66:
        return np.int64(12)
    if byte == 0x6E:
        return np.int64(10)
    if byte == 0x72:
        return np.int64(13)
    return np.int64(9) if byte == 0x74 else np.int64(-1)


@compiled
def _hex(data, k, end):  # type: ignore[no-untyped-def]
    if end - k < 4:
        return np.int64(-1), k
    code = np.int64(0)
    for j in range(k, k + 4):
        byte = np.int64(data[j])
        if 0x30 <= byte <= 0x39:
            code = code * 16 + byte - 0x30
        elif 0x61 <= byte | 0x20 <= 0x66:
            code = code * 16 + (byte | 0x20) - 0x61 + 10
        else:
            return np.int64(-1), k
    return code, k + 4


@compiled
def _utf8(code, out, at):  # type: ignore[no-untyped-def]
    if code < 0x80:
        out[at] = code
        return at + 1
    if code < 0x800:
        out[at], out[at + 1] = 0xC0 | code >> 6, 0x80 | code & 0x3F
        return at + 2
    if code < 0x10000:
        out[at], out[at + 1] = 0xE0 | code >> 12, 0x80 | code >> 6 & 0x3F
        out[at + 2] = 0x80 | code & 0x3F
        return at + 3
    out[at], out[at + 1] = 0xF0 | code >> 18, 0x80 | code >> 12 & 0x3F
    out[at + 2], out[at + 3] = 0x80 | code >> 6 & 0x3F, 0x80 | code & 0x3F
    return at + 4
