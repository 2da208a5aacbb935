"""What a promotion changes for those who get the alerts: the recent span's, under both packages.

A stretch is a time in which one sensor alerts under the champion, under the candidate, or under
both: alerts that overlap are one stretch, so that one which opens a minute earlier is no change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from workbench import detectors
from workbench.cards import Card, HasCard
from workbench.evaluation import VERDICTS, GroundTruth, answered_spans
from workbench.times import epoch_ms, instant_ms, iso

CHAMPION, CANDIDATE = "champion", "candidate"
BOTH = "both"
_UNDER = {frozenset([CHAMPION]): CHAMPION, frozenset([CANDIDATE]): CANDIDATE}
_UNITS_S = (("d", 86_400), ("h", 3_600), ("min", 60))


@dataclass(frozen=True)
class Stretch:
    """A time in which a sensor alerts.

    Attributes
    ----------
    sensor
        Whose alerts they are.
    start, stop
        From the first alert that opens to the last that closes (or the end of the readings), event
        time, ISO-8601 UTC.
    under
        `champion`, `candidate` or `both`.
    champion_peak, candidate_peak
        The highest score, each on its own detector's scale; None: no alert.
    event
        Kind of the known event that it lies in, wholly or partly; empty: none is known.
    answer
        What was answered of alerts that lie in it, wholly or partly; empty: nothing.
    """

    sensor: str
    start: str
    stop: str
    under: str
    champion_peak: float | None
    candidate_peak: float | None
    event: str = ""
    answer: str = ""

    @property
    def length_s(self) -> float:
        """How long it lasts."""
        begin_ms, end_ms = instant_ms(self.start), instant_ms(self.stop)
        return ((end_ms or 0) - (begin_ms or 0)) / 1000


@dataclass(frozen=True)
class Changes(HasCard):
    """The alerts of the span that the gate judged on, under champion and candidate.

    Attributes
    ----------
    span
        First and last event time, ISO-8601 UTC.
    champion, candidate
        How many alerts each has; None: there is no champion yet.
    stretches
        In the order of time.
    """

    span: tuple[str, str]
    champion: int | None
    candidate: int
    stretches: tuple[Stretch, ...] = ()

    def count(self, under: str) -> int:
        """Return how many stretches are under `champion` alone, `candidate` alone, or `both`."""
        return sum(stretch.under == under for stretch in self.stretches)

    def frame(self) -> pd.DataFrame:
        """Return the stretches as a table, for `figures.changes`."""
        names = list(Stretch.__dataclass_fields__)
        table = pd.DataFrame([asdict(stretch) for stretch in self.stretches], columns=names)
        for name in ("start", "stop"):
            table[name] = pd.to_datetime(table[name], utc=True, format="ISO8601")
        return table

    def card(self) -> Card:
        """Return what a notebook and a terminal show of it: counts, then what differs, then all."""
        facts: dict[str, object] = {"alerts": f"{self.candidate:,} under the candidate"}
        if self.champion is not None:
            facts = {
                "alerts": f"{self.champion:,} under the champion, {self.candidate:,} under the "
                "candidate",
                "under both": self.count(BOTH),
                "champion only": self.count(CHAMPION),
                "candidate only": self.count(CANDIDATE),
            }
        facts["span"] = " to ".join(f"{end[:16]}Z" for end in self.span)
        ordered = sorted(self.stretches, key=lambda stretch: stretch.under == BOTH)
        answered = any(stretch.answer for stretch in ordered)
        rows = [_row(stretch, answered) for stretch in ordered]
        return Card("alerts", "as they would change", facts, rows)

    @staticmethod
    def of(stored: Mapping[str, Any]) -> Changes:
        """Return what was kept in the JSON of a verdict."""
        stretches = tuple(Stretch(**stretch) for stretch in stored["stretches"])
        return Changes(**{**stored, "span": tuple(stored["span"]), "stretches": stretches})


def _row(stretch: Stretch, answered: bool) -> dict[str, object]:
    row: dict[str, object] = {
        "sensor": stretch.sensor,
        "opened": f"{stretch.start[5:16]}Z".replace("T", " "),
        "length": _length(stretch.length_s),
        "under": stretch.under if stretch.under == BOTH else f"{stretch.under} only",
        "peak": " / ".join(
            f"{peak:.3g}"
            for peak in (stretch.champion_peak, stretch.candidate_peak)
            if peak is not None
        ),
        "event": stretch.event.replace("_", " "),
    }
    return {**row, "answer": stretch.answer} if answered else row


def _length(seconds: float) -> str:
    """Return a time as people say it.

    Examples
    --------
    >>> [_length(s) for s in (0.5, 59, 90, 7200, 200_000)]
    ['0.5 s', '59 s', '1.5 min', '2 h', '2.3 d']
    """
    for unit, unit_s in _UNITS_S:
        if seconds >= unit_s:
            return f"{seconds / unit_s:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.3g} s"


def changes(
    champion: pd.DataFrame | None,
    candidate: pd.DataFrame,
    truth: GroundTruth,
    *,
    span: tuple[str, str],
) -> Changes:
    """Return what changes between two packages' alerts on the same readings.

    Parameters
    ----------
    champion, candidate
        Episodes, as `detectors.detect` gives them; of the champion None: there is none.
    truth
        Known events, and what was answered.
    """
    sides = {CANDIDATE: candidate} | ({} if champion is None else {CHAMPION: champion})
    tables = [table.assign(side=side) for side, table in sides.items() if len(table)]
    alerts = pd.concat(tables) if tables else candidate
    stretches = [
        _stretch(str(sensor), group, truth)
        for sensor, rows in detectors.sensor_rows(alerts["sensor"]).items()
        for _, group in _overlapping(alerts.iloc[rows])
    ]
    ordered = tuple(sorted(stretches, key=lambda stretch: (stretch.start, stretch.sensor)))
    return Changes(span, None if champion is None else len(champion), len(candidate), ordered)


def _overlapping(alerts: pd.DataFrame) -> Iterable[tuple[object, pd.DataFrame]]:
    """Return groups of one sensor's alerts: each overlaps another of its group, if it is not alone.

    (Two alerts of one side never do: an alarm is closed before the next one opens.)
    """
    rows = alerts.sort_values("start", kind="stable")
    reached = np.maximum.accumulate(epoch_ms(rows["stop"]))
    apart = epoch_ms(rows["start"])[1:] >= reached[:-1]
    return rows.groupby(np.concatenate([[0], np.cumsum(apart)]))


def _stretch(sensor: str, alerts: pd.DataFrame, truth: GroundTruth) -> Stretch:
    peaks = alerts.groupby("side")["peak_score"].max()
    start, stop = alerts["start"].min(), alerts["stop"].max()
    answers = answered_spans(truth.answers, VERDICTS)
    events, said = (
        rows[(rows["sensor"] == sensor) & (rows["start"] < stop) & (rows["stop"] > start)]["kind"]
        for rows in (truth.faults, answers)
    )
    return Stretch(
        sensor=sensor,
        start=iso(int(epoch_ms(alerts["start"]).min())),
        stop=iso(int(epoch_ms(alerts["stop"]).max())),
        under=_UNDER.get(frozenset(peaks.index), BOTH),
        champion_peak=_peak(peaks, CHAMPION),
        candidate_peak=_peak(peaks, CANDIDATE),
        event=str(events.iloc[0]) if len(events) else "",
        answer=", ".join(dict.fromkeys(said)),
    )


def _peak(peaks: pd.Series, side: str) -> float | None:
    return float(peaks[side]) if side in peaks.index else None


__all__ = ["BOTH", "CANDIDATE", "CHAMPION", "Changes", "Stretch", "changes"]
