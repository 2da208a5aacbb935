"""Answers that were given on another machine: they come by the stream's feedback topic.

What is read of it is added to the file of this machine, each answer once; a file beside it says
which topic that is, and when it was last read. It is read whenever answers are to count: one that
was given before the last read may have been sent since. Where it cannot be read, what counts up to
an instant before the last read is what is here, and a warning says so; what lies behind it is
refused, for nobody knows what is missing.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from workbench import event_topics, files
from workbench.errors import AnswersWarning, EvaluationError, ServicesError
from workbench.evaluation.truth.answers import Answer, answers_path, kept_answers, parse_answer
from workbench.times import Time, instant_ms, iso, now_ms

_AHEAD_MS = 300_000  # between clocks of machines; as a reading may lead (`ahead_s`)


@dataclass(frozen=True)
class Fetched:
    """What a look at a feedback topic brought.

    Attributes
    ----------
    fresh
        Answers that were not here before.
    absent
        Answers of this machine that the topic does not have: it did not take them, or has deleted
        them.
    """

    fresh: tuple[Answer, ...]
    absent: tuple[Answer, ...]


def fetch_answers(stream: str, topic: str) -> Fetched:
    """Add what a feedback topic has of a stream to the answers kept here.

    What is no answer is left where it is; a warning says how many there are. So is what says that
    it is given in more than five minutes from now: it would be the last word on its alert until
    then. Another warning says how many answers came that were given before the last read, for they
    change what counted up to then.

    Parameters
    ----------
    stream
        Its name; a topic may have answers of several.

    Raises
    ------
    ServicesError
        If the topic cannot be read, or not all of it; nothing is added then.
    """
    began = iso(now_ms())
    there = _answers_of(topic)
    with files.locked(_state_path(stream).with_suffix(".lock")):
        known_topic, last = feedback_topic(stream)
        here = {_key(said): said for said in kept_answers(stream)}
        theirs = {_key(said): said for said in there if said.stream == stream}
        fresh = _timely([said for key, said in theirs.items() if key not in here], topic)
        for said in fresh:
            files.append_line(answers_path(stream), json.dumps(asdict(said)))
        _write_state(stream, topic, began)
    _warn_of_late(fresh, last if known_topic == topic else "", topic)
    return Fetched(fresh, tuple(said for key, said in here.items() if key not in theirs))


def _warn_of_late(fresh: Iterable[Answer], last: str, topic: str) -> None:
    """Say that what was taken for all answers up to an instant was not all."""
    last_ms = instant_ms(last)
    if last_ms is None:
        return
    late = [said.at for said in fresh if (instant_ms(said.at) or 0) <= last_ms]
    if late:
        message = (
            f"{len(late):,} answers of {topic} were given before it was last read here, {last}, "
            f"and came only now: what counts up to instants from {min(late)} on has changed"
        )
        warnings.warn(AnswersWarning(message), stacklevel=4)


def _key(said: Answer) -> tuple[str, str]:
    """What one answer is: who changes their mind twice has said the same at another time."""
    return said.id, said.at


def _timely(answers: list[Answer], topic: str) -> tuple[Answer, ...]:
    """Return those whose clock was not ahead."""
    latest_ms = now_ms() + _AHEAD_MS
    timely = tuple(said for said in answers if (instant_ms(said.at) or 0) <= latest_ms)
    if len(timely) < len(answers):
        message = (
            f"{len(answers) - len(timely):,} answers of {topic} say that they are given later than "
            f"{iso(latest_ms)}: a clock is ahead, and they do not count before then"
        )
        warnings.warn(AnswersWarning(message), stacklevel=3)
    return timely


def _answers_of(topic: str) -> list[Answer]:
    answers, wrong = list[Answer](), 0
    for payload in event_topics.read(topic):
        try:
            answers.append(parse_answer(payload))
        except EvaluationError:
            wrong += 1
    if wrong:
        message = f"{wrong:,} messages of {topic} are no answers: they count for nothing"
        warnings.warn(AnswersWarning(message), stacklevel=4)
    return answers


def hear(stream: str, topic: str | None, until: Time) -> None:
    """Let the answers kept here be all that there are up to an instant.

    The topic is read for that. Where it cannot be, and the instant lies before its last read, those
    kept here count, with a warning: of what was given until then, some may have been sent since.

    Parameters
    ----------
    topic
        The stream's feedback topic, empty: it has none; None: what this machine knows of it.

    Raises
    ------
    ServicesError
        If the topic cannot be read, and was not since that instant.
    """
    known_topic, last = feedback_topic(stream)
    wanted = known_topic if topic is None else topic
    if not wanted:
        return
    last = last if wanted == known_topic else ""
    bound_ms, last_ms = instant_ms(until), instant_ms(last)
    try:
        fetch_answers(stream, wanted)
    except ServicesError as err:
        if bound_ms is not None and last_ms is not None and bound_ms <= last_ms:
            message = (
                f"{wanted} cannot be read: answers up to {iso(bound_ms)} are those that were here "
                f"when it was last read, {last}; what was sent to it since is missing"
            )
            warnings.warn(AnswersWarning(message), stacklevel=3)
            return
        raise ServicesError(
            f"answers may have been given elsewhere, and cannot be read: {err.message}",
            where=wanted,
            hint=f"those up to {last}, when it was last read here, need no broker"
            if last
            else f"workbench alerts sync {stream}, where there is a broker",
        ) from err


def feedback_topic(stream: str) -> tuple[str, str]:
    """Return the feedback topic of a stream, as known here, and when it was last read; or empty."""
    path = _state_path(stream)
    if not path.is_file():
        return "", ""
    state = json.loads(path.read_text(encoding="utf-8"))
    return state["topic"], state["read"]


def note_feedback_topic(stream: str, topic: str) -> None:
    """Keep which topic a stream's answers go to, so that those of others are asked for there."""
    if feedback_topic(stream)[0] != topic:
        _write_state(stream, topic, "")


def _write_state(stream: str, topic: str, last: str) -> None:
    text = json.dumps({"topic": topic, "read": last})
    files.write_text(_state_path(stream), f"{text}\n")


def _state_path(stream: str) -> Path:
    return answers_path(stream).with_name("feedback.json")


__all__ = ["Fetched", "feedback_topic", "fetch_answers", "hear", "note_feedback_topic"]
