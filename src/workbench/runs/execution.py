"""Execute one planned run: papermill, one kernel of this interpreter, over IPC sockets.

Over TCP, papermill and jupyter_client choose ports that another kernel may take before ours
binds them; parallel runs are lost to that. Unix sockets in a folder of our own cannot clash. The
kernel is `sys.executable`, whatever kernels are installed, and reads nothing of the user's IPython
profile.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from workbench.endpoints import home
from workbench.runs import inputs, redaction, store
from workbench.runs.report import write_report
from workbench.runs.specs import Plan, shown

_START_S = 300  # a kernel's first word, on a machine that has much else to do
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_open: list[_Kernel | Path] = []  # kernels that run and folders half written, for `abandon`


@dataclass(frozen=True)
class Limits:
    """What a run may use: seconds of wall time and MiB of memory, its kernel's children included.

    `retries` is how often a failed run is tried again.
    """

    time_s: float | None = None
    memory_mib: float | None = None
    retries: int = 0


@dataclass(frozen=True)
class _Failure:
    """Why an attempt failed, and at which cell (counted from 0)."""

    reason: str
    cell: int | None


def execute(plan: Plan, folder: Path, *, limits: Limits = Limits(), threads: int = 0) -> store.Run:
    """Run `plan`, and return it as it then stands in the store, complete or failed.

    Parameters
    ----------
    folder
        The store.
    limits
        Wall time, memory, retries.
    threads
        Threads that numerical libraries may use; 0: as they like.
    """
    started, attempts = datetime.now(UTC), []
    known = inputs.inputs(plan)
    for _ in range(limits.retries + 1):
        partial = store.new_folder(folder)
        _open.append(partial)
        try:
            clock = time.perf_counter()
            failure = _attempt(plan, partial, limits, threads)
            wall_s = time.perf_counter() - clock
            attempts.append({"wall_s": round(wall_s, 3), "reason": failure and failure.reason})
            if failure is None or len(attempts) > limits.retries:
                return _finish(plan, partial, known, failure, attempts, started)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            _open.remove(partial)
    raise AssertionError("unreachable: the last attempt returns")


def abandon() -> None:
    """End every kernel of this process and remove what its runs have written so far.

    For a process that is about to end: a run that goes on after this fails.
    """
    for one in reversed(_open):
        if isinstance(one, _Kernel):
            one.end()
        else:
            shutil.rmtree(one, ignore_errors=True)


def _attempt(plan: Plan, partial: Path, limits: Limits, threads: int) -> _Failure | None:
    import nbformat
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    logging.getLogger("papermill").setLevel(logging.ERROR)
    output = partial / "notebook.ipynb"
    with _kernel(plan.notebook.parent, partial, threads) as kernel, _watch(kernel, limits) as watch:
        try:
            papermill.execute_notebook(
                nbformat.read(plan.notebook, as_version=4),
                str(output).replace("{", "{{").replace("}", "}}"),  # papermill formats it
                plan.parameters,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                start_timeout=_START_S,
                kernel_manager_class=kernel.manager_class(),
            )
        except papermill.PapermillExecutionError as error:
            message = _ANSI.sub("", f"{error.ename}: {error.evalue}").strip()
            return _Failure(message.splitlines()[0][:500], _failed_cell(output))
        except (DeadKernelError, CellTimeoutError, RuntimeError) as error:
            reason = watch.reason or f"the kernel ended: {kernel.last_words() or error}"
            return _Failure(reason, _died_in(output, reason))
    return None


class _Kernel:
    """The kernel of one run: its manager for nbclient, and its process while there is one."""

    def __init__(self, cwd: Path, run: Path, scratch: Path, threads: int) -> None:
        self.pid: int | None = None
        self.log = scratch / "kernel.log"
        self._cwd, self._scratch = cwd, scratch
        self._environment = _environment(run, scratch, threads)

    def manager_class(self) -> type:
        """Return a kernel manager that starts this interpreter, over sockets of its own."""
        from jupyter_client.kernelspec import KernelSpec
        from jupyter_client.manager import AsyncKernelManager

        command = [sys.executable, "-m", "workbench.runs.kernel", "-f", "{connection_file}"]
        spec = KernelSpec(argv=command, language="python", display_name="workbench")
        here = {
            "transport": "ipc",
            "connection_file": str(self._scratch / "k.json"),
            "ip": str(self._scratch / "k"),
            "shutdown_wait_time": 2.0,
        }
        kernel = self

        class Manager(AsyncKernelManager):
            kernel_spec = property(lambda _: spec)

            def __init__(self, **options: Any) -> None:
                super().__init__(**{**options, **here})

            async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
                options.update(cwd=str(kernel._cwd), env=kernel._environment)
                options["extra_arguments"] = ["--HistoryManager.enabled=False"]
                with kernel.log.open("wb") as log:
                    await super().start_kernel(stdout=log, stderr=log, **options)
                kernel.pid = getattr(self.provisioner, "pid", None)

        return Manager

    def last_words(self) -> str:
        """Return the first line that the kernel's own process wrote, as a crash does."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[0][:500] if lines else ""

    def kill(self) -> None:
        """End the kernel and whatever the notebook started and left; it leads a group."""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill it, and remove its sockets."""
        self.kill()
        shutil.rmtree(self._scratch, ignore_errors=True)


@contextmanager
def _kernel(cwd: Path, run: Path, threads: int) -> Iterator[_Kernel]:
    scratch = Path(tempfile.mkdtemp(prefix="wb-"))  # short: a socket's path has 107 bytes
    kernel = _Kernel(cwd, run, scratch, threads)
    _open.append(kernel)
    try:
        yield kernel
    finally:
        kernel.end()
        _open.remove(kernel)


def _environment(run: Path, scratch: Path, threads: int) -> dict[str, str]:
    environment = {
        **os.environ,
        "WORKBENCH_RUN": str(run.resolve()),
        "WORKBENCH_HOME": str(home().resolve()),
        "IPYTHONDIR": str(scratch / "ipython"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYTHONHASHSEED": "0",
    }
    if threads:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
            environment.setdefault(name, str(threads))
    return environment


class _Watch:
    """Ends a kernel that uses more than it may, and remembers why."""

    def __init__(self, kernel: _Kernel, limits: Limits) -> None:
        self.reason: str | None = None
        self._kernel, self._limits = kernel, limits
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        deadline = time.monotonic() + (self._limits.time_s or float("inf"))
        while not self._done.wait(0.1):
            if self._kernel.pid is None:
                continue
            self.reason = self._over(self._kernel.pid, deadline)
            if self.reason is not None:
                self._kernel.kill()
                return

    def _over(self, pid: int, deadline: float) -> str | None:
        if time.monotonic() > deadline:
            return f"took longer than its limit of {self._limits.time_s:g} s"
        limit = self._limits.memory_mib
        if limit is not None and (used := _memory_mib(pid)) > limit:
            return f"used {used:.0f} MiB of memory, its limit is {limit:g} MiB"
        return None


@contextmanager
def _watch(kernel: _Kernel, limits: Limits) -> Iterator[_Watch]:
    watch = _Watch(kernel, limits)
    try:
        yield watch
    finally:
        watch.stop()


def _memory_mib(pid: int) -> float:
    total = 0
    with suppress(psutil.NoSuchProcess):
        leader = psutil.Process(pid)
        for process in (leader, *leader.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
    return total / 2**20


def _failed_cell(output: Path) -> int | None:
    """Take papermill's own error markers out, and return which cell failed."""
    import nbformat

    notebook = nbformat.read(output, as_version=4)
    notebook.cells = [
        cell
        for cell in notebook.cells
        if "papermill-error-cell-tag" not in cell.metadata.get("tags", [])
    ]
    nbformat.write(notebook, output)
    failed = (
        number
        for number, cell in enumerate(notebook.cells)
        if any(one.output_type == "error" for one in cell.get("outputs", []))
    )
    return next(failed, None)


