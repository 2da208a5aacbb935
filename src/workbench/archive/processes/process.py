"""One process that builds, as who reads sees it: two lanes, so that the next work lies there."""

from __future__ import annotations

import json
import mmap
import os
import select
import socket
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow_hotfix  # noqa: F401 - a file could name code to run (CVE-2023-47248)

from workbench.archive.ledgers import Entries
from workbench.archive.processes.builder import ANSWER, READY, REQUEST, aligned
from workbench.archive.statistics import Bounds

SLOT_BYTES = 16 << 20  # of which as much is taken as was ever used; more is built by the reader
LANES = 2
_MOST_MAPPED = 10_000  # files: a process may have 65,530 mappings, and more come as copies
_START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from workbench.archive.processes.builder import serve
serve(*map(int, sys.argv[2:]))
"""
_mapped: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


def can_start() -> bool:
    """Return whether this system and this interpreter can start such processes."""
    has_files = hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir()
    return has_files and "python" in Path(sys.executable or "").name


class Lane:
    """A way to a process: a socket, and memory for entries; one caller at a time.

    Attributes
    ----------
    process
        To which it leads.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self._socket, self._there = socket.socketpair()
        self._file = os.memfd_create("workbench-entries", os.MFD_CLOEXEC)
        os.ftruncate(self._file, SLOT_BYTES)
        self._slot = np.frombuffer(mmap.mmap(self._file, SLOT_BYTES), np.uint8)

    def fds(self) -> tuple[int, int]:
        """Return what the process is given, until `give`."""
        return self._there.fileno(), self._file

    def give(self) -> None:
        """Leave the other end to the process alone."""
        self._there.close()
        os.close(self._file)

    def has_said(self, timeout_s: float) -> bool:
        """Return whether the process has said anything, or has ended, within a time."""
        poll = select.poll()  # select takes no descriptor from 1024 on
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def receive(self, count: int) -> bytes:
        """Return so many bytes that it has said, or fewer, none where it has ended."""
        return self._socket.recv(count)

    def build(self, recipe: bytes, entries: Entries) -> tuple[pa.RecordBatch, Bounds] | None:
        """Return what the recipe makes of entries, and the bounds of their times.

        None where something is to be said of them, or they are too large.

        Raises
        ------
        OSError
            If the process has ended.
        """
        heads = np.ascontiguousarray(entries.heads).reshape(-1).view(np.uint8)
        size, start = len(entries.data), aligned(len(entries.data))
        if start + len(heads) > SLOT_BYTES:
            return None
        self._slot[:size] = entries.data
        self._slot[start : start + len(heads)] = heads
        ledger = entries.ledger
        about = json.dumps([ledger.id, ledger.key, ledger.topic]).encode()
        rows = len(entries.heads)
        head = REQUEST.pack(len(recipe), len(about), entries.offset, size, rows)
        self._socket.sendall(head + recipe + about)
        return self._answer()

    def _answer(self) -> tuple[pa.RecordBatch, Bounds] | None:
        answer, fds, _, _ = socket.recv_fds(self._socket, ANSWER.size, 1)
        try:
            if len(answer) < ANSWER.size:
                raise ConnectionError("the process has ended")
            stream_bytes, count, *bounds = ANSWER.unpack(answer)
            if not stream_bytes:
                return None
            return pa.ipc.open_stream(_content(fds[0], stream_bytes)).read_next_batch(), bounds[
                :count
            ]
        finally:
            for fd in fds:
                os.close(fd)

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


class Process:
    """A process that builds record batches of entries.

    Attributes
    ----------
    lanes
        Two: while it builds what came by one, the next comes by the other.
    pid
        Its number.
    """

    def __init__(self) -> None:
        self.lanes = [Lane(self) for _ in range(LANES)]
        self._is_ready = False
        fds = [fd for lane in self.lanes for fd in lane.fds()]
        try:
            self._process = _started(fds)
        finally:
            for lane in self.lanes:
                lane.give()
        self.pid = self._process.pid

    def is_ready(self) -> bool:
        """Return whether it has started.

        Raises
        ------
        OSError
            If it has ended instead.
        """
        if not self._is_ready and self.lanes[0].has_said(0):
            if self.lanes[0].receive(len(READY)) != READY:
                raise ConnectionError("the process has ended before it began")
            self._is_ready = True
        return self._is_ready

    def end(self) -> None:
        """End it; who waits for an answer has an error."""
        self._process.kill()
        self._process.wait()
        for lane in self.lanes:
            lane.close()

    def forget(self) -> None:
        """Leave it to another process, of which this one is a fork."""
        for lane in self.lanes:
            lane.close()
        self._process.returncode = 0


def _started(fds: list[int]) -> subprocess.Popen[bytes]:
    told = [json.dumps(sys.path), str(SLOT_BYTES), *map(str, fds)]
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _START, *told],
        pass_fds=fds,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,  # Ctrl-C is for who reads
    )


def _content(fd: int, size: int) -> pa.Buffer:
    """Return what is in a file: its own pages, for as long as anything is made of them."""
    if len(_mapped) >= _MOST_MAPPED:
        return pa.py_buffer(os.pread(fd, size, 0))
    mapping = mmap.mmap(fd, size, prot=mmap.PROT_READ)
    _mapped.add(mapping)
    return pa.py_buffer(mapping)
