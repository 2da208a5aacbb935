"""What a stream would have said: its SQL, bounded, over a span of the archive.

The messages are written to a file as they are on the topic, in their order of arrival, and the same
views run over it as a bounded job: what is a reading, its time, lateness, promotions and alert ids
are those of the live job. Where the order of arrival does not matter, Flink executes it as a batch:
it sorts the readings, on disk if they are many, and has one sensor's state at a time in memory
instead of that of all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from workbench.archive import Archive
from workbench.cards import Card, HasCard
from workbench.errors import StreamError
from workbench.stream.definition.stream_file import Stream, load_stream
from workbench.stream.frames import arrived
from workbench.stream.running import originals
from workbench.stream.running.job import run
from workbench.stream.running.outcome import Outcome
from workbench.times import epoch_ms, iso

_DAY_S = 86_400.0


@dataclass(frozen=True, eq=False)
class Backtest(HasCard):
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
        outcome = self.outcome
        return {
            "stream": outcome.stream,
            "package": outcome.package,
            "first": self.first,
            "last": self.last,
            "readings": outcome.readings,
            "sensors": self.sensors,
            "late": len(outcome.late),
            "refused": len(outcome.refused),
            "scored": int(outcome.scores["score"].notna().sum()),
            "alerts": len(outcome.alerts),
            "alerts_per_sensor_day": round(self.alerts_per_sensor_day, 4),
            "execution": self.execution,
            "startup_s": round(outcome.startup_s, 2),
            "rate": round(outcome.rate, 1),
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
    archive: str | Archive | None = None,
    package: str | None = None,
    folder: Path | None = None,
) -> Backtest:
    """Run a stream over the archive's readings with event time in [start, stop).

    Parameters
    ----------
    start, stop
        ISO-8601 UTC; None: from the first, to the last.
    archive
        Folder, bucket or an open archive; None: `WORKBENCH_ARCHIVE`, or the local services'.
    package
        Id of a package in place of the stream's detector.
    folder
        Where to keep the job's files; None: nowhere.

    Raises
    ------
    StreamError
        If there are no readings, or for what `run` raises.
    """
    definition = load_stream(stream)
    opened = originals.readable(definition, archive)
    frame = originals.readings(definition, opened, start, stop)
    if not len(frame):
        raise StreamError(
            f"the archive has no readings of {definition.topic} from {start or 'the first'} "
            f"to {stop or 'the last'}"
        )
    messages = originals.messages(definition, opened, frame)
    times_ms = epoch_ms(frame["event_time"])
    batch = not order_matters(definition, frame)
    return Backtest(
        outcome=run(
            definition, frame, package=package, folder=folder, batch=batch, messages=messages
        ),
        first=iso(int(times_ms.min()), "s"),
        last=iso(int(times_ms.max()), "s"),
        sensors=int(frame[definition.sensor].nunique()),
        days=int(times_ms.max() - times_ms.min()) / 1000 / _DAY_S,
        execution="batch" if batch else "streaming",
    )


def order_matters(stream: Stream, frame: pd.DataFrame) -> bool:
    """Return whether readings have to be seen in the order in which they arrived.

    It decides which are late or ahead, which of two of one instant comes first in a window, in
    which order numbers are summed, and what a pattern sees.

    Parameters
    ----------
    frame
        Readings in order of arrival: the sensor's column and `event_time`.
    """
    times = epoch_ms(frame["event_time"])
    twice = pd.DataFrame({0: frame[stream.sensor].to_numpy(), 1: times}).duplicated().any()
    left_out = arrived(stream, frame).left_out.any()
    return bool(stream.sums or stream.patterns or twice or left_out)


__all__ = ["Backtest", "backtest", "order_matters"]
