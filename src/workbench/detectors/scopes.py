"""One detector for all sensors, for each group, or for each sensor.

A score never depends on the sensor's name: the contract knows only windows. So a model per sensor
or group is a detector of its own, with its own package; a promotion's scope says whom it scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from workbench.detectors.contract import Detector, Floats
from workbench.detectors.fitted import Fitted
from workbench.detectors.fitting import fit
from workbench.detectors.windows import late_readings, score_readings
from workbench.errors import DetectorError


def fit_each(
    spec: Mapping[str, Any],
    frame: pd.DataFrame,
    *,
    sensor: str,
    by: str | Mapping[str, str],
    time: str = "event_time",
    seed: int = 0,
) -> dict[str, Fitted]:
    """Return the detector of every sensor; sensors of one group share theirs.

    Parameters
    ----------
    by
        `all`, `sensor`, or the group of each sensor.

    Raises
    ------
    DetectorError
        If a sensor has no group, or a group's readings are too few to fit on.
    """
    sensors = [str(one) for one in frame[sensor].dropna().unique()]
    groups = _groups(sensors, by)
    fitted: dict[str, Fitted] = {}
    for group in dict.fromkeys(groups.values()):
        mine = frame[frame[sensor].map(groups) == group]
        try:
            fitted[group] = fit(spec, mine, sensor=sensor, time=time, seed=seed)
        except DetectorError as err:
            raise DetectorError(err.message, where=f"group {group!r}", hint=err.hint) from err
    return {one: fitted[groups[one]] for one in sensors}


def _groups(sensors: list[str], by: str | Mapping[str, str]) -> dict[str, str]:
    if by == "all":
        return dict.fromkeys(sensors, "all")
    if by == "sensor":
        return {one: one for one in sensors}
    if isinstance(by, str):
        raise DetectorError(f"models are by {by!r}, expected all, sensor, or groups of sensors")
    without = [one for one in sensors if one not in by]
    if without:
        raise DetectorError(f"sensor {without[0]!r} is in no group")
    return {one: str(by[one]) for one in sensors}


def score_each(
    detectors: Mapping[str, Detector],
    frame: pd.DataFrame,
    *,
    sensor: str,
    time: str = "event_time",
    max_span_s: float | None = None,
    lateness_ms: int | None = None,
    partition: str | None = None,
) -> Floats:
    """Return the score of every reading by its sensor's detector, NaN where it has none.

    The parameters are those of `score_readings`; what is late is decided over all readings.
    """
    gone = late_readings(frame, time=time, lateness_ms=lateness_ms, partition=partition)
    scores: Floats = np.full(len(frame), np.nan)
    for detector in {id(one): one for one in detectors.values()}.values():
        own = {name for name, one in detectors.items() if one is detector}
        rows = np.flatnonzero(frame[sensor].isin(own).to_numpy() & ~gone)
        scores[rows] = score_readings(
            detector, frame.iloc[rows], sensor=sensor, time=time, max_span_s=max_span_s
        )
    return scores
