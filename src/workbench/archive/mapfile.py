"""Read ledgers that the `filesystem` offloader wrote: Hadoop MapFiles.

    {tenant}/{namespace}/persistent/{topic}/{ledger id}-{uuid}/data     and index, not needed here

`data` is a SequenceFile of (LongWritable entry id, BytesWritable entry): `SEQ`, version 6, two
class names, two flags, the codec's class name if compressed, int32 count of metadata pairs, a sync
marker of 16 bytes. Key -1 holds BookKeeper's metadata, then come entries 0, 1, ... Either

    int32 -1, sync marker, vint n, then four times vint size + zlib stream: key lengths (vints),
    keys, value lengths (vints), values                              block compression

or int32 record length, int32 key length, key, value                 none

Record compression and other codecs than zlib are refused by name. Not tried on files of a real
broker: the layout is from the source and from `facts`; the tests write it themselves.

Source: apache/pulsar 4.0.8, FileSystemManagedLedgerOffloader; apache/hadoop 3.3 SequenceFile,
WritableUtils.readVLong.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from workbench.archive.columns import Bytes, Ints
from workbench.archive.index import Index, parse_metadata
from workbench.archive.store import Store
from workbench.errors import ArchiveError

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
KEY = re.compile(rf"(?:.*/)?(\d+)-{_UUID}/data")
_CODECS = ("DefaultCodec", "DeflateCodec")
_CHUNK = 1 << 20
_EXPANDS = 1032  # most bytes that a byte of zlib becomes


class _File:
    """The bytes of one object from the start on, read a MiB at a time."""

    def __init__(self, store: Store, key: str, size: int) -> None:
        self.store, self.key, self.size = store, key, size
        self.at = 0
        self._held = b""

    def take(self, count: int) -> bytes:
        """Return the next bytes; raise if the object ends before."""
        if count < 0 or count > self.size - self.at:
            raise ArchiveError(
                f"{count} bytes are claimed, {self.size - self.at} are left",
                where=f"{self.key} at byte {self.at}",
                hint="the object is truncated, or damaged",
            )
        while len(self._held) < count:
            start = self.at + len(self._held)
            more = self.store.read(self.key, start, min(start + max(_CHUNK, count), self.size))
            if not more:
                raise ArchiveError("the object ends early", where=f"{self.key} at byte {start}")
            self._held += more
        taken, self._held = self._held[:count], self._held[count:]
        self.at += count
        return taken

    def vint(self) -> int:
        first = struct.unpack("b", self.take(1))[0]
        if first >= -112:
            return int(first)
        negative = first < -120
        value = int.from_bytes(self.take(-120 - first if negative else -112 - first), "big")
        return ~value if negative else value

    def int32(self) -> int:
        return int(struct.unpack(">i", self.take(4))[0])

    def text(self) -> str:
        return self.take(self.vint()).decode(errors="replace")


def read_index(store: Store, key: str, size: int) -> Index:
    """Return what the record of key -1 says of the ledger.

    Raises
    ------
    ArchiveError
        If the object does not start as the offloader writes it.
    """
    ids, starts, ends, data = next(_blocks(store, key, size), (np.empty(0, np.int64),) * 4)
    if not len(ids) or ids[0] != -1:
        raise ArchiveError("the first record is not the ledger's metadata (key -1)", where=key)
    metadata = parse_metadata(data[starts[0] : ends[0]].tobytes(), where=key)
    return Index(metadata, size, ())


def read_rows(store: Store, key: str, size: int) -> Iterator[tuple[Bytes, Ints]]:
    """Yield (data, rows of entry id, start, end) of the entries, a block at a time.

    Raises
    ------
    ArchiveError
        If the object is damaged, or entry ids have a gap.
    """
    expected = -1
    for ids, starts, ends, data in _blocks(store, key, size):
        wrong = np.flatnonzero(ids != np.arange(expected, expected + len(ids)))
        if len(wrong):
            first = int(wrong[0])
            raise ArchiveError(
                f"entry {ids[first]} follows, expected {expected + first}", where=key
            )
        expected += len(ids)
        rows = np.stack([ids, starts, ends], axis=1)
        yield data, rows[ids >= 0].copy()


def _blocks(store: Store, key: str, size: int) -> Iterator[tuple[Ints, Ints, Ints, Bytes]]:
    file = _File(store, key, size)
    compressed, sync = _header(file)
    while file.at < size:
        if compressed:
            yield _block(file, sync)
        else:
            length = file.int32()
            if length == -1:
                _check_sync(file, sync)
                continue
            yield _record(file, length)


def _header(file: _File) -> tuple[bool, bytes]:
    if file.take(4) != b"SEQ\x06":
        raise ArchiveError("not a SequenceFile of version 6", where=f"{file.key} at byte 0")
    names = [file.text().rpartition(".")[2] for _ in range(2)]
    if names != ["LongWritable", "BytesWritable"]:
        raise ArchiveError(f"a SequenceFile of {names}, not of ledger entries", where=file.key)
    compressed, block = file.take(1) == b"\1", file.take(1) == b"\1"
    codec = file.text().rpartition(".")[2] if compressed else ""
    if compressed and (not block or codec not in _CODECS):
        kind = "block" if block else "record"
        raise ArchiveError(
            f"{kind} compression by {codec} is not read, only block compression by DefaultCodec",
            where=file.key,
        )
    for _ in range(2 * file.int32()):
        file.text()
    return compressed, file.take(16)


def _check_sync(file: _File, sync: bytes) -> None:
    if file.take(16) != sync:
        raise ArchiveError("the sync marker is another", where=f"{file.key} at byte {file.at - 16}")


def _block(file: _File, sync: bytes) -> tuple[Ints, Ints, Ints, Bytes]:
    at = file.at
    if file.int32() != -1:
        raise ArchiveError(
            "a block starts without its sync marker", where=f"{file.key} at byte {at}"
        )
    _check_sync(file, sync)
    count = file.vint()
    _, keys, lengths, values = (_inflate(file) for _ in range(4))
    sizes = _vints(lengths, count)
    if sizes is None or len(keys) != 8 * count or sizes.sum() != len(values) or (sizes < 4).any():
        raise ArchiveError(
            f"a block of {count} records does not hold them", where=f"{file.key} at byte {at}"
        )
    ends = np.cumsum(sizes)
    starts = ends - sizes + 4  # behind the BytesWritable's own int32 length
    ids = np.frombuffer(keys, ">i8").astype(np.int64)
    return ids, starts, ends, np.frombuffer(values, np.uint8).copy()


def _inflate(file: _File) -> bytes:
    packed = file.take(file.vint())
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(packed, _EXPANDS * len(packed) + 64)
    except zlib.error as err:
        raise ArchiveError(
            f"a zlib stream is damaged: {err}", where=f"{file.key} at byte {file.at}"
        ) from err
    if not inflater.eof:
        raise ArchiveError("a zlib stream is cut short", where=f"{file.key} at byte {file.at}")
    return raw


def _vints(raw: bytes, count: int) -> Ints | None:
    """Return `count` lengths, or None where the bytes hold others."""
    if not 0 <= count <= len(raw):
        return None
    sizes, at = np.empty(count, np.int64), 0
    for i in range(count):
        first = raw[at] if at < len(raw) else 0
        width = 256 - first - 112 if 136 <= first < 144 else 0
        if at >= len(raw) or 128 <= first < 136:
            return None
        sizes[i] = int.from_bytes(raw[at + 1 : at + 1 + width], "big") if width else first
        at += 1 + width
    return sizes if at == len(raw) else None


def _record(file: _File, length: int) -> tuple[Ints, Ints, Ints, Bytes]:
    if file.int32() != 8 or length < 12:
        raise ArchiveError(
            "a record's key is no entry id", where=f"{file.key} at byte {file.at - 4}"
        )
    number = np.frombuffer(file.take(8), ">i8").astype(np.int64)
    data = np.frombuffer(file.take(length - 8), np.uint8).copy()
    return number, np.array([4]), np.array([length - 8]), data
