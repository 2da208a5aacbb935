"""What people answered is ground truth, up to an instant; what is left out is not judged."""

import json

import pandas as pd
import pytest

from workbench import evaluation
from workbench.errors import EvaluationError

SPAN = (pd.Timestamp("2026-01-05", tz="UTC"), pd.Timestamp("2026-01-06", tz="UTC"))
UNTIL = "2026-02-01T00:00:09.000Z"


def at(hour):
    return SPAN[0] + pd.Timedelta(hours=hour)


@pytest.fixture
def said(tmp_path, monkeypatch):
    """Write answers of (second, verdict, sensor, from hour, to hour, alert)."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    path = evaluation.answers_path("plant")
    path.parent.mkdir(parents=True)

    def write(*rows):
        lines = []
        for number, (second, verdict, sensor, start, stop, alert) in enumerate(rows):
            lines.append(
                {
                    "id": f"i{number}",
                    "at": f"2026-02-01T00:00:{second:02d}.000Z",
                    "stream": "plant",
                    "verdict": verdict,
                    "who": "ada",
                    "why": "",
                    "alert": alert,
                    "sensor": sensor,
                    "start": at(start).isoformat(),
                    "stop": "" if stop is None else at(stop).isoformat(),
                }
            )
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    return write


def spans(frame):
    hours = [((row.start - SPAN[0]) / at_hour, (row.stop - SPAN[0]) / at_hour)
             for row in frame.itertuples()]  # fmt: skip
    return list(zip(frame["sensor"], hours, strict=True))


at_hour = pd.Timedelta(hours=1)


def test_answers_say_what_is_a_fault_what_is_usual_and_what_is_not_judged(said):
    said(
        (1, "true", "a", 10, 11, "x"),
        (2, "false", "b", 4, 5, "y"),
        (3, "known", "b", 8, 9, ""),
        (4, "missed", "b", 20, 22, ""),
    )

    truth = evaluation.answered("plant")

    assert spans(truth.faults) == [
        ("a", (9, 11)),
        ("b", (20, 22)),
    ]  # an alert comes after its cause
    assert spans(truth.usual) == [("b", (3, 5))]
    assert spans(truth.left_out) == [("b", (8, 9))]
    assert truth.faults["kind"].tolist() == ["true", "missed"]


def test_what_was_answered_later_does_not_count_at_an_earlier_instant(said):
    said((1, "true", "a", 10, 11, "x"), (5, "false", "a", 10, 11, "x"))

    before = evaluation.ground_truth("feedback:plant@2026-02-01T00:00:02Z")
    after = evaluation.answered("plant")

    assert (len(before.faults), len(before.usual)) == (1, 0)
    assert (len(after.faults), len(after.usual)) == (0, 1)
    assert before.manifest["until"] == "2026-02-01T00:00:01.000Z"
    again = evaluation.ground_truth(f"feedback:plant@{before.manifest['until']}")
    assert again.manifest == before.manifest != after.manifest


def test_the_last_is_who_answered_last_whoever_came_here_first(said):
    said((5, "false", "a", 10, 11, "x"), (1, "true", "a", 10, 11, "x"))

    truth = evaluation.answered("plant")

    assert (len(truth.faults), len(truth.usual)) == (0, 1)


@pytest.mark.parametrize(
    ("instant", "message"),
    [
        ("", "feedback:plant names no instant, and answers may still come\n"
         "  the 1 of now are feedback:plant@2026-02-01T00:00:01.000Z"),
        ("@2999-01-01", "the instant 2999-01-01T00:00:00.000Z is still to come, as answers are"),
    ],
)  # fmt: skip
def test_answers_without_an_instant_are_refused_for_a_run_could_not_be_made_again(
    said, instant, message
):
    said((1, "true", "a", 10, 11, "x"))

    with pytest.raises(EvaluationError) as error:
        evaluation.ground_truth(f"feedback:plant{instant}")

    assert str(error.value) == message


def test_answers_to_a_stream_that_nobody_answered_are_refused_and_not_none(said):
    said((1, "true", "a", 10, 11, "x"))

    with pytest.raises(EvaluationError) as error:
        evaluation.ground_truth("feedback:plnat@2026-02-02")

    assert str(error.value) == (
        "there is no answer to an alert of stream 'plnat' here\n"
        f"  in {evaluation.answers_path('plnat')}\n  did you mean 'plant'?"
    )


def test_answers_in_another_home_are_refused_and_not_none(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))

    with pytest.raises(EvaluationError) as error:
        evaluation.ground_truth("feedback:plant@2026-02-02")

    assert error.value.where == str(tmp_path / "alerts" / "plant" / "answers.jsonl")
    assert error.value.hint == (
        "no stream has any: is WORKBENCH_HOME the one that they were given in? Those of a feedback "
        "topic come by `workbench alerts sync plant`"
    )


def test_what_is_known_shows_how_many_answers_it_comes_from(said):
    said((1, "true", "a", 10, 11, "x"), (5, "known", "a", 14, 15, "y"))

    truth = evaluation.ground_truth("feedback:plant@2026-02-01T00:00:02Z")

    assert truth.card().name == "plant"
    assert truth.card().facts == {
        "faults": 1, "usual": 0, "left out": 0, "answers": 1, "until": "2026-02-01T00:00:01.000Z",
    }  # fmt: skip


def test_a_line_that_is_no_answer_is_refused_with_its_place(said):
    said((1, "true", "a", 10, 11, "x"))
    path = evaluation.answers_path("plant")
    whole = path.read_text()
    for wrong in ('{"id": 3}', "no JSON", whole.replace("true", "flase")[:-1],
                  whole.replace("2026-02-01T", "someday ")[:-1]):  # fmt: skip
        path.write_text(f"{whole}{wrong}\n")

        with pytest.raises(EvaluationError) as error:
            evaluation.read_answers("plant")

        assert str(error.value) == f"this is no answer\n  in {path}, line 2"


def test_alerts_of_a_sensor_that_were_true_within_hours_are_one_fault(said):
    said(
        (1, "true", "a", 1, 1.5, "1"),
        (2, "true", "a", 6, 7, "2"),
        (3, "true", "a", 20, 21, "3"),
        (4, "true", "b", 2, 3, "4"),
    )

    faults = evaluation.answered("plant").faults

    assert spans(faults) == [("a", (0.5, 7)), ("a", (19, 21)), ("b", (1, 3))]


def test_faults_are_joined_by_sensor_where_keys_are_numbers_in_bytes(said):
    pump, other = "\0\0\0\1", "\0\0\0\2"
    said(
        (1, "true", pump, 1, 1.5, "1"),
        (2, "true", other, 3, 4, "2"),
        (3, "true", pump, 6, 7, "3"),
        (4, "true", other, 20, 21, "4"),
    )

    faults = evaluation.answered("plant").faults

    assert spans(faults) == [(pump, (0.5, 7)), (other, (2, 4)), (other, (19, 21))]


def test_what_is_withdrawn_was_never_said(said):
    said((1, "missed", "a", 10, 11, ""), (2, "withdrawn", "a", 10, 11, "i0"))

    assert evaluation.answered("plant").faults.empty


def test_an_alert_that_was_open_when_it_was_answered_lasts_until_then_a_day_at_most(said):
    said((1, "true", "a", 10, None, "x"))

    assert spans(evaluation.answered("plant").faults) == [("a", (-14, 34))]


def test_neither_alerts_nor_events_nor_time_count_where_nothing_is_judged():
    episodes = pd.DataFrame(
        {"sensor": ["a", "a", "b"], "start": [at(1), at(7), at(7)], "stop": [at(2), at(8), at(8)]}
    )
    labels = pd.DataFrame(
        {"sensor": ["a", "a"], "start": [at(7), at(20)], "stop": [at(8), at(21)], "kind": ""}
    )
    left_out = pd.DataFrame({"sensor": ["a"], "start": [at(6)], "stop": [at(12)]})

    report = evaluation.event_report(
        episodes, labels, span=SPAN, sensors=["a", "b"], left_out=left_out
    )

    assert (report.events, report.found) == (1, 0)
    assert (report.alerts, report.false_alerts) == (2, 2)
    assert report.sensor_days == pytest.approx((48 - 6) / 24)
    assert report.alarm_share == pytest.approx(2 / (48 - 6 - 1))


def test_a_span_that_is_all_left_out_has_no_rate_and_is_said_to_be_judged_by_nothing():
    episodes = pd.DataFrame({"sensor": ["a"], "start": [at(7)], "stop": [at(8)]})
    everything = pd.DataFrame({"sensor": ["a"], "start": [SPAN[0]], "stop": [SPAN[1]]})

    report = evaluation.event_report(
        episodes, everything.iloc[:0], span=SPAN, sensors=["a"], left_out=everything
    )

    figures = report.metrics()
    assert (report.sensor_days, figures["alerts"], figures["events"]) == (0, 0, 0)
    assert figures["false_alerts_per_sensor_day"] is None
    assert figures["alarm_share"] is None
    assert report.card().facts["not judged"] == "all of the span is left out"
    assert evaluation.joined([report, report]).metrics() == figures


def test_an_alert_in_an_event_that_began_before_the_span_is_not_false():
    episodes = pd.DataFrame({"sensor": ["a"], "start": [at(1)], "stop": [at(2)]})
    labels = pd.DataFrame({"sensor": ["a"], "start": [at(-1)], "stop": [at(3)], "kind": ""})

    report = evaluation.event_report(episodes, labels, span=SPAN, sensors=["a"])

    assert (report.events, report.alerts, report.false_alerts) == (0, 1, 0)


def test_what_nobody_knows_and_what_was_answered_have_the_columns_of_a_file(said, tmp_path):
    said((1, "true", "pump-1", 1, 2, "a"))
    path = tmp_path / "labels.csv"
    path.write_text("sensor,start,stop\npump-1,2026-01-05T01:00:00Z,2026-01-05T02:00:00Z\n")
    labels = evaluation.read_labels(path)

    for source in ("", f"feedback:plant@{UNTIL}"):
        faults = evaluation.ground_truth(source).faults
        assert faults.dtypes[["start", "stop"]].equals(labels.dtypes[["start", "stop"]])
        assert list(faults.columns) == list(labels.columns)
