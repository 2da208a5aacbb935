"""From offloaded sensor history to a detector in Flink, with proof that both score alike.

The rooms, in the order data flows: archive, history, detectors, evaluation, figures, runs, desk,
services, plant, stream, cli. A room imports only rooms that stand above it. Importing this
package loads none of them: each is loaded when it is first named.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.history import replay as replay

__version__ = "0.1.0"
_ROOMS = {
    "archive",
    "desk",
    "detectors",
    "evaluation",
    "figures",
    "plant",
    "runs",
    "services",
    "stream",
}
__all__ = ["__version__", "replay", *sorted(_ROOMS)]


def load_ipython_extension(ipython: object) -> None:
    """Add `%%pulsar_sql` to a notebook: `%load_ext workbench`."""
    from workbench.archive.magic import register

    register(ipython)


def __getattr__(name: str) -> object:
    if name == "replay":
        return importlib.import_module("workbench.history").replay
    if name in _ROOMS:
        return importlib.import_module(f"workbench.{name}")
    raise AttributeError(f"module 'workbench' has no attribute {name!r}")


def _let_numba_find_print() -> None:
    """Make numba importable in a Python worker of Flink.

    PyFlink's worker puts a `print` of its own into builtins; numba looks each builtin up in the
    module that it says it is from, and fails to import where it is not there.
    """
    home = sys.modules.get(getattr(builtins.print, "__module__", None) or "")
    if home is not None and not hasattr(home, "print"):
        home.print = builtins.print  # type: ignore[attr-defined] # numba compares the two


_let_numba_find_print()
