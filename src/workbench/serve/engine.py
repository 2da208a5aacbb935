"""DuckDB behind the server: one instance, locked, and a cursor for each query.

Topics are views over what the cursor reads of the archive; only those that a query names are
opened. DuckDB may touch no file and no network (`enable_external_access`), sees no variable of
Python, loads no extension, and takes no other setting (`lock_configuration`).
A quotient of integers is an integer, as in PostgreSQL (in `workbench sql` it is not).
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from workbench.archive import (
    Archive,
    Schema,
    Topic,
    TopicDataset,
    asked_names,
    explained,
    sql_names,
    view_text,
)
from workbench.endpoints import endpoints
from workbench.errors import ArchiveError, ReplayError, WorkbenchError
from workbench.history import tail_parts
from workbench.local_sql import duckdb
from workbench.serve import catalogue
from workbench.serve.columns import TYPES
from workbench.serve.decoded import Columns, DecodedTopic, Work
from workbench.serve.errors import QueryError
from workbench.serve.inference import typed_alike
from workbench.serve.limits import Limits
from workbench.serve.live import Live, LiveTopic, Topics, broker_schemas, has_strangers
from workbench.serve.parameters import OIDS
from workbench.serve.statements import (
    array_parameters,
    check,
    filled,
    first_word,
    parameters,
    translated,
)

_LOG = logging.getLogger(__name__)
_BATCH_ROWS = 16_384
_LOCKED = """
SET GLOBAL TimeZone = 'UTC'; SET GLOBAL integer_division = true; SET enable_progress_bar = false;
SET python_enable_replacements = false; SET autoinstall_known_extensions = false;
SET autoload_known_extensions = false; SET allow_community_extensions = false;
SET enable_external_access = false; SET lock_configuration = true;
"""
_UNTOLD = "__sequence_id__"
_READING = "BEGIN TRANSACTION READ ONLY"
_EXPLAINED = pa.schema([("explain_key", pa.string()), ("explain_value", pa.string())])
_CATALOGUES = re.compile(r"\bpg_|information_schema|reg(class|type)|\bformat_type\b", re.I)


@dataclass
class Result:
    """What a query gives: its columns, and the rows as they come.

    Attributes
    ----------
    schema
        Of the rows.
    batches
        Raises, when it comes to it, what is wrong with the archive.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


@dataclass(frozen=True)
class _Shape:
    """What the values of some ledgers showed, where no schema says it."""

    ledgers: tuple[tuple[str, str], ...]
    inferred: Schema | None
    unit: str | None


