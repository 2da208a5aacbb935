"""Take the last promotion of a role back: what it replaced scores again, the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from workbench.errors import StreamError
from workbench.stream.definition import Stream, load_stream
from workbench.stream.gate import next_effective_ms, now
from workbench.stream.promotions import Promotion, append, find_package, log_path, promotions


def rollback(
    stream: str | Path | Stream, *, role: str = "champion", why: str = ""
) -> list[Promotion]:
    """Put back what held before the last promotion of a role, and return the lines written.

    Nothing in the log is changed: the same package ids come again behind the others, from a margin
    ahead of now, and each says which one it takes back. A second rollback goes one further back.

    Raises
    ------
    StreamError
        If there is nothing to take back, nothing before it, or somebody else promotes meanwhile.
    PackageError
        If the package before is not in the store any more, or its bytes are not what they were.
    """
    found = load_stream(stream)
    before = promotions(found.name, role)
    standing = _standing(before)
    if not standing:
        raise StreamError(
            f"stream {found.name} has no {role} to take back", where=log_path(found.name)
        )
    undone = standing[-1]
    again = _replaced(before, standing[:-1], undone)
    if not again:
        raise StreamError(
            f"there is no {role} of stream {found.name} before {before[undone].package[:16]}",
            where=log_path(found.name),
        )
    for one in again:
        find_package(one.package)  # the bytes of its id, whole
    moment, effective_ms = now(), next_effective_ms(before)
    fresh = [
        replace(one, decided=moment, effective_ms=effective_ms, why=why, undoes=undone + 1)
        for one in again
    ]
    append(*fresh, seen=len(before))
    return fresh


def _standing(log: Sequence[Promotion]) -> list[int]:
    """Return the positions of promotions that were not taken back, oldest first."""
    gone = {one.undoes - 1 for one in log if one.undoes is not None}
    return [at for at, one in enumerate(log) if one.undoes is None and at not in gone]


def _replaced(log: Sequence[Promotion], standing: Sequence[int], undone: int) -> list[Promotion]:
    """Return the promotions that together hold again for the sensors of the one undone."""
    wanted = set(log[undone].sensors)
    again: list[Promotion] = []
    for at in reversed(standing):
        one = log[at]
        own = set(one.sensors)
        shared = wanted & own if wanted and own else wanted or own
        if not wanted or not own or shared:
            again.insert(0, replace(one, sensors=tuple(sorted(shared))))
        if not own or (wanted and wanted <= own):
            return again  # what is older does not show any more
    return again
