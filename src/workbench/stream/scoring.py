"""The one Python function of the job: windows of readings in, scores out.

It turns columns into windows `[n, w, c]` and calls `Detector.score`, no more. Which package
scores a reading is a function of its sensor and event time (`promotions.in_force`); what is kept
between calls, the log and the loaded packages, is a cache of files that never change.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyflink.table import DataTypes
from pyflink.table.udf import ScalarFunction
from threadpoolctl import ThreadpoolController

from workbench.detectors import Package, score_windows
from workbench.stream.promotions import BEGINNING, Promotion, find_package, in_force, promotions

Floats = NDArray[np.float64]
_REREAD_S = 5.0  # well below promotions.MARGIN_S
RESULT = DataTypes.ROW(
    [
        DataTypes.FIELD("score", DataTypes.DOUBLE()),
        DataTypes.FIELD("threshold", DataTypes.DOUBLE()),
        DataTypes.FIELD("package", DataTypes.STRING()),
    ]
)


@dataclass(frozen=True)
class Scored:
    """What a reading was scored with: `log` of one role, or one package for all readings.

    Attributes
    ----------
    stream, role
        Whose promotions say which package scores a reading; with `package`, they are not read.
    package
        Id of the one package; empty: by the promotions.
    threshold
        In place of the package's.
    store
        Folder of packages and promotions.
    """

    stream: str
    role: str
    store: str
    package: str = ""
    threshold: float | None = None

    def log(self) -> list[Promotion]:
        """Return the promotions that say which package scores a reading."""
        if self.package:
            return [Promotion(self.stream, self.role, self.package, BEGINNING, "")]
        return promotions(self.stream, self.role, folder=Path(self.store))


class Readings(NamedTuple):
    """The readings of several windows, one after the other.

    Attributes
    ----------
    times_ms, numbers
        Shape (m,), (m, c): event time and channels, NaN where missing.
    lengths, ends
        Shape (n,): readings in each window, and the place behind its newest.
    """

    times_ms: NDArray[np.int64]
    numbers: Floats
    lengths: NDArray[np.int64]
    ends: NDArray[np.int64]


def unpack(past: Iterable[bytes], channels: int) -> Readings:
    """Return the readings that `java/LastReadings` packed.

    Examples
    --------
    >>> one = np.array([7], "<i8").tobytes() + np.array([0.5], "<f8").tobytes()
    >>> unpack([one], 1).numbers
    array([[0.5]])
    """
    packed = list(past)
    joined = b"".join(packed)
    lengths = np.fromiter(map(len, packed), np.int64, len(packed)) // (8 * (1 + channels))
    times_ms = np.frombuffer(joined, "<i8").reshape(-1, 1 + channels)[:, 0]
    numbers = np.frombuffer(joined, "<f8").reshape(-1, 1 + channels)[:, 1:]
    return Readings(times_ms, numbers, lengths, np.cumsum(lengths))


@dataclass
class Scorer:
    """Scores batches of readings by the packages in force.

    Attributes
    ----------
    scored
        Where the packages come from.
    channels
        Names of the channels in a window, in their order.
    """

    scored: Scored
    channels: tuple[str, ...]
    _log: list[Promotion] = field(default_factory=list)
    _read_at: float = -1e9
    _packages: dict[str, Package] = field(default_factory=dict)

    @cached_property
    def _threads(self) -> ThreadpoolController:
        """Keeps BLAS to this thread: its others wait for work by turning, at Flink's expense."""
        return ThreadpoolController()

    def score(
        self, sensors: pd.Series[Any], event_ms: pd.Series[Any], past: pd.Series[Any]
    ) -> pd.DataFrame:
        """Return `score`, `threshold`, `package` of each reading, all NULL where no package holds.

        Parameters
        ----------
        sensors, event_ms
            Sensor and event time of each reading.
        past
            The readings up to it, at most w, newest last, as `java/LastReadings` packs them.
        """
        log = self._promotions()
        holds = in_force(log, sensors.to_numpy(dtype=object), event_ms.to_numpy(dtype=np.int64))
        n = len(holds)
        readings = unpack(past, len(self.channels))
        scores, thresholds = np.full(n, np.nan), np.full(n, np.nan)
        packages = np.full(n, None, dtype=object)
        for position in np.unique(holds[holds >= 0]):
            rows = np.flatnonzero(holds == position)
            one = log[position]
            package = self._package(one.package)
            scores[rows] = self._scores(package, readings, rows)
            thresholds[rows] = self._threshold(one, package)
            packages[rows] = package.id
        return pd.DataFrame({"score": scores, "threshold": thresholds, "package": packages})

    def _threshold(self, one: Promotion, package: Package) -> float:
        for given in (self.scored.threshold, one.threshold):
            if given is not None:
                return given
        return package.threshold

    def _scores(self, package: Package, readings: Readings, rows: NDArray[np.int64]) -> Floats:
        """Return the scores of `rows`, NaN where the window is not full or spans a gap."""
        detector = package.detector
        w = detector.window
        scores = np.full(len(rows), np.nan)
        full = readings.lengths[rows] >= w
        ends = readings.ends[rows[full]]
        if package.max_span_s is not None and len(ends):
            moments = readings.times_ms
            narrow = moments[ends - 1] - moments[ends - w] <= round(package.max_span_s * 1000)
            full[full] = narrow
            ends = ends[narrow]
        if len(ends):
            at = ends[:, np.newaxis] + np.arange(-w, 0)
            picked = [self.channels.index(one) for one in detector.channels]
            with self._threads.limit(limits=1):
                scores[full] = score_windows(detector, readings.numbers[:, picked][at])
        return scores

    def _promotions(self) -> list[Promotion]:
        if time.monotonic() - self._read_at > _REREAD_S:
            self._log, self._read_at = self.scored.log(), time.monotonic()
        return self._log

    def _package(self, package_id: str) -> Package:
        if package_id not in self._packages:
            self._packages[package_id] = find_package(package_id, Path(self.scored.store))
        return self._packages[package_id]


class Score(ScalarFunction):  # type: ignore[misc] # pyflink is untyped
    """`score(sensor, event_ms, past)` in SQL."""

    def __init__(self, scored: Scored, channels: tuple[str, ...]) -> None:
        self._scorer = Scorer(scored, channels)

    def eval(self, *columns: pd.Series[Any]) -> pd.DataFrame:
        """Return one row of RESULT per reading."""
        return self._scorer.score(*columns)
