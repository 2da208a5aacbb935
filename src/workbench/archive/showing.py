"""What an archive and a topic show of themselves in a notebook."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np

from workbench.archive.columns import Ints
from workbench.cards import Card, size, sparkline
from workbench.errors import ArchiveError

if TYPE_CHECKING:
    from workbench.archive.archive import Archive
    from workbench.archive.topic import Topic

_MOST_BYTES = 32 << 20  # of a topic, up to which its messages are read to be shown
_BINS = 60


def archive_card(archive: Archive) -> Card:
    """Return where it is, and a row for each topic."""
    facts = {
        "topics": len(archive.names()),
        "ledgers": sum(map(len, archive.catalogue.ledgers.values())),
        "wrong": [error.message for error in archive.catalogue.problems],
        "left over": len(archive.catalogue.leftovers) or None,
    }
    rows = [{"topic": name, **_stored(archive.topic(name))} for name in archive.names()]
    return Card("archive", archive.store.url, facts, rows)


def topic_card(topic: Topic) -> Card:
    """Return what is stored of a topic and, unless it is large, when its messages happened."""
    stored = _stored(topic)
    return Card("topic", topic.name, {**stored, **_read(topic)})


def _read(topic: Topic) -> dict[str, object]:
    if sum(one.index.data_bytes for one in topic.ledgers) > _MOST_BYTES:
        return {"messages": "not read, it is large: messages(start, stop) reads a part"}
    try:
        return {"fields": topic.fields(), **_times(topic.times())}
    except ArchiveError as error:
        return {"unreadable": str(error)}


def _stored(topic: Topic) -> dict[str, object]:
    created = [one.index.metadata.created_ms for one in topic.ledgers]
    return {
        "ledgers": len(topic.ledgers),
        "entries": sum(one.entries for one in topic.ledgers),
        "size": size(sum(one.index.data_bytes for one in topic.ledgers)),
        "stored": f"{_minute(min(created))} to {_minute(max(created))} (ledgers' creation, UTC)",
    }


def _times(times: Ints) -> dict[str, object]:
    if len(times) < 2:
        return {"messages": len(times)}
    ordered = np.sort(times)
    first, last = int(ordered[0]), int(ordered[-1])
    longest = int(np.argmax(np.diff(ordered)))
    gap_s = (ordered[longest + 1] - ordered[longest]) / 1000
    counts, _ = np.histogram(ordered, bins=_BINS, range=(first, last + 1))
    return {
        "messages": len(times),
        "happened": f"{_minute(first)} to {_minute(last)} (event time, UTC)",
        "rate": f"{len(times) / max(1, last - first) * 60_000:.3g} messages a minute on average",
        "longest gap": f"{gap_s:.3g} s, after {_minute(int(ordered[longest]))}",
        "over time": sparkline(counts.tolist()),
    }


def _minute(ms: int) -> str:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M")
