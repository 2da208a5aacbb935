"""Judge a specification on a person's own labelled series, as production would run it.

The first part of each series is learnt from; on the last third of that part, which the trial
detector was not fitted on, an alert budget buys the threshold; then nothing of the rest is known.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.detectors import EpisodeRule, epoch_ms, threshold_for_budget
from workbench.errors import EvaluationError, did_you_mean
from workbench.evaluation.causal import causal_scores
from workbench.evaluation.events import EventReport
from workbench.evaluation.ranking import floor_scores
from workbench.evaluation.scorecard import Terms, score_card

Floats = NDArray[np.float64]

TRIAL = 2 / 3  # of the readings learnt from: the rest buys the threshold


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A specification judged on one frame.

    Attributes
    ----------
    scores
        Shape (n,), NaN for the readings learnt from, and where there is none.
    threshold
        Fixed before the readings judged.
    report
        The alerts at that threshold, against the labels.
    rows
        For `leaderboard` and `summary`: the figures of `score_card` of the floors and the detector,
        per sensor with a labelled reading; none, where no sensor has one.
    span
        What was judged, [start, stop), UTC.
    """

    scores: Floats
    threshold: float
    report: EventReport
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
    frame
        Readings in arrival order.
    labels
        As from `read_labels`.
    learn
        Share of the readings, the first, to learn from.
    alerts_per_sensor_day
        The budget that buys the threshold, of the floors too.
    false_per_sensor_day
        The price of `recall_at_budget`; None: as much as the budget.

    Raises
    ------
    EvaluationError
        If `learn` is not between 0 and 1.
    """
    if not 0 < learn < 1:
        raise EvaluationError(f"the share to learn from is {learn}, expected one between 0 and 1")
    rule = rule or EpisodeRule()
    cut = int(len(frame) * learn)
    times, names = epoch_ms(frame[time]), frame[sensor].astype(str).to_numpy(dtype=object)
    begin, end = pd.to_datetime([times[cut], times.max() + 1], unit="ms", utc=True)
    price = alerts_per_sensor_day if false_per_sensor_day is None else false_per_sensor_day
    terms, trial = Terms(labels, (begin, end), rule, price), int(cut * TRIAL)
    scores = _scores(spec, frame, (trial, cut), sensor=sensor, time=time, seed=seed)
    rows: list[dict[str, object]] = []
    for name, known in {**floor_scores(len(frame), seed=seed), str(spec["name"]): scores}.items():
        threshold = threshold_for_budget(
            times[trial:cut],
            names[trial:cut],
            known[trial:cut],
            alerts_per_sensor_day=alerts_per_sensor_day,
            rule=rule,
        )
        found, report = score_card(name, times[cut:], names[cut:], known[cut:], threshold, terms)
        rows += found
    scores[:cut] = np.nan
    return Evaluation(scores, threshold, report, rows, terms.span)


def all_rows(found: Sequence[Evaluation]) -> list[dict[str, object]]:
    """Return the rows of all, for `leaderboard` and `summary`; quiet series have none.

    Raises
    ------
    EvaluationError
        If no reading that was judged is labelled.
    """
    rows = [row for one in found for row in one.rows]
    if not rows:
        begin = min(one.span[0] for one in found)
        raise EvaluationError(
            "no reading to judge is labelled",
            hint=f"they begin at {begin:%Y-%m-%dT%H:%M:%SZ}; are the sensors' names the same?",
        )
    return rows


def _scores(
    spec: Mapping[str, Any],
    frame: pd.DataFrame,
    stages: tuple[int, int],
    *,
    sensor: str,
    time: str,
    seed: int,
) -> Floats:
    """Return scores of the readings after the first stage, those of the second by a trial fit."""
    trial, cut = stages
    once = {**spec, "refit": None}
    past = causal_scores(once, frame[:cut], learn=trial, sensor=sensor, time=time, seed=seed)
    scores = causal_scores(spec, frame, learn=cut, sensor=sensor, time=time, seed=seed)
    scores[:cut] = past
    return scores


def read_series(pattern: str, *, time: str, sensor: str = "") -> list[pd.DataFrame]:
    """Return the CSV files that match a pattern, each as a frame with the column `sensor`.

    Parameters
    ----------
    pattern
        As a shell would expand it: `pumps/*.csv`.
    time
        Column of event times, ISO-8601; without a zone they are taken as UTC.
    sensor
        Column of sensors; empty: the file's name without `.csv` is the sensor.

    Raises
    ------
    EvaluationError
        If no file matches, a column is missing, or a time is not one; file and line are named.
    """
    files = [Path(one) for one in sorted(glob.glob(pattern))]  # noqa: PTH207 - may be absolute
    if not files:
        raise EvaluationError(f"no file matches {pattern}")
    return [_read_one(file, time, sensor) for file in files]


def _read_one(file: Path, time: str, sensor: str) -> pd.DataFrame:
    frame = pd.read_csv(file)
    for name in (time, sensor) if sensor else (time,):
        if name not in frame:
            hint = did_you_mean(name, map(str, frame))
            raise EvaluationError(f"there is no column {name!r}", where=file, hint=hint)
    times = pd.to_datetime(frame[time], utc=True, format="ISO8601", errors="coerce")
    if times.isna().any():
        row = int(times.isna().to_numpy().argmax())
        raise EvaluationError(
            f"{time} {frame[time].iloc[row]!r} is not a time", where=f"{file}, line {row + 2}"
        )
    return frame.assign(**{time: times, "sensor": frame[sensor] if sensor else file.stem})
