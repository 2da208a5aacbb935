"""One topic of an archive: its messages, its readings, and what was read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from workbench.archive import messages as msg
from workbench.archive.access import Access
from workbench.archive.compaction import Place, newest_by_key, newest_places
from workbench.archive.delivery import Delivery, KnownEnds, ends_of_transactions, of_topic
from workbench.archive.facts import (
    object_facts,
    span_facts,
    stored_facts,
    time_facts,
    warn_of_times,
)
from workbench.archive.ledgers import (
    Damage,
    Entries,
    Messages,
    groups,
    read_entries,
    read_messages,
)
from workbench.archive.processes.recipe import Recipe
from workbench.archive.processes.sharing import MostBytes, few_bytes, shared
from workbench.archive.selection import Selection
from workbench.archive.statistics import READER, Statistics
from workbench.archive.storage.ledger import Ledger
from workbench.archive.values.custom import custom_decoder, custom_values
from workbench.archive.values.decoding import Decoder, make_decoder, open_values
from workbench.archive.values.primitives import UNITS, KeyValue
from workbench.archive.values.schemas import Schema
from workbench.archive.values.survey import first_values, infer_fields, time_unit
from workbench.archive.values.versions import Values
from workbench.archive.writing.output import resize
from workbench.arrays import Ints
from workbench.cards import Card, HasCard
from workbench.errors import ArchiveError
from workbench.times import Time

_T = TypeVar("_T")
_CARD_BYTES = 32 << 20  # of a topic, up to which its messages are read to be shown


@dataclass
class Topic(HasCard):
    """A topic, or one partition of it.

    Attributes
    ----------
    name
        Full name; with `-partition-N` only if one partition was asked for.
    access
        How the archive is read.
    ledgers
        In the order of its rows: partitions follow one another, each by ledger id.
    versions
        Of its schema, ascending, as far as they are known.
    damage
        What was skipped so far, where the archive was opened with `skip_damaged`.
    misfits
        `error`, or `null`: a value that does not fit its schema is a row of nulls, and noted.
    inferred
        The schema found by looking at values, where none is known.
    unit
        Of bare times (INSTANT, LOCAL_DATE_TIME, LOCAL_DATE): `ns`, coarser where one lies beyond.
    undecided
        Entries ("ledger:entry") not given by the last read, because the end of their
        transaction is not in the archive.
    unfinished
        Chunked messages not given by the last read, because their last chunk is not there.
    generation, generations
        Which life of the topic this is, from 1, of how many.
    is_past
        Whether a later life is known, offloaded or not.
    impossible
        For each piece of the last read with event times that cannot be (negative, or from 2262
        on): how many, how many of them lie outside of the interval read, the first one's id.
    """

    name: str
    access: Access = field(repr=False)
    ledgers: list[Ledger] = field(repr=False)
    versions: list[Schema] = field(default_factory=list, repr=False)
    damage: Damage = field(default_factory=Damage)
    misfits: str = "error"
    inferred: Schema | None = None
    unit: str | None = None
    undecided: list[str] = field(default_factory=list)
    unfinished: int = 0
    generation: int = 1
    generations: int = 1
    is_past: bool = False
    impossible: list[tuple[int, int, str]] = field(default_factory=list, repr=False)
    _ends: dict[str, KnownEnds] = field(default_factory=dict, repr=False)

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
        found = self._run(Selection.of(start, stop, by), msg.record_batch, recipe=Recipe())
        return pa.Table.from_batches(list(found), schema=msg.SCHEMA)

    def read(
        self,
        start: Time = None,
        stop: Time = None,
        columns: list[str] | None = None,
        by: str = "event_time",
        *,
        compacted: bool = False,
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
        compacted
            Of each key the newest message of the topic alone, as `compaction` says.

        Raises
        ------
        ArchiveError
            If a value does not fit the schema, or anything is wrong with the bytes.
        """
        decoder = self.decoder(columns)
        selection = self._selection(start, stop, by, compacted)
        found = self._run(selection, decoder.record_batch, recipe=self._recipe(columns))
        return pa.Table.from_batches(list(found), schema=decoder.schema)

    def batches(
        self,
        start: Time = None,
        stop: Time = None,
        columns: list[str] | None = None,
        by: str = "event_time",
        batch_rows: int = 65536,
        *,
        compacted: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """Yield what `read` returns, `batch_rows` at a time, in constant memory (and of keys).

        Where these pass 32 MiB, batches have fewer; the last one may have fewer, too.

        Raises
        ------
        ArchiveError
            As `read`, when the batch with the fault is reached.
        """
        return resize(self.select(self._selection(start, stop, by, compacted), columns), batch_rows)

    def _selection(self, start: Time, stop: Time, by: str, compacted: bool) -> Selection:
        selection = Selection.of(start, stop, by)
        return replace(selection, places=self.newest_places()) if compacted else selection

    def newest_places(self) -> frozenset[Place]:
        """Return where the messages are that compaction leaves of the topic; raises as `read`."""
        looked = replace(self, damage=Damage(skip=self.damage.skip))
        places = newest_places(looked._run(Selection(), newest_by_key))
        self.damage.errors += looked.damage.errors  # a read of an interval may not meet them
        return places

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
        recipe = self._recipe(columns)
        return self._run(selection, build, recipe=recipe, ledgers=ledgers, delivery=delivery)

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
        lives = f"{self.generation} of {self.generations}" if self.generations > 1 else None
        facts = {"generation": lives, **stored_facts(self.ledgers), **self._read_facts()}
        return Card("topic", self.name, facts)

    def _read_facts(self) -> dict[str, object]:
        if sum(ledger.index.data_bytes for ledger in self.ledgers) > _CARD_BYTES:
            return {"messages": "not read, it is large: messages(start, stop) reads a part"}
        try:
            facts = time_facts(self.times())
            wrong = sum(count for count, _, _ in self.impossible)
            return {"fields": self.fields(), **facts, "impossible event times": wrong or None}
        except ArchiveError as error:
            return {"unreadable": str(error)}

    def schemas(self) -> list[Schema]:
        """Return the topic's schemas, ascending; inferred from values where none is known."""
        if self.versions:
            return self.versions
        if self.inferred is None:
            self.inferred = infer_fields(
                self.name, self._sample(), self.ledgers, self.scan, self.access.bucket.url
            )
        return [self.inferred]

    def scan(self, build: Callable[[Messages], _T], ledgers: list[Ledger]) -> tuple[list[_T], bool]:
        """Return build(messages) of all there are in ledgers, and whether that is for good.

        It is not where something is damaged, a transaction has no end yet, or messages are in
        chunks, which other ledgers may have; nothing is said of that, since a read says it.
        """
        quiet = replace(self, damage=Damage(skip=True))
        delivery = quiet.delivery()
        parts = list(quiet._run(Selection(), build, ledgers=ledgers, delivery=delivery))
        return parts, not (quiet.damage.errors or quiet.undecided or delivery.has_chunks)

    def fields(self) -> list[str]:
        """Return the names of the decoded fields, in the order of the newest schema."""
        return [field.name for field in self.open_values(None).fields]

    def open_values(self, wanted: list[str] | None) -> Values | KeyValue:
        """Return what decodes the fields `wanted`, None is all, out of messages' values."""
        custom = custom_decoder(self.access.decoders, self.name, self.versions)
        if custom is not None:
            return custom_values(*custom, self.versions, wanted)
        schemas = self.schemas()
        if self.unit is None:
            self.unit = time_unit(self.name, schemas, self.ledgers, self.scan)
        try:
            return open_values(schemas, wanted, self.unit)
        except ArchiveError as err:
            where = err.where or f"the schemas of {self.name}"
            raise ArchiveError(err.message, where=where, hint=err.hint) from err
        except RecursionError as err:
            where = f"the schemas of {self.name}"
            raise ArchiveError("the schema is nested too deep", where=where) from err

    def decoder(self, columns: list[str] | None = None) -> Decoder:
        """Return what turns messages into the columns that `read` gives."""
        return make_decoder(self.open_values, columns, self._misfit)

    def _recipe(self, columns: list[str] | None) -> Recipe | None:
        """Return what `decoder` decodes by, None where that is the caller's own."""
        if custom_decoder(self.access.decoders, self.name, self.versions) is not None:
            return None
        return Recipe(schemas=tuple(self.schemas()), columns=columns, unit=self.unit or UNITS[0])

    def _misfit(self, messages: Messages, row: int, what: str) -> None:
        """Raise, or note the row where misfits are kept as nulls."""
        error = ArchiveError(
            f"the value does not fit the schema: {what}",
            where=msg.message_id(messages, row),
            hint='misfits="null" keeps such a message as nulls',
        )
        if self.misfits == "error":
            raise error
        self.damage.errors.append(error)

    def _sample(self) -> Iterator[bytes]:
        """Yield values of the first and the last ledger."""
        ends = {ledger.key: ledger for ledger in (self.ledgers[0], self.ledgers[-1])}
        for ledger in ends.values():
            yield from first_values(self.entries([ledger], self.delivery()))

    def manifest(
        self, start: Time = None, stop: Time = None, by: str = "event_time"
    ) -> dict[str, Any]:
        """Return what a read of [start, stop) is made of as JSON-able values, objects and all."""
        return {
            "topic": self.name,
            "archive": self.access.bucket.url,
            "reader": READER,
            "generation": self.generation,
            **span_facts(start, stop),
            "by": by,
            "first_message_id": f"{self.ledgers[0].id}:0",
            "last_message_id": f"{self.ledgers[-1].id}:{self.ledgers[-1].entries - 1}",
            "objects": [object_facts(ledger) for ledger in self.ledgers],
            "undecided": list(self.undecided),
            "impossible_event_times": sum(count for count, _, _ in self.impossible),
            "unfinished_chunked_messages": self.unfinished,
            "skipped": list(dict.fromkeys(map(str, self.damage.errors))),
        }

    def _run(
        self,
        selection: Selection,
        build: Callable[[Messages], _T],
        *,
        recipe: Recipe | None = None,
        ledgers: list[Ledger] | None = None,
        delivery: Delivery | None = None,
    ) -> Iterator[_T]:
        """Yield build(messages), which a `recipe` may tell, of those selected, on all workers."""
        self.access.check_complete(self.name)
        statistics = Statistics(self.access.bucket.url, self.name)
        asked = self.ledgers if ledgers is None else ledgers
        read = [ledger for ledger in asked if statistics.may_hold(ledger, selection)]
        task = partial(self._build, selection, build, statistics)
        recipe = recipe and replace(recipe, selection=selection)
        delivery = delivery or self.delivery()
        skipped = len(self.damage.errors)
        self.impossible = []
        yield from shared(
            task, partial(self.entries, read, delivery), recipe, statistics, self.access
        )
        self.undecided, self.unfinished = delivery.undecided, delivery.unfinished
        warn_of_times(self.impossible)
        # a chunked message may need the ledger before its own, a transaction may end in a later one
        complete = len(self.damage.errors) == skipped and not self.undecided
        if complete and not delivery.has_chunks:
            statistics.keep(read)

    def entries(
        self, ledgers: list[Ledger], delivery: Delivery, most_bytes: MostBytes = few_bytes
    ) -> Iterator[Entries]:
        """Yield the entries that hold messages, verified, a few MiB at a time."""
        bucket, verify = self.access.bucket, self.access.verify
        for entries in read_entries(bucket, ledgers, verify=verify, damage=self.damage):
            delivered = delivery.deliver(entries)
            if len(delivered.heads):
                yield from groups(delivered, most_bytes())

    def delivery(self) -> Delivery:
        """Return what decides which entries are messages, with nothing met yet."""
        return Delivery(self.access.bucket, self.damage, self._transactions, self.access.decryption)

    def _transactions(self, topic: str) -> KnownEnds:
        """Return how the transactions of a topic ended, by its markers; kept for the next call."""
        if topic not in self._ends:
            ledgers = of_topic(self.ledgers, topic)
            self._ends[topic] = ends_of_transactions(self.access.bucket, ledgers)
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
        wanted = selection.within(messages)
        wrong = msg.impossible(messages)
        if len(wrong):
            lost = len(wrong) - len(msg.impossible(wanted))
            self.impossible.append((len(wrong), lost, msg.message_id(messages, int(wrong[0]))))
        return build(wanted)
