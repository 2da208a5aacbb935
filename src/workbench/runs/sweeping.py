"""Many runs: what is missing in the store is executed in parallel, the rest is there already."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.files import part_folder, remove_abandoned, write_json
from workbench.runs import inputs
from workbench.runs.caching import Cache
from workbench.runs.execution.notebook import Limits
from workbench.runs.execution.progress import Progress
from workbench.runs.execution.workers import Event, execute_all
from workbench.runs.planning.documents import project_path
from workbench.runs.planning.specs import Plan, read_sweeps
from workbench.runs.reports.sweep_report import write_sweep_report
from workbench.runs.searching import explore
from workbench.runs.store import Run, find, listing, run_name, store_folder
from workbench.runs.sweeps import Sweep, load_sweep
from workbench.runs.training import here

_NO_LIMITS = Limits()


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
    OSError
        If the disk takes nothing of the store.
    KeyboardInterrupt
        On Ctrl-C, after the running kernels have been ended. What is complete stays.
    """
    plans, searches = read_sweeps(None if notebook is None else here(notebook), map(here, files))
    folder, started = store_folder(store), datetime.now(UTC)
    remove_abandoned(folder)
    part_folder(folder).rmdir()  # a store that takes nothing is told before hours of runs
    if metric is None and searches:
        metric = searches[0].metric
    cache = Cache([] if force else listing(store)[0], failed_too=resume)
    made = _Made(folder, cache, limits, jobs or _cores())
    numbers = made.numbers(plans)
    most = len(set(numbers)) + sum(search.most_runs for search in searches)
    with Progress(total=most, cached=made.cached(numbers), metric=metric) as progress:
        made.run(numbers, progress)
        explored = [
            explore(search, lambda trials: made.run(made.numbers(trials), progress))
            for search in searches
        ]
    return _keep(folder, made, explored, started, metric)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


class _Made:
    """The runs of a sweep so far, each of which is executed unless the store has it."""

    def __init__(self, folder: Path, cache: Cache, limits: Limits, jobs: int) -> None:
        self.plans: list[Plan] = []
        self.done: dict[int, Run] = {}
        self.lost: dict[str, str] = {}
        self._numbers: dict[str, int] = {}  # by the key of a plan's inputs
        self._asked: set[int] = set()
        self._folder, self._cache, self._limits, self._jobs = folder, cache, limits, jobs

    def numbers(self, plans: Sequence[Plan]) -> list[int]:
        """Return the number of each plan: of equal ones, one."""
        keys = [inputs.key(inputs.inputs(plan)) for plan in plans]
        for key, plan in zip(keys, plans, strict=True):
            if key not in self._numbers:
                self._numbers[key] = len(self.plans)
                self.plans.append(plan)
        return [self._numbers[key] for key in keys]

    def cached(self, numbers: Sequence[int]) -> list[Run]:
        """Return the runs that the store has, of those that it was not asked for before."""
        fresh = [number for number in dict.fromkeys(numbers) if number not in self._asked]
        self._asked.update(fresh)
        runs = {number: self._cache.find(self.plans[number]) for number in fresh}
        self.done |= {number: run for number, run in runs.items() if run is not None}
        return [run for run in runs.values() if run is not None]

    def run(self, numbers: Sequence[int], progress: Progress) -> list[Run | None]:
        """Return the run of each number; None of one of which nothing could be kept."""
        progress.skipped(self.cached(numbers))
        missing = [number for number in dict.fromkeys(numbers) if number not in self.done]
        self._execute(missing, progress)
        return [self.done.get(number) for number in numbers]

    def _execute(self, numbers: Sequence[int], progress: Progress) -> None:
        orders = [self.plans[number] for number in numbers]
        events = execute_all(
            orders,
            self._folder,
            jobs=self._jobs,
            limits=self._limits,
            threads=max(1, _cores() // self._jobs),
        )
        try:
            for event in events:
                self._take(numbers[event.number], event, progress)
        finally:
            events.close()

    def _take(self, number: int, event: Event, progress: Progress) -> None:
        if event.kind == "started":
            progress.started()
        elif event.kind == "finished":
            self.done[number] = find(self._folder / event.text)
            progress.finished(self.done[number])
        else:
            source = self.plans[number].source
            self.lost[source] = event.text
            progress.lost(source, event.text)


def _keep(
    folder: Path,
    made: _Made,
    explored: Sequence[dict[str, Any]],
    start: datetime,
    metric: str | None,
) -> Sweep:
    plans, done, lost = made.plans, made.done, made.lost
    started = f"{start:%Y-%m-%dT%H:%M:%SZ}"
    name = run_name(started, inputs.digest([plan.parameters for plan in plans]))
    kept = [done[number] for number in sorted(done)]
    about: dict[str, Any] = {
        "started": started,
        "sources": sorted({plan.source for plan in plans}),
        "notebooks": sorted({project_path(plan.notebook) for plan in plans}),
        "metric": metric,
        "repeated": sorted({key for plan in plans for key in plan.repeated}),
        "runs": [run.id for run in kept],
        "cached": [run.id for run in kept if run.cached],
        "lost": lost,
        **({"searches": explored} if explored else {}),
    }
    if not lost and all(run.cached for run in kept):
        for path in folder.glob(f"sweep-*-{name.rpartition('-')[2]}"):
            earlier = load_sweep(path).about if (path / "report.html").is_file() else {}
            if (earlier.get("runs"), earlier.get("metric")) == (about["runs"], metric):
                return Sweep(path, earlier, kept)  # nothing happened that its report does not say
    sweep = Sweep(folder / f"sweep-{name}", about, kept)
    write_json(sweep.path / "sweep.json", about)
    write_sweep_report(sweep)
    return sweep
