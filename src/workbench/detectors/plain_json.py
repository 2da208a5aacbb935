"""JSON from outside, read strictly and within a budget that is checked before anything is made."""

from __future__ import annotations

import json
import math
from typing import Any

MOST_ITEMS = 50_000  # names, values and brackets in a document: read in some 20 ms
MOST_CHARACTERS = 16_384  # from one quotation mark to the next: of a text, or a list of numbers
_MOST_ESCAPES = 200_000  # characters of texts that are written with a backslash
_MOST_DIGITS = 19  # of a whole number: 64 bits


def parse(content: bytes) -> Any:
    """Return what a JSON document says.

    Raises
    ------
    ValueError
        If it is no JSON, says a name twice in one object, holds a number that is not finite or
        has more than 64 bits, a text that is no Unicode, or more than the budget allows.
        (RecursionError, if it is nested too deep.)

    Examples
    --------
    >>> parse(b'{"a": 1e999}')
    Traceback (most recent call last):
    ValueError: 1e999 is no finite number
    """
    items = sum(content.count(mark) for mark in (b",", b"[", b"{"))
    if items > MOST_ITEMS:
        raise ValueError(f"it holds some {items} items, at most {MOST_ITEMS}")
    escapes = content.count(b"\\")
    if escapes > _MOST_ESCAPES:
        raise ValueError(f"it holds {escapes} escapes, at most {_MOST_ESCAPES}")
    longest = max(map(len, content.split(b'"')))
    if longest > MOST_CHARACTERS:
        raise ValueError(f"it holds a text of {longest} bytes, at most {MOST_CHARACTERS}")
    document = json.loads(
        content,
        parse_int=_whole,
        parse_float=_finite,
        parse_constant=_finite,
        object_pairs_hook=_once,
    )
    json.dumps(document, ensure_ascii=False).encode()  # refuses half a surrogate pair
    return document


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a whole number has {len(text)} digits, at most {_MOST_DIGITS}")
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"{text[:_MOST_DIGITS]} is no finite number")
    return float(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return members
