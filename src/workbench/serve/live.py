"""`--live`: a topic's table is the archive, and behind it what the broker alone has.

Whole ledgers are taken from either: those that the archive lists from there, all others that the
broker has from the broker, so no message comes twice and none is left out. `now` is the end of the
topic when the query began. Broker's rows are never written to the disk's cache of columns.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa

from workbench import broker
from workbench.archive import (
    UNITS,
    Archive,
    Delivery,
    Inference,
    Schema,
    Selection,
    Topic,
    asked_tables,
    decode_values,
    fetch_schemas,
    open_values,
    parse_schemas,
    split_partition,
    sql_names,
    unit_needed,
)
from workbench.endpoints import endpoints
from workbench.errors import ReplayError
from workbench.history import Tail, TailPart, columns_of, encoded, end_one_of
from workbench.serve.decoded import DecodedTopic, Work

_LOG = logging.getLogger(__name__)
_SYSTEM = "__"  # how the names of Pulsar's own topics begin


class Live:
    """What is known of a broker's topics between queries."""

    def __init__(self, namespaces: Sequence[str]) -> None:
        self.namespaces = tuple(namespaces)
        self._tails: dict[tuple[str, bool], Tail] = {}
        self._lock = threading.Lock()

    def names(self, archive: Archive) -> list[str]:
        """Return the full names of the topics of an archive and of the broker, sorted.

        Those of the broker are of the archive's namespaces, `public/default`, and `namespaces`.

        Raises
        ------
        ServicesError
            If the broker does not answer, or refuses.
        """
        spaces = {_space(name) for name in archive.names()}
        names = set(archive.names())
        for space in sorted({*spaces, "public/default", *self.namespaces}):
            if broker.get_or_none(f"/namespaces/{space}") is None:
                continue  # the archive's may be of another cluster
            names |= {
                name
                for name in broker.topics(space)
                if not name.rpartition("/")[2].startswith(_SYSTEM)
            }
        return sorted(names)

    def tail(self, topic: str, *, infers: bool) -> Tail:
        """Return what reads a topic's newest messages, which remembers what it met."""
        with self._lock:
            return self._tails.setdefault((topic, infers), Tail(infers))


@dataclass(frozen=True)
class Topics:
    """What a query may name: the topics of an archive, and with `--live` those of a broker."""

    archive: Archive
    full_names: list[str]

    @property
    def url(self) -> str:
        """Where the archive is."""
        return self.archive.url

    def names(self) -> list[str]:
        """Return the full names, sorted."""
        return self.full_names

    def is_archived(self, topic: str) -> bool:
        """Return whether the archive has ledgers of the newest life of a topic."""
        return topic in self.archive.names() and not self.archive.lives(topic)[-1].is_past


def has_strangers(topics: Topics, cursor: Any, text: str) -> bool:
    """Return whether a query names tables that are no topic's."""
    wanted = asked_tables(cursor, text)
    mine = {part.lower() for name in sql_names(topics) for part in (name.topic, name.table)} | {
        name.rpartition("/")[2].lower() for name in topics.names()
    }
    return not wanted <= mine


def _space(topic: str) -> str:
    return topic.partition("://")[2].rpartition("/")[0]


def broker_schemas(topic: Topic) -> list[Schema]:
    """Return the schemas of a topic: those that were kept, and those that its broker has.

    Raises
    ------
    ServicesError
        If the broker does not answer, or refuses.
    ReplayError
        If one version is another there.
    """
    base = split_partition(topic.name)[0]
    addresses = endpoints()
    stored = fetch_schemas(addresses.admin, [base], token=addresses.broker_token)
    theirs = parse_schemas(stored, where=addresses.admin).get(base, [])
    kept = {schema.version: schema for schema in topic.versions}
    for schema in theirs:
        mine = kept.get(schema.version, schema)
        if (mine.type, mine.definition) != (schema.type, schema.definition):
            raise ReplayError(
                f"schema version {schema.version} of {base} is another at the broker than in the "
                "archive's schemas.json: the topic was made anew, or is another cluster's",
                hint="workbench offload keeps the new ones, too",
            )
    versions = {schema.version: schema for schema in (*topic.versions, *theirs)}
    return [versions[version] for version in sorted(versions)]


