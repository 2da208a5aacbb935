"""What an estimator sees of a window: declared by name, stateless, one row per window.

A specification names one feature set or several, each on the whole window or, after a colon, on
its last readings: `raw`, `summary:16`, `["centred", "summary:8", "summary:32"]`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from workbench.arrays import Floats
from workbench.detectors.methods import passes
from workbench.errors import DetectorError, did_you_mean

_MOST = 20  # feature sets of a window
_TINY = 1e-9  # of a channel's scale: a window that varies less is flat


def raw(windows: Floats) -> Floats:
    """Return the readings themselves, (n, w * c)."""
    return windows.reshape(len(windows), -1)


def compressed(windows: Floats) -> Floats:
    """Return the area hyperbolic sine of the readings, (n, w * c): far ones come nearer.

    Up to a training deviation or so a reading stays as it is, beyond it counts as its logarithm.
    """
    return raw(passes.arcsinh(windows))


def centred(windows: Floats) -> Floats:
    """Return the readings less their window's mean per channel: shape without level."""
    return raw(windows - windows.mean(axis=1, keepdims=True))


def znormalised(windows: Floats) -> Floats:
    """Return centred readings over their window's deviation: shape without level or size.

    A flat window gives zeros.
    """
    less = windows - windows.mean(axis=1, keepdims=True)
    deviation = windows.std(axis=1, keepdims=True)
    flat = deviation < _TINY
    return raw(np.where(flat, 0.0, less / np.where(flat, 1.0, deviation)))


def differences(windows: Floats) -> Floats:
    """Return the steps between neighbouring readings, (n, (w - 1) * c)."""
    return raw(np.diff(windows, axis=1))


def newest(windows: Floats) -> Floats:
    """Return the newest reading, (n, c)."""
    return windows[:, -1, :]


def mean(windows: Floats) -> Floats:
    """Return the mean of the readings per channel, (n, c)."""
    found: Floats = windows.mean(axis=1)
    return found


def summary(windows: Floats) -> Floats:
    """Return mean, deviation, least, largest, newest and slope per channel, (n, 6 * c)."""
    return passes.summary(windows)


def spectrum(windows: Floats) -> Floats:
    """Return the amplitude at each frequency but zero, (n, (w // 2) * c)."""
    w = windows.shape[1]
    less = windows - windows.mean(axis=1, keepdims=True)
    return raw(np.abs(np.fft.rfft(less, axis=1))[:, 1:, :] * (2 / w))


FEATURES: dict[str, Callable[[Floats], Floats]] = {
    "raw": raw,
    "compressed": compressed,
    "centred": centred,
    "znormalised": znormalised,
    "differences": differences,
    "newest": newest,
    "mean": mean,
    "summary": summary,
    "spectrum": spectrum,
}


SHAPES = ("znormalised",)  # the same of a window and of one twice as large


def parse_features(asked: object, window: int) -> list[tuple[str, int]]:
    """Return the feature sets asked for, as (name, readings).

    Examples
    --------
    >>> parse_features(["raw", "summary:16"], 64)
    [('raw', 64), ('summary', 16)]
    """
    names = [asked] if isinstance(asked, str) else asked
    if not isinstance(names, Sequence) or not names or not all(isinstance(n, str) for n in names):
        raise DetectorError(f"features are {asked!r}, expected a name or a list of names")
    if len(names) > _MOST:
        raise DetectorError(f"{len(names)} feature sets are asked for, at most {_MOST}")
    return [_parse_one(name, window) for name in names]


@functools.lru_cache(1024)
def _parse_one(asked: str, window: int) -> tuple[str, int]:
    name, colon, length = asked.partition(":")
    if name not in FEATURES:
        raise DetectorError(f"no features {name!r}", hint=did_you_mean(name, FEATURES))
    number = length.isascii() and length.isdigit() and len(length) <= 6
    readings = int(length) if number else (0 if colon else window)
    least = 2 if name in {"differences", "spectrum"} else 1
    if not least <= readings <= window:
        raise DetectorError(f"features {asked!r} are asked for, of {least} to {window} readings")
    return name, readings


def features(windows: Floats, asked: Sequence[tuple[str, int]]) -> Floats:
    """Return the declared features of (n, w, c) windows, one row each."""
    parts = [FEATURES[name](windows[:, -readings:, :]) for name, readings in asked]
    return np.ascontiguousarray(parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1))
