"""Read ledgers that the `filesystem` offloader wrote: Hadoop MapFiles.

    {tenant}/{namespace}/persistent/{topic}/{ledger id}-{uuid}/data     and index, not needed here

`data` is a SequenceFile of (LongWritable entry id, BytesWritable entry): `SEQ`, version 6, two
class names, two flags, the codec's class name if compressed, int32 count of metadata pairs, a sync
marker of 16 bytes. Key -1 holds BookKeeper's metadata, then come entries 0, 1, ... Either

    int32 -1, sync marker, vint n, then four times vint size + zlib stream: key lengths (vints),
    keys, value lengths (vints), values                              block compression

or int32 record length, int32 key length, key, value                 none

Record compression and other codecs than zlib are refused by name. A vint is one byte from -112 to
127, else a first byte that says sign and width, and that many bytes, big-endian.

It stays because it is right, and because who runs Pulsar beside HDFS has nothing else: on 17 topics
(752,155 messages) that the offloader of Pulsar 4.0.8 wrote with the profile as shipped (block
compression), every row was the one that the Java client read; four of them are in the tests.

Source: apache/pulsar 4.0.8, FileSystemManagedLedgerOffloader; apache/hadoop 3.3 SequenceFile,
WritableUtils.readVLong.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from workbench.archive.bucket import Bucket
from workbench.archive.format.index import Index, parse_metadata, topic_name
from workbench.arrays import Bytes, Ints
from workbench.errors import ArchiveError

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
KEY = re.compile(rf"(?:.*/)?(?P<id>\d+)-{_UUID}/data")
_CODECS = ("DefaultCodec", "DeflateCodec")
_CHUNK = 1 << 20
_EXPANDS = 1032  # most bytes that a byte of zlib becomes
# Hadoop closes a block at 1 MB (io.seqfile.compress.blocksize), behind its last entry
_BLOCK_BYTES = 256 << 20


def topic_of(key: str) -> str | None:
    """Return the topic in whose folder a MapFile lies, or None where that is no topic's.

    Examples
    --------
    >>> topic_of("public/default/persistent/t/7-00000000-0000-4000-8000-000000000000/data")
    'persistent://public/default/t'
    """
    try:
        return topic_name("/".join(key.split("/")[-6:-2]).encode())
    except ArchiveError:
        return None


class _File:
    """The bytes of one object from the start on, read a MiB at a time."""

    def __init__(self, bucket: Bucket, key: str, size: int) -> None:
        self.bucket, self.key, self.size = bucket, key, size
        self.position = 0
        self._held = b""

    def take(self, count: int) -> bytes:
        """Return the next bytes; raise if the object ends before."""
        if count < 0 or count > self.size - self.position:
            raise ArchiveError(
                f"{count} bytes are claimed, {self.size - self.position} are left",
                where=f"{self.key} at byte {self.position}",
                hint="the object is truncated, or damaged",
            )
        while len(self._held) < count:
            start = self.position + len(self._held)
            more = self.bucket.read(self.key, start, min(start + max(_CHUNK, count), self.size))
            if not more:
                raise ArchiveError("the object ends early", where=f"{self.key} at byte {start}")
            self._held += more
        taken, self._held = self._held[:count], self._held[count:]
        self.position += count
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


def read_metadata(bucket: Bucket, key: str, size: int) -> bytes:
    """Return the record of key -1: what BookKeeper knew of the ledger.

    Raises
    ------
    ArchiveError
        If the object does not start as the offloader writes it.
    """
    ids, starts, ends, data = next(_blocks(bucket, key, size), (np.empty(0, np.int64),) * 4)
    if not len(ids) or ids[0] != -1:
        raise ArchiveError("the first record is not the ledger's metadata (key -1)", where=key)
    return data[starts[0] : ends[0]].tobytes()


def parse_record(metadata: bytes, *, key: str, size: int) -> Index:
    """Return what the record of key -1 says of the ledger in an object of `size` bytes.

    Raises
    ------
    ArchiveError
        If it is not the metadata of a closed ledger of a topic.
    """
    return Index(parse_metadata(metadata, where=key), size, ())


def read_rows(bucket: Bucket, key: str, size: int) -> Iterator[tuple[Bytes, Ints]]:
    """Yield (data, rows of entry id, start, end) of the entries, a block at a time.

    Raises
    ------
    ArchiveError
        If the object is damaged, or entry ids have a gap.
    """
    expected = -1
    for ids, starts, ends, data in _blocks(bucket, key, size):
        wrong = np.flatnonzero(ids != np.arange(expected, expected + len(ids)))
        if len(wrong):
            first = int(wrong[0])
            raise ArchiveError(
                f"entry {ids[first]} follows, expected {expected + first}", where=key
            )
        expected += len(ids)
        rows = np.stack([ids, starts, ends], axis=1)
        yield data, rows[ids >= 0].copy()


def _blocks(bucket: Bucket, key: str, size: int) -> Iterator[tuple[Ints, Ints, Ints, Bytes]]:
    file = _File(bucket, key, size)
    compressed, sync = _header(file)
    while file.position < size:
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
        raise ArchiveError(
            "the sync marker is another", where=f"{file.key} at byte {file.position - 16}"
        )


def _block(file: _File, sync: bytes) -> tuple[Ints, Ints, Ints, Bytes]:
    position = file.position
    if file.int32() != -1:
        raise ArchiveError(
            "a block starts without its sync marker", where=f"{file.key} at byte {position}"
        )
    _check_sync(file, sync)
    count = file.vint()
    _, keys, lengths, values = (_inflate(file) for _ in range(4))
    sizes = _vints(lengths, count, len(values))
    if sizes is None or len(keys) != 8 * count or sizes.sum() != len(values) or (sizes < 4).any():
        raise ArchiveError(
            f"a block of {count} records does not hold them", where=f"{file.key} at byte {position}"
        )
    ends = np.cumsum(sizes)
    starts = ends - sizes + 4  # behind the BytesWritable's own int32 length
    ids = np.frombuffer(keys, ">i8").astype(np.int64)
    return ids, starts, ends, np.frombuffer(values, np.uint8).copy()


def _inflate(file: _File) -> bytes:
    packed = file.take(file.vint())
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(packed, min(_EXPANDS * len(packed) + 64, _BLOCK_BYTES))
    except zlib.error as err:
        raise ArchiveError(
            f"a zlib stream is damaged: {err}", where=f"{file.key} at byte {file.position}"
        ) from err
    if not inflater.eof:
        is_long = len(raw) == _BLOCK_BYTES
        text = f"has more than {_BLOCK_BYTES} bytes" if is_long else "is cut short"
        raise ArchiveError(f"a zlib stream {text}", where=f"{file.key} at byte {file.position}")
    return raw


def _vints(raw: bytes, count: int, most: int) -> Ints | None:
    """Return `count` lengths of at most `most`, or None where the bytes hold others."""
    if not 0 <= count <= len(raw):
        return None
    sizes, position = np.empty(count, np.int64), 0
    for i in range(count):
        first = raw[position] if position < len(raw) else 0
        width = 256 - first - 112 if 136 <= first < 144 else 0
        if position >= len(raw) or 128 <= first < 136:
            return None
        size = int.from_bytes(raw[position + 1 : position + 1 + width], "big") if width else first
        if size > most:
            return None
        sizes[i] = size
        position += 1 + width
    return sizes if position == len(raw) else None


def _record(file: _File, length: int) -> tuple[Ints, Ints, Ints, Bytes]:
    if file.int32() != 8 or length < 12:
        raise ArchiveError(
            "a record's key is no entry id", where=f"{file.key} at byte {file.position - 4}"
        )
    number = np.frombuffer(file.take(8), ">i8").astype(np.int64)
    data = np.frombuffer(file.take(length - 8), np.uint8).copy()
    return number, np.array([4]), np.array([length - 8]), data
