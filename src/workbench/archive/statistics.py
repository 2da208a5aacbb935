"""What earlier reads found in ledgers: bounds of their times, kinds of their fields.

The index bounds neither event time nor publish time, so the first read of an interval may read
all ledgers; later ones skip those that surely hold nothing. Where no schema is known, the fields
are those of all values, so all are looked at once. Two small files for each topic, its partitions
together, in a folder of the archive below `workbench.endpoints.home()`: a read of one topic of a
fleet loads and writes what is known of that one. Keyed by reader, object and etag; they may be
deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench import files
from workbench.archive.format.index import split_partition
from workbench.archive.ledgers import Messages
from workbench.archive.messages import times
from workbench.archive.selection import BY, Selection
from workbench.archive.storage.ledger import Ledger
from workbench.endpoints import home

READER = "workbench.archive 2"  # raise it when the same bytes would give other rows
Bounds = list[int]  # smallest, largest of each of BY, ms; empty for no messages


def bounds_of(messages: Messages) -> Bounds:
    """Return the bounds of the times of messages."""
    if not messages.table.shape[1]:
        return []
    both = [times(messages, by) for by in BY]
    return [int(bound) for times_ms in both for bound in (times_ms.min(), times_ms.max())]


class Statistics:
    """What is known of the ledgers of one topic, or partition, of an archive."""

    def __init__(self, url: str, topic: str) -> None:
        self.path = _path(url, topic, ".json")
        self._known = _load(self.path)
        self._met: dict[str, Bounds] = {}
        self._lock = threading.Lock()

    def may_hold(self, ledger: Ledger, selection: Selection) -> bool:
        """Return False only where no message of the ledger can be in the selection."""
        bounds = self._known.get(_name(ledger))
        if bounds is None:
            return True
        if not bounds:
            return False
        for by, start, stop in selection.bounds:
            least, most = bounds[2 * BY.index(by) :][:2]
            if (start is not None and most < start) or (stop is not None and least >= stop):
                return False
        return True

    def meet(self, messages: Messages) -> None:
        """Take note of messages, all that some entries of a ledger hold."""
        self.add(messages.entries.ledger, bounds_of(messages))

    def add(self, ledger: Ledger, bounds: Bounds) -> None:
        """Take note of the bounds of messages that a ledger holds."""
        if not bounds:
            return
        name = _name(ledger)
        with self._lock:
            before = self._met.get(name, bounds)
            pairs = zip(before, bounds, strict=True)
            self._met[name] = [(min, max)[i % 2](*pair) for i, pair in enumerate(pairs)]

    def keep(self, ledgers: Iterable[Ledger]) -> None:
        """Write what was met of ledgers that were read from end to end."""
        new = {_name(ledger): self._met.get(_name(ledger), []) for ledger in ledgers if ledger.etag}
        if all(self._known.get(name) == bounds for name, bounds in new.items()):
            return
        self._known = _keep(self.path, new)


class FieldKinds:
    """What the fields of a topic's JSON hold in each ledger, as `inference.Inference` has it."""

    def __init__(self, url: str, topic: str) -> None:
        self.path = _path(url, topic, "-fields.json")
        self._known = _load(self.path)

    def of(self, ledger: Ledger) -> dict[str, int] | None:
        """Return the kinds of each field in a ledger, None where it was not looked at yet."""
        return self._known.get(_name(ledger))

    def keep(self, by_ledger: Mapping[Ledger, dict[str, int]]) -> None:
        """Write the kinds in ledgers that were looked at from end to end."""
        new = {_name(ledger): kinds for ledger, kinds in by_ledger.items() if ledger.etag}
        if new:
            self._known = _keep(self.path, new)


def _path(url: str, topic: str, ending: str) -> Path:
    folder, name = (
        hashlib.sha256(text.encode()).hexdigest()[:16]
        for text in (f"{READER} {url}", split_partition(topic)[0])
    )
    return home() / "archive" / folder / f"{name}{ending}"


def _keep(path: Path, new: dict[str, Any]) -> dict[str, Any]:
    """Add to what a file holds, and return all of it."""
    content = {**_load(path), **new}
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, no more
        files.write_text(path, json.dumps(content))
    return content


def ledgers_holding(url: str, ledgers: Sequence[Ledger], selection: Selection) -> list[Ledger]:
    """Return the ledgers of a topic that may hold messages selected, by what earlier reads met."""
    if not ledgers:
        return []
    statistics = Statistics(url, ledgers[0].topic)
    return [ledger for ledger in ledgers if statistics.may_hold(ledger, selection)]


def _name(ledger: Ledger) -> str:
    return f"{ledger.key} {ledger.etag}"


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
