"""A detector and its threshold from one span of readings: the threshold is never bought in sample.

The detector is fitted on the whole span. Its threshold is what a budget buys on the last third of
each sensor's, by the scores of a trial that was fitted on the first two thirds: on readings that it
was fitted on itself, a detector is quieter than on any that come later, and with the nearest window
of training as its measure it is silent. The one piece of code for `auto`, a replayed schedule and a
refit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.arrays import Bools, Ints
from workbench.detectors.alarms import MOST_ALARMED, EpisodeRule
from workbench.detectors.fitted import Fitted
from workbench.detectors.fitting import fit_spec
from workbench.detectors.packages import check_passable
from workbench.detectors.refits.answered import Answered
from workbench.detectors.refits.buying import Terms, bought, not_endless
from workbench.detectors.refits.changing import HOUR_MS, by_sensor, since_change
from workbench.detectors.windows import time_order
from workbench.errors import DetectorError, PackageError
from workbench.times import epoch_ms

TRIAL = 2 / 3  # of the readings learnt from: the rest buys the threshold


@dataclass(frozen=True, eq=False)
class Refit:
    """One fit of a schedule.

    Attributes
    ----------
    row
        Position in the frame of the first reading that the detector scores; behind the last, where
        none has come yet.
    trained
        Shape (n,): positions of the readings that it was fitted on.
    """

    row: int
    trained: Ints
    detector: Fitted
    threshold: float


def fit_again(
    spec: Mapping[str, Any],
    frame: pd.DataFrame,
    *,
    sensor: str,
    time: str = "event_time",
    terms: Terms,
    left_out: Bools,
    alarm: Bools,
    fits_ms: Sequence[int] = (),
    answered: Answered | None = None,
    before: Fitted | None = None,
) -> Refit:
    """Return the detector and the threshold that hold after a trailing span.

    Parameters
    ----------
    spec
        Of the catalogue; its policy says whether what alarmed is left out.
    frame
        The readings of the trailing span, in order of arrival.
    left_out
        Shape (len(frame),): readings of known events, left out in any case. (Those that came too
        late are not in the frame: windows join across them.)
    alarm
        Shape (len(frame),): readings under an alarm of what was in force when they arrived. With
        `leave_out_alarmed` they are left out, unless that would leave less than half of the span:
        what alarms that long is the new usual. With `change_h` those of a change are learnt from
        in any case, and none of its sensor before (`since_change`); unless too little has come
        since to be fitted on: then the change waits for the next fit.
    fits_ms
        With `change_h`: from when this fit, and each one before, was in force (epoch ms).
    answered
        What people said of the readings, as `fit_with_threshold` takes it.
    before
        The detector that it follows: with `level: sensor`, the level of a sensor that the span
        does not teach is that one's.

    Raises
    ------
    DetectorError
        If a fit is refused, or no threshold is to be had.
    """
    asked: dict[str, Any] = {"sensor": sensor, "time": time, "seed": terms.seed}
    if terms.alerts_per_sensor_day is not None:
        asked |= {"alerts_per_sensor_day": terms.alerts_per_sensor_day, "rule": terms.rule}
        asked["alarm_share"] = terms.alarm_share
        asked |= {"answered": answered}
    since = _since(spec, frame, alarm & ~left_out, fits_ms, sensor=sensor, time=time)
    try:
        return _following(_fit_since(spec, frame, left_out, alarm, since, asked), before)
    except DetectorError:
        if not since.any():
            raise
    # too little has come since the change: the next fit may have enough
    again = _fit_since(spec, frame, left_out, alarm, np.zeros_like(since), asked)
    return _following(again, before)


def _following(refit: Refit, before: Fitted | None) -> Refit:
    """Return a refit that has lost no level of the detector that it follows."""
    detector = refit.detector
    return replace(refit, detector=detector if before is None else detector.following(before))


def _since(
    spec: Mapping[str, Any],
    frame: pd.DataFrame,
    alarm: Bools,
    fits_ms: Sequence[int],
    *,
    sensor: str,
    time: str,
) -> Ints:
    """Return what `since_change` says, where the policy asks."""
    policy = spec["refit"] or {}
    if "change_h" not in policy:
        return np.zeros(len(frame), dtype=np.int64)
    times, names = epoch_ms(frame[time]), frame[sensor].to_numpy(dtype=object)
    return since_change(times, names, alarm, np.asarray(fits_ms), policy["change_h"] * HOUR_MS)


def _fit_since(
    spec: Mapping[str, Any],
    frame: pd.DataFrame,
    left_out: Bools,
    alarm: Bools,
    since: Ints,
    asked: Mapping[str, Any],
) -> Refit:
    keep = ~left_out
    if spec["refit"] and spec["refit"].get("leave_out_alarmed", False):
        quiet = ~alarm | (since > 0)
        keep &= quiet if quiet.sum() * 2 >= len(frame) else True
    usual = keep & (since >= 0)
    if "rule" not in asked:
        return Refit(
            len(frame), np.flatnonzero(usual), fit_spec(spec, frame, keep=usual, **asked), np.nan
        )
    detector, threshold = fit_with_threshold(spec, frame, keep=usual, **asked)
    if (since < 0).any():
        threshold = max(threshold, _before_change(spec, frame, keep & (since < 0), asked))
    return Refit(len(frame), np.flatnonzero(usual), detector, threshold)


def _before_change(
    spec: Mapping[str, Any], frame: pd.DataFrame, keep: Bools, asked: Mapping[str, Any]
) -> float:
    """Return the threshold that the budget bought before a change: the least after it.

    The hours since say little of how high a quiet machine scores once in days.
    """
    try:
        return fit_with_threshold(spec, frame, keep=keep, **{**asked, "answered": None})[1]
    except (DetectorError, PackageError):  # too little of it is left in the span to say anything
        return -np.inf


def fit_with_threshold(
    spec: Mapping[str, Any],
    frame: pd.DataFrame,
    *,
    sensor: str,
    time: str = "event_time",
    keep: Bools | None = None,
    alerts_per_sensor_day: float,
    rule: EpisodeRule,
    alarm_share: float = MOST_ALARMED,
    answered: Answered | None = None,
    seed: int = 0,
) -> tuple[Fitted, float]:
    """Return a detector fitted on a span, and the threshold that a budget buys out of sample.

    Parameters
    ----------
    spec
        Of the catalogue.
    frame
        Readings, in any order.
    keep
        Shape (len(frame),): readings to learn from and to buy by, all if left out.
    alerts_per_sensor_day, rule, alarm_share
        As `threshold_for_budget` takes them.
    answered
        What people said of the readings: the threshold is `raised` where that speaks for it. Of
        false alarms the detector learns; the trial does not, so that they too are out of sample.

    Raises
    ------
    DetectorError
        If a fit is refused, or no threshold is to be had.
    PackageError
        If no score can pass the threshold.
    """
    detector = fit_spec(spec, frame, sensor=sensor, time=time, keep=keep, seed=seed)
    order = time_order(frame, sensor=sensor, time=time)
    frame, kept = frame.iloc[order], np.ones(len(frame), dtype=np.bool_)
    kept = kept if keep is None else keep[order]
    times = epoch_ms(frame[time])
    names = frame[sensor].to_numpy()
    first = _first(times, names, kept)
    answered = None if answered is None else answered.of(order)
    fresh = first & kept if answered is None else first & kept & (answered.usual < 0)
    try:
        trial = fit_spec(spec, frame[first], sensor=sensor, time=time, keep=fresh[first], seed=seed)
    except DetectorError as err:
        raise _of_answers(err, int((first & kept).sum()), int(fresh.sum())) from err
    asked: Any = {
        "kept": kept, "later": kept & ~first, "sensor": sensor, "time": time,
        "alerts_per_sensor_day": alerts_per_sensor_day, "rule": rule, "alarm_share": alarm_share,
    }  # fmt: skip
    threshold = bought(trial, frame, answered=answered, **asked)
    threshold = not_endless(threshold, detector, frame, **asked)
    check_passable(detector, threshold)
    return detector, threshold


def _first(times_ms: Ints, sensors: NDArray[Any], kept: Bools) -> Bools:
    """Return which readings lie in the first two thirds of what is kept of their sensor."""
    first = np.ones(len(times_ms), dtype=np.bool_)
    for rows in by_sensor(times_ms, sensors):
        own = times_ms[rows][kept[rows]]
        if len(own):
            first[rows] = times_ms[rows] < own[int(len(own) * TRIAL)]
    return first


def _of_answers(error: DetectorError, learnt: int, fresh: int) -> DetectorError:
    """Return why a trial could not be fitted, and whether that may be because of answers."""
    if fresh == learnt:
        return error
    return DetectorError(
        f"{error.message}: of {learnt} readings of the first two thirds {learnt - fresh} lie in "
        "alerts that were answered `false`, which the trial that buys the threshold does not learn",
        where=error.where,
        hint="a longer span; or withdraw such answers, if they cover what is no alert",
    )


def before_instant(times_ms: Ints, row: int) -> int:
    """Return how many of the times, ascending, lie before that at `row`.

    Examples
    --------
    >>> before_instant(np.array([10, 20, 20, 30]), 2)
    1
    """
    return int(np.searchsorted(times_ms, times_ms[row]))
