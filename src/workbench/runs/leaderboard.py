"""Runs side by side: the parameters in which they differ, and their metrics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from workbench.errors import RunError, did_you_mean
from workbench.metrics import direction
from workbench.runs.columns import as_text, flat, numbers
from workbench.runs.store import Run


def varied(runs: Sequence[Run]) -> list[str]:
    """Return the names of the parameters, dotted, in which `runs` differ."""
    every = [flat(run.params) for run in runs]
    names = dict.fromkeys(name for row in every for name in row)
    return [name for name in names if len({json.dumps(row.get(name)) for row in every}) > 1]


def ordered(runs: Iterable[Run], metric: str | None) -> list[Run]:
    """Return `runs`, the best by `metric` first, those without it last.

    None takes `first_metric`. By a metric of which nobody knows whether more or less is better
    (`workbench.metrics`) nothing is put in order, but those without it still come last.
    """
    candidates = list(runs)
    metric = metric or first_metric(candidates)
    if metric is None:
        return candidates
    sign = -direction(metric)

    def rank(run: Run) -> tuple[bool, float]:
        value = numbers(row(run)).get(metric)
        return value is None, sign * (value or 0.0)

    return sorted(candidates, key=rank)


def metrics(runs: Iterable[Run]) -> list[str]:
    """Return the names of the numbers that runs recorded, their parameters' names left out."""
    found = list(runs)
    given = {name.rpartition(".")[2] for run in found for name in flat(run.params)}
    names = dict.fromkeys(name for run in found for name in numbers(run.metrics))
    return [name for name in names if name not in given]


def first_metric(runs: Iterable[Run]) -> str | None:
    """Return the metric recorded first of those that can be ranked; if none can, the very first."""
    names = metrics(runs)
    return next(iter([*filter(direction, names), *names]), None)


def row(run: Run) -> dict[str, Any]:
    """Return a run as one flat row: what it is, then its metrics."""
    about = {
        "run": run.id,
        "status": run.status,
        "notebook": Path(run.notebook).stem,
        "source": run.about["source"],
        "wall_s": run.wall_s,
    }
    return {**about, **flat(run.metrics)}


def selected(runs: Iterable[Run], conditions: Iterable[str]) -> list[Run]:
    """Return the runs of which every `name=value` holds; names of rows and parameters, dotted.

    Raises
    ------
    RunError
        If a condition is not `name=value`, or no run has such a name.
    """
    wanted = list(conditions)
    if not wanted:  # then no parameters need be read
        return list(runs)
    rows = [(run, {**flat(run.params), **row(run)}) for run in runs]
    for condition in wanted:
        name, equals, value = condition.partition("=")
        if not equals:
            raise RunError(f"{condition!r} is not NAME=VALUE")
        names = {accepted for _, values in rows for accepted in values}
        if rows and name not in names:
            raise RunError(f"no run has {name!r}", hint=did_you_mean(name, names))
        rows = [(run, values) for run, values in rows if as_text(values.get(name)) == value]
    return [run for run, _ in rows]
