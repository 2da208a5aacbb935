"""Choose a specification for readings that nobody has tuned for.

The choice is causal: candidates are fitted on the first part of the readings and asked about the
rest, of which they know nothing. All that pass are kept, each with the same say: on machines that
nobody has seen, a mean of several is worth more than a choice that a few planted faults make.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from workbench.arrays import Bools, Floats, Ints
from workbench.cards import Card, HasCard
from workbench.detectors.choosing.candidates import (
    LEAST_CALIBRATED,
    Spec,
    candidates,
    plain,
    time_of_day,
    window_lengths,
)
from workbench.detectors.choosing.operating import find_states, within_states
from workbench.detectors.choosing.series import CLOCKS, Series, look
from workbench.detectors.choosing.trial import Held, Trial, agreement, precision, rarity
from workbench.detectors.fitted import Fitted, filled
from workbench.detectors.fitting import fit_spec
from workbench.detectors.leveling.naming import sensor_codes
from workbench.detectors.leveling.states import states_of
from workbench.detectors.specs import AUTO, resolve
from workbench.detectors.windows import index_windows, numbers, time_order, usual_span_s
from workbench.errors import DetectorError

_TRIAL = 0.6  # share of the readings that candidates are fitted on
_LEAST_HELD = 50  # windows, below which nothing is tried
_HELD = 4000  # windows at most that they are asked about
_BLIND = 0.02  # share of planted faults, that two in a hundred usual readings pass as well
_RESTLESS = 0.2  # share of later scores above the earlier 99 %, from which one is left out
_FEW = 1500  # readings, of which a smaller share is no distribution
_LABELLED = 10  # readings among those held, from which on labels choose
_SETTLED = 64  # readings at most, in which a machine's state may not have changed
_HELPS = 1.25  # times as many planted faults, that are found where steady windows alone are judged
_GAIN = 0.01  # of average precision, that a further member must bring where readings are labelled


@dataclass(frozen=True, eq=False)
class Choice(HasCard):
    """A specification, and why it is this one.

    Attributes
    ----------
    spec
        For `detectors.fit`.
    series
        What the readings are like.
    table
        A row for each candidate: `looks_for`, `method`, `window`, `found` (share of planted
        faults), `restless`, `agreement`, `precision` (with labels), `verdict`.
    """

    spec: Spec
    series: Series
    table: list[dict[str, Any]]

    def simplest(self, why: str) -> Choice:
        """Return the choice of what can be fitted on anything that moves, and why that is."""
        rows = [
            {**row, "verdict": "left out: the choice was refused"}
            if row["verdict"].startswith("kept") else row
            for row in self.table
        ]  # fmt: skip
        spec = {**plain(self.series), "refit": self.spec.get("refit")}
        return replace(self, spec=spec, table=[*rows, _simplest(f"the choice was refused: {why}")])

    def card(self) -> Card:
        """Return what a notebook shows of it: what was chosen and why."""
        series = self.series
        facts = {
            "channels": ", ".join(series.kept),
            "left out": "; ".join(f"{name}: {why}" for name, why in series.left_out.items()),
            "interval": f"{series.interval_s:g} s",
            "memory": f"{series.memory:,} readings until the autocorrelation has halved",
            "window": f"{self.spec['window']} readings, across {self.spec.get('max_span_s')} s",
            "judged": _judged(self.spec),
        }
        return Card("choice", str(self.spec["name"]), facts, self.table)


def choose(
    spec: Spec,
    frame: pd.DataFrame,
    *,
    sensor: str,
    time: str = "event_time",
    wrong: Bools | None = None,
    keep: Bools | None = None,
    seed: int = 0,
) -> Choice:
    """Return a specification for readings.

    Parameters
    ----------
    spec
        `name: auto`, and if you like `channels` (else all that hold numbers), `window` (the
        longest allowed, 64), `refit` (handed on). Any other is what it is, and nothing is chosen.
    frame
        Readings of one or many machines of a kind, in any order.
    wrong
        Shape (len(frame),): readings that are labelled as faulty. Candidates are not fitted on
        them, and judged by them where enough lie in the later part.
    keep
        Shape (len(frame),): readings to learn from, all if left out.

    Raises
    ------
    DetectorError
        If no channel moves, or there are fewer readings than any detector needs.
    """
    faulty = np.zeros(len(frame), dtype=np.bool_) if wrong is None else wrong
    if keep is not None:
        frame, faulty = frame[keep], faulty[keep]
    order = time_order(frame, sensor=sensor, time=time)
    frame, faulty = frame.iloc[order], faulty[order]
    if spec["name"] != AUTO:
        return Choice(spec, look(frame, sensor=sensor, time=time, channels=spec["channels"]), [])
    if spec.get("level") is not None:
        resolve(spec)  # which refuses it
    series = look(frame, sensor=sensor, time=time, channels=spec.get("channels"))
    if series.rare:
        why = "the readings hardly move at first, so that nothing can be tried"
        return Choice({**plain(series), "refit": spec.get("refit")}, series, [_simplest(why)])
    trial = _Trial(frame, faulty, series, sensor, time, int(spec.get("window") or 64), seed)
    chosen, table = trial.best()
    return Choice({**chosen, "refit": spec.get("refit")}, series, table)


def _simplest(why: str) -> dict[str, Any]:
    """Return the row of what is kept alone."""
    what = {"looks_for": "readings beyond what was there", "method": "range", "window": 1}
    return {**what, "verdict": f"kept, alone: {why}"}


def _judged(spec: Spec) -> str:
    """Return when windows are scored."""
    steady = spec.get("steady")
    if steady is None:
        return "always"
    splits = ", ".join(f"{split:g}" for split in steady["splits"])
    return f"while {steady['channel']} stays on one side of {splits}: the machine's states"


@dataclass(frozen=True, eq=False)
class _Trial:
    """Readings in order of time, and what is to be tried on them."""

    frame: pd.DataFrame
    wrong: Bools
    series: Series
    sensor: str
    time: str
    most: int
    seed: int
    states: Mapping[str, Any] | None = None
    steady: bool = False

    def best(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return one specification of the members kept, and a row for each candidate.

        Of a machine that has states, steady windows alone are judged if more faults are found so,
        of those that are planted while it is in one of them.
        """
        window = self._settled()
        states = find_states(self.series.kept, *self._by_sensor(), window, first=_TRIAL)
        if states is not None:
            trials = [replace(self, states=states, steady=steady) for steady in (False, True)]
            runs = [trial.run() for trial in trials]
            always, steady = (_recall(rows) for _, rows in runs)
            if steady > max(_HELPS * always, _BLIND):
                return trials[1].together(runs[1][0]), runs[1][1]
        members, table = self.run()
        return self.together(members), table

    def _by_sensor(self) -> tuple[Floats, Ints]:
        """Return the channels' readings by sensor and time, and whose they are."""
        codes = sensor_codes(self.frame[self.sensor])[0]
        order = np.argsort(codes, kind="stable")
        order = order[codes[order] >= 0]
        return numbers(self.frame, self.series.kept)[order], codes[order]

    def _settled(self) -> int:
        """Return in how many readings no state may change."""
        long, _ = window_lengths(self.series, self.most)
        return max(long, min(self.most, _SETTLED))

    def run(self) -> tuple[dict[str, Spec], list[dict[str, Any]]]:
        """Return the members kept, and a row for each candidate."""
        long, short = window_lengths(self.series, self.most)
        asked = candidates(self.series, long, short) | time_of_day(self.series)
        shared = {"missing": "fill", "max_span_s": self._max_span_s(long)}
        specs = {
            what: {"channels": list(self.series.kept), **shared, **spec}
            for what, spec in asked.items()
        }
        fitted, refused = self._fitted(specs)
        held = self._held(long if self.states is None else self._settled())
        trials = {} if held is None else {what: held.tried(spec) for what, spec in fitted.items()}
        kept, verdicts = self._verdicts(trials, self.wrong[:0] if held is None else held.wrong)
        if held is None:
            kept, verdicts = (
                [*fitted],
                dict.fromkeys(fitted, "kept: too few usual readings to be tried"),
            )
        if self._usable() < LEAST_CALIBRATED:
            few = "left out: too few readings to calibrate several together"
            verdicts |= dict.fromkeys(kept[1:], few)
            kept = kept[:1]
        precisions = _precisions(trials, held)
        agreed = dict(zip(trials, agreement([*trials.values()]), strict=True)) if trials else {}
        rows = [
            {
                "looks_for": what,
                "method": spec["name"],
                "window": spec["window"],
                "found": trials[what].found if what in trials else None,
                "restless": trials[what].restless if what in trials else None,
                "agreement": agreed.get(what),
                **(precisions.get(what, {})),
                "verdict": verdicts.get(what) or refused[what],
            }
            for what, spec in specs.items()
        ]
        return {what: specs[what] for what in kept}, rows

    def together(self, members: Mapping[str, Spec]) -> dict[str, Any]:
        """Return one specification of all members."""
        if not members:
            return dict(plain(self.series))
        if len(members) == 1 and not self.steady:
            return dict(next(iter(members.values())))
        shared = ("missing", "max_span_s")
        channels = list(
            dict.fromkeys(name for spec in members.values() for name in spec["channels"])
        )
        first = next(iter(members.values()))
        window = max(spec["window"] for spec in members.values())
        steady: dict[str, Any] = {}
        if self.steady and self.states is not None:
            window, steady = self._settled(), {"steady": dict(self.states)}
            first = {**first, "max_span_s": self._max_span_s(window)}
            channels = list(dict.fromkeys([*channels, self.states["channel"]]))
        return {
            "name": "ensemble",
            "window": window,
            "channels": channels,
            **steady,
            **{name: first[name] for name in shared},
            "members": [
                {name: spec[name] for name in spec if name not in shared} | self._calibrated()
                for spec in members.values()
            ],
        }

    def _fitted(self, specs: Mapping[str, Spec]) -> tuple[dict[str, Fitted], dict[str, str]]:
        """Return the candidates fitted on the first readings, and why others could not be."""
        learnt = np.arange(len(self.frame)) < int(len(self.frame) * _TRIAL)
        fitted, refused = {}, {}
        for what, spec in specs.items():
            try:
                fitted[what] = fit_spec(
                    self.together({what: spec}) if self.steady else spec,
                    self.frame, sensor=self.sensor, time=self.time,
                    seed=self.seed, keep=learnt & ~self.wrong,
                )  # fmt: skip
            except DetectorError as err:
                refused[what] = f"refused: {err.message}"
        return fitted, refused

    def _held(self, long: int) -> Held | None:
        """Return the later windows, that no candidate was fitted on; None if there are too few."""
        channels = [
            *self.series.kept,
            *(name for name in CLOCKS[:1] if name in self.series.left_out),
        ]
        index = index_windows(
            self.frame, sensor=self.sensor, time=self.time, channels=channels, window=long,
            max_span_s=self._max_span_s(long), missing=True,
        )  # fmt: skip
        later = np.flatnonzero(index.oldest >= int(len(self.frame) * _TRIAL))
        states = states_of({"channels": channels, "steady": self.states})
        if self.steady:
            later = later[index.steady(later, states)]
        if len(later) < _LEAST_HELD:
            return None
        picked = later[np.linspace(0, len(later) - 1, min(_HELD, len(later))).astype(int)]
        windows = index.values(picked)
        wrong, newest = self.wrong[index.rows[picked]], filled(windows, np.zeros(len(channels)))
        calm = ~wrong & index.steady(picked, states)
        if calm.sum() < _LEAST_HELD:
            return None  # nothing usual to compare with
        unit = within_states(newest[:, -1, :], states)
        return Held(windows, tuple(channels), wrong, unit, calm)

    def _verdicts(
        self, trials: Mapping[str, Trial], wrong: Bools
    ) -> tuple[list[str], dict[str, str]]:
        """Return the candidates kept, and of each what became of it and why."""
        if not trials:
            return [], {}
        if _LABELLED <= wrong.sum() < len(wrong):
            return _best_together(trials, wrong)
        verdicts = {}
        for what, trial in trials.items():
            if trial.found < _BLIND:
                verdicts[what] = "left out: it finds none of the planted faults"
            elif trial.restless > _RESTLESS:
                verdicts[what] = "left out: it does not stay quiet on later readings"
            else:
                verdicts[what] = "kept"
        if "kept" not in verdicts.values():
            steadiest = min(trials, key=lambda what: trials[what].restless)
            verdicts[steadiest] = "kept: the steadiest, where none is steady"
        return [what for what in trials if verdicts[what].startswith("kept")], verdicts

    def _calibrated(self) -> dict[str, Any]:
        """Return what a member of an ensemble calibrates on: of few readings, the half of them."""
        return {"calibrate_share": 0.5} if self._usable() < _FEW else {}

    def _usable(self) -> int:
        """Return how many readings teach something, by those that each threshold is tried on.

        A channel may begin late: then the first share of the readings, on which a detector is
        fitted to buy a threshold out of sample, has fewer values than its part.
        """
        valued = self.frame[list(self.series.kept)].notna().any(axis=1).to_numpy()
        return int(min(valued.sum(), valued[: int(len(valued) * _TRIAL)].sum() / _TRIAL))

    def _max_span_s(self, long: int) -> float | None:
        """Return the gap rule: how long a window may span."""
        return usual_span_s(self.frame, long, sensor=self.sensor, time=self.time)


