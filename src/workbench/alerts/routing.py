"""Which alerts go by a route, and what they are grouped by: known from what never changes of one.

Kind, sensor and start are the same whenever an alert is sent, so that what opens and what closes it
always go the same way.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeAlias
from unicodedata import normalize
from zoneinfo import ZoneInfo

from workbench.errors import AlertsError
from workbench.stream import SEVERITIES, USUAL_SEVERITY, Route, Stream
from workbench.times import instant_ms

Alert: TypeAlias = Mapping[str, Any]
"""An alert as its message has it: docs/stream-file.md, "An alert"."""

_NEEDED = ("id", "sensor", "kind", "status", "start")
_OPTIONAL = {"peak_score": int | float, "threshold": int | float, "channels": dict, "stop": str}
_DEEPEST = 8  # lists and objects in one another; those of a job are three


def parsed(content: bytes) -> Alert:
    """Return the alert that a message of an alerts topic is; a number that is none is null.

    (NaN and Infinity are no JSON, and a webhook that is sent one refuses the message.)

    Raises
    ------
    AlertsError, TimesError
        If it is none; with what it lacks.
    """
    try:
        value = json.loads(content, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError) as err:
        raise AlertsError(f"a message of the alerts topic is no JSON: {err}") from err
    return checked(value)


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def checked(content: object) -> Alert:
    """Return the content of a message of an alerts topic, if it is an alert.

    Raises
    ------
    AlertsError
        If it is none; with what it lacks.
    """
    if not isinstance(content, dict):
        raise AlertsError(f"a message of the alerts topic holds {type(content).__name__}")
    _check_text(content)
    for name in _NEEDED:
        if not isinstance(content.get(name), str):
            raise AlertsError(f"a message of the alerts topic has no {name!r}, it is no alert")
    if not content["id"]:
        raise AlertsError("an alert's id is empty, which no job writes")
    if content["status"] not in ("open", "closed"):
        raise AlertsError(f"alert {content['id']} is {content['status']!r}, not open or closed")
    _check_optional(content)
    for name in ("start", "stop"):
        instant_ms(content[name])
    return content


def _check_text(content: dict[str, Any]) -> None:
    """Refuse what no file and no message can hold."""
    if _is_deeper(content, _DEEPEST):
        raise AlertsError(f"an alert is nested deeper than {_DEEPEST}, which no job writes")
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError as err:
        half = ascii(err.object[err.start : err.end])
        raise AlertsError(f"an alert holds half a character, {half}") from err


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


def _check_optional(content: dict[str, Any]) -> None:
    """Refuse what would fail later, in a message; what an alert does not say is null."""
    values = {name: content.setdefault(name, None) for name in _OPTIONAL}
    values["reason"] = content.get("reason")  # an alert of drift has one
    wrong = [
        (name, value)
        for name, value in values.items()
        if value is not None and not isinstance(value, _OPTIONAL.get(name, str))
    ]
    channels = content["channels"] if isinstance(content["channels"], dict) else {}
    wrong += [
        (f"channel {name}", value)
        for name, value in channels.items()
        if not isinstance(value, int | float | None)
    ]
    wrong += [
        (name, value)
        for name, value in [*values.items(), *channels.items()]
        if isinstance(value, int) and not _is_number(value)
    ]
    wrong += [("a contribution", part) for part in _parts(content) if not _is_contribution(part)]
    if wrong:
        name, value = wrong[0]
        raise AlertsError(f"alert {content['id']}: {name} is {value!r}, which no job writes")


def _parts(content: dict[str, Any]) -> list[Any]:
    parts = content.get("contributions")
    return parts if isinstance(parts, list) else [] if parts is None else [repr(parts)]


def _is_contribution(part: object) -> bool:
    return (
        isinstance(part, dict)
        and isinstance(part.get("channel"), str)
        and isinstance(part.get("direction"), str)
        and _is_number(part.get("share"))
        and (part.setdefault("expected", None) is None or _is_number(part["expected"]))
    )


def _is_number(value: object) -> bool:
    """Tell whether it is a number that a double holds."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 1000)


def severity(stream: Stream, alert: Alert) -> str:
    """Return how severe the stream file calls this kind of alert."""
    return stream.severities.get(alert["kind"], USUAL_SEVERITY)


def takes(stream: Stream, route: Route, alert: Alert) -> bool:
    """Tell whether an alert goes by a route; one of another stream on the topic goes by none."""
    least = SEVERITIES.index(route.least)
    return (
        is_of(stream, alert)
        and (not route.kinds or alert["kind"] in route.kinds)
        and bool(_pattern(route.sensors).fullmatch(normalize("NFC", alert["sensor"])))
        and SEVERITIES.index(severity(stream, alert)) >= least
        and (not route.hours or _within(route, alert["start"]))
    )


def is_of(stream: Stream, alert: Alert) -> bool:
    """Tell whether a stream said it: several may share a topic of alerts."""
    return alert.get("stream") in (None, stream.name)


@cache
def _pattern(text: str) -> re.Pattern[str]:
    """Return what a pattern of names takes: `*` and `?` mean something, all else is itself.

    Examples
    --------
    >>> [bool(_pattern("pump[1]?").fullmatch(name)) for name in ("pump[1]a", "pump1a")]
    [True, False]
    """
    parts = {"*": ".*", "?": "."}
    written = "".join(parts.get(each) or re.escape(each) for each in normalize("NFC", text))
    return re.compile(written, re.DOTALL)


def _within(route: Route, start: str) -> bool:
    first, last = route.hours.split("-")
    try:
        moment = dt.datetime.fromtimestamp((instant_ms(start) or 0) / 1000, ZoneInfo(route.zone))
    except OverflowError:  # there, the year is before 1 or after 9999
        return True
    clock = f"{moment:%H:%M}"
    if first <= last:
        return first <= clock < last
    return clock >= first or clock < last


def machine(route: Route, sensor: str) -> str:
    """Return the machine that a sensor belongs to; itself where the route knows none.

    Examples
    --------
    >>> machine(Route("webhook", "http://a", machines=r"^line-\\d+"), "line-7-pump-2")
    'line-7'
    >>> machine(Route("webhook", "http://a"), "pump-2")
    'pump-2'
    """
    match = re.search(route.machines, sensor) if route.machines else None
    if match is None:
        return sensor
    return (match[1] if match.re.groups else match[0]) or sensor


__all__ = ["Alert", "checked", "is_of", "machine", "parsed", "severity", "takes"]
