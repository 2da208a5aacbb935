"""What a budget buys on readings that a detector was not fitted on: its threshold.

By a refit on the last third of its span, by the scores of a trial; and, where the threshold alone
is bought anew (`threshold_only`), by those of the very detector that is in force.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.arrays import Bools, Floats
from workbench.detectors.alarms import (
    MOST_ALARMED,
    EpisodeRule,
    alarmed,
    sensor_days,
    threshold_for_budget,
)
from workbench.detectors.fitted import Fitted
from workbench.detectors.packages import check_passable
from workbench.detectors.refits.answered import Answered, raised
from workbench.detectors.windows import index_windows
from workbench.errors import DetectorError
from workbench.times import epoch_ms

LEAST = 1 / 3  # of a span's readings that a threshold is bought by, at least


@dataclass(frozen=True)
class Terms:
    """What a detector is fitted again under.

    Attributes
    ----------
    alerts_per_sensor_day
        The budget; None: no threshold is bought.
    rule
        When an alarm is set and reset.
    seed
        Of each fit.
    alarm_share
        No threshold is bought that has more of the readings that buy it under an alarm.
    """

    alerts_per_sensor_day: float | None
    rule: EpisodeRule
    seed: int = 0
    alarm_share: float = MOST_ALARMED


def bought(
    detector: Fitted,
    frame: pd.DataFrame,
    *,
    kept: Bools,
    later: Bools,
    sensor: str,
    time: str,
    alerts_per_sensor_day: float,
    rule: EpisodeRule,
    alarm_share: float = MOST_ALARMED,
    answered: Answered | None = None,
) -> float:
    """Return the threshold that a budget buys by the scores of a detector.

    Parameters
    ----------
    frame
        Readings; of equal times their order decides.
    kept, later
        Shape (len(frame),): readings that a window may hold, and of these the ones that buy.
    answered
        What people said of the readings: the threshold is `raised` where that speaks for it.

    Raises
    ------
    DetectorError
        If no threshold is to be had.
    """
    times, names = epoch_ms(frame[time]), frame[sensor].to_numpy()
    scores = _scores(detector, frame, kept, sensor=sensor, time=time)
    threshold = threshold_for_budget(
        times[later],
        names[later],
        scores[later],
        alerts_per_sensor_day=alerts_per_sensor_day,
        rule=rule,
        alarm_share=alarm_share,
        detector=detector,
    )
    if answered is None:
        return threshold
    heard = kept | (answered.faults >= 0) | (answered.usual >= 0)
    scores = _scores(detector, frame, heard, sensor=sensor, time=time)
    return raised(threshold, times, names, scores, answered, rule)


def not_endless(
    threshold: float,
    detector: Fitted,
    frame: pd.DataFrame,
    *,
    kept: Bools,
    later: Bools,
    sensor: str,
    time: str,
    alerts_per_sensor_day: float,
    rule: EpisodeRule,
    alarm_share: float = MOST_ALARMED,
) -> float:
    """Return a threshold as it is, or a higher one if it is an endless alarm on what was learnt.

    Where the trial scored all that bought alike, as of a machine that stood still, its threshold
    says nothing of the detector that is to run; then that one's own scores buy it. The parameters
    are those of `bought`, of the detector that is to run.
    """
    times, names = epoch_ms(frame[time])[later], frame[sensor].to_numpy()[later]
    scores = _scores(detector, frame, kept, sensor=sensor, time=time)[later]
    if not alarmed(times, names, scores > threshold, rule).mean() > alarm_share:
        return threshold
    own = threshold_for_budget(
        times, names, scores, alerts_per_sensor_day=alerts_per_sensor_day, rule=rule,
        alarm_share=alarm_share, detector=detector,
    )  # fmt: skip
    return max(threshold, own)


def _scores(
    detector: Fitted, frame: pd.DataFrame, kept: Bools, *, sensor: str, time: str
) -> Floats:
    """Return the scores of windows that hold only readings that are kept, else NaN."""
    index = index_windows(
        frame,
        sensor=sensor,
        time=time,
        channels=detector.channels,
        window=detector.window,
        max_span_s=detector.max_span_s,
        missing=detector.takes_missing,
    )
    scores: Floats = np.full(len(frame), np.nan)
    index.score(detector, index.within(kept), scores)
    return scores


def buy_again(
    detector: Fitted,
    frame: pd.DataFrame,
    *,
    sensor: str,
    time: str = "event_time",
    terms: Terms,
    left_out: Bools,
    fresh: Bools,
    answered: Answered | None = None,
    carried: float = 0.0,
) -> float:
    """Return the threshold of a detector that stays as it is, after a trailing span.

    An alarm that nobody has answered is one of those that the budget allows. Were it left out, as
    a fit may do, each threshold would be bought on what the last one let pass, and sink for ever.

    Parameters
    ----------
    detector
        What is in force.
    frame
        The readings of the trailing span.
    terms
        With a budget.
    left_out
        Shape (len(frame),): readings of known events, which neither buy nor lie in a window.
    fresh
        Shape (len(frame),): readings after those that it was fitted on. Others count for nothing.
    answered
        What people said of the readings: as `fit_again` takes it.
    carried
        Alerts that the span may have on top of the budget's (below 0: that it must lack), from
        before (`Spent.left`).

    Raises
    ------
    DetectorError
        If there is no budget, fewer than a third of the readings are fresh and of no event, or no
        threshold is to be had.
    PackageError
        If no score can pass the threshold.
    """
    if terms.alerts_per_sensor_day is None:
        raise DetectorError("a threshold is bought by an alert budget, and there is none")
    kept = ~left_out[fresh]
    if not kept.any() or kept.sum() < LEAST * len(fresh):
        raise DetectorError(
            f"of {len(fresh):,} readings of the trailing span {int(kept.sum()):,} came after those "
            "that the detector was fitted on and are of no known event, at least "
            f"{LEAST:.0%} must be to buy a threshold",
            hint="later, when more has come; or a shorter span",
        )
    buys = frame[fresh]
    days = sensor_days(epoch_ms(buys[time])[kept], buys[sensor].to_numpy()[kept], detector)
    on_top = carried / days if days else 0.0
    threshold = bought(
        detector,
        buys,
        kept=kept,
        later=kept,
        sensor=sensor,
        time=time,
        alerts_per_sensor_day=max(0.0, terms.alerts_per_sensor_day + on_top),
        rule=terms.rule,
        alarm_share=terms.alarm_share,
        answered=None if answered is None else answered.of(fresh),
    )
    check_passable(detector, threshold)
    return threshold
