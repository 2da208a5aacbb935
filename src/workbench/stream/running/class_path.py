"""What Flink's JVM is started with: its jars, and an archive on disk of the classes it loads.

A job's JVM reads, checks and links thousands of classes before the first reading is scored. A JVM
that ends can leave them to the next as memory to map ("dynamic class-data sharing", JEP 350), but
only those of its class path: so Flink's planner stands there itself, in place of the loader that
hides it, as Flink's documentation allows; and its actors, whose loader loads them for each mini
cluster anew. What that gave stands in docs/operations.md.

    flink-classes-DIGEST/lib, opt     links to PyFlink's jars, planner, actors, our python jar
                        /classes.jsa  the archive, some 150 MB; the JVM takes no other's
                        /classes.part what a JVM writes when it ends, or will
                        /classes.ran  that it ran a job, whose classes are among them
                        /jobs-DIGEST  the same for a JVM that has the jars of jobs, too
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from workbench import files
from workbench.endpoints import home
from workbench.services import java, python_jar

_PLANNER = "flink-table-planner.jar"  # within the loader's jar
_ACTORS = "flink-rpc-akka.jar"  # within flink-dist; `RpcOnClassPath` takes them from here
_MAGIC = bytes.fromhex("a8ab0bf0")  # HotSpot writes it last: FileMapInfo::write_header
_ROOM_BYTES = 1 << 30  # what a disk must have left
_UNUSED_S = 30 * 86_400.0
_STALE_S = 3600.0  # a JVM that runs longer leaves the writing to another
_claimed: list[Path] = []  # by this process
_MORE = "WORKBENCH_JOB_JARS"
_QUIET = "-Xlog:cds*=off"  # else it says on stdout which classes it could not keep


def class_path(more: Sequence[Path] = ()) -> dict[str, str]:
    """Return the variables by which PyFlink's JVM has these jars, and classes of a JVM before it.

    Parameters
    ----------
    more
        Jars of jobs, behind Flink's: what is loaded of them is loaded once, for all jobs, and
        comes from an archive of its own.

    Raises
    ------
    ServicesError
        If our jar for PyFlink's does not compile.
    """
    _in_order()
    ours, jars = python_jar(), _jars()
    flink = folder = _folder(ours, jars)
    try:
        if not folder.is_dir():
            with files.locked(folder.parent / "flink-classes.lock"):
                _fill(folder, ours, jars)
    except OSError:  # a cache that is only read
        return {_MORE: os.pathsep.join(map(str, more)), "FLINK_OPT_DIR": str(_own_folder(ours))}
    folder = _kept_in(folder, more)
    with suppress(OSError):
        folder.mkdir(exist_ok=True)
    arguments = [os.environ.get("JVM_ARGS", ""), *sharing(folder)]
    return {
        _MORE: os.pathsep.join(map(str, more)),
        "FLINK_LIB_DIR": str(flink / "lib"),
        "FLINK_OPT_DIR": str(flink / "opt"),  # holds our jar alone: PyFlink takes the first
        "JVM_ARGS": " ".join(arguments).strip(),
    }


def _jars() -> list[Path]:
    from pyflink.find_flink_home import _find_flink_home

    lib = Path(os.environ.get("FLINK_LIB_DIR") or Path(_find_flink_home()) / "lib")
    return sorted(lib.glob("*.jar"))


def _folder(ours: Path, jars: list[Path]) -> Path:
    return ours.parent / f"flink-classes-{_digest([java(), ours, *jars])}"


def _kept_in(folder: Path, more: Sequence[Path]) -> Path:
    return folder / f"jobs-{_digest([*more])}" if more else folder


def archive(more: Sequence[Path] = ()) -> Path | None:
    """Return the archive that a JVM with these jars would take now; None: there is none yet."""
    folder = _kept_in(_folder(python_jar(), _jars()), more)
    _keep(folder)
    path = folder / "classes.jsa"
    return path if path.is_file() else None


def is_awaited(more: Sequence[Path] = ()) -> bool:
    """Tell whether a JVM with these jars is about to leave its classes, or to write them."""
    folder = _kept_in(_folder(python_jar(), _jars()), more)
    return (folder / "classes.part").exists() and archive(more) is None


def _own_folder(ours: Path) -> Path:
    """Return a folder of this project's that holds our jar alone."""
    folder = home().resolve() / "flink" / ours.stem
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        (folder / ours.name).symlink_to(ours)
    return folder


