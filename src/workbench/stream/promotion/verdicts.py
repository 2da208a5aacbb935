"""What the gate found of one candidate, kept in the store whether it passed or not.

STORE/streams/NAME/gate-PACKAGE-TIME.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from workbench import files
from workbench.cards import Card, HasCard
from workbench.errors import StreamError
from workbench.evaluation import FEEDBACK
from workbench.stream.promotion.changes import Changes
from workbench.stream.promotion_log import Promotion, store

NO_LIMIT = "no limit declared"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes
    ----------
    check
        What was asked about.
    passed
        None: measured or not, but nothing is asked of it.
    found, wanted
        For people.
    rows
        The table behind it, if there is one, of each row the same names.
    """

    check: str
    passed: bool | None
    found: str
    wanted: str = ""
    rows: Sequence[Mapping[str, str]] = ()

    @property
    def verdict(self) -> str:
        """`pass`, `refuse` or `-`."""
        return {True: "pass", False: "refuse", None: "-"}[self.passed]


def limited(name: str, value: float, most: float | None, template: str, wanted: str) -> Finding:
    """Return what was measured against its limit; None: there is none."""
    if most is None:
        return Finding(name, None, template.format(value), NO_LIMIT)
    return Finding(name, value <= most, template.format(value), f"at most {wanted.format(most)}")


@dataclass(frozen=True)
class Faults(HasCard):
    """The smallest planted faults that champion and candidate find, by kind and channel.

    Attributes
    ----------
    stream
        Its name.
    rows
        `fault`, `channel`, and for each package the size, in the channel's own unit and in its
        usual deviations.
    """

    stream: str
    rows: tuple[Mapping[str, str], ...]

    def card(self) -> Card:
        """Return what a notebook and a terminal show of it."""
        return Card("smallest planted faults found", "", {}, self.rows)


@dataclass(frozen=True)
class Verdict(HasCard):
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
    changes
        The alerts of that span under champion and candidate; None: it did not come to that.
    labels
        What it was judged by, as JSON: a file, or the answers up to an instant.
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
    changes: Changes | None = None
    labels: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons()

    def reasons(self) -> list[str]:
        """Return what speaks against it, a line each."""
        return [
            f"{finding.check}: {finding.found}"
            + (f" (wanted: {finding.wanted})" if finding.wanted else "")
            for finding in self.findings
            if finding.passed is False
        ]

    def card(self) -> Card:
        """Return what a notebook and a terminal show of it."""
        facts = {
            "verdict": "passed" if self.passed else "refused",
            "package": self.package[:16],
            "champion": self.champion[:16],
            "judged on": " to ".join(f"{finding[:16]}Z" for finding in self.span if finding),
            "answers": self._answers,
            "why": self.why,
        }
        rows = [
            {
                "": finding.verdict,
                "check": finding.check,
                "found": finding.found,
                "wanted": finding.wanted or "",
            }
            for finding in self.findings
        ]
        return Card("gate", f"{self.stream}, {self.role}", facts, rows)

    @property
    def _answers(self) -> str:
        """How many answers it was judged by, and up to when."""
        if FEEDBACK not in self.labels:
            return ""
        return f"{self.labels['answers']} up to {self.labels['until'] or 'now'}"

    @property
    def faults(self) -> Faults | None:
        """The smallest planted faults that are found; None: it did not come to that."""
        rows = [finding.rows for finding in self.findings if finding.rows]
        return Faults(self.stream, tuple(rows[0])) if rows else None

    def tables(self) -> tuple[HasCard, ...]:
        """Return what stands behind the findings, to be shown after them: faults, and alerts."""
        return tuple(part for part in (self.faults, self.changes) if part is not None)

    def json(self) -> str:
        """Return the verdict as JSON."""
        return json.dumps({"passed": self.passed, **asdict(self)}, indent=1)

    def write(self) -> Path:
        """Keep it in the store, whole or not at all, and return where."""
        time = self.decided[:19].replace("-", "").replace(":", "")
        name = f"gate-{self.package[:16] or 'unknown'}-{time}Z.json"
        return files.write_text(store() / "streams" / self.stream / name, self.json() + "\n")


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
        findings = tuple(Finding(**finding) for finding in stored["findings"])
        changes = stored.pop("changes", None)
        return Verdict(
            **{**stored, "findings": findings, "span": tuple(stored["span"])},
            changes=None if changes is None else Changes.of(changes),
        )
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise StreamError(f"there is no verdict of the gate: {err}", where=path) from err
