"""What is not taken with a picture: sent without it only where nothing was delivered."""

import json
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from workbench import alerts as room
from workbench.alerts.closeups import yielding
from workbench.alerts.notebooks import TEMPLATE
from workbench.alerts.targets import BodyRefusedError, target
from workbench.errors import AlertsError

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def message(stream, server, alert):
    def make(to):
        url = server.url if to == "webhook" else "${URL}"
        plant = stream({"to": to, "url": url, "picture_s": 5, "wait_s": 0})
        said = replace(
            room.message(plant, "shift", [alert(1)]), picture=PNG, pictured=alert(1)["id"]
        )
        environment = {"URL": server.url.replace("http", "json", 1)}
        send = target(plant.routes["shift"], environment)
        return said, yielding(send, to, threading.Event())

    return make


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_webhook_that_refuses_the_body_gets_it_again_without_the_picture(server, message, status):
    said, send = message("webhook")
    server.statuses = [status]

    send(said)

    first, second = (json.loads(body) for _, _, body in server.posts)
    assert ("picture" in first, "picture" in second) == (True, False)
    assert second["notes"] == [f"no picture: with it, the target refuses with status {status}"]


@pytest.mark.parametrize("status", [404, 429, 500, 503])
def test_another_status_is_a_failed_try_and_nothing_is_sent_again_at_once(server, message, status):
    said, send = message("webhook")
    server.statuses = [status]

    with pytest.raises(AlertsError, match=f"the target refuses with status {status}"):
        send(said)

    assert len(server.posts) == 1


def test_apprise_is_asked_once_and_has_no_pictures_from_then_on(server, message):
    said, send = message("apprise")
    server.statuses = [500]

    with pytest.raises(AlertsError, match="the target did not take the message"):
        send(said)
    assert len(server.posts) == 1
    send(said)

    first, second = (json.loads(body) for _, _, body in server.posts)
    assert (len(first["attachments"]), second["attachments"]) == (1, [])
    assert "no picture: with one, a message failed on this route" in second["message"]


def test_a_folder_that_takes_no_picture_costs_the_picture_alone(
    server, message, tmp_path, monkeypatch
):
    said, send = message("apprise")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))

    send(said)

    (body,) = (json.loads(body) for _, _, body in server.posts)
    assert body["attachments"] == []
    assert "no picture: with it, it cannot be written: No such file" in body["message"]


def test_no_answer_is_no_refusal_of_the_body(stream, alert):
    plant = stream({"to": "webhook", "url": "http://127.0.0.1:1"})

    with pytest.raises(AlertsError) as error:
        target(plant.routes["shift"], {})(room.message(plant, "shift", [alert(1)]))

    assert not isinstance(error.value, BodyRefusedError)


def test_in_a_notebook_the_buttons_come_before_what_may_fail():
    cells = [cell["id"] for cell in json.loads(Path(TEMPLATE).read_text())["cells"]]

    assert cells.index("answer") < cells.index("closeup") == len(cells) - 1
