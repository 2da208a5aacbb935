"""Where the objects lie: any fsspec file system, as keys below one root."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
from fsspec.asyn import FSTimeoutError, sync_teardown

from workbench import files
from workbench.archive.storage import s3
from workbench.archive.storage.collector import paused
from workbench.archive.storage.failures import failure, said
from workbench.archive.storage.listing import Item, Listing
from workbench.archive.storage.ordered import in_order
from workbench.endpoints import endpoints, located
from workbench.errors import ArchiveError, TimesError
from workbench.times import instant_ms

Chunk = bytes | memoryview  # of an object, read only
_ETAGS = ("ETag", "etag", "md5", "sha256")
_MOST_FALLBACKS = 3  # of the quicker client: each costs a read its time twice


@dataclass
class Traffic:
    """What was asked of a bucket so far.

    Attributes
    ----------
    listed
        Objects that listings named.
    fetched, bytes
        Reads of objects, or of parts of them, and what they brought.
    asked
        Objects whose metadata was asked for.
    kept
        Reads that were answered by what an earlier process kept.
    unkept
        Why nothing could be kept for the next one; empty if it could.
    fallbacks
        Reads at which the quicker client failed, so that the file system was asked too.
    """

    listed: int = 0
    fetched: int = 0
    bytes: int = 0
    asked: int = 0
    kept: int = 0
    unkept: str = ""
    fallbacks: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def __str__(self) -> str:
        said = (
            f"{self.listed} objects listed, {self.fetched} reads of {self.bytes} bytes, "
            f"{self.asked} asked for metadata, {self.kept} known from before"
        )
        said += f", {self.fallbacks} asked twice" if self.fallbacks else ""
        return f"{said}; not kept: {self.unkept}" if self.unkept else said

    def add(
        self,
        *,
        listed: int = 0,
        fetched: int = 0,
        size: int = 0,
        asked: int = 0,
        kept: int = 0,
        fallbacks: int = 0,
    ) -> None:
        """Add to the counts; from any thread."""
        with self._lock:
            self.listed += listed
            self.fetched += fetched
            self.bytes += size
            self.asked += asked
            self.kept += kept
            self.fallbacks += fallbacks


@dataclass(frozen=True)
class Bucket:
    """A root on a file system; every failure names the key.

    Attributes
    ----------
    url, fs, root
        What it was opened by, its file system, and the path of the root there.
    store
        A quicker client of the same bucket, where there is one (`storage.s3`).
    traffic
        What was asked of it.
    """

    url: str
    fs: Any
    root: str
    store: Any = field(default=None, repr=False, compare=False)
    traffic: Traffic = field(default_factory=Traffic, repr=False, compare=False)

    def __reduce__(self) -> tuple[object, ...]:
        return Bucket, (self.url, None, self.root)  # whoever gets it opens it anew

    def connected(self) -> Any:
        """Return the file system of this process, which after a fork is another.

        Raises
        ------
        ArchiveError
            If the bucket came from another process, and was not opened in this one.
        """
        if self.fs is None:
            raise ArchiveError(
                "this topic was sent from another process, and has no connection in this one",
                where=self.url,
                hint="archive.attach(topic) returns it with one",
            )
        fs = s3.reopened(self.fs)
        if fs is not self.fs:
            object.__setattr__(self, "fs", _tidy(fs))
        return fs

    def list(self) -> Listing:
        """Return every object below the root, sorted by key.

        Raises
        ------
        ArchiveError
            If the root is not there or cannot be listed.
        """
        listing = _listed_by_store(self) or _listed(self)
        self.traffic.add(listed=len(listing))
        return listing

    def key(self, path: str) -> str:
        """Return the key of what has this path on the file system."""
        return path[len(self.root) :].lstrip("/")

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes [start, stop) of an object.

        Raises
        ------
        ArchiveError
            If they cannot be read; a StorageError where that says nothing of the object.
        """
        data = self._view(key, start, stop)
        return data if isinstance(data, bytes) else data.tobytes()

    def _view(self, key: str, start: int, stop: int | None) -> Chunk:
        path, fs = f"{self.root}/{key}", self.connected()
        try:
            data = self._read_by_store(path, start, stop)
            if data is None:
                data = fs.cat_file(path, start=start, end=stop)
        except FileNotFoundError as err:
            raise ArchiveError("the object is missing", where=key) from err
        except Exception as err:  # every file system has its own
            raise failure(err, "cannot read", f"{key} at byte {start}", fs) from err
        self.traffic.add(fetched=1, size=len(data))
        return data

    def _read_by_store(self, path: str, start: int, stop: int | None) -> Chunk | None:
        if self.store is None or not s3.is_usable() or not s3.is_plain(path):
            return None
        if (start and stop is None) or self.traffic.fallbacks >= _MOST_FALLBACKS:
            return None
        try:
            return s3.read(self.store, path.partition("/")[2], start, stop)
        except FileNotFoundError:
            return None
        except Exception:  # the file system says what is wrong
            self.traffic.add(fallbacks=1)
            return None

    def metadata(self, key: str) -> dict[str, str]:
        """Return the user metadata of an object, names in lower case; none where none is kept.

        S3 by a HEAD, Google and Azure with their listing of one object, a folder by the extended
        attributes that s3proxy writes.

        Raises
        ------
        ArchiveError
            If the object cannot be asked.
        """
        path, fs = f"{self.root}/{key}", self.connected()
        self.traffic.add(asked=1)
        try:
            if "file" in fs.protocol:
                names = os.listxattr(path)
                return {_last(name): os.getxattr(path, name).decode() for name in names}
            ask = getattr(fs, "metadata", None)
            metadata = ask(path) if ask else fs.info(path).get("metadata")
        except Exception as err:  # every file system has its own
            raise failure(err, "cannot read metadata", key, fs) from err
        return {str(name).lower(): str(value) for name, value in (metadata or {}).items()}

    def write(self, key: str, data: bytes) -> None:
        """Write an object, whole or not at all.

        Raises
        ------
        ArchiveError
            If it cannot be written.
        """
        path, fs = f"{self.root}/{key}", self.connected()
        try:
            if "file" in fs.protocol:
                files.write_bytes(path, data)
            else:
                fs.pipe_file(path, data)
        except Exception as err:
            raise ArchiveError(f"cannot write: {said(err)}", where=key) from err

    def read_ahead(
        self, spans: Iterable[tuple[str, int, int]], *, ahead: int = 4
    ) -> Iterator[Chunk | ArchiveError]:
        """Yield the bytes of each (key, start, stop), in order, `ahead` requests in parallel.

        A span that cannot be read yields its error, so that the reader may go on to the next.
        """
        self.connected()  # now, and not with the first span: that would be damage, and skipped
        return in_order(lambda span: self._try(*span), spans, workers=ahead)

    def _try(self, key: str, start: int, stop: int) -> Chunk | ArchiveError:
        try:
            return self._view(key, start, stop)
        except ArchiveError as err:
            return err


