"""Answers that were given on another machine count here, and none is missing in silence."""

import json
import uuid
import warnings
from dataclasses import asdict
from pathlib import Path

import pytest

from workbench import alerts as room
from workbench import evaluation, event_topics
from workbench import kafka as door
from workbench.alerts.feedback import _SCHEMA
from workbench.cli.alerts import alerts as commands
from workbench.errors import AlertsError, AnswersWarning, ServicesError
from workbench.evaluation.truth.elsewhere import feedback_topic
from workbench.stream.promotion.checks import truth_of

SPAN = {"start": "2026-01-12T06:00Z", "stop": "2026-01-12T09:30Z"}
ALERT = {"alert": "a" * 32, "sensor": "pump-7", **SPAN}


@pytest.fixture(params=["pulsar", "kafka"])
def queue(request, services, kafka, monkeypatch):
    """A topic for answers, and a switch for its broker: on, or off.

    Both are asked for by name: a fixture of a module that begins within a test would restore, at
    the module's end, what that test had set.
    """
    if request.param == "pulsar":
        topic, names = (
            "persistent://public/default/answers-",
            ("WORKBENCH_BROKER", "WORKBENCH_ADMIN"),
        )
        addresses = (services.broker, services.admin)
    else:
        topic, names = "kafka://answers-", ("WORKBENCH_KAFKA",)
        addresses = (kafka.kafka,)
    away = ("pulsar://127.0.0.1:1", "http://127.0.0.1:1") if len(names) > 1 else ("127.0.0.1:1",)

    monkeypatch.setenv("WORKBENCH_BROKER_TOKEN", services.broker_token)
    monkeypatch.setenv("WORKBENCH_KAFKA_CONFIG", kafka.kafka_config)

    patience_s = door._ANSWER_S

    def switch(on):
        monkeypatch.setattr(door, "_ANSWER_S", patience_s if on else 1.0)
        for name, address, other in zip(names, addresses, away, strict=True):
            monkeypatch.setenv(name, address if on else other)

    switch(True)
    return topic + uuid.uuid4().hex[:8], switch


@pytest.fixture
def on(tmp_path, monkeypatch):
    """Go to another machine."""
    return lambda name: monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / name))


@pytest.mark.pulsar
@pytest.mark.timeout(300)
def test_answers_of_two_machines_are_one_truth_on_both(queue, on, stream):
    topic, switch = queue
    plant = stream(
        {"to": "webhook", "url": "http://a"}, feedback=topic, gate={"labels": "feedback"}
    )
    on("north")
    room.answer(plant, "true", **ALERT)
    room.answer(plant, "missed", sensor="pump-1", **SPAN)
    on("south")
    last = room.answer(plant, "false", **ALERT, why="cleaning")
    south = truth_of(plant)
    on("north")
    north = truth_of(plant)

    assert (south.faults["sensor"].tolist(), south.usual["sensor"].tolist()) == (
        ["pump-1"], ["pump-7"],
    )  # fmt: skip
    assert north.manifest == south.manifest
    assert north.manifest["until"] == last.at
    assert room.sync(plant) == room.Synced(0, 0)
    assert room.labels(plant)["sensor"].tolist() == ["pump-1"]

    switch(False)
    with pytest.raises(ServicesError, match=r"^the answer is kept here, "):
        room.answer(plant, "known", alert="b" * 32, sensor="pump-2", **SPAN)
    for ask in (truth_of, room.labels):
        with pytest.raises(ServicesError) as error:
            ask(plant)
        assert error.value.message.startswith(
            "answers may have been given elsewhere, and cannot be read: "
        )
        assert error.value.where == topic
        assert error.value.hint.endswith("when it was last read here, need no broker")
    with pytest.warns(AnswersWarning, match=rf"^{topic} cannot be read: answers up to {last.at} "):
        assert evaluation.ground_truth(f"feedback:plant@{last.at}").manifest == north.manifest
    with pytest.warns(AnswersWarning, match="what was sent to it since is missing$"):
        assert truth_of(plant, until=last.at).manifest == north.manifest

    switch(True)
    event_topics.send(topic, b"no answer", key="", schema=_SCHEMA)
    with pytest.warns(AnswersWarning, match=rf"^1 messages of {topic} are no answers"):
        assert room.sync(plant) == room.Synced(0, 1)
    on("south")
    with pytest.warns(AnswersWarning):
        assert len(truth_of(plant).answers) == 3


@pytest.mark.pulsar
@pytest.mark.timeout(300)
def test_what_others_put_on_the_topic_and_a_clock_that_is_ahead_do_not_have_the_last_word(
    queue, on, stream
):
    topic, _ = queue
    plant = stream({"to": "webhook", "url": "http://a"}, feedback=topic)
    on("south")
    given = asdict(room.answer(plant, "false", **ALERT))
    ahead = {**given, "id": "ab", "verdict": "true", "at": "9000-01-01T00:00:00.000Z"}
    strange = [b"", b"\xff", b"[" * 100_000, b'"text"', b"7", json.dumps({"id": "x"}).encode()]
    strange += [json.dumps({**given, "at": at}).encode() for at in ("", "soon", None, 7)]
    for payload in [*strange, json.dumps({**given, "stream": "other"}).encode()]:
        event_topics.send(topic, payload, key="a", schema=_SCHEMA)
    event_topics.send(topic, json.dumps(ahead).encode(), key="a", schema=_SCHEMA)
    on("north")

    with pytest.warns(AnswersWarning) as said:
        assert room.sync(plant) == room.Synced(1, 0)

    texts = [str(warning.message) for warning in said]
    assert texts[0] == f"10 messages of {topic} are no answers: they count for nothing"
    assert texts[1].startswith(f"1 answers of {topic} say that they are given later than ")
    (counts,) = room.answers(plant)
    assert (counts.verdict, counts.stream) == ("false", "plant")


