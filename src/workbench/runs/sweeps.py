"""Sweeps in the run store: a folder that names its runs, with a report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.cards import Card, HasCard
from workbench.errors import RunError
from workbench.runs.columns import flat, numbers
from workbench.runs.leaderboard import metrics, ordered, varied
from workbench.runs.store import Run, find, store_folder

_METRICS = 6  # of the table that a notebook shows


@dataclass(frozen=True)
class Sweep(HasCard, Sequence[Run]):
    """A sequence of runs, and the folder `sweep-<UTC>-<hash>` in the store that names them.

    Attributes
    ----------
    about
        Contents of `sweep.json`.
    runs
        In the order of the plans; of equal plans, one.
    """

    path: Path
    about: dict[str, Any] = field(repr=False)
    runs: list[Run]

    def __len__(self) -> int:
        return len(self.runs)

    def __getitem__(self, number: Any) -> Any:
        return self.runs[number]

    @property
    def id(self) -> str:
        """Its folder's name."""
        return self.path.name

    @property
    def lost(self) -> dict[str, str]:
        """Why runs could not be kept at all, by params file."""
        lost: dict[str, str] = self.about["lost"]
        return lost

    @property
    def failed(self) -> list[Run]:
        """The runs that failed."""
        return [run for run in self.runs if run.status == "failed"]

    def card(self) -> Card:
        """Return how many ended how, and a row for each run: in what it differs, its metrics."""
        facts = {
            "runs": len(self),
            "failed": len(self.failed),
            "lost": self.lost,
            "report": self.path / "report.html",
        }
        return Card("sweep", self.id, facts, list(self._rows()))

    def _rows(self) -> Iterator[dict[str, object]]:
        runs = ordered(self.runs, self.about.get("metric"))
        names, recorded = varied(runs), metrics(runs)[:_METRICS]
        for run in runs:
            given, values = flat(run.params), numbers(run.metrics)
            row: dict[str, object] = {"run": run.id, "status": run.status}
            row |= {name: given.get(name) for name in names}
            yield row | {name: values.get(name) for name in recorded}


def find_sweep(name: Path | str, store: Path | str = "runs") -> Sweep:
    """Return the sweep of that folder or id.

    Raises
    ------
    RunError
        If there is none.
    """
    for path in (Path(name), store_folder(store) / name):
        if (path / "sweep.json").is_file():
            return load_sweep(path.resolve())
    raise RunError(f"no sweep is called {str(name)!r}", where=store_folder(store))


def load_sweep(path: Path) -> Sweep:
    """Return the sweep of that folder, with those of its runs that are still there."""
    about = json.loads((path / "sweep.json").read_text(encoding="utf-8"))
    folders = [path.parent / name for name in about["runs"]]
    return Sweep(path, about, [find(folder) for folder in folders if folder.is_dir()])
