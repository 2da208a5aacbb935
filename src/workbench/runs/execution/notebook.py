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
import shutil
import signal
import subprocess
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

from workbench import files
from workbench.endpoints import home
from workbench.runs import inputs, redaction, store
from workbench.runs.execution.outcome import Failure, prepared, read_outcome
from workbench.runs.planning.documents import project_path
from workbench.runs.planning.specs import Plan
from workbench.runs.reports.run_report import write_report

_START_S = 300  # a kernel's first word, on a machine that has much else to do
_OUTPUT_S = 60  # for what a cell has shown to arrive
_open: list[_Kernel | Path] = []  # kernels that run and folders half written, for `abandon`


@dataclass(frozen=True)
class Limits:
    """What a run may use: seconds of wall time and MiB of memory, its kernel's children included.

    `retries` is how often a failed run is tried again.
    """

    time_s: float | None = None
    memory_mib: float | None = None
    retries: int = 0


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
    recorded = inputs.inputs(plan)
    for _ in range(limits.retries + 1):
        with files.naming(folder), _partial(folder) as partial:
            clock = time.perf_counter()
            failure = _attempt(plan, partial, limits, threads)
            wall_s = time.perf_counter() - clock
            attempts.append({"wall_s": round(wall_s, 3), "reason": failure and failure.reason})
            if failure is None or len(attempts) > limits.retries:
                return _finish(plan, partial, recorded, failure, attempts, started)
    raise AssertionError("unreachable: the last attempt returns")


@contextmanager
def _partial(folder: Path) -> Iterator[Path]:
    """Give a folder for a run that is not finished, for as long as it is not."""
    partial = files.part_folder(folder)
    _open.append(partial)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        _open.remove(partial)


def abandon() -> None:
    """End every kernel of this process and remove what its runs have written so far.

    For a process that is about to end: a run that goes on after this fails.
    """
    for resource in reversed(_open):
        if isinstance(resource, _Kernel):
            resource.end()
        else:
            shutil.rmtree(resource, ignore_errors=True)


def _attempt(plan: Plan, partial: Path, limits: Limits, threads: int) -> Failure | None:
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    logging.getLogger("papermill").setLevel(logging.ERROR)
    output, died = partial / "notebook.ipynb", None
    with _kernel(plan.notebook.parent, partial, threads) as kernel, _watch(kernel, limits) as watch:
        try:
            papermill.execute_notebook(
                prepared(plan.notebook),
                str(output).replace("{", "{{").replace("}", "}}"),  # papermill formats it
                plan.parameters,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                start_timeout=_START_S,
                iopub_timeout=_OUTPUT_S,
                raise_on_iopub_timeout=True,
                kernel_manager_class=kernel.manager_class(),
            )
        except papermill.PapermillExecutionError:
            pass  # which cell and why stands in the notebook
        except (DeadKernelError, CellTimeoutError, RuntimeError) as error:
            died = watch.reason or f"the kernel ended: {kernel.last_words() or error}"
    return read_outcome(output, died)


class _Kernel:
    """The kernel of one run: its manager for nbclient, and its process while there is one."""

    def __init__(self, cwd: Path, run: Path, scratch: Path, threads: int) -> None:
        self.pid: int | None = None
        self.log = scratch / "kernel.log"
        self._cwd, self._scratch = cwd, scratch
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = _environment(run, scratch, threads)

    def manager_class(self) -> type:
        """Return a kernel manager that starts this interpreter, over sockets of its own."""
        from jupyter_client.kernelspec import KernelSpec
        from jupyter_client.manager import AsyncKernelManager

        command = [
            sys.executable,
            "-m",
            "workbench.runs.execution.kernel",
            "-f",
            "{connection_file}",
        ]
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
                kernel._process = getattr(self.provisioner, "process", None)

        return Manager

    def last_words(self) -> str:
        """Return the first line that the kernel's process wrote, as a crash does, or its signal."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        if lines:
            return lines[0][:500]
        code = self._process.poll() if self._process else None
        if code == -signal.SIGKILL:
            return "killed (SIGKILL), as the system does where memory runs out"
        return "" if code is None else f"its process ended with {code}"

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


def _finish(
    plan: Plan,
    partial: Path,
    recorded: dict[str, Any],
    failure: Failure | None,
    attempts: list[dict[str, Any]],
    started: datetime,
) -> store.Run:
    data = _take(partial / "data.json", [])
    about = {
        "status": "failed" if failure else "complete",
        "reason": failure and failure.reason,
        "failed_cell": failure and failure.cell,
        "notebook": project_path(plan.notebook),
        "source": plan.source,
        "key": inputs.key(recorded),
        "inputs": inputs.digest([inputs.key(recorded), data]),
        "started": f"{started:%Y-%m-%dT%H:%M:%SZ}",
        "wall_s": attempts[-1]["wall_s"],
        "attempts": attempts,
    }
    _tidy(partial / "notebook.ipynb", plan)
    _dump(partial / "params.json", plan.parameters)
    _dump(partial / "manifest.json", {"data": data, **recorded})
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
    about.update(input_path=project_path(plan.notebook), output_path="notebook.ipynb")
    nbformat.write(notebook, output)


def _take(path: Path, otherwise: Any) -> Any:
    if not path.is_file():
        return otherwise
    found = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    return found


def _dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
