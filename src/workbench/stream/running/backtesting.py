"""What a stream would have said: its SQL, bounded, over a span of the archive.

The messages are written to a file as they are on the topic, in their order of arrival, and the same
views run over it as a bounded job: what is a reading, its time, lateness, promotions and alert ids
are those of the live job. Where the order of arrival does not matter, Flink executes it as a batch:
it sorts the readings, on disk if they are many, and has one sensor's state at a time in memory
instead of that of all.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from workbench.archive import Archive
from workbench.cards import Card, HasCard
from workbench.history import KafkaRecords
from workbench.stream.connectors import message_file
from workbench.stream.definition.stream_file import Stream, load_stream
from workbench.stream.flink_sql.tables import Source
from workbench.stream.frames import arrived, in_step
from workbench.stream.running import originals
from workbench.stream.running.job import run_files
from workbench.stream.running.outcome import Outcome, Written
from workbench.stream.selection import select
from workbench.stream.span import peaks
from workbench.stream.span.exporting import Facts, export, nothing
from workbench.times import epoch_ms, iso

_DAY_S = 86_400.0


@dataclass(frozen=True, eq=False)
class Backtest(HasCard):
    """What a stream made of a span of its archive.

    Attributes
    ----------
    written
        What the job said, in files; those of no `folder` last as long as this does.
    alerted
        Its alerts, as `Outcome.alerts`.
    scored, late, refused
        How many readings have a score, came too late, or were refused.
    first, last
        Event times of the span, ISO-8601 UTC.
    sensors
        How many there are.
    days
        Length of the span, days.
    execution
        Flink's: `batch`, or `streaming` where the order of arrival matters.
    peaks_mib
        Of resident memory: of this process, and of Flink's.
    """

    written: Written
    alerted: pd.DataFrame
    scored: int
    late: int
    refused: int
    first: str
    last: str
    sensors: int
    days: float
    execution: str
    peaks_mib: tuple[float, float]

    @cached_property
    def outcome(self) -> Outcome:
        """Alerts, scores and late readings: all of them, in frames, read when it is asked for."""
        return self.written.outcome()

    @property
    def alerts_per_sensor_day(self) -> float:
        """How often a sensor alerts."""
        return len(self.alerted) / max(self.sensors * self.days, 1 / _DAY_S)

    def summary(self) -> dict[str, Any]:
        """Return the figures of it, for JSON."""
        written = self.written
        return {
            "stream": written.stream.name,
            "package": written.package,
            "first": self.first,
            "last": self.last,
            "readings": written.readings,
            "sensors": self.sensors,
            "late": self.late,
            "refused": self.refused,
            "scored": self.scored,
            "alerts": len(self.alerted),
            "alerts_per_sensor_day": round(self.alerts_per_sensor_day, 4),
            "execution": self.execution,
            "startup_s": round(written.startup_s, 2),
            "rate": round(written.rate, 1),
            "peak_mib": round(self.peaks_mib[0]),
            "flink_peak_mib": round(self.peaks_mib[1]),
        }

    def alerts(self) -> Iterator[dict[str, Any]]:
        """Yield the alerts, as they stand on the topic."""
        text = self.alerted.to_json(orient="records", date_format="iso", date_unit="ms")
        yield from json.loads(text)

    def card(self) -> Card:
        """Return what a notebook shows of it."""
        return Card("backtest", self.written.stream.name, self.summary())


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

    No frame holds the span: the archive is exported piece by piece, what the job says is counted
    in its files. (Of Kafka, what it has is held.)

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
    with contextlib.ExitStack() as kept:
        place = folder or Path(kept.enter_context(tempfile.TemporaryDirectory(prefix="workbench-")))
        place.mkdir(parents=True, exist_ok=True)
        peaks.forget()
        source, facts, batch = _exported(definition, opened, place, start, stop)
        selection = select(definition, package)
        written = run_files(selection, source, place, facts.readings, facts.last_ms, batch=batch)
        if folder is None:
            (place / "messages.tsv").unlink()
        done = _counted(written, facts, "batch" if batch else "streaming")
        weakref.finalize(written, kept.pop_all().close)  # it reads the files
    return done


def _counted(written: Written, facts: Facts, execution: str) -> Backtest:
    """Return what the files of a job say, counted piece by piece."""
    return Backtest(
        written=written,
        alerted=written.alerts(),
        scored=sum(_scored(piece) for piece in written.pieces("scores")),
        late=sum(piece.num_rows for piece in written.pieces("late")),
        refused=sum(piece.num_rows for piece in written.pieces("refused")),
        first=iso(facts.first_ms, "s"),
        last=iso(facts.last_ms, "s"),
        sensors=len(facts.sensors),
        days=(facts.last_ms - facts.first_ms) / 1000 / _DAY_S,
        execution=execution,
        peaks_mib=peaks.peaks_mib(),
    )


def _scored(scores: pa.RecordBatch) -> int:
    values = scores.column(scores.schema.get_field_index("score"))
    return len(values) - int(pc.is_null(values, nan_is_null=True).sum().as_py() or 0)


def _exported(
    stream: Stream, archive: originals.Origin, place: Path, start: str | None, stop: str | None
) -> tuple[Source, Facts, bool]:
    """Write what the job reads; return the end that reads it, and whether it may sort it."""
    path = place / "messages.tsv"
    if isinstance(archive, KafkaRecords):
        frame = originals.readings(stream, archive, start, stop)
        if not len(frame):
            raise nothing(stream, start, stop)
        ordered = originals.messages(stream, archive, frame).take(in_step(stream, frame))
        message_file.write(ordered.to_batches(), path)
        facts = Facts.of_frame(stream, frame)
        return message_file.source(stream, path), facts, not order_matters(stream, frame)
    with tempfile.TemporaryDirectory(prefix=".exporting-", dir=place) as temporary:
        span = export(stream, archive, Path(temporary), start, stop)
        return span.source(path), span.facts, not span.order_matters()


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
