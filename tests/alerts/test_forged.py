"""What anybody may send to an alerts topic leads people nowhere, and writes nothing."""

import json
from dataclasses import replace

import pytest

from workbench import alerts as room
from workbench.alerts.links import notebook_urls
from workbench.alerts.notebooks import opening
from workbench.alerts.routing import parsed
from workbench.alerts.targets import target
from workbench.errors import AlertsError

EVIL = "http://evil.example/"


@pytest.fixture
def plant(stream, server, tmp_path, monkeypatch):
    home = tmp_path / "project"
    for folder in ("streams", "notebooks", "params"):
        (home / folder).mkdir(parents=True)
    monkeypatch.chdir(home)
    monkeypatch.setenv("WORKBENCH_LAB_URL", "http://lab.plant.example")
    return stream({"to": "webhook", "url": server.url, "wait_s": 0})


@pytest.fixture
def deliver(plant, server):
    """Deliver an alert as the notifier does; give what the webhook got."""

    def make(content):
        delivery = room.Delivery(
            plant, "shift", journal=room.Journal(None), acknowledge=lambda _: None,
            send=opening(target(plant.routes["shift"], {})),
        )  # fmt: skip
        delivery.take(room.checked(content), None, 0)
        delivery.work(0)
        return json.loads(server.posts[-1][2])

    return make


def written(tmp_path):
    return sorted(path.name for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("lab", ["http://lab.plant.example", ""])
def test_links_that_an_alert_brings_are_dropped(deliver, alert, tmp_path, monkeypatch, lab):
    monkeypatch.setenv("WORKBENCH_LAB_URL", lab)

    content = deliver(alert(1, answer_url=EVIL, notebook_url=EVIL, severity="info", kind="high"))

    (said,) = content["alerts"]
    assert EVIL not in json.dumps(content)
    assert said["severity"] == "critical"
    assert "answer_url" not in said
    assert ("notebook_url" in said) == bool(lab)
    assert written(tmp_path) == ([f"{alert(1)['id']}.ipynb"] if lab else [])


@pytest.mark.parametrize("lab", ["http://lab.plant.example", ""])
@pytest.mark.parametrize("place", ["../../../outside", "{}/outside"], ids=["relative", "absolute"])
def test_an_id_that_is_a_path_writes_nothing(deliver, alert, tmp_path, monkeypatch, lab, place):
    monkeypatch.setenv("WORKBENCH_LAB_URL", lab)

    content = deliver(alert(1, id=place.format(tmp_path), notebook_url=EVIL))

    assert "notebook_url" not in content["alerts"][0]
    assert written(tmp_path) == []


def test_where_a_message_is_made_by_hand_such_an_id_is_refused_too(plant, server, alert, tmp_path):
    message = room.message(plant, "shift", [alert(1)], None, notebook_urls([alert(1)]))
    (whole,) = message.alerts

    opening(target(plant.routes["shift"], {}))(
        replace(message, alerts=({**whole, "id": str(tmp_path / "outside")},))
    )

    content = json.loads(server.posts[0][2])
    (note,) = content["notes"]
    assert note.endswith("outside' is no name of a file")
    assert "notebook_url" not in content["alerts"][0]
    assert written(tmp_path) == []


PART = {"channel": "flow_l_min", "share": 0.9, "direction": "above", "expected": 2.0}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"contributions": "abc"}, "a contribution is "),
        ({"contributions": 5}, "a contribution is "),
        ({"contributions": {"channel": "a"}}, "a contribution is "),
        ({"contributions": [PART, {"channel": "a"}]}, "a contribution is "),
        ({"contributions": [{**PART, "share": None}]}, "a contribution is "),
        ({"contributions": [{**PART, "expected": "2"}]}, "a contribution is "),
        ({"sensor": "p-\ud800"}, r"an alert holds half a character, '\\ud800'"),
        ({"note": {"\udfff": 1}}, r"an alert holds half a character, '\\udfff'"),
        ({"peak_score": 10**400}, "peak_score is 1000"),
        ({"channels": {"flow_l_min": 10**400}}, "flow_l_min is 1000"),
        ({"note": [[[[[[[[[]]]]]]]]]}, "an alert is nested deeper than 8"),
    ],
)  # fmt: skip
def test_what_no_message_can_hold_is_no_alert(alert, change, said):
    with pytest.raises(AlertsError, match=said):
        parsed(json.dumps(alert(1, **change)).encode())


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b"\xff", b"{"]
)
def test_what_is_no_json_is_no_alert(content):
    with pytest.raises(AlertsError, match="a message of the alerts topic is no JSON"):
        parsed(content)


def test_a_contribution_of_a_channel_without_a_value_is_sent_without_it(deliver, alert, tmp_path):
    deliver(alert(1, channels=None, contributions=[{**PART, "channel": "level_m"}]))

    (path,) = (tmp_path / "project" / "notebooks").rglob("*.ipynb")
    assert "level_m: 90 % of it, above, 2 expected" in path.read_text()


def test_a_text_that_cannot_be_written_costs_the_notebook_alone(plant, server, alert):
    urls = notebook_urls([alert(1)])
    message = room.message(plant, "shift", [alert(1, contributions=["abc"])], None, urls)

    opening(target(plant.routes["shift"], {}))(message)

    (note,) = json.loads(server.posts[0][2])["notes"]
    assert note.startswith("no notebook: 'str object' has no attribute")


@pytest.mark.parametrize(
    "address",
    [
        "http://lab.example:8888/lab?token=hunter2",
        "http://lab.example/#hunter2",
        "http://me:hunter2@lab.example",
        "http://hunter2@lab.example",
        "ftp://lab.example/hunter2",
        "lab.example/hunter2",
        "http:///hunter2",
        "http://[hunter2",
    ],
)
def test_an_address_that_holds_more_is_refused_before_anything_starts_and_not_repeated(
    stream, monkeypatch, address
):
    monkeypatch.setenv("WORKBENCH_LAB_URL", address)

    with pytest.raises(AlertsError, match=r"^WORKBENCH_LAB_URL is not the address") as error:
        room.notify(stream({"to": "webhook", "url": "http://a"}), seconds=0)

    assert "hunter2" not in str(error.value)


def test_a_notebook_holds_no_link_that_answers(plant, server, alert, tmp_path):
    answers = {alert(1)["id"]: "http://answers.example/answer/signed"}
    urls = notebook_urls([alert(1)])

    opening(target(plant.routes["shift"], {}))(
        room.message(plant, "shift", [alert(1)], answers, urls)
    )

    assert b"answers.example" in server.posts[0][2]
    (path,) = (tmp_path / "project" / "notebooks").rglob("*.ipynb")
    assert "answers.example" not in path.read_text()
    assert "line-1-pump-1: episode open" in path.read_text()
