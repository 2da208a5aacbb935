"""The process that builds: entries come in by shared memory, record batches leave in files.

It builds what is without fault, and says so of the rest: damage, a value that does not fit its
schema, an impossible time and whatever warns are for the reader to meet, as if it were alone.

It ends when a socket to the reader does, however that came about, and after five idle minutes.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import mmap
import os
import select
import socket
import struct
import warnings
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from workbench.archive import messages as msg
from workbench.archive.format import entries as e
from workbench.archive.format.index import Index, Metadata
from workbench.archive.ledgers import Damage, Entries, Messages, read_messages
from workbench.archive.processes.recipe import Recipe, parse
from workbench.archive.statistics import Bounds, bounds_of
from workbench.archive.storage.ledger import Ledger
from workbench.arrays import Bytes
from workbench.errors import ArchiveError

IDLE_S = 300.0
READY = b"\n"
REQUEST = struct.Struct("<5q")  # bytes of recipe and ledger, offset, bytes of data, entries
ANSWER = struct.Struct("<2q4q")  # bytes of the stream (0: not built), how many bounds; these
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # of mallopt(3)


def serve(slot_bytes: int, *fds: int) -> None:
    """Answer requests on some sockets until one of them is closed.

    Parameters
    ----------
    slot_bytes
        How large the slots are.
    fds
        In turn a socket, and the memory into which entries are put for the requests on it.
    """
    _keep_pages()
    warnings.simplefilter("error")
    readers = {fd: socket.socket(fileno=fd) for fd in fds[::2]}
    slots = {
        fd: np.frombuffer(mmap.mmap(slot, slot_bytes), np.uint8)
        for fd, slot in zip(fds[::2], fds[1::2], strict=True)
    }
    poll = select.poll()
    for fd in readers:
        poll.register(fd, select.POLLIN)
    with contextlib.suppress(OSError):
        readers[fds[0]].sendall(READY)
        while ready := poll.poll(IDLE_S * 1000):
            for fd, _ in ready:
                head = _receive(readers[fd], REQUEST.size)
                if not head:
                    return
                _answer(readers[fd], slots[fd], *REQUEST.unpack(head))


def _keep_pages() -> None:
    """Let malloc keep what is freed: fresh pages cost more than what is built in them."""
    with contextlib.suppress(OSError, AttributeError):
        malloc = ctypes.CDLL(None)
        malloc.mallopt(_MMAP_THRESHOLD, 32 << 20)  # the most that there is
        malloc.mallopt(_TRIM_THRESHOLD, 256 << 20)


def _receive(reader: socket.socket, count: int) -> bytes:
    """Return so many bytes, or none where the reader is gone."""
    parts = []
    while count:
        part = reader.recv(count)
        if not part:
            return b""
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _answer(
    reader: socket.socket, slot: Bytes, recipe: int, about: int, offset: int, size: int, rows: int
) -> None:
    text = _receive(reader, recipe + about)
    start = aligned(size)
    heads = slot[start : start + rows * e.COLUMNS * 8].view(np.int64).reshape(rows, e.COLUMNS)
    ledger = _ledger(*json.loads(text[recipe:]))
    try:
        batch, bounds = _built(text[:recipe], Entries(ledger, offset, slot[:size], heads))
        with _written(batch) as (file, stream_bytes):
            answer = ANSWER.pack(stream_bytes, len(bounds), *bounds, *[0] * (4 - len(bounds)))
            socket.send_fds(reader, [answer], [file])
    except (OSError, MemoryError):
        raise OSError("the reader is gone, or there is no memory left") from None
    except Exception:  # of any kind: the reader meets it again
        reader.sendall(ANSWER.pack(*[0] * 6))


def aligned(size: int) -> int:
    """Return where the heads of entries lie that have so many bytes: behind these."""
    return -(-size // 64) * 64


def _ledger(number: int, key: str, topic: str) -> Ledger:
    """Return what messages are told to be of: of its objects nothing is known here."""
    return Ledger(number, key, "", "", 0, Index(Metadata(topic, 0, 0, 0), 0, ()))


def _built(text: bytes, entries: Entries) -> tuple[pa.RecordBatch, Bounds]:
    recipe, build = _opened(text)
    messages = read_messages(entries, Damage())
    if len(msg.impossible(messages)):
        raise ArchiveError("an event time cannot be")
    return build(recipe.selection.within(messages)), bounds_of(messages)


@functools.lru_cache(maxsize=4)
def _opened(text: bytes) -> tuple[Recipe, Callable[[Messages], pa.RecordBatch]]:
    recipe = parse(text)
    return recipe, recipe.builder()


@contextlib.contextmanager
def _written(batch: pa.RecordBatch):  # type: ignore[no-untyped-def]
    """Give a file without a name that holds a batch as an Arrow stream, and its size."""
    file = os.memfd_create("workbench-batch", os.MFD_CLOEXEC)
    try:
        # written, and not mapped: the kernel fills whole pages without a fault for each
        with pa.OSFile(f"/proc/self/fd/{file}", "wb") as sink:
            with pa.ipc.new_stream(sink, batch.schema) as stream:
                stream.write_batch(batch)
            size = sink.tell()
        yield file, size
    finally:
        os.close(file)
