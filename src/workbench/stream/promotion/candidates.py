"""Who asks to score a stream, and what the gate finds of it on the readings it is judged on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from workbench import detectors
from workbench.evaluation import GroundTruth
from workbench.stream.definition.stream_file import Stream
from workbench.stream.promotion import budget, checks, distributions
from workbench.stream.promotion.budget import Carried
from workbench.stream.promotion.changes import Changes, changes
from workbench.stream.promotion.checks import Judged
from workbench.stream.promotion.planted_faults import finds_planted_faults
from workbench.stream.promotion.verdicts import Finding
from workbench.stream.promotion_log import BEGINNING, Promotion
from workbench.stream.running import originals
from workbench.times import iso, now_ms


@dataclass(frozen=True)
class Candidate:
    """Who is asking, for what, and what the log said then."""

    stream: Stream
    role: str
    folder: Path
    run: str
    threshold: float | None
    sensors: tuple[str, ...]
    why: str
    reason: str
    log: list[Promotion]
    truth: GroundTruth
    carried: Carried | None = None

    def promotion(
        self, package: str, effective_ms: int, *, certificate: str = "", gate: str = ""
    ) -> Promotion:
        """Return the line of the log that it becomes, if it passes."""
        return Promotion(
            stream=self.stream.name,
            role=self.role,
            package=package,
            effective_ms=effective_ms,
            decided=iso(now_ms()),
            threshold=self.threshold,
            sensors=self.sensors,
            why=self.why or self.reason,
            certificate=certificate,
            gate=gate,
        )

    @property
    def before(self) -> list[Promotion]:
        """The promotions of the same role."""
        return [promotion for promotion in self.log if promotion.role == self.role]

    @property
    def champions(self) -> list[Promotion]:
        """The promotions of what decides alerts."""
        return [promotion for promotion in self.log if promotion.role == "champion"]


@dataclass(frozen=True)
class Both:
    """What both made of the recent span.

    Attributes
    ----------
    alone
        The candidate, of all its sensors.
    shared
        Candidate and champion, of the sensors that a champion scores; empty: there is none.
    replaced
        What the champion made of all that the candidate scores; None: it scores not all of it, or
        the candidate is no champion to be.
    """

    alone: Judged
    shared: tuple[Judged, ...]
    replaced: Judged | None


def judge_both(asked: Candidate, package: detectors.Package, frame: pd.DataFrame) -> Both:
    """Return what candidate and champion make of the readings, each sensor by its own champion."""
    stream, truth = asked.stream, asked.truth
    mine, champions = [asked.promotion(package.id, BEGINNING)], asked.champions
    shared = frame[checks.covered(stream, frame, champions)].reset_index(drop=True)
    logs = (mine, champions) if len(shared) else ()
    judged = tuple(checks.judge(stream, shared, log, truth) for log in logs)
    whole = asked.role == "champion" and 0 < len(shared) == len(frame)
    return Both(
        judged[0] if whole else checks.judge(stream, frame, mine, truth),
        judged,
        judged[1] if whole else None,
    )


def changes_of(asked: Candidate, both: Both, span: tuple[str, str]) -> Changes:
    """Return what changes; of a sensor that no champion scores, the candidate's alerts are new."""
    champion = both.shared[1].episodes if both.shared else None
    return changes(champion, both.alone.episodes, asked.truth, span=span)


def _unseen(asked: Candidate, package: detectors.Package, frame: pd.DataFrame) -> Finding:
    finding = checks.unseen(package, frame)
    if asked.carried is None:
        return finding
    return replace(finding, found=f"{finding.found}; its threshold was bought on these readings")


def _against_champion(asked: Candidate, both: Both) -> list[Finding]:
    stream, judged = asked.stream, both.shared or (both.alone,)
    if asked.carried is not None:
        return [
            budget.same_detector(stream, judged),
            budget.within_carried(stream, both.alone, asked.carried, both.replaced),
        ]
    return [
        checks.beats(stream, asked.role, judged, asked.why),
        budget.within_budget(stream, both.alone, both.replaced),
    ]


def findings_of(
    asked: Candidate,
    package: detectors.Package,
    frame: pd.DataFrame,
    both: Both,
    archive: str | originals.Origin | None,
) -> list[Finding]:
    """Return what the gate finds before parity, one for each thing asked."""
    stream, champions = asked.stream, asked.champions
    mine = asked.promotion(package.id, BEGINNING)
    return [
        _unseen(asked, package, frame),
        checks.in_order(stream, frame),
        *_against_champion(asked, both),
        finds_planted_faults(
            stream,
            checks.promoted(mine),
            checks.promoted(champions[-1]) if champions else None,
            frame,
        ),
        distributions.drift(stream, package, frame, archive),
        checks.cost(stream, package, frame),
    ]
