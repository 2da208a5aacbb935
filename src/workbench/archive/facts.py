"""Facts of ledgers and messages for the cards that a notebook shows."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from workbench.archive.messages import STOP_MS
from workbench.archive.storage.ledger import Ledger
from workbench.arrays import Ints
from workbench.cards import size, sparkline
from workbench.errors import ArchiveWarning
from workbench.times import Time, instant_ms, iso

_BINS = 60


def stored_facts(ledgers: Sequence[Ledger]) -> dict[str, object]:
    """Return how much is stored of a topic, from its ledgers' indexes alone."""
    created_ms = [ledger.index.metadata.created_ms for ledger in ledgers]
    return {
        "ledgers": len(ledgers),
        "entries": sum(ledger.entries for ledger in ledgers),
        "size": size(sum(ledger.index.data_bytes for ledger in ledgers)),
        "stored": f"{minute(min(created_ms))} to {minute(max(created_ms))} "
        "(ledgers' creation, UTC)",
    }


def object_facts(ledger: Ledger) -> dict[str, object]:
    """Return what names the object that a ledger was read from."""
    return {
        "key": ledger.key,
        "etag": ledger.etag,
        "bytes": ledger.bytes,
        "ledger_id": ledger.id,
        "entries": ledger.entries,
        "topic": ledger.topic,
    }


def span_facts(start: Time, stop: Time) -> dict[str, str | None]:
    """Return the bounds of an interval as ISO-8601 texts, None where there is none."""
    bounds_ms = {"start": instant_ms(start), "stop": instant_ms(stop)}
    return {name: None if ms is None else iso(ms) for name, ms in bounds_ms.items()}


def time_facts(times: Ints) -> dict[str, object]:
    """Return when messages happened, from their event times."""
    ordered = np.sort(times[times < STOP_MS])  # the others cannot be, and would hide these
    if len(ordered) < 2:
        return {"messages": len(times)}
    first, last = int(ordered[0]), int(ordered[-1])
    longest = int(np.argmax(np.diff(ordered)))
    gap_s = (ordered[longest + 1] - ordered[longest]) / 1000
    counts, _ = np.histogram(ordered, bins=_BINS, range=(first, last + 1))
    return {
        "messages": len(times),
        "happened": f"{minute(first)} to {minute(last)} (event time, UTC)",
        "rate": f"{len(ordered) / max(1, last - first) * 60_000:.3g} messages a minute on average",
        "longest gap": f"{gap_s:.3g} s, after {minute(int(ordered[longest]))}",
        "over time": sparkline(counts.tolist()),
    }


def minute(ms: int) -> str:
    """Return a time to the minute, UTC."""
    return iso(ms, "m").replace("T", " ").rstrip("Z")


def warn_of_times(impossible: Sequence[tuple[int, int, str]]) -> None:
    """Say which messages a read leaves out for their event times: see `Topic.impossible`."""
    lost = sum(count for _, count, _ in impossible)
    if lost:
        first = next(place for _, count, place in impossible if count)
        warnings.warn(
            f"{lost} messages are left out, whose event times cannot be and so are in no "
            f"interval (negative, or from 2262 on); the first is near {first}",
            ArchiveWarning,
            stacklevel=3,
        )
