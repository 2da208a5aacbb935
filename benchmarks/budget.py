"""Whether an alert budget is kept: a threshold bought once, daily, and with what is carried over.

    python benchmarks/budget.py FOLDER [--quick] [--json]

FOLDER holds folders of machines: `labels.csv` (sensor, start, stop) and a `NAME.csv.gz` for each,
with `event_time` and channels. A detector is fitted once, on the first two thirds of a machine, or
on the first half where an event begins before that; its threshold is bought on the last third of
these. Then time goes on, and each policy buys by what was known at that instant, of a week:

    once                  never
    daily                 `threshold_only`; in production the gate keeps two days for itself
    carried               `carry_over: 2`, which the gate judges since the fit: until now
    carried every 6 h     the same, four times a day
    ... 6 h late          the same, where the archive lags six hours behind
    ... nobody answers    the same, where labelled events count as usual (else: answered at once)
    ... 5 % of the time   the same, of thresholds that have at most 5 % of a week under an alarm
    ... closed            the same as `every 6 h`, of alarms that end after a tenth of a day

`kept` is the share of pairs of a machine and a detector whose alerts outside of events are within a
factor 2 of the budget, `quiet` of those below half of it, `in_alarm` of those that are in alarm on
more than a tenth of their normal readings; `found` counts events in which an alarm begins.
The first threshold of each pair that is carried over is bought by `detectors.buy_again`, too, and
has to be the same.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench import detectors
from workbench.evaluation import labelled
from workbench.times import epoch_ms

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_WEEK_H = 168
_DETECTORS: dict[str, dict[str, Any]] = {
    "knn": {"window": 16},
    "reconstruction": {"window": 32},
    "auto": {},
}
_RULES = {"1, 1, 1": detectors.EpisodeRule(), "3, 5, 10": detectors.EpisodeRule(3, 5, 10)}
_BUDGETS = (1 / 7, 0.5, 1.0)


@dataclass(frozen=True)
class Policy:
    """How a threshold follows what is known."""

    every_h: float = 24
    lag_h: float = 0
    carry_over: float = 2
    answers: bool = True
    alarm_share: float = detectors.MOST_ALARMED
    closed_h: float = np.inf


POLICIES = {
    "once": Policy(every_h=1e6),
    "daily": Policy(lag_h=48, carry_over=0),
    "carried": Policy(),
    "carried every 6 h": Policy(every_h=6),
    "... 6 h late": Policy(every_h=6, lag_h=6),
    "... nobody answers": Policy(every_h=6, answers=False),
    "... 5 % of the time": Policy(every_h=6, alarm_share=0.05),
    "... closed": Policy(every_h=6, closed_h=2.4),
}


@dataclass(frozen=True, eq=False)
class Pair:
    """A machine under a detector: what each reading scored, and by the trial that buys the first.

    Attributes
    ----------
    late
        Shape (n,): that come after the readings learnt from.
    blind
        Shape (n,): whose window holds a reading of an event.
    """

    frame: pd.DataFrame
    detector: detectors.Fitted
    times: Any
    scores: Any
    trial: Any
    late: Any
    event: Any
    blind: Any

    @classmethod
    def of(cls, spec: dict[str, Any], frame: pd.DataFrame, event: Any, learnt: int) -> Pair:
        """Fit a detector, and a trial on its first two thirds."""
        times, rows = epoch_ms(frame["event_time"]), np.arange(len(frame))
        detector = detectors.fit(spec, frame[:learnt], sensor="machine")
        trial = detectors.fit(detector.spec, frame[: learnt * 2 // 3], sensor="machine")
        scored = [
            detectors.score_readings(each, frame, sensor="machine") for each in (detector, trial)
        ]
        seen = np.concatenate([[0], np.cumsum(event)])
        blind = seen[rows + 1] > seen[np.maximum(0, rows + 1 - detector.window)]
        scored[1][: learnt * 2 // 3] = scored[1][learnt:] = np.nan
        return cls(frame, detector, times, *scored, rows >= learnt, event, blind)

    def first(self, budget: float, rule: detectors.EpisodeRule, policy: Policy) -> float:
        """Return what the budget buys on the last third of what was learnt from."""
        own = np.isfinite(self.trial)
        return self._buy(own, self.trial[own], budget, rule, policy)

    def _buy(
        self, rows: Any, scores: Any, budget: float, rule: detectors.EpisodeRule, policy: Policy
    ) -> float:
        names = np.zeros(len(scores), dtype=np.int64)
        return detectors.threshold_for_budget(
            self.times[rows], names, scores, alerts_per_sensor_day=budget, rule=rule,
            alarm_share=policy.alarm_share,
        )  # fmt: skip

    def thresholds(self, budget: float, rule: detectors.EpisodeRule, policy: Policy) -> Any:
        """Return the threshold in force at each reading, (n,)."""
        holds = np.where(self.late, self.first(budget, rule, policy), np.nan)
        begin = int(self.times[self.late][0])
        left_out = self.event & policy.answers
        step_ms = int(policy.every_h * _HOUR_MS)
        for number, instant in enumerate(range(begin + step_ms, int(self.times[-1]), step_ms)):
            stop = instant - int(policy.lag_h * _HOUR_MS)
            inside = self.late & (self.times < stop)
            week = inside & (self.times >= stop - _WEEK_H * _HOUR_MS)
            rows = week & ~left_out
            whole = (self.times < stop) & (self.times >= stop - _WEEK_H * _HOUR_MS)
            if rows.sum() * 3 < whole.sum():
                continue
            days = np.ptp(self.times[rows]) / _DAY_MS
            carried = self._carried(inside, left_out, holds, budget, rule, policy)
            scores = self._fresh(week, policy)[rows]
            bought = self._buy(rows, scores, max(0, budget + carried / days), rule, policy)
            if number < 4 * _DAY_MS / step_ms:
                self._check(bought, whole, left_out, budget, rule, policy, carried)
            holds[self.times >= instant] = bought
        return holds

    def _fresh(self, week: Any, policy: Policy) -> Any:
        """Return scores of windows that lie in the week, and in no event that is known."""
        begun = np.cumsum(week) >= self.detector.window
        return np.where(begun & ~(self.blind & policy.answers), self.scores, np.nan)

    def _carried(
        self, inside: Any, left_out: Any, holds: Any, budget: float, rule: detectors.EpisodeRule,
        policy: Policy,
    ) -> float:  # fmt: skip
        """Return the alerts carried over from the last weeks."""
        stop = self.times[inside][-1] + 1
        span_ms = detectors.CARRIED_SPANS * _WEEK_H * _HOUR_MS
        rows = inside & (self.times >= stop - span_ms)
        above = self.scores[rows] > holds[rows]
        names = np.zeros(rows.sum(), dtype=np.int64)
        spent = detectors.spent(self.times[rows], names, above, left_out=left_out[rows], rule=rule)
        return policy.carry_over * spent.left(budget)

    def _check(
        self, bought: float, whole: Any, left_out: Any, budget: float,
        rule: detectors.EpisodeRule, policy: Policy, carried: float,
    ) -> None:  # fmt: skip
        """Refuse to tell of thresholds that a refit would not have bought."""
        terms = detectors.Terms(budget, rule, alarm_share=policy.alarm_share)
        again = detectors.buy_again(
            self.detector, self.frame[whole], sensor="machine", terms=terms,
            left_out=left_out[whole], fresh=self.late[whole], carried=carried,
        )  # fmt: skip
        if not np.isclose(again, bought, rtol=1e-9):
            raise SystemExit(f"a refit buys {again}, here {bought} was bought")

    def judged(self, budget: float, rule: detectors.EpisodeRule, policy: Policy) -> dict[str, Any]:
        """Return how the budget was kept after the readings learnt from."""
        holds = self.thresholds(budget, rule, policy)[self.late]
        times, event = self.times[self.late], self.event[self.late]
        names = np.zeros(len(times), dtype=np.int64)
        above = (self.scores[self.late] > holds).astype(float)
        alarms = detectors.episodes(times, names, above, 0.5, rule)
        starts = np.searchsorted(times, epoch_ms(alarms["start"]))
        closed = np.minimum(
            epoch_ms(alarms["stop"]), times[starts] + min(policy.closed_h, 1e6) * _HOUR_MS
        )
        on = sum(
            int((~event[start : np.searchsorted(times, stop)]).sum())
            for start, stop in zip(starts, closed, strict=True)
        )
        number = np.cumsum(np.diff(event.astype(int), prepend=0) == 1)
        rate = (~event[starts]).sum() / (np.ptp(times) / _DAY_MS)
        return {
            "kept": budget / 2 <= rate <= budget * 2, "quiet": rate < budget / 2,
            "in_alarm": on > 0.1 * (~event).sum(), "events": int(number[-1]),
            "found": len(set(number[starts[event[starts]]])),
        }  # fmt: skip


def machines(folder: Path) -> Iterator[tuple[str, pd.DataFrame, Any, int]]:
    """Yield each machine's name, readings, which of them are of events, and how many are learnt."""
    for path in sorted(folder.glob("*/*.csv.gz")):
        name = path.name.removesuffix(".csv.gz")
        frame = pd.read_csv(path, parse_dates=["event_time"]).assign(machine=name)
        labels = pd.read_csv(path.parent / "labels.csv", parse_dates=["start", "stop"])
        labels["stop"] += pd.Timedelta(milliseconds=1)  # ours are half-open, these inclusive
        event = labelled(epoch_ms(frame["event_time"]), frame["machine"], labels)
        learnt = len(frame) * 2 // 3
        yield name, frame, event, len(frame) // 2 if event[:learnt].any() else learnt


