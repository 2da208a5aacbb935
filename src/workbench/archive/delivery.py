"""Which entries a consumer would see, and as what.

Markers are not rows. Messages of committed transactions are, at their own place; of aborted
ones they are not; of ones whose end is not in the archive yet they are not either, but counted.
Chunks become one message, at the place and with the metadata of the last. Encrypted messages
are refused by the names of their keys.

Source: apache/pulsar 4.0.8, Markers.java, PulsarMarkers.proto, ConsumerImpl.processMessageChunk,
TransactionBufferHandler; PulsarApi.proto EncryptionKeys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from workbench.archive import entries as e
from workbench.archive.catalogue import Ledger
from workbench.archive.columns import Bytes, Ints
from workbench.archive.index import protobuf_fields
from workbench.archive.reading import Damage, Entries
from workbench.archive.store import Store
from workbench.errors import ArchiveError

COMMIT, ABORT = 21, 22
_MARKERS = (10, 11, 12, 13, 20, COMMIT, ABORT)  # replicated subscriptions and transactions
Transaction = tuple[int, int]  # most and least significant bits


@dataclass
class _Chunks:
    """The chunks of one message met so far, as places: their bytes are read again at the end."""

    next: int
    places: list[tuple[str, int, int] | bytes]  # key, start, stop


@dataclass
class Delivery:
    """Turns entries into those that hold messages; remembers what spans several calls.

    Attributes
    ----------
    store
        To read earlier chunks again.
    damage
        What to do about entries that cannot be delivered.
    transactions
        Gives the ends of a topic's transactions: committed or not, absent if undecided.
    undecided
        Message ids ("ledger:entry") of transactions whose end is not in the archive.
    joined
        How many chunked messages were put together.
    """

    store: Store
    damage: Damage
    transactions: Callable[[str], dict[Transaction, bool]]
    undecided: list[str] = field(default_factory=list)
    joined: int = 0
    _chunks: dict[tuple[str, bytes], _Chunks] = field(default_factory=dict)

    def deliver(self, entries: Entries) -> Entries:
        """Return the entries that hold messages, chunks joined.

        Raises
        ------
        ArchiveError
            If an entry is encrypted, is a marker of an unknown kind, or its chunks do not join.
        """
        rows = entries.rows
        plain = (rows[:, e.MARKER] == 0) & (rows[:, e.ENCRYPTED] == 0) & (rows[:, e.CHUNKS] < 2)
        if plain.all() and (rows[:, e.TXN_MOST] == e.NONE).all():
            return entries
        kept = np.array([self._is_kept(entries, i) for i in range(len(rows))], bool)
        return self._join(replace(entries, rows=rows[kept]))

    @property
    def unfinished(self) -> int:
        """How many chunked messages lack their last chunk so far."""
        return len(self._chunks)

    def _is_kept(self, entries: Entries, i: int) -> bool:
        row = entries.rows[i]
        if row[e.MARKER]:
            if row[e.MARKER] not in _MARKERS:
                self._report(entries, i, f"marker {row[e.MARKER]} is of no known kind")
            return False
        if row[e.ENCRYPTED]:
            keys = ", ".join(_encryption_keys(entries.data, row))
            self._report(entries, i, f"it is encrypted with key {keys}: such messages are not read")
            return False
        if row[e.TXN_MOST] == e.NONE:
            return True
        ends = self.transactions(entries.ledger.topic)
        committed = ends.get((int(row[e.TXN_MOST]), int(row[e.TXN_LEAST])))
        if committed is None:
            self.undecided.append(f"{entries.ledger.id}:{row[e.ENTRY]}")
        return committed is True

    def _report(self, entries: Entries, i: int, text: str) -> None:
        self.damage.report(
            ArchiveError(
                f"entry {entries.rows[i, e.ENTRY]} of ledger {entries.ledger.id}: {text}",
                where=entries.where(i),
            )
        )

    def _join(self, entries: Entries) -> Entries:
        rows = entries.rows.copy()
        kept = np.ones(len(rows), bool)
        added: list[bytes] = []
        at = len(entries.data)
        for i in np.flatnonzero(rows[:, e.CHUNKS] > 1):
            whole = self._chunk(entries, int(i))
            kept[i] = whole is not None
            if whole is not None:
                rows[i, e.DATA], rows[i, e.DATA_END] = at, at + len(whole)
                added.append(whole)
                at += len(whole)
        data = entries.data
        if added:
            data = np.concatenate([data, np.frombuffer(b"".join(added), np.uint8)])
        return replace(entries, data=data, rows=rows[kept])

    def _chunk(self, entries: Entries, i: int) -> bytes | None:
        """Take one chunk; return the whole payload if it was the last of its message."""
        row = entries.rows[i]
        uuid = entries.data[row[e.UUID] : row[e.UUID] + max(row[e.UUID_SIZE], 0)].tobytes()
        name = entries.ledger.topic, uuid
        number = int(row[e.CHUNK])
        known = self._chunks.get(name)
        if number == 0:
            known = self._chunks[name] = _Chunks(0, [])
        if known is None or number < known.next:
            return None  # its beginning is lost, or it was sent twice
        if number > known.next:
            del self._chunks[name]  # a consumer drops the message
            return None
        start, stop = int(row[e.DATA]), int(row[e.DATA_END])
        if entries.at < 0:
            known.places.append(entries.data[start:stop].tobytes())
        else:
            known.places.append((entries.ledger.key, entries.at + start, entries.at + stop))
        known.next += 1
        if known.next < row[e.CHUNKS]:
            return None
        del self._chunks[name]
        whole = b"".join(
            place if isinstance(place, bytes) else self.store.read(*place) for place in known.places
        )
        if row[e.CHUNK_BYTES] not in (e.NONE, len(whole)):
            text = f"its {known.next} chunks have {len(whole)} bytes, expected {row[e.CHUNK_BYTES]}"
            self._report(entries, i, text)
            return None
        self.joined += 1
        return whole


def _encryption_keys(data: Bytes, row: Ints) -> list[str]:
    metadata = data[row[e.METADATA] : row[e.PAYLOAD]].tobytes()
    names = []
    for number, value in protobuf_fields(metadata, ""):
        if number == 13 and isinstance(value, bytes):
            pair = dict(protobuf_fields(value, ""))
            name = pair.get(1, b"")
            names.append(repr(name.decode(errors="replace")) if isinstance(name, bytes) else "?")
    return names


def ends_of_transactions(found: Iterator[Entries]) -> dict[Transaction, bool]:
    """Return for every transaction with an end among the entries whether it was committed."""
    ends = {}
    for entries in found:
        rows = entries.rows
        for row in rows[np.isin(rows[:, e.MARKER], (COMMIT, ABORT))]:
            ends[int(row[e.TXN_MOST]), int(row[e.TXN_LEAST])] = bool(row[e.MARKER] == COMMIT)
    return ends


def of_topic(ledgers: list[Ledger], topic: str) -> list[Ledger]:
    """Return the ledgers of one topic, partition included."""
    return [ledger for ledger in ledgers if ledger.topic == topic]
