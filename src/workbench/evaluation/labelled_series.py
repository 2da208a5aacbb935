"""Judge a specification on a person's own labelled series, as production would run it.

The first part of each series is learnt from; on the last third of that part, which the trial
detector was not fitted on, an alert budget buys the threshold; then nothing of the rest is known.
Detector and threshold are those of the code that runs in production: `auto`, or a refit's
(`fit_with_threshold`), so that what is judged is what would be promoted. With a refit policy they
follow it, as they would in production (`replay_refits`).
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.arrays import Floats, Ints
from workbench.detectors import (
    EpisodeRule,
    Fitted,
    auto,
    before_instant,
    fit_with_threshold,
    replay_refits,
    resolve,
    score_readings,
    threshold_for_budget,
    time_order,
)
from workbench.errors import EvaluationError, TimesError, did_you_mean
from workbench.evaluation.events import EventReport
from workbench.evaluation.ranking import floor_scores
from workbench.evaluation.scorecard import Pointwise, Terms, score_card
from workbench.evaluation.tables import read_table
from workbench.times import epoch_ms, parse_column, timestamps

TRIAL = 2 / 3  # of the readings learnt from: the rest buys the threshold


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A specification judged on one frame.

    Attributes
    ----------
    scores
        Shape (n,), in the order of the frame; NaN for the readings learnt from, and where there
        is none.
    threshold
        The first in force on the readings judged; without a refit policy the only one.
    report
        The alerts at the threshold in force, against the labels.
    pointwise
        The readings under an alarm, against the labelled ones.
    rows
        For `leaderboard` and `summary`: the figures of `score_card` of the floors and the detector,
        per sensor with a labelled reading; none, where no sensor has one.
    span
        What was judged, [start, stop), UTC.
    """

    scores: Floats
    threshold: float
    report: EventReport
    pointwise: Pointwise
    rows: list[dict[str, object]]
    span: tuple[pd.Timestamp, pd.Timestamp]


def evaluate(
    spec: Mapping[str, Any],
    frame: pd.DataFrame,
    labels: pd.DataFrame,
    *,
    sensor: str,
    time: str = "event_time",
    learn: float = 0.5,
    alerts_per_sensor_day: float = 1 / 7,
    false_per_sensor_day: float | None = None,
    rule: EpisodeRule | None = None,
    seed: int = 0,
) -> Evaluation:
    """Return how a specification does on labelled readings, beside the two floors.

    Parameters
    ----------
    spec
        With a `refit` policy, detector and threshold are what that makes of them (`replay_refits`);
        `leave_out_alarmed` and `change_h` are kept to.
    frame
        Readings in any order: they are judged in order of event time, as if each had arrived in
        time. A reading without a sensor has no score.
    labels
        As from `read_labels`.
    learn
        Share of the readings, the first in time, to learn from.
    alerts_per_sensor_day
        The budget that buys the threshold, of the floors too.
    false_per_sensor_day
        The price of `recall_at_budget`; None: as much as the budget.

    Raises
    ------
    EvaluationError
        If `learn` is not between 0 and 1, or all readings are of one instant.
    DetectorError, PackageError
        If a fit is refused, no threshold is to be had, or none that a score can pass.
    """
    if not 0 < learn < 1:
        raise EvaluationError(f"the share to learn from is {learn}, expected one between 0 and 1")
    rule = rule or EpisodeRule()
    order = time_order(frame, sensor=sensor, time=time)
    order = order[frame[sensor].notna().to_numpy()[order]]
    ordered = frame.iloc[order]
    times, names = epoch_ms(ordered[time]), ordered[sensor].astype(str).to_numpy(dtype=object)
    cut = before_instant(times, int(len(times) * learn))
    begin, end = timestamps(np.array([times[cut], times.max() + 1]))
    price = alerts_per_sensor_day if false_per_sensor_day is None else false_per_sensor_day
    terms = Terms(labels, (begin, end), rule, price)
    scores, thresholds = priced_scores(
        spec, ordered, cut, sensor=sensor, time=time, alerts_per_sensor_day=alerts_per_sensor_day,
        rule=rule, seed=seed,
    )  # fmt: skip
    bought, rows = slice(trial_end(times, cut), cut), []
    for name, known_nothing in floor_scores(len(times), seed=seed).items():
        price_of_floor = threshold_for_budget(
            times[bought], names[bought], known_nothing[bought],
            alerts_per_sensor_day=alerts_per_sensor_day, rule=rule,
        )  # fmt: skip
        rows += score_card(
            name, times[cut:], names[cut:], known_nothing[cut:], price_of_floor, terms
        )[0]
    own, report, pointwise = score_card(
        str(spec["name"]), times[cut:], names[cut:], scores, thresholds, terms
    )
    judged: Floats = np.full(len(frame), np.nan)
    judged[order[cut:]] = scores
    first = float(thresholds[0])
    return Evaluation(judged, first, report, pointwise, [*rows, *own], terms.span)


