"""Put detectors in order: one row each, with floors, intervals and wins.

Scores are judged series by series (a sensor is a series); a detector's figure is the mean over
series, its interval a bootstrap over series: how far the mean would move with other sensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from workbench.arrays import Floats
from workbench.errors import EvaluationError
from workbench.evaluation.curves import DEFAULT_PERIOD, auc_pr, vus_pr
from workbench.evaluation.labels import by_name, labelled
from workbench.metrics import direction

HEADLINE = "vus_pr"
FLOORS = ("random", "constant")


def judge(
    detector: str,
    times_ms: ArrayLike,
    sensors: ArrayLike,
    scores: ArrayLike,
    labels: pd.DataFrame,
    *,
    buffer: int = DEFAULT_PERIOD,
) -> list[dict[str, object]]:
    """Return one row for each sensor: `detector`, `series`, `vus_pr`, `auc_pr`.

    Parameters
    ----------
    detector
        The name in the leaderboard.
    times_ms, sensors, scores
        Shape (n,): of every reading, in any order; NaN where it was not scored.
    labels
        As from `read_labels`. Sensors without a labelled reading are left out: precision and
        recall do not exist there.
    buffer
        See `vus_pr`; the same for all detectors of a table.
    """
    times, names = np.asarray(times_ms, dtype=np.int64), by_name(sensors)
    values = np.asarray(scores, dtype=np.float64)
    wrong = labelled(times, names, labels)
    rows: list[dict[str, object]] = []
    for sensor in np.unique(names[wrong]):
        rows_of_sensor = np.flatnonzero(names == sensor)
        rows_of_sensor = rows_of_sensor[np.argsort(times[rows_of_sensor], kind="stable")]
        figures = {
            "vus_pr": vus_pr(wrong[rows_of_sensor], values[rows_of_sensor], buffer=buffer),
            "auc_pr": auc_pr(wrong[rows_of_sensor], values[rows_of_sensor]),
        }
        rows.append({"detector": detector, "series": str(sensor), **figures})
    return rows


def floor_scores(readings: int, *, seed: int = 0) -> dict[str, Floats]:
    """Return the scores of the two floors, which know nothing: `random` and `constant`.

    Examples
    --------
    >>> floors = floor_scores(3)
    >>> sorted(floors), floors["constant"].tolist()
    (['constant', 'random'], [0.0, 0.0, 0.0])
    """
    random = np.random.default_rng(seed).random(readings)
    return dict(zip(FLOORS, (random, np.zeros(readings)), strict=True))


def leaderboard(
    rows: Iterable[Mapping[str, object]],
    *,
    headline: str = HEADLINE,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the detectors, best first.

    Parameters
    ----------
    rows
        One mapping per detector and series: `detector`, `series`, and figures by name, all with
        the same names. The floors must be among the detectors, and every detector must have been
        judged on the same series.
    headline
        The figure that orders the table, and that wins, median and interval are of; one of
        `workbench.metrics`, which says whether more or less of it is better.
    resamples, seed
        Of the bootstrap over series (percentile interval, 95 %).

    Returns
    -------
    board
        Columns `detector`, the mean of each figure, then `median`, `low`, `high` (of the
        headline), `wins` (series where it is best; a tie counts for each) and `series`.

    Raises
    ------
    EvaluationError
        If there are no rows, a column or floor is missing, a detector lacks a series, or nobody
        knows which way the headline is better.
    """
    table = pd.DataFrame([dict(row) for row in rows])
    _check_rows(table, headline)
    sign = checked_direction(headline)
    figures = [name for name in table.columns if name not in ("detector", "series")]
    wide = table.pivot_table(index="series", columns="detector", values=headline)
    _check_complete(wide)
    board = table.groupby("detector")[figures].mean()
    low, high = _interval(wide.to_numpy(), resamples, seed)
    board["median"] = wide.median()
    board["low"] = pd.Series(low, index=wide.columns)
    board["high"] = pd.Series(high, index=wide.columns)
    board["wins"] = _wins(wide, sign)
    board["series"] = len(wide)
    return board.sort_values(headline, ascending=sign < 0, kind="stable").reset_index()


