"""The batch path: what a package makes of a span of readings, as the stream would."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.detectors.contract import Bools, Floats
from workbench.detectors.episodes import episodes
from workbench.detectors.packages import Package
from workbench.detectors.windows import epoch_ms, late_readings, score_readings


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
    """

    scores: Floats
    late: Bools
    episodes: pd.DataFrame


def detect(
    package: Package,
    frame: pd.DataFrame,
    *,
    sensor: str,
    time: str = "event_time",
    lateness_ms: int | None = None,
    partition: str | None = None,
) -> Detection:
    """Return scores and episodes of readings in arrival order, by the stream's rules.

    Parameters
    ----------
    sensor, time
        Columns: whose reading it is, and its event time.
    lateness_ms
        Readings later than this are left out before anything else; None: none is.
    partition
        Column with the source partition, for `lateness_ms`; one partition if left out.
    """
    gone = late_readings(frame, time=time, lateness_ms=lateness_ms, partition=partition)
    kept = frame[~gone]
    scored = score_readings(
        package.detector, kept, sensor=sensor, time=time, max_span_s=package.max_span_s
    )
    found = episodes(
        epoch_ms(kept[time]), kept[sensor].to_numpy(), scored, package.threshold, package.rule
    )
    scores: Floats = np.full(len(frame), np.nan)
    scores[~gone] = scored
    return Detection(scores, gone, found)
