"""Compile functions over whole arrays with numba, and keep the machine code.

The one place that decorates with numba. The first call in a fresh environment compiles (seconds);
later processes load the result from numba's cache beside the package or, where that is read only,
below the user's cache folder. `NUMBA_CACHE_DIR` moves it. Where no folder can be written, as in a
container with a read-only root, every process compiles for itself. The compiled functions release
the interpreter lock.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def compiled(
    function: Callable[..., Any], *, fastmath: set[str] | bool = False
) -> Callable[..., Any]:
    """Return `function` compiled, cached on disk where any folder can be written.

    Parameters
    ----------
    fastmath
        The freedoms that LLVM may take with floating point, by its names; none by default.
    """
    try:
        result: Any = numba.njit(cache=True, nogil=True, fastmath=fastmath)(function)
    except RuntimeError:  # no folder for the cache
        return numba.njit(nogil=True, fastmath=fastmath)(function)  # type: ignore[no-any-return]
    # numba looks at a function's own file alone, but machine code holds the constants and the
    # functions of other modules too: code of another version of these would give wrong rows
    result._cache._cache_file._source_stamp = _sources()
    return result  # type: ignore[no-any-return]


@functools.cache
def _sources() -> bytes:
    """Return a digest of all modules of the rooms that hold compiled code."""
    digest = hashlib.sha256()
    for room in ("archive", "detectors", "evaluation", "serve"):
        for path in sorted((Path(__file__).parent / room).rglob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.digest()
