"""A specification against public labelled sets, causally, beside floors that anyone can write.

Of each series the first readings are learnt from and nothing of the others is known; one setting
serves all. Beside it stand, in every table: `random` and `constant`, which know nothing, `robust_z`
(the worst channel against its training median) and `windowed_pca` (what the components of windows
of 64 readings leave), a page of numpy each.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.arrays import Bools, Floats, Ints
from workbench.detectors import (
    MOST_ALARMED,
    EpisodeRule,
    alarmed,
    episodes,
    look,
    threshold_for_budget,
)
from workbench.errors import EvaluationError, WorkbenchError, did_you_mean
from workbench.evaluation.curves import DEFAULT_PERIOD, auc_pr, vus_pr
from workbench.evaluation.events import EventReport, event_report, joined
from workbench.evaluation.labelled_folders import LabelledSeries, labelled_sets, read_folder
from workbench.evaluation.labelled_series import priced_scores, trial_end
from workbench.evaluation.ranking import FLOORS, floor_scores
from workbench.evaluation.scorecard import Pointwise
from workbench.times import epoch_ms, timestamps

LEARN = 0.5  # share of the readings to learn from, where nobody says
DAY_S = 86_400
_LONG = 64  # readings of a window of the PCA
_FLOORS = (*FLOORS, "robust_z", "windowed_pca")  # that stand in every table


@dataclass(frozen=True, eq=False)
class Judged:
    """What a detector is worth on one series.

    Attributes
    ----------
    detector, series
        Their names in the tables.
    vus_pr, auc_pr
        Of the scores.
    report, pointwise
        Of the alarms at a threshold that an alert budget bought before.
    """

    detector: str
    series: str
    vus_pr: float
    auc_pr: float
    report: EventReport
    pointwise: Pointwise

    @property
    def row(self) -> dict[str, object]:
        """The figures of this series, for `leaderboard` and `summary`."""
        return {
            "detector": self.detector,
            "series": self.series,
            "vus_pr": self.vus_pr,
            "auc_pr": self.auc_pr,
            "recall": self.report.recall,
            "false_alerts_per_sensor_day": self.report.false_alerts_per_sensor_day,
            "alarm_share": self.report.alarm_share,
            "f1_pointwise": self.pointwise.f1,
        }

    def kept(self, budget: float) -> float:
        """Return 1 where false alerts are within a factor 2 of a budget, else 0.

        Of the time outside of labelled events. NaN where that is so short that the budget allows
        less than half an alert in it.
        """
        days = self.report.time.usual_s / DAY_S
        if budget * days < 0.5:  # then one alert is more than twice the budget
            return math.nan
        return float(budget / 2 <= self.report.false_alerts / days <= 2 * budget)


@dataclass(frozen=True, eq=False)
class Benchmark:
    """What became of each series of a set.

    Attributes
    ----------
    judged
        Of each series and detector. Of several sets a series is called `set/series`.
    refused
        Why others are not judged, by series.
    quiet
        Series without a labelled reading to judge, where no figure exists.
    alerts_per_sensor_day
        The budget that bought the thresholds.
    """

    judged: list[Judged]
    refused: Mapping[str, WorkbenchError]
    quiet: tuple[str, ...]
    alerts_per_sensor_day: float

    @property
    def rows(self) -> list[dict[str, object]]:
        """For `leaderboard` and `summary`: a row for each detector and series."""
        return [judged.row for judged in self.judged]

    def alarms(self) -> pd.DataFrame:
        """Return what the alarms of each detector are worth over all series, a row for each.

        Returns
        -------
        table
            `detector`; `events` and those `found`; `false_alerts_per_sensor_day`; `budget_kept`,
            share of the series whose false alerts are within a factor 2 of the budget (NaN: all
            are too short to say); `often_in_alarm`, share of the series that are under an alarm in
            more than a tenth of the time outside of events; `f1_pointwise` of all readings.
        """
        names = dict.fromkeys(judged.detector for judged in self.judged)
        return pd.DataFrame([self._alarms_of(name) for name in names])

    def _alarms_of(self, detector: str) -> dict[str, object]:
        own = [judged for judged in self.judged if judged.detector == detector]
        report = joined([judged.report for judged in own])
        kept = np.array([judged.kept(self.alerts_per_sensor_day) for judged in own])
        often = [judged.report.alarm_share > MOST_ALARMED for judged in own]
        return {
            "detector": detector,
            "events": report.events,
            "found": report.found,
            "false_alerts_per_sensor_day": report.false_alerts_per_sensor_day,
            "budget_kept": float(np.nanmean(kept)) if np.isfinite(kept).any() else math.nan,
            "often_in_alarm": float(np.mean(often)),
            "f1_pointwise": reduce(add, (judged.pointwise for judged in own)).f1,
        }


def benchmark(
    specs: Mapping[str, Mapping[str, Any]],
    folder: str | Path,
    *,
    learn: float | Mapping[str, float] = LEARN,
    alerts_per_sensor_day: float = 1 / 7,
    rule: EpisodeRule | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Benchmark:
    """Return the figures of specifications on every series of a folder, beside the floors.

    Parameters
    ----------
    specs
        By their name in the table. One that names no channels takes all that move; one with a
        `refit` policy is fitted again as that says.
    folder
        One set, as `read_folder` tells them apart, or a folder of sets; from the project's folder,
        if it is not here.
    learn
        Share to learn from, where the set itself does not say; or that of each set, by its name
        (`LEARN` of those that have none).
    alerts_per_sensor_day, rule
        The budget that buys the threshold of each detector and floor, on the last third of what is
        learnt from; and when an alarm is set and reset. A series without times has a reading a
        second, 86,400 a day.
    progress
        Is told the name of each series before it is judged.

    Raises
    ------
    EvaluationError
        If there is no series, none has a labelled reading, a share is not between 0 and 1 or of a
        set that is not there, or a specification is called as a floor is.
    """
    _check(specs, learn)
    asked = _Asked(specs, alerts_per_sensor_day, rule or EpisodeRule(), seed)
    judged: list[Judged] = []
    refused: dict[str, WorkbenchError] = {}
    quiet: list[str] = []
    for series in _all_series(labelled_sets(folder), learn):
        if not isinstance(series, LabelledSeries):
            name, refused[name] = series
            continue
        if not series.wrong[series.learn :].any():
            quiet.append(series.name)
            continue
        if progress is not None:
            progress(series.name)
        try:
            judged += asked.judged(series)
        except WorkbenchError as err:
            refused[series.name] = err
    if not judged:
        raise next(iter(refused.values()), EvaluationError("no series has a labelled reading"))
    return Benchmark(judged, refused, tuple(quiet), alerts_per_sensor_day)


def _check(specs: Mapping[str, object], learn: float | Mapping[str, float]) -> None:
    for name in specs:
        if name in _FLOORS:
            raise EvaluationError(
                f"a specification is called {name!r}, as a floor of every table is",
                hint="give it, or its file, another name",
            )
    for share in learn.values() if isinstance(learn, Mapping) else [learn]:
        if not 0 < share < 1:
            raise EvaluationError(
                f"the share to learn from is {share}, expected one between 0 and 1"
            )


def _all_series(
    sets: Mapping[str, Path], learn: float | Mapping[str, float]
) -> Iterator[LabelledSeries | tuple[str, WorkbenchError]]:
    """Yield the series of some sets, as `read_folder` does; of several, with their set's name."""
    shares = learn if isinstance(learn, Mapping) else dict.fromkeys(sets, learn)
    for name in sorted(shares.keys() - sets.keys()):
        hint = did_you_mean(name, sets)
        raise EvaluationError(f"a share to learn from is of {name!r}, no set here", hint=hint)
    for name, path in sets.items():
        prefix = f"{name}/" if len(sets) > 1 else ""
        for series in read_folder(path, learn=shares.get(name, LEARN)):
            if isinstance(series, LabelledSeries):
                yield replace(series, name=prefix + series.name)
            else:
                yield prefix + series[0], series[1]