def _recall(rows: list[dict[str, Any]]) -> float:
    """Return the share of planted faults that the median candidate finds; one refused, none."""
    return float(np.median([row["found"] or 0.0 for row in rows]))


def _best_together(trials: Mapping[str, Trial], wrong: Bools) -> tuple[list[str], dict[str, str]]:
    """Return the candidates whose mean tells labelled readings best, each added for its gain."""
    ranked = {what: rarity(trial.scores, wrong) for what, trial in trials.items()}
    kept: list[str] = []
    reached = -_GAIN
    while len(kept) < len(ranked):
        sums = {
            what: precision(np.sum([ranked[name] for name in [*kept, what]], axis=0), wrong)
            for what in ranked
            if what not in kept
        }
        best = max(sums, key=lambda what: sums[what])
        if sums[best] < reached + _GAIN:
            break
        kept.append(best)
        reached = sums[best]
    verdicts = dict.fromkeys(trials, "left out: with the others it tells labels no better")
    return kept, verdicts | dict.fromkeys(kept, "kept, by the labels")


def _precisions(trials: Mapping[str, Trial], held: Held | None) -> dict[str, dict[str, float]]:
    """Return how well each tells labelled readings, where there are any."""
    if held is None or not _LABELLED <= held.wrong.sum() < len(held.wrong):
        return {}
    return {
        what: {"precision": precision(trial.scores, held.wrong)} for what, trial in trials.items()
    }


def settled(
    spec: Mapping[str, Any],
    frame: pd.DataFrame,
    *,
    sensor: str,
    time: str = "event_time",
    keep: Bools | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Return a resolved specification of the catalogue: `auto` is chosen by the readings."""
    resolved = resolve(spec)
    if resolved["name"] != AUTO:
        return resolved
    return resolve(choose(resolved, frame, sensor=sensor, time=time, keep=keep, seed=seed).spec)
