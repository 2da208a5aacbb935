"""Read ledgers into messages: ranges in parallel, entries verified, order kept.

Memory is bounded by pieces of a few MiB, whatever the size of a block, a ledger or a topic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from workbench.archive.bucket import Bucket, Chunk
from workbench.archive.format import (
    blocks,
    codecs,
    mapfile,
    payloads,
    small_lz4,
)
from workbench.archive.format import entries as e
from workbench.archive.format.index import Block
from workbench.archive.storage.ledger import Ledger
from workbench.arrays import Bytes, Ints
from workbench.errors import ArchiveError, StorageError

PIECE_BYTES = 2 << 20  # of one range request
GROUP_BYTES = 2 << 20  # decompressed at a time, for each worker


@dataclass
class Damage:
    """What to do about damaged bytes: raise, or note and go on.

    Attributes
    ----------
    skip
        Go on after damage.
    errors
        Everything skipped so far.
    """

    skip: bool = False
    errors: list[ArchiveError] = field(default_factory=list)

    def report(self, error: ArchiveError) -> None:
        """Raise `error`, or keep it where damage is to be skipped; a store that is away is none."""
        if not self.skip or isinstance(error, StorageError):
            raise error
        self.errors.append(error)


@dataclass(frozen=True)
class Entries:
    """Whole entries of one ledger, in order.

    Attributes
    ----------
    ledger
        Whose entries they are.
    offset
        Position in the data object of data[0]; -1 where data stands nowhere in it as it is.
    data
        uint8: bytes of the object, and behind them decompressed payloads.
    heads
        int64, shape (n, entries.COLUMNS): what stands before each entry's payload.
    """

    ledger: Ledger
    offset: int
    data: Bytes
    heads: Ints

    def where(self, row: int) -> str:
        """Return the place of an entry, for an error."""
        if self.offset < 0:
            return self.ledger.key
        return f"{self.ledger.key} at byte {self.offset + int(self.heads[row, e.START])}"


@dataclass(frozen=True)
class Messages:
    """Messages of some entries, as columns of positions.

    Attributes
    ----------
    entries
        What they were read from.
    table
        int64, shape (payloads.ROWS, m).
    """

    entries: Entries
    table: Ints


def read_entries(
    bucket: Bucket, ledgers: Iterable[Ledger], *, verify: bool, damage: Damage
) -> Iterator[Entries]:
    """Yield the entries of `ledgers`, in order, a few MiB at a time.

    Parameters
    ----------
    verify
        Compare every entry's CRC32C.
    damage
        Whether to raise, or to note what is damaged and go on behind it.

    Raises
    ------
    ArchiveError
        If an object is missing, short, long or damaged anywhere.
    """
    whole = [ledger for ledger in ledgers if _is_whole(ledger, damage)]
    spans = ((x.key, *span) for x in whole for block in x.index.blocks for span in _spans(block))
    got = bucket.read_ahead(spans)
    for ledger in whole:
        total, errors_before = 0, len(damage.errors)
        if ledger.is_mapfile:
            for data, rows in _read_mapfile(bucket, ledger, damage):
                total += int((rows[:, 2] - rows[:, 1]).sum())
                yield from _heads(ledger, -1, data, rows, verify=verify, damage=damage)
        for block, stop in _blocks(ledger):
            for at, data, rows in _scan(ledger, block, stop, got, damage):
                total += int((rows[:, 2] - rows[:, 1]).sum())
                yield from _heads(ledger, at, data, rows, verify=verify, damage=damage)
        if total != ledger.index.metadata.entry_bytes and len(damage.errors) == errors_before:
            damage.report(
                ArchiveError(
                    f"the entries have {total} bytes, expected {ledger.index.metadata.entry_bytes}",
                    where=ledger.key,
                )
            )


def _read_mapfile(bucket: Bucket, ledger: Ledger, damage: Damage) -> Iterator[tuple[Bytes, Ints]]:
    last = -1
    try:
        for data, rows in mapfile.read_rows(bucket, ledger.key, ledger.bytes):
            if len(rows):
                last = int(rows[-1, 0])
                yield data, rows
        if last + 1 != ledger.entries:
            raise ArchiveError(
                f"the file ends with entry {last}, expected {ledger.entries - 1}", where=ledger.key
            )
    except ArchiveError as err:
        damage.report(err)


def _is_whole(ledger: Ledger, damage: Damage) -> bool:
    try:
        ledger.check_size()
    except ArchiveError as err:
        damage.report(err)
        return False
    return True


def _spans(block: Block) -> list[tuple[int, int]]:
    end = block.offset + block.bytes
    starts = range(block.offset, end, PIECE_BYTES)
    return [(start, min(start + PIECE_BYTES, end)) for start in starts]


def _blocks(ledger: Ledger) -> Iterator[tuple[Block, int]]:
    """Yield each block and the id of the first entry that is not in it."""
    blocks = ledger.index.blocks
    if not blocks:
        return iter(())
    stops = [block.first_entry for block in blocks[1:]] + [ledger.entries]
    return zip(blocks, stops, strict=True)


def _scan(
    ledger: Ledger,
    block: Block,
    stop: int,
    got: Iterator[Chunk | ArchiveError],
    damage: Damage,
) -> Iterator[tuple[int, Bytes, Ints]]:
    """Yield (position of the data, data, rows of whole entries) of one block."""
    spans = _spans(block)
    taken = 0
    scanner = _Scanner(ledger.key, block)
    try:
        for span in spans:
            chunk = next(got)
            taken += 1
            yield scanner.take(span, chunk)
        scanner.finish(stop)
    except ArchiveError as err:
        damage.report(err)
        for _ in spans[taken:]:
            next(got)


class _Scanner:
    """Cuts the ranges of one block into entries: what is left over comes before the next."""

    def __init__(self, key: str, block: Block) -> None:
        self.key = key
        self.block = block
        self.carry: Bytes = np.empty(0, np.uint8)
        self.expected = block.first_entry
        self.padding = -1  # where it starts

    def take(self, span: tuple[int, int], chunk: Chunk | ArchiveError) -> tuple[int, Bytes, Ints]:
        if isinstance(chunk, ArchiveError):
            raise chunk
        start, stop = span
        if len(chunk) != stop - start:
            raise ArchiveError(
                f"{len(chunk)} bytes could be read, expected {stop - start}",
                where=f"{self.key} at byte {start}",
            )
        block = self.block
        data = np.frombuffer(chunk, np.uint8)
        if start == block.offset:
            blocks.check_header(
                chunk[: blocks.HEADER_BYTES],
                key=self.key,
                offset=start,
                block_bytes=block.bytes,
                first_entry=block.first_entry,
            )
            data, start = data[blocks.HEADER_BYTES :], start + blocks.HEADER_BYTES
        at = start - len(self.carry)
        data = np.concatenate([self.carry, data])
        return at, data, self._cut(at, data, last=stop == block.offset + block.bytes)

    def _cut(self, offset: int, data: Bytes, *, last: bool) -> Ints:
        rows = np.empty((len(data) // blocks.ENTRY_BYTES + 1, 3), np.int64)
        count, position, what = 0, 0, blocks.PADDED
        if self.padding < 0:
            what, count, position = blocks.scan(data, 0, len(data), last, self.expected, rows)
        self.expected += count
        if what in (blocks.GAP, blocks.TOO_LONG):
            raise ArchiveError(
                _wrong_entry(what, data, position, self.expected),
                where=f"{self.key} at byte {offset + position}",
            )
        if what != blocks.MORE:
            self.padding = offset + position if self.padding < 0 else self.padding
            blocks.check_padding(
                data[position:],
                key=self.key,
                offset=offset + position,
                phase=offset + position - self.padding,
            )
            position = len(data)
        self.carry = data[position:]
        return rows[:count]

    def finish(self, stop: int) -> None:
        if self.expected != stop:
            raise ArchiveError(
                f"the block ends with entry {self.expected - 1}, expected {stop - 1}",
                where=f"{self.key} at byte {self.block.offset}",
                hint="entries are lost: an entry longer than a block, or a damaged offload",
            )


def _wrong_entry(what: int, data: Bytes, position: int, expected: int) -> str:
    size = int.from_bytes(data[position : position + 4].tobytes(), "big")
    number = int.from_bytes(data[position + 4 : position + 12].tobytes(), "big", signed=True)
    if what == blocks.GAP:
        return f"entry {number} follows, expected {expected}"
    return (
        f"entry {number} claims {size} bytes, {len(data) - position - blocks.ENTRY_BYTES} "
        "are left in the block"
    )


def _heads(
    ledger: Ledger, offset: int, data: Bytes, rows: Ints, *, verify: bool, damage: Damage
) -> Iterator[Entries]:
    while len(rows):
        heads = np.empty((len(rows), e.COLUMNS), np.int64)
        what, row = e.read_entries(data, rows, verify, heads)
        if row:
            yield Entries(ledger, offset, data, heads[:row])
        if what == e.FINE:
            return
        text = e.WRONG.get(what) or _checksums(data, int(rows[row, 1]), int(rows[row, 2]))
        damage.report(
            ArchiveError(
                f"entry {rows[row, 0]} of ledger {ledger.id}: {text}",
                where=ledger.key if offset < 0 else f"{ledger.key} at byte {offset + rows[row, 1]}",
            )
        )
        rows = rows[row + 1 :]


def _checksums(data: Bytes, start: int, end: int) -> str:
    if data[start : start + 2].tobytes() == b"\x0e\x02":
        start += 6 + int.from_bytes(data[start + 2 : start + 6].tobytes(), "big")
    stored = int.from_bytes(data[start + 2 : start + 6].tobytes(), "big")
    return f"CRC32C is {e.crc32c(data, start + 6, end):08x}, expected {stored:08x}"


def groups(entries: Entries, most_bytes: int = GROUP_BYTES) -> Iterator[Entries]:
    """Yield the entries in groups that stay within so many bytes when decompressed."""
    rows = entries.heads
    weight = np.maximum(rows[:, e.RAW_SIZE], 0) + 104 * np.maximum(rows[:, e.BATCH], 1)
    share = (np.cumsum(weight) - weight) // most_bytes
    cuts = np.flatnonzero(np.diff(share)) + 1
    for part in np.split(rows, cuts):
        if len(part):
            yield _narrow(replace(entries, heads=part))


def _narrow(entries: Entries) -> Entries:
    """Return the entries with the bytes of their own alone: these are copied when decompressed."""
    rows = entries.heads
    start, end = int(rows[0, e.START]), int(rows[-1, e.END])
    if int(rows[:, e.DATA_END].max()) > end:  # chunks put together, behind the object's bytes
        return entries
    rows = rows.copy()
    rows[:, e.POSITIONS] -= start
    at = entries.offset + start if entries.offset >= 0 else -1
    return Entries(entries.ledger, at, entries.data[start:end], rows)


def read_messages(entries: Entries, damage: Damage) -> Messages:
    """Return the messages of entries, decompressed and taken out of their batches.

    Raises
    ------
    ArchiveError
        If a payload is damaged, of an unknown codec, or not as its metadata says.
    """
    entries = _decompress(entries, damage)
    while True:
        batched = np.maximum(entries.heads[:, e.BATCH], 0)
        held = entries.heads[:, e.DATA_END] - entries.heads[:, e.DATA]
        lying = np.flatnonzero(batched > held // 4)
        if len(lying):
            what, row = payloads.COUNT, int(lying[0])
        else:
            count = int(np.where(entries.heads[:, e.BATCH] < 0, 1, batched).sum())
            table = np.empty((payloads.ROWS, count), np.int64)
            what, row, count = payloads.split(entries.data, entries.heads, table)
            if what == payloads.FINE:
                return Messages(entries, table[:, :count])
        entries = _without(entries, row, payloads.WRONG[what], damage)


def _without(entries: Entries, row: int, text: str, damage: Damage) -> Entries:
    damage.report(
        ArchiveError(
            f"entry {entries.heads[row, e.ENTRY]} of ledger {entries.ledger.id}: {text}",
            where=entries.where(row),
        )
    )
    return replace(entries, heads=np.delete(entries.heads, row, axis=0))


def _decompress(entries: Entries, damage: Damage) -> Entries:
    rows = entries.heads.copy()
    packed = np.flatnonzero(rows[:, e.CODEC] != 0)
    if not len(packed):
        return entries
    bad = {
        int(packed[i]): text
        for i, text in codecs.wrong_sizes(
            rows[packed, e.CODEC],
            rows[packed, e.DATA_END] - rows[packed, e.DATA],
            rows[packed, e.RAW_SIZE],
        )
    }
    if bad:
        packed = np.setdiff1d(packed, list(bad))
    stops = len(entries.data) + np.cumsum(rows[packed, e.RAW_SIZE])
    data = np.empty(int(stops[-1]) if len(stops) else len(entries.data), np.uint8)
    data[: len(entries.data)] = entries.data
    starts = stops - rows[packed, e.RAW_SIZE]
    done = np.zeros(len(packed), np.bool_)
    small_lz4.unpack(data, rows, packed, starts, stops, done)
    view = data.data
    for i in np.flatnonzero(~done):
        row = rows[packed[i]]
        try:
            codecs.decompress(
                int(row[e.CODEC]), view[row[e.DATA] : row[e.DATA_END]], view[starts[i] : stops[i]]
            )
        except ArchiveError as err:
            bad[int(packed[i])] = err.message
    rows[packed, e.DATA], rows[packed, e.DATA_END] = starts, stops
    entries = replace(entries, data=data, heads=rows)
    for row in sorted(bad):
        _without(entries, row, bad[row], damage)
    return replace(entries, heads=np.delete(rows, sorted(bad), axis=0)) if bad else entries
