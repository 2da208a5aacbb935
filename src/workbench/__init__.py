"""From offloaded sensor history to a detector in Flink, with proof that both score alike.

The rooms and their order are those of docs/architecture.md. Importing this package loads none of
them: each is loaded when it is first named. What is public stands in `__init__.pyi`, here and in
every room: it is read by type checkers and by `lazy_loader` alike.
"""

from __future__ import annotations

import builtins
import sys

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.2.0"


def load_ipython_extension(ipython: object) -> None:
    """Add `%%pulsar_sql` to a notebook: `%load_ext workbench`."""
    from workbench.desk import register

    register(ipython)


def _let_numba_find_print() -> None:
    """Make numba importable in a Python worker of Flink.

    PyFlink's worker puts a `print` of its own into builtins; numba looks each builtin up in the
    module that it says it is from, and fails to import where it is not there.
    """
    home = sys.modules.get(getattr(builtins.print, "__module__", None) or "")
    if home is not None and not hasattr(home, "print"):
        home.print = builtins.print  # type: ignore[attr-defined] # numba compares the two


_let_numba_find_print()
