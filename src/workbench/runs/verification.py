"""Make a run again, and say whether its result is the same."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from workbench.endpoints import home, project
from workbench.errors import RunError
from workbench.runs.comparison import differences
from workbench.runs.execution import execute
from workbench.runs.specs import plan
from workbench.runs.store import Run

_CLOCKED = {"wall", "elapsed", "speed", "rate", "per"}  # "readings_per_s" is not a result


@dataclass(frozen=True)
class Verification:
    """What came of making a run again.

    Attributes
    ----------
    differences
        One row for everything that changed: what, name, then and now.
    same
        Whether data, metrics and package are the same; parameters are, by construction, and
        inputs may have changed without an effect.
    """

    run: Run
    differences: list[dict[str, str]]

    @property
    def same(self) -> bool:
        """Whether the result is the same."""
        return all(one["what"] == "input" for one in self.differences)


def verify(run: Run) -> Verification:
    """Read the run's data and execute its notebook again, with its parameters.

    Metrics that a clock decides (`wall_s`, `readings_per_s`) are not compared, nor are the times
    that a package may hold.

    Raises
    ------
    RunError
        If the run itself failed, its notebook is gone, or the notebook now fails.
    """
    notebook = project() / run.notebook
    if run.status != "complete":
        raise RunError(f"the run failed: {run.reason}", where=run.path, hint="nothing to compare")
    if not notebook.is_file():
        raise RunError(f"its notebook {run.notebook} is gone", where=run.path)
    home().mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="verify-", dir=home()))
    try:
        again = execute(plan(notebook, run.params, source=run.about["source"]), scratch)
        if again.status != "complete":
            raise RunError(f"its notebook fails now: {again.reason}", where=run.path)
        found = [
            {"what": row["what"], "name": row["name"], "then": then, "now": now}
            for row in differences(run, again)
            for then, now in [list(row.values())[2:]]
            if row["what"] != "metric" or not _CLOCKED & set(row["name"].split("_"))
        ]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Verification(run, found)
