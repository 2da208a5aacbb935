"""One call from readings to a detector with a threshold, for a machine that nobody tuned for.

    found = detectors.auto(readings, sensor="pump")
    detectors.save(found.detector, folder, threshold=found.threshold, rule=found.rule, ...)

What it gives is a detector like any other, of methods of the catalogue, and a card that says what
was chosen and why. As a specification it is `{name: auto}`: every place that fits one takes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from workbench.arrays import Bools
from workbench.cards import Card, HasCard
from workbench.detectors.alarms import EpisodeRule
from workbench.detectors.choosing.choice import Choice, choose
from workbench.detectors.choosing.series import Series
from workbench.detectors.fitted import Fitted
from workbench.detectors.fitting import fit_spec
from workbench.detectors.refits.trailing import fit_with_threshold
from workbench.detectors.specs import AUTO, resolve
from workbench.errors import DetectorError
from workbench.times import epoch_ms


def fit(
    spec: Mapping[str, Any],
    frame: pd.DataFrame,
    *,
    sensor: str,
    time: str = "event_time",
    seed: int = 0,
    keep: Bools | None = None,
) -> Fitted:
    """Return a detector fitted on a span of history and frozen.

    Parameters
    ----------
    spec
        `name`, `channels`, `window`, and parameters of the detector (`catalogue`). Or `name: auto`,
        which chooses: then the detector's own specification says what.
    frame
        Readings in any order: samples are drawn and the last share is kept for calibration in
        order of event time.
    sensor, time
        Columns: whose reading it is, and its event time.
    seed
        For the sample of windows and whatever is random in the method.
    keep
        Shape (len(frame),): False leaves out the windows that hold a reading.

    Raises
    ------
    DetectorError
        On an unknown or wrong parameter, a missing column, too few training windows, a channel
        that is constant, a detector that cannot score new windows.
    """
    resolved = resolve(spec)
    asked: Any = {"sensor": sensor, "time": time, "seed": seed, "keep": keep}
    if resolved["name"] != AUTO:
        return fit_spec(resolved, frame, **asked)
    choice = choose(resolved, frame, **asked)
    try:
        return fit_spec(choice.spec, frame, **asked)
    except DetectorError as err:
        return fit_spec(choice.simplest(err.message).spec, frame, **asked)


@dataclass(frozen=True, eq=False)
class Auto(HasCard):
    """A detector for readings that nobody tuned for, ready to be saved, and why it is this one.

    Attributes
    ----------
    detector
        Fitted on all of them.
    threshold
        What the budget buys, out of sample.
    rule
        When an alarm is set and reset.
    choice
        What was chosen and why.
    """

    detector: Fitted
    threshold: float
    rule: EpisodeRule
    choice: Choice

    @property
    def spec(self) -> Mapping[str, Any]:
        """The specification that was chosen, resolved."""
        return self.detector.spec

    def card(self) -> Card:
        """Return what a notebook shows of it: what was chosen and why."""
        told = self.choice.card()
        return Card("detector", "auto", {**told.facts, "threshold": self.threshold}, told.rows)


def auto(
    frame: pd.DataFrame,
    *,
    sensor: str,
    time: str = "event_time",
    channels: Sequence[str] | None = None,
    alerts_per_sensor_day: float = 1 / 7,
    rule: EpisodeRule | None = None,
    wrong: Bools | None = None,
    window: int = 64,
    seed: int = 0,
) -> Auto:
    """Return a detector with a threshold for readings of one or many machines of a kind.

    Parameters
    ----------
    frame
        Readings, in any order.
    sensor, time
        Columns: whose reading it is, and its event time.
    channels
        Columns to detect on; if left out, all that hold numbers.
    alerts_per_sensor_day
        The budget that buys the threshold; one a week if left out.
    rule
        When an alarm is set and reset; if left out, at each reading.
    wrong
        Shape (len(frame),): readings that are known to be faulty (`evaluation.labelled`). They are
        not learnt from, and choose where enough of them lie in the later part.
    window
        Readings that a window may hold at most: what the stream keeps of each sensor.

    Raises
    ------
    DetectorError
        If no channel moves, or there are fewer readings than any detector needs.

    Notes
    -----
    Deterministic. Constant, rarely moving, repeated and counting channels are left out, and the
    card says which and why.
    """
    spec = resolve({"name": AUTO, "channels": channels, "window": window})
    rule = EpisodeRule() if rule is None else rule
    choice = choose(spec, frame, sensor=sensor, time=time, wrong=wrong, seed=seed)
    asked: Any = {
        "sensor": sensor, "time": time, "keep": _valued(frame, choice.series, time, wrong),
        "alerts_per_sensor_day": alerts_per_sensor_day, "rule": rule, "seed": seed,
    }  # fmt: skip
    try:
        detector, threshold = fit_with_threshold(choice.spec, frame, **asked)
    except DetectorError as err:
        choice = choice.simplest(err.message)
        detector, threshold = fit_with_threshold(choice.spec, frame, **asked)
    return Auto(detector, threshold, rule, choice)


def _valued(frame: pd.DataFrame, series: Series, time: str, wrong: Bools | None) -> Bools:
    """Return which readings are learnt from: channels may begin late, or end early."""
    times = epoch_ms(frame[time])
    there = frame[list(series.kept)].notna().any(axis=1).to_numpy()
    valued: Bools = (times >= times[there].min()) & (times <= times[there].max())
    return valued if wrong is None else valued & ~wrong
