"""How an executed notebook ended: complete, or failed with a reason, read from the notebook itself.

Complete is only one of which every cell with code was executed without an error, the one behind
the last (`execution.ending`) too. What papermill says is not asked: it takes `sys.exit()` and a
magic that fails without a traceback for the end of a notebook in order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.runs.execution import ending

if TYPE_CHECKING:
    from nbformat import NotebookNode

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_SKIPPED = "skip-execution"  # a tag that nbclient obeys


@dataclass(frozen=True)
class Failure:
    """Why a notebook failed, and at which cell (counted from 0); None: at no certain one."""

    reason: str
    cell: int | None


def prepared(path: Path) -> NotebookNode:
    """Return the notebook at `path` with the cell behind the last that asks how it ended."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    cell = nbformat.v4.new_code_cell(ending.SOURCE, metadata={"tags": [ending.TAG]})
    if notebook.nbformat_minor < 5:
        del cell["id"]
    notebook.cells.append(cell)
    return notebook


def read_outcome(path: Path, died: str | None) -> Failure | None:
    """Take out of an executed notebook what was put in to execute it, and say why it failed.

    Parameters
    ----------
    path
        Where it was written, cell by cell; there may be nothing.
    died
        Why its kernel ended, if it did; written below the cell that was running then.
    """
    import nbformat

    if not path.is_file():
        return Failure(died or "the notebook was not executed", None)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if not _is_marker(cell)]
    failure = _failure(notebook) if died is None else Failure(died, _note_death(notebook, died))
    notebook.cells = [cell for cell in notebook.cells if ending.TAG not in _tags(cell)]
    nbformat.write(notebook, path)
    return failure


def _failure(notebook: NotebookNode) -> Failure | None:
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        reason = _reason(cell)
        if reason is not None:
            return Failure(reason[:500], None if ending.TAG in _tags(cell) else number)
    return None


def _reason(cell: NotebookNode) -> str | None:
    for output in cell.outputs:
        if output.output_type == "error":
            return _named(output)
    progress = cell.metadata.get("papermill", {})
    if progress.get("exception"):
        return _last_words(cell) or "a cell failed and did not say why"
    if _SKIPPED in _tags(cell):
        return f"a cell is tagged {_SKIPPED}, so it was not executed"
    if cell.execution_count is None or progress.get("status") != "completed":
        return "the notebook ended before this cell was executed"
    return None


def _named(output: NotebookNode) -> str:
    if output.ename == ending.UnfinishedError.__name__:
        return str(output.evalue)
    message = _ANSI.sub("", f"{output.ename}: {output.evalue}").strip().splitlines()[0]
    return f"{message} (it ended the notebook early)" if output.ename == "SystemExit" else message


def _last_words(cell: NotebookNode) -> str:
    texts = [
        output.text
        for output in cell.outputs
        if output.output_type == "stream" and output.text.strip()
    ]
    return _ANSI.sub("", texts[-1]).strip().splitlines()[-1] if texts else ""


def _note_death(notebook: NotebookNode, died: str) -> int | None:
    """Write why below the cell that was running, or ran last, and return which; None: none did."""
    import nbformat

    begun = [
        number
        for number, cell in enumerate(notebook.cells)
        if cell.cell_type == "code"
        and cell.metadata.get("papermill", {}).get("start_time")
        and ending.TAG not in _tags(cell)
    ]
    if begun:
        notebook.cells[begun[-1]].outputs.append(
            nbformat.v4.new_output("error", ename="Ended", evalue=died, traceback=[died])
        )
    return begun[-1] if begun else None


def _is_marker(cell: NotebookNode) -> bool:
    return "papermill-error-cell-tag" in _tags(cell)


def _tags(cell: NotebookNode) -> list[str]:
    tags: list[str] = cell.metadata.get("tags", [])
    return tags
