"""Find the files that an export is made of, and open each as what its first bytes say it is.

A name's ending is not believed: spreadsheets are called .csv, and compressed files lose their .gz.
"""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import lzma
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, cast

import cramjam
import fsspec

from workbench.errors import ServicesError

STDIN = "-"
# what opening and unpacking raise; pyarrow's errors are ValueErrors
DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    KeyError,  # openpyxl's, for a workbook without its parts
    RuntimeError,  # zipfile's, for a password or a method it does not know
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    cramjam.DecompressionError,
)
_HEAD_BYTES = 265  # a tar archive says so at its 257th
_LAYERS = 2  # of compression: what was compressed twice by mistake
_ZIPS = (b"PK\x03\x04", b"PK\x05\x06")  # of the latter nothing but its end is there
_NO_TABLES = {
    "JSON": rb"(\xef\xbb\xbf)?\s*(\[\s*)?\{\s*\"",
    "HTML or XML": rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype|html|\?xml)",
}
_OTHERS = "make a frame of it (pandas.read_json, read_html, read_xml) for workbench.ingest"
_KINDS = {
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"PK\x03\x04": "xlsx",  # a zip that is none has been opened before
    b"\xd0\xcf\x11\xe0": "xls",
}


def _gzip(raw: IO[bytes]) -> IO[bytes]:
    unpacked: Any = gzip.GzipFile(fileobj=raw, mode="rb")
    return cast("IO[bytes]", unpacked)


def _zstd(raw: IO[bytes]) -> IO[bytes]:
    # at once, as a stream of zstandard's ends in silence at a second frame and at a cut one
    return io.BytesIO(bytes(cramjam.zstd.decompress(raw.read())))


_DECOMPRESSORS: dict[bytes, Callable[[IO[bytes]], IO[bytes]]] = {
    b"\x1f\x8b": _gzip,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": _zstd,
}


def paths_of(export: str | Path) -> list[str]:
    """Return the files of an export, in the order of their names: a file, a folder, or a glob.

    Raises
    ------
    ServicesError
        If it is no path, a folder is empty, or nothing has such a name.
    """
    if not isinstance(export, str | Path):
        raise ServicesError(
            f"an export is a path or a frame of pandas, not a {type(export).__name__}",
            hint="to_pandas() makes a frame of a table; a folder or a glob names several files",
        )
    text = str(export)
    if Path(text).is_dir():
        files = (path for path in Path(text).iterdir() if path.is_file())
        paths = sorted(str(path) for path in files if not path.name.startswith("."))
    elif glob.has_magic(text) and not Path(text).exists():
        names = glob.glob(text, recursive=True)  # noqa: PTH207 - of an absolute pattern, too
        paths = sorted(name for name in names if Path(name).is_file())
    else:
        return [text]
    if not paths:
        raise ServicesError("no file is there", where=text, hint="name a file, a folder or a glob")
    return paths


@contextmanager
def opened(path: str) -> Iterator[tuple[str, IO[bytes]]]:
    """Give what a file is (`text`, `parquet`, `arrow`, `xlsx`, `xls`), and its bytes, unpacked.

    Raises
    ------
    ServicesError
        If an archive holds more than one file, or what is in it is no table.
    One of `DAMAGED`
        If it cannot be read or unpacked.
    """
    with _raw(path) as raw:
        if _head(raw).startswith(_ZIPS):
            raw = _member(raw, path)
        for _ in range(_LAYERS):
            head = _head(raw)
            for magic, decompressed in _DECOMPRESSORS.items():
                if head.startswith(magic):
                    raw = decompressed(raw)
        head = _head(raw)
        _refuse_others(head, path)
        yield next((kind for magic, kind in _KINDS.items() if head.startswith(magic)), "text"), raw


def _refuse_others(head: bytes, path: str) -> None:
    """Refuse what is no table, and would be taken for text."""
    if head[257:262] == b"ustar":
        raise ServicesError("a tar archive", where=path, hint="unpack it, and name the folder")
    for what, pattern in _NO_TABLES.items():
        if re.match(pattern, head):
            raise ServicesError(f"it is {what}, no table", where=path, hint=_OTHERS)


def _raw(path: str) -> AbstractContextManager[IO[bytes]]:
    if path == STDIN:
        return io.BytesIO(sys.stdin.buffer.read())
    file: AbstractContextManager[IO[bytes]] = fsspec.open(path, "rb")
    return file


def _head(raw: IO[bytes]) -> bytes:
    head = raw.read(_HEAD_BYTES)
    raw.seek(0)
    return head


def _member(raw: IO[bytes], path: str) -> IO[bytes]:
    """Return the one file in a zip, or the zip itself where it is a spreadsheet."""
    archive = zipfile.ZipFile(raw)
    names = [
        entry.filename
        for entry in archive.infolist()
        if not entry.is_dir() and not entry.filename.startswith("__MACOSX/")
    ]
    if "[Content_Types].xml" in names:
        raw.seek(0)
        return raw
    if len(names) != 1:
        raise ServicesError(
            f"the archive holds {len(names)} files, expected one",
            where=path,
            hint="unpack it, and name the folder",
        )
    return archive.open(names[0])
