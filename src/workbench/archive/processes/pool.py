"""The processes that build for this one: started when reads are worth it, kept, never left behind.

Python's interpreter lock keeps two threads that decode from being much faster than one. A process
costs more than a second of processor time and some 100 MiB, so none is started before 256 MiB of
objects were read; until it is ready, and where it cannot be had, threads build, as they do what is
too much for the processes there are. Rows and their order do not depend on who built them.

Source: Karlin, Manasse, Rudolph, Sleator, "Competitive snoopy caching", 1988: who buys when as much
was spent on rent never pays more than twice the least.
"""

from __future__ import annotations

import atexit
import os
import threading

from workbench.archive.processes.process import Lane, Process, can_start

WORTH_BYTES = 256 << 20  # of objects, read by threads in this process
_MOST_LOST = 3  # of processes: then threads are used for good
_START_S = 60.0


class Pool:
    """Processes that build; used by any thread.

    Attributes
    ----------
    built
        Groups of entries that processes built so far.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._starting: list[Process] = []
        self._ready: list[Process] = []
        self._idle: list[Lane] = []
        self.built = 0
        self._lost = 0
        self._seen_bytes = 0

    def meet(self, size: int, count: int) -> None:
        """Take note of bytes read, and start `count` processes when they are worth it."""
        with self._lock:
            self._seen_bytes += size
            is_worth = self._seen_bytes >= WORTH_BYTES
        if is_worth:
            self.grow(count)

    def grow(self, count: int) -> None:
        """Have at least `count` processes, ready or not, where they can be had."""
        with self._lock:
            while len(self._all()) < count and self._lost < _MOST_LOST and can_start():
                try:
                    self._starting.append(Process())
                except OSError:
                    self._lost += 1

    def wait(self) -> None:
        """Wait until those that were started are ready, or have failed."""
        for process in list(self._starting):
            process.lanes[0].has_said(_START_S)
        with self._lock:
            self._look()

    def borrow(self) -> Lane | None:
        """Return a lane that is free, of the process with the least to do; None where none is."""
        with self._lock:
            self._look()
            while self._idle:
                lane = max(self._idle, key=lambda lane: self._spare(lane.process))
                self._idle.remove(lane)
                if not lane.has_said(0):
                    return lane
                self._drop(lane.process)  # it has ended: nobody had asked it anything
        return None

    def give_back(self, lane: Lane, *, built: int) -> None:
        """Let others have a lane that was borrowed, by which so many groups were built."""
        with self._lock:
            self.built += built
            if lane.process in self._ready:
                self._idle.append(lane)

    def lose(self, lane: Lane) -> None:
        """Be without a process that was borrowed, and has ended."""
        with self._lock:
            self._lost += lane.process in self._ready
            self._drop(lane.process)

    def is_empty(self) -> bool:
        """Return whether there is no process, not even one that starts."""
        return not self._all()

    def pids(self) -> list[int]:
        """Return the numbers of the processes, as the system counts them."""
        return [process.pid for process in self._all()]

    def end(self) -> None:
        """End all processes."""
        with self._lock:
            for process in self._all():
                process.end()
            self._starting, self._ready, self._idle = [], [], []

    def forget(self) -> None:
        """Leave all processes to another process, of which this one is a fork."""
        for process in self._all():
            process.forget()
        self.__init__()  # type: ignore[misc]

    def _look(self) -> None:
        """Take up those that have become ready."""
        for process in list(self._starting):
            try:
                is_ready = process.is_ready()
            except OSError:
                self._lost += 1
                self._drop(process)
                continue
            if is_ready:
                self._starting.remove(process)
                self._ready.append(process)
                self._idle += process.lanes

    def _drop(self, process: Process) -> None:
        self._starting = [each for each in self._starting if each is not process]
        self._ready = [each for each in self._ready if each is not process]
        self._idle = [lane for lane in self._idle if lane.process is not process]
        process.end()

    def _spare(self, process: Process) -> int:
        return sum(lane.process is process for lane in self._idle)

    def _all(self) -> list[Process]:
        return [*self._starting, *self._ready]


POOL = Pool()
atexit.register(POOL.end)
os.register_at_fork(after_in_child=POOL.forget)
