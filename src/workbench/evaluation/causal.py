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

from workbench.arrays import Bools, Floats
from workbench.detectors import (
    before_instant,
    fit,
    late,
    replay_refits,
    resolve,
    score_readings,
    time_order,
)
from workbench.errors import EvaluationError
from workbench.times import epoch_ms


def causal_scores(
    spec: Mapping[str, Any],
    frame: pd.DataFrame,
    *,
    learn: int,
    sensor: str,
    time: str = "event_time",
    lateness_ms: int | None = None,
    seed: int = 0,
) -> Floats:
    """Return each reading's score by the detector in force when it arrived.

    Parameters
    ----------
    spec
        As for `detectors.fit`. With a `refit` policy it is fitted again as that says.
    frame
        Readings, in any order unless a lateness is given.
    learn
        The first fit is on so many readings, the first in time; or fewer, where several are of
        one instant: an instant is learnt from as a whole or not at all.
    sensor, time
        Columns.
    lateness_ms
        Take the rows in arrival order; those later than this get no score, and the first `learn`
        rows are learnt from. With 1, whatever goes back in time is late. None: none is late, all
        arrive in order of time.

    Returns
    -------
    scores
        Shape (n,), in the order of the frame; NaN for what the first fit learnt from, and where
        there is none.

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
    order = np.arange(len(frame))
    if lateness_ms is None:
        order = time_order(frame, sensor=sensor, time=time)
        learn = before_instant(epoch_ms(frame[time])[order], learn)
    scores: Floats = np.empty(len(frame))
    scores[order] = _in_order(
        spec, frame.iloc[order], learn, sensor=sensor, time=time, lateness_ms=lateness_ms, seed=seed
    )
    return scores


def _in_order(
    spec: Mapping[str, Any],
    frame: pd.DataFrame,
    learn: int,
    *,
    sensor: str,
    time: str,
    lateness_ms: int | None,
    seed: int,
) -> Floats:
    if not learn:
        raise EvaluationError("all readings are of one instant, so none is left to learn from")
    if resolve(spec)["refit"] is not None:
        adapted = replay_refits(
            spec,
            frame,
            sensor=sensor,
            time=time,
            alerts_per_sensor_day=None,
            first=learn,
            lateness_ms=lateness_ms,
            seed=seed,
        )
        return adapted.scores
    learnt = frame[:learn][_kept(frame, time, lateness_ms)[:learn]]
    detector = fit(spec, learnt, sensor=sensor, time=time, seed=seed)
    scores = score_readings(detector, frame, sensor=sensor, time=time, lateness_ms=lateness_ms)
    scores[:learn] = np.nan
    return scores


def _kept(frame: pd.DataFrame, time: str, lateness_ms: int | None) -> Bools:
    if lateness_ms is None:
        return np.ones(len(frame), dtype=np.bool_)
    return ~late(epoch_ms(frame[time]), lateness_ms)


def transductive_scores(
    spec: Mapping[str, Any],
    frame: pd.DataFrame,
    *,
    sensor: str,
    time: str = "event_time",
    lateness_ms: int | None = None,
    seed: int = 0,
) -> Floats:
    """Return each reading's score by one detector fitted on all of them, later ones included.

    The parameters are those of `causal_scores`.
    """
    once = {**spec, "refit": None}
    kept = frame[_kept(frame, time, lateness_ms)]
    detector = fit(once, kept, sensor=sensor, time=time, seed=seed)
    return score_readings(detector, frame, sensor=sensor, time=time, lateness_ms=lateness_ms)
