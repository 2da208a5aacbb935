"""A read-only S3 endpoint of one bucket that takes its time: for measurements, and nothing else.

    python benchmarks/stand_in_s3.py --delay-ms 10 (--folder PATH | --ledgers COUNT)

It answers ListObjectsV2, GET with ranges and HEAD to any client, whatever its signature, each
request after `--delay-ms`, and prints its address. s3proxy, which the tests use, lists a folder
anew for each page of 1,000 keys, and so has no answer of 400,000 within minutes; and it is no
faster than what reads from it.

`--folder` serves what is in it. `--ledgers` makes the bucket of a fleet in memory: so many ledgers
of 100 to a topic, four a day each, the indexes by the writer of the tests; the data objects of the
first topic alone are there, of others the listing has only key and size.

`GET /` gives the requests so far, by kind and by session token, as JSON.

Some stores differ: `--no-start-after` lists from the beginning all the same, `--any-case` orders
keys as if they had no capitals, `--refuse` answers 403 to clients whose User-Agent has this text.

A bad network: `--fault HOW` fails one place of each folder that is called by a number, an object at
a byte or a page of the listing, however it is asked for: of folder 7 the seventh that anybody asks
for, the first `--times`. HOW is `reset` (no answer), `cut` (half of it, then the connection is
reset), `hang` (no answer, for ever) or `stall` (half of it, then nothing). Requests that failed and
places are in the counts by folder, as `faults` and `places`.
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import contextlib
import functools
import json
import random
import socket
import struct
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 1000
MESSAGES = 1000  # in a ledger of the first topic
STEP_MS = 6 * 3_600_000
START_MS = 1_767_225_600_000  # 2026-01-01
TOPIC_LEDGERS = 100
READ_BYTES = 1 << 20
RECORD = {"type": "record", "name": "Reading"}
FIELDS = [{"name": "value", "type": "long"}]
_HANG_S = 86_400
NO_ETAG = ".untagged"  # keys that s3proxy gives no etag: files that were not put through it


Objects = dict[str, tuple[int, str]]  # size and etag by key


class Bucket:
    """Keys with size and etag, in order, and how bytes of them are read; listed when asked for."""

    def __init__(self, scan: Callable[[], Objects], read: Callable[[str, int, int], bytes]) -> None:
        self.scan = scan
        self.read = read
        self.order: Callable[[str], str] = str
        self.has_start_after = True
        self.objects: Objects = {}
        self.names: list[str] = []

    def page(self, asked: dict[str, list[str]]) -> bytes:
        """Return the answer to a ListObjectsV2."""
        prefix = asked.get("prefix", [""])[0]
        begin = asked.get("start-after", [""]) if self.has_start_after else [""]
        after = asked.get("continuation-token", begin)[0]
        if not after:
            self.objects = self.scan()
            self.names = sorted(self.objects, key=self.order)
        order = self.order
        start = bisect.bisect_right(self.names, order(after), key=order) if after else 0
        start = max(start, bisect.bisect_left(self.names, order(prefix), key=order))
        keys = [key for key in self.names[start : start + PAGE] if key.startswith(prefix)]
        stop = start + len(keys)
        more = stop < len(self.names) and self.names[stop].startswith(prefix)
        token = f"<NextContinuationToken>{escape(keys[-1])}</NextContinuationToken>" if more else ""
        rows = "".join(_row(key, *self.objects[key]) for key in keys)
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>b</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(keys)}</KeyCount>"
            f"<MaxKeys>{PAGE}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>{token}{rows}"
            "</ListBucketResult>"
        ).encode()

    def get(self, key: str, wanted: str) -> tuple[str, str, bytes]:
        """Return status, header lines and body of a GET; `wanted` is its Range, or empty."""
        if key not in self.objects:
            return "404 Not Found", "", b"<Error><Code>NoSuchKey</Code></Error>"
        size, etag = self.objects[key]
        head = f'ETag: "{etag}"\r\nLast-Modified: Mon, 01 Jun 2026 00:00:00 GMT\r\n'
        if not wanted:
            return "200 OK", head, self.read(key, 0, size)
        first, _, last = wanted.partition("=")[2].partition("-")
        start, stop = int(first or 0), min(size, int(last) + 1 if last else size)
        head += f"Content-Range: bytes {start}-{stop - 1}/{size}\r\n"
        return "206 Partial Content", head, self.read(key, start, stop)


@functools.cache  # or a listing would measure this, not what asks for it
def _row(key: str, size: int, etag: str) -> str:
    """Return what a listing says of an object."""
    tag = f"<ETag>&quot;{etag}&quot;</ETag>" if etag else ""
    return (
        f"<Contents><Key>{escape(key)}</Key><LastModified>2026-06-01T00:00:00.000Z"
        f"</LastModified>{tag}<Size>{size}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


@dataclass
class Fault:
    """What the network does to the n-th place of folder n that is asked for, the first `times`.

    Attributes
    ----------
    how
        `reset`, `cut`, `hang` or `stall`; empty: nothing.
    places, faults
        By folder: the places that were asked for, and how many requests it befell.
    """

    how: str = ""
    times: int = 1
    places: dict[str, dict[tuple[str, str], int]] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)

    def befalls(self, target: str, wanted: str) -> bool:
        """Return whether it befalls a request; `wanted` is its Range, or empty."""
        url = urlsplit(target)
        asked = parse_qs(url.query)
        page = asked.get("continuation-token") or asked.get("start-after") or [""]
        start = wanted.partition("=")[2].partition("-")[0] or "0"
        where = (url.path.rstrip("/"), page[0] if "list-type" in asked else start)
        inside = asked.get("prefix") or [unquote(url.path).lstrip("/").partition("/")[2]]
        folder = inside[0].partition("/")[0]
        places = self.places.setdefault(folder, {})
        number = places.setdefault(where, len(places) + 1)
        if not self.how or str(number) != folder or self.faults[folder] >= self.times:
            return False
        self.faults[folder] += 1
        return True

    def counts(self) -> dict[str, dict[str, int]]:
        """Return places and faults, by folder."""
        places = {folder: len(places) for folder, places in self.places.items()}
        return {"places": places, "faults": dict(self.faults)} if self.how else {}


class Server:
    """Answers requests for one bucket, each after a while, and counts them."""

    def __init__(
        self, bucket: Bucket, delay_s: float, refuse: str = "", fault: Fault | None = None
    ) -> None:
        self.bucket = bucket
        self.delay_s = delay_s
        self.refuse = refuse
        self.fault = fault or Fault()
        self.requests: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it is closed."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                answer = await self.answer(*head[0].split(" ")[:2], head[1:])
                if self._is_faulty(head):
                    await self._fail(writer, answer)
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _is_faulty(self, head: list[str]) -> bool:
        target, wanted = head[0].split(" ")[1], _headers(head[1:]).get("range", "")
        return bool(urlsplit(target).path.strip("/")) and self.fault.befalls(target, wanted)

    async def _fail(self, writer: asyncio.StreamWriter, answer: bytes) -> None:
        """Do to an answer what the network does; half of it is at least its head."""
        if self.fault.how in ("cut", "stall"):
            end = max(len(answer) // 2, answer.index(b"\r\n\r\n") + 4)
            writer.write(answer[:end])
            await writer.drain()
        if self.fault.how in ("hang", "stall"):
            await asyncio.sleep(_HANG_S)  # what waits for no timer is collected as garbage
        # lingering for 0 s: the client is told that the connection is reset, not that it ended
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        raise ConnectionResetError

    async def answer(self, method: str, target: str, lines: list[str]) -> bytes:
        """Return the bytes of an answer."""
        url = urlsplit(target)
        key = unquote(url.path).lstrip("/").partition("/")[2]
        if not url.path.strip("/"):
            counts = {**self.requests, **self.fault.counts()}
            status, head, body = "200 OK", "", json.dumps(counts).encode()
        else:
            self.requests["list" if not key else method.lower()] += 1
            await asyncio.sleep(self.delay_s)
            headers = _headers(lines)
            if token := headers.get("x-amz-security-token"):
                self.requests[f"token {token}"] += 1
            if self.refuse and self.refuse in headers.get("user-agent", ""):
                status, head, body = (
                    "403 Forbidden",
                    "",
                    b"<Error><Code>AccessDenied</Code></Error>",
                )
            elif key:
                status, head, body = self.bucket.get(key, headers.get("range", ""))
            else:
                head, body = "Content-Type: application/xml\r\n", self._page(url.query)
                status = "200 OK"
        head = f"HTTP/1.1 {status}\r\n{head}Content-Length: {len(body)}\r\n\r\n"
        return head.encode() + (b"" if method == "HEAD" else body)

    def _page(self, query: str) -> bytes:
        return self.bucket.page(parse_qs(query))


def _headers(lines: list[str]) -> dict[str, str]:
    return {name.lower(): text for name, _, text in (x.partition(": ") for x in lines)}


def folder_bucket(folder: Path) -> Bucket:
    """Return the bucket of what is in a folder."""

    def scan() -> Objects:
        files = {str(x.relative_to(folder)): x.stat() for x in folder.rglob("*") if x.is_file()}
        return {
            key: (stat.st_size, "" if key.endswith(NO_ETAG) else f"{stat.st_mtime_ns:032x}")
            for key, stat in files.items()
        }

    def read(key: str, start: int, stop: int) -> bytes:
        with (folder / key).open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    return Bucket(scan, read)


def fleet_bucket(count: int) -> Bucket:
    """Return the bucket of a fleet with `count` ledgers."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from conftest import Writer

    writer, numbers, contents, objects = Writer(), random.Random(7), {}, {}
    for number in range(count):
        topic, turn = number // TOPIC_LEDGERS, number % TOPIC_LEDGERS
        key = f"{uuid.UUID(int=numbers.getrandbits(128), version=4)}-ledger-{topic + turn * count}"
        created_ms = START_MS + turn * STEP_MS
        entries = [_entry(writer, created_ms)] if topic == 0 else [bytes(20_000)]
        blocks = writer.blocks(entries)
        name = f"plant/line{topic % 20}/persistent/machine-{topic}"
        metadata = writer.protobuf(
            *((1, 1), (2, 1), (3, len(entries[0])), (4, 0), (5, 3), (10, created_ms)),
            (11, [(1, b"pulsar/managed-ledger"), (2, name.encode())]),
        )
        index = writer.index(blocks, metadata)
        contents[f"{key}-index"] = index
        objects[f"{key}-index"] = (len(index), f"{2 * number:032x}")
        objects[key] = (len(blocks[0][0]), f"{2 * number + 1:032x}")
        if topic == 0:
            contents[key] = blocks[0][0]
    known = {"version": 0, "type": "JSON", "schema": {**RECORD, "fields": FIELDS}}
    contents["schemas.json"] = json.dumps({"persistent://plant/line0/machine-0": [known]}).encode()
    objects["schemas.json"] = (len(contents["schemas.json"]), f"{2 * count:032x}")
    return Bucket(lambda: objects, lambda key, start, stop: contents[key][start:stop])


