"""Minima and maxima of the times in ledgers, kept from earlier reads.

The index bounds neither event time nor publish time, so the first read of an interval may read
all ledgers; later ones skip those that surely hold nothing. A small file per archive, below
`workbench.endpoints.home()`, keyed by object and etag; it may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.archive.catalogue import Ledger
from workbench.archive.messages import times
from workbench.archive.reading import Messages
from workbench.endpoints import home

if TYPE_CHECKING:
    from workbench.archive.topic import Selection

BY = ("publish_time", "event_time")
Bounds = list[int]  # smallest, largest of each of BY, ms; empty for no messages


class Statistics:
    """What is known of the ledgers of one archive."""

    def __init__(self, url: str) -> None:
        name = hashlib.sha256(url.encode()).hexdigest()[:16]
        self.path = home() / "archive" / f"{name}.json"
        self._known = _load(self.path)
        self._met: dict[str, Bounds] = {}
        self._lock = threading.Lock()

    def may_hold(self, ledger: Ledger, selection: Selection) -> bool:
        """Return False only where no message of the ledger can be in the selection."""
        known = self._known.get(_name(ledger))
        if known is None:
            return True
        if not known:
            return False
        for by, start, stop in selection.bounds:
            least, most = known[2 * BY.index(by) :][:2]
            if (start is not None and most < start) or (stop is not None and least >= stop):
                return False
        return True

    def meet(self, messages: Messages) -> None:
        """Take note of messages, all that some entries of a ledger hold."""
        if not messages.table.shape[1]:
            return
        found = []
        for by in BY:
            at = times(messages, by)
            found += [int(at.min()), int(at.max())]
        name = _name(messages.entries.ledger)
        with self._lock:
            known = self._met.get(name, found)
            pairs = zip(known, found, strict=True)
            self._met[name] = [(min, max)[i % 2](*pair) for i, pair in enumerate(pairs)]

    def keep(self, ledgers: Iterable[Ledger]) -> None:
        """Write what was met of ledgers that were read from end to end."""
        new = {_name(one): self._met.get(_name(one), []) for one in ledgers if one.etag}
        if all(self._known.get(name) == bounds for name, bounds in new.items()):
            return
        self._known = {**_load(self.path), **new}
        partial = self.path.with_suffix(f".{os.getpid()}.partial")
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time, no more
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(self._known))
            partial.replace(self.path)


def _name(ledger: Ledger) -> str:
    return f"{ledger.key} {ledger.etag}"


def _load(path: Path) -> dict[str, Bounds]:
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
