"""The certificate of parity: what comparing notebook and stream found, counts first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from workbench import files
from workbench.cards import Card, HasCard
from workbench.errors import StreamError
from workbench.stream.promotion_log import Promotion, store

TOLERANCE = 1e-9  # relative; scores near 0 are compared with 1
FRAME = "a frame"
MESSAGES = "the messages of the archive"
RECORDS = "the records of Kafka"
JOB = "the Flink job"
FUNCTION = "the Pulsar Function"
_FEW = 3  # told of those that differ


@dataclass(frozen=True)
class Certificate(HasCard):
    """What comparing both paths found.

    Attributes
    ----------
    stream, package
        What was compared.
    first, last
        Message ids of the first and the last reading.
    readings, scored
        How many were compared, and how many of them have a score in the batch path.
    largest_difference
        Between two scores, relative; infinite if only one path has a score.
    alerts
        How many alarms the batch path has.
    differing_alerts
        Those that only one path has, or whose peak, end or count differ: as text.
    late_batch, late_stream, late_differing
        Readings that came too late, in each path, and how many only one of them left out.
    rate
        Readings per second in what was compared, start-up left out.
    versions
        Of the libraries that scored, and of the environment that handed the command over, if it is
        another (`caller numpy`).
    read
        What it read: the messages of the archive, by its own parser, or a frame.
    able
        How many readings could have a full window: all but the first w - 1 of each sensor; of a
        detector of `steady` windows also without those across a change of state.
    floor
        The least share of those that has to be scored.
    unscored
        How many readings have no score in the batch path, by reason (`unscored.REASONS`).
    differing_rows
        Message ids of readings that only one path calls late, refused or ahead, or knows at all,
        with what each says.
    compared
        What the batch path was compared with: the Flink job, or the Pulsar Function.
    pieces
        In how many, each of other sensors, they were compared, so that no frame held all.
    peak_mib, flink_peak_mib
        Resident memory at most, of this process and of Flink's; 0: not measured.
    explained, largest_explanation_difference
        Alerts whose contributions of channels were compared, and how far a share, or a value that
        was expected, is apart at most; infinite if channels or directions differ.
    """

    stream: str
    package: str
    first: str
    last: str
    readings: int
    scored: int
    largest_difference: float
    alerts: int
    differing_alerts: tuple[str, ...]
    late_batch: int
    late_stream: int
    late_differing: int
    rate: float
    versions: dict[str, str] = field(default_factory=dict)
    read: str = FRAME
    able: int = 0
    floor: float = 0.0
    unscored: Mapping[str, int] = field(default_factory=dict)
    differing_rows: tuple[str, ...] = ()
    compared: str = JOB
    explained: int = 0
    largest_explanation_difference: float = 0.0
    pieces: int = 1
    peak_mib: float = 0.0
    flink_peak_mib: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the paths agree, on enough."""
        return not self.reasons()

    @property
    def share(self) -> float:
        """The share of the readings that could have a full window which is scored, 0 to 1."""
        return self.scored / self.able if self.able else 0.0

    def reasons(self) -> list[str]:
        """Return in what the paths differ, and what is too little; nothing if all is well."""
        reasons = []
        if not self.scored:
            reasons.append(f"none of {self.readings} readings has a score, so nothing is proven")
        elif self.share < self.floor:
            reasons.append(
                f"only {self.scored:,} of {self.able:,} readings that could have a full window are "
                f"scored, {self.share:.1%}, at least {self.floor:.0%} are wanted: {self.counts()}"
            )
        if self.differing_rows:
            reasons.append(_several("readings are told apart", self.differing_rows))
        elif self.late_differing:
            reasons.append(f"{self.late_differing} readings are late in one path only")
        if not self.largest_difference <= TOLERANCE:
            reasons.append(f"scores differ by {self.largest_difference:.3g}, at most {TOLERANCE:g}")
        if self.differing_alerts:
            reasons.append(_several("alerts differ", self.differing_alerts))
        if not self.largest_explanation_difference <= TOLERANCE:
            reasons.append(
                f"what alerts are due to differs by {self.largest_explanation_difference:.3g}, at "
                f"most {TOLERANCE:g}"
            )
        return reasons

    def counts(self) -> str:
        """Return how many readings have no score, by reason."""
        return ", ".join(f"{count:,} {reason}" for reason, count in self.unscored.items() if count)

    def card(self) -> Card:
        """Return what a notebook shows of it; what `compare` alone does not look at is left out."""
        share = f" of {self.able:,} readings that could have a full window, {self.share:.1%}"
        wanted = f"{share}, at least {self.floor:.0%}" if self.able else f" of {self.readings:,}"
        facts = {
            "verdict": "both paths agree" if self.passed else "not proven",
            "batch path and": self.compared,
            "because": "; ".join(self.reasons()),
            "scored": f"{self.scored:,}{wanted}",
            **({"without a score": self.counts() or "none"} if self.able else {}),
            "late": f"{self.late_batch:,} in batch, {self.late_stream:,} in the stream",
            "told apart": len(self.differing_rows),
            "read": f"{self.read}: {self.readings:,}",
            "messages": f"{self.first} to {self.last}",
            "package": self.package[:16],
            "scores differ by": f"{self.largest_difference:.3g} at most, {TOLERANCE:g} allowed",
            "alerts": f"{self.alerts:,}, {len(self.differing_alerts)} of them differ",
            **self._explained(),
            "rate": f"{self.rate:,.0f} readings a second",
            "memory": self._memory(),
            "versions": self.versions,
        }
        return Card("certificate of parity", self.stream, facts)

    def _explained(self) -> dict[str, str]:
        if not self.explained:
            return {}
        apart = f"{self.largest_explanation_difference:.3g} at most, {TOLERANCE:g} allowed"
        return {"explained": f"{self.explained:,} alerts, shares and values differ by {apart}"}

    def _memory(self) -> str | None:
        if not self.peak_mib:
            return None
        return (
            f"at most {self.peak_mib:,.0f} MiB, Flink {self.flink_peak_mib:,.0f} MiB, in "
            f"{self.pieces:,} pieces"
        )

    def json(self) -> str:
        """Return the certificate as JSON, counts first."""
        counts = ("readings", "able", "scored", "floor", "unscored", "read")
        shown = asdict(self)
        head = {"passed": self.passed, **{name: shown.pop(name) for name in counts}}
        return json.dumps({**head, **shown}, indent=1)

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        files.write_text(path, self.json() + "\n")


def _several(what: str, named: tuple[str, ...]) -> str:
    return f"{len(named)} {what}: {'; '.join(named[:_FEW])}"


def certificate(promotion: Promotion) -> Certificate:
    """Return the certificate that a promotion was allowed by.

    Raises
    ------
    StreamError
        If it is not in the store, or not a certificate.
    """
    path = store() / promotion.certificate
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        del stored["passed"]  # derived
        lists = {
            name: tuple(stored.get(name, ())) for name in ("differing_alerts", "differing_rows")
        }
        return Certificate(**{**stored, **lists})
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise StreamError(f"there is no certificate: {err}", where=path) from err


__all__ = [
    "FRAME",
    "FUNCTION",
    "JOB",
    "MESSAGES",
    "RECORDS",
    "TOLERANCE",
    "Certificate",
    "certificate",
]
