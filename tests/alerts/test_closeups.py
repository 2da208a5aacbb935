"""The picture of an alert: at a real target, of what a real broker has, or said to be missing."""

import base64
import json
import math
import os
import re
import socket
import time
import uuid
from email import message_from_bytes
from functools import partial
from pathlib import Path

import numpy as np
import pulsar
import pytest

from workbench import alerts as room
from workbench import broker
from workbench.alerts import closeups
from workbench.alerts.closeups import Illustrator, illustrating
from workbench.alerts.notebooks import opening
from workbench.errors import AlertsError, StreamError

PNG = b"\x89PNG\r\n\x1a\n"
CHANNELS = ["flow_l_min", "discharge_pressure_bar", "vibration_mm_s"]
START_MS = 1_768_458_600_000  # 2026-01-15T06:30Z


@pytest.fixture
def sent(stream, server, alert):
    """Send an alert by a route as the notifier does; give the message's body."""

    def send(route, *alerts, environment=None, **changes):
        definition = stream({"url": server.url, "wait_s": 0, "every_s": 0, **route}, **changes)
        target = room.target(definition.routes["shift"], environment or {})
        delivery = room.Delivery(
            definition, "shift", journal=room.Journal(None),
            send=illustrating(definition, "shift", opening(target)), acknowledge=lambda _: None,
        )  # fmt: skip
        for each in alerts:
            delivery.take(each, None, 0)
        delivery.work(0)
        return [body for _, _, body in server.posts]

    return send


def test_without_the_option_there_is_no_picture_and_nothing_is_said_of_it(sent, alert):
    (body,) = sent({"to": "webhook"}, alert(1))

    assert {"picture", "notes"} & json.loads(body).keys() == set()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"picture_s": 61}, "route shift: picture_s is 61, expected 0 to 60"),
        ({"picture_s": "3"}, "route shift: picture_s is '3', not a number of seconds"),
        ({"picture_s": 3, "to": "alertmanager"}, "route shift: Alertmanager takes no picture"),
    ],
)  # fmt: skip
def test_a_route_that_cannot_have_one_is_refused(stream, change, said):
    with pytest.raises(StreamError) as error:
        stream({"to": "webhook", "url": "http://a", **change})

    assert error.value.message == said


def test_readings_of_kafka_are_refused_where_the_stream_is_read(stream):
    with pytest.raises(StreamError) as error:
        stream({"to": "webhook", "url": "http://a", "picture_s": 3}, topic="kafka://pumps")

    assert str(error.value) == (
        "route shift: a picture is of readings from Pulsar, kafka://pumps is Kafka's\n"
        "  leave picture_s out"
    )


def test_a_broker_that_is_away_costs_the_picture_and_not_the_message(sent, alert, monkeypatch):
    monkeypatch.setenv("WORKBENCH_BROKER", "pulsar://127.0.0.1:1")

    (body,) = sent({"to": "webhook", "picture_s": 5}, alert(1))

    content = json.loads(body)
    assert content["notes"] == [
        "no picture: no broker answers at pulsar://127.0.0.1:1: Connection refused"
    ]
    assert "picture" not in content
    assert [each["id"] for each in content["alerts"]] == [alert(1)["id"]]


def test_in_a_storm_the_last_message_does_not_wait_for_the_pictures_of_all_before(
    stream, alert, monkeypatch
):
    def slow(stream, alert, *, seconds):
        time.sleep(0.3)
        return closeups.Closeup(alert["id"], b"a picture")

    monkeypatch.setattr(closeups, "closeup", slow)
    plant = stream({"to": "webhook", "url": "http://a"})
    illustrator = Illustrator(plant, 1.0)
    storm = [room.message(plant, "shift", [alert(number)]) for number in range(12)]
    sent = [illustrator.illustrated(message) for message in storm]

    assert sent[0].picture
    assert ("no picture: those of other messages took 1 s",) in {each.notes for each in sent}


@pytest.mark.slow
def test_a_broker_that_says_nothing_is_waited_for_so_long_and_no_second_time(
    stream, alert, monkeypatch
):
    client = partial(pulsar.Client, operation_timeout_seconds=3)  # in place of 30
    monkeypatch.setattr(pulsar, "Client", client)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("WORKBENCH_BROKER", f"pulsar://127.0.0.1:{silent.getsockname()[1]}")
        plant = stream({"to": "webhook", "url": "http://a"})
        illustrator = Illustrator(plant, 0.3)
        first, second = (
            illustrator.illustrated(room.message(plant, "shift", [alert(number)]))
            for number in (1, 2)
        )
        thread = illustrator._thread
    thread.join(60)

    assert first.notes == ("no picture: it was not there after 0.3 s",)
    assert second.notes == ("no picture: the one before it is still waited for",)
    assert first.text.endswith("\nno picture: it was not there after 0.3 s\n")
    assert not thread.is_alive()


def test_an_alert_of_no_reading_says_so(sent, alert):
    (body,) = sent({"to": "webhook", "picture_s": 5}, alert(1, first_message_id=None))

    assert json.loads(body)["notes"] == [f"no picture: alert {alert(1)['id']} is of no reading"]


