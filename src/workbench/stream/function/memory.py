"""A stream's readings scored one at a time, with its windows in this process's memory.

What the job does (`views`) for the levels arithmetic and inference, for a Pulsar Function: the
same readings in the same order give the rows of the same views, `scores`, `late`, `refused` and
`alerts`, under the same ids. There is no state but this: whoever starts anew has to see w readings
of a sensor before its next score.

Each partition has its clock, and nothing is merged across them: a sensor belongs to the partition
that its first reading came by, and readings of it that come by another are refused. (The job puts
them in order, for which it waits; here they would make windows in whatever order they came.)
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workbench import local_sql
from workbench.detectors import EpisodeRule, Package
from workbench.stream.definition.stream_file import CLOCK, Stream
from workbench.stream.flink_sql.tables import AHEAD, LATE
from workbench.stream.flink_sql.views import PATTERN
from workbench.stream.function.partition_clock import PartitionClock
from workbench.stream.scoring import Readings, reading_contributions, window_scores
from workbench.times import iso

Row = dict[str, Any]
_ONE = np.zeros(1, np.int64)


@dataclass(eq=False)
class Reading:
    """One reading: its message id as text, sensor, event time in epoch ms, and channels.

    Where the sensor's clock is right again, `clock_ms` says since when it was not.
    """

    message_id: str
    sensor: str
    event_ms: int
    channels: Mapping[str, float]
    clock_ms: int | None = None

    @property
    def partition(self) -> str:
        """Partition in the message id."""
        return self.message_id.rpartition(":")[0].rpartition(":")[2]


@dataclass
class _Alarm:
    """An alarm that is on."""

    opened: Reading
    threshold: float
    peak: Reading
    peak_score: float
    last: Reading
    peak_past: tuple[Reading, ...] = ()
    readings: int = 1


@dataclass
class _Latch:
    """What sets and resets the alarm of one sensor and kind."""

    above: deque[bool]
    alarm: _Alarm | None = None


@dataclass
class _Sensor:
    """What is remembered of one sensor: its last readings, and a latch for each kind of alert."""

    partition: str
    past: deque[Reading]
    latches: dict[str, _Latch] = field(default_factory=dict)


@dataclass
class Memory:
    """The windows and alarms of a stream.

    Attributes
    ----------
    stream, package
        What scores which readings (None: limits only); the stream's threshold and rule stand in
        place of the package's.
    """

    stream: Stream
    package: Package | None
    _partitions: dict[str, _Partition] = field(default_factory=dict)
    _sensors: dict[str, _Sensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._limits = {
            name: (
                Expressions(
                    self.stream, [limit.value, limit.when], limit.rates(self.stream.measured)
                )
            )
            for name, limit in self.stream.limits.items()
        }

    def read(self, reading: Reading) -> list[tuple[str, Row]]:
        """Take one reading; return what can be said now: names of views, and rows of them.

        A reading is due once no earlier one can come that is not late (docs/design.md, D10), so
        what is said is mostly of another one than what is taken.
        """
        partition, sensor = reading.partition, self._sensor(reading)
        if partition != sensor.partition:
            return [
                refusal(
                    reading.message_id,
                    f"sensor {reading.sensor} comes by partition {partition}, and came by "
                    f"{sensor.partition}: a function merges nothing across partitions",
                )
            ]
        if partition not in self._partitions:
            self._partitions[partition] = _Partition(self)
        return self._partitions[partition].read(reading)

    def end(self) -> list[tuple[str, Row]]:
        """Return what is to be said where nothing comes any more, as at a bounded job's end."""
        return [said for one in self._partitions.values() for said in one.end()]

    def due(self, reading: Reading) -> Iterator[tuple[str, Row]]:
        """Yield the score and the alerts of a reading that is due."""
        sensor = self._sensor(reading)
        sensor.past.append(reading)
        if reading.clock_ms is not None:
            yield "alerts", self.clock_alert(reading, reading.clock_ms, reading.event_ms)
        score = self._score(sensor, reading.sensor)
        if self.package:
            yield "scores", self._scored(reading, score, self.package)
        for alert in (*self._detected(sensor, reading, score), *self._limited(sensor, reading)):
            yield "alerts", alert

    def _scored(self, reading: Reading, score: float, package: Package) -> Row:
        return {
            "message_id": reading.message_id,
            "sensor": reading.sensor,
            "event_ms": reading.event_ms,
            "score": None if math.isnan(score) else score,
            "threshold": self.threshold,
            "package": package.id,
        }

    @property
    def threshold(self) -> float:
        """Above it a score counts."""
        given = self.stream.threshold
        return given if given is not None else self.package.threshold if self.package else math.nan

    def _sensor(self, reading: Reading) -> _Sensor:
        if reading.sensor not in self._sensors:
            window = self.package.detector.window if self.package else 1
            past: deque[Reading] = deque(maxlen=max(window, 2))
            self._sensors[reading.sensor] = _Sensor(reading.partition, past)
        return self._sensors[reading.sensor]

    def _score(self, sensor: _Sensor, name: str) -> float:
        """Return the score of the window that ends here; NaN if it is not full, or spans a gap."""
        if self.package is None:
            return math.nan
        names, count = self.stream.measured, np.array([len(sensor.past)])
        times_ms = np.array([reading.event_ms for reading in sensor.past], np.int64)
        numbers = [[reading.channels[name] for name in names] for reading in sensor.past]
        readings = Readings(times_ms, np.array(numbers, np.float64), count, count)
        return float(window_scores(self.package, names, readings, _ONE, (name,))[0])

    def _detected(self, sensor: _Sensor, reading: Reading, score: float) -> Iterator[Row]:
        if self.package is None:
            return
        rule = self.stream.rule or self.package.rule
        judgement = (score, self.threshold, score > self.threshold)
        for alarm, stop in _latched(sensor, PATTERN, rule, reading, judgement):
            yield self._alert_message(alarm, stop, PATTERN, package=self.package.id)

    def _limited(self, sensor: _Sensor, reading: Reading) -> Iterator[Row]:
        for name, limit in self.stream.limits.items():
            value, above = self._limits[name].of(sensor.past)
            judgement = (value, limit.limit, bool(above == 1.0))
            for alarm, stop in _latched(sensor, name, limit.rule, reading, judgement):
                yield self._alert_message(alarm, stop, name, sign=-1 if limit.falls else 1)

    def _alert_message(
        self, alarm: _Alarm, stop: Reading | None, kind: str, *, package: str = "", sign: int = 1
    ) -> Row:
        peak = alarm.peak
        times = (alarm.opened.event_ms, peak.event_ms, stop.event_ms if stop else None)
        return {
            **self._identified(alarm.opened.sensor, kind, times, package=package),
            "peak_score": sign * alarm.peak_score,
            "threshold": sign * alarm.threshold,
            "readings": alarm.readings,
            "channels": {
                name: None if math.isnan(value) else value for name, value in peak.channels.items()
            },
            "package": package or None,
            "first_message_id": alarm.opened.message_id,
            "last_message_id": alarm.last.message_id,
            "contributions": self._contributions(alarm) if package else None,
        }

    def _contributions(self, alarm: _Alarm) -> list[Row] | None:
        """Return what each channel has in the peak; None: nothing explains it."""
        if self.package is None:
            return None
        names = self.stream.measured
        numbers = [[reading.channels[name] for name in names] for reading in alarm.peak_past]
        parts = reading_contributions(
            self.package, names, np.array(numbers, np.float64), alarm.opened.sensor
        )
        return [part._asdict() for part in parts] or None

    def clock_alert(self, reading: Reading, since_ms: int, stop_ms: int | None = None) -> Row:
        """Return the alert of a sensor whose clock is ahead, or is right again with a reading.

        Parameters
        ----------
        since_ms
            What its partition's clock showed when the sensor's began to be ahead.
        """
        nothing = dict.fromkeys(("peak_score", "threshold", "readings"))
        return {
            **self._identified(reading.sensor, CLOCK, (since_ms, since_ms, stop_ms)),
            **nothing,
            "channels": dict.fromkeys(self.stream.measured),
            "package": None,
            "first_message_id": reading.message_id,
            "last_message_id": reading.message_id,
            "contributions": None,
        }

    def _identified(
        self, sensor: str, kind: str, times: tuple[int, int, int | None], *, package: str = ""
    ) -> Row:
        """Return what every alert begins with; the id says what it is about (`views`)."""
        start_ms, peak_ms, stop_ms = times
        parts = [package] if package else []
        about = (self.stream.topic, sensor, *parts, kind, str(start_ms))
        return {
            "id": hashlib.sha256("|".join(about).encode()).hexdigest()[:32],
            "stream": self.stream.name,
            "sensor": sensor,
            "kind": kind,
            "status": "open" if stop_ms is None else "closed",
            "start": iso(start_ms),
            "peak_time": iso(peak_ms),
            "stop": None if stop_ms is None else iso(stop_ms),
        }


