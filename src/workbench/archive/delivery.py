"""Which entries a consumer would see, and as what.

Markers are not rows. Messages of committed transactions are, at their own place; of aborted
ones they are not; of ones whose end is not in the archive yet they are not either, but counted.
Chunks become one message, at the place and with the metadata of the last. Encrypted messages
are decrypted where there are keys, each chunk by itself, and else refused by the names of theirs.

Source: apache/pulsar 4.0.8, Markers.java, PulsarMarkers.proto, ConsumerImpl.processMessageChunk,
TransactionBufferHandler; PulsarApi.proto EncryptionKeys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from workbench.archive.bucket import Bucket
from workbench.archive.format import entries as e
from workbench.archive.format.encryption import Decryption, wrapped_keys
from workbench.archive.ledgers import Damage, Entries, read_entries
from workbench.archive.storage.ledger import Ledger
from workbench.arrays import Bytes, Ints
from workbench.errors import ArchiveError

COMMIT, ABORT = 21, 22
_MARKERS = (10, 11, 12, 13, 20, COMMIT, ABORT)  # replicated subscriptions and transactions
Transaction = tuple[int, int]  # most and least significant bits
ChunkedName = tuple[str, bytes]  # topic, partition included, and the uuid of its chunks


class Ends(Protocol):
    """How transactions ended: committed or not, None if undecided.

    Attributes
    ----------
    unread
        What could not be read so far, where the end of one that is undecided may stand.
    """

    unread: list[ArchiveError]

    def get(self, transaction: Transaction, /) -> bool | None:
        """Return whether it was committed."""


@dataclass
class KnownEnds:
    """The ends that stand in ledgers, and what of these could not be read."""

    known: dict[Transaction, bool]
    unread: list[ArchiveError]

    def get(self, transaction: Transaction, /) -> bool | None:
        """Return whether it was committed."""
        return self.known.get(transaction)


@dataclass
class Chunks:
    """The chunks of one message met so far, as places: their bytes are read again at the end."""

    next: int
    places: list[tuple[str, int, int] | bytes]  # key, start, stop


@dataclass
class Delivery:
    """Turns entries into those that hold messages; remembers what spans several calls.

    Attributes
    ----------
    bucket
        To read earlier chunks again.
    damage
        What to do about entries that cannot be delivered.
    transactions
        Gives the ends of a topic's transactions.
    decryption
        Of encrypted messages, where there are private keys.
    earlier
        Gives the chunks of a message that stand before the entries delivered here, where these
        are not a topic's from its beginning; it is asked once of each message.
    undecided
        Message ids ("ledger:entry") of transactions whose end is not in the archive.
    has_chunks
        Whether any entry was a chunk, so that what is a row depends on other ledgers, too.
    """

    bucket: Bucket
    damage: Damage
    transactions: Callable[[str], Ends]
    decryption: Decryption | None = None
    earlier: Callable[[ChunkedName], Chunks | None] | None = None
    undecided: list[str] = field(default_factory=list)
    has_chunks: bool = False
    _chunks: dict[ChunkedName, Chunks] = field(default_factory=dict)
    _begun: dict[ChunkedName, bool] = field(default_factory=dict)

    def deliver(self, entries: Entries) -> Entries:
        """Return the entries that hold messages, chunks joined.

        Raises
        ------
        ArchiveError
            If an entry does not decrypt, is a marker of an unknown kind, or its chunks do not join.
        """
        rows = entries.heads
        plain = (rows[:, e.MARKER] == 0) & (rows[:, e.ENCRYPTED] == 0) & (rows[:, e.CHUNKS] < 2)
        if plain.all() and (rows[:, e.TXN_MOST] == e.NONE).all():
            return entries
        kept = np.array([self._is_kept(entries, i) for i in range(len(rows))], bool)
        return self._join(self._decrypt(replace(entries, heads=rows[kept])))

    @property
    def unfinished(self) -> int:
        """How many chunked messages lack their last chunk so far."""
        return len(self._chunks)

    @property
    def unfinished_names(self) -> set[ChunkedName]:
        """Which these are."""
        return set(self._chunks)

    def chunks_of(self, name: ChunkedName) -> Chunks | None:
        """Return the chunks of a message that lacks others."""
        return self._chunks.get(name)

    def has_begun(self, name: ChunkedName) -> bool:
        """Return whether the first chunk of a message was met; only where `earlier` is given."""
        return self._begun.get(name, False)

    def has_met(self, name: ChunkedName) -> bool:
        """Return whether any chunk of a message was met; only where `earlier` is given."""
        return name in self._begun

    def _look_back(self, name: ChunkedName, number: int) -> None:
        """Take over the chunks of a message that stand before what is delivered here."""
        if self.earlier is None:
            return
        is_first = name not in self._begun
        self._begun[name] = self.has_begun(name) or number == 0  # a chunk may come again
        chunks = self.earlier(name) if number and is_first else None
        if chunks is not None:
            self._chunks[name] = chunks

    def _is_kept(self, entries: Entries, i: int) -> bool:
        row = entries.heads[i]
        if row[e.MARKER]:
            if row[e.MARKER] not in _MARKERS:
                self._report(entries, i, f"marker {row[e.MARKER]} is of no known kind")
            return False
        if row[e.ENCRYPTED] and self.decryption is None:
            keys = wrapped_keys(_metadata(entries.data, row))
            names = ", ".join(repr(key.name) for key in keys)
            self._report(
                entries, i, f"it is encrypted with key {names}: archive.open(keys=...) decrypts"
            )
            return False
        if row[e.TXN_MOST] == e.NONE:
            return True
        ends = self.transactions(entries.ledger.topic)
        committed = ends.get((int(row[e.TXN_MOST]), int(row[e.TXN_LEAST])))
        if committed is None:
            self._report_unread(ends)
            self.undecided.append(f"{entries.ledger.id}:{row[e.ENTRY]}")
        return committed is True

    def _report_unread(self, ends: Ends) -> None:
        """Report what may hold the end of a transaction, each once."""
        for error in ends.unread:
            if str(error) not in map(str, self.damage.errors):
                self.damage.report(error)

    def _report(self, entries: Entries, i: int, text: str) -> None:
        self.damage.report(
            ArchiveError(
                f"entry {entries.heads[i, e.ENTRY]} of ledger {entries.ledger.id}: {text}",
                where=entries.where(i),
            )
        )

    def _decrypt(self, entries: Entries) -> Entries:
        encrypted = np.flatnonzero(entries.heads[:, e.ENCRYPTED] > 0)
        if self.decryption is None or not len(encrypted):
            return entries
        payloads: dict[int, bytes] = {}
        for i in encrypted:
            row = entries.heads[i]
            payload = entries.data[row[e.DATA] : row[e.DATA_END]].tobytes()
            try:
                clear = self.decryption.decrypt(_metadata(entries.data, row), payload)
            except ArchiveError as err:
                self._report(entries, int(i), err.message)
            else:
                payloads[int(i)] = clear
        lost = [i for i in encrypted if i not in payloads]
        entries = _with_payloads(entries, payloads)
        return replace(entries, heads=np.delete(entries.heads, lost, axis=0))

    def _join(self, entries: Entries) -> Entries:
        chunks = np.flatnonzero(entries.heads[:, e.CHUNKS] > 1)
        whole = {int(i): self._chunk(entries, int(i)) for i in chunks}
        joined = {i: payload for i, payload in whole.items() if payload is not None}
        entries = _with_payloads(entries, joined)
        rest = [i for i in whole if i not in joined]
        return replace(entries, heads=np.delete(entries.heads, rest, axis=0))

    def _chunk(self, entries: Entries, i: int) -> bytes | None:
        """Take one chunk; return the whole payload if it was the last of its message."""
        row = entries.heads[i]
        uuid = entries.data[row[e.UUID] : row[e.UUID] + max(row[e.UUID_SIZE], 0)].tobytes()
        name = entries.ledger.topic, uuid
        number = int(row[e.CHUNK])
        self.has_chunks = True
        self._look_back(name, number)
        chunks = self._chunks.get(name)
        if number == 0:
            chunks = self._chunks[name] = Chunks(0, [])
        if chunks is None or number < chunks.next:
            return None  # its beginning is lost, or it was sent twice
        if number > chunks.next:
            del self._chunks[name]  # a consumer drops the message
            return None
        start, stop = int(row[e.DATA]), int(row[e.DATA_END])
        if entries.offset < 0 or stop > row[e.END]:  # decrypted: it is nowhere in the object
            chunks.places.append(entries.data[start:stop].tobytes())
        else:
            chunks.places.append(
                (entries.ledger.key, entries.offset + start, entries.offset + stop)
            )
        chunks.next += 1
        if chunks.next < row[e.CHUNKS]:
            return None
        del self._chunks[name]
        whole = b"".join(
            place if isinstance(place, bytes) else self.bucket.read(*place)
            for place in chunks.places
        )
        if row[e.CHUNK_BYTES] not in (e.NONE, len(whole)):
            text = (
                f"its {chunks.next} chunks have {len(whole)} bytes, expected {row[e.CHUNK_BYTES]}"
            )
            self._report(entries, i, text)
            return None
        return whole


def _metadata(data: Bytes, row: Ints) -> bytes:
    raw: bytes = data[row[e.METADATA] : row[e.PAYLOAD]].tobytes()
    return raw


def _with_payloads(entries: Entries, payloads: dict[int, bytes]) -> Entries:
    """Return entries with other payloads for some rows, put behind the data."""
    if not payloads:
        return entries
    rows = entries.heads.copy()
    position = len(entries.data)
    for i, payload in payloads.items():
        rows[i, e.DATA], rows[i, e.DATA_END] = position, position + len(payload)
        rows[i, e.ENCRYPTED] = 0
        position += len(payload)
    added = np.frombuffer(b"".join(payloads.values()), np.uint8)
    return replace(entries, data=np.concatenate([entries.data, added]), heads=rows)


def ends_of_transactions(bucket: Bucket, ledgers: list[Ledger]) -> KnownEnds:
    """Return for every transaction with an end in ledgers whether it was committed."""
    ends, damage = {}, Damage(skip=True)
    for entries in read_entries(bucket, ledgers, verify=False, damage=damage):
        rows = entries.heads
        for row in rows[np.isin(rows[:, e.MARKER], (COMMIT, ABORT))]:
            ends[int(row[e.TXN_MOST]), int(row[e.TXN_LEAST])] = bool(row[e.MARKER] == COMMIT)
    return KnownEnds(ends, damage.errors)


def of_topic(ledgers: list[Ledger], topic: str) -> list[Ledger]:
    """Return the ledgers of one topic, partition included."""
    return [ledger for ledger in ledgers if ledger.topic == topic]