def checked_direction(headline: str) -> int:
    """Return 1 where more of a figure is better, -1 where less is, refused where nobody knows."""
    sign = direction(headline)
    if not sign:
        raise EvaluationError(
            f"whether more or less of {headline} is better is not known",
            hint="rank by a figure that workbench.metrics has",
        )
    return sign


def _wins(wide: pd.DataFrame, sign: int) -> pd.Series:
    """Return for each column of (series, detectors) the series where it is best, 0 if unranked."""
    best = (sign * wide).max(axis=1)
    return (sign * wide).eq(best, axis=0).sum() * abs(sign)


def summary(
    rows: Iterable[Mapping[str, object]], *, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Return every figure of every detector, with its interval: one line each.

    Parameters
    ----------
    rows
        As for `leaderboard`; a figure that does not exist for a series (a delay where nothing was
        found) is NaN, and that series is left out of it.
    resamples, seed
        Of the bootstrap over series (percentile interval, 95 %).

    Returns
    -------
    table
        `figure`, `detector`, `mean`, `median`, `low`, `high` (of the mean), `wins` (series where
        it is best by `workbench.metrics`; a tie counts for each), `series`. A figure that is not
        in that table is not ranked: its lines stand by name, without wins.

    Examples
    --------
    >>> rows = [{"detector": d, "series": s, "vus_pr": v, "delay_s": 9.0} for d, s, v in
    ...         [("random", "1", 0.1), ("constant", "1", 0.1), ("knn", "1", 0.4)]]
    >>> summary(rows).query("figure == 'vus_pr'")[["detector", "mean", "wins"]].values.tolist()
    [['knn', 0.4, 1], ['constant', 0.1, 0], ['random', 0.1, 0]]
    """
    table = pd.DataFrame([dict(row) for row in rows])
    _check_rows(table, HEADLINE)
    figures = [name for name in table.columns if name not in ("detector", "series")]
    return pd.concat(
        [_figure(table, figure, resamples, seed) for figure in figures], ignore_index=True
    )


def _figure(table: pd.DataFrame, figure: str, resamples: int, seed: int) -> pd.DataFrame:
    wide = table.pivot_table(index="series", columns="detector", values=figure, dropna=False)
    sign = direction(figure)
    intervals = {
        name: _interval(known.dropna().to_numpy()[:, np.newaxis], resamples, seed)
        for name, known in wide.items()
        if known.notna().any()
    }
    ranking = pd.DataFrame(
        {
            "mean": wide.mean(),
            "median": wide.median(),
            "low": pd.Series({name: float(low[0]) for name, (low, _) in intervals.items()}),
            "high": pd.Series({name: float(high[0]) for name, (_, high) in intervals.items()}),
            "wins": _wins(wide, sign),
            "series": wide.notna().sum(),
        },
        index=wide.columns,
    ).rename_axis("detector")
    if sign:
        ranking = ranking.sort_values("mean", ascending=sign < 0, kind="stable", na_position="last")
    ranking.insert(0, "figure", figure)
    columns = ["figure", "detector", "mean", "median", "low", "high", "wins", "series"]
    return ranking.reset_index()[columns]


def _check_rows(table: pd.DataFrame, headline: str) -> None:
    for name in ("detector", "series", headline):
        if name not in table:
            found = ", ".join(map(str, table)) or "none"
            raise EvaluationError(f"the leaderboard's rows have no {name!r}, they have {found}")
    missing = [floor for floor in FLOORS if floor not in set(table["detector"])]
    if missing:
        raise EvaluationError(
            f"the leaderboard lacks the floor {' and '.join(missing)}",
            hint="judge floor_scores() on the same series",
        )


def _check_complete(wide: pd.DataFrame) -> None:
    for detector in wide.columns:
        absent = wide.index[wide[detector].isna()]
        if len(absent):
            raise EvaluationError(
                f"{detector} has no figure for {len(absent)} of {len(wide)} series,"
                f" the first is {absent[0]}",
                hint="a mean over other series cannot be compared",
            )


def _interval(figures: Floats, resamples: int, seed: int) -> tuple[Floats, Floats]:
    """Return the 2.5th and 97.5th percentile of the mean over resampled rows, per column."""
    drawn = np.random.default_rng(seed).integers(len(figures), size=(resamples, len(figures)))
    means = figures[drawn].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return low, high
