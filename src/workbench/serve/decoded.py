"""Decoded columns of ledgers, kept on disk: the second look at a span reads no object.

A file for each ledger and column, `DIGEST.arrow`, known by the object's etag, the topic's schemas
and the reader's version, so a changed archive is read again. Over its limit, what was used longest
ago goes; any file may be deleted at any time. A sweep's spans (`runs.execution.spans`) are whole
frames of one interval; a dashboard's interval moves with the clock, so columns are kept instead.

A ledger is kept once all of its rows are known from itself: not where a transaction's end or a
chunk is in another one, not where anything was skipped.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow_hotfix  # noqa: F401 - a file could name code to run (CVE-2023-47248)

from workbench import files
from workbench.archive import Delivery, Ledger, Selection, Topic, ledgers_holding
from workbench.local_sql import duckdb
from workbench.serve.errors import QueryError


@dataclass
class Work:
    """What one query did, and whether it is to stop.

    Attributes
    ----------
    bytes_read
        From the archive's objects.
    hits, misses
        Columns of ledgers found on disk, and not.
    messages_read
        From the broker.
    rows
        Sent to the client.
    stopped
        Why the query is to end, empty as long as it is not.
    cursor
        What computes it.
    """

    bytes_read: int = 0
    hits: int = 0
    misses: int = 0
    messages_read: int = 0
    rows: int = 0
    stopped: str = ""
    cursor: Any = None

    def stop(self, why: str) -> None:
        """Let the query end, wherever it is."""
        self.stopped = self.stopped or why
        if self.cursor is not None:
            with contextlib.suppress(duckdb.Error):  # it has ended by itself
                self.cursor.interrupt()

    def go_on(self) -> None:
        """Raise if the query is to end."""
        if self.stopped:
            raise QueryError(self.stopped, code="57014")


@dataclass
class Columns:
    """The folder of decoded columns, and how large it may be."""

    folder: Path
    limit_mib: float
    _bytes: int = -1
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def path(self, reading: str, ledger: Ledger, column: str) -> Path:
        """Return where a column of a ledger is kept, by its name and type.

        A type is of all ledgers: of a new one it may become another. `reading` is what else decides
        the values.
        """
        name = json.dumps([reading, ledger.key, ledger.etag, ledger.bytes, column])
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.arrow"

    def read(self, paths: list[Path]) -> list[pa.Array] | None:
        """Return the columns of a ledger, each a list of its batches; None if one is missing."""
        columns = []
        for path in paths:
            try:
                os.utime(path)
                with pa.memory_map(str(path)) as source:
                    columns.append(_arrays(pa.ipc.open_file(source)))
            except (OSError, pa.ArrowInvalid):
                return None
        return columns

    def grown(self, paths: list[Path]) -> None:
        """Take note of new files; remove what was used longest ago beyond the limit."""
        with self._lock, contextlib.suppress(OSError):
            if self._bytes < 0:
                files.remove_abandoned(self.folder)
                self._bytes = sum(path.stat().st_size for path in self.folder.glob("*.arrow"))
            else:
                self._bytes += sum(path.stat().st_size for path in paths)
            if self._bytes > self.limit_mib * 2**20:
                self._bytes = self._shrink(self.limit_mib * 2**20 * 0.8)

    def _shrink(self, limit: float) -> int:
        stats = [(path.stat(), path) for path in self.folder.glob("*.arrow")]
        total = sum(stat.st_size for stat, _ in stats)
        for stat, path in sorted(stats, key=lambda pair: pair[0].st_mtime):
            if total <= limit:
                break
            path.unlink(missing_ok=True)  # who reads it has it open
            total -= stat.st_size
        return total


def _arrays(reader: Any) -> list[pa.Array]:
    return [reader.get_batch(i).column(0) for i in range(reader.num_record_batches)]


@dataclass
class DecodedTopic:
    """A topic whose columns are kept once they are decoded; what `archive.TopicDataset` reads."""

    topic: Topic
    kept: Columns
    work: Work

    def __post_init__(self) -> None:
        manifest = self.topic.manifest()
        self._known = json.dumps(
            [manifest["archive"], manifest["reader"], repr(self.topic.schemas()), manifest["topic"]]
        )

    @property
    def entry_count(self) -> int:
        """How many there are."""
        return sum(ledger.entries for ledger in self.topic.ledgers)

    @property
    def damage(self) -> Any:
        """What was skipped."""
        return self.topic.damage

    def decoder(self, columns: list[str] | None = None) -> Any:
        """Return what turns messages into columns."""
        return self.topic.decoder(columns)

    def select(
        self, selection: Selection, columns: list[str] | None, delivery: Delivery | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield columns of all ledgers that may hold messages selected, whole.

        `delivery` tells afterwards what has no end in the archive.
        """
        schema = self.topic.decoder(columns).schema
        delivery = delivery or self.topic.delivery()
        self.topic.access.check_complete()
        url = self.topic.access.bucket.url
        for ledger in ledgers_holding(url, self.topic.ledgers, selection):
            columns_kept = [f"{column.name} {column.type}" for column in schema]
            paths = [self.kept.path(self._known, ledger, column) for column in columns_kept]
            arrays = self.kept.read(paths) if ledger.etag else None
            self.work.hits += 0 if arrays is None else len(paths)
            if arrays is None:
                self.work.misses += len(paths)
                yield from self._read(ledger, schema, paths, delivery)
                continue
            for batch in zip(*arrays, strict=True):
                self.work.go_on()
                yield pa.RecordBatch.from_arrays(list(batch), schema=schema)

    def _read(
        self, ledger: Ledger, schema: pa.Schema, paths: list[Path], delivery: Delivery
    ) -> Iterator[pa.RecordBatch]:
        """Decode a ledger, and keep its columns if all of its rows are known."""
        before = self._open_ends(delivery)
        batches = self.topic.select(Selection(), schema.names, ledgers=[ledger], delivery=delivery)
        with contextlib.ExitStack() as stack:
            parts = [stack.enter_context(files.new_file(path)) for path in paths]
            writers = [_Writer(part, field) for part, field in zip(parts, schema, strict=True)]
            try:
                for batch in batches:
                    self.work.go_on()
                    for writer, column in zip(writers, batch.columns, strict=True):
                        writer.write(column)
                    yield batch
            finally:
                for writer in writers:
                    writer.close()
            if self._open_ends(delivery) != before or delivery.unfinished or not ledger.etag:
                for part in parts:
                    part.unlink(missing_ok=True)
        self.kept.grown(paths)

    def _open_ends(self, delivery: Delivery) -> tuple[int, int]:
        return len(delivery.undecided), len(self.topic.damage.errors)


class _Writer:
    """Writes one column; where the disk is full or gone, it is not kept, and that is all."""

    def __init__(self, path: Path, column: pa.Field) -> None:
        self._path = path
        self._schema = pa.schema([column])
        self._writer: Any = None
        with contextlib.suppress(OSError):
            self._sink = pa.OSFile(str(path), "wb")
            self._writer = pa.ipc.new_file(self._sink, self._schema)

    def write(self, column: pa.Array) -> None:
        if self._writer is None:
            return
        try:
            self._writer.write_batch(pa.RecordBatch.from_arrays([column], schema=self._schema))
        except OSError:
            self._writer = None
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._sink.close()
