"""Runs side by side: the parameters in which they differ, and their metrics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.errors import RunError, did_you_mean
from workbench.runs.store import Run

_LOWER = {"delay", "false", "error", "errors", "loss", "alerts", "wall", "missed", "rmse", "mae"}


def lower_is_better(metric: str) -> bool:
    """Return whether a smaller value is the better one, by the words of the metric's name.

    Examples
    --------
    >>> [lower_is_better(one) for one in ("recall", "delay_median_s", "false_alerts_per_day")]
    [False, True, True]
    """
    return bool(_LOWER & set(metric.lower().split("_")))


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics that are numbers."""
    return {
        name: one
        for name, one in metrics.items()
        if isinstance(one, (int, float)) and not isinstance(one, bool)
    }


def flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with dotted names.

    Examples
    --------
    >>> flat({"topic": "pumps", "detector": {"name": "knn", "window": 30}})
    {'topic': 'pumps', 'detector.name': 'knn', 'detector.window': 30}
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            found.update(flat(value, f"{above}{name}."))
        else:
            found[f"{above}{name}"] = value
    return found


def varied(runs: Sequence[Run]) -> list[str]:
    """Return the names of the parameters, dotted, in which `runs` differ."""
    every = [flat(run.params) for run in runs]
    names = dict.fromkeys(name for one in every for name in one)
    return [name for name in names if len({json.dumps(one.get(name)) for one in every}) > 1]


def ordered(runs: Iterable[Run], metric: str | None) -> list[Run]:
    """Return `runs`, the best by `metric` first, those without it last.

    None takes the first metric that any run recorded.
    """
    found = list(runs)
    metric = metric or first_metric(found)
    if metric is None:
        return found
    sign = 1.0 if lower_is_better(metric) else -1.0

    def rank(run: Run) -> tuple[bool, float]:
        value = numbers(row(run)).get(metric)
        return value is None, sign * (value or 0.0)

    return sorted(found, key=rank)


def metrics(runs: Iterable[Run]) -> list[str]:
    """Return the names of the numbers that runs recorded, their parameters' names left out."""
    found = list(runs)
    given = {name.rpartition(".")[2] for run in found for name in flat(run.params)}
    names = dict.fromkeys(name for run in found for name in numbers(run.metrics))
    return [name for name in names if name not in given]


def first_metric(runs: Iterable[Run]) -> str | None:
    """Return the metric that the first run with any names first."""
    return next(iter(metrics(runs)), None)


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
    found = [(run, {**flat(run.params), **row(run)}) for run in runs]
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not equals:
            raise RunError(f"{condition!r} is not NAME=VALUE")
        known = {one for _, values in found for one in values}
        if found and name not in known:
            raise RunError(f"no run has {name!r}", hint=did_you_mean(name, known))
        found = [(run, values) for run, values in found if _text(values.get(name)) == value]
    return [run for run, _ in found]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
