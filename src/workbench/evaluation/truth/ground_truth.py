"""What is known of a span: faults, what looked like one and was none, what is not to be judged.

A CSV file names faults. What people answered names more: an alert answered `true` and what was
`missed` are faults, one answered `false` is usual whatever it looks like (a hard negative, by which
a threshold is chosen), and what was `known` is left out of fitting and judging.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from workbench.arrays import Bools, Ints
from workbench.cards import Card, HasCard
from workbench.detectors import sensor_codes
from workbench.errors import EvaluationError, did_you_mean
from workbench.evaluation.labels import by_name, labelled, read_labels
from workbench.evaluation.truth.answers import (
    Answer,
    answered_spans,
    answered_streams,
    answers_path,
    read_answers,
)
from workbench.evaluation.truth.elsewhere import feedback_topic, hear
from workbench.times import Time, epoch_ms, instant_ms, iso, now_ms

FEEDBACK = "feedback"
_SHIFT = pd.Timedelta(hours=8)
_PREFIX = f"{FEEDBACK}:"


@dataclass(frozen=True, eq=False)
class GroundTruth(HasCard):
    """What is known, as labels: `sensor`, `start`, `stop` (half open), `kind`, `channels`.

    Attributes
    ----------
    faults
        What a detector should tell.
    usual
        Spans of alerts that told nothing: hard negatives.
    left_out
        Spans for neither fit nor judgement.
    answers
        What people said, where it comes from that.
    manifest
        Where it comes from, as JSON: the file, or the stream, the instant and the number of answers
        up to it, with their hash.
    """

    faults: pd.DataFrame
    usual: pd.DataFrame
    left_out: pd.DataFrame
    answers: tuple[Answer, ...] = ()
    manifest: Mapping[str, str | int] = field(default_factory=dict)

    def card(self) -> Card:
        """Return what a notebook shows of it."""
        spans = {"faults": self.faults, "usual": self.usual, "left out": self.left_out}
        source = self.manifest.get(FEEDBACK) or self.manifest.get("labels") or "nothing is known"
        facts: dict[str, object] = {name: len(rows) for name, rows in spans.items()}
        if FEEDBACK in self.manifest:
            facts |= {"answers": len(self.answers), "until": self.manifest["until"] or "none"}
        return Card("ground truth", str(source), facts)

    def unfit(self, times_ms: ArrayLike, sensors: ArrayLike) -> Bools:
        """Return which readings, (n,), a detector is not fitted on: of faults, and left out."""
        return labelled(times_ms, sensors, self.faults) | self.unjudged(times_ms, sensors)

    def unjudged(self, times_ms: ArrayLike, sensors: ArrayLike) -> Bools:
        """Return which readings, (n,), no detector is judged by."""
        return labelled(times_ms, sensors, self.left_out)


def ground_truth(source: str | Path, *, until: Time = None) -> GroundTruth:
    """Return what is known from a file of labels, or from what people answered.

    Parameters
    ----------
    source
        A CSV file, as `read_labels` takes it; `feedback:STREAM@INSTANT`: what was answered of the
        alerts of a stream up to then; empty: nothing is known.
    until
        In place of `@INSTANT`, and of nothing else.

    Raises
    ------
    ServicesError
        If answers may have been given elsewhere, and their topic cannot be read.
    EvaluationError
        If the file is no such file, nobody here ever answered an alert of the stream, no instant is
        named, two are, or one that is still to come: what is made of answers could not be made
        again.
    """
    if until is not None:
        _check_heard(str(source), until)
    if not source:
        return GroundTruth(_none(), _none(), _none())
    if not str(source).startswith(_PREFIX):
        return GroundTruth(read_labels(source), _none(), _none(), manifest={"labels": str(source)})
    stream, _, written = str(source).removeprefix(_PREFIX).partition("@")
    instant = until if written == "" else written
    _check_stream(stream)
    _check_instant(stream, instant)
    return answered(stream, until=instant)


def _check_heard(source: str, until: Time) -> None:
    """Refuse an instant where no answers are asked for, or up to another one."""
    if source.startswith(_PREFIX) and "@" not in source:
        return
    raise EvaluationError(
        f"answers up to {iso(instant_ms(until) or 0)} cannot count, the labels are {source!r}",
        hint=f"of answers they are `{FEEDBACK}`, or `{_PREFIX}STREAM` without an instant",
    )


def _check_stream(stream: str) -> None:
    path, (topic, _) = answers_path(stream), feedback_topic(stream)
    if not path.is_file() and not topic:
        names = answered_streams()
        raise EvaluationError(
            f"there is no answer to an alert of stream {stream!r} here",
            where=path,
            hint=did_you_mean(stream, names)
            if names
            else "no stream has any: is WORKBENCH_HOME the one that they were given in? Those of a "
            f"feedback topic come by `workbench alerts sync {stream}`",
        )


def _check_instant(stream: str, instant: Time) -> None:
    bound_ms = instant_ms(instant)
    if bound_ms is None:
        newest = answered(stream, topic="").manifest
        raise EvaluationError(
            f"{_PREFIX}{stream} names no instant, and answers may still come",
            hint=f"the {newest['answers']} of now are {_PREFIX}{stream}@{newest['until']}",
        )
    if bound_ms > now_ms():
        raise EvaluationError(f"the instant {iso(bound_ms)} is still to come, as answers are")


def answered(stream: str, *, until: Time = None, topic: str | None = None) -> GroundTruth:
    """Return what the answers up to an instant say; its manifest names the last one's instant.

    The span of an alert is taken to begin as long before it as it lasted (`answered_spans`). What
    was answered `true` of one sensor within eight hours is one fault; a false alarm within it is
    none: its readings are not usual.

    Parameters
    ----------
    stream
        Name of the stream whose alerts were answered.
    until
        None: all answers that there are. From the same answers comes the same manifest.
    topic
        Where those are that were given on other machines; empty: nowhere; None: the one that this
        machine knows of. It is read first; where it cannot be, but was after `until`, what is here
        counts, and a warning says so.

    Raises
    ------
    ServicesError
        If it cannot be read, and was not after `until`: fewer answers are not taken for all.
    """
    hear(stream, topic, until)
    given = read_answers(stream, until=until)
    text = json.dumps([asdict(answer) for answer in given], sort_keys=True)
    manifest: dict[str, str | int] = {
        FEEDBACK: stream,
        "until": max((answer.at for answer in given), default=""),
        "answers": len(given),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    faults, usual, left_out = (
        answered_spans(given, verdicts, onset=True)
        for verdicts in (("true", "missed"), ("false",), ("known",))
    )
    return GroundTruth(_joined(faults), usual, left_out, tuple(given), manifest)


def _joined(faults: pd.DataFrame) -> pd.DataFrame:
    """Return faults, ordered by sensor and start, those of a sensor that follow close as one."""
    if not len(faults):
        return faults
    stops = faults.groupby(sensor_codes(faults["sensor"])[0])["stop"].cummax().shift()
    apart = (faults["sensor"] != faults["sensor"].shift()) | (faults["start"] > stops + _SHIFT)
    said = {"sensor": "first", "start": "first", "stop": "max", "kind": "first"}
    joined = faults.groupby(apart.cumsum().to_numpy()).agg(said).reset_index(drop=True)
    return joined.assign(channels=pd.Series([()] * len(joined), dtype=object))


def _none() -> pd.DataFrame:
    return answered_spans([], ())


def span_numbers(times_ms: ArrayLike, sensors: ArrayLike, labels: pd.DataFrame) -> Ints:
    """Return the row of the label that each reading lies in, -1: none; of several, the last.

    Parameters
    ----------
    times_ms, sensors
        Shape (n,): event time (epoch ms) and sensor of every reading, in any order.

    Examples
    --------
    >>> labels = pd.DataFrame({"sensor": ["a"], "start": [pd.Timestamp(10, unit="ms", tz="UTC")],
    ...                        "stop": [pd.Timestamp(30, unit="ms", tz="UTC")]})
    >>> span_numbers([0, 10, 30], ["a", "a", "a"], labels).tolist()
    [-1, 0, -1]
    """
    times, names = np.asarray(times_ms, dtype=np.int64), by_name(sensors)
    numbers = np.full(len(times), -1, dtype=np.int64)
    bounds = zip(
        by_name(labels["sensor"]), epoch_ms(labels["start"]), epoch_ms(labels["stop"]), strict=True
    )
    for row, (sensor, start, stop) in enumerate(bounds):
        numbers[(names == sensor) & (times >= start) & (times < stop)] = row
    return numbers


__all__ = ["FEEDBACK", "GroundTruth", "answered", "ground_truth", "span_numbers"]
