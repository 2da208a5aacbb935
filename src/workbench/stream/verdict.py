"""What the gate found of one candidate, kept in the store whether it passed or not.

STORE/streams/NAME/gate-PACKAGE-TIME.json
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from workbench.cards import Card, Shown
from workbench.errors import StreamError
from workbench.stream.checks import Finding
from workbench.stream.promotions import Promotion, store


@dataclass(frozen=True)
class Verdict(Shown):
    """What the gate found.

    Attributes
    ----------
    stream, role
        What the candidate is for.
    package
        The candidate's id; empty if it could not be loaded.
    run
        Where it came from.
    champion
        Id of the package it was compared with; empty: none.
    span
        Of the readings that it was judged on: first and last event time, ISO-8601 UTC.
    decided
        When, ISO-8601 UTC.
    findings
        One for each thing asked.
    why
        Why it may be worse; empty: it may not.
    """

    stream: str
    role: str
    package: str
    run: str
    champion: str
    span: tuple[str, str]
    decided: str
    findings: tuple[Finding, ...]
    why: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons()

    def reasons(self) -> list[str]:
        """Return what speaks against it, a line each."""
        return [
            f"{one.check}: {one.found}" + (f" (wanted: {one.wanted})" if one.wanted else "")
            for one in self.findings
            if one.passed is False
        ]

    def card(self) -> Card:
        """Return what a notebook and a terminal show of it."""
        facts = {
            "verdict": "passed" if self.passed else "refused",
            "package": self.package[:16],
            "champion": self.champion[:16],
            "judged on": " to ".join(f"{one[:16]}Z" for one in self.span if one),
            "why": self.why,
        }
        rows = [
            {"": one.verdict, "check": one.check, "found": one.found, "wanted": one.wanted or ""}
            for one in self.findings
        ]
        return Card("gate", f"{self.stream}, {self.role}", facts, rows)

    def json(self) -> str:
        """Return the verdict as JSON."""
        return json.dumps({"passed": self.passed, **asdict(self)}, indent=1)

    def write(self) -> Path:
        """Keep it in the store, whole or not at all, and return where."""
        time = self.decided[:19].replace("-", "").replace(":", "")
        folder = store() / "streams" / self.stream
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"gate-{self.package[:16] or 'unknown'}-{time}Z.json"
        temporary = path.with_name(f".{path.name}-{os.getpid()}")
        temporary.write_text(self.json() + "\n", encoding="utf-8")
        temporary.replace(path)
        return path


def verdict(of: Promotion | str | Path) -> Verdict:
    """Return what the gate found before a promotion, or what a file of the store holds.

    Raises
    ------
    StreamError
        If it is not there, or not a verdict.
    """
    path = store() / (of.gate if isinstance(of, Promotion) else of)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        del stored["passed"]  # derived
        findings = tuple(Finding(**one) for one in stored["findings"])
        return Verdict(**{**stored, "findings": findings, "span": tuple(stored["span"])})
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise StreamError(f"there is no verdict of the gate: {err}", where=path) from err
