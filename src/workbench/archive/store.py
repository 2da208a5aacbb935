"""Where the objects lie: any fsspec file system, as keys below one root."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import fsspec

from workbench.endpoints import endpoints, located
from workbench.errors import ArchiveError

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Item:
    """An object: key below the root, size in bytes, etag (or what stands for it)."""

    key: str
    bytes: int
    etag: str


@dataclass(frozen=True)
class Store:
    """A root on a file system; every failure names the key."""

    url: str
    fs: Any
    root: str

    def list(self) -> list[Item]:
        """Return every object below the root, sorted by key.

        Raises
        ------
        ArchiveError
            If the root is not there or cannot be listed.
        """
        try:
            found = self.fs.find(self.root, detail=True)
            missing = not found and not self.fs.exists(self.root)
        except FileNotFoundError:
            missing = True
        except Exception as err:  # every file system has its own
            raise ArchiveError(f"cannot list {self.url}: {_said(err)}") from err
        if missing:
            raise ArchiveError(f"no archive at {self.url}")
        items = [
            Item(self._key(path), int(info.get("size") or 0), _etag(info))
            for path, info in found.items()
        ]
        return sorted(items, key=lambda item: item.key)

    def _key(self, path: str) -> str:
        return path[len(self.root) :].lstrip("/")

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes [start, stop) of an object.

        Raises
        ------
        ArchiveError
            If they cannot be read.
        """
        path = f"{self.root}/{key}"
        try:
            data: bytes = self.fs.cat_file(path, start=start, end=stop)
        except FileNotFoundError as err:
            raise ArchiveError("the object is missing", where=key) from err
        except Exception as err:
            raise ArchiveError(
                f"cannot read: {_said(err)}", where=f"{key} at byte {start}"
            ) from err
        return data

    def write(self, key: str, data: bytes) -> None:
        """Write an object, whole or not at all.

        Raises
        ------
        ArchiveError
            If it cannot be written.
        """
        path = f"{self.root}/{key}"
        try:
            if "file" in self.fs.protocol:
                partial = Path(f"{path}.partial")
                partial.write_bytes(data)
                partial.replace(path)
            else:
                self.fs.pipe_file(path, data)
        except Exception as err:
            raise ArchiveError(f"cannot write: {_said(err)}", where=key) from err

    def read_ahead(
        self, spans: Iterable[tuple[str, int, int]], *, ahead: int = 4
    ) -> Iterator[bytes | ArchiveError]:
        """Yield the bytes of each (key, start, stop), in order, `ahead` requests in parallel.

        A span that cannot be read yields its error, so that the reader may go on to the next.
        """
        yield from in_order(lambda span: self._try(*span), spans, workers=ahead)

    def _try(self, key: str, start: int, stop: int) -> bytes | ArchiveError:
        try:
            return self.read(key, start, stop)
        except ArchiveError as err:
            return err


def in_order(function: Callable[[_T], _R], items: Iterable[_T], *, workers: int) -> Iterator[_R]:
    """Yield function(item) of every item, in order, `workers` at a time."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="archive")
    waiting: deque[Future[_R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # never wait here: the garbage collector may close this generator inside a thread's start,
        # where joining another thread is a deadlock
        pool.shutdown(wait=False, cancel_futures=True)


def open_store(url: str, **options: Any) -> Store:
    """Return the store at a folder, `s3://bucket[/prefix]`, or any other fsspec URL.

    An S3 endpoint and credentials that `options` and the environment leave open are those of
    the local services.

    Raises
    ------
    ArchiveError
        If no file system is known for the URL.
    """
    if str(url).startswith(("s3://", "s3a://")):
        options = _s3_options(options)
    elif "://" not in str(url) and "::" not in str(url):
        url = str(located(url))
    try:
        fs, root = fsspec.url_to_fs(
            str(url), use_listings_cache=False, skip_instance_cache=True, **options
        )
    except (ValueError, ImportError) as err:
        raise ArchiveError(f"cannot open {url}: {_said(err)}") from err
    return Store(str(url), fs, root.rstrip("/"))


def _s3_options(options: dict[str, Any]) -> dict[str, Any]:
    known = endpoints()
    result = dict(options)
    if known.s3_endpoint and "endpoint_url" not in options.get("client_kwargs", {}):
        result.setdefault("endpoint_url", known.s3_endpoint)
    if known.s3_key and not options.get("anon"):
        result.setdefault("key", known.s3_key)
        result.setdefault("secret", known.s3_secret)
    return result


def _etag(info: dict[str, Any]) -> str:
    for name in ("ETag", "etag", "md5", "sha256"):
        if info.get(name):
            return str(info[name]).strip('"')
    return f"{info.get('size')}-{info.get('mtime') or info.get('LastModified') or ''}"


def _said(err: Exception) -> str:
    return str(err) or type(err).__name__
