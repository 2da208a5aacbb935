"""Following a plant that changes: refitting by a declared policy, replayed as production does it.

In production a scheduled batch run fits the specification on the trailing span and promotes the
result; readings that arrive from then on are scored by it. Here the same is done over history: a
detector never sees a reading that had not arrived when it was fitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from workbench.detectors.contract import Bools, Floats, Ints
from workbench.detectors.episodes import EpisodeRule, alarmed, threshold_for_budget
from workbench.detectors.fitted import Fitted
from workbench.detectors.fitting import fit
from workbench.detectors.specs import resolve
from workbench.detectors.windows import epoch_ms, index_windows, late_readings, score_readings
from workbench.errors import DetectorError

_HOUR_MS = 3_600_000


@dataclass(frozen=True, eq=False)
class Refit:
    """One fit of a schedule.

    Attributes
    ----------
    row
        Position in the frame of the first reading that the detector scores.
    trained
        Shape (n,): positions of the readings that it was fitted on.
    """

    row: int
    trained: Ints
    detector: Fitted
    threshold: float


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
    partition: str | None = None,
    seed: int = 0,
) -> Adapted:
    """Return scores of a span under the refit policy of a specification.

    Parameters
    ----------
    spec
        With `refit`: `every_h` and `trailing_h`, or `every_readings` and `trailing_readings`, and
        `leave_out_alarmed` (default false). Readings under an alarm are then not trained on,
        unless that would leave less than half: what alarms that long is the new usual.
    frame
        Readings in arrival order.
    alerts_per_sensor_day, rule
        Each fit's threshold is the one that this budget buys on its own training span. None: no
        thresholds, where only scores are asked for.
    first
        Readings before the first fit; if left out, the trailing span.

    Raises
    ------
    DetectorError
        If there is no policy, it leaves out what alarmed and there is no budget, or a fit is
        refused.
    """
    resolved = resolve(spec)
    policy = resolved["refit"]
    if policy is None:
        raise DetectorError(
            f"detector {resolved['name']} declares no refit policy",
            hint="refit: {every_h: 24, trailing_h: 168}",
        )
    if alerts_per_sensor_day is None and policy.get("leave_out_alarmed", False):
        raise DetectorError("leave_out_alarmed needs an alert budget: without one nothing alarms")
    rule = EpisodeRule() if rule is None else rule
    gone = late_readings(frame, time=time, lateness_ms=lateness_ms, partition=partition)
    times, names = epoch_ms(frame[time]), frame[sensor].to_numpy()
    index = index_windows(
        frame,
        sensor=sensor,
        time=time,
        channels=resolved["channels"],
        window=resolved["window"],
        max_span_s=resolved["max_span_s"],
        missing=resolved["missing"] == "fill",
        keep=~gone,
    )
    scores, thresholds = np.full(len(frame), np.nan), np.full(len(frame), np.nan)
    refits: list[Refit] = []
    spans = _spans(times, policy, first)
    stops = [row for row, _ in spans[1:]] + [len(frame)]
    for (row, trailing), stop in zip(spans, stops, strict=True):
        keep = ~gone
        if policy.get("leave_out_alarmed", False):
            above = scores[:row] > thresholds[:row]
            keep = keep & _quiet(times, names, above, trailing, rule)
        part, trained = frame.iloc[trailing], trailing[keep[trailing]]
        detector = fit(resolved, part, sensor=sensor, time=time, seed=seed, keep=keep[trailing])
        threshold = np.nan
        if alerts_per_sensor_day is not None:
            threshold = threshold_for_budget(
                times[trained],
                names[trained],
                score_readings(detector, frame.iloc[trained], sensor=sensor, time=time),
                alerts_per_sensor_day=alerts_per_sensor_day,
                rule=rule,
            )
        refits.append(Refit(row, trained, detector, threshold))
        thresholds[row:stop] = threshold
        own = np.searchsorted(index.rows, [row, stop])
        index.score(detector, slice(int(own[0]), int(own[1])), scores)
    return Adapted(scores, thresholds, tuple(refits))


def _spans(times: Ints, policy: Mapping[str, Any], first: int | None) -> list[tuple[int, Ints]]:
    """Return for each fit the first row that it scores and the rows that it may be fitted on."""
    n = len(times)
    if "every_readings" in policy:
        every, most = int(policy["every_readings"]), int(policy["trailing_readings"])
        starts = range(most if first is None else first, n, max(1, every))
        return [(row, np.arange(max(0, row - most), row)) for row in starts]
    seen = np.maximum.accumulate(times)
    every_ms, most_ms = (int(policy[one] * _HOUR_MS) for one in ("every_h", "trailing_h"))
    begin = times[:1].sum() + most_ms if first is None else seen[min(first, n - 1)]
    found = []
    for instant in range(int(begin), int(seen[-1]) + 1 if n else 0, max(1, every_ms)):
        row = int(np.searchsorted(seen, instant))
        found.append((row, np.flatnonzero(times[:row] >= instant - most_ms)))
    return found


def _quiet(times: Ints, names: Any, above: Bools, trailing: Ints, rule: EpisodeRule) -> Bools:
    """Return which readings are under no alarm so far; all, where that leaves too few."""
    row = len(above)
    quiet = np.ones(len(times), dtype=np.bool_)
    quiet[:row] = ~alarmed(times[:row], names[:row], above, rule)
    enough = quiet[trailing].sum() * 2 >= len(trailing)
    return quiet if enough else np.ones_like(quiet)
