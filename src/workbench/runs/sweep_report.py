"""A sweep as one HTML file: a leaderboard that sorts and filters, and the figures to compare by.

Like a run's report it loads nothing; its one script stands in it, and a policy allows that by hash.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from workbench.runs.leaderboard import (
    first_metric,
    flat,
    lower_is_better,
    metrics,
    numbers,
    ordered,
    varied,
)
from workbench.runs.report import TEMPLATES, shown_value
from workbench.runs.store import Run

if TYPE_CHECKING:
    from workbench.runs.sweeps import Sweep

_COMPARED = 6  # runs whose own figures are shown side by side
_CHARTED = 30  # runs in the chart


def write_sweep_report(sweep: Sweep, metric: str | None = None) -> Path:
    """Write `report.html` into the folder of `sweep`, best by `metric` first; return its path.

    None is the metric that the sweep was asked for, or the first that was recorded.
    """
    from jinja2 import Environment, FileSystemLoader

    metric = metric or sweep.about.get("metric") or first_metric(sweep.runs)
    runs = ordered(sweep.runs, metric)
    script = (TEMPLATES / "leaderboard.js").read_text(encoding="utf-8")
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    html = environment.get_template("sweep.html.j2").render(
        css=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        sweep=sweep,
        metric=metric,
        lower=metric is not None and lower_is_better(metric),
        table=_table(runs),
        candidates=_candidates(runs, sweep.about["repeated"]),
        chart=_chart(runs, metric) if metric else None,
        figures=list(_figures(runs)),
    )
    path = sweep.path / "report.html"
    path.write_text(html, encoding="utf-8")
    return path


def _table(runs: Sequence[Run]) -> dict[str, Any]:
    names = varied(runs) or ["source"]
    found = metrics(runs)
    rows: list[dict[str, Any]] = []
    for run in runs:
        given = {"source": run.about["source"], **flat(run.params)}
        cells = [_cell(given.get(name)) for name in names]
        cells += [_cell(run.metrics.get(name)) for name in found]
        rows.append({"run": run, "cells": [*cells, _cell(run.wall_s)]})
    columns = [*names, *found, "wall_s"]
    right = [
        one for at, one in enumerate(columns) if all(row["cells"][at]["number"] for row in rows)
    ]
    return {"columns": columns, "numbers": right, "rows": rows}


def _cell(value: object) -> dict[str, Any]:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return {
        "text": shown_value(value) if value != "" else '""',
        "key": repr(float(value)) if number else str(value),  # type: ignore[arg-type]
        "number": number or value is None,
    }


def _candidates(runs: Sequence[Run], repeated: Sequence[str]) -> dict[str, Any] | None:
    """Return means over the repetitions of each candidate; None where nothing is repeated."""
    complete = [run for run in runs if run.status == "complete"]
    names = [name for name in varied(complete) if name not in repeated]
    if not repeated or not complete:
        return None
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in complete:
        given = flat(run.params)
        groups.setdefault(tuple(shown_value(given.get(one)) for one in names), []).append(run)
    found = metrics(complete)
    rows = [
        [*given, str(len(group)), *(_mean(group, metric) for metric in found)]
        for given, group in groups.items()
    ]
    columns = [*names, "runs", *found]
    return {"columns": columns, "given": len(names), "rows": rows, "over": ", ".join(repeated)}


def _mean(group: Sequence[Run], metric: str) -> str:
    values = [found[metric] for run in group if metric in (found := numbers(run.metrics))]
    return shown_value(fmean(values) if values else None)


def _chart(runs: Sequence[Run], metric: str) -> dict[str, str] | None:
    from matplotlib.figure import Figure

    shown = [run for run in runs if metric in numbers(run.metrics)][:_CHARTED]
    if len(shown) < 2:
        return None
    labels = [_label(run, varied(shown)) for run in shown]
    figure = Figure(figsize=(8, 0.6 + 0.26 * len(shown)), layout="constrained")
    axes = figure.subplots()
    axes.plot([numbers(run.metrics)[metric] for run in shown], range(len(shown)), "o", color="C0")
    axes.set_yticks(range(len(shown)), [one.replace("$", r"\$") for one in labels])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd")
    axes.set_xlabel(metric)
    image = io.BytesIO()
    figure.savefig(image, format="svg", metadata={"Date": None})
    best = f"{labels[0]} is best with {shown_value(numbers(shown[0].metrics)[metric])}"
    alt = f"{metric} of {len(shown)} runs; {best}"
    return {"alt": alt, "src": _data("svg+xml", image.getvalue())}


def _label(run: Run, names: Sequence[str]) -> str:
    given = flat(run.params)
    parts = [(one.rpartition(".")[2], shown_value(given[one])) for one in names if one in given]
    found = [value if name == "name" else f"{name} {value}" for name, value in parts]
    return ", ".join(found)[:70] or str(run.about["source"])


def _figures(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    paths = [path for run in runs for path in sorted(run.path.glob("figures/*.png"))]
    for name in dict.fromkeys(path.name for path in paths):
        having = [run for run in runs if (run.path / "figures" / name).is_file()][:_COMPARED]
        yield {
            "name": name.removesuffix(".png"),
            "images": [
                {"run": run, "src": _data("png", (run.path / "figures" / name).read_bytes())}
                for run in having
            ],
        }


def _data(kind: str, image: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
