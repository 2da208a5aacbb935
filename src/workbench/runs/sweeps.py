"""Many runs: what is missing in the store is executed in parallel, the rest is there already."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.cards import Card, Shown
from workbench.errors import RunError
from workbench.runs import inputs
from workbench.runs.caching import Earlier
from workbench.runs.execution import Limits
from workbench.runs.progress import Progress
from workbench.runs.specs import Plan, read_plans, shown
from workbench.runs.store import Run, find, run_name, runs, store_folder, sweep_partial
from workbench.runs.training import here
from workbench.runs.workers import execute_all

_NO_LIMITS = Limits()


@dataclass(frozen=True)
class Sweep(Shown, Sequence[Run]):
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
        """Return what a notebook shows of it."""
        from workbench.runs.showing import sweep_card

        return sweep_card(self)


def sweep(
    files: Iterable[Path | str],
    *,
    notebook: Path | str | None = None,
    store: Path | str = "runs",
    jobs: int | None = None,
    force: bool = False,
    resume: bool = False,
    limits: Limits = _NO_LIMITS,
    metric: str | None = None,
) -> Sweep:
    """Execute what params and sweep files ask for, and return the sweep.

    Parameters
    ----------
    files
        Every one is checked against its notebook before the first kernel starts.
    notebook
        For files that name none.
    jobs
        Runs at a time, a process and a kernel each; None is the number of cores.
    force
        Run all, whatever is in the store.
    resume
        Leave runs alone that failed earlier; runs that are complete are never made again.
    limits
        Wall time, memory and retries of each run.
    metric
        What the progress shows the best of; None is the first that is recorded.

    Raises
    ------
    ParamsError
        If a file does not fit its notebook; it lists every fault of every file.
    KeyboardInterrupt
        On Ctrl-C, after the running kernels have been ended. What is complete stays.
    """
    plans = _distinct(read_plans(None if notebook is None else here(notebook), map(here, files)))
    folder, started = store_folder(store), datetime.now(UTC)
    sweep_partial(folder)
    earlier = Earlier([] if force else runs(store), failed_too=resume)
    done = {number: run for number, plan in enumerate(plans) if (run := earlier.stands_for(plan))}
    missing = [number for number in range(len(plans)) if number not in done]
    lost = _execute(plans, missing, done, folder, jobs=jobs, limits=limits, metric=metric)
    return _keep(folder, plans, done, lost, started, metric)


def find_sweep(name: Path | str, store: Path | str = "runs") -> Sweep:
    """Return the sweep of that folder or id.

    Raises
    ------
    RunError
        If there is none.
    """
    for path in (Path(name), store_folder(store) / name):
        if (path / "sweep.json").is_file():
            return _load(path.resolve())
    raise RunError(f"no sweep is called {str(name)!r}", where=store_folder(store))


def _load(path: Path) -> Sweep:
    about = json.loads((path / "sweep.json").read_text(encoding="utf-8"))
    kept = [path.parent / one for one in about["runs"]]
    return Sweep(path, about, [find(one) for one in kept if one.is_dir()])


def _distinct(plans: Sequence[Plan]) -> list[Plan]:
    return list({inputs.key(inputs.inputs(plan)): plan for plan in reversed(plans)}.values())[::-1]


def _execute(
    plans: Sequence[Plan],
    missing: Sequence[int],
    done: dict[int, Run],
    folder: Path,
    *,
    jobs: int | None,
    limits: Limits,
    metric: str | None,
) -> dict[str, str]:
    cores = len(os.sched_getaffinity(0))
    jobs = jobs or cores
    lost = {}
    orders = [plans[number] for number in missing]
    happening = execute_all(orders, folder, jobs=jobs, limits=limits, threads=max(1, cores // jobs))
    with Progress(total=len(plans), cached=list(done.values()), metric=metric) as progress:
        try:
            for event in happening:
                number = missing[event.number]
                if event.kind == "started":
                    progress.started()
                elif event.kind == "finished":
                    done[number] = find(folder / event.text)
                    progress.finished(done[number])
                else:
                    lost[plans[number].source] = event.text
                    progress.lost(plans[number].source, event.text)
        finally:
            happening.close()
    return lost


def _keep(
    folder: Path,
    plans: Sequence[Plan],
    done: dict[int, Run],
    lost: dict[str, str],
    start: datetime,
    metric: str | None,
) -> Sweep:
    from workbench.runs.sweep_report import write_sweep_report

    started = f"{start:%Y-%m-%dT%H:%M:%SZ}"
    name = run_name(started, inputs.digest([plan.parameters for plan in plans]))
    kept = [done[number] for number in sorted(done)]
    about: dict[str, Any] = {
        "started": started,
        "sources": sorted({plan.source for plan in plans}),
        "notebooks": sorted({shown(plan.notebook) for plan in plans}),
        "metric": metric,
        "repeated": sorted({one for plan in plans for one in plan.repeated}),
        "runs": [run.id for run in kept],
        "cached": [run.id for run in kept if run.cached],
        "lost": lost,
    }
    if not lost and all(run.cached for run in kept):
        for path in folder.glob(f"sweep-*-{name.rpartition('-')[2]}"):
            told = _load(path).about if (path / "report.html").is_file() else {}
            if (told.get("runs"), told.get("metric")) == (about["runs"], metric):
                return Sweep(path, told, kept)  # nothing happened that is not told there
    made = Sweep(folder / f"sweep-{name}", about, kept)
    made.path.mkdir(parents=True, exist_ok=True)
    part = made.path / ".sweep.json.part"
    part.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    part.replace(made.path / "sweep.json")
    write_sweep_report(made)
    return made
