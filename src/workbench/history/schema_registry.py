"""What a schema registry has of an id: asked once, as an id stands for the same schema for ever.

`WORKBENCH_SCHEMA_REGISTRY` is its address; of Apicurio, that of its Confluent-compatible API.

Source: Confluent Schema Registry API Reference, `GET /schemas/ids/{id}`: `schema` as text,
`schemaType` unless it is AVRO, `references` if it has some; error 40403 where there is no such id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache
from itertools import accumulate
from typing import Any
from urllib.parse import urlsplit

from workbench.endpoints import endpoints
from workbench.errors import ReplayError

_ANSWER_S = 10.0
_NO_SCHEMA = 40403
_MOST_BYTES = 4 << 20  # of an answer
_LEVELS = 1000  # of lists and objects in a schema's JSON, as in the job
_DIGITS = 1000  # of a number in it, as in the job
_UNKNOWN = 100  # ids of a read that the registry may lack: each is a request
VARIABLE = "WORKBENCH_SCHEMA_REGISTRY"


class UnreadableSchemaError(ReplayError):
    """That no value can be read by a schema: it is no Avro, no JSON, or refers to others."""


def definitions(ids: Iterable[int], unreadable: dict[int, str] | None = None) -> dict[int, Any]:
    """Return the Avro schemas of some ids, as JSON, by id; those that the registry lacks are not.

    Parameters
    ----------
    unreadable
        Takes why no value can be read by a schema, by id; None: such a one is an error.

    Raises
    ------
    ReplayError
        If no registry is known, it does not answer or refuses, or lacks more than 100 of the ids.
    UnreadableSchemaError
        If a schema is none of Avro or refers to others.
    """
    address = registry()
    stored: dict[int, Any] = {}
    unknown = 0
    for number in sorted(ids):
        try:
            text = _stored(address, number)
        except UnreadableSchemaError as err:
            if unreadable is None:
                raise
            unreadable[number] = err.message
            continue
        if text:
            stored[number] = json.loads(text)
        elif (unknown := unknown + 1) > _UNKNOWN:
            raise ReplayError(
                f"the schema registry has none of {_UNKNOWN} ids and more that values name",
                where=address,
                hint="values that begin with 0 and are no Avro, or another registry's",
            )
    return stored


def registry() -> str:
    """Return the registry's address.

    Raises
    ------
    ReplayError
        If none is known, or the address is none of a server or holds a password.
    """
    address = endpoints().schema_registry.rstrip("/")
    if not address:
        raise ReplayError("no schema registry is known", hint=f"{VARIABLE}=http://HOST:PORT")
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        raise ReplayError(
            f"{shown} is not the address of a schema registry alone",
            where=VARIABLE,
            hint=f"http(s)://HOST:PORT; user and password are {VARIABLE}_LOGIN",
        )
    return address


def _stored(address: str, number: int) -> str:
    """Return the text of a schema; empty: there is none."""
    try:
        return _fetched(address, number)
    except LookupError:  # not kept: it may be registered yet
        return ""


@cache
def _fetched(address: str, number: int) -> str:
    url = f"{address}/schemas/ids/{number}"
    status, body = _answer(url)
    try:
        content = json.loads(body) if status in (200, 404) else None
    except (ValueError, RecursionError) as err:
        why = type(err).__name__
        raise ReplayError(f"the schema registry does not answer: {why}", where=url) from err
    if not isinstance(content, dict):
        raise ReplayError(f"the schema registry refuses with {status}", where=url)
    if status != 200:
        if content.get("error_code") == _NO_SCHEMA:
            raise LookupError(number)
        raise ReplayError(
            "there is no schema registry",
            where=url,
            hint="of Apicurio, the address ends with /apis/ccompat/v7",
        )
    return _text(content, url)


def _answer(url: str) -> tuple[int, bytes]:
    """Return status and body, of which no more is taken than an answer may have."""
    import requests

    user, _, password = endpoints().schema_registry_login.partition(":")
    login = (user, password) if user else None
    body = bytearray()
    try:
        with requests.get(
            url, auth=login, timeout=_ANSWER_S, allow_redirects=False, stream=True
        ) as answer:
            for part in answer.iter_content(1 << 16):
                body += part
                if len(body) > _MOST_BYTES:
                    break
    except requests.RequestException as err:
        why = type(err).__name__
        raise ReplayError(f"the schema registry does not answer: {why}", where=url) from err
    if len(body) > _MOST_BYTES:
        what = f"the schema registry gives more than {_MOST_BYTES} bytes"
        raise ReplayError(what, where=url)
    return answer.status_code, bytes(body)


def _text(content: dict[str, Any], url: str) -> str:
    text, kind = content.get("schema"), content.get("schemaType")
    if not isinstance(text, str):
        raise ReplayError("the schema registry gives no schema", where=url)
    if kind not in (None, "AVRO") or content.get("references"):
        what = "refers to other schemas" if kind in (None, "AVRO") else f"is {kind}"
        raise UnreadableSchemaError(
            f"the schema {what}, expected Avro that stands alone", where=url
        )
    if excess := _excess(text):
        raise UnreadableSchemaError(f"the JSON of the schema {excess}", where=url)
    try:
        json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as err:
        raise UnreadableSchemaError(f"the schema is no JSON: {err}", where=url) from err
    return text


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is none of its numbers")  # Python takes it


def _excess(text: str) -> str:
    """Return what a JSON has too much of, before it is made; empty: nothing."""
    marks = re.findall(r'"(?:[^"\\]|\\.)*"|[\[{\]}]|[0-9]+', text)
    steps = ((mark in "[{") - (mark in "]}") for mark in marks if len(mark) == 1)
    if max(accumulate(steps), default=0) > _LEVELS:
        return f"is nested more than {_LEVELS} levels deep"
    if any(len(mark) > _DIGITS and mark[0] != '"' for mark in marks):
        return f"has a number of more than {_DIGITS} digits"
    return ""


__all__ = ["VARIABLE", "UnreadableSchemaError", "definitions", "registry"]
