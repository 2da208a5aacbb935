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
from workbench.detectors.alarms import EpisodeRule
from workbench.detectors.choosing.choice import settled
from workbench.detectors.fitted import Fitted
from workbench.detectors.partition_time import arrivals_of
from workbench.detectors.refits.buying import Terms, buy_again
from workbench.detectors.refits.changing import alarming
from workbench.detectors.refits.trailing import Refit, fit_again
from workbench.detectors.specs import AUTO, asks_for_alarms, buys_only, resolve
from workbench.detectors.windows import WindowIndex, index_windows, time_order
from workbench.errors import DetectorError, PackageError
from workbench.times import epoch_ms

_HOUR_MS = 3_600_000


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
        scored since; where that cannot be had yet, the threshold stays too.
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
        frame, gone, events, sensor, time, Terms(alerts_per_sensor_day, rule or EpisodeRule(), seed)
    )
    refits = replay.run(resolved, first)
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

    def run(self, spec: Mapping[str, Any], first: int | None) -> list[Refit]:
        """Fit when the policy says, and score what comes until the next time."""
        refits: list[Refit] = []
        times, fits_ms = epoch_ms(self.frame[self.time]), []
        spans = _spans(times, spec["refit"], first)
        stops = [row for row, _ in spans[1:]] + [len(times)]
        for (row, trailing), stop in zip(spans, stops, strict=True):
            trailing = trailing[~self.gone[trailing]]  # windows join across them
            fits_ms.append(int(times[: row + 1].max()))  # the reading at `row` may be late
            if refits and buys_only(spec["refit"]):
                again = self._bought(refits, trailing)
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

    def _bought(self, refits: Sequence[Refit], trailing: Ints) -> Refit:
        """Return what is in force with its threshold bought anew, or as it is where none can be.

        In production such a refit is refused, and what scores the stream goes on.
        """
        if self.terms.alerts_per_sensor_day is None:
            return refits[-1]
        try:
            threshold = buy_again(
                refits[-1].detector, self.frame.iloc[trailing], sensor=self.sensor, time=self.time,
                terms=self.terms, left_out=self.known[trailing], fresh=trailing >= refits[0].row,
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


def _spans(times: Ints, policy: Mapping[str, Any], first: int | None) -> list[tuple[int, Ints]]:
    """Return for each fit the first row that it scores and the rows that it may be fitted on."""
    n = len(times)
    if "every_readings" in policy:
        every, most = int(policy["every_readings"]), int(policy["trailing_readings"])
        starts = range(most if first is None else first, n, max(1, every))
        return [(row, np.arange(max(0, row - most), row)) for row in starts]
    clock = np.maximum.accumulate(times)
    every_ms, most_ms = (int(policy[key] * _HOUR_MS) for key in ("every_h", "trailing_h"))
    begin = times[:1].sum() + most_ms if first is None else clock[min(first, n - 1)]
    spans = []
    for instant in range(int(begin), int(clock[-1]) + 1 if n else 0, max(1, every_ms)):
        row = int(np.searchsorted(clock, instant))
        spans.append((row, np.flatnonzero(times[:row] >= instant - most_ms)))
    return spans
