"""What the gate finds out about a candidate: one finding for each thing it asks.

Candidate and champion are judged by the batch path on the same readings, those of a recent span;
that the stream says the same as the batch path is for `parity` to prove.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from workbench import evaluation
from workbench.arrays import Bools, Floats, Ints, Objects
from workbench.detectors import (
    Detection,
    Package,
    check_passable,
    score_readings,
    source_partitions,
)
from workbench.errors import PackageError, StreamError
from workbench.evaluation import GroundTruth
from workbench.metrics import direction
from workbench.stream.definition.stream_file import Stream
from workbench.stream.frames import arrived
from workbench.stream.promotion.proof import as_run, batch_path, with_derived
from workbench.stream.promotion.unscored import leveled
from workbench.stream.promotion.verdicts import Finding, limited
from workbench.stream.promotion_log import (
    Promotion,
    find_package,
    in_force,
)
from workbench.stream.running import originals
from workbench.stream.selection import misfits
from workbench.times import Time, epoch_ms, instant_ms, iso

_BUDGETED = ("false_alerts_per_sensor_day", "alarm_share")  # of sensors that can alarm
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Judged:
    """What a detector made of the recent span.

    Attributes
    ----------
    figures
        Of the event report and, with scores, of the ranking; None where one does not exist.
    alerts_per_sensor_day
        All alerts, true ones included; None: no time of the span is judged.
    episodes
        Those alerts, as `detectors.detect` gives them.
    false_answers
        Alerts of the span that people answered `false`.
    unleveled
        Sensors that have no score because they have no level (`level: sensor`): the alerts per
        sensor and day are those of the others.
    """

    figures: dict[str, float | int | None]
    alerts_per_sensor_day: float | None
    episodes: pd.DataFrame = field(repr=False, compare=False)
    false_answers: int = 0
    unleveled: int = 0

    @property
    def judgeable(self) -> bool:
        """Whether the span has something to judge by: an event, or an alert answered `false`.

        Without either the quieter one of two would win, and one that never alerts against any.
        """
        return bool(self.figures["events"] or self.false_answers)

    def rank(self, metric: str) -> tuple[float, float]:
        """Return what orders detectors: the metric, then fewer false alerts."""
        value = self.figures.get(metric)
        first = -math.inf if value is None else direction(metric) * value
        return first, -float(self.figures["false_alerts"] or 0)

    def summary(self, metric: str) -> str:
        """Return the metric and the counts behind it."""
        value, of = self.figures.get(metric), self.figures
        shown = "-" if value is None else f"{value:.3g}"
        found = f"{of['found']} of {of['events']} events, {of['false_alerts']} false alerts"
        return f"{metric} {shown} ({found})"


def recent(
    stream: Stream, package: Package, archive: str | originals.Origin | None = None
) -> pd.DataFrame:
    """Return the readings of the stream's recent span that the package was not fitted on.

    Raises
    ------
    StreamError
        If there are none.
    """
    opened = originals.readable(stream, archive)
    stop = originals.last_ms(stream, opened) + 1
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
    return originals.readings(stream, opened, iso(start), iso(stop))


def span_ms(training: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return [start, stop) of a manifest, epoch ms, from 1970 where it has no start.

    None where it has no stop: then any reading may have been fitted on.
    """
    if not training.get("stop"):
        return None
    stop = instant_ms(training["stop"])
    return None if stop is None else (instant_ms(training.get("start")) or 0, stop)


def fits(stream: Stream, package: Package, role: str, before: Sequence[Promotion]) -> Finding:
    """Whether the stream has the channels, windows, rule and threshold that the package needs."""
    reasons = [
        *misfits(stream, package),
        *_rule_differs(stream, package, role, before),
        *_out_of_reach(as_run(stream, package)),
    ]
    description = "; ".join(reasons) or (
        f"{len(package.detector.channels)} channels, window {package.detector.window}"
    )
    return Finding("fits the stream", not reasons, description)


def _out_of_reach(package: Package) -> list[str]:
    """Return why no score passes the threshold: that of the stream, or given with the promotion."""
    try:
        check_passable(package.detector, package.threshold)
    except PackageError as error:
        return [error.message]
    return []


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
    span = f"fitted on {begin} to {_minute(fitted[1])}"
    if both:
        return Finding(name, False, f"{span}, {both:,} of {len(times):,} readings", wanted)
    return Finding(name, True, span, wanted)


def _minute(event_ms: int) -> str:
    return iso(event_ms, "m")


def in_order(stream: Stream, frame: pd.DataFrame) -> Finding:
    """Whether the readings stand in the order of time, as far as the stream allows for lateness.

    By partition, as the stream counts them; the one with the largest share decides.
    """
    late, parts = arrived(stream, frame).late, source_partitions(frame)
    codes = np.zeros(len(frame), np.int64) if parts is None else parts
    shares = pd.Series(late, dtype=float).groupby(codes).mean()
    worst, most = float(shares.max()), stream.gate.late_share
    description = (
        f"{late.sum():,} of {len(late):,} readings late at lateness_s: {stream.lateness_s:g}"
    )
    if len(shares) > 1:
        description += f", {worst:.1%} of one of {len(shares)} partitions"
    wanted = f"at most {most:.0%}"
    if worst > most:
        wanted += " of a partition; a larger lateness_s, or readings sent in the order of time"
    return Finding("order of time", worst <= most, description, wanted)


