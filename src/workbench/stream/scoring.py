"""Which package scores which reading, and its scores: the same for the job and for a function.

Which package scores a reading is a function of its sensor and event time (`promotions.in_force`);
what is kept between calls, the log and the loaded packages, is a cache of files that never change.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import ThreadpoolController

from workbench.arrays import Floats, Ints, Objects
from workbench.detectors import Contribution, Package, contributions, score_windows
from workbench.stream.promotion_log import (
    BEGINNING,
    Promotion,
    find_package,
    in_force,
    promotions,
)

_REREAD_S = 5.0  # well below promotions.MARGIN_S


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

    times_ms: Ints
    numbers: Floats
    lengths: Ints
    ends: Ints


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


def window_scores(
    package: Package,
    channels: tuple[str, ...],
    readings: Readings,
    rows: Ints,
    sensors: Sequence[object] | Objects,
) -> Floats:
    """Return the scores of some windows, NaN where one is not full or spans a gap.

    Parameters
    ----------
    channels
        Names of the channels in `readings`, in their order.
    rows
        Which of its windows.
    sensors
        Whose each of these is, (len(rows),).
    """
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
        places = ends[:, np.newaxis] + np.arange(-w, 0)
        picked = [channels.index(channel) for channel in detector.channels]
        whose = None if detector.levels is None else np.asarray(sensors, dtype=object)[full]
        scores[full] = score_windows(detector, readings.numbers[:, picked][places], whose)
    return scores


def reading_contributions(
    package: Package, channels: tuple[str, ...], numbers: Floats, sensor: str
) -> tuple[Contribution, ...]:
    """Return what each channel has in the score of the newest reading of one sensor.

    Parameters
    ----------
    channels
        Names of the channels in `numbers`, in their order.
    numbers
        Shape (m, c), of the readings up to it; of fewer than a window there are none.
    sensor
        Its name.
    """
    detector = package.detector
    if len(numbers) < detector.window:
        return ()
    picked = [channels.index(channel) for channel in detector.channels]
    return contributions(detector, numbers[np.newaxis, -detector.window :, picked], [sensor])[0]


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

        And, where the score is above the threshold, the readings up to it (`above_past`): of these
        alarms open and have their peak, which `explained` explains. `unleveled`: there is no score
        because the sensor has no level.

        Parameters
        ----------
        sensors, event_ms
            Sensor and event time of each reading.
        past
            The readings up to it, at most w, newest last, as `java/LastReadings` packs them.
        """
        log = self._promotions()
        names = sensors.to_numpy(dtype=object)
        holds = in_force(log, names, event_ms.to_numpy(dtype=np.int64))
        n = len(holds)
        readings = unpack(past, len(self.channels))
        scores, thresholds = np.full(n, np.nan), np.full(n, np.nan)
        packages, unleveled = np.full(n, None, dtype=object), np.zeros(n, dtype=np.bool_)
        for position in np.unique(holds[holds >= 0]):
            rows = np.flatnonzero(holds == position)
            promotion = log[position]
            package = self._package(promotion.package)
            with self._threads.limit(limits=1):
                scores[rows] = window_scores(package, self.channels, readings, rows, names[rows])
            if package.detector.levels is not None:
                unleveled[rows] = ~package.detector.levels.has(names[rows])
            thresholds[rows] = self._threshold(promotion, package)
            packages[rows] = package.id
        kept, above = np.full(n, None, dtype=object), scores > thresholds
        kept[above] = past.to_numpy(dtype=object)[above]
        return pd.DataFrame(
            {
                "score": scores,
                "threshold": thresholds,
                "package": packages,
                "above_past": kept,
                "unleveled": unleveled,
            }
        )

    def explained(self, package: str, past: bytes, sensor: str) -> tuple[Contribution, ...]:
        """Return what each channel has in the score of the newest of a sensor's packed readings."""
        numbers = unpack([past], len(self.channels)).numbers
        return reading_contributions(self._package(package), self.channels, numbers, sensor)

    def _threshold(self, promotion: Promotion, package: Package) -> float:
        for given in (self.scored.threshold, promotion.threshold):
            if given is not None:
                return given
        return package.threshold

    def _promotions(self) -> list[Promotion]:
        if time.monotonic() - self._read_at > _REREAD_S:
            self._log, self._read_at = self.scored.log(), time.monotonic()
        return self._log

    def _package(self, package_id: str) -> Package:
        if package_id not in self._packages:
            self._packages[package_id] = find_package(package_id, Path(self.scored.store))
        return self._packages[package_id]


__all__ = ["Readings", "Scored", "Scorer", "reading_contributions", "unpack", "window_scores"]
