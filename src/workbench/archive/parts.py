"""Read some ledgers of a topic by themselves: the very rows that a read of all has of them.

A chunked message is a row of the ledger that holds its last chunk, and the end of a transaction may
stand in a later ledger than its messages. So a part looks around where it meets such: back to the
first chunk of a message, ahead to the end of a transaction, and no further than that. Where it
meets none, as in most topics, its own ledgers are all that is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby, takewhile

import numpy as np
import pyarrow as pa

from workbench.archive.bucket import Bucket, open_bucket
from workbench.archive.delivery import (
    ChunkedName,
    Chunks,
    Delivery,
    Ends,
    Transaction,
    ends_of_transactions,
    of_topic,
)
from workbench.archive.format.encryption import Decryption
from workbench.archive.ledgers import Damage, read_entries
from workbench.archive.selection import Selection
from workbench.archive.statistics import ledgers_holding
from workbench.archive.storage.ledger import Ledger
from workbench.archive.topic import Topic
from workbench.archive.values.decoding import Decoder
from workbench.errors import ArchiveError


@dataclass(frozen=True)
class Part:
    """Some ledgers of a topic, in its order; `TopicDataset` reads it as it reads a topic."""

    topic: Topic
    ledgers: list[Ledger]

    def decoder(self, columns: list[str] | None = None) -> Decoder:
        """Return what turns messages into the columns that `select` gives."""
        return self.topic.decoder(columns)

    def select(
        self, selection: Selection, columns: list[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield what `Topic.select` yields of these ledgers.

        The topic's `undecided` and `unfinished` are then what these ledgers have of them; a message
        that goes on behind them is theirs that have its last chunk.

        Raises
        ------
        ArchiveError
            If anything is wrong with their bytes, or a value does not fit the schema.
        """
        surroundings = _Surroundings(self.topic, self.ledgers)
        delivery = surroundings.delivery(self.topic.damage, surroundings.chunks)
        yield from self.topic.select(selection, columns, ledgers=self.ledgers, delivery=delivery)
        self.topic.unfinished = len(surroundings.ending(delivery.unfinished_names))

    def delivery(self) -> Delivery:
        """Return what decides which entries of these ledgers, in their order, are messages."""
        surroundings = _Surroundings(self.topic, self.ledgers)
        return surroundings.delivery(self.topic.damage, surroundings.chunks)


def cut(topic: Topic, selection: Selection, count: int) -> list[Part]:
    """Return a topic cut into `count` parts of roughly even bytes, or fewer, in its order.

    No ledger is cut. One that surely holds nothing selected, by what earlier reads met, is in none.
    """
    held = ledgers_holding(topic.access.bucket.url, topic.ledgers, selection)
    sizes = np.array([max(1, ledger.index.data_bytes) for ledger in held], np.float64)
    middles = np.cumsum(sizes) - sizes / 2
    numbers = (middles / max(1.0, sizes.sum()) * count).astype(int).tolist()
    pairs = groupby(zip(numbers, held, strict=True), key=lambda pair: pair[0])
    return [Part(topic, [ledger for _, ledger in run]) for _, run in pairs]


def detach(topic: Topic) -> Topic:
    """Return a topic that may be sent to another process: no connection and no secret is in it."""
    here = topic.access.bucket
    bucket = Bucket(here.url, None, here.root)
    return replace(topic, access=replace(topic.access, bucket=bucket, decryption=None))


def attach(topic: Topic, *, keys: str | None = None) -> Topic:
    """Return a topic that was detached, with the credentials, and the keys, of this process."""
    bucket = open_bucket(topic.access.bucket.url)
    decryption = None if keys is None else Decryption(keys)
    return replace(topic, access=replace(topic.access, bucket=bucket, decryption=decryption))


@dataclass
class _Ends:
    """How transactions ended, read ledger by ledger as far as it is asked for."""

    bucket: Bucket
    following: Iterator[Ledger]
    known: dict[Transaction, bool] = field(default_factory=dict)
    unread: list[ArchiveError] = field(default_factory=list)

    def get(self, transaction: Transaction, /) -> bool | None:
        while transaction not in self.known:
            ledger = next(self.following, None)
            if ledger is None:
                return None
            ends = ends_of_transactions(self.bucket, [ledger])
            self.known = ends.known | self.known
            self.unread += ends.unread
        return self.known[transaction]


@dataclass
class _Surroundings:
    """What a part of a topic needs to know of the ledgers around it."""

    topic: Topic
    ledgers: list[Ledger]
    _ends: dict[str, _Ends] = field(default_factory=dict)

    def delivery(self, damage: Damage, earlier: Callable[[ChunkedName], Chunks | None]) -> Delivery:
        """Return what decides which entries are messages."""
        access = self.topic.access
        return Delivery(access.bucket, damage, self._transactions, access.decryption, earlier)

    def chunks(self, name: ChunkedName) -> Chunks | None:
        """Return the chunks of a message that stand before the part, None where it has none."""
        before = self._before(name[0])
        for i in range(len(before) - 1, -1, -1):
            if self._met([before[i]]).has_begun(name):
                return self._met(before[i:]).chunks_of(name)
        return None

    def ending(self, names: set[ChunkedName]) -> set[ChunkedName]:
        """Return those of some messages that have no chunk behind the part."""
        left = set(names)
        for topic in {name[0] for name in names}:
            delivery = self.delivery(Damage(skip=True), lambda _: None)
            for ledger in self._behind(topic):
                if all(name[0] != topic for name in left):
                    break
                self._deliver(delivery, [ledger])
                left = {name for name in left if not delivery.has_met(name)}
        return left

    def _met(self, ledgers: list[Ledger]) -> Delivery:
        """Return a delivery that has met all entries of ledgers; it says nothing of damage."""
        delivery = self.delivery(Damage(skip=True), lambda _: None)
        self._deliver(delivery, ledgers)
        return delivery

    def _deliver(self, delivery: Delivery, ledgers: list[Ledger]) -> None:
        bucket, damage = self.topic.access.bucket, delivery.damage
        for entries in read_entries(bucket, ledgers, verify=False, damage=damage):
            delivery.deliver(entries)

    def _before(self, topic: str) -> list[Ledger]:
        mine = {ledger.key for ledger in self.ledgers}
        return list(takewhile(lambda x: x.key not in mine, of_topic(self.topic.ledgers, topic)))

    def _behind(self, topic: str) -> list[Ledger]:
        mine = {ledger.key for ledger in self.ledgers}
        backwards = reversed(of_topic(self.topic.ledgers, topic))
        return [*takewhile(lambda x: x.key not in mine, backwards)][::-1]

    def _transactions(self, topic: str) -> Ends:
        if topic not in self._ends:
            before = self._before(topic)
            rest = of_topic(self.topic.ledgers, topic)[len(before) :]
            # a transaction ends behind its messages, and soon
            order = [*rest, *reversed(before)]
            self._ends[topic] = _Ends(self.topic.access.bucket, iter(order))
        return self._ends[topic]
