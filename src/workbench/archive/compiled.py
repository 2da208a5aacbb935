"""Compile functions over whole blocks with numba, and keep the machine code.

The first call in a fresh environment compiles (seconds); later processes load the result from
numba's cache beside the package or, where that is read only, below the user's cache folder.
`NUMBA_CACHE_DIR` moves it. The compiled functions release the interpreter lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` compiled, cached on disk where any folder can be written."""
    try:
        result: Callable[..., Any] = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder for the cache: compile in every process instead
        result = numba.njit(nogil=True)(function)
    return result