class Engine:
    """Answers queries over one archive, and live over its broker; `show` tells what came since."""

    def __init__(
        self, archive: Archive, limits: Limits, cache: Path, live: Live | None = None
    ) -> None:
        self.live = live
        self.topics = self._topics(archive)
        self.columns = Columns(cache, limits.cache_mib)
        self._spill = tempfile.TemporaryDirectory(prefix="workbench-serve-")
        self._lock, self._filling = threading.Lock(), threading.Lock()
        self._slots = threading.BoundedSemaphore(limits.running)
        self._views: dict[str, tuple[str, pa.Schema]] = {}
        self._shapes: dict[str, _Shape] = {}
        self._filled: Topics | None = None
        config: dict[str, Any] = {
            "threads": len(os.sched_getaffinity(0)),
            "memory_limit": f"{limits.memory_mib}MiB",
            "temp_directory": self._spill.name,
        }
        self._instance = duckdb.connect(config=config)
        catalogue.make(self._instance)
        self._instance.execute(_LOCKED)

    def show(self, archive: Archive) -> None:
        """Answer of this archive from now on; live, of the topics that the broker has now, too.

        Raises
        ------
        ServicesError
            If the broker does not answer, or refuses.
        """
        self.topics = self._topics(archive)

    def _topics(self, archive: Archive) -> Topics:
        return Topics(archive, self.live.names(archive) if self.live else archive.names())

    def close(self) -> None:
        """Let go of memory and files."""
        self._instance.close()
        self._spill.cleanup()

    def run(self, text: str, work: Work, literals: list[str]) -> Result:
        """Return the result of a query, which begins to be computed.

        Raises
        ------
        QueryError
            If it is no query, or wrong.
        ArchiveError
            If a topic that it reads is damaged.
        """
        text = translated(filled(text, literals))
        cursor = work.cursor = self._cursor()
        with self._explained(cursor, [], work):
            check(text)
            datasets = self._datasets(cursor, text, work)
        with self._explained(cursor, datasets, work), self._slots:
            work.go_on()
            cursor.execute(_READING)
            reader = cursor.execute(text).fetch_record_batch(_BATCH_ROWS)
            schema = reader.schema
        return Result(schema, self._batches(reader, cursor, datasets, work))

    def describe(self, text: str, declared: list[int]) -> tuple[list[int], pa.Schema]:
        """Return the types of a query's parameters, and its columns, without running it."""
        oids = self._parameter_oids(text, declared)
        names = {oid: name for name, oid in OIDS.items()} | {1700: "DECIMAL(38, 10)"}
        names |= {kind.array: f"{names.get(kind.oid, 'VARCHAR')}[]" for kind in TYPES.values()}
        nulls = [f"NULL::{names.get(oid, 'VARCHAR')}" if oid else "NULL" for oid in oids]
        query = translated(filled(text, nulls))
        cursor = self._cursor()
        work = Work()
        with self._explained(cursor, [], work):
            check(query)
            datasets = self._datasets(cursor, query, work)
        with self._explained(cursor, datasets, work):
            cursor.execute(_READING)
            if first_word(query) == "EXPLAIN":  # not run: ANALYZE would compute all of it
                schema = _EXPLAINED
            else:
                query = f"SELECT * FROM ({query}\n) LIMIT 0"  # noqa: S608 - it was checked
                schema = cursor.execute(query).fetch_record_batch(1).schema
        cursor.close()
        return [oid or TYPES["text"].oid for oid in oids], schema

    def _parameter_oids(self, text: str, declared: list[int]) -> list[int]:
        """Return the type of each parameter, of those not declared by what they stand beside."""
        oids = [*declared, *[0] * (parameters(text) - len(declared))]
        if all(oids):
            return oids
        arrays = array_parameters(text)
        for number, query in typed_alike(translated(text)).items():
            if number <= len(oids) and not oids[number - 1] and number not in arrays:
                oids[number - 1] = self._oid(query)
        texts = [
            TYPES["text"].array if number in arrays else 0 for number in range(1, len(oids) + 1)
        ]
        return [oid or of_text for oid, of_text in zip(oids, texts, strict=True)]

    def _oid(self, query: str) -> int:
        """Return the type of a query's only column; 0 where there is none."""
        cursor = self._cursor()
        try:
            check(query)
            self._datasets(cursor, query, Work())
            cursor.execute(_READING)
            name = str((cursor.execute(f"DESCRIBE {query}").fetchall() or [("", "")])[0][1])
        except (duckdb.Error, QueryError):
            return 0  # what is wrong with the statement will be told when it is described
        finally:
            cursor.close()
        return TYPES["numeric"].oid if name.startswith("DECIMAL") else OIDS.get(name, 0)

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        cursor = self._instance.cursor()
        cursor.execute("SET search_path = 'public,pg'")
        return cursor

    def _datasets(
        self, cursor: duckdb.DuckDBPyConnection, text: str, work: Work
    ) -> list[TopicDataset]:
        """Let the cursor see the topics that a query names, and the catalogues if it asks them."""
        if _CATALOGUES.search(text):
            self._fill(self.topics)
        elif self.live is not None and has_strangers(self.topics, cursor, text):
            self.show(self.topics.archive)  # a topic may be new
        topics = self.topics
        datasets: list[TopicDataset] = []
        for name in asked_names(topics, cursor, text):
            dataset = self._dataset(topics, name.topic, work)
            datasets.append(dataset)
            with self._lock:
                view = self._views.get(name.topic, (f"__topic_{len(self._views)}", None))
                raw = view[0]
                cursor.register(raw, dataset)
                if view[1] is None or not view[1].equals(dataset.schema):
                    self._make_views(cursor, name, view_text(dataset.schema, raw))
                    self._views[name.topic] = (raw, dataset.schema)
        if datasets and self.live is not None and _UNTOLD in text.lower():
            raise QueryError(
                f"{_UNTOLD} is not known of the broker's: Pulsar's client does not tell it",
                code="0A000",
                hint="without --live it is",
            )
        return datasets

    def _make_views(self, cursor: duckdb.DuckDBPyConnection, name: Any, select: str) -> None:
        full, *plain = name.views
        schema = name.schema.replace('"', '""')
        cursor.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        for view in [full, *(f"public.{other}" for other in plain)]:
            cursor.execute(f"CREATE OR REPLACE VIEW {view} AS {select}")

    def _dataset(self, topics: Topics, topic: str, work: Work) -> TopicDataset:
        if self.live is not None:
            return TopicDataset(self._live(self.live, topics, topic, work))
        opened = self._opened(topics.archive, topic, work)
        return TopicDataset(self._decoded(opened, work))

    def _live(self, live: Live, topics: Topics, topic: str, work: Work) -> LiveTopic:
        """Return a topic as archive and broker have it now."""
        parts, archive = tail_parts(topic), topics.archive
        if topics.is_archived(topic):
            opened = self._opened(archive, topic, work)
            opened.versions = broker_schemas(opened)
            archived = self._decoded(opened, work)
        elif not parts:
            raise ReplayError(f"{topic} is not at the broker any more", where=endpoints().admin)
        else:
            opened = Topic(topic, archive.access, [], misfits=archive.access.misfits)
            opened.versions, archived = broker_schemas(opened), None
        tail = live.tail(topic, infers=not opened.versions)
        return LiveTopic(opened, archived, parts, tail, work)

    def _opened(self, archive: Archive, topic: str, work: Work) -> Topic:
        opened = archive.topic(topic)
        bucket = replace(opened.access.bucket, fs=_Counted(opened.access.bucket.fs, work))
        opened.access = replace(opened.access, bucket=bucket)
        return opened

    def _decoded(self, opened: Topic, work: Work) -> DecodedTopic:
        topic = f"{opened.name} {opened.versions}"
        ledgers = tuple((ledger.key, ledger.etag) for ledger in opened.ledgers)
        with self._lock:
            kept = self._shapes.get(topic)
        if kept is not None and kept.ledgers == ledgers:  # else values are read to learn it
            opened.inferred, opened.unit = kept.inferred, kept.unit
        decoded = DecodedTopic(opened, self.columns, work)
        opened.open_values(None)
        with self._lock:
            self._shapes[topic] = _Shape(ledgers, opened.inferred, opened.unit)
        return decoded

    def _fill(self, topics: Topics) -> None:
        with self._filling:
            if self._filled is topics:
                return
            rows = []
            for name in sql_names(topics):
                entries = 0
                try:
                    dataset = self._dataset(topics, name.topic, Work())
                    held: Any = dataset.topic  # a decoded topic, or a live one
                    entries = held.entry_count
                    schema = dataset.schema
                except (ArchiveError, ReplayError) as err:  # the others are there; a query says why
                    _LOG.warning("%s has no columns in the catalogues: %s", name.topic, err)
                    schema = pa.schema([])
                rows.append((name, schema, entries))
            cursor = self._cursor()
            catalogue.fill(cursor, rows)
            cursor.close()
            self._filled = topics

    def _batches(
        self,
        reader: pa.RecordBatchReader,
        cursor: duckdb.DuckDBPyConnection,
        datasets: list[TopicDataset],
        work: Work,
    ) -> Iterator[pa.RecordBatch]:
        try:
            while True:
                with (
                    self._explained(cursor, datasets, work),
                    self._slots,
                ):  # in turn, batch by batch
                    work.go_on()
                    try:
                        batch = reader.read_next_batch()
                    except StopIteration:
                        return
                yield batch
        finally:
            cursor.close()

    @contextmanager
    def _explained(
        self, cursor: duckdb.DuckDBPyConnection, datasets: list[TopicDataset], work: Work
    ) -> Iterator[None]:
        """Turn what DuckDB and Arrow raise into errors that say what is wrong."""
        try:
            yield
        except (duckdb.Error, pa.ArrowException, OSError) as err:
            cursor.close()
            work.go_on()
            raise explained(err, datasets, self.topics) from err
        except WorkbenchError:
            cursor.close()
            raise


@dataclass(frozen=True)
class _Counted:
    """A file system that counts what is read of it."""

    fs: Any
    work: Work

    def __getattr__(self, name: str) -> Any:
        return getattr(self.fs, name)

    def cat_file(self, path: str, **span: Any) -> bytes:
        """Return bytes of an object."""
        self.work.go_on()
        data: bytes = self.fs.cat_file(path, **span)
        self.work.bytes_read += len(data)
        return data
