"""The kernel of a run: IPython's, with `workbench.replay` replaced by the one that shares spans.

It never outlives the process that started it, in whatever way that one ended.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import workbench
from workbench.runs.execution.ending import watch
from workbench.runs.execution.lifetimes import die_with_parent


def replay(*arguments: Any, **options: Any) -> Any:
    """Return what `workbench.replay` returns; see `workbench.runs.execution.spans`."""
    from workbench.runs.execution import (
        spans,  # here: a run that replays nothing needs no pandas
    )

    return spans.replay(*arguments, **options)


def main() -> None:
    """Start the kernel on the connection file that the command line names."""
    die_with_parent(int(os.environ["JPY_PARENT_PID"]), signal.SIGKILL)  # jupyter_client sets it
    from ipykernel.kernelapp import IPKernelApp

    workbench.replay = replay
    kernel = IPKernelApp.instance()
    kernel.initialize()
    watch(kernel.shell)
    kernel.start()


if __name__ == "__main__":
    main()
