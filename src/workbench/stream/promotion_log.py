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

import json
import os
import secrets
import time
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from workbench import detectors, files
from workbench.arrays import Ints, Objects
from workbench.endpoints import project
from workbench.errors import PackageError, StoreWarning, StreamError, did_you_mean
from workbench.times import instant_ms, iso

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
        Why it was promoted although it is worse, why it was fitted again, on what its threshold was
        bought alone, or why another was rolled back.
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
    return [promotion for promotion in known if role in (None, promotion.role)]


def _parse(line: str, where: str) -> Promotion:
    try:
        values = json.loads(line)
        return Promotion(**{**values, "sensors": tuple(values["sensors"])})
    except (ValueError, TypeError, KeyError) as err:
        raise StreamError(f"the promotion cannot be read: {err}", where=where) from err


def append(*fresh: Promotion, expected_length: int | None = None) -> None:
    """Write promotions of one role of one stream behind the others, all of them or none.

    Parameters
    ----------
    expected_length
        How many promotions of the role the log had when this was decided; with more, somebody
        else has promoted meanwhile. None: that does not matter.

    Raises
    ------
    StreamError
        If one would hold from before the last one of its role, or before now; or the log has
        grown.
    """
    path = log_path(fresh[0].stream)
    with files.locked(path.parent / ".lock"):
        before = promotions(fresh[0].stream, fresh[0].role)
        if expected_length is not None and len(before) > expected_length:
            raise _overtaken(before[-1], path)
        check_order(fresh[0], before)
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        files.write_text(
            path, text + "".join(json.dumps(asdict(promotion)) + "\n" for promotion in fresh)
        )


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
    decided_ms = instant_ms(before[-1].decided)
    if decided_ms is not None and decided_ms > now_ms + MARGIN_S * 1000:
        raise StreamError(
            f"it is {iso(now_ms)} here, and the last promotion was decided at "
            f"{before[-1].decided}: a clock went back, or was ahead then",
            where=log_path(promotion.stream),
            hint="set this machine's clock right; if it is, wait until then",
        )
    if promotion.effective_ms < last:
        raise StreamError(
            f"the promotion would hold from {promotion.effective}, before the last one's "
            f"{before[-1].effective}",
            where=log_path(promotion.stream),
            hint=f"--effective {before[-1].effective} or later; or take that one back: "
            "workbench rollback",
        )
    if promotion.effective_ms < now_ms:
        raise StreamError(
            f"the promotion would hold from {promotion.effective}, now is {iso(now_ms)}",
            hint="readings from before now have been scored: choose a time ahead",
        )


def add_package(folder: str | Path, *, package_id: str | None = None) -> str:
    """Write a package into the store, byte for byte as it was checked, and return its id.

    What stands there under its id and is not it, is set aside under a name with a dot in front,
    and a `StoreWarning` says so.

    Parameters
    ----------
    package_id
        The id that it must have; None: any.

    Raises
    ------
    PackageError
        If it is not what `detectors.save` writes, or another one.
    """
    package, contents = detectors.load_with_bytes(folder, package_id=package_id)
    target = store() / "packages" / package.id
    if os.path.lexists(target):
        try:
            detectors.load(target, package_id=package.id)
        except PackageError as err:
            _set_aside(target, err)
        else:
            return package.id
    with files.new_folder(target) as part:
        for name, content in contents.items():
            files.write_bytes(part / name, content)
    return package.id


def _set_aside(entry: Path, err: PackageError) -> None:
    aside = entry.with_name(f".damaged-{entry.name[:16]}-{secrets.token_hex(4)}")
    files.move(entry, aside)
    message = f"{entry} was damaged ({err.message}): it is set aside as {aside.name}"
    warnings.warn(StoreWarning(message), stacklevel=3)


def find_package(name: str, folder: Path | None = None) -> detectors.Package:
    """Return the package in the store whose id starts with `name`.

    Raises
    ------
    PackageError
        If none does, or several do, or it is damaged.
    """
    packages = (folder or store()) / "packages"
    ids = sorted(package_id.name for package_id in packages.glob("[0-9a-f]*"))
    matches = [package_id for package_id in ids if name and package_id.startswith(name)]
    if len(matches) != 1:
        raise PackageError(
            f"{len(matches)} packages in the store start with {name!r}",
            where=packages,
            hint=did_you_mean(name, [package_id[:16] for package_id in ids]),
        )
    try:
        return detectors.load(packages / matches[0], package_id=matches[0])
    except PackageError as err:
        hint = "it was damaged in the store: promote its run again, which sets this one aside"
        raise PackageError(err.message, where=err.where, hint=hint) from err


def in_force(log: Iterable[Promotion], sensors: Objects, times_ms: Ints) -> Ints:
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
    positions = np.full(len(times_ms), -1, dtype=np.int64)
    for position, promotion in enumerate(log):
        holds = times_ms >= promotion.effective_ms
        if promotion.sensors:
            holds[holds] = detectors.of_sensors(sensors[holds], promotion.sensors)
        positions[holds] = position
    return positions
