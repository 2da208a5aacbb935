"""Parameterised notebooks as batch jobs: params files, sweeps, the run store, reports.

In a notebook: `record` what was found, `folder()` for other files. Outside: `train` one, `sweep`
many, `runs` to list, `find` one, `write_report`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from workbench.runs.recording import folder, record

if TYPE_CHECKING:
    from workbench.runs.report import write_report as write_report
    from workbench.runs.report import write_story as write_story
    from workbench.runs.store import Run as Run
    from workbench.runs.store import find as find
    from workbench.runs.store import remove as remove
    from workbench.runs.store import runs as runs
    from workbench.runs.sweeps import Sweep as Sweep
    from workbench.runs.sweeps import find_sweep as find_sweep
    from workbench.runs.sweeps import sweep as sweep
    from workbench.runs.training import train as train
    from workbench.runs.verification import verify as verify

_HOMES = {
    "write_report": "report",
    "write_story": "report",
    "Run": "store",
    "find": "store",
    "remove": "store",
    "runs": "store",
    "Sweep": "sweeps",
    "find_sweep": "sweeps",
    "sweep": "sweeps",
    "train": "training",
    "verify": "verification",
}  # loaded when named: a kernel needs only record and folder
__all__ = ["folder", "record", *sorted(_HOMES)]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(f"workbench.runs.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'workbench.runs' has no attribute {name!r}")
