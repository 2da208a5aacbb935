"""A route at work, against a real HTTP server: grouped, tried again, given up, said once."""

import base64
import hashlib
import hmac
import json
import math
import os
import subprocess
import sys
import tracemalloc

import pytest
from apprise.decorators import notify

from workbench.alerts import Delivery, Journal, message, target
from workbench.alerts.routing import checked, parsed
from workbench.errors import AlertsError, JournalWarning


class Route:
    """A delivery, its journal on disk, and what it acknowledged."""

    def __init__(self, stream, tmp_path, environment=None):
        self.stream, self.path = stream, tmp_path / "shift.jsonl"
        self.environment = environment or {}
        self.acknowledged = []
        self.begin()

    def begin(self):
        """Start as a new process does, from what is on disk."""
        self.journal = Journal(self.path)
        self.delivery = Delivery(
            self.stream, "shift", journal=self.journal,
            send=target(self.stream.routes["shift"], self.environment),
            acknowledge=self.acknowledged.append,
        )  # fmt: skip

    def take(self, alert, at_s):
        self.delivery.take(alert, (alert["id"], alert["status"]), at_s)


@pytest.fixture
def route(stream, server, tmp_path):
    def make(environment=None, **changes):
        settings = {"to": "webhook", "url": server.url, "wait_s": 1, "every_s": 60, **changes}
        return Route(stream(settings), tmp_path, environment)

    return make


def ids(server):
    """Return id and status of the alerts in each message."""
    return [
        [(int(alert["id"], 16), alert["status"]) for alert in json.loads(body)["alerts"]]
        for _, _, body in server.posts
    ]


def test_an_alert_is_sent_when_it_opens_and_when_it_closes_and_acknowledged_after(
    route, server, alert
):
    shift = route()
    shift.take(alert(1), 0)
    assert (shift.delivery.work(0.5), shift.acknowledged) == (1.0, [])
    assert shift.delivery.work(1.0) == math.inf
    assert shift.acknowledged == [(alert(1)["id"], "open")]
    shift.take(alert(1, "closed"), 100)
    shift.delivery.work(101)

    assert ids(server) == [[(1, "open")], [(1, "closed")]]
    assert len(shift.acknowledged) == 2


def test_alerts_of_a_machine_share_a_message_and_those_of_another_do_not(route, server, alert):
    shift = route(machines="^line-\\d+")
    shift.take(alert(1), 0)
    shift.take(alert(2, sensor="line-1-pump-2"), 0.5)
    shift.take(alert(3, sensor="line-2-pump-1"), 0.5)
    shift.delivery.work(2)

    assert ids(server) == [[(1, "open"), (2, "open")], [(3, "open")]]
    first = json.loads(server.posts[0][2])
    assert (first["machine"], first["title"]) == ("line-1", "line-1: 2 open (plant)")
    assert first["severity"] == "warning"


def test_a_machine_is_not_written_of_more_often_than_the_route_says(route, server, alert):
    shift = route()
    shift.take(alert(1), 0)
    shift.delivery.work(1)
    for number in range(2, 30):
        shift.take(alert(number), number)
        assert shift.delivery.work(number) == 61
    shift.delivery.work(61)

    assert [len(found) for found in ids(server)] == [1, 28]


def test_an_alert_that_closed_while_it_waited_is_told_once(route, server, alert):
    shift = route()
    shift.take(alert(1), 0)
    shift.take(alert(1, "closed"), 0.5)
    shift.take(alert(1), 0.6)  # a restarted job sends it again
    shift.delivery.work(1)
    shift.take(alert(1), 70)
    shift.delivery.work(200)

    assert ids(server) == [[(1, "closed")]]
    assert len(shift.acknowledged) == 4


def test_what_a_route_does_not_take_is_acknowledged_at_once(route, server, alert):
    shift = route(kinds=["high"])
    shift.take(alert(1), 0)

    assert shift.delivery.work(100) == math.inf
    assert (shift.acknowledged, server.posts) == ([(alert(1)["id"], "open")], [])


def test_a_refused_message_is_tried_again_with_growing_pauses(route, server, alert):
    shift, at_s, moments = route(), 1.0, []
    server.statuses = [500, 503, 404, 302]
    shift.take(alert(1), 0)
    while at_s < math.inf:
        moments.append(at_s)
        at_s = shift.delivery.work(at_s)

    assert moments == [1, 2, 4, 8, 16]
    assert ids(server) == [[(1, "open")]] * 5
    assert len({headers["webhook-id"] for _, headers, _ in server.posts}) == 1
    assert {path for path, _, _ in server.posts} == {"/"}  # no redirect was followed
    assert shift.acknowledged == [(alert(1)["id"], "open")]
    assert shift.journal.last_failure["reason"] == (
        "the target refuses with status 302, and no redirect is followed"
    )


