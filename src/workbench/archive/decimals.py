"""Parse decimal numbers to the nearest double, inside compiled code.

The result is the one that correct rounding gives, bit for bit, or "undecided" (more than 19
digits, subnormal, or too near the middle of two doubles), which the caller leaves to Python.

Source: Lemire (2021), Number Parsing at a Gigabyte per Second, and its fast_float,
`compute_float`; Clinger (1990) for numbers of few digits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.archive.compiled import compiled

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


_FIVES = _powers_of_five()
_TENS = 10.0 ** np.arange(23)  # exact


@compiled
def multiply(a, b):  # type: ignore[no-untyped-def]
    """Return (high, low) of the 128-bit product of two uint64."""
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    a1, a0, b1, b0 = a >> half, a & mask, b >> half, b & mask
    low, mid1, mid2 = a0 * b0, a1 * b0, a0 * b1
    carry = (low >> half) + (mid1 & mask) + (mid2 & mask)
    return a1 * b1 + (mid1 >> half) + (mid2 >> half) + (carry >> half), a * b


@compiled
def leading_zeros(value):  # type: ignore[no-untyped-def]
    """Return how many of the 64 bits of a uint64 > 0 are zero before the first one."""
    count = np.uint64(0)
    for shift in (32, 16, 8, 4, 2, 1):
        if value >> np.uint64(64 - shift) == 0:
            value <<= np.uint64(shift)
            count += np.uint64(shift)
    return count


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
    one = np.uint64(1)
    zeros = leading_zeros(w)
    w <<= zeros
    high, low = multiply(w, _FIVES[q - _SMALLEST, 0])
    if high & np.uint64(0x1FF) == np.uint64(0x1FF):
        more, _ = multiply(w, _FIVES[q - _SMALLEST, 1])
        low += more
        if more > low:
            high += one
    if low == np.uint64(0xFFFFFFFFFFFFFFFF) and (q < -27 or q > 55):
        return 0.0, False
    upper = high >> np.uint64(63)
    shift = upper + np.uint64(64 - 52 - 3)
    mantissa = high >> shift
    exponent = ((152170 + 65536) * q >> 16) + 63 + np.int64(upper) - np.int64(zeros) + 1023
    if exponent <= 0:
        return 0.0, False
    tie = low <= one and -4 <= q <= 23 and mantissa & np.uint64(3) == one
    if tie and mantissa << shift == high:
        mantissa &= ~one
    mantissa = (mantissa + (mantissa & one)) >> one
    if mantissa >= np.uint64(1 << 53):
        mantissa = np.uint64(1 << 52)
        exponent += 1
    if exponent >= 0x7FF:
        return 0.0, False
    bits = mantissa & ~np.uint64(1 << 52) | np.uint64(exponent) << np.uint64(52)
    return np.uint64(bits).view(np.float64), True
