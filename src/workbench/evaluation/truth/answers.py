"""What people say of alerts, and of what no alert told: events that are added and never changed.

    {"id": "3f...", "at": "2026-...Z", "stream": "plant", "verdict": "false", "who": "ada",
     "why": "cleaning the filter", "alert": "9f...", "sensor": "pump-7",
     "start": "2026-...Z", "stop": "2026-...Z"}

Of several about the same alert the last one counts, by when they were given and not by when they
came here; up to an instant, so that what was made of them then is made of them again
(docs/design.md, D14). They are written by `workbench.alerts`, and come from elsewhere by the
stream's feedback topic (`evaluation.truth.elsewhere`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workbench import files
from workbench.endpoints import home
from workbench.errors import EvaluationError, TimesError
from workbench.times import Time, instant_ms, timestamps

WITHDRAWN = "withdrawn"
VERDICTS = ("true", "false", "known", "missed", WITHDRAWN)
_COLUMNS = ("sensor", "start", "stop", "kind", "channels")  # of labels
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Answer:
    """What somebody said.

    Attributes
    ----------
    id
        Hash of all the rest but `at`: the same answer given twice is one.
    at
        When, ISO 8601.
    stream
        Name of the stream.
    verdict
        `true`: it was a fault; `false`: nothing was; `known`: maintenance, or whatever was meant to
        be; `missed`: a fault that no alert told, from `start` to `stop`; `withdrawn`: what was said
        before of the same does not count.
    who, why
        Of whoever said it.
    alert
        Id of the alert; empty: of a span that no alert told. Of a span that is withdrawn, the id of
        the answer.
    sensor, start, stop
        Where and when it was: those of the alert; `stop` is empty while one is open.
    """

    id: str
    at: str
    stream: str
    verdict: str
    who: str
    why: str
    alert: str
    sensor: str
    start: str
    stop: str


def answers_path(stream: str) -> Path:
    """Return the file that the answers of a stream are kept in."""
    return home() / "alerts" / stream / "answers.jsonl"


def answered_streams() -> list[str]:
    """Return the names of the streams whose alerts were answered here."""
    return sorted(path.parent.name for path in (home() / "alerts").glob("*/answers.jsonl"))


def read_answers(stream: str, *, until: Time = None) -> list[Answer]:
    """Return what was said of a stream's alerts up to an instant, the last about each.

    Parameters
    ----------
    stream
        Its name.
    until
        Answers given later do not count; None: all do.

    Raises
    ------
    EvaluationError
        If a line of the file is no answer.
    """
    bound_ms = instant_ms(until)
    newest: dict[str, Answer] = {}
    for said in sorted(kept_answers(stream), key=lambda given: (_given_ms(given), given.id)):
        if bound_ms is None or _given_ms(said) <= bound_ms:
            newest[said.alert or said.id] = said
    return list(newest.values())


def kept_answers(stream: str) -> list[Answer]:
    """Return all that was said of a stream's alerts and came here, in the order in which it came.

    Raises
    ------
    EvaluationError
        If a line of the file is no answer.
    """
    path, kept = answers_path(stream), []
    for number, line in enumerate(files.whole_lines(path), 1):
        try:
            kept.append(parse_answer(line))
        except EvaluationError as err:
            raise EvaluationError(err.message, where=f"{path}, line {number}") from err
    return kept


def parse_answer(text: str | bytes) -> Answer:
    """Return the answer that a line of the file, or a message of a feedback topic, holds.

    Raises
    ------
    EvaluationError
        If it is none.
    """
    try:
        said = Answer(**json.loads(text))
        texts = all(isinstance(value, str) for value in asdict(said).values())
        for time in (said.at, said.start, said.stop):
            instant_ms(time)
    except (ValueError, TypeError, RecursionError, TimesError) as err:
        raise EvaluationError("this is no answer") from err
    if not texts or said.verdict not in VERDICTS or not said.at:
        raise EvaluationError("this is no answer")
    return said


def _given_ms(answer: Answer) -> int:
    return instant_ms(answer.at) or 0


def answered_spans(
    answers: Iterable[Answer], verdicts: Collection[str], *, onset: bool = False
) -> pd.DataFrame:
    """Return the spans that answers with one of some verdicts are about, as labels.

    An alert that was open when it was answered is taken to last until then, a day at most.

    Parameters
    ----------
    onset
        Whether the span of an alert begins as long before it as it lasted, at most a day: an alert
        begins when the detector that told it had seen enough; whatever it told began before, and a
        better detector tells it sooner. Of a span that no alert told, somebody said when it began.

    Returns
    -------
    labels
        As `read_labels` gives them; `kind` is the verdict.
    """
    rows = [
        (given.sensor, start_ms, stop_ms, given.verdict, ())
        for given in answers
        if given.verdict in verdicts and given.sensor
        for start_ms, stop_ms in _bounds_ms(given, onset=onset)
    ]
    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    for name in ("start", "stop"):
        frame[name] = timestamps(frame[name].to_numpy(np.int64))
    # of several columns pandas sorts two sensors as one whose names are the same up to a zero byte
    ordered = frame.sort_values("start", kind="stable")
    return ordered.sort_values("sensor", kind="stable", ignore_index=True)


def _bounds_ms(given: Answer, *, onset: bool) -> list[tuple[int, int]]:
    """Return the span of an answer; none where it does not say when it began."""
    start_ms, stop_ms = instant_ms(given.start), instant_ms(given.stop)
    if start_ms is None:
        return []
    if stop_ms is None:
        stop_ms = min(instant_ms(given.at) or 0, start_ms + _DAY_MS)
    stop_ms = max(stop_ms, start_ms + 1)
    before_ms = min(stop_ms - start_ms, _DAY_MS) if onset and given.alert else 0
    return [(start_ms - before_ms, stop_ms)]


__all__ = [
    "VERDICTS",
    "WITHDRAWN",
    "Answer",
    "answered_spans",
    "answered_streams",
    "answers_path",
    "kept_answers",
    "parse_answer",
    "read_answers",
]
