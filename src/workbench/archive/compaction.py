"""The compacted view of a topic: of each key the newest message, as a broker's compaction keeps it.

Messages without a key are out, as are keys whose newest message is empty (a tombstone); of a batch
each message counts by itself; partitions are compacted by themselves. What stays keeps its place.
The whole topic is looked at, so an interval holds what is newest of all, if that lies in it. The
memory is that of the keys, up to a bound: a topic with more is refused.

Where we differ: a chunked message is one message (a broker keeps its last chunk alone, and a
consumer drops it), and what came after a broker's last compaction is compacted, too.

Source: apache/pulsar 4.0.8, AbstractTwoPhaseCompactor, PublishingOrderCompactor,
RawBatchConverter; topicCompactionRetainNullKey is false.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from workbench.archive.format import entries as e
from workbench.archive.format import payloads as p
from workbench.archive.ledgers import Messages
from workbench.arrays import Bools
from workbench.errors import ArchiveError

Key = tuple[str, bytes]  # topic, partition included
Place = tuple[int, int, int]  # ledger, entry, index in the batch
MOST_BYTES = 1 << 30  # of keys and places
_KEY_BYTES = 300  # of a key and its place, beside the key's own, as Python 3.11 holds them


def newest_by_key(messages: Messages) -> dict[Key, Place | None]:
    """Return where the newest of some messages is for each of their keys, None for a tombstone."""
    table, data = messages.table, messages.entries.data
    keyed = np.flatnonzero(table[p.KEY_SIZE] >= 0)
    starts = table[p.KEY, keyed]
    spans = zip(starts.tolist(), (starts + table[p.KEY_SIZE, keyed]).tolist(), strict=True)
    topic, places = messages.entries.ledger.topic, _places(messages)
    newest: dict[Key, Place | None] = {}
    for row, size, (start, stop) in zip(
        keyed.tolist(), table[p.VALUE_SIZE, keyed].tolist(), spans, strict=True
    ):
        newest[topic, data[start:stop].tobytes()] = places[row] if size > 0 else None
    return newest


def newest_places(parts: Iterable[dict[Key, Place | None]]) -> frozenset[Place]:
    """Return where the messages are that are left of a topic, from `newest_by_key` of its parts.

    Raises
    ------
    ArchiveError
        If its keys take more memory than `MOST_BYTES`.
    """
    newest: dict[Key, Place] = {}
    held = 0
    for part in parts:
        for key, place in part.items():
            held += _bytes(key) * ((place is not None) - (key in newest))
            if place is None:
                newest.pop(key, None)
            else:
                newest[key] = place
        if held > MOST_BYTES:
            raise _too_many(len(newest), next(iter(newest))[0])
    return frozenset(newest.values())


def _bytes(key: Key) -> int:
    return _KEY_BYTES + len(key[1])


def _too_many(keys: int, topic: str) -> ArchiveError:
    return ArchiveError(
        f"compaction has met {keys:,} keys, and holds as many as {MOST_BYTES >> 20:,} MiB do",
        where=topic,
        hint="read it without compaction; of a partitioned topic each partition by itself",
    )


def is_among(messages: Messages, places: frozenset[Place]) -> Bools:
    """Return for each message whether it is at one of some places."""
    return np.array([place in places for place in _places(messages)], bool)


def _places(messages: Messages) -> list[Place]:
    entries = messages.entries.heads[:, e.ENTRY][messages.table[p.ROW]]
    ledger = messages.entries.ledger.id
    pairs = zip(entries.tolist(), messages.table[p.INDEX].tolist(), strict=True)
    return [(ledger, entry, index) for entry, index in pairs]
