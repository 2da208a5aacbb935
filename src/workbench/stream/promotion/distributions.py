"""How far the channels have moved since training: the gate's measure, and that of `drift`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from workbench.detectors import Package
from workbench.errors import StreamError, WorkbenchError
from workbench.stream.definition.stream_file import Stream
from workbench.stream.promotion.checks import span_ms
from workbench.stream.promotion.proof import with_derived
from workbench.stream.promotion.verdicts import Finding, limited
from workbench.stream.running import originals
from workbench.times import iso


def drift(
    stream: Stream,
    package: Package,
    frame: pd.DataFrame,
    archive: str | originals.Origin | None = None,
) -> Finding:
    """How far the channels have moved since training."""
    name, most = "drift since training", stream.gate.drift
    try:
        before = training_readings(stream, package, originals.readable(stream, archive))
    except WorkbenchError as error:
        return Finding(name, None if most is None else False, f"not known: {error.message}")
    moved = moves(package, before, with_derived(stream, frame))
    worst = max(moved, key=moved.__getitem__)
    return limited(name, moved[worst], most, f"{{:.2f}} in {worst}", "{:.2f}")


def training_readings(stream: Stream, package: Package, archive: originals.Origin) -> pd.DataFrame:
    """Return the archive's readings of the span that a package was fitted on, derived ones too.

    Raises
    ------
    StreamError
        If the package does not say which they are, or the archive has none of them (any more).
    """
    fitted = span_ms(package.training)
    if fitted is None:
        raise StreamError("the package does not say what it was fitted on")
    before = originals.readings(stream, archive, iso(fitted[0]), iso(fitted[1]))
    if not len(before):
        raise StreamError(
            f"the archive has no readings of {iso(fitted[0])} to {iso(fitted[1])}, "
            "which the package was fitted on"
        )
    return with_derived(stream, before)


def moves(package: Package, before: pd.DataFrame, after: pd.DataFrame) -> dict[str, float]:
    """Return how far each channel of a package has moved between two spans, by `moved_by`."""
    channels = package.detector.channels
    return {channel: moved_by(before[channel], after[channel]) for channel in channels}


def moved_by(before: pd.Series, after: pd.Series) -> float:
    """Return the largest difference between two cumulative distributions, 0 to 1.

    Notes
    -----
    Source: the two-sample Kolmogorov-Smirnov statistic. Missing values are left out; with none
    left on one side it is 1.

    Examples
    --------
    >>> moved_by(pd.Series([1.0, 2.0, 3.0, 4.0]), pd.Series([3.0, 4.0, 5.0, 6.0]))
    0.5
    """
    first, other = (np.sort(values.dropna().to_numpy(dtype=float)) for values in (before, after))
    if not len(first) or not len(other):
        return 1.0
    points = np.concatenate([first, other])
    shares = (np.searchsorted(each, points, side="right") / len(each) for each in (first, other))
    return float(np.max(np.abs(np.subtract(*shares))))


__all__ = ["drift", "moved_by", "moves", "training_readings"]
