"""What Python's `json` reads, as Arrow takes it: one function per type of the schema.

Java's Jackson writes NaN and infinities as text, decimals as numbers of any length, and the times
of `java.time` as seconds with nine digits behind the point, or as lists: [2024, 1, 1].

Source: fasterxml jackson-datatype-jsr310, InstantSerializerBase, LocalDateSerializer,
LocalTimeSerializer, LocalDateTimeSerializer, with their defaults; DecimalUtils.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from workbench.archive.values.avro.arrow_types import MOST_DIGITS, arrow_type, is_text, narrowed
from workbench.archive.values.avro.objects import decimal
from workbench.archive.values.avro.schema import Type
from workbench.archive.values.grid import bounds

Convert = Callable[[Any], Any]
# an Instant of Jackson, never a number of ms; E within a microsecond of 1970
_SECONDS = re.compile(r"-?(\d+\.\d{9}|0\.0|\d(\.\d+)?E-[789])")
_NO_NUMBERS = ("NaN", "Infinity", "-Infinity")  # as Jackson writes them, in text
_PER_SECOND = {"millis": 10**3, "micros": 10**6, "nanos": 10**9}
_EPOCH = dt.date(1970, 1, 1).toordinal()
_DAYS_OF_400_YEARS = 146_097


class Literal(float):
    """A number with a point or an exponent; `text` is as it was written."""

    text: str

    def __new__(cls, text: str) -> Literal:
        """Return the number that the text stands for."""
        number = super().__new__(cls, text)
        number.text = text
        return number


class Unwritten(Exception):  # noqa: N818 - no error: the value is to be read again
    """A number is needed as it was written, and came as a float."""


def converter(kind: Type, name: str) -> Convert:
    """Return what turns a value that `json` read into what Arrow takes.

    The function raises ValueError where the value does not fit; `name` is the field's, for that.
    It raises Unwritten where numbers are to be read as `Literal`s: that doubles the time of
    `json.loads` (64 and 137 us for an object with 22 of them), so it is done only then.
    """
    text = is_text(kind)
    convert = _to_json if text else _converter(narrowed(kind), name)
    return lambda value: None if value is None else convert(value)


def _converter(kind: Type, name: str) -> Convert:
    if kind.kind == "record":
        return _record(kind, name)
    if kind.kind == "map" and kind.items is not None:
        item = converter(kind.items, f"{name}{{}}")
        return lambda value: [
            (_without_surrogates(key), item(part))
            for key, part in _only(value, dict, name, "an object").items()
        ]
    if kind.kind == "array" and kind.items is not None:
        item = converter(kind.items, f"{name}[]")
        return lambda value: [item(part) for part in _only(value, list, name, "a list")]
    if kind.logical == "decimal":
        return lambda value: _decimal(value, kind, name)
    if kind.kind in ("int", "long"):
        least, most = bounds(arrow_type(kind))
        bits = 32 if kind.kind == "int" else 64
        return lambda value: _whole(_from_java(value, kind, name), least, most, bits, name)
    simple: dict[str, Convert] = {
        "float": lambda value: _float(value, name),
        "double": lambda value: _double(value, name),
        "boolean": lambda value: _only(value, bool, name, "a boolean"),
        "bytes": lambda value: _bytes(value, None, name),
        "fixed": lambda value: _bytes(value, kind.size, name),
        "null": lambda value: _only(value, type(None), name, "null"),
    }
    return simple.get(kind.kind, _to_text)


def _record(kind: Type, name: str) -> Convert:
    parts = {part.name: converter(part.type, f"{name}.{part.name}") for part in kind.fields}

    def record(value: Any) -> dict[str, Any]:
        inner = _only(value, dict, name, "an object")
        return {part: convert(inner[part]) for part, convert in parts.items() if part in inner}

    return record


def _only(value: Any, kind: type, name: str, expected: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"field {name} is {value!r}, expected {expected}")
    return value


def _to_text(value: Any) -> str | None:
    """Return a text, a whole number's digits, another number as written, other values as JSON."""
    if isinstance(value, str):
        return _without_surrogates(value)
    if not isinstance(value, float):
        return _to_json(value)
    if not math.isfinite(value):
        return None
    if value.is_integer() and abs(value) < 2**63:
        return str(int(value))
    return _written(value)


def _written(value: float) -> str:
    if not isinstance(value, Literal):
        raise Unwritten
    return value.text


def _to_json(value: Any) -> str:
    return _without_surrogates(json.dumps(value, ensure_ascii=False))


def _without_surrogates(value: str) -> str:
    """Return text without lone halves of surrogate pairs, which UTF-8 cannot hold."""
    if value.isascii():
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _double(value: Any, name: str) -> float:
    if isinstance(value, str) and value in _NO_NUMBERS:
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"field {name} is {value!r}, expected a number")
    try:
        return float(value)
    except OverflowError:  # a whole number of more than 308 digits: infinite, as 1e400 is
        return math.inf if value > 0 else -math.inf


