"""A span of a stream's archive, exported piece by piece: for a job, and for the batch path.

Nothing here holds the span: pieces of it go from the archive to files, what has to be sorted is
sorted by DuckDB in bounded memory and on disk, and what is known of a reading's time is a byte in a
file. What grows with the archive are the names of its sensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from workbench import local_sql
from workbench.archive import Archive
from workbench.errors import StreamError
from workbench.stream.connectors import message_file
from workbench.stream.definition.stream_file import Stream
from workbench.stream.flink_sql.tables import Source
from workbench.stream.span import fates
from workbench.stream.span.fates import Fates
from workbench.stream.span.rows import Rows, sorting, write_rows
from workbench.times import epoch_ms

_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, eq=False)
class Span:
    """Readings of a stream, in files of a folder.

    Attributes
    ----------
    stream
        Whose.
    folder
        Where the files are.
    rows
        The readings.
    fates
        What the rule of time makes of each.
    """

    stream: Stream
    folder: Path
    rows: Rows
    fates: Fates

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows, and of each `position`, `fate`, and `clock_ms`, its partition's then."""
        clocks: dict[int, int] = {}
        position = 0
        for batch in self.rows.batches():
            stop = position + batch.num_rows
            fate = np.asarray(self.fates.each[position:stop])
            times = np.where(fate == fates.AHEAD, _NEVER, batch["time_ms"].to_numpy())
            times[batch["sensor"].is_null().to_numpy(zero_copy_only=False)] = _NEVER
            parts, clock = batch["partition"].to_numpy(), times
            for part in np.unique(parts):
                mine = parts == part
                highest = np.maximum.accumulate(np.maximum(times[mine], clocks.get(part, _NEVER)))
                clock[mine], clocks[part] = highest, int(highest[-1])
            added = {"position": np.arange(position, stop), "fate": fate, "clock_ms": clock}
            position = stop
            yield pa.RecordBatch.from_arrays(
                [*batch.columns, *map(pa.array, added.values())], [*batch.schema.names, *added]
            )

    @cached_property
    def facts(self) -> Facts:
        """What is known of the readings together."""
        facts = Facts()
        for batch in self.rows.batches():
            facts.meet(batch)
        return facts

    def sorted(self, columns: str, order: str) -> Iterator[pa.RecordBatch]:
        """Yield columns of `batches` in another order, both as SQL has them."""
        text = f"SELECT {columns} FROM rows ORDER BY {order}"
        yield from self.asked(text)

    def asked(self, query: str, **others: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        """Yield the result of a query of `rows`, which are `batches`, and of other tables.

        The first batch is empty: it carries the columns.
        """
        with sorting(self.folder) as connection:
            for name, reader in {"rows": reader_of(self.batches()), **others}.items():
                connection.register(name, reader)
            try:
                reader = connection.execute(query).fetch_record_batch(message_file.ROWS)
                yield pa.RecordBatch.from_pylist([], schema=reader.schema)
                yield from reader
            except local_sql.duckdb.Error as err:
                raise StreamError(
                    f"the span cannot be sorted: {str(err).splitlines()[0]}",
                    where=self.folder,
                    hint="it takes some times its size on disk there; TMPDIR says where that is",
                ) from err

    def order_matters(self) -> bool:
        """Return whether readings have to be seen as they arrived, as `backtesting` has it."""
        stream = self.stream
        if stream.sums or stream.patterns or self.fates.late or self.fates.ahead:
            return True
        twice = "SELECT 1 FROM rows GROUP BY sensor, time_ms HAVING count(*) > 1 LIMIT 1"
        return any(batch.num_rows for batch in self.asked(twice))

    def source(self, path: Path) -> Source:
        """Write the messages, partitions in step, and return the end that reads them."""
        if len(self.facts.partitions) == 1:
            message_file.write(self.rows.batches(), path)
        else:
            wanted = ", ".join(message_file.COLUMNS)
            message_file.write(self.sorted(wanted, "clock_ms, partition, position"), path)
        return message_file.source(self.stream, path)


class Facts:
    """What is known of readings together.

    Attributes
    ----------
    readings
        How many there are.
    first_ms, last_ms
        The oldest and the newest time of them.
    first_id, last_id
        Message ids of the first and the last one.
    sensors
        Names.
    partitions
        Numbers.
    """

    def __init__(self) -> None:
        self.readings = 0
        self.first_ms, self.last_ms = np.iinfo(np.int64).max, _NEVER
        self.first_id = self.last_id = ""
        self.sensors: set[str] = set()
        self.partitions: set[int] = set()

    @classmethod
    def of_frame(cls, stream: Stream, frame: pd.DataFrame) -> Facts:
        """Return what is known of the readings of a frame, of which there are some."""
        facts, times = cls(), epoch_ms(frame["event_time"])
        facts.readings = len(frame)
        facts.first_ms, facts.last_ms = int(times.min()), int(times.max())
        facts.sensors = set(frame[stream.sensor].dropna())
        return facts

    def meet(self, batch: pa.RecordBatch) -> None:
        """Take note of the next readings."""
        times = batch["time_ms"].to_numpy()
        self.first_ms, self.last_ms = (
            min(self.first_ms, int(times.min())),
            max(self.last_ms, int(times.max())),
        )
        ids = batch["message_id"]
        self.first_id, self.last_id = self.first_id or ids[0].as_py(), ids[-1].as_py()
        self.sensors.update(pc.unique(batch["sensor"].drop_null()).to_pylist())
        self.partitions.update(pc.unique(batch["partition"]).to_pylist())
        self.readings += batch.num_rows


def reader_of(batches: Iterator[pa.RecordBatch]) -> pa.RecordBatchReader:
    """Return what DuckDB reads once, of batches of which there is one."""
    first = next(batches)

    def every() -> Iterator[pa.RecordBatch]:
        yield first
        yield from batches

    return pa.RecordBatchReader.from_batches(first.schema, every())


def export(
    stream: Stream,
    archive: Archive,
    folder: Path,
    start: str | None = None,
    stop: str | None = None,
    *,
    channels: tuple[str, ...] = (),
    newest: int | None = None,
) -> Span:
    """Export the readings of a stream with event time in [start, stop) into a folder.

    Parameters
    ----------
    channels
        Of a reading, to be kept beside its message.
    newest
        So many, those that were published last; None: all.

    Raises
    ------
    StreamError
        If there are none, or the topic holds no JSON.
    """
    rows = write_rows(stream, archive, folder, start, stop, channels=channels)
    if next(rows.batches(), None) is None:
        raise nothing(stream, start, stop)
    rows = rows if newest is None else rows.last(newest)
    return Span(stream, folder, rows, fates.of(stream, rows.batches(), folder / "fates"))


def nothing(stream: Stream, start: str | None, stop: str | None) -> StreamError:
    """Return the error of a span without readings."""
    return StreamError(
        f"the archive has no readings of {stream.topic} from {start or 'the first'} "
        f"to {stop or 'the last'}"
    )


__all__ = ["Facts", "Span", "export", "nothing", "reader_of"]