def sharing(folder: Path) -> list[str]:
    """Return options of a JVM: to take the classes that one before it left, or to leave its own.

    None, where another is about to leave its own, the disk is nearly full, or the folder's name
    has a blank: PyFlink cuts options there.
    """
    _keep(folder)
    archive, part = folder / "classes.jsa", folder / "classes.part"
    if len(str(folder).split()) > 1:
        return []
    if archive.is_file():
        with suppress(OSError):
            os.utime(archive)  # when it was used last
        return [f"-XX:SharedArchiveFile={archive}", _QUIET]
    return [f"-XX:ArchiveClassesAtExit={part}", _QUIET] if _claim(part) else []


def _keep(folder: Path) -> None:
    """Let what a JVM has written be the archive, if it ran a job."""
    part = folder / "classes.part"
    if _is_whole(part):
        with suppress(OSError):  # two at once, or a disk that is only read
            if part.with_suffix(".ran").exists():
                files.put(part, folder / "classes.jsa")
            part.unlink(missing_ok=True)


def job_ran() -> None:
    """Let the classes of this process's JVM count, if it is the one to write them.

    (Those of one that ended before its first job are few, and would be all that others ever have.)
    """
    for part in _claimed:
        with suppress(OSError):
            part.with_suffix(".ran").touch()
    _claimed.clear()


def _claim(part: Path) -> bool:
    """Tell whether this process's JVM is the one to write, and let others know."""
    try:
        if shutil.disk_usage(part.parent).free < _ROOM_BYTES:
            return False
        if part.is_file() and time.time() - part.stat().st_mtime > _STALE_S:
            part.unlink()
        part.touch(exist_ok=False)
        part.with_suffix(".ran").unlink(missing_ok=True)
    except OSError:  # another's, or a disk that is only read
        return False
    _claimed.append(part)
    return True


def _is_whole(part: Path) -> bool:
    try:
        with part.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def _digest(paths: list[Path]) -> str:
    """Return what tells one set of jars, and the JVM that reads them, from another."""
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        digest.update(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:12]


def _fill(folder: Path, ours: Path, jars: list[Path]) -> None:
    """Make the folder, unless another process just did, and room for it."""
    if folder.is_dir():
        return
    _tidy(folder.parent)
    with files.new_folder(folder) as part:
        for name in ("lib", "opt"):
            (part / name).mkdir()
        (part / "opt" / ours.name).symlink_to(ours)
        for jar in jars:
            if jar.name.startswith("flink-table-planner-loader"):
                _extract(jar, _PLANNER, part / "lib")
                continue
            (part / "lib" / jar.name).symlink_to(jar.resolve())
            if jar.name.startswith("flink-dist-"):
                _extract(jar, _ACTORS, part / "lib")


def _extract(jar: Path, inner: str, lib: Path) -> None:
    with zipfile.ZipFile(jar) as outer:
        outer.extract(inner, lib)


def _in_order() -> None:
    """Let PyFlink give its JVM the jars of a folder by their names.

    (It gives them as the disk has them. Flink's actors come with the Scala library that they were
    compiled with, which is later than the planner's: it has to be first.)
    """
    from pyflink import pyflink_gateway_server

    def by_name(env: dict[str, str]) -> str:
        folders = Path(env["FLINK_LIB_DIR"]), Path(env["FLINK_OPT_DIR"])
        jars = [str(jar) for folder in folders for jar in sorted(folder.glob("*.jar"))]
        return os.pathsep.join([*jars, *filter(None, [env.get(_MORE, "")])])

    pyflink_gateway_server.construct_flink_classpath = by_name


def _tidy(cache: Path) -> None:
    """Remove the folders of environments that are gone, and archives that nobody used for long.

    The jars of the others stay: a job of weeks may still load a class from them.
    """
    for folder in cache.glob("flink-classes-*/"):
        if not all(link.exists() for link in folder.glob("*/*.jar")):
            files.remove_folder(folder)
            continue
        for archive in folder.glob("**/classes.*"):
            if time.time() - archive.stat().st_mtime > _UNUSED_S:
                archive.unlink()