@dataclass(frozen=True, eq=False)
class _Asked:
    """What is asked of each series."""

    specs: Mapping[str, Mapping[str, Any]]
    alerts_per_sensor_day: float
    rule: EpisodeRule
    seed: int

    def judged(self, series: LabelledSeries) -> list[Judged]:
        """Return what each detector is worth on a series, the floors first."""
        times_ms, cut = epoch_ms(series.frame["event_time"]), series.learn
        outcomes = {**self._floors(series, times_ms), **self._detectors(series)}
        begin, end = timestamps(np.array([times_ms[cut], times_ms.max() + 1]))
        return [
            self._worth(name, series, times_ms[cut:], *outcome, span=(begin, end))
            for name, outcome in outcomes.items()
        ]

    def _worth(
        self,
        detector: str,
        series: LabelledSeries,
        times_ms: Ints,
        scores: Floats,
        thresholds: Floats,
        *,
        span: tuple[pd.Timestamp, pd.Timestamp],
    ) -> Judged:
        wrong = series.wrong[series.learn :]
        sensors = np.full(len(scores), series.name, dtype=object)
        beyond = scores - thresholds  # > 0 is the same as >, to the last bit
        alerts = episodes(times_ms, sensors, beyond, 0.0, self.rule)
        alarm = alarmed(times_ms, sensors, beyond > 0, self.rule)
        events = _events(series.name, times_ms, wrong)
        return Judged(
            detector,
            series.name,
            vus_pr(wrong, scores, buffer=DEFAULT_PERIOD),
            auc_pr(wrong, scores),
            event_report(alerts, events, span=span, sensors=[series.name]),
            Pointwise.of(alarm, wrong),
        )

    def _floors(self, series: LabelledSeries, times_ms: Ints) -> dict[str, tuple[Floats, Floats]]:
        """Return scores and thresholds of what knows nothing, and of `robust_z`."""
        cut = series.learn
        trial = trial_end(times_ms, cut)
        kept = self._kept(series)
        pairs = {
            name: (scores, scores)
            for name, scores in floor_scores(len(times_ms), seed=self.seed).items()
        }
        pairs["robust_z"] = (_robust_z(series, kept, trial), _robust_z(series, kept, cut))
        return {
            name: (scores[cut:], np.full(len(times_ms) - cut, self._price(series, times_ms, past)))
            for name, (past, scores) in pairs.items()
        }

    def _price(self, series: LabelledSeries, times_ms: Ints, past: Floats) -> float:
        bought = slice(trial_end(times_ms, series.learn), series.learn)
        sensors = np.full(len(times_ms), series.name, dtype=object)
        return threshold_for_budget(
            times_ms[bought], sensors[bought], past[bought],
            alerts_per_sensor_day=self.alerts_per_sensor_day, rule=self.rule,
        )  # fmt: skip

    def _detectors(self, series: LabelledSeries) -> dict[str, tuple[Floats, Floats]]:
        """Return scores and thresholds of the windowed PCA and of each specification."""
        windowed = {
            "name": "reconstruction", "window": min(_LONG, max(2, series.learn // 8)),
            "missing": "fill", "sample": 2000,
        }  # fmt: skip
        kept = list(self._kept(series))
        outcomes = {}
        for name, spec in {"windowed_pca": windowed, **self.specs}.items():
            has_channels = spec.get("channels") or spec.get("name") == "auto"
            outcomes[name] = priced_scores(
                spec if has_channels else {**spec, "channels": kept},
                series.frame, series.learn, sensor="sensor", time="event_time",
                alerts_per_sensor_day=self.alerts_per_sensor_day, rule=self.rule, seed=self.seed,
            )  # fmt: skip
        return outcomes

    def _kept(self, series: LabelledSeries) -> tuple[str, ...]:
        """Return the channels that move while it is learnt from."""
        return look(series.frame[: series.learn], sensor="sensor", time="event_time").kept


def _events(name: str, times_ms: Ints, wrong: Bools) -> pd.DataFrame:
    """Return the runs of labelled readings as events, from the first to just after the last."""
    edges = np.diff(wrong.astype(np.int8), prepend=0, append=0)
    first, last = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    spans = {"start": timestamps(times_ms[first]), "stop": timestamps(times_ms[last] + 1)}
    return pd.DataFrame({"sensor": name, **spans})


def _robust_z(series: LabelledSeries, kept: tuple[str, ...], learn: int) -> Floats:
    """Return the deviations of the worst channel; where most readings are equal, of the standard.

    Written out, as it must refuse nothing.
    """
    values = series.frame[list(kept)].to_numpy(dtype=np.float64, na_value=np.nan)
    learnt = values[:learn]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a channel may begin after that
        median = np.nanmedian(learnt, axis=0)
        spread = np.nanmedian(np.abs(learnt - median), axis=0)
        deviation = np.nanstd(learnt, axis=0)
    spread = np.where(spread > 0, spread, np.where(deviation > 0, deviation, 1.0))
    scores: Floats = np.nan_to_num(np.abs(values - median) / spread).max(axis=1)
    return scores
