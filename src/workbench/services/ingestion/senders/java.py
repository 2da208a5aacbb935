"""Hand messages to the broker by its Java client, where there are many.

The client for Python takes some 20 us of processor time a message, whoever calls it; this one takes
a fraction. The broker sees no difference: payloads, keys, event times, schema, producer and
sequence ids are the same, so that either goes on where the other broke off.
"""

from __future__ import annotations

import contextlib
import json
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
import pyarrow as pa

from workbench.endpoints import endpoints
from workbench.errors import ServicesError
from workbench.services.artifacts import fetch
from workbench.services.compilation import jar
from workbench.services.ingestion.messages import Messages
from workbench.services.jdk import java

_SOURCES = Path(__file__).parents[2] / "java" / "ingestion"
_MEMORY = ("-Xms384m", "-Xmx384m", "-XX:MaxDirectMemorySize=256m", "-XX:+UseSerialGC")
_END_S = 60.0  # to be acknowledged, after what is to be sent has ended
_PLAIN = "pulsar://"  # of TLS, Java has trusted certificates of its own


class JavaWay(NamedTuple):
    """To which topic, how batches are made, and the producer's name; without one, any."""

    topic: str
    compression: str
    batch_messages: int
    name: str


class JavaSender:
    """A Java process with a producer that the broker has let in."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.taken = 0  # the last sequence id that was acknowledged
        self._process = process
        self._refusal = "its Java process has ended"
        self._answers = threading.Thread(target=self._listen, daemon=True)
        self._answers.start()

    def send(self, messages: Messages, before: int, progress: Callable[[int], object]) -> None:
        """Send the messages after so many; `progress` is called with what was acknowledged.

        Raises
        ------
        ServicesError
            If the broker did not take them all.
        """
        try:
            with contextlib.suppress(BrokenPipeError):  # what it said last says why
                for block, payloads in messages.blocks(before):
                    _write(self._process, *_framed(messages, block, payloads))
                    progress(self.taken)
                _write(self._process, struct.pack(">i", 0))
        finally:  # what it has read is sent, and told
            _stdin(self._process).close()
            self._answers.join(_END_S)
        progress(self.taken)
        if self._refusal:
            raise ServicesError(self._refusal)

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            word, _, rest = line.decode(errors="replace").strip().partition(" ")
            if word == "taken":
                self.taken = int(rest)
            elif word in ("done", "refused"):
                self._refusal = rest


@contextlib.contextmanager
def java_sender(way: JavaWay, messages: Messages) -> Iterator[JavaSender]:
    """Start a sender, and end its process at the end.

    Raises
    ------
    ServicesError
        If there is no Java or no jar of it, or the broker does not let it in.
    """
    with tempfile.TemporaryFile() as log, _started(log) as process:
        try:
            with contextlib.suppress(BrokenPipeError):
                _write(process, *_settings(way, messages))
            said = cast("IO[bytes]", process.stdout).readline().decode(errors="replace").strip()
            if said != "ready":
                log.seek(0)
                last = log.read().decode(errors="replace").strip().splitlines()[-1:]
                raise ServicesError(said.partition(" ")[2] or "".join(last) or "Java says nothing")
            yield JavaSender(process)
        finally:
            process.kill()


def _started(log: Any) -> subprocess.Popen[bytes]:
    if not endpoints().broker.startswith(_PLAIN):
        raise ServicesError(f"it has no certificates for an address that is not {_PLAIN}")
    libraries = fetch("client")
    ours = jar(_SOURCES, libraries)
    class_path = ":".join(map(str, [ours, *libraries]))
    return subprocess.Popen(
        [java(), *_MEMORY, "-cp", class_path, "SendReadings"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        bufsize=0,
        start_new_session=True,  # Ctrl-C is for us: what it has read is still to be told
    )


def _settings(way: JavaWay, messages: Messages) -> list[bytes]:
    """Return what comes first: the secret among it stands on no command line."""
    servers = endpoints()
    definition = json.dumps(messages.definition, indent=True)  # as the client for Python has it
    first = [servers.broker, servers.broker_token or "", messages.schema.upper(), definition]
    return [
        *map(_text, [*first, way.topic, way.compression.upper()]),
        struct.pack(">i", way.batch_messages),
        _text(way.name),
        struct.pack(">i", len(messages.sensors)),
        *map(_text, messages.sensors),
    ]


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">i", len(encoded)) + encoded


def _framed(messages: Messages, block: slice, payloads: pa.Array) -> list[Any]:
    """Return a block of rows: how many, the first's sequence id, its length, and its columns."""
    _, offsets, content = payloads.buffers()
    columns = [
        messages.times_ms[block].astype("<i8"),
        messages.sensor_of[block].astype("<i4"),
        np.frombuffer(offsets, "<i4", len(payloads) + 1),
        np.frombuffer(content, np.uint8),
    ]
    size = sum(column.nbytes for column in columns)
    return [struct.pack(">iqi", len(payloads), block.start + 1, size), *columns]


def _write(process: subprocess.Popen[bytes], *parts: Any) -> None:
    for part in parts:
        rest = memoryview(part).cast("B")
        while rest:  # a pipe takes some at a time
            rest = rest[_stdin(process).write(rest) :]


def _stdin(process: subprocess.Popen[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", process.stdin)
