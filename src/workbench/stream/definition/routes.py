"""Routes: to whom the alerts of a stream are sent, which of them, and how often.

    severities: {overpressure: critical, clock: info}     # of each kind; else warning
    routes:
      shift:
        to: webhook                       # webhook, alertmanager, or apprise for all the others
        url: https://plant.example/alerts # or ${NAME}: what the environment says
        secret: ${SHIFT_SECRET}           # signs what is sent to a webhook
        kinds: [episode, overpressure]
        sensors: pump-*
        least: warning
        hours: 06:00-22:00
        zone: Europe/Berlin
        machines: ^line-\\d+               # what it matches of a sensor's name is its machine

A secret never stands in the file: where an address holds one, the file names a variable.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from workbench.errors import StreamError, did_you_mean

SEVERITIES = ("info", "warning", "critical")  # as Prometheus' users call them
USUAL_SEVERITY = "warning"
TARGETS = ("webhook", "alertmanager", "apprise")
HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_MOST_S = 86_400.0
_MOST_TRIES = 100_000
_MOST_PICTURE_S = 60.0


@dataclass(frozen=True)
class Route:
    """One way for alerts to reach people.

    Attributes
    ----------
    to
        `webhook`: JSON, signed; `alertmanager`: Prometheus' own; `apprise`: e-mail, chat, pagers.
    url
        Where to; `${NAME}` is read from the environment when the notifier starts.
    secret
        `${NAME}` of what signs a webhook's messages; empty: they are not signed.
    kinds
        Of alerts: `episode`, `clock`, names of limits and patterns; none: all.
    sensors
        Pattern of their sensors' names: `*` is any text, `?` a character, all else itself.
    least
        Least severity, a name in SEVERITIES.
    hours
        `HH:MM-HH:MM` within which an alert has to begin, over midnight if the first is later.
    zone
        Time zone of `hours`.
    machines
        Regular expression; what it matches of a sensor's name (its first group, if it has one) is
        the machine by which messages are grouped. Empty: every sensor is one.
    wait_s
        How long the first alert of a machine waits for others, seconds.
    every_s
        Least time between two messages about a machine, seconds.
    tries
        How often one alert is tried before it is a dead letter.
    picture_s
        How long a message may wait for a close-up of its alert, seconds; 0: it has none.
    template
        Name of a Jinja file in `streams/` that makes the text; empty: the usual text.
    """

    to: str
    url: str
    secret: str = ""
    kinds: tuple[str, ...] = ()
    sensors: str = "*"
    least: str = SEVERITIES[0]
    hours: str = ""
    zone: str = "UTC"
    machines: str = ""
    wait_s: float = 1.0
    every_s: float = 60.0
    tries: int = 100
    picture_s: float = 0.0
    template: str = ""

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables that it reads from the environment."""
        return tuple(VARIABLE.findall(self.url) + VARIABLE.findall(self.secret))


def parse_severities(section: Mapping[Any, Any], kinds: Collection[str]) -> dict[str, str]:
    """Return the severity of each kind of alert that a stream file names, checked."""
    for kind, severity in section.items():
        _check_known("severities", kind, kinds)
        if severity not in SEVERITIES:
            raise StreamError(
                f"severity of {kind} is {severity!r}, expected {', '.join(SEVERITIES)}"
            )
    return dict(section)


def parse_routes(section: Mapping[Any, Any], kinds: Collection[str]) -> dict[str, Route]:
    """Return the routes of a stream file, checked.

    Parameters
    ----------
    kinds
        Of alerts, that the stream can raise.

    Raises
    ------
    StreamError
        If a key is unknown or missing, or a value is wrong; the message holds no address.
    """
    return {name: _route(name, content, kinds) for name, content in section.items()}


def _route(name: object, content: object, kinds: Collection[str]) -> Route:
    where = f"route {name}"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise StreamError(f"route {name!r} is no name: letters, digits, - and _")
    if name == "answers":
        raise StreamError("no route is called 'answers': its journal would be the file of those")
    if not isinstance(content, dict):
        raise StreamError(f"{where} is {content!r}, expected keys such as to and url")
    _check_keys(where, content)
    route = Route(**{**content, "kinds": tuple(content.get("kinds", ()))})
    _check_target(where, route)
    for kind in route.kinds:
        _check_known(where, kind, kinds)
    _check_filter(where, route)
    for key, most in _MOST.items():
        low = 1 if key == "tries" else 0
        if not low <= getattr(route, key) <= most:
            raise StreamError(
                f"{where}: {key} is {getattr(route, key):g}, expected {low} to {most:g}"
            )
    return route


