"""Take the last promotion of a role back: what it replaced scores again, the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from workbench.errors import StreamError
from workbench.stream.definition.stream_file import Stream, load_stream
from workbench.stream.promotion.gate import next_effective_ms, now
from workbench.stream.promotion_log import (
    Promotion,
    append,
    find_package,
    log_path,
    promotions,
)


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
    definition = load_stream(stream)
    before = promotions(definition.name, role)
    standing = _standing(before)
    if not standing:
        raise StreamError(
            f"stream {definition.name} has no {role} to take back", where=log_path(definition.name)
        )
    undone = standing[-1]
    again = _replaced(before, standing[:-1], undone)
    if not again:
        raise StreamError(
            f"there is no {role} of stream {definition.name} before {before[undone].package[:16]}",
            where=log_path(definition.name),
        )
    for promotion in again:
        find_package(promotion.package)  # the bytes of its id, whole
    moment, effective_ms = now(), next_effective_ms(before)
    fresh = [
        replace(promotion, decided=moment, effective_ms=effective_ms, why=why, undoes=undone + 1)
        for promotion in again
    ]
    append(*fresh, expected_length=len(before))
    return fresh


def _standing(log: Sequence[Promotion]) -> list[int]:
    """Return the positions of promotions that were not taken back, oldest first."""
    gone = {promotion.undoes - 1 for promotion in log if promotion.undoes is not None}
    return [at for at, promotion in enumerate(log) if promotion.undoes is None and at not in gone]


def _replaced(log: Sequence[Promotion], standing: Sequence[int], undone: int) -> list[Promotion]:
    """Return the promotions that together hold again for the sensors of the one undone."""
    wanted = set(log[undone].sensors)
    again: list[Promotion] = []
    for at in reversed(standing):
        promotion = log[at]
        sensors = set(promotion.sensors)
        shared = wanted & sensors if wanted and sensors else wanted or sensors
        if not wanted or not sensors or shared:
            again.insert(0, replace(promotion, sensors=tuple(sorted(shared))))
        if not sensors or (wanted and wanted <= sensors):
            return again  # what is older does not show any more
    return again
