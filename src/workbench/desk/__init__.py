"""Where a person works: a threshold to drag, a notebook to start from, JupyterLab."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.desk.laboratory import lab as lab
    from workbench.desk.starters import new as new
    from workbench.desk.tuning import Tuning as Tuning
    from workbench.desk.tuning import tune as tune
    from workbench.desk.watching import Watch as Watch
    from workbench.desk.watching import watch as watch

_HOMES = {
    "Tuning": "tuning",
    "Watch": "watching",
    "lab": "laboratory",
    "new": "starters",
    "tune": "tuning",
    "watch": "watching",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name in _HOMES:  # loaded when named: the command line needs no widgets
        return getattr(importlib.import_module(f"workbench.desk.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'workbench.desk' has no attribute {name!r}")
