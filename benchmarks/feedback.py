"""What answers are worth: a month of the simulated plant, and an engineer who says what was what.

    python benchmarks/feedback.py [--quick] [--json]

Four weeks without a fault, then four with some, in which alerts are answered: an engineer who knows
the labels answers four of five alerts, one of ten of them wrongly, and tells four of five faults
that no alert told. After the first and the second week the detector is fitted again, by the code
of `workbench refit` with `labels: feedback` (trailing 21 days, then 3.5 days for the gate). In the
last two weeks four detectors are judged by the labels, on the same readings:

    first         fitted before the month, never again
    refitted      fitted again twice, nobody answers
    answered      fitted again twice, with the answers
    gated         the same, each time only if it is not worse than the champion on the gate's days
                  and within the budget, by the gate's own checks (parity is not proven)

Figures are sums over plants that differ in their seed:

    false_alarm_ratio   false alarms of `answered` by those of `first`
    recall_kept         recall of events of `answered` by that of `first`
    refused             refits that the gate refused, of two a plant
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench import alerts, detectors, evaluation, plant, stream
from workbench.stream.promotion import checks
from workbench.stream.promotion.budget import within_budget
from workbench.stream.promotion.checks import truth_of
from workbench.stream.promotion.refits.refitting import fitted_again
from workbench.stream.promotion_log import BEGINNING, add_package
from workbench.times import iso

_DAY = pd.Timedelta(days=1)
_GATE_DAYS, _TRAILING_DAYS = 3.5, 21  # of streams/plant.yaml; three weeks
_ANSWERED, _WRONG = 0.8, 0.1
_RULE = detectors.EpisodeRule(3, 5, 10)  # of 20_train
_SPEC = {"window": 10, "channels": list(plant.CHANNELS), "max_span_s": "usual"}
_SIDES = ("first", "refitted", "answered", "gated")


@dataclass(frozen=True, eq=False)
class Month:
    """A plant of one seed, its labels, and when its month begins."""

    stream: stream.Stream
    readings: pd.DataFrame
    labels: pd.DataFrame
    start: pd.Timestamp
    rng: np.random.Generator

    def between(self, first_day: float, last_day: float) -> pd.DataFrame:
        """The readings of some days of the month; those before it have numbers below 0."""
        times = self.readings["event_time"]
        inside = (times >= self.start + first_day * _DAY) & (times < self.start + last_day * _DAY)
        return self.readings[inside].reset_index(drop=True)

    def alerts(self, package: detectors.Package, first_day: float, last_day: float) -> pd.DataFrame:
        """The alerts that begin in some days; windows and alarms reach back a day."""
        found = detectors.detect(
            package, self.between(first_day - 1, last_day), sensor="pump",
            lateness_ms=self.stream.lateness_ms, ahead_ms=self.stream.ahead_ms,
        ).episodes  # fmt: skip
        return found[found["start"] >= self.start + first_day * _DAY]

    def fitted(self, package: detectors.Package, day: float) -> detectors.Package:
        """What a refit at the end of a day makes of a package."""
        last = day - _GATE_DAYS
        terms = detectors.Terms(self.stream.gate.alerts_per_sensor_day, _RULE)
        again = fitted_again(
            self.stream, package, self.between(last - _TRAILING_DAYS, last), terms,
            truth_of(self.stream),
        )  # fmt: skip
        return replace(package, detector=again.detector, threshold=again.threshold)

    def promoted(self, package: detectors.Package, day: float) -> tuple[detectors.Package, bool]:
        """The champion after a refit at the end of a day: what was fitted, or what was before."""
        again, frame = self.fitted(package, day), self.between(day - _GATE_DAYS, day)
        truth = truth_of(self.stream)
        both = [
            checks.judge(self.stream, frame, [self._promotion(one)], truth)
            for one in (again, package)
        ]
        findings = (
            checks.beats(self.stream, "champion", both, ""),
            within_budget(self.stream, *both),
        )
        passed = all(finding.passed for finding in findings)
        return (again if passed else package), passed

    def _promotion(self, package: detectors.Package) -> stream.Promotion:
        return stream.Promotion(
            self.stream.name, "champion", add_package(_saved(package)), BEGINNING, ""
        )

    def answer(self, package: detectors.Package, first_day: float, last_day: float) -> None:
        """Say of the alerts of some days what they were, mostly."""
        told = self.alerts(package, first_day, last_day)
        for row in told.itertuples():
            if self.rng.random() < _ANSWERED:
                fault = bool(self._events(row.sensor, row.start, row.stop))
                verdict = str(fault != (self.rng.random() < _WRONG)).lower()
                self._say(verdict, row, alert=f"{row.sensor} {row.start}")
        begun, ended = (self.start + day * _DAY for day in (first_day, last_day))
        for row in self.labels.itertuples():
            here = begun <= row.start < ended
            near = told[(told["sensor"] == row.sensor) & (told["start"] < row.stop)]
            if here and not (near["stop"] > row.start).any() and self.rng.random() < _ANSWERED:
                self._say("missed", row)

    def _events(self, sensor: str, start: pd.Timestamp, stop: pd.Timestamp) -> int:
        rows = self.labels[self.labels["sensor"] == sensor]
        return int(((rows["start"] < stop) & (rows["stop"] > start)).sum())

    def _say(self, verdict: str, row: Any, alert: str = "") -> None:
        start, stop = (iso(round(at.timestamp() * 1000)) for at in (row.start, row.stop))
        alerts.answer(
            self.stream, verdict, alert=alert, sensor=row.sensor, start=start, stop=stop,
            who="engineer",
        )  # fmt: skip

    def judged(self, package: detectors.Package) -> evaluation.EventReport:
        """What the alerts of the last two weeks are worth, by the labels."""
        return evaluation.event_report(
            self.alerts(package, 14, 28), self.labels,
            span=(self.start + 14 * _DAY, self.start + 28 * _DAY),
            sensors=self.readings["pump"].unique(),
        )  # fmt: skip


def month(seed: int, name: str) -> Month:
    """The plant of a seed, with its month of faults behind a month without."""
    readings, labels = plant.simulate(days=56, seed=seed)
    content = {
        "topic": "persistent://public/default/pumps", "sensor": "pump",
        "channels": list(plant.CHANNELS), "lateness_s": 60, "window": 60,
        "alerts": "persistent://public/default/alerts",
        "gate": {"labels": "feedback", "days": _GATE_DAYS, "alerts_per_sensor_day": 0.3},
    }  # fmt: skip
    begun = readings["event_time"].min().floor("D") + 28 * _DAY
    return Month(
        stream.parse_stream(f"{name}-{seed}", content), readings, labels, begun,
        np.random.default_rng(seed),
    )  # fmt: skip


def compared(seed: int, method: str) -> tuple[dict[str, evaluation.EventReport], int]:
    """What each side is worth on the plant of a seed, and how many refits were refused."""
    here, gated = month(seed, "plant"), month(seed, "gated")
    first = _first(here, method)
    refitted = here.fitted(here.fitted(first, 7), 14)
    here.answer(first, 0, 7)
    second = here.fitted(first, 7)
    here.answer(second, 7, 14)
    gated.answer(first, 0, 7)
    other, passed = gated.promoted(first, 7)
    gated.answer(other, 7, 14)
    last, passed_again = gated.promoted(other, 14)
    packages = (first, refitted, here.fitted(second, 14), last)
    reports = dict(zip(_SIDES, map(here.judged, packages), strict=True))
    return reports, 2 - passed - passed_again


def _first(here: Month, method: str) -> detectors.Package:
    fitted, threshold = detectors.fit_with_threshold(
        {"name": method, **_SPEC}, here.between(-21, 0), sensor="pump",
        alerts_per_sensor_day=here.stream.gate.alerts_per_sensor_day or 0, rule=_RULE,
    )  # fmt: skip
    place = Path(tempfile.mkdtemp(dir=os.environ["WORKBENCH_HOME"])) / "detector"
    detectors.save(fitted, place, threshold=threshold, rule=_RULE, training={})
    return detectors.load(place)


def _saved(package: detectors.Package) -> Path:
    place = Path(tempfile.mkdtemp(dir=os.environ["WORKBENCH_HOME"])) / "detector"
    detectors.save(package.detector, place, threshold=package.threshold, rule=_RULE, training={})
    return place


def figures(plants: list[tuple[dict[str, evaluation.EventReport], int]]) -> dict[str, float]:
    """The sums over plants, and their ratios."""
    sums = {side: Counter[str]() for side in _SIDES}
    for reports, _ in plants:
        for side, report in reports.items():
            sums[side].update(
                false=report.false_alerts, found=report.found, events=report.events,
                alerts=report.alerts,
            )  # fmt: skip
    weeks = 2 * len(plants)
    result: dict[str, float] = {"plants": len(plants), "events": sums["first"]["events"]}
    for side, counts in sums.items():
        result[f"false_alarms_per_week_{side}"] = round(counts["false"] / weeks, 3)
        result[f"recall_{side}"] = round(counts["found"] / counts["events"], 4)
    for side in _SIDES[1:]:
        name = "" if side == "answered" else f"_{side}"
        for figure, count in (("false_alarm_ratio", "false"), ("recall_kept", "found")):
            result[f"{figure}{name}"] = round(sums[side][count] / sums["first"][count], 4)
    return {**result, "refused": sum(refused for _, refused in plants)}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2 plants in place of 10")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--method", default="regression", help="of the catalogue: %(default)s")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"WORKBENCH_HOME": home, "WORKBENCH_STORE": f"{home}/store"}
        plants = []
        for seed in range(1, 3 if asked.quick else 11):
            plants.append(compared(seed, asked.method))
            print(seed, figures(plants[-1:]), file=sys.stderr)
    measured = figures(plants)
    if asked.json:
        print(json.dumps(measured))
        return
    for name, value in measured.items():
        print(f"{name:32} {value:g}")


if __name__ == "__main__":
    main()
