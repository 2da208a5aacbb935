"""Write files and folders whole or not at all: the one door through which this package writes.

What is written stands under another name in the same folder until it is complete and on disk
(fsync of the file, rename, fsync of the folder). So whatever ends the process or the machine, and
whenever, a reader finds what was there before or what is there now, and what was reported as
written is still there after a power cut. Nothing here is kept open between calls.

    .partial-HOST-PID-RANDOM         not finished yet: readers take no notice of names with a dot
    .partial-HOST-PID-RANDOM=NAME    what gives way to it, where two folders cannot be swapped

What a killed process left under such a name, `remove_abandoned` removes or puts back. A link is
followed; a device or a pipe is written as it is. Errors are the system's own (OSError), with the
path in them.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

PARTIAL = ".partial-"
_ASIDE = "="  # before the name of what gives way
# What a disk that is full, only read, another's or broken says
REFUSALS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
}
_AT_FDCWD = -100
_BLOCK = 4096  # bytes
_RENAME_EXCHANGE = 2
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP}  # network file systems that keep order themselves


def write_bytes(path: Path | str, content: bytes, *, mode: int | None = None) -> Path:
    """Write a file and return its path.

    Parameters
    ----------
    path
        Its folder is made if need be.
    content
        All of it.
    mode
        Permissions, as `0o600`; the file has them before a byte is in it. None: as the umask says.

    Raises
    ------
    OSError
        If it cannot be written: what was there before is still there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_bytes(Path(folder) / "new" / "one.bin", b"12").read_bytes()
    b'12'
    """
    with new_file(path, mode=mode) as part:
        part.write_bytes(content)
    return Path(path)


def write_text(path: Path | str, text: str, *, mode: int | None = None) -> Path:
    """Write a file of UTF-8 text; else as `write_bytes`."""
    return write_bytes(path, text.encode(), mode=mode)


def write_json(path: Path | str, value: Any, *, mode: int | None = None) -> Path:
    """Write a file of JSON with a level of indentation; else as `write_bytes`."""
    return write_text(path, json.dumps(value, indent=1) + "\n", mode=mode)


@contextmanager
def new_file(path: Path | str, *, mode: int | None = None) -> Iterator[Path]:
    """Give the name under which to write a file, which becomes `path` if all goes well.

    For writers that want a name: Parquet, CSV, pictures. If nothing was written, nothing changes.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        yield path  # a device or a pipe; a folder refuses by itself
        return
    with naming(path):
        part = _part(path.parent)
        try:
            if mode is not None:
                part.touch(mode=mode)
            yield part
            if part.exists():
                put(part, path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path | str) -> Iterator[Path]:
    """Give an empty folder to fill, which becomes `path` if all goes well, in place of the old."""
    path = Path(os.path.realpath(path))
    with naming(path):
        part = part_folder(path.parent)
        try:
            yield part
            put(part, path)
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let what the disk refuses meanwhile be said of `path`, if it is said of nothing by itself.

    An error of writing has no name in it, one of what is not finished a name that nobody knows.

    Raises
    ------
    OSError
        As the system raises it, with the path.
    """
    try:
        yield
    except OSError as err:
        is_named = err.filename is not None and PARTIAL not in os.fsdecode(err.filename)
        if err.errno not in REFUSALS or is_named:
            raise
        raise OSError(err.errno, os.strerror(err.errno), str(path)) from err


def part_folder(parent: Path | str) -> Path:
    """Return a new folder to be filled in `parent`, for `put` or `put_new` once it is complete."""
    with naming(Path(parent)):
        part = _part(Path(parent))
        part.mkdir()
    return part


def put(part: Path, path: Path) -> None:
    """Let a finished file or folder be `path`, on disk and at once, in place of what was there.

    Where the system cannot swap two folders in one step (it can on Linux, on local file systems),
    there is a moment in which neither stands at `path`; of a process that was killed in it,
    `remove_abandoned` puts the old one back.
    """
    _sync_all(part)
    if part.is_dir() and path.exists():
        old = part if _exchange(part, path) else _set_aside(part, path)
        _sync(path.parent)
        shutil.rmtree(old)
    else:
        os.replace(part, path)  # noqa: PTH105 - the idiom for an atomic write
        _sync(path.parent)


def put_new(part: Path, path: Path) -> None:
    """Let a finished folder be `path`, on disk and at once, where nothing is yet.

    Raises
    ------
    FileExistsError
        If something is there, whoever was faster.
    """
    _sync_all(part)
    try:
        if not path.exists():  # an empty folder would give way
            part.rename(path)
            _sync(path.parent)
            return
    except OSError:
        if not path.exists():
            raise
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def move(path: Path, target: Path) -> None:
    """Let what stands at `path` stand at `target`, in the same folder, at once; links as links."""
    path.rename(target)
    _sync(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder: it is gone at once, then its files go."""
    doomed = _part(path.parent)
    path.rename(doomed)
    _sync(path.parent)
    shutil.rmtree(doomed)


