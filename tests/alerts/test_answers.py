"""What people answer: kept for good, the last counts, up to an instant; by a signed link, too."""

import json
import re
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
import requests

from workbench import alerts as room
from workbench.alerts.links import secret_key
from workbench.errors import AlertsError
from workbench.evaluation import kept_answers

SECRET = "0123456789abcdef"  # noqa: S105 - of this test alone
SPAN = {"start": "2026-01-12T06:00Z", "stop": "2026-01-12T09:30Z"}
ALERT = {"alert": "a" * 32, "sensor": "pump-7", **SPAN}


@pytest.fixture
def plant(stream, monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("WORKBENCH_ALERTS_SECRET", SECRET)
    return stream({"to": "webhook", "url": "http://plant.example", "wait_s": 0})


def test_the_last_answer_about_an_alert_counts_and_none_is_lost(plant, tmp_path):
    room.answer(plant, "true", **ALERT, who="ada")
    room.answer(plant, "false", **ALERT, why="cleaning the filter", who="bo")
    room.answer(plant, "missed", sensor="pump-1", **SPAN)

    first, second = room.answers(plant)
    assert (first.verdict, first.who, first.why) == ("false", "bo", "cleaning the filter")
    assert (second.verdict, second.start) == ("missed", "2026-01-12T06:00:00.000Z")
    lines = (tmp_path / "alerts" / "plant" / "answers.jsonl").read_text().splitlines()
    assert [json.loads(line)["verdict"] for line in lines] == ["true", "false", "missed"]


def test_labels_are_what_was_known_at_an_instant(plant, tmp_path):
    for verdict in ("true", "known"):
        room.answer(plant, verdict, **ALERT)
    room.answer(plant, "missed", sensor="pump-1", **SPAN)
    path = tmp_path / "alerts" / "plant" / "answers.jsonl"
    days = iter(("2026-02-01", "2026-02-02", "2026-02-03"))
    path.write_text(re.sub(r'"at": "[^"]+"', lambda _: f'"at": "{next(days)}T00:00:00.000Z"',
                           path.read_text()))  # fmt: skip

    def told(until):
        return {
            name: frame["sensor"].tolist()
            for name, frame in (
                ("labels", room.labels(plant, until=until)),
                ("left out", room.left_out(plant, until=until)),
            )
        }

    assert told("2026-01-31") == {"labels": [], "left out": []}
    assert told("2026-02-01") == {"labels": ["pump-7"], "left out": []}
    assert told("2026-02-02") == {"labels": [], "left out": ["pump-7"]}
    assert told(None) == {"labels": ["pump-1"], "left out": ["pump-7"]}
    assert str(room.labels(plant)["stop"][0]) == "2026-01-12 09:30:00+00:00"


@pytest.mark.parametrize(
    ("verdict", "about", "said"),
    [
        ("flase", ALERT, "an answer is not 'flase'\n  did you mean 'false'?"),
        ("false", {"sensor": "pump-7"}, "an answer 'false' needs the id of its alert\n"
         "  of a span that no alert told: known, false or missed, with sensor, start, stop"),
        ("missed", ALERT, "what was missed has a sensor, a start and a stop, and no alert"),
        ("missed", {"sensor": "p", "start": SPAN["start"]},
         "what was missed has a sensor, a start and a stop, and no alert"),
        ("missed", {"sensor": "p", "start": SPAN["stop"], "stop": SPAN["start"]},
         "the span ends at 2026-01-12T06:00:00.000Z, not after 2026-01-12T09:30:00.000Z"),
        ("true", {**ALERT, "why": "x" * 2001},
         "the reason has 2001 characters, at most 2000 are kept"),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_refused_and_not_kept(plant, verdict, about, said):
    with pytest.raises(AlertsError) as error:
        room.answer(plant, verdict, **about)

    assert str(error.value) == said
    assert room.answers(plant) == []


@contextmanager
def served(plant, **options):
    with room.serve(plant, **options) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_an_alert_is_answered_by_its_link(plant, server, alert, monkeypatch, tmp_path):
    with served(plant) as base:
        monkeypatch.setenv("WORKBENCH_ALERTS_URL", base)
        route = replace(plant.routes["shift"], url=server.url)
        delivery = room.Delivery(
            replace(plant, routes={"shift": route}), "shift", journal=room.Journal(None),
            send=room.target(route), acknowledge=lambda _: None,
        )  # fmt: skip
        delivery.take(alert(1, "closed", sensor="<b>pump"), None, 0)
        delivery.work(1)
        url = json.loads(server.posts[0][2])["alerts"][0]["answer_url"]

        page = requests.get(url, timeout=60)
        assert room.answers(plant) == []  # looking changes nothing
        assert "&lt;b&gt;pump" in page.text
        assert "<b>" not in page.text
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        form = {"verdict": "false", "why": "the filter", "who": "ada"}
        assert "this is kept" in requests.post(url, data=form, timeout=60).text

    (given,) = room.answers(plant)
    assert (given.alert, given.verdict, given.who) == (alert(1)["id"], "false", "ada")
    assert (given.sensor, given.stop) == ("<b>pump", "2026-01-15T07:00:00.000Z")


def test_who_looks_second_sees_what_the_first_one_answered(plant, alert):
    form = {"verdict": "known", "why": "<i>seals", "who": "ada"}
    with served(plant) as base:
        url = room.link(alert(1), SECRET.encode(), base=base)
        other = room.link(alert(2), SECRET.encode(), base=base)
        assert "If you answer too" not in requests.get(url, timeout=10).text
        requests.post(url, data=form, timeout=10)
        second = requests.get(f"{url}?utm_source=mail", timeout=10).text
        room.withdraw(plant, alert(1)["id"])
        third = requests.get(url, timeout=10).text
        assert "ada" not in requests.get(other, timeout=10).text

    assert "ada, 20" in second
    assert ": Known: maintenance, or meant to be<br>&lt;i&gt;seals<br>If you answer too" in second
    assert "ada" not in third


def test_two_who_answer_at_once_are_both_on_record_and_one_counts(plant, alert):
    with served(plant) as base:
        url = room.link(alert(1), SECRET.encode(), base=base)
        people = [("ada", "true"), ("bo", "false")] * 5
        posts = [
            threading.Thread(
                target=requests.post, args=(url,), kwargs={"data": {"who": who, "verdict": verdict}}
            )
            for who, verdict in people
        ]
        for post in posts:
            post.start()
        for post in posts:
            post.join()

    kept = kept_answers("plant")
    assert sorted((said.who, said.verdict) for said in kept) == sorted(people)
    newest = max(kept, key=lambda said: (said.at, said.id))
    assert room.answers(plant) == [newest]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"who": "ada"}, "no answer was chosen"),
        ({"who": "ada", "verdict": "missed"}, "no answer was chosen"),
        ({"verdict": "true"}, "it is not said who answers"),
        ({"verdict": "true", "who": "a" * 40_000}, "the form has 40017 bytes, at most 32768"),
    ],
)
def test_a_form_that_is_not_filled_in_is_refused(plant, alert, form, said):
    with served(plant) as base:
        page = requests.post(room.link(alert(1), SECRET.encode(), base=base), data=form, timeout=60)

    assert (page.status_code, room.answers(plant)) == (400, [])
    assert said in page.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda url: url[:-1] + ("A" if url[-1] != "A" else "B"), "was not made here"),
        (lambda url: url.replace("/answer/", "/answer/e"), "was not made here"),
        (lambda url: url.rpartition(".")[0], "was not made here"),
        (lambda url: url.rpartition("/")[0] + "/é", "was not made here"),
        (lambda url: url.replace("/answer/", "/"), "there is nothing here"),
    ],
)
def test_a_link_that_was_changed_is_refused(plant, alert, change, said):
    with served(plant) as base:
        url = change(room.link(alert(1), SECRET.encode(), base=base))
        for ask in (requests.get, requests.post):
            page = ask(url, timeout=60)
            assert (page.status_code, said in page.text) == (400, True), url


def test_a_link_is_good_until_it_is_too_old_and_for_its_stream_alone(plant, alert):
    key = SECRET.encode()
    token = room.link(alert(1), key, lasts_s=10, at_ms=0).rpartition("/")[2]
    assert room.linked(token, key, at_ms=9_999)["id"] == alert(1)["id"]
    with pytest.raises(AlertsError, match=r"^this link is too old"):
        room.linked(token, key, at_ms=10_000)
    with served(plant) as base:
        url = room.link(alert(1, stream="other"), key, base=base)
        assert "this link is of stream other" in requests.get(url, timeout=60).text


def test_others_than_this_machine_are_refused_without_tls(plant):
    for host in ("0.0.0.0", "::", "plant.example"):  # noqa: S104 - refused
        with pytest.raises(AlertsError, match="is open to others, and nothing is encrypted"):
            room.serve(plant, host=host).__enter__()


def test_a_secret_has_to_be_one(plant):
    with pytest.raises(AlertsError) as error:
        secret_key({"WORKBENCH_ALERTS_SECRET": "short"})

    assert str(error.value) == (
        "WORKBENCH_ALERTS_SECRET has 5 characters, at least 16 are needed\n  openssl rand -hex 32"
    )
