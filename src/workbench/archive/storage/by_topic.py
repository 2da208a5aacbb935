"""The ledgers of a fleet by topic, as columns: a `Ledger` is made when its topic is asked for.

Of 200,000 ledgers one topic has a hundred. What most are, an index as brokers write it beside a
data object as long as that says, is seen in columns; all others are objects as before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np

from workbench.archive.format.indexes import Indexes
from workbench.archive.storage.ledger import Ledger
from workbench.archive.storage.listing import Listing
from workbench.arrays import Ints


@dataclass(frozen=True)
class Summary:
    """What is known of one topic's ledgers without an object of each.

    Attributes
    ----------
    ledgers, entries, bytes
        How many, and of the data objects.
    first_ms, last_ms
        When the first and the last ledger were created, epoch ms.
    """

    ledgers: int
    entries: int
    bytes: int
    first_ms: int
    last_ms: int


def summary(ledgers: Sequence[Ledger]) -> Summary:
    """Return the summary of some ledgers, at least one."""
    created = [ledger.index.metadata.created_ms for ledger in ledgers]
    return Summary(
        len(ledgers),
        sum(ledger.entries for ledger in ledgers),
        sum(ledger.index.data_bytes for ledger in ledgers),
        min(created),
        max(created),
    )


@dataclass(frozen=True)
class Columns:
    """Ledgers whose indexes were read together: n of them, in the order of their keys.

    Attributes
    ----------
    listing
        Of the bucket.
    indexes
        What the indexes say, of more objects than these.
    rows, ids
        int64, shape (n,): which of the indexes each is, and the ledger's id.
    keys, data
        int64, shape (n,): places of the index and of the data object in the listing; -1 where
        there is none.
    """

    listing: Listing
    indexes: Indexes
    rows: Ints
    ids: Ints
    keys: Ints
    data: Ints

    def ledger(self, i: int) -> Ledger:
        """Return ledger `i`."""
        index_key, place = self.listing.keys[self.keys[i]], int(self.data[i])
        index = self.indexes.index(int(self.rows[i]))
        if place < 0:
            return Ledger(
                int(self.ids[i]), index_key.removesuffix("-index"), index_key, "", -1, index
            )
        data = self.listing.item(place)
        return Ledger(
            int(self.ids[i]), data.key, index_key, data.etag, data.bytes, index,
            written_ms=data.written_ms,
        )  # fmt: skip

    def column(self, name: str, rows: Ints) -> Ints:
        """Return a column of `Indexes`, of some of these ledgers."""
        column: Ints = self.indexes.column(name)[self.rows[rows]]
        return column

    def by_topic(self) -> dict[str, Ints]:
        """Return the rows of each topic, by id, and in the order of keys where ids are equal."""
        topics = self.indexes.topic[self.rows]
        order = np.lexsort((self.ids, topics))
        ends = np.flatnonzero(np.diff(topics[order])) + 1
        parts = np.split(order, ends) if len(order) else []
        return {self.indexes.topics[topics[part[0]]]: part for part in parts}

    def is_plain(self, rows: Ints) -> bool:
        """Return whether ledgers, by their ids, are complete and each of them there once."""
        sizes = [self.listing.sizes[place] if place >= 0 else -1 for place in self.data[rows]]
        complete = np.array_equal(sizes, self.column("data_bytes", rows))
        return complete and bool((np.diff(self.ids[rows]) > 0).all())


class LedgersByTopic(MutableMapping[str, list[Ledger]]):
    """Full topic name to its ledgers, ascending; in the order of names.

    Parameters
    ----------
    columns
        Where rows point to.
    rows
        Of topics whose ledgers are complete, and each there once: ascending by id.
    made
        The ledgers of all other topics.
    """

    def __init__(
        self, columns: Columns | None, rows: dict[str, Ints], made: dict[str, list[Ledger]]
    ) -> None:
        self._columns, self._rows, self._made = columns, rows, made
        self._names = dict.fromkeys(sorted([*rows, *made]))

    def __getitem__(self, topic: str) -> list[Ledger]:
        if topic not in self._made and topic in self._rows and self._columns is not None:
            ledgers = list(map(self._columns.ledger, self._rows[topic].tolist()))
            self._made[topic] = ledgers
        return self._made[topic]

    def __setitem__(self, topic: str, ledgers: list[Ledger]) -> None:
        self._rows.pop(topic, None)
        self._made[topic] = ledgers
        self._names = dict.fromkeys(sorted([*self._names, topic]))

    def __delitem__(self, topic: str) -> None:
        del self._names[topic]
        self._rows.pop(topic, None)
        self._made.pop(topic, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return repr(dict(self))

    def count(self, topic: str) -> int:
        """Return how many ledgers a topic has."""
        return len(self._rows[topic]) if topic in self._rows else len(self._made[topic])

    def owners(self, ids: Collection[int]) -> dict[int, set[str]]:
        """Return the topics that have a complete ledger of some ids, by the ids that any has."""
        wanted, topics = set(ids), defaultdict[int, set[str]](set)
        for topic in self:
            for number in wanted.intersection(self._complete(topic).tolist()):
                topics[number].add(topic)
        return topics

    def shares_ids(self) -> bool:
        """Return whether two topics have a complete ledger of one id: of one cluster none have."""
        ids = np.concatenate([np.empty(0, np.int64), *map(self._complete, self)])
        return len(np.unique(ids)) < len(ids)

    def _complete(self, topic: str) -> Ints:
        """Return the ids of a topic's complete ledgers, each once."""
        if topic in self._rows and self._columns is not None:
            ids: Ints = self._columns.ids[self._rows[topic]]
            return ids
        kept = {x.id for x in self._made[topic] if x.bytes == x.index.data_bytes}
        return np.array(sorted(kept), dtype=np.int64)

    def in_order(self) -> list[tuple[int, str]]:
        """Return id and topic of all ledgers, by their ids."""
        pairs = []
        for topic in self:
            if topic in self._rows and self._columns is not None:
                ids = self._columns.ids[self._rows[topic]].tolist()
            else:
                ids = [ledger.id for ledger in self._made[topic]]
            pairs += [(number, topic) for number in ids]
        return sorted(pairs, key=itemgetter(0))

    def summary(self, topics: Iterable[str]) -> Summary | None:
        """Return the summary of a topic's partitions, None where each ledger has to be looked at.

        That is where something is wrong with one of them, or ids do not rise with the times of
        creation, as in one life of a topic they do.
        """
        names, columns = list(topics), self._columns
        if columns is None or not all(name in self._rows for name in names):
            return None
        rows = np.concatenate([self._rows[name] for name in names])
        rows = rows[np.argsort(columns.ids[rows], kind="stable")]
        created = columns.column("created_ms", rows)
        if (np.diff(created) < 0).any() or (np.diff(columns.ids[rows]) <= 0).any():
            return None
        return Summary(
            len(rows),
            int((columns.column("last_entry", rows) + 1).sum()),
            int(columns.column("data_bytes", rows).sum()),
            int(created[0]),
            int(created[-1]),
        )
