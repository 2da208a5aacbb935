"""The contract between training, backtest and stream: what a detector is, and nothing more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from workbench.arrays import Bools, Floats
from workbench.detectors.methods.passes import finite
from workbench.errors import DetectorError


@runtime_checkable
class Detector(Protocol):
    """A frozen, pure function from windows to scores.

    No state, no clock, no randomness: a score depends on its own window only, not on the other
    windows of the batch nor on the order of calls.

    Attributes
    ----------
    window
        w, readings per window, the newest last.
    channels
        The c measured quantities, in the order of the last axis.

    Notes
    -----
    A detector may also have `takes_missing` (bool, False where absent): whether it scores
    windows that hold NaN. One that judges each sensor against its own level has `levels`, and is
    asked by `score_windows` with the sensors only (`Fitted`). One that judges steady windows alone
    has `states`, which `score_windows` asks.
    """

    @property
    def window(self) -> int:
        """Readings per window."""

    @property
    def channels(self) -> tuple[str, ...]:
        """The measured quantities, in order."""

    def score(self, windows: Floats, /) -> Floats:
        """Return one score per window, (n, w, c) to (n,); higher is more anomalous."""


def checked_windows(detector: Detector, windows: Floats) -> Floats:
    """Return `windows` as contiguous float64, refused if `detector` cannot score them.

    Raises
    ------
    DetectorError
        On another shape than (n, w, c), on infinities, and on NaN unless the detector takes
        missing values.
    """
    windows = np.ascontiguousarray(windows, dtype=np.float64)
    w, c = detector.window, len(detector.channels)
    if windows.ndim != 3 or windows.shape[1:] != (w, c):
        raise DetectorError(f"windows have shape {windows.shape}, expected (n, {w}, {c})")
    if finite(windows):
        return windows
    missing = getattr(detector, "takes_missing", False)
    bad = np.isinf(windows) if missing else ~np.isfinite(windows)
    if bad.any():
        n, _, channel = (int(positions[0]) for positions in np.nonzero(bad))
        raise DetectorError(
            f"window {n} holds {windows[bad][0]} in channel {detector.channels[channel]}",
            hint="leave such windows out, as score_windows does, or fit with missing: fill",
        )
    return windows


def score_windows(
    detector: Detector, windows: Floats, sensors: Iterable[object] | None = None
) -> Floats:
    """Return the scores of (n, w, c) windows, NaN for those that `detector` does not take.

    The one place that decides it, for batch and stream alike: what is not finite is missing, and
    a window with a missing value has no score unless the detector takes them; of a detector with
    `level: sensor`, a window of a sensor without a level has none either, and with `steady` none
    that reaches across a change of state.

    Parameters
    ----------
    sensors
        Shape (n,): whose windows they are, by name; asked for by `level: sensor` alone.

    Raises
    ------
    DetectorError
        If the detector levels sensors, and none are given; or for what `score` raises.

    Examples
    --------
    >>> class Newest:
    ...     window, channels = 2, ("flow",)
    ...     def score(self, windows):
    ...         return windows[:, -1, 0]
    >>> score_windows(Newest(), np.array([[[1.0], [2.0]], [[np.nan], [2.0]]]))
    array([ 2., nan])
    """
    windows, fine = _whole(windows)
    if getattr(detector, "levels", None) is not None:
        return _on_level(detector, windows, sensors)
    if getattr(detector, "takes_missing", False):
        fine[:] = True
    states = getattr(detector, "states", None)
    if states is not None:
        fine &= states.steady(windows)
    if fine.all():
        return detector.score(windows)
    scores: Floats = np.full(len(windows), np.nan)
    if fine.any():
        scores[fine] = detector.score(windows[fine])
    return scores


def _whole(windows: Floats) -> tuple[Floats, Bools]:
    """Return windows with NaN for what is not finite, and which hold none."""
    windows = np.ascontiguousarray(windows, dtype=np.float64)
    if finite(windows):
        return windows, np.ones(len(windows), dtype=np.bool_)
    bad = ~np.isfinite(windows)
    return np.where(bad, np.nan, windows), ~bad.any(axis=tuple(range(1, windows.ndim)))


def _on_level(detector: Any, windows: Floats, sensors: Iterable[object] | None) -> Floats:
    has, _, leveled = detector.leveled(windows, sensors)
    scores: Floats = np.full(len(windows), np.nan)
    scores[has] = score_windows(detector.bare, leveled)
    return scores


State: TypeAlias = dict[str, NDArray[Any]]
"""What a fitted method remembers: arrays by name, nothing else."""
