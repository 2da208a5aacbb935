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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workbench.detectors import Package, score_windows
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
    package: str
    peak: Reading
    peak_score: float
    last: Reading
    readings: int = 1


@dataclass
class _Sensor:
    """What is remembered of one sensor."""

    times: deque[int]
    values: deque[list[float]]
    above: deque[bool]
    alarm: _Alarm | None = None


@dataclass
class Memory:
    """The windows and alarms of a stream.

    Attributes
    ----------
    stream, package
        What scores which readings; the stream's threshold and rule stand in place of the package's.
    late, refused
        How many readings came too late, and how many were none.
    """

    stream: Stream
    package: Package
    late: int = 0
    refused: int = 0
    _waiting: list[tuple[int, int, Reading]] = field(default_factory=list)
    _arrivals: int = 0
    _newest_ms: int | None = None
    _sensors: dict[str, _Sensor] = field(default_factory=dict)

    def read(self, reading: Reading) -> Iterator[tuple[Reading, float, Alert | None]]:
        """Take one reading; yield each that is due now, its score (NaN: none) and its alert.

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
            score = self._score(due)
            yield due, score, self._alert(due, score)

    def told(self, reading: Reading, score: float) -> dict[str, Any]:
        """Return a score as it is sent."""
        return {
            "message_id": reading.message_id,
            "sensor": reading.sensor,
            "event_ms": reading.event_ms,
            "score": None if math.isnan(score) else score,
            "threshold": self.threshold,
            "package": self.package.id,
        }

    @property
    def threshold(self) -> float:
        """Above it a score counts."""
        given = self.stream.threshold
        return self.package.threshold if given is None else given

    def _sensor(self, name: str) -> _Sensor:
        if name not in self._sensors:
            w, rule = self.package.detector.window, self.stream.rule or self.package.rule
            self._sensors[name] = _Sensor(
                deque(maxlen=w), deque(maxlen=w), deque(maxlen=max(rule.n, rule.m))
            )
        return self._sensors[name]

    def _score(self, reading: Reading) -> float:
        """Return the score of the window that ends here; NaN if it is not full, or spans a gap."""
        detector, known = self.package.detector, self._sensor(reading.sensor)
        known.times.append(reading.event_ms)
        known.values.append([reading.channels[one] for one in detector.channels])
        if len(known.times) < detector.window:
            return math.nan
        most_s = self.package.max_span_s
        if most_s is not None and known.times[-1] - known.times[0] > round(most_s * 1000):
            return math.nan
        return float(score_windows(detector, np.array([known.values], dtype=np.float64))[0])

    def _alert(self, reading: Reading, score: float) -> Alert | None:
        """Set or reset the sensor's alarm; return the alert that says so."""
        known, rule = self._sensor(reading.sensor), self.stream.rule or self.package.rule
        known.above.append(score > self.threshold)
        newest = list(known.above)
        alarm = known.alarm
        if sum(newest[-rule.n :]) >= rule.k:
            if alarm is None:
                known.alarm = _Alarm(
                    reading, self.threshold, self.package.id, reading, score, reading
                )
                return self._told(known.alarm, stop=None)
        elif alarm and len(newest) >= rule.m and not any(newest[-rule.m :]):
            known.alarm = None
            return self._told(alarm, stop=reading)
        if alarm:
            alarm.readings += 1
            alarm.last = reading
            if not alarm.peak_score >= score and not math.isnan(score):
                alarm.peak, alarm.peak_score = reading, score
        return None

    def _told(self, alarm: _Alarm, *, stop: Reading | None) -> Alert:
        opened, peak = alarm.opened, alarm.peak
        about = (self.stream.topic, opened.sensor, alarm.package, PATTERN, str(opened.event_ms))
        return {
            "id": hashlib.sha256("|".join(about).encode()).hexdigest()[:32],
            "stream": self.stream.name,
            "sensor": opened.sensor,
            "kind": PATTERN,
            "status": "closed" if stop else "open",
            "start": iso(opened.event_ms),
            "peak_time": iso(peak.event_ms),
            "stop": iso(stop.event_ms) if stop else None,
            "peak_score": alarm.peak_score,
            "threshold": alarm.threshold,
            "readings": alarm.readings,
            "channels": {
                name: None if math.isnan(value) else value for name, value in peak.channels.items()
            },
            "package": alarm.package,
            "first_message_id": opened.message_id,
            "last_message_id": alarm.last.message_id,
        }


class Derived:
    """The derived channels of a stream, by DuckDB (DESIGN D4)."""

    def __init__(self, stream: Stream) -> None:
        import duckdb

        self._stream = stream
        made = ", ".join(f"CAST({one} AS DOUBLE)" for one in stream.derived.values())
        given = ", ".join(f'CAST(? AS DOUBLE) AS "{name}"' for name in stream.channels)
        self._query = f"SELECT {made.replace('`', chr(34))} FROM (SELECT {given})"
        self._connection = duckdb.connect() if stream.derived else None

    def all(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the values with those of the derived channels."""
        if self._connection is None:
            return dict(values)
        given = [None if math.isnan(one) else one for one in values.values()]
        (row,) = self._connection.execute(self._query, given).fetchall()
        made = (math.nan if one is None else one for one in row)
        return {**values, **dict(zip(self._stream.derived, made, strict=True))}


def parse(
    stream: Stream,
    content: Any,
    message_id: str,
    times_ms: tuple[int, int],
    derived: Derived | None = None,
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
    measured = derived.all(values) if derived else values
    return Reading(message_id, str(sensor), int(event_ms or named or publish_ms), measured)


__all__ = ["Alert", "Derived", "Memory", "Reading", "parse"]
