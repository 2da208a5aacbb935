"""Which messages of a topic are wanted: bounds on time, half-open, and places."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.archive import messages as msg
from workbench.archive.compaction import Place, is_among
from workbench.archive.ledgers import Messages
from workbench.errors import ArchiveError, did_you_mean
from workbench.times import Time, instant_ms

BY = ("publish_time", "event_time")


@dataclass(frozen=True)
class Selection:
    """Which messages are wanted: those within all of `bounds`.

    Attributes
    ----------
    bounds
        (`publish_time` or `event_time`, start, stop), ms since 1970, None is unbounded.
    places
        Where they stand, None is anywhere: those that compaction leaves.
    """

    bounds: tuple[tuple[str, int | None, int | None], ...] = ()
    places: frozenset[Place] | None = None

    @classmethod
    def of(cls, start: Time, stop: Time, by: str) -> Selection:
        """Return the selection of `by` in [start, stop)."""
        if by not in BY:
            raise ArchiveError(f"cannot select by {by!r}", hint=did_you_mean(by, list(BY)))
        return cls(((by, instant_ms(start), instant_ms(stop)),))

    def within(self, messages: Messages) -> Messages:
        """Return the messages wanted."""
        for by, start_ms, stop_ms in self.bounds:
            messages = msg.within(messages, by, start_ms, stop_ms)
        return (
            messages
            if self.places is None
            else msg.chosen(messages, is_among(messages, self.places))
        )