@pytest.mark.parametrize(
    ("status", "after", "due_s"),
    [
        (429, "120", 121),
        (503, "120", 121),
        (429, "0", 2),  # no sooner than the pause after a failure
        (429, "soon", 2),
        (429, "Thu, 01 Jan 1970 00:00:00 GMT", 2),
        (429, "99999999", 901),  # and no later than the longest pause
        (429, "Fri, 31 Dec 9999 23:59:59 GMT", 901),
        (500, "120", 2),  # says nothing there
    ],
)
def test_a_target_that_says_when_it_takes_more_is_left_alone_until_then(
    route, server, alert, status, after, due_s
):
    shift = route()
    server.statuses, server.after = [status], after
    shift.take(alert(1), 0)

    assert shift.delivery.work(1) == due_s
    assert shift.delivery.work(due_s) == math.inf
    assert ids(server) == [[(1, "open")]] * 2


def test_on_a_full_disk_people_are_told_once_and_what_was_said_is_written_when_there_is_room(
    route, server, alert
):
    shift = route()
    shift.path.symlink_to("/dev/full")
    for number in (1, 2):
        shift.take(alert(number), 0)
    with pytest.warns(JournalWarning, match=r"shift.jsonl cannot be written: "):
        shift.delivery.work(1)
    with pytest.warns(JournalWarning, match=r"shift.jsonl cannot be written: "):
        shift.delivery.refuse("7:0:-1:-1", "no alert", "no JSON", "refused")
    shift.take(alert(1), 2)  # a restarted job sends it again
    shift.delivery.work(100)
    assert ids(server) == [[(1, "open"), (2, "open")]]
    assert shift.acknowledged == [(alert(1)["id"], "open")]  # the second time: nothing to write
    shift.path.unlink()
    shift.take(alert(3), 200)
    shift.delivery.work(300)

    lines = [json.loads(line) for line in shift.path.read_text().splitlines()]
    assert [(line["id"][-5:], line["outcome"]) for line in lines] == [
        ("00001", "sent"), ("00002", "sent"), ("-1:-1", "dead"), ("00003", "sent")
    ]  # fmt: skip
    assert shift.journal.counts == Journal(shift.path).counts == {"sent": 3, "dead": 1}
    shift.begin()
    shift.take(alert(2), 0)  # the queue brings again what was not acknowledged
    assert shift.delivery.work(100) == math.inf
    assert len(server.posts) == 2


