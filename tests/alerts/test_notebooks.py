"""A link in a message opens JupyterLab on a notebook of that alert."""

import contextlib
import json
import os
import re
import time
import uuid
from dataclasses import replace

import nbformat
import pytest
import yaml

from workbench import alerts as room
from workbench import broker
from workbench.alerts.links import notebook_urls
from workbench.alerts.notebooks import opening
from workbench.alerts.targets import target

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def plant(stream, server, tmp_path, monkeypatch):
    for folder in ("streams", "notebooks", "params"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBENCH_LAB_URL", "http://lab.plant.example/")
    return stream({"to": "webhook", "url": server.url})


def message_of(plant, *alerts, **changes):
    message = room.message(plant, "shift", alerts, None, notebook_urls(list(alerts)))
    return replace(message, **changes)


def send(plant, message):
    opening(target(plant.routes["shift"], {}))(message)


def test_an_alert_links_to_its_notebook_and_the_notebook_shows_what_was_said(
    plant, server, alert, tmp_path
):
    pictured = alert(1)["id"]
    send(plant, message_of(plant, alert(1), alert(2), picture=PNG, pictured=pictured))

    ((_, _, body),) = server.posts
    urls = [each["notebook_url"] for each in json.loads(body)["alerts"]]
    assert urls[0] == f"http://lab.plant.example/lab/tree/notebooks/alerts/{pictured}.ipynb"
    first, second = (
        nbformat.read(tmp_path / url.partition("/lab/tree/")[2], nbformat.NO_CONVERT)
        for url in urls
    )
    nbformat.validate(first)
    cells = {cell["id"]: cell for cell in first.cells}
    assert f'alert: str = "{pictured}"' in cells["parameters"].source
    assert 'stream: str = "plant"' in cells["parameters"].source
    assert "peak 14 over 5" in cells["alert"].outputs[0].text
    assert cells["closeup"].outputs[0].data["image/png"].startswith("iVBOR")
    assert [cell.get("outputs", []) for cell in second.cells if cell["id"] == "closeup"] == [[]]


def test_a_notebook_that_somebody_worked_in_stays_as_it_is(plant, server, alert, tmp_path):
    send(plant, message_of(plant, alert(1)))
    path = tmp_path / "notebooks" / "alerts" / f"{alert(1)['id']}.ipynb"
    path.write_text("worked in")

    send(plant, message_of(plant, alert(1, "closed")))

    assert path.read_text() == "worked in"
    assert len(server.posts) == 2


def test_where_none_can_be_written_the_message_goes_without_and_says_so(
    plant, server, alert, tmp_path
):
    (tmp_path / "notebooks" / "alerts").write_text("no folder")

    send(plant, message_of(plant, alert(1)))

    content = json.loads(server.posts[0][2])
    assert "notebook_url" not in content["alerts"][0]
    (note,) = content["notes"]
    assert note.startswith("no notebook: ")


def test_without_an_address_or_with_an_id_that_is_no_name_there_is_no_link(
    plant, alert, monkeypatch
):
    strange = {**alert(1), "id": "../../evil"}
    assert notebook_urls([strange]) == {}
    monkeypatch.delenv("WORKBENCH_LAB_URL")
    assert notebook_urls([alert(1)]) == {}


@pytest.mark.notebook
@pytest.mark.pulsar
@pytest.mark.timeout(600)
def test_the_link_opens_in_the_browser_on_the_alert_which_is_answered_there(
    services, plant, server, alert, laboratory, page, tmp_path, monkeypatch
):
    name = uuid.uuid4().hex[:8]
    topics = {each: f"persistent://public/default/{each}-{name}" for each in ("topic", "alerts")}
    route = {"to": "webhook", "url": server.url, "wait_s": 0, "every_s": 0, "picture_s": 60}
    content = {**plant.content(), **topics, "routes": {"shift": route}}
    (tmp_path / "streams" / "plant.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WORKBENCH_BROKER", services.broker)
    monkeypatch.setenv("WORKBENCH_ADMIN", services.admin)
    monkeypatch.setenv("WORKBENCH_BROKER_TOKEN", services.broker_token)
    with laboratory(tmp_path) as lab, contextlib.ExitStack() as stack:
        monkeypatch.setenv("WORKBENCH_LAB_URL", str(lab))
        check = stack.enter_context(room.delivering("plant"))
        _sent(alert, topics)
        while not server.posts:
            check()
            time.sleep(0.1)
        url = json.loads(server.posts[0][2])["alerts"][0]["notebook_url"]
        page.goto(f"{url}?token={lab.token}")
        page.get_by_text("peak 14 over 5").wait_for()  # before anything is run
        page.locator(".jp-OutputArea-output img").wait_for()
        page.get_by_text("workbench | Idle").wait_for()
        _keep(page, "before")
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.get_by_role("button", name="false", exact=True).click()
        page.get_by_text(re.compile(": false, kept")).wait_for()
        page.get_by_text("workbench | Idle").wait_for()
        _keep(page, "run")
        images = page.locator(".jp-OutputArea-output img").count()

    (given,) = room.answers("plant")
    assert (given.alert, given.verdict) == (alert(1)["id"], "false")
    assert images == 1


def _sent(alert, topics):
    """Send some readings, and an alert that begins with one of them."""
    with broker.connect() as client:
        producer = client.create_producer(topics["topic"])
        for number in range(100):
            reading = {"pump": "line-1-pump-1", "flow_l_min": 5 + number % 7}
            sent_ms = 1_768_458_600_000 + 1000 * (number - 60)
            place = producer.send(json.dumps(reading).encode(), event_timestamp=sent_ms)
            if number == 60:
                first = f"{place.ledger_id()}:{place.entry_id()}:-1:-1"
        content = alert(1, first_message_id=first, package=None)
        subscribed = f"{broker.rest_path(topics['alerts'])}/subscriptions"
        while not (broker.get_or_none(subscribed) or []):
            time.sleep(0.1)
        client.create_producer(topics["alerts"]).send(json.dumps(content).encode())


def _keep(page, name):
    if folder := os.environ.get("WORKBENCH_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/notebook-{name}.png")
