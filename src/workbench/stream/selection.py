"""Which packages a job starts with, and by which rules they alert."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from workbench.detectors import EpisodeRule, Package
from workbench.errors import StreamError
from workbench.stream.definition import Stream
from workbench.stream.promotions import ROLES, find_package, promotions, store
from workbench.stream.views import SHADOW

if TYPE_CHECKING:
    from workbench.stream.scoring import Scored


def chosen(stream: Stream, package: str | None = None) -> Package:
    """Return the package that a stream starts with: `package`, or what its `detector` names.

    Raises
    ------
    StreamError
        If nothing was promoted, or the package does not fit the stream.
    """
    wanted = package or stream.detector
    if wanted not in ROLES:
        found = find_package(wanted)
    else:
        log = promotions(stream.name, wanted)
        if not log:
            raise StreamError(
                f"stream {stream.name} has no {wanted} yet",
                where=store(),
                hint=f"workbench promote RUN --stream {stream.name} --as {wanted}",
            )
        found = find_package(log[-1].package)
    reasons = misfits(stream, found)
    if reasons:
        raise StreamError(f"package {found.id[:16]} does not fit: {'; '.join(reasons)}")
    return found


def started(stream: Stream, package: str | None = None) -> Package | None:
    """Return the package that a job starts with, as `chosen`; None if the stream has no detector.

    Raises
    ------
    StreamError
        As `chosen`; or if a package beside it does not fit the stream.
    """
    for one in stream.also:
        chosen(replace(stream, detector=one))
    return chosen(stream, package) if package or stream.detects else None


def misfits(stream: Stream, package: Package) -> list[str]:
    """Return why a package cannot score a stream; nothing if it can."""
    reasons = []
    missing = [one for one in package.detector.channels if one not in stream.measured]
    if missing:
        reasons.append(f"the stream has no channel {', '.join(missing)}")
    if package.detector.window > stream.window:
        reasons.append(f"its window is {package.detector.window}, the stream's {stream.window}")
    return reasons


def scorers(
    stream: Stream, package: Package | None, role: str
) -> Iterator[tuple[str, Scored, EpisodeRule]]:
    """Yield the tag, the packages and the rule of each detector of a job."""
    from workbench.stream.scoring import Scored

    if not stream.detects and package is None:
        return
    place = str(store().resolve())
    fixed = "" if role in ROLES else package.id if package else role
    usual = stream.rule or (package.rule if package else EpisodeRule())
    yield "", Scored(stream.name, role, place, fixed, stream.threshold), usual
    for number, one in enumerate(stream.also, start=2):
        beside = find_package(one)
        yield f"_{number}", Scored(stream.name, "", place, beside.id), stream.rule or beside.rule
    if stream.shadow:
        log = promotions(stream.name, "challenger")
        rule = stream.rule or (find_package(log[-1].package).rule if log else usual)
        yield SHADOW, Scored(stream.name, "challenger", place, "", stream.threshold), rule