def _check_keys(where: str, content: dict[Any, Any]) -> None:
    declared = {key.name: key for key in fields(Route)}
    for key, value in content.items():
        if key not in declared:
            raise StreamError(f"{where} has no key {key!r}", hint=did_you_mean(str(key), declared))
        types, meaning = _TYPES[str(declared[key].type)]
        if isinstance(value, bool) or not isinstance(value, types):
            said = "" if key in ("url", "secret") else f" {value!r},"
            raise StreamError(f"{where}: {key} is{said} not {meaning}")
    for key, field in declared.items():
        if field.default is MISSING and key not in content:
            raise StreamError(f"{where} has no {key!r}")


_MOST = {
    "wait_s": _MOST_S,
    "every_s": _MOST_S,
    "tries": _MOST_TRIES,
    "picture_s": _MOST_PICTURE_S,
}
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "a text"),
    "float": ((int, float), "a number of seconds"),
    "int": ((int,), "a whole number"),
    "tuple[str, ...]": ((list,), "a list of kinds"),
}


def _check_target(where: str, route: Route) -> None:
    if route.to not in TARGETS:
        raise StreamError(f"{where} goes to {route.to!r}", hint=did_you_mean(route.to, TARGETS))
    if route.secret and not VARIABLE.fullmatch(route.secret):
        raise StreamError(
            f"{where}: secret does not name a variable",
            hint="no secret stands in a stream file: write ${NAME}, and set NAME where it runs",
        )
    if route.secret and route.to != "webhook":
        raise StreamError(f"{where}: only what is sent to a webhook is signed with a secret")
    if route.picture_s and route.to == "alertmanager":
        raise StreamError(f"{where}: Alertmanager takes no picture", hint="leave picture_s out")
    if route.template and route.to == "alertmanager":
        raise StreamError(f"{where}: Alertmanager has templates of its own: leave template out")
    if VARIABLE.search(route.url):
        return
    parts = urlsplit(route.url)
    if route.to == "apprise" or parts.username or parts.password:
        raise StreamError(
            f"{where}: url may hold a secret",
            hint="write ${NAME}, and set NAME where it runs",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StreamError(f"{where}: url is no address of http or https")


def _check_known(where: str, kind: object, kinds: Collection[str]) -> None:
    if kind not in kinds:
        raise StreamError(
            f"{where}: the stream has no alerts of kind {kind!r}",
            hint=did_you_mean(str(kind), kinds),
        )


def _check_filter(where: str, route: Route) -> None:
    if route.least not in SEVERITIES:
        raise StreamError(f"{where}: least is {route.least!r}, expected {', '.join(SEVERITIES)}")
    if route.hours and (route.hours[6:] > "24:00" or not HOURS.fullmatch(route.hours)):
        raise StreamError(f"{where}: hours is {route.hours!r}, expected as 06:00-22:00")
    if route.hours and route.hours[:5] == route.hours[6:]:
        raise StreamError(
            f"{where}: hours is {route.hours!r}, a span without a length: no alert begins in it",
            hint="leave hours out for the whole day",
        )
    if not route.sensors:
        raise StreamError(f"{where}: sensors is '', which no sensor is called", hint="* is all")
    try:
        ZoneInfo(route.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as err:
        raise StreamError(
            f"{where}: there is no time zone {route.zone!r}", hint="as Europe/Berlin"
        ) from err
    try:
        re.compile(route.machines)
    except re.error as err:
        raise StreamError(f"{where}: machines is no regular expression: {err}") from err


def variables(routes: Mapping[str, Route]) -> Iterator[str]:
    """Yield the names of the variables that routes read."""
    for route in routes.values():
        yield from route.variables


__all__ = [
    "SEVERITIES",
    "USUAL_SEVERITY",
    "VARIABLE",
    "Route",
    "parse_routes",
    "parse_severities",
    "variables",
]
