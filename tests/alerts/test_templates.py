"""A route's own text: Jinja beside the stream files, wrong ones refused before anything starts."""

import json

import pytest

from workbench import alerts as room
from workbench.alerts.messages import check_templates
from workbench.errors import AlertsError, StreamError

HOOK = {"to": "webhook", "url": "http://plant.example", "template": "shift.txt"}


@pytest.fixture
def plant(stream, tmp_path, monkeypatch):
    """Make a stream whose route has a template of this text."""
    monkeypatch.chdir(tmp_path)
    for name in ("streams", "notebooks", "params"):
        (tmp_path / name).mkdir()

    def make(text, **changes):
        (tmp_path / "streams" / "shift.txt").write_text(text)
        return stream({**HOOK, **changes})

    return make


def delivered(plant, alert, server, **environment):
    delivery = room.Delivery(
        plant, "shift", journal=room.Journal(None), acknowledge=lambda _: None,
        send=room.target(plant.routes["shift"], environment),
    )  # fmt: skip
    delivery.take(alert, None, 0)
    delivery.work(1)
    ((_, _, body),) = server.posts
    return json.loads(body)


OWN = """\
{% for alert in alerts -%}
{{ severity }}: {{ alert.sensor }} since {{ alert.start | local("Europe/Berlin") }}
{%- if alert.reason %}, {{ alert.reason }}{% endif %}
{% endfor %}{{ title }}, {{ machine }}, {{ stream }}, {{ route }}"""


@pytest.mark.parametrize("to", ["webhook", "apprise"])
def test_a_route_says_what_its_template_says(plant, server, alert, to):
    url = server.url if to == "webhook" else "${CHAT}"
    definition = plant(OWN, to=to, url=url)
    check_templates(definition)

    told = delivered(definition, alert(1), server, CHAT=server.url.replace("http", "json"))

    assert told["text" if to == "webhook" else "message"].splitlines() == [
        "warning: line-1-pump-1 since 2026-01-15 07:30:00 CET",
        "line-1-pump-1: 1 open (plant), line-1-pump-1, plant, shift",
    ]


def test_without_a_template_a_webhook_gets_no_text(stream, server, alert):
    hook = stream({"to": "webhook", "url": server.url})

    assert "text" not in delivered(hook, alert(1), server)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ alerts[0].snesor }}",
         "the template of route shift fails: 'dict object' has no attribute 'snesor'\n"
         "  in streams/shift.txt"),
        ("a\n{% for %}", "the template of route shift: Expected an expression, got 'end of "
         "statement block'\n  in streams/shift.txt, line 2"),
        ("{{ titel }}", "the template of route shift fails: 'titel' is undefined\n"
         "  in streams/shift.txt"),
        ("{% include 'no.txt' %}", "route shift has no template no.txt\n  in streams"),
        ("{% include '../secret' %}", "route shift has no template ../secret\n  in streams"),
        ("{{ alerts.__class__ }}", "the template of route shift fails: access to attribute "
         "'__class__' of 'list' object is unsafe.\n  in streams/shift.txt"),
        ("{{ alerts[0].start | local('Europe/Nowhere') }}", "the template of route shift fails: "
         "'No time zone found with key Europe/Nowhere'\n  in streams/shift.txt"),
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_used_is_refused_before_anything_starts(plant, text, said):
    for begin in (room.notify, lambda definition: list(room.preview(definition))):
        with pytest.raises(AlertsError) as error:
            begin(plant(text))

        assert str(error.value) == said


def test_a_template_that_is_not_there_is_refused(plant, tmp_path):
    definition = plant("")
    (tmp_path / "streams" / "shift.txt").unlink()

    with pytest.raises(AlertsError, match=r"^route shift has no template shift.txt"):
        check_templates(definition)


@pytest.mark.parametrize("to", ["webhook", "apprise"])
def test_where_a_template_fails_on_an_alert_people_are_told_by_the_usual_text(
    plant, server, alert, to
):
    url = server.url if to == "webhook" else "${CHAT}"
    definition = plant("{{ 1 / (alerts[0].readings - 7) }}", to=to, url=url)
    check_templates(definition)

    post = delivered(
        definition, alert(1, readings=7), server, CHAT=server.url.replace("http", "json")
    )

    text = post["text" if to == "webhook" else "message"].splitlines()
    assert text[0].startswith("line-1-pump-1: episode open, 2026-01-15T06:30:00.000Z")
    assert text[-1] == "the template shift.txt fails: division by zero"


def test_alertmanager_has_templates_of_its_own(stream):
    with pytest.raises(StreamError) as error:
        stream({**HOOK, "to": "alertmanager"})

    assert str(error.value) == (
        "route shift: Alertmanager has templates of its own: leave template out"
    )
