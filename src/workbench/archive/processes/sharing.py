"""A read that processes take part in."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, cast

from workbench.archive.access import Access
from workbench.archive.ledgers import GROUP_BYTES, Entries
from workbench.archive.processes.pool import POOL
from workbench.archive.processes.process import LANES
from workbench.archive.processes.recipe import Recipe
from workbench.archive.statistics import Statistics
from workbench.archive.storage.ordered import in_order

_T = TypeVar("_T")
MostBytes = Callable[[], int]  # of entries built at once, decompressed; asked for each few MiB
HANDED_BYTES = 16 << 20  # where processes are: handing over takes half a ms, whatever the size
_MOST_ODD = 8  # groups of entries of which something is to be said, and an eighth of all


class Shared:
    """Builds entries by a process where one is free, else here; from any thread.

    Attributes
    ----------
    build
        What builds them here.
    recipe
        What a process is to build: the same.
    statistics
        Told what a process met.
    workers
        How many processes may be had.
    """

    def __init__(
        self, build: Callable[[Entries], _T], recipe: bytes, statistics: Statistics, workers: int
    ) -> None:
        self.build = build
        self.recipe = recipe
        self.statistics = statistics
        self.workers = workers
        self._built = self._odd = 0

    def __call__(self, entries: Entries) -> object:
        """Return what `build` does."""
        POOL.meet(len(entries.data), self.workers)
        built = self._elsewhere(entries)
        if built is None:
            return self.build(entries)
        return built

    def _elsewhere(self, entries: Entries) -> object:
        """Return what a process builds; None where none is free, or it would not."""
        if self._odd > _MOST_ODD + self._built // 8:
            return None  # what it will not build it has tried to, for nothing
        lane = POOL.borrow()
        if lane is None:
            return None
        try:
            answer = lane.build(self.recipe, entries)
        except Exception:  # it has ended, or its answer is none: this is built here
            POOL.lose(lane)
            return None
        POOL.give_back(lane, built=answer is not None)
        if answer is None:
            self._odd += 1
            return None
        self._built += 1
        batch, bounds = answer
        self.statistics.add(entries.ledger, bounds)
        return batch


def few_bytes() -> int:
    """Return how many bytes one worker decompresses at a time."""
    return GROUP_BYTES


def _handed_bytes() -> int:
    return GROUP_BYTES if POOL.is_empty() else HANDED_BYTES


def shared(
    build: Callable[[Entries], _T],
    entries: Callable[[MostBytes], Iterable[Entries]],
    recipe: Recipe | None,
    statistics: Statistics,
    access: Access,
) -> Iterator[_T]:
    """Yield build(group) of all groups of entries, in order, on as many workers as `access` has.

    Parameters
    ----------
    entries
        Gives them in groups of no more than so many bytes.
    recipe
        Of what `build` builds: processes may do it, too. None where there is none.
    statistics
        Told what processes met; `build` tells it what is built here.
    """
    if access.workers == 1:
        return map(build, entries(few_bytes))
    count = min(access.workers, _allowed())
    text = recipe.text() if recipe and count > 1 and _may_have_processes(access) else None
    most_bytes = few_bytes
    if text is not None:
        if access.processes:
            POOL.grow(count)
            POOL.wait()
        build = cast(Callable[[Entries], _T], Shared(build, text, statistics, count))
        most_bytes = _handed_bytes
        if not POOL.is_empty():
            return in_order(build, entries(most_bytes), workers=LANES * count)
    return in_order(build, entries(most_bytes), workers=access.workers)


def _may_have_processes(access: Access) -> bool:
    """Return whether there may be processes; in a run, whose memory they count to, if asked for."""
    if access.processes is None:
        return "WORKBENCH_RUN" not in os.environ
    return access.processes


def _allowed() -> int:
    """Return how many cores this process may use, where whoever runs several has told each."""
    said = os.environ.get("NUMBA_NUM_THREADS", "")
    return int(said) if said.isdecimal() else sys.maxsize
