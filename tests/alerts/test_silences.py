"""Nobody is told of what was answered, or of a sensor that is known to be worked on."""

import json
import math

import pytest
from click.testing import CliRunner

from workbench import alerts as room
from workbench.alerts.silences import Silences
from workbench.cli import cli
from workbench.errors import AlertsError, AnswersWarning
from workbench.evaluation import answers_path
from workbench.times import instant_ms

SPAN = {"start": "2026-01-15T06:00Z", "stop": "2026-01-15T08:00Z"}
OPENED = instant_ms("2026-01-15T06:30Z") / 1000  # when alerts of the fixture begin
OVER = instant_ms(SPAN["stop"]) / 1000
PUMP = "line-1-pump-1"


class Shift:
    """A route whose clock is a test's: seconds since its alerts began."""

    def __init__(self, plant, server, path, to):
        self.plant, self.acknowledged = plant, []
        self.delivery = room.Delivery(
            plant, "shift", journal=room.Journal(path),
            send=room.target(
                plant.routes["shift"], {"CHAT": server.url.replace("http", "json")}
            ) if to == "apprise" else room.target(plant.routes["shift"]),
            acknowledge=self.acknowledged.append, silences=Silences("plant"),
            epoch_s=lambda now_s: OPENED + now_s,
        )  # fmt: skip
        self.journal = self.delivery.journal

    def take(self, alert, at_s):
        self.delivery.take(alert, (alert["id"], alert["status"]), at_s)

    def work_until(self, end_s):
        due_s = self.delivery.work(0)
        while due_s <= end_s:
            due_s = self.delivery.work(due_s)
        return due_s


@pytest.fixture
def shift(stream, server, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))

    def make(to="webhook", **changes):
        url = "${CHAT}" if to == "apprise" else server.url
        plant = stream({"to": to, "url": url, "wait_s": 1, "every_s": 5, **changes})
        return Shift(plant, server, tmp_path / "shift.jsonl", to)

    return make


def told(server):
    return [
        [(int(alert["id"], 16), alert["status"]) for alert in json.loads(body)["alerts"]]
        for _, _, body in server.posts
    ]


def test_who_works_on_a_sensor_is_not_told_of_what_opens_and_closes_meanwhile(shift, server, alert):
    route = shift()
    room.answer(route.plant, "known", sensor=PUMP, **SPAN)
    route.take(alert(1), 0)
    route.take(alert(2, sensor="line-1-pump-2"), 0)
    route.work_until(1000)
    route.take(alert(1, "closed"), 1800)

    assert route.work_until(10_000) == math.inf
    assert told(server) == [[(2, "open")]]
    assert len(route.acknowledged) == 3
    assert route.journal.counts == {"sent": 1, "silent": 1}


def test_what_is_open_when_the_work_is_over_is_told_then(shift, server, alert):
    route = shift()
    room.answer(route.plant, "known", sensor=PUMP, **SPAN)
    route.take(alert(1), 0)
    assert 5400 < route.work_until(5400) <= 5402
    assert (told(server), route.acknowledged) == ([], [])
    route.work_until(5402)

    assert told(server) == [[(1, "open")]]
    route.take(alert(1, "closed", stop="2026-01-15T09:00:00.000Z"), 9000)
    route.work_until(9001)
    assert told(server)[1:] == [[(1, "closed")]]


@pytest.mark.parametrize(
    ("spans", "end"),
    [
        ([("06:00", "08:00")], "08:00"),
        ([("06:30", "08:00")], "08:00"),  # half open
        ([("06:00", "06:30")], None),
        ([("06:31", "08:00")], None),
        ([("06:00", "07:00"), ("07:00", "08:00")], "08:00"),  # one after the other
        ([("06:45", "08:00"), ("06:00", "07:00")], "08:00"),
        ([("06:00", "08:00"), ("06:10", "07:00")], "08:00"),
        ([("06:00", "07:00"), ("07:01", "08:00")], "07:00"),
    ],
)
def test_a_silence_lasts_as_long_as_spans_follow_each_other(shift, alert, spans, end):
    route = shift()
    for start, stop in spans:
        day = "2026-01-15T"
        room.answer(route.plant, "known", sensor=PUMP, start=f"{day}{start}Z", stop=f"{day}{stop}Z")

    until_ms = Silences("plant").ends_ms(alert(1), 1000 * OPENED)
    assert until_ms == (instant_ms(f"2026-01-15T{end}Z") if end else 0)


def test_a_span_over_midnight_is_a_span(shift, alert):
    route = shift()
    night = {"start": "2026-01-14T22:00+01:00", "stop": "2026-01-15T08:00+01:00"}
    room.answer(route.plant, "known", sensor=PUMP, **night)

    assert Silences("plant").ends_ms(alert(1), 0) == instant_ms("2026-01-15T07:00Z")


