"""Read the Numenta Anomaly Benchmark's folder, and write the result files its own scorer reads.

NAB's rules: no look-ahead; the first 15 % of a file, at most 750 readings, is for learning and is
not judged (probation); one setting for all files.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from workbench import files
from workbench.arrays import Bools, Floats, Objects
from workbench.detectors import with_clock
from workbench.endpoints import located
from workbench.errors import EvaluationError
from workbench.evaluation.tables import read_table
from workbench.times import parse_column, timestamps

PROBATION_SHARE = 0.15
PROBATION_MOST = 750


@dataclass(frozen=True, eq=False)
class NabSeries:
    """One file of NAB.

    Attributes
    ----------
    name
        Its path below `data/`: `realKnownCause/nyc_taxi.csv`.
    times
        Shape (n,), text as in the file; eight files have times that repeat or go back.
    readings
        Shape (n,).
    windows
        Labelled windows as (first, last) row, both inside.
    learnt
        Rows learnt from, where it is no file of NAB's; None: probation by NAB's rule.
    """

    name: str
    times: Objects = field(repr=False)
    readings: Floats = field(repr=False)
    windows: tuple[tuple[int, int], ...]
    learnt: int | None = None

    @property
    def probation(self) -> int:
        """Rows at the start that a detector may learn from and that are not judged."""
        if self.learnt is not None:
            return self.learnt
        return int(min(PROBATION_SHARE * len(self.readings), PROBATION_MOST))

    @property
    def labels(self) -> Bools:
        """Shape (n,): whether a row lies in a labelled window."""
        inside = np.zeros(len(self.readings), dtype=bool)
        for first, last in self.windows:
            inside[first : last + 1] = True
        return inside

    @property
    def forward(self) -> Bools:
        """Shape (n,): whether a row is no earlier than any before it; the others are late."""
        stamps = parse_column(self.times)
        before = np.concatenate([[np.iinfo(np.int64).min], np.maximum.accumulate(stamps)[:-1]])
        return np.asarray(stamps >= before)

    def frame(self) -> pd.DataFrame:
        """Return the readings as a frame in arrival order: `sensor`, `event_time`, `value`.

        And derived channels: those of `detectors.with_clock`, and `standard_value`, the value in
        deviations from its mean, both as of probation and so the same through all refits.
        """
        stamps = timestamps(parse_column(self.times))
        seen = self.readings[: self.probation]
        standard = (self.readings - seen.mean()) / (seen.std() or 1.0)
        frame = pd.DataFrame({"sensor": self.name, "event_time": stamps, "value": self.readings})
        return with_clock(frame.assign(standard_value=standard))

    def events(self) -> pd.DataFrame:
        """Return the labelled windows as `read_labels` gives events: `sensor`, `start`, `stop`."""
        stamps = self.frame()["event_time"]
        starts = [stamps[first] for first, _ in self.windows]
        stops = [stamps[last] + pd.Timedelta(milliseconds=1) for _, last in self.windows]
        events = pd.DataFrame({"sensor": self.name, "start": starts, "stop": stops, "kind": ""})
        return events.astype(dict.fromkeys(("start", "stop"), "datetime64[ms, UTC]"))


def nab_folder(path: str | Path = "") -> Path:
    """Return where NAB is: `path`, else `WORKBENCH_NAB`, else `../shared/data/nab`."""
    return located(path or os.environ.get("WORKBENCH_NAB") or Path("..", "shared", "data", "nab"))


def read_nab(folder: str | Path) -> list[NabSeries]:
    """Return NAB's series in order of their names.

    Parameters
    ----------
    folder
        NAB's own: `data/*/*.csv` (`timestamp,value`) and `labels/combined_windows.json`.

    Raises
    ------
    EvaluationError
        If the labels or the data are missing, or a window's edge is not a row of its file.
    """
    folder = Path(folder)
    path = folder / "labels" / "combined_windows.json"
    if not path.is_file():
        raise EvaluationError("there are no NAB labels", where=path, hint="name NAB's own folder")
    windows = json.loads(path.read_text(encoding="utf-8"))
    files = sorted((folder / "data").glob("*/*.csv"))
    if not files:
        raise EvaluationError("there is no NAB data", where=folder / "data" / "*" / "*.csv")
    return [_series(file, windows.get(f"{file.parent.name}/{file.name}", [])) for file in files]


def _series(file: Path, windows: list[list[str]]) -> NabSeries:
    table = read_table(file, {"timestamp": str, "value": float})
    times = table["timestamp"].to_numpy(dtype=object)
    return NabSeries(
        name=f"{file.parent.name}/{file.name}",
        times=times,
        readings=table["value"].to_numpy(dtype=np.float64),
        windows=tuple(_rows_of(times, first, last, file) for first, last in windows),
    )


def _rows_of(times: Objects, first: str, last: str, file: Path) -> tuple[int, int]:
    rows = []
    for edge in (first, last):
        matches = np.flatnonzero(times == edge.partition(".")[0])
        if not len(matches):
            raise EvaluationError(f"a labelled window's edge {edge} is not a row", where=file)
        rows.append(int(matches[0]))
    return rows[0], rows[1]


def write_nab(folder: str | Path, detector: str, series: NabSeries, scores: Floats) -> Path:
    """Write one result file as NAB's own scorer reads it, and return its path.

    Parameters
    ----------
    folder
        Becomes `FOLDER/DETECTOR/realKnownCause/DETECTOR_nyc_taxi.csv`.
    scores
        Shape (n,), from 0 to 1, as NAB's optimiser looks for thresholds there. NaN (warming up)
        is written as 0; a row that goes back in time repeats the last score.

    Raises
    ------
    EvaluationError
        If a score lies outside 0 to 1, or there is not one for each row.
    """
    if scores.shape != series.readings.shape:
        raise EvaluationError(
            f"{series.name} has {len(series.readings)} rows, there are {scores.size} scores"
        )
    numbers = scores[~np.isnan(scores)]
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() <= 1):
        span = f"{numbers.min():g} to {numbers.max():g}"
        raise EvaluationError(
            f"scores of {series.name} go from {span}, NAB takes 0 to 1",
            hint="calibrate them: a tail probability fits",
        )
    subset, _, name = series.name.rpartition("/")
    path = Path(folder) / detector / subset / f"{detector}_{name}"
    table = pd.DataFrame(
        {
            "timestamp": series.times,
            "value": series.readings,
            "anomaly_score": repeat_last(scores, series.forward),
            "label": series.labels.astype(int),
        }
    )
    with files.new_file(path) as part:
        table.to_csv(part, index=False)
    return path


def repeat_last(scores: Floats, forward: Bools) -> Floats:
    """Return scores where rows that go back in time repeat the one before, and NaN is 0.

    Examples
    --------
    >>> repeat_last(np.array([np.nan, 0.5, 0.9, 0.1]), np.array([True, True, False, True]))
    array([0. , 0.5, 0.5, 0.1])
    """
    source = np.maximum.accumulate(np.where(forward, np.arange(len(scores)), 0))
    filled = np.nan_to_num(scores, nan=0.0)
    return np.asarray(filled[source], dtype=np.float64)