def test_who_answers_after_a_clock_that_was_ahead_has_the_last_word(on, stream):
    on("north")
    plant = stream({"to": "webhook", "url": "http://a"})
    first = room.answer(plant, "true", **ALERT)
    path = evaluation.answers_path("plant")
    path.write_text(path.read_text().replace(first.at, "2126-01-01T00:00:00.000Z"))

    second = room.answer(plant, "false", **ALERT)
    other = room.answer(plant, "false", **{**ALERT, "alert": "b" * 32})

    assert (second.at, other.at < "2126") == ("2126-01-01T00:00:00.001Z", True)
    assert [given.verdict for given in room.answers(plant)] == ["false", "false"]


@pytest.mark.pulsar
@pytest.mark.timeout(300)
def test_an_answer_that_was_sent_after_a_read_counts_from_when_it_was_given(queue, on, stream):
    topic, switch = queue
    plant = stream(
        {"to": "webhook", "url": "http://a"}, feedback=topic, gate={"labels": "feedback"}
    )
    on("north")
    switch(False)
    with pytest.raises(ServicesError, match=r"^the answer is kept here, "):
        room.answer(plant, "true", **ALERT)
    switch(True)
    on("south")
    assert truth_of(plant).answers == ()
    last = feedback_topic("plant")[1]
    on("north")
    (given,) = room.answers(plant)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert room.sync(plant) == room.Synced(0, 1)
    on("south")

    with pytest.warns(AnswersWarning) as said:
        truth = evaluation.ground_truth(f"feedback:plant@{last}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = evaluation.ground_truth(f"feedback:plant@{last}")

    assert truth.answers == again.answers == (given,)
    assert [str(warning.message) for warning in said] == [
        f"1 answers of {topic} were given before it was last read here, {last}, "
        f"and came only now: what counts up to instants from {given.at} on has changed"
    ]


def test_a_topic_that_cannot_be_read_leaves_what_was_here_at_the_last_read(on, stream):
    on("north")
    plant = stream({"to": "webhook", "url": "http://a"}, feedback="answers")
    with pytest.raises(ServicesError):
        room.answer(plant, "missed", sensor="pump-1", **SPAN)
    (given,) = room.answers(plant)
    state = {"topic": "answers", "read": given.at}
    evaluation.answers_path("plant").with_name("feedback.json").write_text(json.dumps(state))

    with pytest.warns(AnswersWarning) as said:
        truth = evaluation.ground_truth(f"feedback:plant@{given.at}")

    assert truth.answers == (given,)
    assert [str(warning.message) for warning in said] == [
        f"answers cannot be read: answers up to {given.at} are those that were here when it was "
        f"last read, {given.at}; what was sent to it since is missing"
    ]
    with pytest.raises(ServicesError, match=r"^answers may have been given elsewhere"):
        room.labels(plant)


def test_a_machine_that_knows_of_a_topic_takes_no_fewer_answers_for_all(on, stream):
    on("north")
    plant = stream({"to": "webhook", "url": "http://a"}, feedback="answers")
    with pytest.raises(ServicesError) as error:
        room.answer(plant, "true", **ALERT)
    assert error.value.hint == "workbench alerts sync plant, once the broker is back"

    with pytest.raises(ServicesError) as error:
        evaluation.ground_truth("feedback:plant@2026-02-01")

    assert str(error.value) == (
        "answers may have been given elsewhere, and cannot be read: no broker is known\n"
        "  in answers\n  workbench alerts sync plant, where there is a broker"
    )
    assert [given.verdict for given in room.answers(plant)] == ["true"]


def test_without_a_topic_there_is_nothing_to_bring(on, stream):
    on("north")
    plant = stream({"to": "webhook", "url": "http://a"})

    with pytest.raises(AlertsError) as error:
        room.sync(plant)

    assert str(error.value) == (
        "stream plant has no feedback topic: answers stay on this machine\n"
        "  feedback: persistent://public/default/answers in the stream file"
    )
    assert "sync" in commands.commands


def test_what_is_answered_at_once_is_answered_in_turn(on, stream):
    on("north")
    plant = stream({"to": "webhook", "url": "http://a"})
    verdicts = ["true", "false", "known"] * 10

    given = [room.answer(plant, verdict, **ALERT) for verdict in verdicts]

    assert len({one.at for one in given}) == len(given)
    (last,) = room.answers(plant)
    assert last == given[-1]
    assert Path(evaluation.answers_path("plant")).read_text().count("\n") == 30
