"""A sweep as one HTML file: a leaderboard that sorts and filters, and the figures to compare by.

Like a run's report it loads nothing; its one script stands in it, and a policy allows that by hash.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from workbench import files
from workbench.cards import readable
from workbench.metrics import direction
from workbench.runs.columns import flat, numbers
from workbench.runs.leaderboard import (
    first_metric,
    metrics,
    ordered,
    varied,
)
from workbench.runs.reports.run_report import TEMPLATES
from workbench.runs.store import Run
from workbench.runs.sweeps import Sweep

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

_COMPARED = 6  # runs whose own figures are shown side by side
_CHARTED = 30  # runs in the chart
_LABEL = 60  # characters of a label in it
_SHORT = 30  # characters of a cell that is not broken


def write_sweep_report(sweep: Sweep, metric: str | None = None) -> Path:
    """Write `report.html` into the folder of `sweep`, best by `metric` first; return its path.

    None is the metric that the sweep was asked for, or the first that was recorded.
    """
    from jinja2 import Environment, FileSystemLoader

    metric = metric or sweep.about.get("metric") or first_metric(sweep.runs)
    runs = ordered(sweep.runs, metric)
    script = (TEMPLATES / "leaderboard.js").read_text(encoding="utf-8")
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    environment.filters["breakable"] = _breakable
    html = environment.get_template("sweep.html.j2").render(
        css=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        sweep=sweep,
        metric=metric,
        direction=direction(metric or ""),
        table=_table(runs, metric),
        candidates=_candidates(runs, sweep.about["repeated"]),
        chart=_chart(runs, metric) if metric else None,
        searches=[_search(about) for about in sweep.about.get("searches", [])],
        figures=list(_figures(runs)),
    )
    return files.write_text(sweep.path / "report.html", html)


def _breakable(name: str) -> Markup:
    """Return a column's name as HTML that may be broken behind its dots and underscores."""
    from markupsafe import Markup, escape

    return Markup(re.sub("([._])", r"\1<wbr>", str(escape(name))))  # noqa: S704 - it is escaped


def _table(runs: Sequence[Run], metric: str | None) -> dict[str, Any]:
    names = varied(runs) or ["source"]
    recorded = sorted(metrics(runs), key=lambda name: name != metric)  # what decides, first
    rows: list[dict[str, Any]] = []
    for run in runs:
        given = {"source": run.about["source"], **flat(run.params)}
        cells = [_cell(given.get(name)) for name in names]
        cells += [_cell(run.metrics.get(name)) for name in recorded]
        rows.append({"run": run, "cells": [*cells, _cell(run.wall_s)]})
    columns = [*names, *recorded, "wall_s"]
    numeric = [
        name
        for number, name in enumerate(columns)
        if all(row["cells"][number]["kind"] == "number" for row in rows)
    ]
    return {"columns": columns, "numbers": numeric, "rows": rows}


def _cell(value: object) -> dict[str, Any]:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    text = readable(value) if value != "" else '""'
    return {
        "text": text,
        "key": repr(float(value)) if number else str(value),  # type: ignore[arg-type]
        "kind": "number" if number or value is None else "short" if len(text) < _SHORT else "long",
    }


def _candidates(runs: Sequence[Run], repeated: Sequence[str]) -> dict[str, Any] | None:
    """Return means over the repetitions of each candidate; None where nothing is repeated."""
    complete = [run for run in runs if run.status == "complete"]
    names = [name for name in varied(complete) if name not in repeated]
    if not repeated or not complete:
        return None
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in complete:
        values = flat(run.params)
        groups.setdefault(tuple(readable(values.get(parameter)) for parameter in names), []).append(
            run
        )
    figures = metrics(complete)
    rows = [
        [*values, str(len(group)), *(_mean(group, metric) for metric in figures)]
        for values, group in groups.items()
    ]
    columns = [*names, "runs", *figures]
    return {"columns": columns, "given": len(names), "rows": rows, "over": ", ".join(repeated)}


def _mean(group: Sequence[Run], metric: str) -> str:
    values = [found[metric] for run in group if metric in (found := numbers(run.metrics))]
    return readable(fmean(values) if values else None)


def _chart(runs: Sequence[Run], metric: str) -> dict[str, str] | None:
    from matplotlib.figure import Figure

    shown = [run for run in runs if metric in numbers(run.metrics)][:_CHARTED]
    if len(shown) < 2:
        return None
    labels = [_label(run, varied(shown)) for run in shown]
    figure = Figure(figsize=(8, 0.6 + 0.26 * len(shown)), layout="constrained")
    axes = figure.subplots()
    axes.plot([numbers(run.metrics)[metric] for run in shown], range(len(shown)), "o", color="C0")
    axes.set_yticks(range(len(shown)), [text.replace("$", r"\$") for text in labels])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd")
    axes.set_xlabel(metric)
    alt = f"{metric} of {len(shown)} runs"
    if direction(metric):
        alt += f"; {labels[0]} is best with {readable(numbers(shown[0].metrics)[metric])}"
    return {"alt": alt, "src": _svg(figure)}


def _search(about: dict[str, Any]) -> dict[str, Any]:
    """Return what a search found, and a picture of which parameters mattered."""
    from matplotlib.figure import Figure

    best = {name: _cell(value)["text"] for name, value in (about["best"] or {}).items()}
    mattered = about["mattered"]
    if len(mattered) < 2:
        return {**about, "best": best, "chart": None}
    figure = Figure(figsize=(8, 0.8 + 0.3 * len(mattered)), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(mattered)), list(mattered.values()), height=0.6, color="C0")
    axes.set_yticks(range(len(mattered)), [name.replace("$", r"\$") for name in mattered])
    axes.set_xlabel(f"share in what differed in {about['metric']}")
    axes.invert_yaxis()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    alt = ", ".join(f"{name} {share:.0%}" for name, share in mattered.items())
    return {**about, "best": best, "chart": {"alt": alt, "src": _svg(figure)}}


def _svg(figure: Figure) -> str:
    image = io.BytesIO()
    figure.savefig(image, format="svg", metadata={"Date": None})
    return _data("svg+xml", image.getvalue())


def _label(run: Run, names: Sequence[str]) -> str:
    values = flat(run.params)
    parts = [
        (parameter.rpartition(".")[2], readable(values[parameter]))
        for parameter in names
        if parameter in values
    ]
    words = [value if name == "name" else f"{name} {value}" for name, value in parts]
    label = ", ".join(words) or str(run.about["source"])
    return label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}\N{HORIZONTAL ELLIPSIS}"


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