@dataclass
class LiveTopic:
    """A topic in archive and broker; what `archive.TopicDataset` reads.

    Attributes
    ----------
    topic
        With the ledgers of the archive, none if it has none; its schemas are all that are known.
    archived
        The same, whose columns are kept; None: the archive has none of it.
    parts
        As the broker had it when the query began.
    tail
        What reads from the broker.
    work
        The query that asks.
    """

    topic: Topic
    archived: DecodedTopic | None
    parts: list[TailPart]
    tail: Tail
    work: Work

    def __post_init__(self) -> None:
        self._archived_ids = {
            part.topic: {
                ledger.id: ledger.entries
                for ledger in self.topic.ledgers
                if ledger.topic == part.topic
            }
            for part in self.parts
        }
        for part in self.parts:
            _check_seam(part, self._archived_ids[part.topic])
        if self.tail.infers:
            self._widen()
        self.topic.unit = self.topic.unit or UNITS[0]

    @property
    def entry_count(self) -> int:
        """How many there are."""
        behind = (
            entries
            for part in self.parts
            for ledger, entries in part.ledgers.items()
            if ledger not in self._archived_ids[part.topic]
        )
        return sum(ledger.entries for ledger in self.topic.ledgers) + sum(behind)

    @property
    def damage(self) -> Any:
        """What was skipped."""
        return self.topic.damage

    def decoder(self, columns: list[str] | None = None) -> Any:
        """Return what turns messages into columns."""
        return self.topic.decoder(columns)

    def select(self, selection: Selection, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
        """Yield columns of all messages selected, and of others."""
        if self.archived is not None:
            delivery = self.topic.delivery()
            yield from self.archived.select(selection, columns, delivery)
            self._check_ended(delivery)
        decoder = self.topic.decoder(columns)
        for part in self.parts:
            archived = self._archived_ids[part.topic]
            for messages in self.tail.read(part, archived, selection, self.work.go_on):
                self.work.messages_read += len(messages)
                yield self._batch(decoder, part, messages)

    def _widen(self) -> None:
        """Let the fields, where no schema is known, be those of the broker's messages too."""
        earlier = self.topic.inferred
        if earlier is not None and earlier.type != "JSON":
            return
        inference = Inference(earlier)
        for part in self.parts:
            for new in self.tail.kinds(part, self._archived_ids[part.topic], self.work.go_on):
                inference.merge(new.kinds)
                inference.others += new.others
        is_bytes = inference.others and earlier is None  # else such a message is a misfit
        self.topic.inferred = Schema(0, "BYTES") if is_bytes else inference.schema()

    def _check_ended(self, delivery: Delivery) -> None:
        """Refuse where the archive has the beginning of what the broker ends: neither has it.

        What has no end anywhere is no message, as it is to the archive's reader.
        """
        cut = [part for part in self.parts if self._ends(part, delivery)]
        if delivery.undecided or cut:
            of_chunks = [
                topic for topic, _ in delivery.unfinished_names
                if topic in {part.topic for part in cut}
            ]  # fmt: skip
            raise ReplayError(
                f"of {self.topic.name} the archive holds the beginning of {len(of_chunks)} "
                f"messages in chunks and {len(delivery.undecided)} entries of transactions, whose "
                "end is not offloaded yet: they would be missing",
                hint="without --live what is offloaded is answered",
            )

    def _ends(self, part: TailPart, delivery: Delivery) -> bool:
        """Return whether the broker has the end of a message that begins in the archive."""
        begun = {uuid for topic, uuid in delivery.unfinished_names if topic == part.topic}
        if not begun:
            return False
        archived, go_on = self._archived_ids[part.topic], self.work.go_on
        places = self.tail.passed_over(part, archived, go_on)
        return end_one_of(part.topic, places, begun, go_on)

    def _batch(self, decoder: Any, part: TailPart, messages: list[Any]) -> pa.RecordBatch:
        wanted = [source for source in decoder.columns.values() if isinstance(source, str)]
        lists = columns_of(messages, part.partition, [*{*wanted, "version", "value"}])
        rows = replace(encoded(lists), where=f"{part.topic}, as the broker has it")
        keys = partial(_keys, messages, part)
        self._check_times(rows, keys, part)
        fields = decode_values(decoder.values, rows, keys, partial(self._misfit, messages, part))
        arrays = [
            fields[source] if isinstance(source, int) else pa.array(lists[source], kind)
            for source, kind in zip(decoder.columns.values(), decoder.schema.types, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, names=decoder.schema.names)

    def _check_times(self, rows: Any, keys: Callable[[], list[Any]], part: TailPart) -> None:
        """Refuse bare times that the unit of the archive's cannot count."""
        unit = self.topic.unit or UNITS[0]
        values = open_values(self.topic.schemas(), None, unit)
        if unit_needed(values, rows, keys) > UNITS.index(unit):
            raise ReplayError(
                f"{part.topic} holds times at the broker that {unit} since 1970 cannot count",
                hint="once they are offloaded, all times are to a coarser unit",
            )

    def _misfit(self, messages: list[Any], part: TailPart, row: int, what: str) -> None:
        place = messages[row].message_id()
        parts = (place.ledger_id(), place.entry_id(), part.partition, place.batch_index())
        raise ReplayError(
            f"the value does not fit the schema: {what}",
            where=f"{part.topic}, message {':'.join(map(str, parts))}, at the broker",
        )


def _keys(messages: list[Any], part: TailPart) -> list[Any]:
    return columns_of(messages, part.partition, ["key"])["key"]


def _check_seam(part: TailPart, archived: dict[int, int]) -> None:
    """Refuse an archive of another cluster where ledgers of both have one number."""
    for ledger, entries in archived.items():
        theirs = part.ledgers.get(ledger, entries)
        if theirs != entries:
            raise ReplayError(
                f"ledger {ledger} of {part.topic} has {entries} entries in the archive and "
                f"{theirs} at the broker: they are not of one cluster",
                where=endpoints().admin,
                hint="without --live the archive alone is answered",
            )
    strange = [ledger for ledger in archived if ledger not in part.ledgers]
    if strange and part.ledgers:
        _LOG.info(
            "%d of %d ledgers of %s in the archive are not among the broker's, the first is %d: "
            "trimmed there, or left by an earlier topic of this name; they are read",
            len(strange), len(archived), part.topic, strange[0],
        )  # fmt: skip


__all__ = ["Live", "LiveTopic", "broker_schemas"]