def all_rows(evaluations: Sequence[Evaluation]) -> list[dict[str, object]]:
    """Return the rows of all, for `leaderboard` and `summary`; quiet series have none.

    Raises
    ------
    EvaluationError
        If no reading that was judged is labelled.
    """
    rows = [row for evaluation in evaluations for row in evaluation.rows]
    if not rows:
        begin = min(evaluation.span[0] for evaluation in evaluations)
        raise EvaluationError(
            "no reading to judge is labelled",
            hint=f"they begin at {begin:%Y-%m-%dT%H:%M:%SZ}; are the sensors' names the same?",
        )
    return rows


def trial_end(times_ms: Ints, cut: int) -> int:
    """Return how many readings, by time, a trial knows of those before `cut`: the rest buys."""
    return before_instant(times_ms, int(cut * TRIAL))


def priced_scores(
    spec: Mapping[str, Any],
    frame: pd.DataFrame,
    cut: int,
    *,
    sensor: str,
    time: str,
    alerts_per_sensor_day: float,
    rule: EpisodeRule,
    seed: int,
) -> tuple[Floats, Floats]:
    """Return the scores of all readings but the first, and the threshold in force at each.

    Parameters
    ----------
    spec
        `auto` is `detectors.auto` of the first readings; any other is fitted, and its threshold
        bought, by `detectors.fit_with_threshold`.
    frame
        Readings in order of time.
    cut
        The first so many are learnt from, and buy the threshold out of sample.

    Returns
    -------
    scores, thresholds
        Shape (len(frame) - cut,).

    Raises
    ------
    EvaluationError
        If nothing is left to learn from.
    DetectorError
        If a fit is refused, or no threshold is to be had.
    PackageError
        If no score can pass the threshold.
    """
    asked: Any = {"sensor": sensor, "time": time, "seed": seed}
    budget: Any = {"alerts_per_sensor_day": alerts_per_sensor_day, "rule": rule}
    if resolve(spec)["refit"] is not None:
        adapted = replay_refits(spec, frame, first=cut, **budget, **asked)
        return adapted.scores[cut:], adapted.thresholds[cut:]
    if not cut:
        raise EvaluationError("all readings are of one instant, so none is left to learn from")
    detector, threshold = _with_threshold(spec, frame[:cut], **budget, **asked)
    scores = score_readings(detector, frame, sensor=sensor, time=time)[cut:]
    return scores, np.full(len(scores), threshold)


def _with_threshold(
    spec: Mapping[str, Any], learnt: pd.DataFrame, **asked: Any
) -> tuple[Fitted, float]:
    """Return a detector and its threshold, as a refit and `auto` make them of the same readings."""
    resolved = resolve(spec)
    if resolved["name"] != "auto":
        return fit_with_threshold(resolved, learnt, **asked)
    chosen = auto(learnt, channels=resolved["channels"], window=resolved["window"], **asked)
    return chosen.detector, chosen.threshold


def read_series(pattern: str, *, time: str, sensor: str = "") -> list[pd.DataFrame]:
    """Return the CSV files that match a pattern, each as a frame with the column `sensor`.

    Parameters
    ----------
    pattern
        As a shell would expand it: `pumps/*.csv`.
    time
        Column of event times, as `times.recognise` reads them; without a zone they are UTC.
    sensor
        Column of sensors; empty: the file's name without `.csv` is the sensor.

    Raises
    ------
    EvaluationError
        If no file matches, a column is missing, or a time is not one; file and line are named.
    """
    files = matching(pattern)
    return [read_one(file, time, sensor) for file in files]


def matching(pattern: str) -> list[Path]:
    """Return the files that match a pattern, refused if none does."""
    files = [Path(name) for name in sorted(glob.glob(pattern))]  # noqa: PTH207 - may be absolute
    if not files:
        raise EvaluationError(f"no file matches {pattern}")
    return files


def read_one(file: Path, time: str, sensor: str) -> pd.DataFrame:
    """Return one CSV file, as `read_series` does."""
    try:
        frame = read_table(file, {time: str})
    except (ValueError, OSError) as err:  # pandas' own are ValueErrors
        raise EvaluationError(f"no CSV file: {err}", where=file) from err
    for name in (time, sensor) if sensor else (time,):
        if name not in frame:
            hint = did_you_mean(name, map(str, frame))
            raise EvaluationError(f"there is no column {name!r}", where=file, hint=hint)
    try:
        times = timestamps(parse_column(frame[time].fillna("")))
    except TimesError as err:
        line = f", line {err.rows[0] + 2}" if err.rows else ""
        where = f"{file}{line}, column {time}"
        raise EvaluationError(err.message, where=where, hint=err.hint) from err
    named = frame.assign(**{time: times, "sensor": frame[sensor] if sensor else file.stem})
    return named.drop(columns={sensor} - {"", "sensor"})  # a number of a sensor is no reading
