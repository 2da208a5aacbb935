"""Parse decimal numbers to the nearest double, inside compiled code.

A double takes most of the time of a reading, and the nearest one is what every other reader of
the same bytes (Java, Python, Flink) has: one bit less, and a notebook and a job disagree.

The result is the one that correct rounding gives, bit for bit, or "undecided" (more than 19
digits, subnormal, or too near the middle of two doubles), which the caller leaves to Python.

Source: Lemire (2021), Number Parsing at a Gigabyte per Second, and its fast_float,
`compute_float`, `parse_eight_digits_unrolled`; Clinger (1990) for numbers of few digits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.archive.format.bits import (
    first_byte,
    leading_zeros,
    load,
    multiply,
)
from workbench.compiled import compiled

_SMALLEST, _LARGEST = -342, 308


def _powers_of_five() -> NDArray[np.uint64]:
    """Return the 128 leading bits (high, low) of 5 ** q, q from -342 to 308."""
    rows = []
    for q in range(_SMALLEST, _LARGEST + 1):
        if q < 0:
            power = 5**-q
            bits = power.bit_length() - (power & (power - 1) == 0)
            scaled = (1 << (bits + 127 if q >= -27 else 2 * bits + 128)) // power + 1
        else:
            scaled = 5**q << 128
        scaled >>= max(scaled.bit_length() - 128, 0)
        rows.append((scaled >> 64, scaled & (1 << 64) - 1))
    return np.array(rows, dtype=np.uint64)


_ONE = np.uint64(1)
_FIVES = _powers_of_five()
_TENS = 10.0 ** np.arange(23)  # exact
_WHOLE_TENS = np.array([10**i for i in range(9)], np.uint64)
_HIGH, _SIXES = np.uint64(0xF0F0F0F0F0F0F0F0), np.uint64(0x0606060606060606)
_THREES = np.uint64(0x3333333333333333)


@compiled
def number(data, position, end):  # type: ignore[no-untyped-def]
    """Return (w, q, whether it is whole, next position) of a JSON number without its sign.

    Its value is w * 10 ** q. The position is -1 where it is no number, or has over 19 digits.
    """
    first = position
    w, position = _digits(data, position, end, np.uint64(0))
    digits = position - first
    exponent, whole, bad = np.int64(0), True, np.int64(-1)
    if digits == 0 or (digits > 1 and data[first] == 0x30):
        return w, exponent, whole, bad
    if position < end and data[position] == 0x2E:
        point = position + 1
        w, position = _digits(data, point, end, w)
        exponent, whole = point - position, False
        digits -= exponent
        if exponent == 0:
            return w, exponent, whole, bad
        if digits > 19:  # zeros in front do not count
            while first < position and (data[first] == 0x30 or data[first] == 0x2E):
                digits -= data[first] == 0x30
                first += 1
    if position < end and (data[position] | 0x20) == 0x65:
        power, position = _power(data, position + 1, end)
        exponent, whole = exponent + power, False
    return w, exponent, whole, (position if digits <= 19 else bad)


@compiled
def _digits(data, position, end, w):  # type: ignore[no-untyped-def]
    """Return (w with the digits at `position` behind its own, next position), eight at a time."""
    while end - position >= 8:
        word = load(data, position)
        # the high half of a digit is 3, also after adding 6
        other = (word & _HIGH) | ((word + _SIXES) & _HIGH) >> np.uint64(4)
        count = first_byte(other ^ _THREES)
        if count == 0:
            return w, position
        w = w * _WHOLE_TENS[count] + _eight(word << np.uint64(64 - 8 * count))
        position += count
        if count < 8:
            return w, position
    while position < end and 0x30 <= data[position] <= 0x39:
        w = w * np.uint64(10) + np.uint64(data[position] - 0x30)
        position += 1
    return w, position


@compiled
def _eight(word):  # type: ignore[no-untyped-def]
    """Return the number that eight digits make; bytes of zero are digits of zero."""
    word &= np.uint64(0x0F0F0F0F0F0F0F0F)
    word = (word * np.uint64(2561) >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
    word = (word * np.uint64(6553601) >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
    return word * np.uint64(42949672960001) >> np.uint64(32)


@compiled
def _power(data, position, end):  # type: ignore[no-untyped-def]
    sign = 1
    if position < end and (data[position] == 0x2D or data[position] == 0x2B):
        sign = -1 if data[position] == 0x2D else 1
        position += 1
    first, power = position, np.int64(0)
    while position < end and 0x30 <= data[position] <= 0x39 and position - first < 6:
        power = power * 10 + np.int64(data[position] - 0x30)
        position += 1
    return sign * power, (position if position > first else np.int64(-1))


@compiled
def to_double(w, q):  # type: ignore[no-untyped-def]
    """Return (w * 10 ** q, whether it is decided) for a uint64 w and an integer q."""
    if w == np.uint64(0):
        return 0.0, True
    if w <= np.uint64(1 << 53) and -22 <= q <= 22:
        return (np.float64(w) / _TENS[-q] if q < 0 else np.float64(w) * _TENS[q]), True
    if q < _SMALLEST or q > _LARGEST:
        return 0.0, False
    return _lemire(w, q)


@compiled
def _lemire(w, q):  # type: ignore[no-untyped-def]
    zeros = leading_zeros(w)
    w <<= zeros
    high, low = multiply(w, _FIVES[q - _SMALLEST, 0])
    if high & np.uint64(0x1FF) == np.uint64(0x1FF):
        more, _ = multiply(w, _FIVES[q - _SMALLEST, 1])
        low += more
        if more > low:
            high += _ONE
    if low == np.uint64(0xFFFFFFFFFFFFFFFF) and (q < -27 or q > 55):
        return 0.0, False
    upper = high >> np.uint64(63)
    shift = upper + np.uint64(64 - 52 - 3)
    mantissa = high >> shift
    exponent = ((152170 + 65536) * q >> 16) + 63 + np.int64(upper) - np.int64(zeros) + 1023
    if exponent <= 0:
        return 0.0, False
    tie = low <= _ONE and -4 <= q <= 23 and mantissa & np.uint64(3) == _ONE
    if tie and mantissa << shift == high:
        mantissa &= ~_ONE
    mantissa = (mantissa + (mantissa & _ONE)) >> _ONE
    if mantissa >= np.uint64(1 << 53):
        mantissa = np.uint64(1 << 52)
        exponent += 1
    if exponent >= 0x7FF:
        return 0.0, False
    bits = mantissa & ~np.uint64(1 << 52) | np.uint64(exponent) << np.uint64(52)
    return np.uint64(bits).view(np.float64), True
