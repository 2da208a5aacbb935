"""What a kernel knows of failures that no cell shows, asked for behind the last cell.

A notebook can end early, or fail, and look complete: an exception inside `%%capture` or a magic, in
a thread, in a task that nobody awaits. So the kernel takes note of each, and one cell more than the
notebook has is executed last, which raises if there is any. That it was executed at all says that
every cell before it was, and that the kernel was alive and answered until then.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from typing import Any

TAG = "workbench-ending"  # of the cell behind the last
SOURCE = "__import__('workbench.runs.execution.ending', fromlist=['check']).check()"
_OURS = ("asyncio", "ipykernel", "IPython", "jupyter_client", "tornado", "zmq", "anyio")
_failures: list[str] = []


class UnfinishedError(Exception):
    """Something failed, or still runs, behind the notebook's back."""


def watch(shell: Any) -> None:
    """Take note, from now on, of what fails in a kernel without a cell that says so."""
    shell.ask_exit = _refuse_exit
    shell.events.register("post_run_cell", _note_result)
    threading.excepthook = _note_thread(threading.excepthook)
    logging.getLogger("asyncio").addHandler(_Notes(logging.ERROR))


def check() -> None:
    """Raise if anything failed, or a task still runs.

    Raises
    ------
    UnfinishedError
        It lists everything.
    """
    tasks = [candidate for candidate in gc.get_objects() if isinstance(candidate, asyncio.Task)]
    faults = [*_failures]
    for task in tasks:
        if task.done() and getattr(
            task, "_log_traceback", False
        ):  # its exception was not asked for
            faults.append(f"in a task that nobody awaited: {_named(task.exception())}")
        elif not task.done() and _is_users(task):
            faults.append(f"a task still runs: {task.get_coro()!r}")
    if faults:
        raise UnfinishedError("; ".join(dict.fromkeys(faults)))


class _Notes(logging.Handler):
    """Notes the exceptions that asyncio logs: of tasks that nobody awaited, and of callbacks."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            _failures.append(f"in a task that nobody awaited: {_named(error)}")


def _refuse_exit() -> None:
    raise SystemExit("exit() was called")


def _note_result(result: Any) -> None:
    error = result.error_before_exec or result.error_in_exec
    if error is not None:
        _failures.append(_named(error))


def _note_thread(before: Any) -> Any:
    def hook(arguments: Any) -> None:
        if arguments.exc_type is not SystemExit:
            _failures.append(f"in a thread: {_named(arguments.exc_value)}")
        before(arguments)

    return hook


def _named(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}"


def _is_users(task: asyncio.Task[Any]) -> bool:
    """Tell whether a task is of the notebook, not of the kernel itself."""
    coroutine = task.get_coro()
    frame = getattr(coroutine, "cr_frame", None)
    module = frame.f_globals.get("__name__", "") if frame is not None else "asyncio"
    return str(module).partition(".")[0] not in _OURS
