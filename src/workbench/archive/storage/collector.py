"""Make many objects that all stay, without the garbage collector looking at each again and again.

Of a million objects that are no garbage it asks, as they are made, a dozen times whether they are:
a third of the time in which a fleet's bucket is opened.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Let the collector of cycles rest while the context lasts; what is freed by counts is freed.

    Only around what makes no cycles and asks nothing of a network. A second thread in here may
    find it at work again, which costs it time and nothing else.

    Notes
    -----
    Source: Mercurial 6, util.nogc, for the same reason.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
