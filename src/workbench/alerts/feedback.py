"""What people answer is kept, and sent: to a file of this machine, and to the `feedback` topic.

An answer is an event, added and never changed; what is made of them is `evaluation.truth`
(docs/design.md, D14).
"""

from __future__ import annotations

import getpass
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from workbench import event_topics, files
from workbench.errors import AlertsError, ServicesError, did_you_mean
from workbench.evaluation import (
    VERDICTS,
    WITHDRAWN,
    Answer,
    answered_spans,
    answers_path,
    fetch_answers,
    hear,
    kept_answers,
    note_feedback_topic,
    read_answers,
)
from workbench.stream import Stream, load_stream
from workbench.times import Time, instant_ms, iso, now_ms

_LONGEST = 2000  # characters of a reason
_TIE_MS = 100
_SCHEMA = {
    "type": "record",
    "name": "Answer",
    "fields": [
        {"name": name, "type": ["null", "string"], "default": None}
        for name in (
            "id", "at", "stream", "verdict", "who", "why", "alert", "sensor", "start", "stop",
        )
    ],
}  # fmt: skip


def answer(
    stream: str | Path | Stream,
    verdict: str,
    *,
    alert: str = "",
    sensor: str = "",
    start: Time = None,
    stop: Time = None,
    why: str = "",
    who: str = "",
) -> Answer:
    """Keep what somebody says of an alert or a span, and return it.

    Parameters
    ----------
    alert
        Id of the alert; of `withdrawn`, also that of an answer about a span.
    sensor, start, stop
        Of the alert; or of a span that no alert told, which is `missed`, `known` or `false`.
    who
        If left out, the user of this process.

    Raises
    ------
    AlertsError
        If the verdict is unknown, or it is not said what it is about.
    ServicesError
        If the stream has a `feedback` topic and the broker does not take it; it is kept here then.
    """
    definition = load_stream(stream)
    _check(verdict, alert, sensor, start, stop, why)
    values = {
        "at": iso(_instant_ms(definition.name, alert)),
        "stream": definition.name,
        "verdict": verdict,
        "who": who or getpass.getuser(),
        "why": why,
        "alert": alert,
        "sensor": sensor,
        "start": _text(start),
        "stop": _text(stop),
    }
    given = Answer(_hash(values), **values)
    files.append_line(answers_path(definition.name), json.dumps(asdict(given)))
    note_feedback_topic(definition.name, definition.feedback)
    if definition.feedback:
        _send(definition.feedback, given)
    return given


def withdraw(
    stream: str | Path | Stream, answer_id: str, *, why: str = "", who: str = ""
) -> Answer:
    """Take back an answer that counts, and return the one that says so.

    Parameters
    ----------
    answer_id
        Of the answer, or of its alert, or how one of them begins.

    Raises
    ------
    AlertsError
        If none that counts has such an id, or several do.
    ServicesError
        As `answer`.
    """
    definition = load_stream(stream)
    given = [said for said in answers(definition) if said.verdict != WITHDRAWN]
    ids = [(said, tuple(filter(None, (said.id, said.alert)))) for said in given]
    chosen = [said for said, own in ids if answer_id in own] or [
        said for said, own in ids if answer_id and any(one.startswith(answer_id) for one in own)
    ]
    if len(chosen) != 1:
        raise AlertsError(
            f"{len(chosen)} answers of stream {definition.name} have an id, or are of an alert "
            f"with one, that starts with {answer_id!r}",
            hint=f"workbench alerts answers {definition.name}",
        )
    (said,) = chosen
    return answer(
        definition,
        WITHDRAWN,
        alert=said.alert or said.id,
        sensor=said.sensor,
        start=said.start,
        stop=said.stop,
        why=why,
        who=who,
    )


