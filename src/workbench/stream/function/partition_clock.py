"""Time in one partition, one reading after the other.

The rule is that of `detectors.partition_time`, whose text says it, and of the job's
`java/PartitionClock`: a reading that is taken waits until no earlier one can come that is not late.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from workbench.detectors import MEMORY


class Timed(Protocol):
    """What has a sensor and an event time, epoch ms."""

    @property
    def sensor(self) -> str: ...
    @property
    def event_ms(self) -> int: ...


R = TypeVar("R", bound=Timed)
C = TypeVar("C", bound=Timed, contravariant=True)


class Listener(Protocol[C]):
    """Who is told what readings are."""

    def late(self, reading: C) -> None:
        """Be told that it lags behind the clock by the lateness or more."""

    def taken(self, reading: C) -> None:
        """Be told that it is neither late nor ahead."""

    def ahead(self, reading: C, lead_ms: int, clock_ms: int) -> None:
        """Be told that it leads the clock, or a reading that came after it, by too much."""

    def due(self, reading: C) -> None:
        """Be told that no earlier one can come that is not late."""


@dataclass
class PartitionClock(Generic[R]):
    """The clock of a partition, and the readings that wait for it.

    Attributes
    ----------
    lateness_ms, ahead_ms
        How far a reading may lag behind the clock, and lead it.
    listener
        Who is told of each reading what it is.
    """

    lateness_ms: int
    ahead_ms: int
    listener: Listener[R]
    _clock_ms: int | None = None
    _first: R | None = None  # it made the clock, and is alone
    _recent: deque[str] = field(default_factory=lambda: deque(maxlen=MEMORY))
    _doubted: list[R] = field(default_factory=list)
    _waiting: list[tuple[int, int, R]] = field(default_factory=list)
    _taken: int = 0

    def arrive(self, reading: R) -> None:
        """Take one reading, and let go of those that are due, by event time."""
        self._judge(reading)
        if self._first is None and self._clock_ms is not None:
            self._release(self._clock_ms - self.lateness_ms)

    def end(self) -> None:
        """Take those that are doubted, and let go of all: nothing comes any more."""
        while self._doubted:
            self._believe()
        if self._waiting:
            self._release(max(self._waiting)[0])

    def _release(self, until_ms: int) -> None:
        while self._waiting and self._waiting[0][0] <= until_ms:
            self.listener.due(heapq.heappop(self._waiting)[2])

    def _judge(self, reading: R) -> None:
        moment = reading.event_ms
        if self._clock_ms is None:
            self._begin(reading)
        elif self._first is not None and self._clock_ms - moment > self.ahead_ms:
            self.listener.ahead(self._first, self._clock_ms - moment, moment)
            self._waiting.clear()  # the first alone
            self._recent.clear()
            self._begin(reading)
        elif moment - self._clock_ms > self.ahead_ms:
            self._doubted.append(reading)
            if self._enough():
                self._believe()
        else:
            self._first = None
            if self._clock_ms - moment < self.lateness_ms:
                self._settle(reading)
            self._take(reading)

    def _begin(self, reading: R) -> None:
        self._clock_ms, self._first = reading.event_ms, reading
        self._take(reading)

    def _settle(self, reading: R) -> None:
        """Decide on the doubted by a reading that is none of them and not late."""
        doubted, self._doubted = self._doubted, []
        for doubt in doubted:
            lead_ms = doubt.event_ms - reading.event_ms
            if lead_ms > self.ahead_ms:
                self.listener.ahead(doubt, lead_ms, reading.event_ms)
            else:
                self._take(doubt)

    def _enough(self) -> bool:
        sensors = {doubt.sensor for doubt in self._doubted}
        many = len(self._doubted) > 1 and 2 * len(sensors) > len(set(self._recent))
        return many or len(self._doubted) == MEMORY

    def _believe(self) -> None:
        """Set the clock to the earliest of the doubted, and judge them anew."""
        doubted, self._doubted, self._first = self._doubted, [], None
        self._clock_ms = min(doubt.event_ms for doubt in doubted)
        for doubt in doubted:
            self._judge(doubt)

    def _take(self, reading: R) -> None:
        assert self._clock_ms is not None  # noqa: S101 - for mypy: whoever takes has a clock
        self._recent.append(reading.sensor)
        if self._clock_ms - reading.event_ms >= self.lateness_ms:
            self.listener.late(reading)
            return
        self._taken += 1
        self.listener.taken(reading)
        heapq.heappush(self._waiting, (reading.event_ms, self._taken, reading))
        self._clock_ms = max(self._clock_ms, reading.event_ms)


__all__ = ["Listener", "PartitionClock"]
