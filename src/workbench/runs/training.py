"""Train once: one notebook, one params file, one run, or the earlier run that is the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench import files
from workbench.endpoints import project
from workbench.errors import ParamsError, RunError
from workbench.runs.caching import Cache
from workbench.runs.execution.notebook import Limits, execute
from workbench.runs.planning.specs import Plan, plan, read_plans
from workbench.runs.store import Run, listing, store_folder

_NO_LIMITS = Limits()


def train(
    notebook: Path | str | None,
    params: Path | str | Mapping[str, Any],
    *,
    store: Path | str = "runs",
    force: bool = False,
    limits: Limits = _NO_LIMITS,
) -> Run:
    """Execute `notebook` with the values of a params file, or those given, and return the run.

    Parameters
    ----------
    notebook
        None where the params file names it.
    params
        A params file, or its contents: values are held against the notebook's parameters cell
        before a kernel starts.
    store
        Where runs are kept; a relative folder lies in the project.
    force
        Run even if a complete run of the same inputs is in the store.
    limits
        Wall time, memory, retries.

    Raises
    ------
    ParamsError
        If the file does not fit the notebook; it lists every fault.
    RunError
        If the notebook fails; the run is kept, its report shows the failing cell.
    """
    wanted = _one_plan(None if notebook is None else here(notebook), params)
    earlier = None if force else Cache(listing(store)[0]).find(wanted)
    if earlier is not None:
        return earlier
    files.remove_abandoned(store_folder(store))
    run = execute(wanted, store_folder(store), limits=limits)
    if run.status == "failed":
        raise RunError(
            f"the run failed: {run.reason}", where=run.notebook, hint=f"see {run.path}/report.html"
        )
    return run


def _one_plan(notebook: Path | None, params: Path | str | Mapping[str, Any]) -> Plan:
    if isinstance(params, Mapping):
        if notebook is None:
            raise ParamsError("no notebook is named")
        return plan(notebook, params)
    plans = read_plans(notebook, [here(params)])
    if len(plans) != 1:
        message = f"this asks for {len(plans)} runs"
        raise ParamsError(message, where=params, hint="use `workbench sweep`")
    return plans[0]


def here(path: Path | str) -> Path:
    """Return `path` from this folder if something is there, else from the project's."""
    return Path(path) if Path(path).exists() else project() / path
