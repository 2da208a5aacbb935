"""A process that executes runs one after another, as it is told on its standard input.

    → {"plan": {...}, "store": "...", "limits": {...}, "threads": 1}    one line each
    ← {"run": "20260105T101500Z-3fa1c0de"}                              or {"error": "..."}

Started by a sweep, in a session of its own, so that Ctrl-C reaches only the sweep, which then
ends its workers by SIGTERM. Should the sweep itself vanish, its workers and their kernels end.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, TextIO

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Execute plans until the input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints does not get between the replies
    signal.signal(signal.SIGTERM, _stop)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    for line in sys.stdin:
        reply(replies, _done(json.loads(line)))


def reply(replies: TextIO, value: dict[str, Any]) -> None:
    """Write one line, at once."""
    replies.write(json.dumps(value) + "\n")
    replies.flush()


def _done(order: dict[str, Any]) -> dict[str, Any]:
    from workbench.errors import WorkbenchError
    from workbench.runs import redaction
    from workbench.runs.execution import Limits, execute
    from workbench.runs.specs import Plan

    plan = {**order["plan"], "notebook": Path(order["plan"]["notebook"])}
    try:
        run = execute(
            Plan(**plan),
            Path(order["store"]),
            limits=Limits(**order["limits"]),
            threads=order["threads"],
        )
    except (WorkbenchError, OSError) as error:
        return {"error": redaction.mask(str(error))}
    return {"run": run.id}


def _stop(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)  # unwinds: the kernel is ended, the half-written run removed


if __name__ == "__main__":
    main()
