"""What is done to every reading of every window, compiled: once through memory each.

NumPy does the same in five to ten passes, each over megabytes, and reduces the middle axis of
(n, w, c) a few channels at a time. The results are NumPy's but for rounding (a few 1e-16 of the
largest reading), whatever the batch.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from workbench.arrays import Floats
from workbench.compiled import compiled

LARGEST = float(np.finfo(np.float64).max)
_AT_ONCE = 512  # values whose logarithm is taken together: they stay in the nearest cache
_BITS = np.uint64(52)  # of a double's fraction; above them is its exponent
_FRACTION = np.uint64((1 << 52) - 1)
_HALF = np.uint64(0x3FE6A09E667F3BCD)  # the double next to sqrt(1/2), as it lies in memory
_WHOLE = np.uint64(0x4330000000000000)  # 2 ** 52: a number put into its fraction is added
_UP = np.uint64(0x3FF0000000000000 - 0x3FE6A09E667F3BCD)  # from sqrt(1/2) to 1
_LN2 = float.fromhex("0x1.62e42fefa0000p-1")  # its first 38 bits, so that small multiples are exact
_LN2_REST = float.fromhex("0x1.cf79abc9e3b3ap-40")


def finite(values: Floats, most: float = LARGEST) -> bool:
    """Return whether all values are numbers of at most this size."""
    return bool(_finite(np.ascontiguousarray(values).reshape(-1), most))


@compiled
def _finite(values: Any, most: float) -> bool:
    for start in range(0, len(values), _AT_ONCE):
        wrong = 0
        for value in values[start : start + _AT_ONCE]:
            wrong += not abs(value) <= most
        if wrong:
            return False
    return True


def scaled(windows: Floats, centre: Floats, spread: Floats, far: float) -> Floats:
    """Return (windows - centre) / spread, (n, w, c), cut at `far` on either side."""
    n, w, c = windows.shape
    into: Floats = np.empty((n, w, c))
    rows = np.ascontiguousarray(windows).reshape(n, w * c)
    _scale(rows, centre, spread, far, into.reshape(n, w * c))
    return into


@compiled
def _scale(x: Any, centres: Any, spreads: Any, far: float, into: Any) -> None:
    centre, spread, c = np.empty(x.shape[1]), np.empty(x.shape[1]), len(centres)
    for j in range(x.shape[1]):  # one long run: a few channels at a time are slow
        centre[j], spread[j] = centres[j % c], spreads[j % c]
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            value = np.divide(x[i, j] - centre[j], spread[j])
            value = far if value > far else value
            into[i, j] = -far if value < -far else value


def arcsinh(values: Floats) -> Floats:
    """Return the area hyperbolic sine of finite values below 1e150, of any shape.

    Notes
    -----
    Source: asinh(x) = log(1 + u) with u = x + x² / (1 + sqrt(1 + x²)), and log(1 + f) by the series
    of atanh(f / (2 + f)) after powers of two are taken out. Within 4 units of the last place.
    """
    into = np.empty(values.shape)
    _arcsinh(np.ascontiguousarray(values).reshape(-1), into.reshape(-1))
    return into


@partial(compiled, fastmath={"contract"})
def _arcsinh(values: Any, into: Any) -> None:
    sums, rests, wholes = np.empty(_AT_ONCE), np.empty(_AT_ONCE), np.empty(_AT_ONCE)
    sum_bits, whole_bits = sums.view(np.uint64), wholes.view(np.uint64)
    for start in range(0, len(values), _AT_ONCE):
        x, sines = values[start : start + _AT_ONCE], into[start : start + _AT_ONCE]
        for i in range(len(x)):  # 1 + u, and what rounding it has lost
            size = abs(x[i])
            u = size + np.divide(size * size, 1.0 + np.sqrt(1.0 + size * size))
            y = 1.0 + u
            rests[i] = np.divide(u - (y - 1.0), y)
            sums[i] = y
        for i in range(len(x)):  # as 2 ** k times m, sqrt(1/2) <= m < sqrt(2)
            bits = sum_bits[i] + _UP
            whole_bits[i] = (bits >> _BITS) | _WHOLE
            sum_bits[i] = (bits & _FRACTION) + _HALF
        for i in range(len(x)):
            k = wholes[i] - 4503599627371519.0  # 2 ** 52, and 1023 of an exponent
            f = sums[i] - 1.0
            s = np.divide(f, 2.0 + f)
            z = s * s
            p = z * (2 / 19 + z * (2 / 21 + z * (2 / 23)))
            p = z * (2 / 11 + z * (2 / 13 + z * (2 / 15 + z * (2 / 17 + p))))
            p = z * (2 / 3 + z * (2 / 5 + z * (2 / 7 + z * (2 / 9 + p))))
            log = k * _LN2 + (f - (s * (f - p) - (k * _LN2_REST + rests[i])))
            sines[i] = np.copysign(log, x[i])


def summary(windows: Floats) -> Floats:
    """Return mean, deviation, least, largest, newest and slope per channel, (n, 6 * c)."""
    n, w, c = windows.shape
    x = np.arange(w) - (w - 1) / 2
    into = np.empty((n, 6, c))
    _summary(np.ascontiguousarray(windows), x / max(float((x * x).sum()), 1.0), into)
    return into.reshape(n, 6 * c)


@compiled
def _summary(windows: Any, weights: Any, into: Any) -> None:
    n, w, c = windows.shape
    for i in range(n):
        for channel in range(c):
            first = windows[i, 0, channel]
            total, slope, low, high = 0.0, 0.0, first, first
            for j in range(w):
                value = windows[i, j, channel]
                total += value
                slope += value * weights[j]
                low, high = min(low, value), max(high, value)
            mean, squares = total / w, 0.0
            for j in range(w):
                less = windows[i, j, channel] - mean
                squares += less * less
            into[i, 0, channel], into[i, 1, channel] = mean, np.sqrt(squares / w)
            into[i, 2, channel], into[i, 3, channel] = low, high
            into[i, 4, channel], into[i, 5, channel] = windows[i, w - 1, channel], slope
