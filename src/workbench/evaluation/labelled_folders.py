"""Folders of labelled series, as public benchmarks lay them out: told apart by what lies in them.

- NAB: `labels/combined_windows.json` and `data/`; learnt from is its probation.
- TSB-AD: CSV files with a last column `Label` of 0 and 1, no times (a reading a second is assumed,
  which decides nothing), and `_tr_N_` in the name: the first N readings are learnt from.
- any other: CSV files, also gzipped, with a column `event_time`, and `labels.csv` with `sensor`,
  `start`, `stop`; the file's name is the sensor.

A folder of such folders is several sets.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.arrays import Bools
from workbench.endpoints import located
from workbench.errors import EvaluationError, WorkbenchError
from workbench.evaluation.labelled_series import read_one
from workbench.evaluation.labels import labelled, read_labels
from workbench.evaluation.nab.files import read_nab
from workbench.evaluation.tables import read_table
from workbench.times import epoch_ms, parse_column, timestamps

_TRAIN = re.compile(r"_tr_(\d+)")
_OURS = {"sensor", "event_time"}  # columns of a series, beside its channels


@dataclass(frozen=True, eq=False)
class LabelledSeries:
    """Readings of one machine, which of them are faulty, and how many are learnt from.

    Attributes
    ----------
    frame
        `event_time`, `sensor`, channels; in order of time.
    wrong
        Shape (n,).
    learn
        The first so many readings.
    """

    name: str
    frame: pd.DataFrame
    wrong: Bools
    learn: int


def labelled_sets(folder: str | Path) -> dict[str, Path]:
    """Return the sets of labelled series in a folder, by name: itself, or its folders that are.

    Raises
    ------
    EvaluationError
        If there is no such folder, or no set in it.
    """
    folder = located(folder)
    if not folder.is_dir():
        raise EvaluationError("there is no such folder", where=folder)
    if _is_set(folder):
        return {folder.absolute().name: folder}
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    sets = {path.name: path for path in inner if _is_set(path)}
    if not sets:
        raise EvaluationError("there are no CSV files, and no folders of any", where=folder)
    return sets


def _is_set(folder: Path) -> bool:
    return _is_nab(folder) or bool(_series_files(folder))


def _is_nab(folder: Path) -> bool:
    return (folder / "labels" / "combined_windows.json").is_file()


def _series_files(folder: Path) -> list[Path]:
    names = sorted(path for path in folder.iterdir() if path.name.endswith((".csv", ".csv.gz")))
    return [path for path in names if path.name != "labels.csv"]


def read_folder(
    folder: str | Path, *, learn: float = 0.5
) -> Iterator[LabelledSeries | tuple[str, WorkbenchError]]:
    """Yield the series of a folder, by name; in place of one that cannot be read, why not.

    Parameters
    ----------
    learn
        Share of the readings to learn from, where the set itself does not say.

    Raises
    ------
    EvaluationError
        If there are no series.
    """
    folder = Path(folder)
    if _is_nab(folder):
        yield from _of_nab(folder)
        return
    files = _series_files(folder)
    if not files:
        raise EvaluationError("there are no CSV files", where=folder)
    labels = read_labels(folder / "labels.csv") if (folder / "labels.csv").is_file() else None
    names = Counter(map(_stem, files))
    for file in files:
        try:
            if names[_stem(file)] > 1:
                raise EvaluationError(
                    f"two files are series {_stem(file)!r}, expected one of each name",
                    where=folder,
                    hint="leave one, as NAME.csv or NAME.csv.gz",
                )
            yield _of_tsb(file, learn) if labels is None else _of_labels(file, labels, learn)
        except WorkbenchError as err:
            yield file.name, err


def _of_nab(folder: Path) -> Iterator[LabelledSeries]:
    for series in read_nab(folder):
        times = parse_column(list(series.times))
        order = np.argsort(times, kind="stable")
        wrong = np.zeros(len(times), dtype=np.bool_)
        for begin, end in series.windows:
            wrong[begin : end + 1] = True
        frame = pd.DataFrame(
            {"event_time": timestamps(times), "sensor": series.name, "value": series.readings}
        )
        yield LabelledSeries(
            series.name, frame.iloc[order].reset_index(drop=True), wrong[order], series.probation
        )


def _of_tsb(file: Path, learn: float) -> LabelledSeries:
    try:
        table = read_table(file)
    except (ValueError, OSError) as err:
        raise EvaluationError(f"no CSV file: {err}", where=file) from err
    if table.columns[-1] != "Label":
        raise EvaluationError(
            f"the last column is {table.columns[-1]!r}, expected 'Label'",
            where=file,
            hint="or put labels.csv with sensor,start,stop beside, and event_time into each file",
        )
    for column in _OURS & {*table.columns}:
        raise EvaluationError(
            f"a channel is called {column!r}, which is what its series is told by here",
            where=file,
            hint="give it another name",
        )
    train = _TRAIN.search(file.name)
    frame = table.iloc[:, :-1].assign(
        event_time=timestamps(np.arange(len(table), dtype=np.int64) * 1000), sensor=_stem(file)
    )
    count = int(train[1]) if train else int(len(table) * learn)
    return LabelledSeries(_stem(file), frame, table["Label"].to_numpy() > 0, count)


def _of_labels(file: Path, labels: pd.DataFrame, learn: float) -> LabelledSeries:
    frame = read_one(file, "event_time", "").assign(sensor=_stem(file))
    frame = frame.sort_values("event_time", kind="stable", ignore_index=True)
    wrong = labelled(epoch_ms(frame["event_time"]), frame["sensor"].to_numpy(dtype=object), labels)
    return LabelledSeries(_stem(file), frame, wrong, int(len(frame) * learn))


def _stem(file: Path) -> str:
    return file.name.removesuffix(".gz").removesuffix(".csv")
