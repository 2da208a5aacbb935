"""A stream's readings scored one at a time, with its windows in this process's memory.

What the job does (`views`) for the levels arithmetic and inference, for a Pulsar Function: the
same readings in the same order give the same scores and the same alerts under the same ids. There
is no state but this: whoever starts anew has to see w readings of a sensor before its next score.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from workbench.detectors import EpisodeRule, Package, score_windows
from workbench.stream.definition import Stream
from workbench.stream.promotions import iso
from workbench.stream.views import PATTERN

Alert = dict[str, Any]


@dataclass(frozen=True)
class Reading:
    """One reading: its message id as text, sensor, event time in epoch ms, and channels."""

    message_id: str
    sensor: str
    event_ms: int
    channels: Mapping[str, float]


@dataclass
class _Alarm:
    """An alarm that is on."""

    opened: Reading
    threshold: float
    peak: Reading
    peak_score: float
    last: Reading
    readings: int = 1


@dataclass
class _Latch:
    """What sets and resets the alarm of one sensor and kind."""

    above: deque[bool]
    alarm: _Alarm | None = None


@dataclass
class _Sensor:
    """What is remembered of one sensor: its last readings, and a latch for each kind of alert."""

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
    late, refused
        How many readings came too late, and how many were none.
    """

    stream: Stream
    package: Package | None
    late: int = 0
    refused: int = 0
    _waiting: list[tuple[int, int, Reading]] = field(default_factory=list)
    _arrivals: int = 0
    _newest_ms: int | None = None
    _sensors: dict[str, _Sensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._limits = {
            name: (Expressions(self.stream, [one.value, one.when], one.rates(self.stream.measured)))
            for name, one in self.stream.limits.items()
        }

    def read(self, reading: Reading) -> Iterator[tuple[Reading, float, list[Alert]]]:
        """Take one reading; yield each that is due now, its score (NaN: none) and its alerts.

        A reading is due once no earlier one can come that is not late (DESIGN D10), so what is
        yielded is mostly another one than what is taken.
        """
        lateness_ms = self.stream.lateness_ms
        if self._newest_ms is not None and reading.event_ms <= self._newest_ms - lateness_ms:
            self.late += 1
            return
        self._arrivals += 1
        heapq.heappush(self._waiting, (reading.event_ms, self._arrivals, reading))
        self._newest_ms = max(reading.event_ms, self._newest_ms or reading.event_ms)
        while self._waiting and self._waiting[0][0] <= self._newest_ms - lateness_ms:
            due = heapq.heappop(self._waiting)[2]
            known = self._sensor(due.sensor)
            known.past.append(due)
            score = self._score(known)
            yield due, score, [*self._detected(known, due, score), *self._limited(known, due)]

    def told(self, reading: Reading, score: float) -> dict[str, Any]:
        """Return a score as it is sent."""
        return {
            "message_id": reading.message_id,
            "sensor": reading.sensor,
            "event_ms": reading.event_ms,
            "score": None if math.isnan(score) else score,
            "threshold": self.threshold,
            "package": self.package.id if self.package else None,
        }

    @property
    def threshold(self) -> float:
        """Above it a score counts."""
        given = self.stream.threshold
        return given if given is not None else self.package.threshold if self.package else math.nan

    def _sensor(self, name: str) -> _Sensor:
        if name not in self._sensors:
            window = self.package.detector.window if self.package else 1
            self._sensors[name] = _Sensor(deque(maxlen=max(window, 2)))
        return self._sensors[name]

    def _score(self, known: _Sensor) -> float:
        """Return the score of the window that ends here; NaN if it is not full, or spans a gap."""
        if self.package is None or len(known.past) < self.package.detector.window:
            return math.nan
        detector, most_s = self.package.detector, self.package.max_span_s
        window = list(known.past)[-detector.window :]
        if most_s is not None and window[-1].event_ms - window[0].event_ms > round(most_s * 1000):
            return math.nan
        values = [[one.channels[name] for name in detector.channels] for one in window]
        return float(score_windows(detector, np.array([values], dtype=np.float64))[0])

    def _detected(self, known: _Sensor, reading: Reading, score: float) -> Iterator[Alert]:
        if self.package is None:
            return
        rule = self.stream.rule or self.package.rule
        found = (score, self.threshold, score > self.threshold)
        for alarm, stop in _latched(known, PATTERN, rule, reading, found):
            yield self._told(alarm, stop, PATTERN, package=self.package.id)

    def _limited(self, known: _Sensor, reading: Reading) -> Iterator[Alert]:
        for name, limit in self.stream.limits.items():
            value, above = self._limits[name].of(known.past)
            found = (value, limit.limit, bool(above == 1.0))
            for alarm, stop in _latched(known, name, limit.rule, reading, found):
                yield self._told(alarm, stop, name, sign=-1 if limit.falls else 1)

    def _told(
        self, alarm: _Alarm, stop: Reading | None, kind: str, *, package: str = "", sign: int = 1
    ) -> Alert:
        opened, peak = alarm.opened, alarm.peak
        parts = [package] if package else []
        about = (self.stream.topic, opened.sensor, *parts, kind, str(opened.event_ms))
        return {
            "id": hashlib.sha256("|".join(about).encode()).hexdigest()[:32],
            "stream": self.stream.name,
            "sensor": opened.sensor,
            "kind": kind,
            "status": "closed" if stop else "open",
            "start": iso(opened.event_ms),
            "peak_time": iso(peak.event_ms),
            "stop": iso(stop.event_ms) if stop else None,
            "peak_score": sign * alarm.peak_score,
            "threshold": sign * alarm.threshold,
            "readings": alarm.readings,
            "channels": {
                name: None if math.isnan(value) else value for name, value in peak.channels.items()
            },
            "package": package or None,
            "first_message_id": opened.message_id,
            "last_message_id": alarm.last.message_id,
        }


def _latched(
    known: _Sensor,
    kind: str,
    rule: EpisodeRule,
    reading: Reading,
    found: tuple[float, float, bool],
) -> Iterator[tuple[_Alarm, Reading | None]]:
    """Set or reset the alarm of a kind; yield it if so, with the reading that resets it."""
    score, threshold, above = found
    latch = known.latches.setdefault(kind, _Latch(deque(maxlen=max(rule.n, rule.m))))
    latch.above.append(above)
    newest, alarm = list(latch.above), latch.alarm
    if alarm is None and sum(newest[-rule.n :]) >= rule.k:
        latch.alarm = _Alarm(reading, threshold, reading, score, reading)
        yield latch.alarm, None
    elif alarm and sum(newest[-rule.n :]) < rule.k and _quiet(newest, rule.m):
        latch.alarm = None
        yield alarm, reading
    elif alarm:
        alarm.readings += 1
        alarm.last = reading
        if score > alarm.peak_score or math.isnan(alarm.peak_score) > math.isnan(score):
            alarm.peak, alarm.peak_score = reading, score


def _quiet(above: list[bool], m: int) -> bool:
    return len(above) >= m and not any(above[-m:])


class Expressions:
    """SQL expressions on the channels of a reading, by DuckDB (DESIGN D4)."""

    def __init__(
        self, stream: Stream, expressions: Iterable[str], rates: Iterable[str] = ()
    ) -> None:
        import duckdb

        self._rates = tuple(rates)
        self._names = (*stream.measured, *(f"{one}_per_s" for one in self._rates))
        made = ", ".join(f"CAST({one} AS DOUBLE)" for one in expressions).replace("`", '"')
        given = ", ".join(f'CAST(? AS DOUBLE) AS "{name}"' for name in self._names)
        self._query = f"SELECT {made} FROM (SELECT {given})"
        self._connection = duckdb.connect()

    def of(self, past: Sequence[Reading]) -> list[float]:
        """Return the values at the newest of some readings; NaN for NULL."""
        channels = {**past[-1].channels, **self._changes(past)}
        given = [channels.get(name, math.nan) for name in self._names]
        row = self._connection.execute(
            self._query, [None if math.isnan(one) else one for one in given]
        ).fetchone()
        return [math.nan if one is None else one for one in row or ()]

    def _changes(self, past: Sequence[Reading]) -> dict[str, float]:
        if not self._rates or len(past) < 2:
            return {}
        before, newest = past[-2], past[-1]
        seconds = (newest.event_ms - before.event_ms) / 1000
        return {
            f"{one}_per_s": (newest.channels[one] - before.channels[one]) / seconds
            for one in self._rates
            if seconds
        }


def parse(
    stream: Stream,
    content: Any,
    message_id: str,
    times_ms: tuple[int, int],
    derived: Expressions | None = None,
) -> Reading:
    """Return the reading in the JSON object of a message, its measured channels in order.

    Parameters
    ----------
    times_ms
        Event and publish time of the message; an event time of 0: it has none.
    derived
        Makes the derived channels; None: there are none.

    Raises
    ------
    ValueError, TypeError, KeyError
        If it is no reading of this stream.
    """
    event_ms, publish_ms = times_ms
    named = content.get(stream.event_time) if stream.event_time else None
    values = {}
    for name in stream.channels:
        value = content.get(name)
        number = math.nan if value is None else float(value)
        values[name] = number if math.isfinite(number) else math.nan
    sensor = content[stream.sensor]
    if sensor is None:
        raise ValueError(f"{stream.sensor} is null")
    reading = Reading(message_id, str(sensor), int(event_ms or named or publish_ms), values)
    if derived is None:
        return reading
    made = dict(zip(stream.derived, derived.of([reading]), strict=True))
    return replace(reading, channels={**values, **made})


__all__ = ["Alert", "Expressions", "Memory", "Reading", "parse"]
