"""A process that executes runs one after another, as it is told on its standard input.

    → {"plan": {...}, "store": "...", "limits": {...}, "threads": 1}    one line each
    ← {"run": "20260105T101500Z-3fa1c0de"}                              or {"error": "..."}

Started by a sweep, in a session of its own, so that Ctrl-C reaches only the sweep, which then
ends its workers by SIGTERM. Should the sweep itself vanish, its workers get the same signal from
the system. A worker then ends its kernel, removes the half-written run and is gone, from within
the signal's handler: an exception raised there could be swallowed by whatever was running, and the
run go on, to appear in a store that another sweep is filling by then.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, TextIO

from workbench.errors import WorkbenchError
from workbench.runs import redaction
from workbench.runs.execution.lifetimes import die_with_parent
from workbench.runs.execution.notebook import Limits, abandon, execute
from workbench.runs.planning.specs import Plan


def main() -> None:
    """Execute plans until the input ends."""
    # jsonschema, of nbformat, would compile 39 grammars of IRIs at import: 1.3 s for nothing here
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints does not get between the replies
    signal.signal(signal.SIGTERM, _stop)
    die_with_parent(int(sys.argv[1]), signal.SIGTERM)
    for line in sys.stdin:
        reply(replies, _done(json.loads(line)))


def reply(replies: TextIO, value: dict[str, Any]) -> None:
    """Write one line, at once."""
    replies.write(json.dumps(value) + "\n")
    replies.flush()


def _done(order: dict[str, Any]) -> dict[str, Any]:
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
    abandon()
    os._exit(128 + number)


if __name__ == "__main__":
    main()
