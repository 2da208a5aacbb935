"""What the gate finds out about a candidate: one finding for each thing it asks.

Candidate and champion are judged by the batch path on the same readings, those of a recent span;
that the stream says the same as the batch path is for `parity` to prove.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench import evaluation
from workbench.detectors import Detection, Package, detect, epoch_ms, score_readings
from workbench.errors import StreamError, WorkbenchError
from workbench.history import open_archive, replay
from workbench.stream.definition import Stream
from workbench.stream.demands import METRICS
from workbench.stream.parity import as_run, with_derived
from workbench.stream.promotions import Promotion, find_package, in_force, iso
from workbench.stream.selection import misfits

_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes
    ----------
    check
        What was asked about.
    passed
        None: measured or not, but nothing is asked of it.
    found, wanted
        For people.
    """

    check: str
    passed: bool | None
    found: str
    wanted: str = ""

    @property
    def verdict(self) -> str:
        """`pass`, `refuse` or `-`."""
        return {True: "pass", False: "refuse", None: "-"}[self.passed]


@dataclass(frozen=True)
class Judged:
    """What a detector made of the recent span.

    Attributes
    ----------
    figures
        Of the event report and, with scores, of the ranking; None where one does not exist.
    alerts_per_sensor_day
        All alerts, true ones included.
    """

    figures: dict[str, float | int | None]
    alerts_per_sensor_day: float

    def rank(self, metric: str) -> tuple[float, float]:
        """Return what orders detectors: the metric, then fewer false alerts."""
        value = self.figures.get(metric)
        first = -math.inf if value is None else METRICS[metric] * value
        return first, -float(self.figures["false_alerts"] or 0)

    def told(self, metric: str) -> str:
        """Return the metric and the counts behind it."""
        value, of = self.figures.get(metric), self.figures
        shown = "-" if value is None else f"{value:.3g}"
        found = f"{of['found']} of {of['events']} events, {of['false_alerts']} false alerts"
        return f"{metric} {shown} ({found})"


def recent(stream: Stream, package: Package, archive: str | None = None) -> pd.DataFrame:
    """Return the readings of the stream's recent span that the package was not fitted on.

    Raises
    ------
    StreamError
        If there are none.
    """
    times = open_archive(archive).topic(stream.topic).times()
    if not len(times):
        raise StreamError(f"the archive has no readings of {stream.topic}")
    stop = int(times.max()) + 1
    start = stop - round(stream.gate.days * _DAY_MS)
    fitted = span_ms(package.training)
    if fitted is not None:
        start = max(start, fitted[1])
    if start >= stop:
        raise StreamError(
            f"the package was fitted on data up to {package.training['stop']}, the archive ends "
            f"at {iso(stop - 1)}: nothing is left to judge it on",
            hint="fit it on an earlier span, or offload what came since",
        )
    columns = [stream.sensor, *stream.channels]
    return replay(stream.topic, iso(start), iso(stop), archive=archive, columns=columns)


