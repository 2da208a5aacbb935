"""Make a run again, and say whether its result is the same."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from workbench.endpoints import home, project
from workbench.errors import RunError
from workbench.runs.comparison import differences
from workbench.runs.execution.notebook import execute
from workbench.runs.inputs import notebook_hash
from workbench.runs.planning.specs import plan
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
        return all(difference["what"] == "input" for difference in self.differences)


def verify(run: Run, *, trusted: bool = False) -> Verification:
    """Read the run's data and execute its notebook again, with its parameters.

    A store may be somebody else's, and says itself which notebook a run is of: one that is not in
    this project's `notebooks/`, nor equal to one that is, is executed only if `trusted`.

    Metrics that a clock decides (`wall_s`, `readings_per_s`) are not compared, nor are the times
    that a package may hold.

    Raises
    ------
    RunError
        If the run itself failed, its notebook is gone or not one of this project, or it now fails.
    """
    notebook = project() / run.notebook
    if run.status != "complete":
        raise RunError(f"the run failed: {run.reason}", where=run.path, hint="nothing to compare")
    if not notebook.is_file():
        raise RunError(f"its notebook {run.notebook} is gone", where=run.path)
    if not trusted:
        notebook = _own(notebook, run)
    home().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="verify-", dir=home()) as scratch:
        again = execute(plan(notebook, run.params, source=run.about["source"]), Path(scratch))
        if again.status != "complete":
            raise RunError(f"its notebook fails now: {again.reason}", where=run.path)
        rows = [
            {"what": row["what"], "name": row["name"], "then": then, "now": now}
            for row in differences(run, again)
            for then, now in [list(row.values())[2:]]
            if row["what"] != "metric" or not _CLOCKED & set(row["name"].split("_"))
        ]
    return Verification(run, rows)


def _own(notebook: Path, run: Run) -> Path:
    """Return the notebook of this project that a run is of, or one that is equal to it."""
    folder = (project() / "notebooks").resolve()
    if notebook.resolve().is_relative_to(folder):
        return notebook
    digest = notebook_hash(notebook)
    for own in sorted(folder.rglob("*.ipynb")):
        if notebook_hash(own) == digest:
            return own
    raise RunError(
        f"its notebook {run.notebook} is none of this project's, and is code",
        where=run.path,
        hint="look into it; then workbench verify --trust",
    )
