"""What is missing or wrong on this machine, and how to mend it.

Looks only: nothing is downloaded, started or changed.
"""

from __future__ import annotations

import email.utils
import importlib.metadata
import os
import platform
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests
from packaging.requirements import Requirement

from workbench import broker, kafka
from workbench.endpoints import endpoints, home
from workbench.errors import WorkbenchError
from workbench.services import artifacts, control, flink_python, jdk, processes, s3, state

_GIB = 2**30
_DISK_GIB = (1, 5)  # less than the first is too little, less than the second is tight
_MEMORY_GIB = (1, 3)  # Pulsar, S3 endpoint and Flink together take about 3
_CLOCK_S = (60, 5)  # S3 refuses requests that are 15 minutes off; alerts are late before that


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes
    ----------
    state
        `ok`, `tight` (works, for now) or `wrong`.
    mend
        What to do about it; empty where nothing is to be done.
    """

    subject: str
    state: str
    found: str
    mend: str = ""


def examine() -> list[Finding]:
    """Return all findings, in the order in which things are needed."""
    looks: list[Callable[[], Iterator[Finding]]] = [
        _python,
        _packages,
        _java,
        _disk,
        _memory,
        _downloads,
        _record,
        _services,
        _broker,
        _kafka,
        _archive,
        _clock,
    ]
    return [finding for look in looks for finding in look()]


def _python() -> Iterator[Finding]:
    here = f"{platform.python_version()}, {sys.executable}"
    yield Finding("python", "ok", here)
    interpreter = flink_python.flink_interpreter()
    if interpreter is None:
        yield Finding("flink's python", "ok", "none yet: commands that need Flink make it")
    elif interpreter != Path(sys.executable):
        yield Finding("flink's python", "ok", str(interpreter))


def _packages() -> Iterator[Finding]:
    wrong = [text for text in map(_package, _requirements()) if text]
    count = len(_requirements())
    if wrong:
        yield Finding("packages", "wrong", "; ".join(wrong), "make setup")
    else:
        yield Finding("packages", "ok", f"{count} as pyproject.toml asks")


def _requirements() -> list[Requirement]:
    """Return what has to be here: the core, and the extras where this is the Python with Flink."""
    extras = ("", *flink_python.EXTRAS) if flink_python.has_flink() else ("",)
    asked = map(Requirement, importlib.metadata.requires("workbench") or [])
    return [
        requirement
        for requirement in asked
        if requirement.name != "workbench"
        and (
            requirement.marker is None
            or any(requirement.marker.evaluate({"extra": extra}) for extra in extras)
        )
    ]


def _package(requirement: Requirement) -> str:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{requirement} is not installed"
    return "" if requirement.specifier.contains(version) else f"{requirement}, but found {version}"


def _java() -> Iterator[Finding]:
    try:
        yield Finding("java", "ok", str(jdk.java()))
    except WorkbenchError as err:
        yield Finding("java", "wrong", err.message, err.hint or "")


def _disk() -> Iterator[Finding]:
    for subject, folder in [("disk", home()), ("cache", artifacts.cache())]:
        existing = next(path for path in [folder, *folder.parents] if path.exists())
        free = shutil.disk_usage(existing).free / _GIB
        room = f"{free:.1f} GiB free for {folder}"
        if not os.access(existing, os.W_OK):
            yield Finding(
                subject, "wrong", f"{existing} is not writable", "own it, or go elsewhere"
            )
        else:
            yield _level(subject, free, _DISK_GIB, room, "make room")


def _memory() -> Iterator[Finding]:
    free = psutil.virtual_memory().available / _GIB
    mend = "end something, or use a cluster that runs elsewhere"
    yield _level("memory", free, _MEMORY_GIB, f"{free:.1f} GiB available", mend)


def _level(
    subject: str, amount: float, levels: tuple[float, float], room: str, mend: str
) -> Finding:
    least, enough = levels
    if amount >= enough:
        return Finding(subject, "ok", room)
    state_name = "wrong" if amount < least else "tight"
    return Finding(subject, state_name, f"{room}, {enough:g} GiB are comfortable", mend)


def _downloads() -> Iterator[Finding]:
    pins = [pin for group in artifacts.GROUPS for pin in artifacts.pinned(group)]
    if (artifacts.cache() / f"pulsar-{artifacts.PULSAR}").is_dir():
        pins = [pin for pin in pins if pin not in artifacts.pinned("pulsar")]
    missing = [pin for pin in pins if not artifacts.is_intact(pin)]
    if missing:
        size = sum(pin.size for pin in missing) / 1e6
        found = f"{len(missing)} files ({size:.0f} MB) are not cached"
        yield Finding("jars", "tight", found, "the first start downloads them")
    else:
        yield Finding("jars", "ok", "all cached, their sha256 as pinned")


def _record() -> Iterator[Finding]:
    path = state.path()
    if not path.exists():
        yield Finding("record", "ok", "no services were started here yet")
        return
    try:
        state.load()
    except WorkbenchError as err:
        yield Finding("record", "wrong", f"{err.message} ({path})", err.hint or "")
        return
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding("record", "wrong", f"others can read {path}", f"chmod 600 {path}")
    else:
        yield Finding("record", "ok", f"{path}, readable by its owner only")


def _services() -> Iterator[Finding]:
    try:
        states = control.status()
    except WorkbenchError:  # a damaged record: told above
        return
    for service in states:
        if service.state == "up":
            yield Finding(service.name, "ok", f"up at {service.address}, {service.memory_mib} MiB")
        elif service.state == "starting":
            mend = f"workbench services logs {service.name}"
            yield Finding(service.name, "wrong", f"runs, but {service.detail}", mend)
        else:
            yield _down(service.name)


def _down(name: str) -> Finding:
    taken = [port for port in control.ports(name) if not state.is_free(port)]
    if taken:
        found = f"down, port {taken[0]} is in use by {processes.owner(taken[0])}"
        mend = f"end that process, or write another port to {state.path()}"
        return Finding(name, "wrong", found, mend)
    return Finding(name, "ok", "down, its ports are free")


def _broker() -> Iterator[Finding]:
    servers = endpoints()
    if not os.environ.get("WORKBENCH_BROKER") and not processes.processes("pulsar"):
        return  # nothing is known but a local one that is down
    try:
        with broker.connect():
            yield Finding("broker", "ok", f"listens at {servers.broker}")
        broker.topics("public/default")
        yield Finding("admin", "ok", f"answers at {servers.admin}")
    except WorkbenchError as err:
        yield Finding("broker", "wrong", err.message, err.hint or "")


def _kafka() -> Iterator[Finding]:
    if not os.environ.get("WORKBENCH_KAFKA") and not processes.processes("kafka"):
        return  # nothing is known but a local one that is down
    try:
        count = len(kafka.topics())
    except WorkbenchError as err:
        yield Finding("bootstrap", "wrong", err.message, err.hint or "")
        return
    yield Finding("bootstrap", "ok", f"Kafka answers at {endpoints().kafka}, it has {count} topics")


def _archive() -> Iterator[Finding]:
    where = endpoints().archive
    is_s3 = where.startswith(("s3://", "s3a://"))
    if not where or (is_s3 and _is_local() and not processes.processes("s3")):
        return
    if is_s3:
        yield _bucket(where)
    elif "://" in where:
        yield _remote(where)
    elif Path(where).is_dir():
        yield Finding("archive", "ok", f"folder {where}")
    else:
        yield Finding("archive", "wrong", f"there is no folder {where}", "set WORKBENCH_ARCHIVE")


def _remote(where: str) -> Finding:
    """Look at an archive on any other file system, as gs:// or abfs://, by what fsspec knows."""
    import fsspec

    mend = "check WORKBENCH_ARCHIVE, and what its file system needs (a package, credentials)"
    try:
        fs, root = fsspec.url_to_fs(where)
        fs.ls(root)
    except Exception as err:  # every file system has its own
        return Finding("archive", "wrong", f"{where}: {str(err) or type(err).__name__}", mend)
    return Finding("archive", "ok", f"{where} can be listed")


def _is_local() -> bool:
    return not os.environ.get("AWS_ENDPOINT_URL") and not os.environ.get("WORKBENCH_ARCHIVE")


def _bucket(where: str) -> Finding:
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, prefix = where.partition("://")[2].partition("/")
    try:
        s3.client(endpoints()).list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    except (BotoCoreError, ClientError, ValueError) as err:
        mend = "check WORKBENCH_ARCHIVE, AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and its secret"
        return Finding("archive", "wrong", f"{where}: {err}", mend)
    return Finding("archive", "ok", f"{where} can be listed")


def _clock() -> Iterator[Finding]:
    servers = endpoints()
    for url in [servers.admin and f"{servers.admin}/admin/v2/clusters", servers.s3_endpoint]:
        try:
            date = requests.head(url, timeout=3).headers["Date"]
        except (requests.RequestException, KeyError):
            continue  # not there, or no clock of its own
        away = abs(time.time() - email.utils.parsedate_to_datetime(date).timestamp())
        most, much = _CLOCK_S
        state_name = "wrong" if away > most else "tight" if away > much else "ok"
        mend = "" if state_name == "ok" else "set the clock by NTP, here or there"
        yield Finding("clock", state_name, f"{away:.0f} s from that of {url}", mend)
