"""The batch path: what a package makes of a span of readings, as the stream would."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from workbench.arrays import Bools, Floats
from workbench.detectors.alarms import episodes
from workbench.detectors.packages import Package
from workbench.detectors.partition_time import arrivals_of, partition_order
from workbench.detectors.windows import score_readings
from workbench.times import epoch_ms


@dataclass(frozen=True, eq=False)
class Detection:
    """What a package made of some readings.

    Attributes
    ----------
    scores
        Shape (n,), NaN where there is none.
    late
        Shape (n,): readings that came too late, in no window and no episode.
    episodes
        One row per alarm.
    ahead
        Shape (n,): readings that lead their partition's others too far to be believed; they are in
        no window either.
    """

    scores: Floats
    late: Bools
    episodes: pd.DataFrame
    ahead: Bools = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))


def detect(
    package: Package,
    frame: pd.DataFrame,
    *,
    sensor: str,
    time: str = "event_time",
    lateness_ms: int | None = None,
    ahead_ms: int | None = None,
    partition: str | None = None,
    level_by: str | None = None,
) -> Detection:
    """Return scores and episodes of readings in arrival order, by the stream's rules.

    Parameters
    ----------
    sensor, time
        Columns: whose reading it is, and its event time.
    lateness_ms
        Readings later than this are left out before anything else; None: none is.
    ahead_ms
        With `lateness_ms`: how far a reading may lead the others of its partition.
    partition
        Column with the source partition; if left out, the message ids say it, if there are any.
    level_by
        As `score_readings` takes it.
    """
    arrived = arrivals_of(
        frame,
        sensor=sensor,
        time=time,
        lateness_ms=lateness_ms,
        ahead_ms=ahead_ms,
        partition=partition,
    )
    order = partition_order(frame, partition)  # it decides between equal times of a sensor
    rows = order[~arrived.left_out[order]]
    kept = frame.iloc[rows]
    scored = score_readings(
        package.detector, kept, sensor=sensor, time=time, max_span_s=package.max_span_s,
        level_by=level_by,
    )  # fmt: skip
    alarms = episodes(
        epoch_ms(kept[time]), kept[sensor].to_numpy(), scored, package.threshold, package.rule
    )
    scores: Floats = np.full(len(frame), np.nan)
    scores[rows] = scored
    return Detection(scores, arrived.late, alarms, arrived.ahead)
