"""Following a plant that changes: refitting by a declared policy, replayed as production does it.

In production a scheduled batch run fits the specification on the trailing span and promotes the
result; readings that arrive from then on are scored by it. Here the same is done over history: a
detector never sees a reading that had not arrived when it was fitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from workbench.arrays import Bools, Floats, Ints
from workbench.detectors.alarms import MOST_ALARMED, EpisodeRule
from workbench.detectors.choosing.choice import settled
from workbench.detectors.fitted import Fitted
from workbench.detectors.partition_time import arrivals_of
from workbench.detectors.refits.buying import Terms, buy_again
from workbench.detectors.refits.carrying import CARRIED_SPANS, spent
from workbench.detectors.refits.changing import HOUR_MS, alarming
from workbench.detectors.refits.trailing import Refit, fit_again
from workbench.detectors.specs import AUTO, asks_for_alarms, buys_only, carries_over, resolve
from workbench.detectors.windows import WindowIndex, index_windows, time_order
from workbench.errors import DetectorError, PackageError
from workbench.times import epoch_ms

_MOST_FITS = 1_000_000  # of a replayed span: so many are listed before the first


@dataclass(frozen=True, eq=False)
class Adapted:
    """What a schedule of refits made of a span.

    Attributes
    ----------
    scores, thresholds
        Shape (n,): score of each reading, and the threshold in force when it arrived; NaN before
        the first fit.
    refits
        In order.
    """

    scores: Floats
    thresholds: Floats
    refits: tuple[Refit, ...]


def replay_refits(
    spec: Mapping[str, Any],
    frame: pd.DataFrame,
    *,
    sensor: str,
    time: str = "event_time",
    alerts_per_sensor_day: float | None,
    rule: EpisodeRule | None = None,
    first: int | None = None,
    lateness_ms: int | None = None,
    ahead_ms: int | None = None,
    partition: str | None = None,
    in_event: Bools | None = None,
    held_out_h: float = 0.0,
    alarm_share: float = MOST_ALARMED,
    seed: int = 0,
) -> Adapted:
    """Return scores of a span under the refit policy of a specification.

    Each fit is by `fit_again`, each threshold that is bought alone by `buy_again`, as `workbench
    refit` makes them.

    Parameters
    ----------
    spec
        With `refit`: `every_h` and `trailing_h`, or `every_readings` and `trailing_readings`, and
        `leave_out_alarmed` (default false). Readings under an alarm are then not trained on,
        unless that would leave less than half: what alarms that long is the new usual. And
        `change_h`: an alarm that has been on so long when a fit is due is a change, and what its
        sensor sent before is not learnt from any more. Or with `threshold_only`: then the first
        detector stays, and each further time only its threshold is bought anew, by what it has
        scored since; where that cannot be had yet, the threshold stays too. With `carry_over`, what
        the budget has left since then is bought with it, so many times (`Spent`).
    frame
        Readings in arrival order where a lateness is given, else in any order.
    alerts_per_sensor_day, rule
        Each fit's threshold is what this budget buys on its training span, out of sample
        (`trailing`). None: no thresholds, where only scores are asked for.
    first
        Readings before the first fit; if left out, the trailing span.
    lateness_ms
        Readings later than this are left out. None: none is late, all arrive in order of time.
    ahead_ms
        Readings whose clock is further ahead are left out, as `detect` does; None: none.
    in_event
        Shape (len(frame),): readings of known events. They are scored, and never learnt from.
    held_out_h
        What each fit knows ends so long before it: in production the days that the gate judges, or
        what the archive has not got yet.
    alarm_share
        Most of the readings that buy a threshold may be under an alarm; in production the gate's.

    Raises
    ------
    DetectorError
        If there is no policy, it leaves out what alarmed and there is no budget, or a fit is
        refused.
    PackageError
        If no score can pass the threshold of a fit.
    """
    resolved = resolve(spec)
    if resolved["refit"] is None:
        raise DetectorError(
            f"detector {resolved['name']} declares no refit policy",
            hint="refit: {every_h: 24, trailing_h: 168}",
        )
    asks = asks_for_alarms(resolved["refit"])
    if alerts_per_sensor_day is None and asks:
        raise DetectorError(f"{asks} needs an alert budget: without one nothing alarms")
    order = np.arange(len(frame))
    if lateness_ms is None:
        order = time_order(frame, sensor=sensor, time=time)
        frame = frame.iloc[order]
    gone = arrivals_of(
        frame, sensor=sensor, time=time, lateness_ms=lateness_ms, ahead_ms=ahead_ms,
        partition=partition,
    ).left_out  # fmt: skip
    events = np.zeros(len(frame), dtype=np.bool_) if in_event is None else in_event[order]
    replay = _Replay(
        frame,
        gone,
        events,
        sensor,
        time,
        Terms(alerts_per_sensor_day, rule or EpisodeRule(), seed, alarm_share),
    )
    refits = replay.run(resolved, first, round(held_out_h * HOUR_MS))
    back = np.argsort(order)
    return Adapted(
        replay.scores[back],
        replay.thresholds[back],
        tuple(
            replace(refit, row=int(order[refit.row]), trained=order[refit.trained])
            for refit in refits
        ),
    )


@dataclass(frozen=True, eq=False)
class _Replay:
    """Readings in the order of their arrival, and what has become of them so far."""

    frame: pd.DataFrame
    gone: Bools
    known: Bools
    sensor: str
    time: str
    terms: Terms
    scores: Floats = field(init=False)
    thresholds: Floats = field(init=False)
    indices: dict[tuple[Any, ...], WindowIndex] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("scores", "thresholds"):
            object.__setattr__(self, name, np.full(len(self.frame), np.nan))

    def run(self, spec: Mapping[str, Any], first: int | None, held_out_ms: int) -> list[Refit]:
        """Fit when the policy says, and score what comes until the next time."""
        refits: list[Refit] = []
        times, fits_ms = epoch_ms(self.frame[self.time]), []
        spans = _spans(times, spec["refit"], first, held_out_ms)
        stops = [span.row for span in spans[1:]] + [len(times)]
        for span, stop in zip(spans, stops, strict=True):
            row = span.row
            trailing = span.trailing[~self.gone[span.trailing]]  # windows join across them
            fits_ms.append(int(times[: row + 1].max()))  # the reading at `row` may be late
            if refits and buys_only(spec["refit"]):
                carried = self._carried(refits[0].detector, spec["refit"], spans[0], span)
                again = self._bought(refits, trailing, spans[0], carried)
            else:
                spec = self._settled(spec, trailing)
                again = self._fitted(spec, row, trailing, refits, fits_ms)
            refits.append(replace(again, row=row))
            self._score(again.detector, row, stop)
            self.thresholds[row:stop] = again.threshold
        return refits

    def _settled(self, spec: Mapping[str, Any], trailing: Ints) -> Mapping[str, Any]:
        """Return what `auto` chooses, once: what is promoted again is the same detector."""
        if spec["name"] != AUTO:
            return spec
        chosen = settled(
            spec, self.frame.iloc[trailing], sensor=self.sensor, time=self.time,
            keep=~self.known[trailing], seed=self.terms.seed,
        )  # fmt: skip
        return {**chosen, "refit": spec["refit"]}

    def _fitted(
        self,
        spec: Mapping[str, Any],
        row: int,
        trailing: Ints,
        refits: Sequence[Refit],
        fits_ms: Sequence[int],
    ) -> Refit:
        again = fit_again(
            spec, self.frame.iloc[trailing], sensor=self.sensor, time=self.time, terms=self.terms,
            left_out=self.known[trailing], alarm=self._alarm(row, spec)[trailing], fits_ms=fits_ms,
            before=refits[-1].detector if refits else None,
        )  # fmt: skip
        return replace(again, trained=trailing[again.trained])

    def _carried(
        self, detector: Fitted, policy: Mapping[str, Any], first: _Span, span: _Span
    ) -> float:
        """Return the alerts that are carried over since the first fit, where the policy asks."""
        times, budget = carries_over(policy), self.terms.alerts_per_sensor_day
        if not times or budget is None:
            return 0.0
        memory_ms = round(CARRIED_SPANS * policy["trailing_h"] * HOUR_MS)
        begin_ms = max(first.instant_ms, span.stop_ms - memory_ms)
        times_ms = epoch_ms(self.frame[self.time])[: span.row]
        rows = np.flatnonzero(
            (times_ms >= begin_ms) & (times_ms < span.stop_ms) & ~self.gone[: span.row]
        )
        names = self.frame[self.sensor].to_numpy()[rows]
        above = self.scores[rows] > self.thresholds[rows]
        return times * spent(
            times_ms[rows], names, above, left_out=self.known[rows], rule=self.terms.rule,
            detector=detector,
        ).left(budget)  # fmt: skip

    def _bought(
        self, refits: Sequence[Refit], trailing: Ints, first: _Span, carried: float
    ) -> Refit:
        """Return what is in force with its threshold bought anew, or as it is where none can be.

        In production such a refit is refused, and what scores the stream goes on.
        """
        if self.terms.alerts_per_sensor_day is None:
            return refits[-1]
        span = self.frame.iloc[trailing]
        fresh = ~np.isin(trailing, first.trailing) & (epoch_ms(span[self.time]) >= first.stop_ms)
        try:
            threshold = buy_again(
                refits[-1].detector, span, sensor=self.sensor, time=self.time, terms=self.terms,
                left_out=self.known[trailing], fresh=fresh, carried=carried,
            )  # fmt: skip
        except (DetectorError, PackageError):
            return refits[-1]
        return replace(refits[-1], threshold=threshold)

    def _alarm(self, row: int, spec: Mapping[str, Any]) -> Bools:
        """Return which of the readings before a row are under an alarm, by what was in force.

        None, where the policy does not ask.
        """
        alarm = np.zeros(row, dtype=np.bool_)
        if asks_for_alarms(spec["refit"]):
            taken = np.flatnonzero(~self.gone[:row])
            names = self.frame[self.sensor].to_numpy()[taken]
            times_ms = epoch_ms(self.frame[self.time])[taken]
            scores, thresholds = self.scores[taken], self.thresholds[taken]
            alarm[taken] = alarming(times_ms, names, scores, thresholds, self.terms.rule)
        return alarm

    def _score(self, detector: Fitted, row: int, stop: int) -> None:
        index = self._index(detector)
        own = np.searchsorted(index.rows, [row, stop])
        index.score(detector, slice(int(own[0]), int(own[1])), self.scores)

    def _index(self, detector: Fitted) -> WindowIndex:
        """Return the windows of all readings, as this detector takes them: mostly as the last did.

        Of all, not of those that are here so far: one that comes a little later may belong before.
        """
        shape = (
            tuple(detector.channels), detector.window, detector.max_span_s, detector.takes_missing,
        )  # fmt: skip
        if shape not in self.indices:
            self.indices.clear()
            self.indices[shape] = index_windows(
                self.frame,
                sensor=self.sensor,
                time=self.time,
                channels=detector.channels,
                window=detector.window,
                max_span_s=detector.max_span_s,
                missing=detector.takes_missing,
                keep=~self.gone,
            )
        return self.indices[shape]


@dataclass(frozen=True, eq=False)
class _Span:
    """When a fit is due, and what it may know.

    Attributes
    ----------
    row, instant_ms
        The first reading that it scores, and from which event time on.
    trailing, stop_ms
        The rows that it may be fitted on, and before which event time they end.
    """

    row: int
    instant_ms: int
    trailing: Ints
    stop_ms: int


def _check_count(fits: float) -> None:
    """Refuse a policy that a span could not be replayed by, before the first fit."""
    if fits > _MOST_FITS:
        raise DetectorError(
            f"the refit policy asks for {fits:.3g} fits of this span, at most {_MOST_FITS:,}",
            hint="a longer every_h, or more every_readings",
        )


def _spans(
    times: Ints, policy: Mapping[str, Any], first: int | None, held_out_ms: int
) -> list[_Span]:
    """Return what each fit of a policy knows and scores."""
    n, clock = len(times), np.maximum.accumulate(times)
    if "every_readings" in policy:
        every, most = int(policy["every_readings"]), int(policy["trailing_readings"])
        _check_count(n / max(1, every))
        spans = []
        for row in range(most if first is None else first, n, max(1, every)):
            instant = int(clock[row])
            known = np.searchsorted(clock, instant - held_out_ms) if held_out_ms else row
            trailing = np.arange(max(0, int(known) - most), int(known))
            spans.append(_Span(row, instant, trailing, instant - held_out_ms))
        return spans
    every_ms, most_ms = (int(policy[key] * HOUR_MS) for key in ("every_h", "trailing_h"))
    begin = times[:1].sum() + most_ms + held_out_ms if first is None else clock[min(first, n - 1)]
    _check_count((int(clock[-1]) - int(begin)) / max(1, every_ms) if n else 0)
    spans = []
    for instant in range(int(begin), int(clock[-1]) + 1 if n else 0, max(1, every_ms)):
        row, stop_ms = int(np.searchsorted(clock, instant)), instant - held_out_ms
        own = (times[:row] >= stop_ms - most_ms) & (times[:row] < stop_ms)
        spans.append(_Span(row, instant, np.flatnonzero(own), stop_ms))
    return spans