def refusal(message_id: str, reason: str) -> tuple[str, Row]:
    """Return the row of a message that is no reading, or whose time cannot be."""
    return "refused", {"message_id": message_id, "reason": reason}


class _Partition:
    """A partition's clock, and the sensors in it whose own are ahead, as in `PartitionOrder`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        stream = memory.stream
        self._clock: PartitionClock[Reading] = PartitionClock(
            stream.lateness_ms, stream.ahead_ms, self
        )
        self._wrong: dict[str, int] = {}  # since when, by the partition's clock
        self._said: list[tuple[str, Row]] = []

    def read(self, reading: Reading) -> list[tuple[str, Row]]:
        self._clock.arrive(reading)
        return self._pass_on()

    def end(self) -> list[tuple[str, Row]]:
        self._clock.end()
        return self._pass_on()

    def _pass_on(self) -> list[tuple[str, Row]]:
        said, self._said = self._said, []
        return said

    def late(self, reading: Reading) -> None:
        row = {name: getattr(reading, name) for name in LATE}
        self._said.append(("late", row))

    def taken(self, reading: Reading) -> None:
        reading.clock_ms = self._wrong.pop(reading.sensor, None)

    def ahead(self, reading: Reading, lead_ms: int, clock_ms: int) -> None:
        reason = (
            f"{AHEAD} of its partition by {lead_ms / 1000:.3f} s, "
            f"not by {self._memory.stream.ahead_ms / 1000:.3f} s at most"
        )
        self._said.append(refusal(reading.message_id, reason))
        if reading.sensor not in self._wrong:
            self._wrong[reading.sensor] = clock_ms
            self._said.append(("alerts", self._memory.clock_alert(reading, clock_ms)))

    def due(self, reading: Reading) -> None:
        self._said += self._memory.due(reading)


def _latched(
    sensor: _Sensor,
    kind: str,
    rule: EpisodeRule,
    reading: Reading,
    judgement: tuple[float, float, bool],
) -> Iterator[tuple[_Alarm, Reading | None]]:
    """Set or reset the alarm of a kind; yield it if so, with the reading that resets it."""
    score, threshold, above = judgement
    latch = sensor.latches.setdefault(kind, _Latch(deque(maxlen=max(rule.n, rule.m))))
    latch.above.append(above)
    newest, alarm = list(latch.above), latch.alarm
    if alarm is None and sum(newest[-rule.n :]) >= rule.k:
        latch.alarm = _Alarm(reading, threshold, reading, score, reading, tuple(sensor.past))
        yield latch.alarm, None
    elif alarm and sum(newest[-rule.n :]) < rule.k and _quiet(newest, rule.m):
        latch.alarm = None
        yield alarm, reading
    elif alarm:
        alarm.readings += 1
        alarm.last = reading
        if score > alarm.peak_score or math.isnan(alarm.peak_score) > math.isnan(score):
            alarm.peak, alarm.peak_score = reading, score
            alarm.peak_past = tuple(sensor.past)


def _quiet(above: list[bool], m: int) -> bool:
    return len(above) >= m and not any(above[-m:])


class Expressions:
    """SQL expressions on the channels of a reading, by DuckDB (docs/design.md, D4)."""

    def __init__(
        self, stream: Stream, expressions: Iterable[str], rates: Iterable[str] = ()
    ) -> None:
        self._rates = tuple(rates)
        self._names = (*stream.measured, *(f"{one}_per_s" for one in self._rates))
        made = ", ".join(f"CAST({one} AS DOUBLE)" for one in expressions).replace("`", '"')
        given = ", ".join(f'CAST(? AS DOUBLE) AS "{name}"' for name in self._names)
        self._query = f"SELECT {made} FROM (SELECT {given})"
        self._connection = local_sql.connect(threads="1")

    def of(self, past: Sequence[Reading]) -> list[float]:
        """Return the values at the newest of some readings; NaN for NULL."""
        channels = {**past[-1].channels, **self._changes(past)}
        given = [channels.get(name, math.nan) for name in self._names]
        row = self._connection.execute(
            self._query, [None if math.isnan(value) else value for value in given]
        ).fetchone()
        return [math.nan if value is None else value for value in row or ()]

    def _changes(self, past: Sequence[Reading]) -> dict[str, float]:
        if not self._rates or len(past) < 2:
            return {}
        before, newest = past[-2], past[-1]
        seconds = (newest.event_ms - before.event_ms) / 1000
        return {
            f"{channel}_per_s": (newest.channels[channel] - before.channels[channel]) / seconds
            for channel in self._rates
            if seconds
        }


__all__ = ["Expressions", "Memory", "Reading", "Row", "refusal"]
