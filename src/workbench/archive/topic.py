"""One topic of an archive: its messages, its readings, and what was read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa

from workbench.archive import messages as msg
from workbench.archive.catalogue import Ledger
from workbench.archive.columns import Ints
from workbench.archive.delivery import Delivery, Transaction, ends_of_transactions, of_topic
from workbench.archive.reading import (
    Damage,
    Entries,
    Messages,
    groups,
    read_entries,
    read_messages,
)
from workbench.archive.statistics import Statistics
from workbench.archive.store import in_order
from workbench.cards import Card, Shown
from workbench.errors import ArchiveError, did_you_mean

if TYPE_CHECKING:
    from workbench.archive.archive import Archive
    from workbench.archive.schemas import Schema
    from workbench.archive.values import Decoder

Time = str | int | dt.datetime | None
_T = TypeVar("_T")
BATCH_BYTES = 32 << 20  # of one batch; larger values come in batches of fewer rows
READER = "workbench.archive 1"  # raise it when the same bytes would give other rows


def epoch_ms(time: Time) -> int | None:
    """Return ms since 1970 of an ISO-8601 text, a datetime or epoch ms; without a zone it is UTC.

    Examples
    --------
    >>> epoch_ms("2026-01-05T00:00:00Z"), epoch_ms("2026-01-05"), epoch_ms(""), epoch_ms(5)
    (1767571200000, 1767571200000, None, 5)
    """
    if time is None or time == "":
        return None
    if isinstance(time, int):
        return time
    if isinstance(time, str):
        try:
            time = dt.datetime.fromisoformat(time)
        except ValueError as err:
            raise ArchiveError(
                f"{time!r} is not a time", hint="expected ISO 8601, as 2026-01-05T00:00:00Z"
            ) from err
    if time.tzinfo is None:
        time = time.replace(tzinfo=dt.UTC)
    since = time - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return since // dt.timedelta(milliseconds=1)


@dataclass
class Topic(Shown):
    """A topic, or one partition of it.

    Attributes
    ----------
    name
        Full name; with `-partition-N` only if one partition was asked for.
    ledgers
        In the order of its rows: partitions follow one another, each by ledger id.
    damage
        What was skipped so far, where the archive was opened with `skip_damaged`.
    misfits
        `error`, or `null`: a value that does not fit its schema is a row of nulls, and noted.
    inferred
        The schema found by looking at values, where none is known.
    undecided
        Entries ("ledger:entry") not given by the last read, because the end of their
        transaction is not in the archive.
    unfinished
        Chunked messages not given by the last read, because their last chunk is not there.
    """

    name: str
    archive: Archive = field(repr=False)
    ledgers: list[Ledger] = field(repr=False)
    damage: Damage = field(default_factory=Damage)
    misfits: str = "error"
    inferred: Schema | None = None
    undecided: list[str] = field(default_factory=list)
    unfinished: int = 0
    _ends: dict[str, dict[Transaction, bool]] = field(default_factory=dict, repr=False)

    def messages(self, start: Time = None, stop: Time = None, by: str = "publish_time") -> pa.Table:
        """Return the messages with `by` in [start, stop), in the broker's order.

        Parameters
        ----------
        start, stop
            ISO-8601 text, datetime or epoch ms; None is unbounded.
        by
            `publish_time`, or `event_time` (a message without one has its publish time).

        Raises
        ------
        ArchiveError
            If anything is wrong with the bytes of any ledger read.
        """
        found = self._run(Selection.of(start, stop, by), msg.record_batch)
        return pa.Table.from_batches(list(found), schema=msg.SCHEMA)

    def read(
        self,
        start: Time = None,
        stop: Time = None,
        columns: list[str] | None = None,
        by: str = "event_time",
    ) -> pa.Table:
        """Return the decoded readings with `by` in [start, stop), in the broker's order.

        Parameters
        ----------
        start, stop, by
            As in `messages`.
        columns
            Fields and columns of `messages`, in the order wanted; None is all fields. Columns
            of `messages` alone are added to all fields. One that shares its name with a field is
            asked for and named as `__name__`.

        Raises
        ------
        ArchiveError
            If a value does not fit the schema, or anything is wrong with the bytes.
        """
        decoder = self.decoder(columns)
        found = self._run(Selection.of(start, stop, by), decoder.record_batch)
        return pa.Table.from_batches(list(found), schema=decoder.schema)

    def batches(
        self,
        start: Time = None,
        stop: Time = None,
        columns: list[str] | None = None,
        by: str = "event_time",
        rows: int = 65536,
    ) -> Iterator[pa.RecordBatch]:
        """Yield what `read` returns, `rows` at a time, in constant memory.

        Where `rows` pass 32 MiB, batches have fewer; the last one may have fewer, too.

        Raises
        ------
        ArchiveError
            As `read`, when the batch with the fault is reached.
        """
        return _resize(self.select(Selection.of(start, stop, by), columns), rows)

    def select(
        self,
        selection: Selection,
        columns: list[str] | None = None,
        *,
        ledgers: list[Ledger] | None = None,
        delivery: Delivery | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield `columns` of the messages selected, in batches as they come.

        Parameters
        ----------
        selection
            Bounds on time.
        columns
            As in `read`.
        ledgers
            Of the topic, those to read; None is all.
        delivery
            To go on with, where an earlier call stopped in the middle of a chunked message.
        """
        build = self.decoder(columns).record_batch
        return self._run(selection, build, ledgers=ledgers, delivery=delivery)

    def times(self, by: str = "event_time") -> Ints:
        """Return the time of every message, ms since 1970, in the broker's order.

        Raises
        ------
        ArchiveError
            If anything is wrong with the bytes.
        """
        found = list(self._run(Selection(), partial(msg.times, by=by)))
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        """Return one column of all readings: `topic["flow_l_min"]`."""
        return self.read(columns=[name])[name]

    def _ipython_key_completions_(self) -> list[str]:
        return self.fields()

    def card(self) -> Card:
        """Return what a notebook shows of it; a small topic is read for that."""
        from workbench.archive.showing import topic_card

        return topic_card(self)

    def schemas(self) -> list[Schema]:
        """Return the topic's schemas, ascending; inferred from values where none is known."""
        from workbench.archive.values import schemas_of

        return schemas_of(self)

    def fields(self) -> list[str]:
        """Return the names of the decoded fields, in the order of the newest schema."""
        names: list[str] = self.decoder().schema.names
        return names

    def decoder(self, columns: list[str] | None = None) -> Decoder:
        """Return what turns messages into the columns that `read` gives."""
        from workbench.archive.values import decoder

        return decoder(self, columns)

    def manifest(
        self, start: Time = None, stop: Time = None, by: str = "event_time"
    ) -> dict[str, Any]:
        """Return what a read of [start, stop) is made of, as JSON-able values.

        Objects with key, etag, size, first and last message id; the reader's version.
        """
        return {
            "topic": self.name,
            "archive": self.archive.store.url,
            "reader": READER,
            "start": _iso(epoch_ms(start)),
            "stop": _iso(epoch_ms(stop)),
            "by": by,
            "first_message_id": self._entry_id(0, 0),
            "last_message_id": self._entry_id(-1, None),
            "objects": [_object(ledger) for ledger in self.ledgers],
            "undecided": list(self.undecided),
            "unfinished_chunked_messages": self.unfinished,
            "skipped": [str(error) for error in self.damage.found],
        }

    def _entry_id(self, position: int, entry: int | None) -> str:
        ledger = self.ledgers[position]
        return f"{ledger.id}:{ledger.entries - 1 if entry is None else entry}"

    def _run(
        self,
        selection: Selection,
        build: Callable[[Messages], _T],
        *,
        ledgers: list[Ledger] | None = None,
        delivery: Delivery | None = None,
    ) -> Iterator[_T]:
        """Yield build(messages) of the selected messages, in order, on the archive's workers."""
        self.archive.check_complete()
        statistics = Statistics(self.archive.store.url)
        asked = self.ledgers if ledgers is None else ledgers
        read = [one for one in asked if statistics.may_hold(one, selection)]
        task = partial(self._build, selection, build, statistics)
        delivery = delivery or self.delivery()
        skipped = len(self.damage.found)
        entries = self.entries(read, delivery)
        workers = self.archive.workers
        yield from map(task, entries) if workers == 1 else in_order(task, entries, workers=workers)
        self.undecided, self.unfinished = delivery.undecided, delivery.unfinished
        # a chunked message may need the ledger before its own, a transaction may end in a later one
        complete = len(self.damage.found) == skipped and not self.undecided
        if complete and not delivery.joined and not delivery.unfinished:
            statistics.keep(read)

    def entries(self, ledgers: list[Ledger], delivery: Delivery) -> Iterator[Entries]:
        """Yield the entries that hold messages, verified, a few MiB at a time."""
        store, verify = self.archive.store, self.archive.verify
        for entries in read_entries(store, ledgers, verify=verify, damage=self.damage):
            delivered = delivery.deliver(entries)
            if len(delivered.rows):
                yield from groups(delivered)

    def delivery(self) -> Delivery:
        """Return what decides which entries are messages, with nothing met yet."""
        return Delivery(self.archive.store, self.damage, self._transactions)

    def _transactions(self, topic: str) -> dict[Transaction, bool]:
        """Return how the transactions of a topic ended, by its markers; kept for the next call."""
        if topic not in self._ends:
            ledgers, skip = of_topic(self.ledgers, topic), Damage(skip=True)
            found = read_entries(self.archive.store, ledgers, verify=False, damage=skip)
            self._ends[topic] = ends_of_transactions(found)
        return self._ends[topic]

    def _build(
        self,
        selection: Selection,
        build: Callable[[Messages], _T],
        statistics: Statistics,
        entries: Entries,
    ) -> _T:
        messages = read_messages(entries, self.damage)
        statistics.meet(messages)
        return build(selection.within(messages))