def _entry(writer, created_ms: int) -> bytes:
    """Return a batch of readings, one every 21.6 s."""
    step_ms = STEP_MS // MESSAGES
    payload = b"".join(
        writer.single(b'{"value":%d}' % i, (5, created_ms + i * step_ms)) for i in range(MESSAGES)
    )
    return writer.entry(payload, (11, MESSAGES), publish_ms=created_ms)


@contextlib.contextmanager
def serving(*options: object) -> Iterator[str]:
    """Serve in a process of its own while the context lasts; give the endpoint."""
    command = [sys.executable, __file__, *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


async def run(server: Server) -> None:
    """Serve on a free port of loopback until killed."""
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, limit=READ_BYTES)
    print(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", flush=True)
    async with listening:
        await listening.serve_forever()


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delay-ms", type=float, default=0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--ledgers", type=int, default=0)
    parser.add_argument("--no-start-after", action="store_true")
    parser.add_argument("--any-case", action="store_true")
    parser.add_argument("--refuse", default="")
    parser.add_argument("--fault", choices=["reset", "cut", "hang", "stall"], default="")
    parser.add_argument("--times", type=int, default=1)
    options = parser.parse_args()
    bucket = folder_bucket(options.folder) if options.folder else fleet_bucket(options.ledgers)
    bucket.has_start_after = not options.no_start_after
    bucket.order = str.lower if options.any_case else str
    fault = Fault(options.fault, options.times)
    asyncio.run(run(Server(bucket, options.delay_ms / 1000, options.refuse, fault)))


if __name__ == "__main__":
    main()
