"""Which packages a job starts with, and by which rules they alert."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from workbench.detectors import EpisodeRule, Package
from workbench.errors import StreamError
from workbench.stream.definition.stream_file import Stream
from workbench.stream.flink_sql.views import SHADOW
from workbench.stream.promotion_log import (
    ROLES,
    find_package,
    promotions,
    store,
)
from workbench.stream.scoring import Scored


def chosen(stream: Stream, package: str | None = None) -> Package:
    """Return the package that a stream starts with: `package`, or what its `detector` names.

    Raises
    ------
    StreamError
        If nothing was promoted, or the package does not fit the stream.
    """
    wanted = package or stream.detector
    selected = find_package(_promoted(stream, wanted) if wanted in ROLES else wanted)
    reasons = misfits(stream, selected)
    if reasons:
        raise StreamError(f"package {selected.id[:16]} does not fit: {'; '.join(reasons)}")
    return selected


def _promoted(stream: Stream, role: str) -> str:
    log = promotions(stream.name, role)
    if not log:
        raise StreamError(
            f"stream {stream.name} has no {role} yet",
            where=store(),
            hint=f"workbench promote RUN --stream {stream.name} --as {role}",
        )
    return log[-1].package


def as_promoted(stream: Stream) -> Stream:
    """Return a stream with the threshold that its detector was promoted with, if with one.

    That of the newest promotion of the role, where the stream declares none itself.
    """
    log = promotions(stream.name, stream.detector) if stream.detector in ROLES else []
    if not log or stream.threshold is not None:
        return stream
    return replace(stream, threshold=log[-1].threshold)


@dataclass(frozen=True)
class Selection:
    """What scores the readings of a stream: a promoted role, or one fixed package.

    Attributes
    ----------
    role
        Whose promotions say which package scores a reading; empty: `package` scores all of them.
    package
        The one that a job starts with, and whose rule holds; None: the stream has no detector, or
        (in SQL alone) its rule is known without one.
    """

    stream: Stream
    role: str
    package: Package | None

    def main(self, place: str) -> Scored:
        """Return what the main detector of the stream scores with, from the store at `place`."""
        fixed = "" if self.role or self.package is None else self.package.id
        return Scored(self.stream.name, self.role, place, fixed, self.stream.threshold)


def select(stream: Stream, package: str | None = None) -> Selection:
    """Return what scores a stream: `package`, or what its `detector` names.

    Raises
    ------
    StreamError
        As `chosen`; or if a package beside it does not fit the stream.
    """
    for beside in stream.also:
        chosen(stream, beside)
    if package is None and not stream.detects:
        return Selection(stream, "", None)
    role = stream.detector if package is None and stream.detector in ROLES else ""
    return Selection(stream, role, chosen(stream, package))


def misfits(stream: Stream, package: Package) -> list[str]:
    """Return why a package cannot score a stream; nothing if it can."""
    reasons = []
    missing = [name for name in package.detector.channels if name not in stream.measured]
    if missing:
        reasons.append(f"the stream has no channel {', '.join(missing)}")
    if package.detector.window > stream.window:
        reasons.append(f"its window is {package.detector.window}, the stream's {stream.window}")
    return reasons


def scorers(selection: Selection) -> Iterator[tuple[str, Scored, EpisodeRule]]:
    """Yield the tag, the packages and the rule of each detector of a job."""
    stream, package, place = selection.stream, selection.package, str(store().resolve())
    if package is None and not selection.role:
        return
    usual = stream.rule or (package.rule if package else EpisodeRule())
    yield "", selection.main(place), usual
    for number, name in enumerate(stream.also, start=2):
        beside = find_package(name)
        yield f"_{number}", Scored(stream.name, "", place, beside.id), stream.rule or beside.rule
    if stream.shadow:
        log = promotions(stream.name, "challenger")
        rule = stream.rule or (find_package(log[-1].package).rule if log else usual)
        yield SHADOW, Scored(stream.name, "challenger", place, "", stream.threshold), rule
