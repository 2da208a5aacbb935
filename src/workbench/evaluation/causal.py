"""Score a series as production would have, and, beside it, as only hindsight can.

The causal score of a reading comes from a detector fitted on readings that had arrived before it;
the transductive one from a detector fitted on the whole series, the reading and all later ones
included. The difference of their figures is the transductive gap: what a paper's table promises
and a stream does not keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.detectors import epoch_ms, fit, late, replay_refits, resolve, score_readings
from workbench.errors import EvaluationError

Floats = NDArray[np.float64]

LATENESS_MS = 1  # readings that go back in time are late, so no window holds a later arrival


def causal_scores(
    spec: Mapping[str, Any],
    frame: pd.DataFrame,
    *,
    learn: int,
    sensor: str,
    time: str = "event_time",
    seed: int = 0,
) -> Floats:
    """Return each reading's score by the detector in force when it arrived.

    Parameters
    ----------
    spec
        As for `detectors.fit`. With a `refit` policy it is fitted again as that says.
    frame
        Readings in arrival order; those that go back in time are late and get no score.
    learn
        The first fit is on this many rows.
    sensor, time
        Columns.

    Returns
    -------
    scores
        Shape (n,), NaN for the first `learn` readings, and where there is none.

    Raises
    ------
    EvaluationError
        If nothing is left to learn from, or to score.
    DetectorError
        If the specification is wrong or a fit is refused.
    """
    if not 0 < learn < len(frame):
        raise EvaluationError(
            f"{learn} of {len(frame)} readings are to be learnt from, some must be, and some not"
        )
    if resolve(spec)["refit"] is not None:
        adapted = replay_refits(
            spec,
            frame,
            sensor=sensor,
            time=time,
            alerts_per_sensor_day=None,
            first=learn,
            lateness_ms=LATENESS_MS,
            seed=seed,
        )
        return adapted.scores
    scores = _fitted_on(learn, spec, frame, sensor=sensor, time=time, seed=seed)
    scores[:learn] = np.nan
    return scores


def transductive_scores(
    spec: Mapping[str, Any],
    frame: pd.DataFrame,
    *,
    sensor: str,
    time: str = "event_time",
    seed: int = 0,
) -> Floats:
    """Return each reading's score by one detector fitted on all of them, later ones included."""
    once = {**spec, "refit": None}
    return _fitted_on(len(frame), once, frame, sensor=sensor, time=time, seed=seed)


def _fitted_on(
    learn: int, spec: Mapping[str, Any], frame: pd.DataFrame, *, sensor: str, time: str, seed: int
) -> Floats:
    kept = ~late(epoch_ms(frame[time]), LATENESS_MS)
    detector = fit(spec, frame[:learn][kept[:learn]], sensor=sensor, time=time, seed=seed)
    return score_readings(detector, frame, sensor=sensor, time=time, lateness_ms=LATENESS_MS)