def test_a_long_journal_takes_less_memory_than_its_lines(tmp_path, alert):
    path = tmp_path / "shift.jsonl"
    with path.open("w") as file:
        for number in range(5_000):
            opened = {**alert(number), "status": "open"}
            line = {"at": "2026-01-05T00:00:00Z", "id": opened["id"], "outcome": "sent"}
            file.write(json.dumps({**line, "status": "open", "alert": opened}) + "\n")
            file.write(json.dumps({**line, "status": "closed"}) + "\n")

    tracemalloc.start()
    journal = Journal(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < path.stat().st_size
    assert journal.counts == {"sent": 10_000}
    assert journal.open_alerts == []
    assert all(journal.settled({**alert(4_999), "status": status}) for status in ("open", "closed"))


def test_after_so_many_tries_it_is_a_dead_letter_that_the_journal_holds(route, server, alert):
    shift = route(tries=3)
    server.statuses = [500] * 3
    shift.take(alert(1), 0)
    shift.delivery.work(1)
    shift.begin()  # killed: the tries before count
    shift.take(alert(1), 10)
    shift.take(alert(2), 10.5)
    for at_s in (11, 13, 17):
        shift.delivery.work(at_s)

    assert ids(server) == [[(1, "open")], *[[(1, "open"), (2, "open")]] * 2, [(2, "open")]]
    assert shift.acknowledged == [(alert(n)["id"], "open") for n in (1, 2)]
    assert (shift.journal.counts["dead"], shift.journal.waiting) == (1, 0)
    lines = [json.loads(line) for line in shift.path.read_text().splitlines()]
    assert [line["alert"] for line in lines if line["outcome"] == "dead"] == [alert(1)]


def test_a_target_that_is_away_is_tried_again(stream, tmp_path, alert):
    shift = Route(stream({"to": "webhook", "url": "http://127.0.0.1:1"}), tmp_path)
    shift.take(alert(1), 0)

    assert shift.delivery.work(1) == 2
    assert shift.journal.last_failure["reason"] == "no answer from the target: ConnectionError"
    assert (shift.acknowledged, shift.journal.waiting) == ([], 1)


def test_what_was_sent_is_not_sent_again_by_the_next_process(route, server, alert):
    shift = route()
    shift.take(alert(1), 0)
    shift.delivery.work(1)
    shift.begin()  # killed before it acknowledged, the broker sends it again
    shift.take(alert(1), 0)
    shift.delivery.work(100)

    assert ids(server) == [[(1, "open")]]
    assert len(shift.acknowledged) == 2


KILLED = """
import json, sys
from workbench.alerts import Delivery, Journal, target
from workbench.stream import parse_stream

stream, alert = parse_stream("plant", json.loads(sys.argv[1])), json.loads(sys.argv[2])
send = target(stream.routes["shift"])

def send_and_die(message):
    send(message)
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)

delivery = Delivery(stream, "shift", journal=Journal(None), send=send_and_die, acknowledge=print)
delivery.take(alert, "acknowledged", 0)
delivery.work(1)
"""


@pytest.mark.slow
def test_a_process_killed_after_it_sent_repeats_the_message_under_the_same_id(route, server, alert):
    shift = route()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(shift.stream.content()), json.dumps(alert(1))],
        capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    assert (killed.returncode, killed.stdout) == (-9, "")
    shift.take(alert(1), 0)
    shift.delivery.work(1)

    (_, first, one), (_, second, other) = server.posts
    assert first["webhook-id"] == second["webhook-id"]
    assert one == other


@pytest.mark.parametrize(
    ("secret", "key"), [("hush", b"hush"), ("whsec_aHVzaA==", b"hush")], ids=["text", "base64"]
)
def test_a_webhook_is_signed_as_the_standard_says(route, server, alert, secret, key):
    shift = route({"SHIFT": secret}, secret="${SHIFT}")  # noqa: S106 - a variable's name
    shift.take(alert(1), 0)
    shift.delivery.work(1)

    ((_, headers, body),) = server.posts
    signed = b".".join(
        [headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body]
    )
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert secret not in str(shift.stream)


def test_alertmanager_is_told_what_is_open_each_minute_and_what_ended(route, server, alert):
    shift = route(to="alertmanager", machines="^line-\\d+")
    shift.take(alert(1), 0)
    shift.delivery.work(1)
    shift.delivery.repeat_open(1)
    shift.begin()  # the next process knows what is open
    shift.delivery.repeat_open(61)
    shift.delivery.repeat_open(62)
    shift.take(alert(1, "closed"), 100)
    shift.delivery.work(200)
    shift.delivery.repeat_open(300)

    assert {path for path, _, _ in server.posts} == {"/api/v2/alerts"}
    posts = [json.loads(body) for _, _, body in server.posts]
    assert [len(post) for post in posts] == [1, 1, 1, 1]
    assert {json.dumps(post["labels"]) for (post,) in posts} == {
        json.dumps({
            "alertname": "episode", "alert_id": alert(1)["id"], "machine": "line-1",
            "stream": "plant", "sensor": "line-1-pump-1", "severity": "warning",
        })
    }  # fmt: skip
    assert {post["startsAt"] for (post,) in posts} == {"2026-01-15T06:30:00.000Z"}
    *still, ended = [post["endsAt"] for (post,) in posts]
    assert ended == "2026-01-15T07:00:00.000Z"
    assert min(still) > "2026-11"  # a day from now


def test_a_notifier_that_stands_by_knows_what_the_other_has_sent(route, server, alert):
    active, standby = route(to="alertmanager"), route(to="alertmanager")
    active.take(alert(1), 0)
    active.delivery.work(1)
    active.take(alert(1, "closed"), 100)
    active.delivery.work(200)
    posts = len(server.posts)

    standby.delivery.repeat_open(300)
    standby.take(alert(1, "closed"), 301)
    standby.delivery.work(400)

    assert len(server.posts) == posts
    assert standby.acknowledged == [(alert(1)["id"], "closed")]


def test_what_the_other_sent_while_it_waited_here_is_not_sent_again(route, server, alert):
    active, standby = route(wait_s=10), route(wait_s=10)
    for notifier in (active, standby):
        notifier.take(alert(1), 0)
    active.delivery.work(20)
    posts = len(server.posts)

    standby.delivery.work(21)

    assert (posts, len(server.posts)) == (1, 1)
    assert standby.acknowledged == [(alert(1)["id"], "open")]


