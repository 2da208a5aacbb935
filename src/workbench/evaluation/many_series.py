"""Many labelled series, each judged by itself; one that is refused does not end the others.

A series is a sensor, wherever its readings stand: in a file of its own, in one file with all
others, or spread over a file a day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

import pandas as pd

from workbench.detectors import sensor_rows
from workbench.errors import WorkbenchError
from workbench.evaluation.events import EventReport, joined
from workbench.evaluation.labelled_series import Evaluation, all_rows, matching, read_one
from workbench.evaluation.scorecard import Pointwise


@dataclass(frozen=True, eq=False)
class Evaluations:
    """What became of each series.

    Attributes
    ----------
    evaluations
        By sensor.
    refused
        Why others were not judged, by sensor or file.
    """

    evaluations: Mapping[str, Evaluation]
    refused: Mapping[str, WorkbenchError]

    @property
    def rows(self) -> list[dict[str, object]]:
        """The rows of all, for `leaderboard` and `summary`."""
        return all_rows([*self.evaluations.values()])

    @property
    def report(self) -> EventReport:
        """The alerts of all, at the threshold of each."""
        return joined([evaluation.report for evaluation in self.evaluations.values()])

    @property
    def pointwise(self) -> Pointwise:
        """The readings of all, at the threshold of each."""
        return reduce(add, (evaluation.pointwise for evaluation in self.evaluations.values()))


def evaluate_series(
    judge: Callable[[pd.DataFrame], Evaluation],
    pattern: str,
    *,
    time: str,
    sensor: str = "",
    together: bool = False,
) -> Evaluations:
    """Return what `judge` makes of each series in the CSV files that match a pattern.

    Parameters
    ----------
    judge
        `evaluate`, with all but the frame given; the sensor is in the column `sensor`.
    pattern, time, sensor
        As for `read_series`.
    together
        Judge all sensors as one series: one detector and one threshold for all.

    Raises
    ------
    WorkbenchError
        If every series is refused: the first refusal.
    """
    refused: dict[str, WorkbenchError] = {}
    frames = []
    for file in matching(pattern):
        try:
            frames.append(read_one(file, time, sensor))
        except WorkbenchError as err:
            refused[str(file)] = err
    evaluations = {}
    for name, frame in _series(frames, Path(pattern).name if together else ""):
        try:
            evaluations[name] = judge(frame)
        except WorkbenchError as err:
            refused[name] = err
    if not evaluations:
        raise next(iter(refused.values()))
    return Evaluations(evaluations, refused)


def _series(frames: list[pd.DataFrame], together: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Return each sensor's readings from all files; all under one name, if one is given."""
    if not frames:
        return
    every = pd.concat(frames, ignore_index=True)
    if together:
        yield together, every
        return
    names = every["sensor"].astype(str).where(every["sensor"].notna())
    for name, rows in sorted(sensor_rows(names).items()):
        yield name, every.iloc[rows].dropna(axis="columns", how="all").reset_index(drop=True)
