"""What `auto` chooses from: a few specifications, each good at another kind of fault.

Each is a line of the catalogue with its parameters, for windows of a long and a short length. The
scores of all of them are tail probabilities, so that their mean is one of evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from workbench.detectors.choosing.series import CLOCKS, Series

Spec: TypeAlias = Mapping[str, Any]

LEAST_CALIBRATED = 380  # readings, below which no tail can be learnt
_LONG = (32, 64)  # readings of a long window, at least and at most
_WIDEST = 2048  # readings in a window, all channels together: the matrix products stay affordable
_SHORTER = 4  # times that a short window goes into a long one
_SHARE = 20  # windows of a sensor that do not overlap, at least


def window_lengths(series: Series, most: int) -> tuple[int, int]:
    """Return the long and the short window, from how long readings remember.

    Examples
    --------
    >>> slow = Series(("a",), {}, 60.0, memory=40, readings=10_000, counters=False)
    >>> window_lengths(slow, 64)
    (64, 16)
    """
    long = _LONG[0]
    while long < min(2 * series.memory, _LONG[1]):
        long *= 2
    room = min(most, series.readings // _SHARE, _WIDEST // len(series.kept))
    long = max(1, min(long, room))
    return long, max(1, long // _SHORTER)


def candidates(series: Series, long: int, short: int) -> dict[str, Spec]:
    """Return the specifications to choose from, by what they look for."""
    calm = "differences" if series.counters and short > 1 else "compressed"
    specs: dict[str, Spec] = {
        "patterns not seen before": {
            "name": "knn", "window": short, "features": calm, "n_neighbors": 3, "sample": 1000,
        },
        "readings that do not belong together": {
            "name": "reconstruction", "window": short, "features": calm, "sample": 3000,
        },
        "levels, spreads and slopes": {
            "name": "reconstruction", "window": long, "scale_features": True,
            "features": [f"summary:{max(1, long // 8)}", f"summary:{max(1, long // 2)}"],
        },
        "long patterns": {
            "name": "reconstruction", "window": long, "features": calm, "sample": 2000,
        },
    }  # fmt: skip
    if long == 1:
        specs = {"patterns not seen before": specs["patterns not seen before"]}
    elif short * len(series.kept) == 1:
        del specs["readings that do not belong together"]
    specs |= _shapes(series, short)
    if 2 <= len(series.kept) <= 100:
        newest = 2 if calm == "differences" else 1
        specs["channels that disagree"] = {
            "name": "regression", "window": short, "features": f"{calm}:{newest}",
        }  # fmt: skip
    elif len(series.kept) == 1:
        specs["levels"] = {"name": "robust_z", "window": 1}
    return specs


def _shapes(series: Series, short: int) -> dict[str, Spec]:
    """Return what looks at each channel by itself, in windows of two lengths.

    Of one channel alone the windows of all channels say the same already.
    """
    if len(series.kept) == 1:
        return {}
    least = 3 if series.counters else 2  # a difference less than readings
    plainly = "differences" if series.counters else "raw"
    lengths = {"shapes of a channel": short, "short shapes of a channel": short // 2}
    return {
        what: {"name": "subpca", "window": window, "features": plainly, "sample": 3000}
        for what, window in lengths.items()
        if window >= least
    }


def time_of_day(series: Series) -> dict[str, Spec]:
    """Return what looks at the time of day, where the readings have a clock."""
    if CLOCKS[0] not in series.left_out:
        return {}
    channels = [*series.kept, CLOCKS[0]]
    return {"the time of day": {"name": "seasonal", "window": 1, "channels": channels}}


def plain(series: Series) -> Spec:
    """Return what can be fitted on anything that moves."""
    return {"name": "range", "window": 1, "channels": list(series.kept), "missing": "fill"}
