"""The main job, from end to end: archive, candidates, comparison, promotion, Flink, report."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from workbench import desk, runs
from workbench.endpoints import project
from workbench.runs import Run, project_path

_STEPS = 6


@dataclass(frozen=True)
class Demo:
    """What the demo found.

    Attributes
    ----------
    metrics
        Of the promoted detector over the held-out span: see `notebooks/50_monitor.ipynb`.
    report
        One HTML file: the data, the candidates, the chosen detector and its alerts.
    wall_s
        From start to report, seconds.
    """

    metrics: Mapping[str, Any]
    report: Path
    wall_s: float

    def rows(self) -> list[tuple[str, str]]:
        """Return what the demo prints: names, and values with their units."""
        return [
            *outcome_rows(self.metrics),
            ("wall time", f"{self.wall_s:.0f} s"),
            ("report", project_path(self.report)),
        ]


def outcome_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values of what the promoted detector did, with their units."""
    delay_s, of = metrics["delay_median_s"], f"{metrics['found']} of {metrics['events']}"
    return [
        ("detector", f"{metrics['detector']}, package {metrics['package'][:16]}"),
        ("faults found", f"{of}, recall {metrics['recall']:.2f}"),
        ("alerts", f"{metrics['alerts']}, {metrics['false_alerts']} of them false"),
        ("alert precision", _number(metrics["precision"])),
        ("median detection delay", "-" if delay_s is None else f"{delay_s / 60:.0f} min"),
        ("scored by the Flink job", f"{metrics['readings_per_s']:,} readings/s"),
        ("alerts differing, notebook and stream", str(metrics["differing_alerts"])),
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def demo(*, store: str = "runs") -> Demo:
    """Run the notebooks on the sample archive and return what came out.

    In a folder without them, notebooks and sample are copied there first.

    Parameters
    ----------
    store
        Where runs are kept. Trainings that are there already are not made again.

    Raises
    ------
    WorkbenchError
        What any of the steps raises: no archive, a failed run, a refused promotion.
    """
    began = time.monotonic()
    if not all((project() / name).exists() for name in ("notebooks/00_look.ipynb", "data/archive")):
        desk.copy_tour()
    with tqdm(total=_STEPS, desc="demo", unit=" steps", bar_format=_BAR) as bar:
        look = _run(bar, "00_look", {}, store)
        prototype = _run(bar, "10_prototype", {}, store)
        _say(bar, "20_train: the candidates of params/20_train-*.yaml")
        trained = runs.sweep(sorted((project() / "params").glob("20_train-*.yaml")), store=store)
        bar.update()
        ids = [run.id for run in trained.runs if run.status == "complete"]
        compared = _run(bar, "30_compare", {"candidates": ids, "store": store}, store)
        chosen = compared.metrics["chosen_run"]
        promoted = _run(bar, "40_promote", {"run": chosen, "store": store}, store, force=True)
        package = {"package": promoted.metrics["package"]}
        watched = _run(bar, "50_monitor", package, store, force=True)
    story = [look, prototype, runs.find(chosen, store), compared, promoted, watched]
    target, title = (
        watched.path.parent / "demo.html",
        "From offloaded history to a running detector",
    )
    report = runs.write_story(story, target, title=title, summary=outcome_rows(watched.metrics))
    return Demo(watched.metrics, report, time.monotonic() - began)


_BAR = "{desc} |{bar:24}| {n_fmt}/{total_fmt} [{elapsed}]"


def _say(bar: tqdm[Any], what: str) -> None:
    bar.set_description(what)


def _run(
    bar: tqdm[Any], name: str, params: Mapping[str, Any], store: str, *, force: bool = False
) -> Run:
    _say(bar, name)
    run = runs.train(f"notebooks/{name}.ipynb", params, store=store, force=force)
    bar.update()
    return run