def _float(value: Any, name: str) -> float:
    """Return a double that is narrowed to the float nearest to what was written.

    Of a text that is no double, the nearest double may lie in the middle between two floats: it
    does not tell which is nearer. Java's Float.parseFloat reads the text.
    """
    nearest = _double(value, name)
    if not _is_between_floats(nearest):
        return nearest
    exact = Decimal(_written(value) if isinstance(value, float) else value)
    if exact == nearest:
        return nearest
    return math.nextafter(nearest, math.inf if exact > nearest else -math.inf)


def _is_between_floats(value: float) -> bool:
    """Return whether a double is just in the middle between two floats."""
    unit = 2.0**150 if abs(value) < 2.0**-126 else math.ldexp(1.0, 25 - math.frexp(value)[1])
    return value * unit % 2 == 1


def _bytes(value: Any, size: int | None, name: str) -> bytes:
    text = _only(value, str, name, "base64 text")
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError as err:
        raise ValueError(f"field {name} is {value!r}, expected base64 text: {err}") from err
    if size is not None and len(raw) != size:
        raise ValueError(f"field {name} has {len(raw)} bytes, expected {size}")
    return raw


def _decimal(value: Any, kind: Type, name: str) -> Decimal | bytes:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"field {name} is {value!r}, expected a number")
    try:
        number = Decimal(_written(value) if isinstance(value, float) else value)
    except InvalidOperation as err:  # an exponent beyond what `decimal` counts
        raise ValueError(f"field {name} is {value!r}, expected a number") from err
    if not number.is_finite():
        raise ValueError(f"field {name} is {value!r}, expected a number")
    _, digits, exponent = number.as_tuple()
    shift = int(exponent) + kind.scale
    if number.adjusted() + kind.scale > kind.precision or shift < -len(digits):
        raise ValueError(f"field {name} is {number}, expected at most {kind.precision} digits")
    unscaled, rest = divmod(int("".join(map(str, digits))), 10 ** max(-shift, 0))
    if rest:
        raise ValueError(f"field {name} is {number}, expected {kind.scale} digits after the point")
    unscaled *= 10 ** max(shift, 0)
    unscaled = -unscaled if number.is_signed() else unscaled
    if kind.precision <= MOST_DIGITS:
        return decimal(unscaled, kind)
    # bytes, as Avro has them
    raw: bytes = unscaled.to_bytes(kind.size or unscaled.bit_length() // 8 + 1, "big", signed=True)
    return raw


def _whole(value: Any, least: int, most: int, bits: int, name: str) -> int | None:
    is_missing = isinstance(value, float) and not math.isfinite(value)
    if is_missing or value in _NO_NUMBERS:
        return None
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not is_whole or not least <= value <= most:
        raise ValueError(f"field {name} is {value!r}, expected a whole number of {bits} bits")
    return int(value)


def _from_java(value: Any, kind: Type, name: str) -> Any:
    """Return the number that a time stands for, where Jackson wrote one of `java.time`."""
    if not kind.logical:
        return value
    per_second = _PER_SECOND.get(kind.logical.rpartition("-")[2], 0)
    is_instant = kind.logical.startswith("timestamp-")
    if is_instant and isinstance(value, float) and _SECONDS.fullmatch(_written(value)):
        return _instant(_written(value), name) * per_second // 10**9
    if not isinstance(value, list) or not all(type(part) is int for part in value):
        return value
    if kind.logical == "date" and len(value) == 3:
        return _days(*value)
    if kind.logical.startswith("time-") and 2 <= len(value) <= 4:
        return _of_day(value, per_second)
    if kind.logical.startswith("local-") and 5 <= len(value) <= 7:
        return _days(*value[:3]) * 86_400 * per_second + _of_day(value[3:], per_second)
    return value


def _instant(text: str, name: str) -> int:
    """Return the nanoseconds since 1970 of an Instant that Jackson wrote in seconds.

    Of -2.995 s, which java.time counts as -3 s and 0.005 s, Jackson made -3.005000000 up to 2.20
    (Pulsar 4.0.8 has 2.17), and -2.995000000 since.
    """
    seconds, _, fraction = text.partition(".")
    if seconds.startswith("-") and seconds != "-0" and fraction.isdigit() and int(fraction):
        raise ValueError(
            f"field {name} is {text}, before 1970: Jackson up to 2.20 and later ones mean "
            "another instant by it, and which wrote it is not known"
        )
    return int(Decimal(text).scaleb(9))


def _days(year: int, month: int, day: int) -> int:
    """Return the days from 1970-01-01 to a day of any year, as Java's calendar has it."""
    turns = (year - 2000) // 400  # after which the calendar is the same; `datetime` ends in 9999
    same = dt.date(year - 400 * turns, month, day)
    return same.toordinal() - _EPOCH + turns * _DAYS_OF_400_YEARS


def _of_day(parts: list[int], per_second: int) -> int:
    hour, minute, second, nano = [*parts, 0, 0][:4]
    dt.time(hour, minute, second)  # raises where there is no such time
    if not 0 <= nano < 10**9:
        raise ValueError(f"{nano} is no nanosecond of a second")
    return ((hour * 60 + minute) * 60 + second) * per_second + nano * per_second // 10**9