def _listed_by_store(bucket: Bucket) -> Listing | None:
    """Return what `Bucket.list` does; None where only the file system can tell."""
    if bucket.store is None or not s3.is_usable():
        return None
    prefix = bucket.root.partition("/")[2]
    with contextlib.suppress(Exception):  # the file system says what is wrong
        listed = s3.list_objects(bucket.store, prefix)
        with paused():
            paths, sizes, etags, written = map(list, zip(*listed, strict=True))
            return Listing(
                [path[len(prefix) :].lstrip("/") for path in paths] if prefix else paths,
                sizes,
                [etag or f"{row[1]}-{row[3]}" for etag, row in zip(etags, listed, strict=True)],
                [int(each.timestamp() * 1000) for each in written],
                list(map(bool, etags)),
            )
    return None


def _listed(bucket: Bucket) -> Listing:
    fs = bucket.connected()
    try:
        listing = fs.find(bucket.root, detail=True)
        missing = not listing and not fs.exists(bucket.root)
    except FileNotFoundError:
        missing = True
    except Exception as err:  # every file system has its own
        raise failure(err, f"cannot list {bucket.url}", None, fs) from err
    if missing:
        raise ArchiveError(f"no archive at {bucket.url}")
    items = [
        Item(
            bucket.key(path),
            int(info.get("size") or 0),
            _etag(info),
            _written_ms(info),
            any(map(info.get, _ETAGS)),
        )
        for path, info in listing.items()
        if _is_file(path, info)
    ]
    return Listing.of(sorted(items, key=lambda item: item.key))


def open_bucket(url: str, **options: Any) -> Bucket:
    """Return the bucket at a folder, `s3://bucket[/prefix]`, or any other fsspec URL.

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
        raise ArchiveError(f"cannot open {url}: {said(err)}") from err
    _tidy(fs)
    root = root.rstrip("/")
    is_s3 = str(url).startswith(("s3://", "s3a://")) and "::" not in str(url)
    return Bucket(str(url), fs, root, s3.open_store(fs, root, options) if is_s3 else None)


def _tidy(fs: Any) -> Any:
    if hasattr(fs, "close_session"):
        fs.close_session = _close_session
    return fs


def _close_session(loop: Any, session: Any) -> None:
    """Close a session of s3fs in the loop that it lives in.

    s3fs takes the loop of the thread in which the garbage collector comes by: a notebook's kernel
    has one of its own, and the task that is left there fails.
    """
    with contextlib.suppress(RuntimeError, FSTimeoutError):
        sync_teardown(loop, session.__aexit__, None, None, None, timeout=0.1)


def _s3_options(options: dict[str, Any]) -> dict[str, Any]:
    servers = endpoints()
    result = dict(options)
    given = options.get("endpoint_url") or options.get("client_kwargs", {}).get("endpoint_url")
    if given and given.rstrip("/") != servers.s3_endpoint.rstrip("/"):
        return result  # what lets one in here is for no other: AWS' own chain has its keys
    if servers.s3_endpoint and not given:
        result["endpoint_url"] = servers.s3_endpoint
    if servers.s3_key and not options.get("anon"):
        if servers.s3_token and not {"key", "secret"} & set(options):
            result.setdefault("token", servers.s3_token)
        result.setdefault("key", servers.s3_key)
        result.setdefault("secret", servers.s3_secret)
    return result


def _is_file(path: str, info: dict[str, Any]) -> bool:
    """Return whether it has bytes that end: in a folder may stand pipes and devices, too."""
    return info.get("type") != "other" or Path(path).is_file()  # a link is another, too


def _etag(info: dict[str, Any]) -> str:
    for name in _ETAGS:
        if info.get(name):
            return str(info[name]).strip('"')
    return f"{info.get('size')}-{info.get('mtime') or info.get('LastModified') or ''}"


def _written_ms(info: dict[str, Any]) -> int:
    """Return when an object was written: a folder, S3, Google and Azure each have their name."""
    named = ("mtime", "LastModified", "last_modified", "updated")
    written = next((info[name] for name in named if info.get(name)), 0)
    if isinstance(written, float):  # seconds, of a folder
        return int(written * 1000)
    with contextlib.suppress(ValueError, TimesError):
        return instant_ms(written) or 0
    return 0


def _last(attribute: str) -> str:
    return attribute.rpartition(".")[2].lower()
