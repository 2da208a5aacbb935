"""Routes of a stream file: what is taken, what is refused, which alerts go by one."""

import pytest

from workbench.alerts import takes
from workbench.errors import StreamError
from workbench.stream import parse_stream

NIGHT = {"hours": "01:00-03:00", "zone": "Europe/Berlin"}
HOOK = {"to": "webhook", "url": "https://plant.example/alerts"}


def test_a_file_of_the_same_routes_is_made_of_a_stream(stream):
    route = {**HOOK, "secret": "${S}", "kinds": ["high"], "hours": "22:00-06:00", "every_s": 5}
    definition = stream(route)

    assert definition.content()["routes"] == {"shift": route}
    assert parse_stream("plant", definition.content()) == definition


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"too": 1}, "route shift has no key 'too'\n  did you mean 'to'?"),
        ({"to": "webhok"}, "route shift goes to 'webhok'\n  did you mean 'webhook'?"),
        ({"kinds": ["hgh"]}, "route shift: the stream has no alerts of kind 'hgh'\n"
                             "  did you mean 'high'?"),
        ({"least": "bad"}, "route shift: least is 'bad', expected info, warning, critical"),
        ({"hours": "6-22"}, "route shift: hours is '6-22', expected as 06:00-22:00"),
        ({"hours": "06:00-24:30"}, "route shift: hours is '06:00-24:30', expected as 06:00-22:00"),
        ({"hours": "06:00-06:00"}, "route shift: hours is '06:00-06:00', a span without a length: "
                                   "no alert begins in it\n  leave hours out for the whole day"),
        ({"sensors": ""}, "route shift: sensors is '', which no sensor is called\n  * is all"),
        ({"zone": "Europe/Nowhere"}, "route shift: there is no time zone 'Europe/Nowhere'\n"
                                     "  as Europe/Berlin"),
        ({"machines": "("}, "route shift: machines is no regular expression: "
                            "missing ), unterminated subpattern at position 0"),
        ({"tries": 0}, "route shift: tries is 0, expected 1 to 100000"),
        ({"every_s": float("nan")}, "route shift: every_s is nan, expected 0 to 86400"),
        ({"url": 5}, "route shift: url is not a text"),
        ({"url": "ftp://plant.example"}, "route shift: url is no address of http or https"),
    ],
)  # fmt: skip
def test_a_wrong_route_is_refused(stream, change, said):
    with pytest.raises(StreamError) as error:
        stream({**HOOK, **change})

    assert str(error.value) == said


@pytest.mark.parametrize(
    "change",
    [
        {"secret": "hunter2"},
        {"url": "https://me:hunter2@plant.example"},
        {"to": "apprise", "url": "slack://hunter2"},
        {"url": ["https://me:hunter2@plant.example"]},
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(stream, change):
    with pytest.raises(StreamError) as error:
        stream({**HOOK, **change})

    assert "hunter2" not in str(error.value)


def test_no_route_has_its_journal_where_answers_are_kept(stream):
    with pytest.raises(StreamError) as error:
        stream(HOOK, routes={"answers": HOOK})

    assert str(error.value) == (
        "no route is called 'answers': its journal would be the file of those"
    )


@pytest.mark.parametrize("missing", ["to", "url"])
def test_a_route_without_a_target_is_refused(stream, missing):
    with pytest.raises(StreamError, match=f"^route shift has no '{missing}'$"):
        stream({key: value for key, value in HOOK.items() if key != missing})


@pytest.mark.parametrize(
    ("severities", "said"),
    [
        ({"hgh": "info"}, "severities: the stream has no alerts of kind 'hgh'"),
        ({"high": "bad"}, "severity of high is 'bad', expected info, warning, critical"),
    ],
)
def test_a_wrong_severity_is_refused(stream, severities, said):
    with pytest.raises(StreamError) as error:
        stream(HOOK, severities=severities)

    assert error.value.message == said


@pytest.mark.parametrize(
    ("filters", "changes", "taken"),
    [
        ({}, {}, True),
        ({"kinds": ["high"]}, {}, False),
        ({"kinds": ["high"]}, {"kind": "high"}, True),
        ({"sensors": "line-1-*"}, {}, True),
        ({"sensors": "line-2-*"}, {}, False),
        ({"sensors": "LINE-1-*"}, {}, False),
        ({"least": "critical"}, {}, False),  # what is not named is a warning
        ({"least": "critical"}, {"kind": "high"}, True),
        ({"least": "warning"}, {"kind": "clock"}, False),
        ({"hours": "06:00-22:00"}, {}, True),  # it begins at 06:30 UTC
        ({"hours": "06:30-06:31"}, {}, True),
        ({"hours": "06:00-06:30"}, {}, False),  # half open
        ({"hours": "22:00-06:31"}, {}, True),  # over midnight
        ({"hours": "22:00-06:30"}, {}, False),
        ({"hours": "07:00-08:00", "zone": "Europe/Berlin"}, {}, True),  # 07:30 there
        ({"hours": "22:00-24:00"}, {"start": "2026-01-15T23:59:59.999Z"}, True),
        ({**NIGHT}, {"start": "2026-03-29T00:59Z"}, True),  # the clock goes from 02:00 to 03:00
        ({**NIGHT}, {"start": "2026-03-29T01:00Z"}, False),
        ({**NIGHT}, {"start": "2026-10-25T00:30Z"}, True),  # 02:30, of summer
        ({**NIGHT}, {"start": "2026-10-25T01:30Z"}, True),  # and again, of winter
        ({**NIGHT}, {"start": "2026-10-25T02:00Z"}, False),
        ({**NIGHT}, {"start": "9999-12-31T23:59:59Z"}, True),  # not told there what hour it is
        ({"sensors": "pump[1]"}, {"sensor": "pump[1]"}, True),
        ({"sensors": "pump[1]"}, {"sensor": "pump1"}, False),
        ({"sensors": "p.mp+(?"}, {"sensor": "p.mp+(1"}, True),
        ({"sensors": "p.mp*"}, {"sensor": "pump"}, False),
        ({"sensors": "K\u00fchler *"}, {"sensor": "Ku\u0308hler 1"}, True),  # written in two ways
        ({"sensors": "K?hler"}, {"sensor": "Ku\u0308hler"}, True),
        ({"sensors": "pump*"}, {"sensor": "pump\n1"}, True),
        ({}, {"stream": "other"}, False),  # on the same topic
        ({}, {"stream": None}, True),
    ],
)
def test_a_route_takes_what_its_filters_say(stream, alert, filters, changes, taken):
    definition = stream({**HOOK, **filters})

    for status in ("open", "closed"):
        assert takes(definition, definition.routes["shift"], alert(1, status, **changes)) is taken