@pytest.mark.parametrize("verdict", ["false", "known"])
def test_an_alert_that_was_answered_is_told_no_more(shift, server, alert, verdict):
    route = shift("apprise")
    route.take(alert(1), 0)
    route.work_until(2)
    server.posts.clear()
    about = {"sensor": PUMP, "start": alert(1)["start"]}
    room.answer(route.plant, verdict, alert=alert(1)["id"], **about)
    room.answer(route.plant, "true", alert=alert(2)["id"], **about)
    for number in (1, 2):
        late = {"sensor": f"line-1-pump-{number}", "stop": "2026-01-20T07:00:00.000Z"}
        route.take(alert(number, "closed", **late), 10)
    route.work_until(20)

    assert [json.loads(body)["title"] for _, _, body in server.posts] == [
        "line-1-pump-2: 1 closed (plant)"
    ]
    assert route.journal.counts == {"sent": 2, "silent": 1}


@pytest.mark.parametrize("answered", ["its own", "its sensor's"])
def test_a_program_that_was_told_that_an_alert_is_open_is_told_that_it_closed(
    shift, server, alert, answered
):
    route = shift()
    route.take(alert(1), 0)
    route.work_until(2)
    own = {"alert": alert(1)["id"]} if answered == "its own" else {}
    room.answer(route.plant, "known", sensor=PUMP, **SPAN, **own)
    route.take(alert(1, "closed"), 1800)
    route.work_until(1802)

    assert told(server) == [[(1, "open")], [(1, "closed")]]


def test_what_fails_beside_what_is_silent_is_tried_alone(shift, server, alert):
    route = shift(machines="^line-1")
    room.answer(route.plant, "known", sensor=PUMP, **SPAN)
    server.statuses = [500]
    route.take(alert(1), 0)
    route.take(alert(2, sensor="line-1-pump-2"), 0)
    route.work_until(10)

    assert told(server) == [[(2, "open")]] * 2
    assert (route.journal.counts, route.journal.waiting) == ({"failed": 1, "sent": 1}, 0)


def test_an_answer_that_is_taken_back_silences_no_more(shift, server, alert):
    route = shift()
    given = room.answer(route.plant, "known", sensor=PUMP, **SPAN)
    route.take(alert(1), 0)
    route.work_until(100)
    assert told(server) == []
    assert room.withdraw(route.plant, given.id[:8]).verdict == "withdrawn"
    route.work_until(200)

    assert told(server) == [[(1, "open")]]


def test_alertmanager_is_told_once_that_what_was_answered_is_over(shift, server, alert):
    route = shift("alertmanager")
    route.take(alert(1), 0)
    route.work_until(2)
    room.answer(route.plant, "false", alert=alert(1)["id"], sensor=PUMP, start=alert(1)["start"])
    for at_s in (60, 120, 180):
        route.delivery.repeat_open(at_s)

    ends = [json.loads(body)[0]["endsAt"] for _, _, body in server.posts]
    assert len(ends) == 2
    assert ends[1] == "2026-01-15T06:31:00.000Z"


def test_answers_that_cannot_be_read_silence_nothing_new_and_nobody_stops(shift, server, alert):
    route = shift()
    room.answer(route.plant, "known", sensor=PUMP, **SPAN)
    route.take(alert(1), 0)
    route.work_until(2)
    path = answers_path("plant")
    path.write_text(path.read_text() + "no answer\n")
    route.take(alert(2, sensor="line-2"), 3)
    with pytest.warns(AnswersWarning, match=r"this is no answer in .*line 2"):
        route.work_until(10)

    assert told(server) == [[(2, "open")]]


def test_withdrawing_wants_one_answer_that_counts(shift):
    route = shift()
    given = room.answer(route.plant, "missed", sensor=PUMP, **SPAN)
    for wrong in ("", "zz"):
        with pytest.raises(AlertsError) as error:
            room.withdraw(route.plant, wrong)
        assert str(error.value) == (
            "0 answers of stream plant have an id, or are of an alert with one, that starts with "
            f"'{wrong}'\n  workbench alerts answers plant"
        )
    room.withdraw(route.plant, given.id)
    with pytest.raises(AlertsError, match=r"^0 answers"):
        room.withdraw(route.plant, given.id)


def test_the_commands_say_what_is_worked_on_list_it_and_take_it_back(shift, tmp_path, monkeypatch):
    route = shift()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "streams").mkdir()
    (tmp_path / "streams" / "plant.yaml").write_text(json.dumps(route.plant.content()))
    run = CliRunner().invoke
    span = [SPAN["start"], "2199-01-01"]
    done = run(cli, ["alerts", "known", "p-1", "p-2", *span, "--stream", "plant", "--why", "seals"])
    assert (done.exit_code, done.output.count(": known, answer ")) == (0, 2)

    listed = run(cli, ["alerts", "answers", "plant"]).output.splitlines()
    assert [line.split(": ", 1)[1] for line in listed] == [
        f"known, p-{n} 2026-01-15T06:00:00.000Z to 2199-01-01T00:00:00.000Z, no alert: seals"
        for n in (1, 2)
    ]
    done = run(cli, ["alerts", "withdraw", listed[0].split()[0], "--stream", "plant"])
    assert done.output == "p-1 2026-01-15T06:00:00.000Z: withdrawn\n"
    rows = run(cli, ["alerts", "answers", "plant", "--json"]).output.splitlines()
    assert sorted(json.loads(row)["verdict"] for row in rows) == ["known", "withdrawn"]
    done = run(
        cli, ["alerts", "answer", "9f", "true", "--stream", "plant", "--until", "2199-01-01"]
    )
    assert (done.exit_code, "--until is of what is known" in done.output) == (2, True)
