"""Compile functions over whole blocks with numba, and keep the machine code.

The first call in a fresh environment compiles (seconds); later processes load the result from
numba's cache beside the package or, where that is read only, below the user's cache folder.
`NUMBA_CACHE_DIR` moves it. The compiled functions release the interpreter lock.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` compiled, cached on disk where any folder can be written."""
    try:
        result: Any = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder for the cache: compile in every process instead
        return numba.njit(nogil=True)(function)  # type: ignore[no-any-return]
    # numba looks at a function's own file alone, but machine code holds the constants and the
    # functions of other modules too: code of another version of these would give wrong rows
    result._cache._cache_file._source_stamp = _sources()
    return result  # type: ignore[no-any-return]


@functools.cache
def _sources() -> bytes:
    """Return a digest of all modules here."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.digest()
