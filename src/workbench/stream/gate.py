"""The gate: what must hold before a detector may score a stream, and how it then does."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from workbench import detectors
from workbench.errors import PackageError, PromotionRefused, StreamError, did_you_mean
from workbench.stream.definition import Stream, load_stream
from workbench.stream.job import misfits
from workbench.stream.parity import READINGS, parity
from workbench.stream.promotions import (
    BEGINNING,
    MARGIN_S,
    ROLES,
    Promotion,
    add_package,
    append,
    find_package,
    iso,
    promotions,
    store,
)


def promote(
    run: str | Path,
    *,
    stream: str | Path | Stream,
    role: str = "champion",
    threshold: float | None = None,
    sensors: tuple[str, ...] = (),
    effective: str | None = None,
    readings: int = READINGS,
    frame: pd.DataFrame | None = None,
) -> Promotion:
    """Let the detector of a run score a stream, if it passes the gate.

    What already is so is not done again.

    Parameters
    ----------
    run
        Folder of a run, or of a package itself.
    role
        `champion` decides alerts; `challenger` scores beside it.
    threshold
        In place of the package's.
    sensors
        The sensors it is for; empty: all.
    effective
        Event time from which it holds, ISO-8601 UTC. If left out: the first one of a role, the
        first reading; a later one, 30 s from now.
    readings, frame
        What parity is proven on: so many of the archive's last readings, or these.

    Raises
    ------
    PromotionRefused
        With every reason at once; nothing is promoted then.
    StreamError
        If the stream file is wrong, or the time is in the past.
    """
    found = load_stream(stream)
    if role not in ROLES:
        raise StreamError(f"there is no role {role!r}", hint=did_you_mean(role, ROLES))
    package = detectors.load(_package_folder(Path(run)))
    standing = _standing(found, role, package, threshold, sensors)
    if standing and effective is None:
        return standing
    reasons = [*misfits(found, package), *_rule_differs(found, package, role)]
    if reasons:
        raise _refusal(package, found, reasons)
    add_package(_package_folder(Path(run)))
    certificate = parity(found, frame, package=package.id, readings=readings)
    now = datetime.now(UTC)
    path = store() / "streams" / found.name / f"parity-{package.id[:16]}-{now:%Y%m%dT%H%M%SZ}.json"
    certificate.write(path)
    if not certificate.passed:
        raise _refusal(package, found, certificate.reasons(), where=path)
    promotion = Promotion(
        stream=found.name,
        role=role,
        package=package.id,
        threshold=threshold,
        sensors=tuple(sensors),
        effective_ms=_effective_ms(found, role, effective),
        decided=iso(round(now.timestamp() * 1000)),
        certificate=str(path.relative_to(store())),
    )
    append(promotion)
    return promotion


def _package_folder(run: Path) -> Path:
    if (run / "detector.json").is_file():
        return run
    if (run / "detector").is_dir():
        return run / "detector"
    raise PackageError("the run has no detector package", where=run)


def _standing(
    stream: Stream,
    role: str,
    package: detectors.Package,
    threshold: float | None,
    sensors: tuple[str, ...],
) -> Promotion | None:
    """Return the promotion that says just this already, if it is the last one of its role."""
    for last in promotions(stream.name, role)[-1:]:
        if (last.package, last.threshold, last.sensors) == (package.id, threshold, tuple(sensors)):
            return last
    return None


def _rule_differs(stream: Stream, package: detectors.Package, role: str) -> list[str]:
    """A running job has one rule: the stream's, or that of its first package."""
    before = promotions(stream.name, role)
    if stream.rule or not before:
        return []
    rule = find_package(before[-1].package).rule
    if rule == package.rule:
        return []
    return [
        f"its rule is k={package.rule.k}, n={package.rule.n}, m={package.rule.m}, the {role} has "
        f"k={rule.k}, n={rule.n}, m={rule.m}: train with that one, or give the stream a rule"
    ]


def _refusal(
    package: detectors.Package, stream: Stream, reasons: list[str], *, where: Path | None = None
) -> PromotionRefused:
    listed = "".join(f"\n  - {one}" for one in reasons)
    return PromotionRefused(
        f"package {package.id[:16]} is refused for stream {stream.name}:{listed}", where=where
    )


def _effective_ms(stream: Stream, role: str, effective: str | None) -> int:
    if effective:
        try:
            moment = pd.Timestamp(effective)
        except ValueError as err:
            raise StreamError(f"{effective!r} is not a time", hint="2026-01-12T00:00:00Z") from err
        zoned = moment.tz_localize("UTC") if moment.tzinfo is None else moment
        return int(zoned.value // 1_000_000)
    if not promotions(stream.name, role):
        return BEGINNING
    return round((time.time() + MARGIN_S) * 1000)