def _died_in(output: Path, reason: str) -> int | None:
    """Write `reason` below the cell that was running when the kernel went, and return which."""
    import nbformat

    if not output.is_file():
        return None
    notebook = nbformat.read(output, as_version=4)
    begun = [
        number
        for number, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and cell.metadata.get("papermill", {}).get("start_time")
    ]
    if begun:
        notebook.cells[begun[-1]].outputs.append(
            nbformat.v4.new_output("error", ename="Ended", evalue=reason, traceback=[reason])
        )
        nbformat.write(notebook, output)
    return begun[-1] if begun else None


def _finish(
    plan: Plan,
    partial: Path,
    known: dict[str, Any],
    failure: _Failure | None,
    attempts: list[dict[str, Any]],
    started: datetime,
) -> store.Run:
    data = _take(partial / "data.json", [])
    about = {
        "status": "failed" if failure else "complete",
        "reason": failure and failure.reason,
        "failed_cell": failure and failure.cell,
        "notebook": shown(plan.notebook),
        "source": plan.source,
        "key": inputs.key(known),
        "inputs": inputs.digest([inputs.key(known), data]),
        "started": f"{started:%Y-%m-%dT%H:%M:%SZ}",
        "wall_s": attempts[-1]["wall_s"],
        "attempts": attempts,
    }
    _tidy(partial / "notebook.ipynb", plan)
    _dump(partial / "params.json", plan.parameters)
    _dump(partial / "manifest.json", {"data": data, **known})
    _dump(partial / "metrics.json", _take(partial / "metrics.json", {}))
    _dump(partial / "run.json", about)
    if (spilt := redaction.clean(partial)) and not failure:
        about.update(status="failed", reason=f"a secret stood in {', '.join(spilt)}: removed")
        _dump(partial / "run.json", about)
    write_report(store.Run(partial, about))
    redaction.clean(partial)
    path = store.publish(partial, store.run_name(about["started"], about["inputs"]))
    return store.Run(path, json.loads((path / "run.json").read_text(encoding="utf-8")))


def _tidy(output: Path, plan: Plan) -> None:
    """Leave no path of this machine in what papermill wrote about the run."""
    import nbformat

    notebook = nbformat.read(output if output.is_file() else plan.notebook, as_version=4)
    about = notebook.metadata.setdefault("papermill", {})
    about.update(input_path=shown(plan.notebook), output_path="notebook.ipynb")
    nbformat.write(notebook, output)


def _take(path: Path, otherwise: Any) -> Any:
    if not path.is_file():
        return otherwise
    found = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    return found


def _dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