def pairs(folder: Path, *, quick: bool) -> Iterator[Pair]:
    """Yield each machine under each detector, on the channels that move."""
    for name, frame, event, learnt in machines(folder):
        channels = list(frame.columns.drop(["event_time", "machine"]))
        channels = [c for c in channels if np.ptp(frame[c][: learnt * 2 // 3]) > 0]
        for method in ("knn",) if quick else _DETECTORS:
            spec = {"name": method, **_DETECTORS[method], "channels": channels}
            yield Pair.of(spec, frame, event, learnt)
        if quick and name.endswith("2"):
            return


def figures(folder: Path, *, quick: bool) -> list[dict[str, Any]]:
    """Return a row for each policy, rule and budget: shares of pairs, and sums of events."""
    made: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for pair in pairs(folder, quick=quick):
        for rule, budget in [(r, b) for r in _RULES for b in _BUDGETS]:
            for name, policy in POLICIES.items():
                row = pair.judged(budget, _RULES[rule], policy)
                made.setdefault((name, rule, round(budget, 2)), []).append(row)
    rows = []
    for (name, rule, budget), each in made.items():
        shares = {key: round(float(np.mean([one[key] for one in each])), 2)
                  for key in ("kept", "quiet", "in_alarm")}  # fmt: skip
        sums = {key: sum(one[key] for one in each) for key in ("found", "events")}
        rows.append({"policy": name, "rule": rule, "budget": budget, "pairs": len(each)}
                    | shares | sums)  # fmt: skip
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folders of machines, with labels.csv")
    parser.add_argument("--quick", action="store_true", help="kNN on the first two machines")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    table = figures(asked.folder, quick=asked.quick)
    print(json.dumps({"budget": table}) if asked.json else pd.DataFrame(table).to_string())