@pytest.fixture(scope="module")
def pumps(services):
    """A minute of readings of two pumps before and after a fault; give topic and message id."""
    topic = f"persistent://public/default/pumps-{uuid.uuid4().hex[:8]}"
    noise = np.random.default_rng(7).normal(0, 1, (400, 3))
    with broker.connect() as client:
        producer = client.create_producer(topic)
        for number in range(400):
            fault = max(0, number - 200) * (number < 260) / 20
            for pump in ("line-1-pump-1", "line-1-pump-2"):
                values = np.array([110.0, 6.0, 2.0]) + noise[number] * (2, 0.1, 0.1)
                values[2] += fault * pump.endswith("1")
                reading = {"pump": pump, **dict(zip(CHANNELS, values, strict=True))}
                place = producer.send(
                    json.dumps(reading).encode(), event_timestamp=START_MS + 1000 * (number - 220)
                )
                if number == 220 and pump.endswith("1"):
                    first = f"{place.ledger_id()}:{place.entry_id()}:-1:-1"
    return topic, first


@pytest.fixture
def pictured(pumps, alert):
    """Return an alert of those readings, and the stream's keys that fit them."""
    topic, first = pumps
    shares = [
        {"channel": name, "share": share, "direction": "above", "expected": 2.0}
        for name, share in zip(CHANNELS[::-1], (0.9, 0.06, 0.04), strict=True)
    ]
    values = dict(zip(CHANNELS, (110.0, 6.0, 3.0), strict=True))
    about = {"first_message_id": first, "contributions": shares, "package": None}
    return alert(1, channels=values, **about), {"topic": topic, "channels": CHANNELS}


def looked_at(png, name):
    """Keep a picture where somebody wants to look at it."""
    if folder := os.environ.get("WORKBENCH_SCREENSHOTS"):
        Path(folder, f"{name}.png").write_bytes(png)
    return png


@pytest.mark.pulsar
def test_a_webhook_gets_the_picture_beside_the_alert(sent, pictured):
    alarm, changes = pictured

    (body,) = sent({"to": "webhook", "picture_s": 30}, alarm, **changes)

    content = json.loads(body)
    png = looked_at(base64.b64decode(content["picture"].pop("base64")), "webhook")
    assert content["picture"] == {"alert": alarm["id"], "type": "image/png"}
    assert png.startswith(PNG)
    assert "notes" not in content


@pytest.mark.pulsar
@pytest.mark.parametrize("scheme", ["json", "form"])
def test_apprise_attaches_it_where_the_service_takes_one(sent, server, pictured, scheme):
    alarm, changes = pictured
    url = server.url.replace("http", scheme, 1)

    (body,) = sent(
        {"to": "apprise", "url": "${URL}", "picture_s": 30}, alarm,
        environment={"URL": url}, **changes,
    )  # fmt: skip

    if scheme == "json":
        (attached,) = json.loads(body)["attachments"]
        name, kind = attached["filename"], attached["mimetype"]
        png = base64.b64decode(attached["base64"])
    else:
        head = f"content-type: {server.posts[0][1]['Content-Type']}\n\n".encode()
        parts = message_from_bytes(head + body).get_payload()
        (part,) = [part for part in parts if part.get_filename()]
        name, kind = part.get_filename(), part.get_content_type()
        png = part.get_payload(decode=True)
    assert (name, kind, png.startswith(PNG)) == ("alert.png", "image/png", True)


@pytest.mark.pulsar
def test_what_is_refused_with_a_picture_is_sent_without_it(sent, server, pictured):
    alarm, changes = pictured
    server.statuses = [413]

    first, second = sent({"to": "webhook", "picture_s": 30}, alarm, **changes)

    assert "picture" in json.loads(first)
    content = json.loads(second)
    assert content["notes"] == ["no picture: with it, the target refuses with status 413"]
    assert "picture" not in content


@pytest.mark.pulsar
def test_of_several_alerts_the_worst_is_shown(sent, pictured):
    alarm, changes = pictured
    worse = {**alarm, "id": "f" * 32, "kind": "high"}

    (body,) = sent({"to": "webhook", "picture_s": 30}, alarm, worse, **changes)

    assert json.loads(body)["picture"]["alert"] == worse["id"]


@pytest.mark.pulsar
def test_a_sensor_that_is_not_there_has_no_picture(stream, pictured):
    alarm, changes = pictured

    with pytest.raises(AlertsError, match=re.escape("the broker gives no readings of pump-9")):
        room.closeup(
            stream({"to": "webhook", "url": "http://a"}, **changes), {**alarm, "sensor": "pump-9"}
        )


def test_a_target_that_is_down_is_tried_again_as_ever(stream, alert):
    plant = stream({"to": "webhook", "url": "http://127.0.0.1:1", "wait_s": 0, "picture_s": 1})
    delivery = room.Delivery(
        plant, "shift", journal=room.Journal(None), acknowledge=lambda _: None,
        send=illustrating(plant, "shift", room.target(plant.routes["shift"], {})),
    )  # fmt: skip
    delivery.take(alert(1), None, 0)

    assert (delivery.work(0), delivery.work(1)) == (1.0, 3.0)
    assert delivery.work(0) < math.inf