def _check(verdict: str, alert: str, sensor: str, start: Time, stop: Time, why: str) -> None:
    if verdict not in VERDICTS:
        raise AlertsError(f"an answer is not {verdict!r}", hint=did_you_mean(verdict, VERDICTS))
    start_ms, stop_ms = instant_ms(start), instant_ms(stop)
    spanned = bool(sensor) and start_ms is not None and stop_ms is not None
    if verdict == "missed" and (alert or not spanned):
        raise AlertsError("what was missed has a sensor, a start and a stop, and no alert")
    if not alert and (verdict in ("true", WITHDRAWN) or not spanned):
        raise AlertsError(
            f"an answer {verdict!r} needs the id of its alert",
            hint="of a span that no alert told: known, false or missed, with sensor, start, stop",
        )
    if start_ms is not None and stop_ms is not None and stop_ms <= start_ms:
        raise AlertsError(f"the span ends at {iso(stop_ms)}, not after {iso(start_ms)}")
    if len(why) > _LONGEST:
        raise AlertsError(f"the reason has {len(why)} characters, at most {_LONGEST} are kept")


def _instant_ms(stream: str, alert: str) -> int:
    """Return now, or a millisecond behind the last answer: their instants say which is later.

    Behind one about the same alert however far its clock was ahead: else it would count still.
    """
    now, kept = now_ms(), kept_answers(stream)
    last_ms = max((instant_ms(said.at) or 0 for said in kept[-1:]), default=0)
    same_ms = max(
        (instant_ms(said.at) or 0 for said in kept if alert in (said.alert, said.id) and alert),
        default=0,
    )
    return max(now, same_ms + 1, last_ms + 1 if 0 <= last_ms - now < _TIE_MS else now)


def _text(time: Time) -> str:
    ms = instant_ms(time)
    return "" if ms is None else iso(ms)


def _hash(values: dict[str, str]) -> str:
    text = json.dumps({key: value for key, value in values.items() if key != "at"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _send(topic: str, given: Answer) -> None:
    """Put an answer on the feedback topic, keyed by what it is about."""
    payload = json.dumps(asdict(given)).encode()
    try:
        event_topics.send(topic, payload, key=given.alert or given.id, schema=_SCHEMA)
    except ServicesError as err:
        raise ServicesError(
            f"the answer is kept here, {err.message}",
            where=topic,
            hint=f"workbench alerts sync {given.stream}, once the broker is back",
        ) from err


@dataclass(frozen=True)
class Synced:
    """What a feedback topic and this machine gave each other.

    Attributes
    ----------
    came, went
        How many answers were new here, and there.
    """

    came: int
    went: int


def sync(stream: str | Path | Stream) -> Synced:
    """Let this machine and the stream's feedback topic have the same answers, each once.

    Raises
    ------
    AlertsError
        If the stream has no such topic.
    ServicesError
        If the broker does not answer.
    """
    definition = load_stream(stream)
    if not definition.feedback:
        raise AlertsError(
            f"stream {definition.name} has no feedback topic: answers stay on this machine",
            hint="feedback: persistent://public/default/answers in the stream file",
        )
    fetched = fetch_answers(definition.name, definition.feedback)
    for given in fetched.absent:
        _send(definition.feedback, given)
    return Synced(len(fetched.fresh), len(fetched.absent))


def answers(stream: str | Path | Stream, *, until: Time = None) -> list[Answer]:
    """Return what was said of a stream's alerts up to an instant, the last about each.

    Of what was said on other machines that which `sync`, or a ground truth, has brought here.

    Parameters
    ----------
    until
        Answers given later do not count; None: all do.
    """
    return read_answers(load_stream(stream).name, until=until)


def labels(stream: str | Path | Stream, *, until: Time = None) -> pd.DataFrame:
    """Return the faults that answers up to an instant tell of, as labels.

    Returns
    -------
    labels
        As `evaluation.read_labels` gives them: of the alerts answered `true`, and of what was
        `missed`; `kind` is that word. An alert that was open when it was answered is taken to last
        until then, a day at most.
    """
    return _spans(stream, until, ("true", "missed"))


def left_out(stream: str | Path | Stream, *, until: Time = None) -> pd.DataFrame:
    """Return the spans that answers up to an instant call `known`: for neither fit nor judgement.

    Columns as of `labels`.
    """
    return _spans(stream, until, ("known",))


def _spans(stream: str | Path | Stream, until: Time, verdicts: tuple[str, ...]) -> pd.DataFrame:
    definition = load_stream(stream)
    hear(definition.name, definition.feedback, until)
    return answered_spans(answers(definition, until=until), verdicts)


__all__ = [
    "VERDICTS",
    "Answer",
    "answer",
    "answers",
    "answers_path",
    "labels",
    "left_out",
    "sync",
    "withdraw",
]
