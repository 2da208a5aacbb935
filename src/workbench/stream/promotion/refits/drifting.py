"""Whether a running detector is still right, as far as that is seen without labels.

    workbench drift plant

The archive's last days are scored anew, each reading by the package that was in force at its
instant (`promotion_log.in_force`), with the readings before them as a job has them. By day:

- how far each channel and the score have moved since training, by the gate's measure (`moved_by`),
  each package against the span that it was fitted on;
- the share of the readings without a score, of those that could have a full window;
- alerts, and the share of the time under one, outside of the events that the gate's labels name.

The same is judged over the last `gate: days`, by the limits of the gate: would it let pass again
what it let pass? A day is 24 hours before the last reading, not a day of the calendar: a part of a
day has another distribution than the whole. Days that a package was fitted on are left out.
Detectors beside the main one (`also`) and challengers are not looked at.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench import files
from workbench.arrays import Bools, Ints
from workbench.cards import Card, HasCard
from workbench.endpoints import home
from workbench.errors import StreamError, WorkbenchError
from workbench.stream.definition.stream_file import Stream, load_stream
from workbench.stream.promotion.budget import within_budget
from workbench.stream.promotion.checks import Judged
from workbench.stream.promotion.distributions import moved_by, moves, training_readings
from workbench.stream.promotion.proof import batch_path
from workbench.stream.promotion.refits.scored_span import DAY_MS, ScoredSpan
from workbench.stream.promotion.verdicts import Finding, limited
from workbench.stream.promotion_log import store
from workbench.stream.running import originals
from workbench.stream.selection import select
from workbench.times import instant_ms, iso

DAYS = 14
SCORE = "the score"
_FEWEST = 50  # readings: of fewer the largest difference is 0.25 by chance


@dataclass(frozen=True)
class Day:
    """What a stream's detector did in 24 hours.

    Attributes
    ----------
    start
        ISO-8601 UTC.
    packages
        Ids of those in force.
    readings
        Of sensors that a package was in force for.
    moved
        How far each channel and the score (`SCORE`) have moved since training, 0 to 1; of several
        packages the largest. None: not known, or of less than half a day.
    unscored
        Share of the readings that could have a full window and have no score; None: none could.
    alerts
        That opened, outside of known events.
    alarm_share
        Share of the time outside of known events that is under an alarm; None: there is none.
    """

    start: str
    packages: tuple[str, ...]
    readings: int
    moved: Mapping[str, float | None] = field(default_factory=dict)
    unscored: float | None = None
    alerts: int = 0
    alarm_share: float | None = None


@dataclass(frozen=True)
class Drift(HasCard):
    """What has become of a running detector.

    Attributes
    ----------
    stream
        Its name.
    judged
        First and last instant of what the findings are of, [start, stop), ISO-8601 UTC.
    findings
        One for each thing that has, or may have, a limit in the stream's `gate`.
    days
        In the order of time.
    left_out
        How many more there would be, that a package in force was fitted on.
    """

    stream: str
    judged: tuple[str, str]
    findings: tuple[Finding, ...]
    days: tuple[Day, ...]
    left_out: int = 0

    @property
    def passed(self) -> bool:
        """Whether nothing is over a declared limit."""
        return not self.reasons()

    def reasons(self) -> list[str]:
        """Return what is over a limit, a line each."""
        return [
            f"{finding.check}: {finding.found} (limit: {finding.wanted})"
            for finding in self.findings
            if finding.passed is False
        ]

    def frame(self) -> pd.DataFrame:
        """Return how far channels and score have moved, a row for each day, for `figures.moves`."""
        starts = pd.to_datetime([day.start for day in self.days], utc=True, format="ISO8601")
        return pd.DataFrame([day.moved for day in self.days], index=starts, dtype=np.float64)

    def record(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {"passed": self.passed, **asdict(self)}

    def card(self) -> Card:
        """Return what a notebook and a terminal show of it."""
        facts = {
            "judged": " to ".join(f"{end[:16]}Z" for end in self.judged),
            "left out": f"{self.left_out} days that a package was fitted on" * bool(self.left_out),
            "over a limit": self.reasons() or "nothing",
        }
        facts |= {
            finding.check: finding.found for finding in self.findings if finding.passed is not False
        }
        return Card("drift", self.stream, facts, [*map(_row, self.days)])


def _row(day: Day) -> dict[str, object]:
    return {
        "day from": f"{day.start[5:16]}Z".replace("T", " "),
        "package": ", ".join(package[:8] for package in day.packages),
        "readings": day.readings,
        **{name: _rounded(moved) for name, moved in day.moved.items()},
        "unscored": _percent(day.unscored),
        "alerts": day.alerts,
        "in alarm": _percent(day.alarm_share),
    }


def _rounded(moved: float | None) -> str:
    return "-" if moved is None else f"{moved:.2f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def drift(
    stream: str | Path | Stream,
    *,
    days: int = DAYS,
    stop: str | None = None,
    package: str | None = None,
    archive: str | originals.Origin | None = None,
) -> Drift:
    """Return how far a running detector is from what was promised of it, without labels.

    Parameters
    ----------
    days
        How many days before `stop` are told; fewer where the archive begins later.
    stop
        ISO-8601 UTC, exclusive; None: behind the archive's last reading.
    package
        Id of a package in place of what the stream's `detector` names.
    archive
        Folder, URL, or an open one; None: the one that is configured.

    Raises
    ------
    StreamError
        If the stream has no detector, the archive less than a day of its readings before `stop`,
        or none that its packages were not fitted on.
    """
    definition = load_stream(stream)
    selection = select(definition, package)
    if selection.package is None:
        raise StreamError(f"stream {definition.name} has no detector: nothing can drift")
    opened = originals.readable(definition, archive)
    log = selection.main(str(store())).log()
    bounds = _bounds(definition, opened, days, stop)
    span = ScoredSpan(definition, opened, log, bounds)
    stop_ms = int(bounds[-1])
    begin_ms = span.judged_from(stop_ms - round(definition.gate.days * DAY_MS))
    pairs = [(int(begin), int(end)) for begin, end in pairwise(bounds)]
    judge = _Judge(span)
    days_told = tuple(judge.day(*pair) for pair in pairs if not span.was_fitted_on(*pair))
    return Drift(
        stream=definition.name,
        judged=(iso(begin_ms), iso(stop_ms)),
        findings=tuple(judge.findings(begin_ms, stop_ms)),
        days=days_told,
        left_out=len(pairs) - len(days_told),
    )


def _bounds(stream: Stream, archive: originals.Origin, days: int, stop: str | None) -> Ints:
    """Return where the days begin and the last one ends, epoch ms."""
    if days < 1:
        raise StreamError(f"drift over {days} days, expected 1 or more")
    times, _ = originals.believed(stream, archive)
    end = instant_ms(stop)
    end = int(times.max()) + 1 if end is None else end
    whole = min(days, (end - int(times.min())) // DAY_MS)
    if whole < 1:
        raise StreamError(
            f"the archive's readings begin at {iso(int(times.min()))}, expected a day or more "
            f"before {iso(end)}",
            where=stream.topic,
        )
    return end - DAY_MS * np.arange(whole, -1, -1, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class _Judge:
    """What a scored span says of drift."""

    span: ScoredSpan

    def day(self, start_ms: int, stop_ms: int) -> Day:
        """Return what is told of the readings of [start_ms, stop_ms)."""
        inside = self.span.within(start_ms, stop_ms)
        day = Day(iso(start_ms), (), int(inside.sum()))
        if not inside.any():
            return day
        positions = self.span.positions(start_ms, stop_ms)
        report = self.span.report(start_ms, stop_ms)
        share, _ = self.span.unscored_share(inside)
        return Day(
            start=day.start,
            packages=tuple(
                dict.fromkeys(self.span.log[position].package for position in positions)
            ),
            readings=day.readings,
            moved=self.moved(inside, DAY_MS),
            unscored=_finite(share),
            alerts=report.false_alerts,
            alarm_share=_finite(report.alarm_share),
        )

    @cached_property
    def references(self) -> dict[int, tuple[pd.DataFrame, pd.Series] | str]:
        """Readings and scores of the training of each package in force, or why they are not known.

        By the line of the log.
        """
        positions = self.span.positions(int(self.span.bounds[0]), int(self.span.bounds[-1]))
        return {position: self._reference(position) for position in positions}

    def _reference(self, position: int) -> tuple[pd.DataFrame, pd.Series] | str:
        package, sensors = self.span.packages[position], self.span.log[position].sensors
        try:
            before = training_readings(self.span.stream, package, self.span.archive)
        except WorkbenchError as error:
            return error.message
        scores = pd.Series(batch_path(self.span.stream, package, before).scores)
        own = before[self.span.stream.sensor].isin(sensors).to_numpy()
        return (before[own], scores[own]) if own.any() else (before, scores)

    def moved(self, inside: Bools, length_ms: int) -> dict[str, float | None]:
        """Return how far channels and score have moved, of several packages the largest."""
        moved: dict[str, float | None] = {}
        for position, reference in self.references.items():
            package, mine = self.span.packages[position], inside & (self.span.holds == position)
            names = [*package.detector.channels, SCORE]
            if isinstance(reference, str) or not self._is_enough(mine, length_ms):
                moved = {name: moved.get(name) for name in [*moved, *names]}
                continue
            before, scores = reference
            own = moves(package, before, self.span.frame[mine])
            own[SCORE] = moved_by(scores, pd.Series(self.span.scored[0][mine]))
            moved |= {name: max(share, moved.get(name) or 0.0) for name, share in own.items()}
        score = moved.pop(SCORE)
        return {**moved, SCORE: score}

    def _is_enough(self, mine: Bools, length_ms: int) -> bool:
        times = self.span.times[mine]
        return len(times) >= _FEWEST and int(np.ptp(times)) >= length_ms / 2

    def findings(self, start_ms: int, stop_ms: int) -> Iterator[Finding]:
        """Yield what the gate's limits say of [start_ms, stop_ms)."""
        inside = self.span.within(start_ms, stop_ms)
        moved = self.moved(inside, min(DAY_MS, stop_ms - start_ms))
        score = moved.pop(SCORE)
        positions = np.unique(self.span.holds[inside])
        references = [self.references[int(place)] for place in positions if place >= 0]
        missing = "; ".join(sorted({why for why in references if isinstance(why, str)}))
        yield self._moved("drift since training", moved, missing)
        # shown, and held to no limit: the scores of training are of readings that were learnt
        yield replace(self._moved("drift of the score", {SCORE: score}, missing), passed=None)
        yield self._scored(inside)
        report = self.span.report(start_ms, stop_ms)
        rate = _finite(report.alerts_per_sensor_day)
        alerts = within_budget(self.span.stream, Judged(report.metrics(), rate, self.span.alerts))
        # a day of maintenance is over no limit: time will tell
        yield replace(alerts, passed=None) if math.isnan(report.alarm_share) else alerts

    def _moved(self, check: str, moved: Mapping[str, float | None], missing: str) -> Finding:
        measured = {name: share for name, share in moved.items() if share is not None}
        most = self.span.stream.gate.drift
        # what nobody can know is refused, as by the gate; what time will tell is not
        unknown = False if missing and most is not None else None
        if not measured:
            why = missing or "no package was in force for half a day"
            return Finding(check, unknown, f"not known: {why}")
        worst = max(measured, key=measured.__getitem__)
        where = "" if worst == SCORE else f" in {worst}"
        finding = limited(check, measured[worst], most, f"{{:.2f}}{where}", "{:.2f}")
        if not missing:
            return finding
        text = f"{finding.found}; of others not known: {missing}"
        return replace(finding, passed=unknown, found=text)

    def _scored(self, inside: Bools) -> Finding:
        share, reasons = self.span.unscored_share(inside)
        least = self.span.stream.gate.scored_share
        if math.isnan(share):
            return Finding("readings scored", False, "none could have a full window")
        description = f"{1 - share:.1%} of those that could be ({reasons or 'all'})"
        return Finding("readings scored", 1 - share >= least, description, f"at least {least:.0%}")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def note_drift(drift: Drift) -> Path:
    """Keep what a look at the newest days found, in place of the look before; return the file."""
    return files.write_json(_path(drift.stream), drift.record())


def noted_drift(stream: str) -> dict[str, Any]:
    """Return what the newest look found, as `Drift.record`; empty: nobody looked here."""
    path = _path(stream)
    if not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _path(stream: str) -> Path:
    return home() / "drift" / f"{stream}.json"


__all__ = ["DAYS", "Day", "Drift", "drift", "note_drift", "noted_drift"]