def span_ms(training: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return [start, stop) of a manifest, epoch ms, from 1970 where it has no start.

    None where it has no stop: then any reading may have been fitted on.
    """
    if not training.get("stop"):
        return None
    bounds = (pd.Timestamp(training.get("start") or 0), pd.Timestamp(training["stop"]))
    start, stop = (one.tz_localize("UTC") if one.tzinfo is None else one for one in bounds)
    return int(start.timestamp() * 1000), int(stop.timestamp() * 1000)


def fits(stream: Stream, package: Package, role: str, before: Sequence[Promotion]) -> Finding:
    """Whether the stream has the channels, the windows and the rule that the package needs."""
    reasons = [*misfits(stream, package), *_rule_differs(stream, package, role, before)]
    found = "; ".join(reasons) or (
        f"{len(package.detector.channels)} channels, window {package.detector.window}"
    )
    return Finding("fits the stream", not reasons, found)


def _rule_differs(
    stream: Stream, package: Package, role: str, before: Sequence[Promotion]
) -> list[str]:
    """A running job has one rule: the stream's, or that of its first package."""
    if stream.rule or not before:
        return []
    rule = find_package(before[-1].package).rule
    if rule == package.rule:
        return []
    return [
        f"its rule is k={package.rule.k}, n={package.rule.n}, m={package.rule.m}, the {role} has "
        f"k={rule.k}, n={rule.n}, m={rule.m}: train with that one, or give the stream a rule"
    ]


def unseen(package: Package, frame: pd.DataFrame) -> Finding:
    """Whether the package was fitted on none of the readings that it is judged on."""
    name, wanted = "judged on unseen data", "fitted on none of it"
    fitted = span_ms(package.training)
    if fitted is None:
        return Finding(name, False, "the package does not say what it was fitted on", wanted)
    times = epoch_ms(frame["event_time"])
    both = int(((times >= fitted[0]) & (times < fitted[1])).sum())
    begin = _minute(fitted[0]) if fitted[0] else "the first reading"
    told = f"fitted on {begin} to {_minute(fitted[1])}"
    if both:
        return Finding(name, False, f"{told}, {both:,} of {len(times):,} readings", wanted)
    return Finding(name, True, told, wanted)


def _minute(event_ms: int) -> str:
    return f"{iso(event_ms)[:16]}Z"


def judge(
    stream: Stream, frame: pd.DataFrame, log: Sequence[Promotion], labels: pd.DataFrame
) -> Judged:
    """Return what the promotions of `log`, the later one first, would make of `frame`."""
    ready = with_derived(stream, frame)
    sensors, times = frame[stream.sensor].to_numpy(dtype=object), epoch_ms(frame["event_time"])
    holds = _holds(log, sensors)
    scores, found = np.full(len(frame), np.nan), []
    for position in np.unique(holds[holds >= 0]):
        own = holds == position
        detection = _detect(stream, ready, log[position])
        scores[own] = detection.scores[own]
        mine = detection.episodes["sensor"].isin(sensors[own])
        found.append(detection.episodes[mine])
    covered = sorted(set(sensors[holds >= 0]))
    report = evaluation.event_report(
        pd.concat(found, ignore_index=True),
        labels,
        span=(_time(times.min()), _time(times.max() + 1)),
        sensors=covered,
    )
    figures = {**report.metrics(), **_ranked(stream, times, sensors, scores, labels)}
    return Judged(figures, report.alerts / report.sensor_days)


def covered(stream: Stream, frame: pd.DataFrame, log: Sequence[Promotion]) -> NDArray[np.bool_]:
    """Return which readings are of a sensor that a promotion of `log` holds for."""
    return _holds(log, frame[stream.sensor].to_numpy(dtype=object)) >= 0


def _holds(log: Sequence[Promotion], sensors: NDArray[np.object_]) -> NDArray[np.int64]:
    return in_force(log, sensors, np.full(len(sensors), np.iinfo(np.int64).max))


def _detect(stream: Stream, frame: pd.DataFrame, one: Promotion) -> Detection:
    package = find_package(one.package)
    if one.threshold is not None:
        package = replace(package, threshold=one.threshold)
    return detect(
        as_run(stream, package), frame, sensor=stream.sensor, lateness_ms=stream.lateness_ms
    )


def _ranked(
    stream: Stream,
    times: NDArray[np.int64],
    sensors: NDArray[np.object_],
    scores: NDArray[np.float64],
    labels: pd.DataFrame,
) -> dict[str, float | None]:
    if stream.gate.metric not in ("vus_pr", "auc_pr"):
        return {}
    rows = evaluation.judge("candidate", times, sensors, scores, labels)
    values = [float(str(one[stream.gate.metric])) for one in rows]
    return {stream.gate.metric: sum(values) / len(values) if values else None}


def _time(event_ms: int) -> pd.Timestamp:
    return pd.Timestamp(int(event_ms), unit="ms", tz="UTC")


def labels_of(stream: Stream) -> pd.DataFrame:
    """Return the events that the stream file names; none where it names no file."""
    if stream.gate.labels:
        return evaluation.read_labels(stream.gate.labels)
    return pd.DataFrame(columns=["sensor", "start", "stop", "kind", "channels"])


def beats(stream: Stream, role: str, judged: Sequence[Judged], why: str) -> Finding:
    """Whether the candidate is at least as good as what scores the stream now.

    Parameters
    ----------
    judged
        The candidate, then the champion if there is one, on the same readings.
    why
        Why it may be worse; empty: it may not.
    """
    name, metric = "not worse than the champion", stream.gate.metric
    told = [one.told(metric) for one in judged]
    if not stream.gate.labels:
        told = ["not known without labels", f"{metric}, by labels in the stream file's gate"]
    if len(judged) == 1:
        return Finding(name, None, told[0], "there is no champion yet")
    if role == "challenger":
        return Finding(name, None, told[0], f"a challenger may be worse; champion: {told[1]}")
    if stream.gate.labels and judged[0].rank(metric) >= judged[1].rank(metric):
        return Finding(name, True, told[0], f"champion: {told[1]}")
    if why:
        return Finding(name, None, f"{told[0]}; promoted all the same: {why}", told[1])
    return Finding(name, False, told[0], told[1])


def within_budget(stream: Stream, candidate: Judged) -> Finding:
    """Whether it would alert as seldom as the stream's people want, outside of known events."""
    every, most = candidate.alerts_per_sensor_day, stream.gate.alerts_per_sensor_day
    usual = float(candidate.figures["false_alerts_per_sensor_day"] or 0)
    told = "{:.3g} a day and sensor"
    if every > usual:
        told += f" ({every:.3g} with known events)"
    return _limited("expected alerts", usual, most, told, "{:.3g}")


def drift(
    stream: Stream, package: Package, frame: pd.DataFrame, archive: str | None = None
) -> Finding:
    """How far the channels have moved since training."""
    name, most = "drift since training", stream.gate.drift
    fitted = span_ms(package.training)
    try:
        if fitted is None:
            raise StreamError("the package does not say what it was fitted on")
        before = replay(
            stream.topic,
            iso(fitted[0]),
            iso(fitted[1]),
            archive=archive,
            columns=[stream.sensor, *stream.channels],
        )
    except WorkbenchError as error:
        return Finding(name, None if most is None else False, f"not known: {error.message}")
    then, now = with_derived(stream, before), with_derived(stream, frame)
    moved = {one: moved_by(then[one], now[one]) for one in package.detector.channels}
    worst = max(moved, key=moved.__getitem__)
    return _limited(name, moved[worst], most, f"{{:.2f}} in {worst}", "{:.2f}")


def moved_by(before: pd.Series, after: pd.Series) -> float:
    """Return the largest difference between two cumulative distributions, 0 to 1.

    Notes
    -----
    Source: the two-sample Kolmogorov-Smirnov statistic. Missing values are left out; with none
    left on one side it is 1.

    Examples
    --------
    >>> moved_by(pd.Series([1.0, 2.0, 3.0, 4.0]), pd.Series([3.0, 4.0, 5.0, 6.0]))
    0.5
    """
    one, other = (np.sort(values.dropna().to_numpy(dtype=float)) for values in (before, after))
    if not len(one) or not len(other):
        return 1.0
    at = np.concatenate([one, other])
    shares = (np.searchsorted(each, at, side="right") / len(each) for each in (one, other))
    return float(np.max(np.abs(np.subtract(*shares))))


def cost(stream: Stream, package: Package, frame: pd.DataFrame) -> Finding:
    """How long it takes to score one reading, here; the better one of two passes."""
    ready, taken = with_derived(stream, frame), []
    for _ in range(2):
        begun = time.perf_counter()
        score_readings(package.detector, ready, sensor=stream.sensor)
        taken.append(time.perf_counter() - begun)
    each_us = min(taken) / max(1, len(frame)) * 1e6
    return _limited(
        "cost of scoring", each_us, stream.gate.us_per_reading, "{:.2g} us a reading", "{:g} us"
    )


def _limited(name: str, value: float, most: float | None, found: str, wanted: str) -> Finding:
    if most is None:
        return Finding(name, None, found.format(value), "no limit declared")
    return Finding(name, value <= most, found.format(value), f"at most {wanted.format(most)}")
