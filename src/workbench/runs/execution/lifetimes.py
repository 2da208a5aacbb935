"""Let a process end when the one that started it ends, however that came about."""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, number: int) -> None:
    """Send this process the signal `number` once its parent is gone; now, if it is gone already.

    Parameters
    ----------
    parent
        Process id of the parent, as the parent told it: between the start of a process and this
        call the parent may have ended, and then nothing else would ever say so.

    Notes
    -----
    Linux sends the signal when the *thread* that started this process ends. Elsewhere only the
    second half holds.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)
