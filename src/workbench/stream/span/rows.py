"""A stream's readings out of its archive as rows in a file, for spans that no frame holds.

Of each reading what the job reads (the message), and what the batch path asks of it: who sent it,
its time by the stream's rule, and, where they are wanted, its channels. What `originals.readings`
does with a frame is done here piece by piece: which readings are of [start, stop), and which of
them a clock that was ahead left at its beginning.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow_hotfix  # noqa: F401 - a file could name code to run (CVE-2023-47248)

from workbench import local_sql
from workbench.archive import Archive
from workbench.arrays import Bools, Ints
from workbench.stream.definition.stream_file import Stream
from workbench.stream.running import originals
from workbench.stream.span import fates
from workbench.stream.span.pieces import Piece, replay_pieces
from workbench.times import epoch_ms, instant_ms

CHANNEL = "c{}"  # what a channel is called in a row: a name of its own could be a row's
MEMORY_MIB = 256  # of DuckDB, for each thing that is sorted; the rest is on disk


@dataclass(frozen=True)
class Rows:
    """Readings in their order of arrival, in a file.

    Attributes
    ----------
    path
        Arrow's file format: `partition`, `sensor` (null: it is none), `time_ms`, `publish_ms`,
        `event_ms` (0: not set), `message_id`, `value`, and the channels.
    skipped
        How many of a partition's first readings are not among them.
    newest
        The rows from (the newest time of publishing up to them in their partition, position) on
        are; None: all.
    """

    path: Path
    skipped: Mapping[int, int] = field(default_factory=dict)
    newest: tuple[int, int] | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows."""
        published, position = _Highest(), 0
        for batch in self._behind_strays():
            if self.newest is not None:
                latest, here = published.upto(batch), position + np.arange(batch.num_rows)
                position += batch.num_rows
                least, first = self.newest
                kept = (latest > least) | ((latest == least) & (here >= first))
                batch = batch.filter(pa.array(kept))
            if batch.num_rows:
                yield batch

    def _behind_strays(self) -> Iterator[pa.RecordBatch]:
        left = dict(self.skipped)
        if not self.path.stat().st_size:
            return  # nothing was written
        with pa.OSFile(str(self.path)) as file:  # not mapped: pages of it are no memory of ours
            reader = pa.ipc.open_file(file)
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                kept = _behind(batch["partition"].to_numpy(), left)
                yield batch if kept.all() else batch.filter(pa.array(kept))

    def last(self, count: int) -> Rows:
        """Return the `count` rows that were published last, as `originals.newest` has them."""
        schema = pa.schema([("latest", pa.int64()), ("position", pa.int64())])
        reader = pa.RecordBatchReader.from_batches(schema, self._latest(schema))
        with sorting(self.path.parent) as connection:
            connection.register("rows", reader)
            first = connection.execute(
                "SELECT latest, position FROM rows ORDER BY latest DESC, position DESC "
                f"LIMIT 1 OFFSET {count - 1}"
            ).fetchone()
        return self if first is None else replace(self, newest=first)

    def _latest(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        published, position = _Highest(), 0
        for batch in self.batches():
            columns = published.upto(batch), position + np.arange(batch.num_rows)
            position += batch.num_rows
            yield pa.RecordBatch.from_arrays([*map(pa.array, columns)], schema=schema)


class _Highest:
    """The newest time of publishing in each partition, up to each row."""

    def __init__(self) -> None:
        self._of: dict[int, int] = {}

    def upto(self, batch: pa.RecordBatch) -> Ints:
        """Return it for the next rows, (n,), epoch ms."""
        parts = batch["partition"].to_numpy()
        highest: Ints = batch["publish_ms"].to_numpy().copy()
        for part in np.unique(parts):
            rows = parts == part
            highest[rows] = np.maximum.accumulate(
                np.maximum(highest[rows], self._of.get(part, -(1 << 62)))
            )
            self._of[part] = int(highest[rows][-1])
        return highest


def sorting(folder: Path) -> local_sql.duckdb.DuckDBPyConnection:
    """Return a database that sorts in bounded memory, and beyond it in a folder of its own."""
    place = folder / f"sorting-{secrets.token_hex(4)}"  # two of them would write the same files
    limit = f"{MEMORY_MIB}MiB"
    return local_sql.connect(memory_limit=limit, threads="1", temp_directory=str(place))


def _behind(partitions: Ints, left: dict[int, int]) -> Bools:
    """Return which rows are not among the first of their partition that are left out."""
    kept = np.ones(len(partitions), np.bool_)
    for part in [part for part, count in left.items() if count]:
        rows = np.flatnonzero(partitions == part)[: left[part]]
        kept[rows] = False
        left[part] -= len(rows)
    return kept


def write_rows(
    stream: Stream,
    archive: Archive,
    folder: Path,
    start: str | None = None,
    stop: str | None = None,
    *,
    channels: tuple[str, ...] = (),
) -> Rows:
    """Write the readings of `originals.readings` into a folder, piece by piece.

    Raises
    ------
    StreamError
        If the topic holds no JSON, or the field that holds the time no numbers.
    """
    topic = originals.checked(archive.topic(stream.topic))
    columns = [*dict.fromkeys([*stream.fields, *filter(None, [stream.event_time]), *channels])]
    rows = Rows(folder / "rows.arrow")
    if stream.event_time:
        pieces = replay_pieces(topic, columns=columns)
        beside = folder / "beside.arrow" if start is not None else None
        _write(stream, pieces, rows.path, channels, beside, (instant_ms(start), instant_ms(stop)))
        return rows if beside is None else _without_strays(stream, rows, beside)
    _write(stream, replay_pieces(topic, start, stop, columns=columns), rows.path, channels)
    if start is None or not fates.of(stream, rows.batches(), folder / "tried").has_late:
        return rows
    first, last = _published(rows)
    pieces = replay_pieces(topic, first, last + 1, columns=columns, by="publish_time")
    bounds = instant_ms(start), instant_ms(stop)
    _write(stream, pieces, folder / "unused.arrow", (), folder / "beside.arrow", bounds)
    (folder / "unused.arrow").unlink()
    return _without_strays(stream, rows, folder / "beside.arrow")


def _published(rows: Rows) -> tuple[int, int]:
    """Return the oldest and the newest time of publishing, epoch ms."""
    every = (batch["publish_ms"].to_numpy() for batch in rows.batches())
    bounds = [(int(times_ms.min()), int(times_ms.max())) for times_ms in every]
    return min(first for first, _ in bounds), max(last for _, last in bounds)


def _write(
    stream: Stream,
    pieces: Iterator[Piece],
    path: Path,
    channels: tuple[str, ...],
    beside: Path | None = None,
    bounds: tuple[int | None, int | None] = (None, None),
) -> None:
    """Write the rows of a span, and of all readings `beside` it whose they are and when."""
    with _Writer(path) as rows, _Writer(beside) as others:
        for piece in pieces:
            batch = _row_batch(stream, piece, channels)
            inside = _within(batch["time_ms"].to_numpy(), bounds)
            rows.write(batch.filter(pa.array(inside)))
            others.write(
                pa.RecordBatch.from_arrays(
                    [batch["partition"], batch["sensor"], batch["time_ms"], pa.array(inside)],
                    ["partition", "sensor", "time_ms", "inside"],
                )
            )


class _Writer:
    """Writes batches of one kind to a file; without a path, nowhere."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._sink = None if path is None else pa.OSFile(str(path), "wb")
        self._writer: pa.RecordBatchFileWriter | None = None

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *error: object) -> None:
        for opened in (self._writer, self._sink):
            if opened is not None:
                opened.close()

    def write(self, batch: pa.RecordBatch) -> None:
        if self._sink is None:
            return
        if self._writer is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer = pa.ipc.new_file(self._sink, batch.schema, options=options)
        self._writer.write_batch(batch)


def _row_batch(stream: Stream, piece: Piece, channels: tuple[str, ...]) -> pa.RecordBatch:
    frame = originals.of_piece(stream, piece)
    columns = {
        "partition": piece.messages["partition"],
        "sensor": pa.array(frame[stream.sensor].to_numpy(dtype=object), pa.string()),
        "time_ms": pa.array(epoch_ms(frame["event_time"])),
        **{
            name: piece.messages[name] for name in ("publish_ms", "event_ms", "message_id", "value")
        },
        **{CHANNEL.format(i): piece.table[name] for i, name in enumerate(channels)},
    }
    (batch,) = pa.table(columns).combine_chunks().to_batches()
    return batch


def _within(times_ms: Ints, bounds: tuple[int | None, int | None]) -> Bools:
    start, stop = bounds
    kept = np.ones(len(times_ms), np.bool_)
    if start is not None:
        kept &= times_ms >= start
    if stop is not None:
        kept &= times_ms < stop
    return kept


def _without_strays(stream: Stream, rows: Rows, beside: Path) -> Rows:
    """Return rows without what came before the first of each partition, of clocks ahead then.

    As `originals._without_strays` says of a frame.
    """
    everything = Rows(beside)
    judged = fates.of(stream, everything.batches(), beside.with_suffix(".fates"))
    strays: dict[int, int] = {}
    ended: set[int] = set()
    position = 0
    for batch in everything.batches():
        inside = batch["inside"].to_numpy(zero_copy_only=False)
        parts = batch["partition"].to_numpy()
        ahead = judged.each[position : position + len(parts)] == fates.AHEAD
        position += len(parts)
        for part in set(np.unique(parts[inside]).tolist()) - ended:
            mine = ahead[inside & (parts == part)]
            leading = len(mine) if mine.all() else int(np.argmin(mine))
            strays[part] = strays.get(part, 0) + leading
            if leading < len(mine):
                ended.add(part)
    return replace(rows, skipped={part: count for part, count in strays.items() if count})


__all__ = ["CHANNEL", "Rows", "sorting", "write_rows"]