def remove_abandoned(folder: Path) -> None:
    """Remove what processes of this machine that have ended left unfinished in `folder`.

    What was about to give way, and has no successor, stands in its place again.
    """
    for path in folder.glob(f"{PARTIAL}*"):
        part, _, name = path.name.removeprefix(PARTIAL).partition(_ASIDE)
        host, _, pid = part.rpartition("-")[0].rpartition("-")
        if host == socket.gethostname() and not (pid.isdigit() and _lives(int(pid))):
            if name and not (folder / name).exists():
                move(path, folder / name)
            else:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def append_line(path: Path | str, line: str) -> None:
    """Add a line to a file that only grows: on disk when this returns, or not part of the file.

    Processes may append at the same time. What a killed one left of a line is overwritten, so that
    each line is whole; read them with `whole_lines`.

    Raises
    ------
    OSError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     append_line(Path(folder) / "log", "first")
    ...     whole_lines(Path(folder) / "log")
    ['first']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists()
    with naming(path), path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(_end_of_lines(file))
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if fresh:
        _sync(path.parent)


def whole_lines(path: Path | str) -> list[str]:
    """Return the lines of a file that `append_line` wrote; none where there is no file."""
    if not Path(path).is_file():
        return []
    *lines, _ = Path(path).read_bytes().split(b"\n")
    return [line.decode() for line in lines]


def _end_of_lines(file: BinaryIO) -> int:
    """Return the length of a file up to the end of its last whole line."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _BLOCK)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time in, the others wait; one that dies inside is out.

    Parameters
    ----------
    path
        A file that is there for this alone; it stays, empty.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _part(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{PARTIAL}{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


def _lives(pid: int) -> bool:
    """Tell whether a process runs; one that nobody waited for has ended all the same."""
    import psutil  # here: few write, fewer tidy up

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _sync_all(path: Path) -> None:
    for inner in sorted(path.rglob("*"), reverse=True) if path.is_dir() else ():
        if not inner.is_symlink():
            _sync(inner)
    _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not (path.is_dir() and error.errno in _NO_FOLDER_SYNC):
            raise
    finally:
        os.close(handle)


def _set_aside(part: Path, path: Path) -> Path:
    aside = path.parent / f"{_part(path.parent).name}{_ASIDE}{path.name}"
    os.replace(path, aside)  # noqa: PTH105 - as above
    try:
        os.replace(part, path)  # noqa: PTH105
    except OSError:
        os.replace(aside, path)  # noqa: PTH105 - or nothing would stand there any more
        raise
    return aside


def _exchange(first: Path, second: Path) -> bool:
    """Swap two folders in one step; False where the system or its file system cannot.

    Raises
    ------
    OSError
        If it can, and the disk refuses.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # Linux, glibc
    if rename is None:
        return False
    here, names = _AT_FDCWD, [os.fsencode(path) for path in (first, second)]
    if rename(here, names[0], here, names[1], _RENAME_EXCHANGE) == 0:
        return True
    refusal = ctypes.get_errno()
    if refusal in REFUSALS - {errno.EPERM}:  # EPERM: some network file systems, for what they lack
        raise OSError(refusal, os.strerror(refusal), str(second))
    return False