def test_what_is_no_alert_is_one_dead_letter_however_often_the_broker_brings_it(
    route, server, alert
):
    shift = route()
    shift.delivery.refuse("7:0:-1:-1", "no alert", "no JSON", "first")
    shift.begin()  # killed before the broker learned of it
    shift.delivery.refuse("7:0:-1:-1", "no alert", "no JSON", "again")
    assert shift.acknowledged == ["first", "again"]
    assert shift.journal.counts["dead"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"peak_score": "high"}, "peak_score is 'high'"),
        ({"threshold": [1]}, "threshold is [1]"),
        ({"channels": [1]}, "channels is [1]"),
        ({"channels": {"flow": "much"}}, "channel flow is 'much'"),
        ({"stop": 7}, "stop is 7"),
    ],
)
def test_what_no_job_writes_is_no_alert(alert, change, said):
    with pytest.raises(AlertsError) as error:
        checked({**alert(1), **change})

    assert error.value.message == f"alert {alert(1)['id']}: {said}, which no job writes"


def test_an_alert_without_an_id_is_none(alert):
    with pytest.raises(AlertsError, match=r"^an alert's id is empty, which no job writes$"):
        checked({**alert(1), "id": ""})


def test_a_number_that_is_none_is_null_for_a_webhook_would_refuse_it(route, server, alert):
    shift, none = route(), {"flow_l_min": float("inf")}
    sent = json.dumps(alert(1, peak_score=float("nan"), channels=none)).replace("5.0", "1e999")
    shift.take(parsed(sent.encode()), 0)
    shift.delivery.work(1)

    (told,) = json.loads(server.posts[0][2], parse_constant=pytest.fail)["alerts"]
    assert (told["peak_score"], told["threshold"], told["channels"]) == (
        None, None, {"flow_l_min": None}
    )  # fmt: skip


@pytest.mark.parametrize("sensor", ["pump\nBcc: all@plant.example", "pump\r\n1", "pump\u20281"])
def test_a_title_is_one_line_whatever_a_sensor_is_called(stream, alert, sensor):
    definition = stream({"to": "webhook", "url": "http://plant.example"})

    assert len(message(definition, "shift", [alert(1, sensor=sensor)]).title.splitlines()) == 1


def test_an_alert_without_a_score_or_an_end_says_so_by_null(alert):
    bare = {name: alert(1)[name] for name in ("id", "sensor", "kind", "status", "start")}

    assert checked(dict(bare)) == bare | dict.fromkeys(
        ["peak_score", "threshold", "channels", "stop"]
    )


def test_apprise_delivers_title_and_text(route, server, alert):
    shift = route({"CHAT": server.url.replace("http", "json")}, to="apprise", url="${CHAT}")
    shift.take(alert(1), 0)
    shift.delivery.work(1)

    ((_, _, body),) = server.posts
    told = json.loads(body)
    assert told["title"] == "line-1-pump-1: 1 open (plant)"
    assert told["message"].splitlines() == [
        "line-1-pump-1: episode open, 2026-01-15T06:30:00.000Z, peak 14 over 5",
        "    flow_l_min 9.5",
    ]
    server.statuses = [500]
    shift.take(alert(2), 100)
    assert shift.delivery.work(200) == 201
    assert shift.journal.last_failure["reason"] == "the target did not take the message"


def test_a_service_of_apprise_that_raises_is_a_failed_try(route, alert):
    @notify(on="raises")
    def _raise(*_args, **_more):
        raise RuntimeError("raises://hunter2")

    shift = route({"CHAT": "raises://hunter2"}, to="apprise", url="${CHAT}")
    shift.take(alert(1), 0)

    assert shift.delivery.work(1) == 2
    assert shift.journal.last_failure["reason"] == "the target did not take the message"


def test_a_text_names_no_score_where_there_is_none(stream, alert):
    nothing = dict.fromkeys(["peak_score", "threshold", "readings"])
    silent = alert(1, "closed", kind="high", **nothing, channels={"flow_l_min": None})
    definition = stream({"to": "webhook", "url": "http://plant.example"})

    assert message(definition, "shift", [silent]).text == (
        "line-1-pump-1: high closed, 2026-01-15T06:30:00.000Z to 2026-01-15T07:00:00.000Z\n"
    )
