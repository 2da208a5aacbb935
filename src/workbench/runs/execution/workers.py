"""As many worker processes as there are jobs, fed from one queue."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench.runs import redaction
from workbench.runs.execution.notebook import Limits
from workbench.runs.planning.specs import Plan

_GRACE_S = 5.0  # for a worker to end its kernel


@dataclass(frozen=True)
class Event:
    """What happened to the plan at `number`: `started`, `finished` (run id) or `lost` (why)."""

    kind: str
    number: int
    text: str = ""


def execute_all(
    plans: Sequence[Plan], store: Path, *, jobs: int, limits: Limits, threads: int
) -> Generator[Event, None, None]:
    """Yield what happens to the plans until all are done; closing the iterator ends the workers.

    A worker that dies takes one run with it, which is told, and is replaced.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(plans)):
        waiting.put(number)
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    common = {"store": str(store), "limits": asdict(limits), "threads": threads}
    orders = [json.dumps({"plan": _plan_json(plan), **common}) for plan in plans]
    feeders = [_Feeder(orders, waiting, events) for _ in range(min(jobs, len(plans)))]
    try:
        left = len(plans)
        while left:
            event = events.get()
            left -= event.kind != "started"
            yield event
    finally:
        for feeder in feeders:
            feeder.stop()
        for feeder in feeders:
            feeder.join()


class _Feeder:
    """A thread that gives one worker its orders and passes its replies on."""

    def __init__(
        self,
        orders: list[str],
        waiting: queue.SimpleQueue[int],
        events: queue.SimpleQueue[Event],
    ) -> None:
        self._orders, self._waiting, self._events = orders, waiting, events
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in join
        self._stopped = threading.Event()
        self._changing = threading.Lock()  # no new worker once stopped
        self._worker = self._start()
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        with self._changing:
            self._stopped.set()
            self._worker.terminate()

    def join(self) -> None:
        try:
            self._worker.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._worker.pid, signal.SIGKILL)
            self._worker.wait()
        self._thread.join()
        for stream in (self._worker.stdin, self._worker.stdout, self._log):
            with contextlib.suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "workbench.runs.execution.worker", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )

    def _feed(self) -> None:
        while not self._stopped.is_set():
            try:
                number = self._waiting.get_nowait()
            except queue.Empty:
                return
            self._events.put(Event("started", number))
            self._events.put(self._ask(number))

    def _ask(self, number: int) -> Event:
        sink, source = self._worker.stdin, self._worker.stdout
        assert sink is not None and source is not None  # noqa: S101, PT018 - both are pipes
        try:
            sink.write(self._orders[number] + "\n")
            sink.flush()
            line = source.readline()
        except BrokenPipeError:
            line = ""
        if line:
            reply = json.loads(line)
            kind = "finished" if "run" in reply else "lost"
            return Event(kind, number, reply.get("run") or reply["error"])
        code = self._worker.wait()
        with self._changing:
            if not self._stopped.is_set():
                with contextlib.suppress(BrokenPipeError):
                    sink.close()
                source.close()
                self._worker = self._start()
        return Event(
            "lost", number, redaction.mask(f"its worker ended with {code}: {self._last_words()}")
        )

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no last words"


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {**asdict(plan), "notebook": str(plan.notebook.resolve())}