@dataclass(frozen=True)
class Selection:
    """Which messages are wanted: those within all of `bounds`.

    Attributes
    ----------
    bounds
        (`publish_time` or `event_time`, start, stop), ms since 1970, None is unbounded.
    """

    bounds: tuple[tuple[str, int | None, int | None], ...] = ()

    @classmethod
    def of(cls, start: Time, stop: Time, by: str) -> Selection:
        """Return the selection of `by` in [start, stop)."""
        if by not in ("publish_time", "event_time"):
            raise ArchiveError(
                f"cannot select by {by!r}", hint=did_you_mean(by, ["publish_time", "event_time"])
            )
        return cls(((by, epoch_ms(start), epoch_ms(stop)),))

    def within(self, messages: Messages) -> Messages:
        """Return the messages wanted."""
        for by, start, stop in self.bounds:
            messages = msg.within(messages, by, start, stop)
        return messages


def _resize(found: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the same rows in batches of `rows`, or fewer where these pass BATCH_BYTES."""
    held: list[pa.RecordBatch] = []
    for batch in found:
        held.append(batch)
        while held and (sum(one.num_rows for one in held) >= rows or _bytes(held) > BATCH_BYTES):
            whole, held = _first(held, rows)
            yield from whole
    yield from _first(held, rows)[0] if held else []


def _bytes(held: list[pa.RecordBatch]) -> int:
    return sum(one.nbytes for one in held)


def _first(
    held: list[pa.RecordBatch], rows: int
) -> tuple[list[pa.RecordBatch], list[pa.RecordBatch]]:
    """Return the first `rows` as one batch, and the rest (its own function: to let go of all)."""
    table = pa.Table.from_batches(held)
    rest = table.slice(rows).to_batches() if table.num_rows > rows else []
    return table.slice(0, rows).combine_chunks().to_batches(), rest


def _object(ledger: Ledger) -> dict[str, Any]:
    return {
        "key": ledger.key,
        "etag": ledger.etag,
        "bytes": ledger.bytes,
        "ledger_id": ledger.id,
        "entries": ledger.entries,
        "topic": ledger.topic,
    }


def _iso(ms: int | None) -> str | None:
    if ms is None:
        return None
    time = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=ms)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
