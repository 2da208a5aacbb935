"""Readings out of messages, one at a time, by the rules of `java/ReadingParser`."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from workbench.archive import Literal, Type, converter
from workbench.stream.definition.stream_file import Stream
from workbench.stream.frames import FIRST_MS, LAST_MS
from workbench.stream.function.memory import Expressions, Reading


def parse(
    stream: Stream,
    message: bytes,
    message_id: str,
    times_ms: tuple[int, int],
    derived: Expressions | None = None,
) -> Reading:
    """Return the reading in a message, its measured channels in order.

    Parameters
    ----------
    times_ms
        Event and publish time of the message; an event time of 0: it has none.
    derived
        Makes the derived channels; None: there are none.

    Raises
    ------
    ValueError
        If it is no reading of this stream.
    """
    content = json.loads(message.decode("utf-8-sig"), parse_float=Literal)
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    event_ms, publish_ms = times_ms
    named = _value(content, stream.event_time, "long") if stream.event_time else None
    values = {name: _number(content, name) for name in stream.channels}
    if stream.machine:
        _text_field(content, stream.machine)
    sensor = _text_field(content, stream.sensor)
    if not sensor:
        raise ValueError(f"it has no {stream.sensor}")
    if named is None or not FIRST_MS <= named <= LAST_MS:
        named = publish_ms
    moment = event_ms if event_ms > 0 else named
    reading = Reading(message_id, sensor, moment, values)
    if derived is None:
        return reading
    made = dict(zip(stream.derived, derived.of([reading]), strict=True))
    return replace(reading, channels={**values, **made})


def _value(content: dict[str, Any], name: str, kind: str) -> Any:
    return converter(Type(kind), name)(content.get(name))


def _number(content: dict[str, Any], name: str) -> float:
    number = _value(content, name, "double")
    return number if number is not None and math.isfinite(number) else math.nan


def _text_field(content: dict[str, Any], name: str) -> str | None:
    if isinstance(content.get(name), list | dict):
        raise ValueError(f"{name} is a list or an object, not a text")
    text: str | None = _value(content, name, "string")
    return text


__all__ = ["parse"]
