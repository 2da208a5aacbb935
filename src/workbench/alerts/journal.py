"""What became of each alert on a route, on disk before the broker is told: a file that only grows.

    {"at": "2026-...Z", "id": "9f...", "status": "open", "outcome": "sent"}

`failed` lines count the tries, over restarts too; `dead` ones hold the alert, for it is nowhere
else once the broker was told. What a full disk does not take is kept in memory, so that nobody is
told twice meanwhile, and written with the next line that there is room for.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeAlias

from workbench import files
from workbench.alerts.routing import Alert
from workbench.endpoints import home
from workbench.errors import JournalWarning
from workbench.times import iso, now_ms

Outcome: TypeAlias = Literal["sent", "failed", "dead", "silent"]


def journal_path(stream: str, route: str) -> Path:
    """Return the file that a route's journal is kept in."""
    return home() / "alerts" / stream / f"{route}.jsonl"


class Journal:
    """The journal of one route.

    Attributes
    ----------
    path
        Where it is kept; None: in memory alone.
    counts
        How often each outcome was.
    last_sent, last_failure
        When the last message went, and the line of the last failure; empty: none.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self.last_sent = ""
        self.last_failure: dict[str, Any] = {}
        self._settled: set[tuple[str, str]] = set()
        self._tries: Counter[tuple[str, str]] = Counter()
        self._open: dict[str, Alert] = {}
        self._read_bytes = 0
        self._unwritten: list[str] = []
        self._noted: Counter[str] = Counter()  # lines that were unwritten: not news when read
        self.catch_up()

    def catch_up(self) -> None:
        """Note what was written since the last look, by another notifier too: one may stand by."""
        if self.path is None or not self.path.is_file():
            return
        with self.path.open("rb") as file:  # line by line: it holds all alerts there ever were
            file.seek(self._read_bytes)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read_bytes += len(line)
                self._note_written(line[:-1].decode())

    def _note_written(self, line: str) -> None:
        if self._noted[line]:
            self._noted[line] -= 1
        else:
            self._note(json.loads(line))

    def settled(self, alert: Alert) -> bool:
        """Tell whether an alert was sent in this state or a later one, given up, or silent."""
        key = (alert["id"], alert["status"])
        return key in self._settled or (alert["id"], "closed") in self._settled

    def tries(self, alert: Alert) -> int:
        """Return how often an alert in this state was tried in vain."""
        return self._tries[alert["id"], alert["status"]]

    @property
    def waiting(self) -> int:
        """How many alerts failed and are neither sent nor given up."""
        settled = self._settled
        return sum(not {key, (key[0], "closed")} & settled for key in self._tries)

    def told_open(self, alert: Alert) -> bool:
        """Tell whether an alert was sent as open, and not as closed."""
        return alert["id"] in self._open

    @property
    def open_alerts(self) -> list[Alert]:
        """Alerts that were sent as open and not as closed."""
        return list(self._open.values())

    def record(self, outcome: Outcome, alerts: Iterable[Alert], reason: str = "") -> bool:
        """Write what became of alerts; return whether all that there is to write is on disk."""
        for alert in alerts:
            line: dict[str, Any] = {
                "at": iso(now_ms()),
                "id": alert["id"],
                "status": alert["status"],
                "outcome": outcome,
            }
            if reason:
                line["reason"] = reason
            if outcome == "dead" or (outcome == "sent" and alert["status"] == "open"):
                line["alert"] = dict(alert)
            if self.path is None:
                self._note(line)
            else:
                self._write(self.path, line)
        return not self._unwritten

    def _write(self, path: Path, line: dict[str, Any]) -> None:
        """Add a line, and before it what there was no room for."""
        text = json.dumps(line)
        try:
            while self._unwritten:
                files.append_line(path, self._unwritten[0])
                self._noted[self._unwritten.pop(0)] += 1
            files.append_line(path, text)
            self.catch_up()
        except OSError as err:
            message = f"{path} cannot be written: {err.strerror or err}; what it lacks is in memory"
            warnings.warn(JournalWarning(message), stacklevel=5)
            self._unwritten.append(text)
            self._note(line)

    def _note(self, line: dict[str, Any]) -> None:
        key, outcome = (line["id"], line["status"]), line["outcome"]
        self.counts[outcome] += 1
        if outcome == "failed":
            self._tries[key] += 1
            self.last_failure = line
            return
        self._settled.add(key)
        if key[1] == "closed":
            self._settled.discard((key[0], "open"))  # which that says, too
        if outcome == "sent":
            self.last_sent = line["at"]
        if key[1] == "closed":
            self._open.pop(key[0], None)
        elif outcome == "sent":
            self._open[key[0]] = line["alert"]


__all__ = ["Journal", "journal_path"]
