"""Read many small things of a bucket at once, and keep them: what opening an archive is made of.

An object that a listing names with the same key, etag, size and time of writing is not read again.
Kept are bytes as they were read, never what was made of them, so whoever reads them finds what it
would find in the bucket. Objects without an etag of the store's own are never kept: those of a
folder, which a change may leave with size and time as they were, and which are as quick to read.

One file for each bucket (and endpoint) below `workbench.endpoints.home()`, open to its owner alone,
written whole or not at all: processes share it, the last one's stays. It is an Arrow stream behind
a digest; a file with another digest or version counts as none, and may be deleted at any time.

    offset  bytes
    0       b"workbench small reads 1\\n"
    24      BLAKE2b of all that follows, 32 bytes
    56      Arrow stream, zstd: name (utf8), content (binary)

In it are names and indexes of ledgers, so names of topics; no credentials.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow_hotfix  # noqa: F401 - a file could name code to run (CVE-2023-47248)

from workbench import files
from workbench.archive.bucket import Bucket
from workbench.archive.storage.listing import Item
from workbench.archive.storage.ordered import in_order
from workbench.arrays import Ints
from workbench.endpoints import home
from workbench.errors import ArchiveError, StorageError

Read = Callable[[Item], bytes]

_HEAD = b"workbench small reads 1\n"
_DIGEST_BYTES = 32
_TOPIC = "managedledgername"  # of the offloader's user metadata
_WORKERS = 32  # requests in flight
_AHEAD = 8 * _WORKERS  # so that a slow one holds up no others
_MOST_BYTES = 64 << 10  # of one content; more is not small
_ALL_BYTES = 512 << 20  # of all contents; a million ledgers have 200 MB
_WHOLE_BYTES = 256 << 20  # of an object that is read whole: the index of 13 million blocks
_AT_ONCE = 20_000  # reads between two writes: of a first opening that is killed they are not lost
_SCHEMA = pa.schema([("name", pa.string()), ("content", pa.binary())])
_STALE = 5  # one in so many kept may be of objects that are gone


class SmallReads:
    """Small reads of one bucket, each kept for the next process that opens it.

    Attributes
    ----------
    bucket
        Where the objects lie.
    items
        All of them, as listed when this was made.
    """

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.items = bucket.list()
        self._path = _path(bucket)
        self._kept = _load(self._path) if any(self.items.has_etag) else _SCHEMA.empty_table()
        self._is_used = np.zeros(len(self._kept), bool)
        self._new: dict[str, bytes] = {}
        self._bytes = pc.sum(pc.binary_length(self._kept["content"])).as_py() or 0
        self._unwritten = 0

    def contents(
        self, items: Sequence[Item], part: str, read: Read
    ) -> Iterator[bytes | ArchiveError]:
        """Yield read(item) of each, or its error; in order, many at a time.

        Parameters
        ----------
        part
            What `read` gives of an object: one word for one way of reading.
        """
        names = [_name(item, part) for item in items]
        places = self._places(names)
        kept = [
            self._new.get(name) if place < 0 else self._kept["content"][place].as_py()
            for name, place in zip(names, places.tolist(), strict=True)
        ]
        missing = [item for item, content in zip(items, kept, strict=True) if content is None]
        fetched = in_order(partial(_try, read), missing, workers=_WORKERS, ahead=_AHEAD)
        self.bucket.traffic.add(kept=len(items) - len(missing))
        for name, content in zip(names, kept, strict=True):
            if content is None:
                answer = next(fetched)
                self._keep(name, answer)
                yield answer
            else:
                yield content

    def joined(self, places: Sequence[int]) -> tuple[pa.BinaryArray, dict[int, ArchiveError]]:
        """Return all bytes of the objects at some places, as one array, and the errors by row.

        As `whole` does it, without an object of Python for each of what is kept.
        """
        items = self.items
        columns = (items.has_etag, items.sizes, items.written_ms, items.etags, items.keys)
        names = [
            f"whole {size} {written_ms} {etag} {key}" if has_etag else ""
            for has_etag, size, written_ms, etag, key in zip(
                *(list(map(column.__getitem__, places)) for column in columns), strict=True
            )
        ]
        rows = self._places(names)
        missing = np.flatnonzero(rows < 0).tolist()
        self.bucket.traffic.add(kept=len(rows) - len(missing))
        answers = list(self.whole(items.items(places[row] for row in missing)))
        errors = {
            row: answer
            for row, answer in zip(missing, answers, strict=True)
            if isinstance(answer, ArchiveError)
        }
        fresh = [b"" if isinstance(answer, ArchiveError) else answer for answer in answers]
        rows[missing] = len(self._kept) + np.arange(len(missing))
        parts = [*self._kept["content"].chunks, pa.array(fresh, pa.binary())]
        return pa.concat_arrays(parts).take(pa.array(rows)), errors

    def _places(self, names: list[str]) -> Ints:
        """Return the place of each name among what is kept, noted as used; -1 where it is not."""
        kept = self._kept["name"].combine_chunks()
        rows = pc.index_in(pa.array(names, pa.string()), value_set=kept)
        places: Ints = rows.fill_null(-1).to_numpy().astype(np.int64)
        self._is_used[places[places >= 0]] = True
        return places

    def whole(self, items: Sequence[Item]) -> Iterator[bytes | ArchiveError]:
        """Yield all bytes of each object, or the error."""
        return self.contents(items, "whole", self._whole)

    def _whole(self, item: Item) -> bytes:
        if item.bytes > _WHOLE_BYTES:
            raise ArchiveError(
                f"the object has {item.bytes} bytes, expected at most {_WHOLE_BYTES}",
                where=item.key,
            )
        return self.bucket.read(item.key)

    def named_topic(self, item: Item) -> bytes:
        """Return the managed ledger's name in an object's user metadata; empty where there is none.

        Raises
        ------
        ArchiveError
            If the object cannot be asked.
        """
        return self.bucket.metadata(item.key).get(_TOPIC, "").encode()

    def _keep(self, name: str, content: bytes | ArchiveError) -> None:
        if not name or isinstance(content, ArchiveError) or len(content) > _MOST_BYTES:
            return
        if self._bytes + len(content) > _ALL_BYTES:
            return
        self._new[name] = content
        self._bytes += len(content)
        self._unwritten += 1
        if self._unwritten >= _AT_ONCE:
            self._write(self._kept)

    def close(self) -> None:
        """Keep what was read for the next process, and forget objects that are gone."""
        stale = len(self._kept) - int(self._is_used.sum())
        if stale * _STALE > len(self._kept) + len(self._new):
            self._write(self._kept.filter(pa.array(self._is_used)))
        elif self._unwritten:
            self._write(self._kept)
        self._kept, self._new = _SCHEMA.empty_table(), {}
        self._is_used = np.zeros(0, bool)

    def _write(self, kept: pa.Table) -> None:
        """Write what was kept before, and what is new."""
        self._unwritten = 0
        try:
            files.write_bytes(self._path, _packed(kept, self._new), mode=0o600)
        except OSError as err:  # a cache that cannot be written costs time, no more
            self.bucket.traffic.unkept = str(err)


def _try(read: Read, item: Item) -> bytes | ArchiveError:
    try:
        return read(item)
    except StorageError:  # says nothing of the object, and the next one would say the same
        raise
    except ArchiveError as err:
        return err


def _name(item: Item, part: str) -> str:
    """Return what a content is kept as; empty where it cannot be kept."""
    if not item.has_etag:
        return ""
    return f"{part} {item.bytes} {item.written_ms} {item.etag} {item.key}"


def _path(bucket: Bucket) -> Path:
    client = getattr(bucket.fs, "client_kwargs", None) or {}
    endpoint = getattr(bucket.fs, "endpoint_url", None) or client.get("endpoint_url") or ""
    where = f"{endpoint} {bucket.url}"
    return home() / "archive" / f"{hashlib.sha256(where.encode()).hexdigest()[:16]}.reads"


def _packed(kept: pa.Table, new: dict[str, bytes]) -> bytes:
    sink = pa.BufferOutputStream()
    columns = [list(new), list(new.values())]
    arrays = [pa.array(*each) for each in zip(columns, _SCHEMA.types, strict=True)]
    table = pa.concat_tables([kept, pa.table(arrays, schema=_SCHEMA)]).combine_chunks()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, _SCHEMA, options=options) as writer:
        writer.write_table(table)
    stream: bytes = sink.getvalue().to_pybytes()
    return _HEAD + _digest(stream) + stream


def _load(path: Path) -> pa.Table:
    try:
        raw = path.read_bytes()
    except OSError:
        return _SCHEMA.empty_table()
    head, digest = raw[: len(_HEAD)], raw[len(_HEAD) : len(_HEAD) + _DIGEST_BYTES]
    stream = memoryview(raw)[len(_HEAD) + _DIGEST_BYTES :]
    if head != _HEAD or digest != _digest(stream):
        return _SCHEMA.empty_table()
    return pa.ipc.open_stream(stream).read_all().combine_chunks()


def _digest(stream: bytes | memoryview) -> bytes:
    return hashlib.blake2b(stream, digest_size=_DIGEST_BYTES).digest()
