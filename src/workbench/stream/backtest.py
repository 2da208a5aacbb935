"""What a stream would have said: its SQL, bounded, over a span of the archive.

The readings are exported to a file in their order of arrival, and the same views run over it as a
bounded job: lateness, promotions and alert ids are those of the live job. Where the order of
arrival does not matter, Flink executes it as a batch: it sorts the readings, on disk if they are
many, and has one sensor's state at a time in memory instead of that of all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from workbench.cards import Card, Shown
from workbench.detectors import epoch_ms, late
from workbench.errors import StreamError
from workbench.history import replay
from workbench.stream.definition import Stream, load_stream
from workbench.stream.job import run
from workbench.stream.outcome import Outcome

_DAY_S = 86_400.0


@dataclass(frozen=True, eq=False)
class Backtest(Shown):
    """What a stream made of a span of its archive.

    Attributes
    ----------
    outcome
        Alerts, scores and late readings.
    first, last
        Event times of the span, ISO-8601 UTC.
    sensors
        How many there are.
    days
        Length of the span, days.
    execution
        Flink's: `batch`, or `streaming` where the order of arrival matters.
    """

    outcome: Outcome
    first: str
    last: str
    sensors: int
    days: float
    execution: str

    @property
    def alerts_per_sensor_day(self) -> float:
        """How often a sensor alerts."""
        return len(self.outcome.alerts) / max(self.sensors * self.days, 1 / _DAY_S)

    def summary(self) -> dict[str, Any]:
        """Return the figures of it, for JSON."""
        found = self.outcome
        return {
            "stream": found.stream,
            "package": found.package,
            "first": self.first,
            "last": self.last,
            "readings": found.readings,
            "sensors": self.sensors,
            "late": len(found.late),
            "scored": int(found.scores["score"].notna().sum()),
            "alerts": len(found.alerts),
            "alerts_per_sensor_day": round(self.alerts_per_sensor_day, 4),
            "execution": self.execution,
            "startup_s": round(found.startup_s, 2),
            "rate": round(found.rate, 1),
        }

    def alerts(self) -> Iterator[dict[str, Any]]:
        """Yield the alerts, as they stand on the topic."""
        text = self.outcome.alerts.to_json(orient="records", date_format="iso", date_unit="ms")
        yield from json.loads(text)

    def card(self) -> Card:
        """Return what a notebook shows of it."""
        return Card("backtest", self.outcome.stream, self.summary())


def backtest(
    stream: str | Path | Stream,
    start: str | None = None,
    stop: str | None = None,
    *,
    archive: str | None = None,
    package: str | None = None,
    folder: Path | None = None,
) -> Backtest:
    """Run a stream over the archive's readings with event time in [start, stop).

    Parameters
    ----------
    start, stop
        ISO-8601 UTC; None: from the first, to the last.
    archive
        Folder or bucket; None: `WORKBENCH_ARCHIVE`, or the local services'.
    package
        Id of a package in place of the stream's detector.
    folder
        Where to keep the job's files; None: nowhere.

    Raises
    ------
    StreamError
        If there are no readings, or for what `run` raises.
    """
    found = load_stream(stream)
    columns = list(found.fields)
    frame = replay(found.topic, start, stop, columns=columns, archive=archive)
    if not len(frame):
        raise StreamError(
            f"the archive has no readings of {found.topic} from {start or 'the first'} "
            f"to {stop or 'the last'}"
        )
    times = frame["event_time"]
    batch = not order_matters(found, frame)
    return Backtest(
        outcome=run(found, frame, package=package, folder=folder, batch=batch),
        first=f"{times.min():%Y-%m-%dT%H:%M:%SZ}",
        last=f"{times.max():%Y-%m-%dT%H:%M:%SZ}",
        sensors=int(frame[found.sensor].nunique()),
        days=(times.max() - times.min()).total_seconds() / _DAY_S,
        execution="batch" if batch else "streaming",
    )


def order_matters(stream: Stream, frame: pd.DataFrame) -> bool:
    """Return whether readings have to be seen in the order in which they arrived.

    It decides which are late, which of two of one instant comes first in a window, in which order
    numbers are summed, and what a pattern sees.

    Parameters
    ----------
    frame
        Readings in order of arrival: the sensor's column and `event_time`.
    """
    times = epoch_ms(frame["event_time"])
    twice = pd.DataFrame({0: frame[stream.sensor].to_numpy(), 1: times}).duplicated().any()
    too_late = late(times, stream.lateness_ms).any()
    return bool(stream.sums or stream.patterns or twice or too_late)


__all__ = ["Backtest", "backtest", "order_matters"]
