"""A specification against public labelled sets, causally, beside floors that anyone can write.

Of each series the first readings are learnt from and nothing of the others is known; one setting
serves all. Beside it stand, in every table: `random` and `constant`, which know nothing, `robust_z`
(the worst channel against its training median) and `windowed_pca` (what the components of windows
of 64 readings leave), a page of numpy each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workbench.arrays import Floats
from workbench.detectors import look
from workbench.errors import EvaluationError, WorkbenchError
from workbench.evaluation.causal import causal_scores
from workbench.evaluation.curves import DEFAULT_PERIOD, auc_pr, vus_pr
from workbench.evaluation.labelled_folders import LabelledSeries, read_folder
from workbench.evaluation.ranking import floor_scores

_LONG = 64  # readings of a window of the PCA


@dataclass(frozen=True, eq=False)
class Benchmark:
    """What became of each series of a set.

    Attributes
    ----------
    rows
        For `leaderboard` and `summary`: `detector`, `series`, `vus_pr`, `auc_pr`.
    refused
        Why others have no row, by series.
    quiet
        Series without a labelled reading to judge, where no figure exists.
    """

    rows: list[dict[str, object]]
    refused: Mapping[str, WorkbenchError]
    quiet: tuple[str, ...]


def benchmark(
    specs: Mapping[str, Mapping[str, Any]],
    folder: str | Path,
    *,
    learn: float = 0.5,
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
        As `read_folder` tells them apart.
    learn
        Share to learn from, where the set does not say.
    progress
        Is told the name of each series before it is judged.

    Raises
    ------
    EvaluationError
        If there is no series, or none has a labelled reading.
    """
    rows: list[dict[str, object]] = []
    refused: dict[str, WorkbenchError] = {}
    quiet: list[str] = []
    for series in read_folder(folder, learn=learn):
        if not isinstance(series, LabelledSeries):
            name, refused[name] = series
            continue
        if not series.wrong[series.learn :].any():
            quiet.append(series.name)
            continue
        if progress is not None:
            progress(series.name)
        try:
            rows += _judged(specs, series, seed)
        except WorkbenchError as err:
            refused[series.name] = err
    if not rows:
        raise next(iter(refused.values()), EvaluationError("no series has a labelled reading"))
    return Benchmark(rows, refused, tuple(quiet))


def _judged(
    specs: Mapping[str, Mapping[str, Any]], series: LabelledSeries, seed: int
) -> list[dict[str, object]]:
    scores = _scores(specs, series, seed)
    wrong = series.wrong[series.learn :]
    return [
        {
            "detector": name,
            "series": series.name,
            "vus_pr": vus_pr(wrong, found[series.learn :], buffer=DEFAULT_PERIOD),
            "auc_pr": auc_pr(wrong, found[series.learn :]),
        }
        for name, found in scores.items()
    ]


def _scores(
    specs: Mapping[str, Mapping[str, Any]], series: LabelledSeries, seed: int
) -> dict[str, Floats]:
    """Return the scores of the floors and of each specification, all fitted on the first part."""
    scores = floor_scores(len(series.frame), seed=seed)
    training = series.frame[: series.learn]
    kept = look(training, sensor="sensor", time="event_time").kept
    scores["robust_z"] = _robust_z(series, kept)
    windowed = {
        "name": "reconstruction", "window": min(_LONG, max(2, series.learn // 8)),
        "missing": "fill", "sample": 2000,
    }  # fmt: skip
    for name, spec in {"windowed_pca": windowed, **specs}.items():
        wanted = dict(spec) if spec.get("channels") or spec.get("name") == "auto" else {
            **spec, "channels": list(kept),
        }  # fmt: skip
        scores[name] = causal_scores(
            wanted, series.frame, learn=series.learn, sensor="sensor", seed=seed
        )
    return scores


def _robust_z(series: LabelledSeries, kept: tuple[str, ...]) -> Floats:
    """Return the deviations of the worst channel; where most readings are equal, of the standard.

    Written out, as it must refuse nothing.
    """
    values = series.frame[list(kept)].to_numpy(dtype=np.float64, na_value=np.nan)
    learnt = values[: series.learn]
    median = np.nanmedian(learnt, axis=0)
    spread = np.nanmedian(np.abs(learnt - median), axis=0)
    deviation = np.nanstd(learnt, axis=0)
    spread = np.where(spread > 0, spread, np.where(deviation > 0, deviation, 1.0))
    scores: Floats = np.nan_to_num(np.abs(values - median) / spread).max(axis=1)
    return scores
