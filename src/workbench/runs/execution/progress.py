"""How a sweep is getting on: a live line in a terminal, a bar in Jupyter, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from workbench.cards import readable
from workbench.metrics import direction
from workbench.runs.columns import numbers
from workbench.runs.leaderboard import first_metric
from workbench.runs.store import Run


class Progress:
    """Counts of done, running, failed and cached runs, the best so far, and the time left."""

    def __init__(self, *, total: int, cached: Iterable[Run], metric: str | None) -> None:
        self._total, self._metric = total, metric
        self._best: float | None = None
        self._running = self._failed = 0
        cached = list(cached)
        self._done = self._cached = len(cached)
        for run in cached:
            self._count(run)
        self._bar: Any = self._open()
        self._say(f"{total} runs, {self._cached} of them in the store already")

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def skipped(self, runs: Sequence[Run]) -> None:
        """Count runs that the store has, of which a search learns on the way."""
        for run in runs:
            self._done += 1
            self._cached += 1
            self._count(run)
            self._step()
            self._say(f"[{self._done}/{self._total}] {run.id} is in the store already")

    def started(self) -> None:
        """Count a run that has started."""
        self._running += 1
        self._show()

    def finished(self, run: Run) -> None:
        """Count a run that is in the store now."""
        self._running -= 1
        self._done += 1
        self._count(run)
        self._step()
        told = f"failed: {run.reason}" if run.status == "failed" else f"{run.wall_s:.1f} s"
        self._say(
            f"[{self._done}/{self._total}] {run.id} {told} ({run.about['source']})",
            bad=run.status == "failed",
        )

    def lost(self, source: str, why: str) -> None:
        """Count a run of which nothing could be kept."""
        self._running -= 1
        self._done += 1
        self._failed += 1
        self._step()
        self._say(f"[{self._done}/{self._total}] lost: {why} ({source})", bad=True)

    def _count(self, run: Run) -> None:
        if run.status == "failed":
            self._failed += 1
            return
        self._metric = self._metric or first_metric([run])
        value = numbers(run.metrics).get(self._metric or "")
        sign = direction(self._metric or "")
        if value is None or not sign:
            return
        better = max if sign > 0 else min
        self._best = value if self._best is None else better(self._best, value)

    def _open(self) -> Any:
        if not (sys.stderr.isatty() or _in_jupyter()):
            return None
        from tqdm.auto import tqdm

        return tqdm(total=self._total, initial=self._cached, unit="run", dynamic_ncols=True)

    def _step(self) -> None:
        if self._bar is not None:
            self._bar.update(1)
        self._show()

    def _show(self) -> None:
        if self._bar is None:
            return
        best = "" if self._best is None else f", best {self._metric} {readable(self._best)}"
        self._bar.set_postfix_str(
            f"{self._running} running, {self._failed} failed, {self._cached} cached{best}"
        )

    def _say(self, line: str, *, bad: bool = False) -> None:
        """Write a line; beside a bar, which shows the rest, only what went wrong."""
        if self._bar is not None and bad:
            self._bar.write(line, file=sys.stderr)
        elif self._bar is None:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


def _in_jupyter() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
