"""Copy JSON strings with their escapes undone, inside compiled code."""

from __future__ import annotations

import numpy as np

from workbench.archive.bits import pointer
from workbench.archive.compiled import compiled
from workbench.archive.flat_json import ESCAPED, PLAIN

_BACKSLASH = 0x5C


@compiled
def copy_strings(data, starts, ends, state, offsets, out):  # type: ignore[no-untyped-def]
    """Copy strings into `out`, escapes undone; offsets[i + 1] is where string i ends.

    Returns the row whose escapes are broken, or -1.
    """
    at, data, out = 0, pointer(data), pointer(out)
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
