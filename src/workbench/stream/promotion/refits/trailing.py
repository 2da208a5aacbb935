"""The trailing span of a refit: from when until when it learns, and what the stream took of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench import detectors
from workbench.arrays import Bools, Ints
from workbench.detectors import Package
from workbench.errors import StreamError
from workbench.evaluation import GroundTruth, span_numbers
from workbench.stream.definition.stream_file import Stream
from workbench.stream.promotion.checks import span_ms
from workbench.stream.promotion.proof import with_derived
from workbench.stream.running import originals
from workbench.times import epoch_ms, iso

_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Span:
    """Epoch ms: fitted on [start, stop)."""

    start: int
    stop: int


def trailing_span(
    stream: Stream, champion: Package, sensors: Sequence[str], trailing_days: float | None,
    archive: originals.Origin, *, held_out: bool = True,
) -> Span:  # fmt: skip
    """Return what a refit learns from: it ends where the days begin that the gate judges.

    Parameters
    ----------
    sensors
        Those that the champion scores; empty: all.
    trailing_days
        Its length; None: what the refit policy says, or the span that the champion was fitted on.
    held_out
        Whether the gate judges days that are not learnt from; if not, it ends with the archive.

    Raises
    ------
    StreamError
        If the archive begins later.
    """
    days_ms = round(stream.gate.days * _DAY_MS) if held_out else 0
    times, names = originals.believed(stream, archive)
    stop = int(times.max()) + 1 - days_ms
    own = (times < stop) & (detectors.of_sensors(names, sensors) if sensors else True)
    start = _start_ms(champion, trailing_days, stop, times[own])
    first = int(times.min())
    if start < first - _DAY_MS:
        raise StreamError(
            f"the archive begins at {iso(first)}, the trailing span at {iso(start)}",
            hint="a shorter one (--trailing-days)"
            + (", or fewer days in the stream file's gate" if held_out else ""),
        )
    return Span(start, stop)


def _start_ms(champion: Package, trailing_days: float | None, stop: int, times: Ints) -> int:
    """Return where the trailing span begins, that ends at `stop`."""
    policy = champion.spec.get("refit") or {}
    if trailing_days is None and "trailing_readings" in policy:
        count = int(policy["trailing_readings"])
        if len(times) < count:
            raise StreamError(
                f"the archive has {len(times):,} readings of its sensors before {iso(stop)}, where "
                f"the gate's days begin; the policy's trailing_readings is {count:,}",
                hint="give --trailing-days, or fewer days in the stream file's gate",
            )
        return int(np.partition(times, len(times) - count)[len(times) - count])
    return stop - _trailing_ms(champion, trailing_days)


def _trailing_ms(champion: Package, trailing_days: float | None) -> int:
    policy = champion.spec.get("refit") or {}
    if trailing_days is not None:
        return round(trailing_days * _DAY_MS)
    if "trailing_h" in policy:
        return int(policy["trailing_h"] * _DAY_MS / 24)
    fitted = span_ms(champion.training)
    if fitted is None or not fitted[0]:
        raise StreamError(
            "neither the champion's refit policy nor its training says how long to fit on",
            hint="give --trailing-days",
        )
    return fitted[1] - fitted[0]


@dataclass(frozen=True, eq=False)
class Taken:
    """The readings of a trailing span that the stream took, and what is known of them.

    Attributes
    ----------
    readings
        Of the sensors in question; windows join across those that it did not take.
    rows
        Shape (n,): which of the span they are.
    arrived
        Shape (n,): which of the span, of all sensors, it took.
    faults, usual
        Shape (len(readings),): as `span_numbers` has them.
    """

    readings: pd.DataFrame
    rows: Bools
    arrived: Bools
    times_ms: Ints
    left_out: Bools
    faults: Ints
    usual: Ints

    @classmethod
    def of(
        cls, stream: Stream, training: pd.DataFrame, truth: GroundTruth, sensors: Sequence[str]
    ) -> Taken:
        """Judge the readings of a span, of all sensors: lateness is of all of a partition."""
        arrived = ~detectors.arrivals_of(
            training,
            sensor=stream.sensor,
            time="event_time",
            lateness_ms=stream.lateness_ms,
            ahead_ms=stream.ahead_ms,
        ).left_out
        rows = arrived.copy()
        if sensors:
            rows &= training[stream.sensor].isin(sensors).to_numpy()
        taken = training[rows].reset_index(drop=True)
        times, names = epoch_ms(taken["event_time"]), taken[stream.sensor].to_numpy()
        faults, usual = (span_numbers(times, names, known) for known in (truth.faults, truth.usual))
        return cls(taken, rows, arrived, times, truth.unfit(times, names), faults, usual)

    @property
    def answered(self) -> detectors.Answered:
        """What people said of the readings."""
        return detectors.Answered(self.faults, np.where(self.faults < 0, self.usual, -1))


def readings_of(stream: Stream, start: int, stop: int, archive: originals.Origin) -> pd.DataFrame:
    """Return the readings of [start, stop), epoch ms, derived channels and manifest included."""
    frame = originals.readings(stream, archive, iso(start), iso(stop))
    ready = with_derived(stream, frame)
    ready.attrs = frame.attrs
    return ready


def fitted_until(champion: Package) -> int:
    """Return the end of the span that a champion was fitted on, epoch ms.

    Raises
    ------
    StreamError
        If its package does not say.
    """
    fitted = span_ms(champion.training)
    if fitted is None:
        raise StreamError(
            f"package {champion.id[:16]} does not say until when it was fitted: its threshold "
            "cannot be bought on what came after",
            hint="save packages with training=readings.attrs['manifest']",
        )
    return fitted[1]