def judge(
    stream: Stream, frame: pd.DataFrame, log: Sequence[Promotion], truth: GroundTruth
) -> Judged:
    """Return what the promotions of `log`, the later one first, would make of `frame`."""
    ready = with_derived(stream, frame)
    sensors, times = frame[stream.sensor].to_numpy(dtype=object), epoch_ms(frame["event_time"])
    holds = _holds(log, sensors)
    scores, episodes, judged = np.full(len(frame), np.nan), [], holds >= 0
    for position in np.unique(holds[holds >= 0]):
        mask = holds == position
        detection = _detect(stream, ready, log[position])
        judged &= ~mask | leveled(promoted(log[position]).detector, frame[stream.sensor])
        scores[mask] = detection.scores[mask]
        mine = detection.episodes["sensor"].isin(sensors[mask])
        episodes.append(detection.episodes[mine])
    covered = sorted(set(sensors[holds >= 0]))
    alerts = pd.concat(episodes, ignore_index=True)
    span = _time(times.min()), _time(times.max() + 1)
    report, able = (
        evaluation.event_report(
            alerts, truth.faults, span=span, sensors=of, left_out=truth.left_out
        )
        for of in (covered, sorted(set(sensors[judged])) or covered)
    )
    figures = {**report.metrics(), **_ranked(stream, times, sensors, scores, truth)}
    figures |= {name: able.metrics()[name] if judged.any() else None for name in _BUDGETED}
    false = _false_answers(truth, covered, int(times.min()), int(times.max()))
    rate = able.alerts_per_sensor_day if judged.any() else math.nan
    unleveled = len(set(covered) - set(sensors[judged]))
    return Judged(figures, None if math.isnan(rate) else rate, alerts, false, unleveled)


def _false_answers(truth: GroundTruth, sensors: Sequence[str], first_ms: int, last_ms: int) -> int:
    """Return how many spans answered `false` lie, a part of them at least, in [first, last]."""
    rows = truth.usual[truth.usual["sensor"].isin(sensors)]
    inside = (epoch_ms(rows["start"]) <= last_ms) & (epoch_ms(rows["stop"]) > first_ms)
    return int(inside.sum())


def covered(stream: Stream, frame: pd.DataFrame, log: Sequence[Promotion]) -> Bools:
    """Return which readings are of a sensor that a promotion of `log` holds for."""
    return _holds(log, frame[stream.sensor].to_numpy(dtype=object)) >= 0


def _holds(log: Sequence[Promotion], sensors: Objects) -> Ints:
    return in_force(log, sensors, np.full(len(sensors), np.iinfo(np.int64).max))


def promoted(promotion: Promotion) -> Package:
    """Return the package of a promotion, with the threshold that it was promoted with."""
    package = find_package(promotion.package)
    if promotion.threshold is None:
        return package
    return replace(package, threshold=promotion.threshold)


def _detect(stream: Stream, frame: pd.DataFrame, promotion: Promotion) -> Detection:
    return batch_path(stream, as_run(stream, promoted(promotion)), frame)


def _ranked(
    stream: Stream,
    times: Ints,
    sensors: Objects,
    scores: Floats,
    truth: GroundTruth,
) -> dict[str, float | None]:
    if stream.gate.metric not in ("vus_pr", "auc_pr"):
        return {}
    asked = ~truth.unjudged(times, sensors)
    rows = evaluation.judge("candidate", times[asked], sensors[asked], scores[asked], truth.faults)
    values = [float(str(row[stream.gate.metric])) for row in rows]
    return {stream.gate.metric: sum(values) / len(values) if values else None}


def _time(event_ms: int) -> pd.Timestamp:
    return pd.Timestamp(int(event_ms), unit="ms", tz="UTC")


def truth_of(stream: Stream, *, until: Time = None) -> GroundTruth:
    """Return what is known of the stream's past, by the labels that its file names.

    Parameters
    ----------
    until
        With `labels: feedback`: answers that were given later do not count; None: all do.

    Raises
    ------
    EvaluationError, ServicesError
        As `evaluation.ground_truth`; so if there is an `until`, and the labels are no answers.
    """
    if stream.gate.labels == evaluation.FEEDBACK:
        return evaluation.answered(stream.name, until=until, topic=stream.feedback)
    return evaluation.ground_truth(stream.gate.labels, until=until)


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
    figures = [one.summary(metric) for one in judged]
    if not judged[0].judgeable:
        figures = _unknown(stream)
    if len(judged) == 1:
        return Finding(name, None, figures[0], "there is no champion yet")
    if role == "challenger":
        return Finding(name, None, figures[0], f"a challenger may be worse; champion: {figures[1]}")
    if judged[0].judgeable and judged[0].rank(metric) >= judged[1].rank(metric):
        return Finding(name, True, figures[0], f"champion: {figures[1]}")
    if why:
        return Finding(name, None, f"{figures[0]}; promoted all the same: {why}", figures[1])
    return Finding(name, False, figures[0], figures[1])


def _unknown(stream: Stream) -> list[str]:
    """Return what stands in place of figures where nothing is known to judge by, and is wanted."""
    metric = stream.gate.metric
    if not stream.gate.labels:
        return ["not known without labels", f"{metric}, by labels in the stream file's gate"]
    return [
        "not known: in what is judged no fault begins, and no alert was answered `false`",
        f"{metric}, by one of them: more `days` in the stream file's gate, or more labels",
    ]


def cost(stream: Stream, package: Package, frame: pd.DataFrame) -> Finding:
    """How long it takes to score one reading, here; the better one of two passes."""
    ready, taken = with_derived(stream, frame), []
    for _ in range(2):
        begun = time.perf_counter()
        score_readings(package.detector, ready, sensor=stream.sensor)
        taken.append(time.perf_counter() - begun)
    each_us = min(taken) / max(1, len(frame)) * 1e6
    return limited(
        "cost of scoring", each_us, stream.gate.us_per_reading, "{:.2g} us a reading", "{:g} us"
    )
