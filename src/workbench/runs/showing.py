"""What a run and a sweep show of themselves in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.cards import Card
from workbench.runs.leaderboard import flat, metrics, numbers, ordered, varied
from workbench.runs.store import Run

if TYPE_CHECKING:
    from workbench.runs.sweeps import Sweep

_METRICS = 6  # of a sweep's table


def run_card(run: Run) -> Card:
    """Return how it ended, and its parameters and metrics."""
    facts = {
        "status": run.status,
        "reason": run.reason,
        "notebook": run.notebook,
        "parameters": run.about.get("source"),
        "took": f"{run.wall_s:.3g} s",
        "cached": "yes, it stood for this one" if run.cached else "",
        "package": run.package,
        "report": run.path / "report.html",
    }
    rows = [
        {"what": what, "name": name, "value": value}
        for what, values in (("metric", run.metrics), ("parameter", run.params))
        for name, value in flat(values).items()
    ]
    return Card("run", run.id, facts, rows)


def sweep_card(sweep: Sweep) -> Card:
    """Return how many ended how, and a row for each run: in what it differs, and its metrics."""
    runs = ordered(sweep.runs, sweep.about.get("metric"))
    names = varied(runs)
    shown = metrics(runs)[:_METRICS]
    facts = {
        "runs": len(sweep),
        "failed": len(sweep.failed),
        "lost": sweep.lost,
        "report": sweep.path / "report.html",
    }
    rows = []
    for run in runs:
        given, found = flat(run.params), numbers(run.metrics)
        row: dict[str, object] = {"run": run.id, "status": run.status}
        row |= {name: given.get(name) for name in names}
        rows.append(row | {name: found.get(name) for name in shown})
    return Card("sweep", sweep.id, facts, rows)
