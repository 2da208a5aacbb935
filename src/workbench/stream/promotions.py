"""The promotions log of a stream: which package scores which reading.

    STORE/packages/ID/                    detector packages, by the id of their bytes
    STORE/streams/NAME/promotions.jsonl   one line per promotion, never changed afterwards
    STORE/streams/NAME/gate-*.json        what the gate found of each candidate (`verdict`)
    STORE/streams/NAME/parity-*.json      certificates

STORE is `WORKBENCH_STORE`, or `store/`. A line names role, package, threshold, sensors, and the
event time from which it holds. The first one of a role holds from the first reading; a later one
from a margin ahead of now, and never before the last one's: so a running job, which reads the log
every few seconds, a replay and a backtest all switch at the same reading.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench import detectors
from workbench.endpoints import project
from workbench.errors import PackageError, StreamError, did_you_mean

ROLES = ("champion", "challenger")
MARGIN_S = 30.0  # a running job has read the log by then
BEGINNING = -(2**62)  # effective time of the first promotion: before every reading


@dataclass(frozen=True)
class Promotion:
    """One line of the log.

    Attributes
    ----------
    stream, role, package
        Which package, by its full id, has which role on which stream.
    threshold
        In place of the package's; None: the package's.
    effective_ms
        Event time from which it holds.
    decided
        When it was written, ISO-8601 UTC.
    sensors
        The sensors it holds for; empty: all.
    certificate, gate
        Paths of the parity certificate and of the gate's verdict, from the store; empty: none.
    why
        Why it was promoted although it is worse, or why another was rolled back.
    undoes
        Which promotion of its role, the first is 1, this one takes back; None: it is no rollback.
    """

    stream: str
    role: str
    package: str
    effective_ms: int
    decided: str
    threshold: float | None = None
    sensors: tuple[str, ...] = ()
    certificate: str = ""
    gate: str = ""
    why: str = ""
    undoes: int | None = None

    @property
    def effective(self) -> str:
        """From when it holds, for people."""
        if self.effective_ms <= BEGINNING:
            return "the first reading"
        return iso(self.effective_ms)


def iso(time_ms: int) -> str:
    """Return epoch milliseconds as ISO-8601.

    Examples
    --------
    >>> iso(1_767_571_200_000)
    '2026-01-05T00:00:00.000Z'
    """
    moment = datetime.fromtimestamp(time_ms / 1000, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def store() -> Path:
    """Return the folder of packages and promotions: `WORKBENCH_STORE`, or `store`."""
    return project() / os.environ.get("WORKBENCH_STORE", "store")


def log_path(stream: str, folder: Path | None = None) -> Path:
    """Return where the promotions of a stream are written."""
    return (folder or store()) / "streams" / stream / "promotions.jsonl"


def promotions(
    stream: str, role: str | None = None, *, folder: Path | None = None
) -> list[Promotion]:
    """Return the promotions of a stream, oldest first.

    Raises
    ------
    StreamError
        If a line of the log is not what `append` writes.
    """
    path = log_path(stream, folder)
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    known = [_parse(line, f"{path}, line {n}") for n, line in enumerate(lines, 1)]
    return [one for one in known if role in (None, one.role)]


def _parse(line: str, where: str) -> Promotion:
    try:
        values = json.loads(line)
        return Promotion(**{**values, "sensors": tuple(values["sensors"])})
    except (ValueError, TypeError, KeyError) as err:
        raise StreamError(f"the promotion cannot be read: {err}", where=where) from err


def append(*fresh: Promotion, seen: int | None = None) -> None:
    """Write promotions of one role of one stream behind the others, all of them or none.

    Parameters
    ----------
    seen
        How many promotions of the role the log had when this was decided; with more, somebody
        else has promoted meanwhile. None: that does not matter.

    Raises
    ------
    StreamError
        If one would hold from before the last one of its role, or before now; or the log has
        grown.
    """
    path = log_path(fresh[0].stream)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = promotions(fresh[0].stream, fresh[0].role)
        if seen is not None and len(before) > seen:
            raise _overtaken(before[-1], path)
        check_order(fresh[0], before)
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        _replace(path, text + "".join(json.dumps(asdict(one)) + "\n" for one in fresh))


def _overtaken(last: Promotion, path: Path) -> StreamError:
    return StreamError(
        f"somebody else promoted {last.package[:16]} as {last.role} at {last.decided}, after this "
        "one was compared with what scored the stream then",
        where=path,
        hint="nothing is promoted: look at `workbench promotions`, then do it again",
    )


def check_order(promotion: Promotion, before: list[Promotion]) -> None:
    """Refuse a promotion that would hold from before the last one of its role, or before now."""
    if not before:
        return
    last, now_ms = before[-1].effective_ms, round(time.time() * 1000)
    if promotion.effective_ms < last:
        raise StreamError(
            f"the promotion would hold from {promotion.effective}, before the last one's "
            f"{before[-1].effective}",
            where=log_path(promotion.stream),
        )
    if promotion.effective_ms < now_ms:
        raise StreamError(
            f"the promotion would hold from {promotion.effective}, now is {iso(now_ms)}",
            hint="readings from before now have been scored: choose a time ahead",
        )


def _replace(path: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).chmod(0o644)
    Path(temporary).replace(path)


def add_package(folder: str | Path) -> str:
    """Copy a checked package into the store, and return its id."""
    package = detectors.load(folder)
    target = store() / "packages" / package.id
    if target.is_dir():
        detectors.load(target, package_id=package.id)
        return package.id
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".new-"))
    try:
        shutil.copytree(folder, temporary / "package")
        (temporary / "package").replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return package.id


def find_package(name: str, folder: Path | None = None) -> detectors.Package:
    """Return the package in the store whose id starts with `name`.

    Raises
    ------
    PackageError
        If none does, or several do, or it is damaged.
    """
    packages = (folder or store()) / "packages"
    known = sorted(one.name for one in packages.glob("[0-9a-f]*"))
    found = [one for one in known if name and one.startswith(name)]
    if len(found) != 1:
        raise PackageError(
            f"{len(found)} packages in the store start with {name!r}",
            where=packages,
            hint=did_you_mean(name, [one[:16] for one in known]),
        )
    return detectors.load(packages / found[0], package_id=found[0])


def in_force(
    log: Iterable[Promotion], sensors: NDArray[np.object_], times_ms: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return which promotion of `log` holds for each reading, -1 where none does.

    Parameters
    ----------
    log
        Promotions of one role, oldest first; of two that hold, the later one wins.
    sensors, times_ms
        Shape (n,): sensor and event time of each reading.

    Examples
    --------
    >>> log = [Promotion("s", "champion", p, t, "") for p, t in (("a", 0), ("b", 20))]
    >>> in_force(log, np.array(["x"] * 3, dtype=object), np.array([-5, 19, 20]))
    array([-1,  0,  1])
    """
    found = np.full(len(times_ms), -1, dtype=np.int64)
    for position, one in enumerate(log):
        holds = times_ms >= one.effective_ms
        if one.sensors:
            holds &= np.isin(sensors.astype(str), one.sensors)
        found[holds] = position
    return found
