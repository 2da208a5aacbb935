"""What a schema registry has of an id: asked once, as an id stands for the same schema for ever.

`WORKBENCH_SCHEMA_REGISTRY` is its address; of Apicurio, that of its Confluent-compatible API.

Source: Confluent Schema Registry API Reference, `GET /schemas/ids/{id}`: `schema` as text,
`schemaType` unless it is AVRO, `references` if it has some; error 40403 where there is no such id.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from workbench.endpoints import endpoints
from workbench.errors import ReplayError

_ANSWER_S = 10.0
_NO_SCHEMA = 40403
_UNKNOWN = 100  # ids of a read that the registry may lack: each is a request
VARIABLE = "WORKBENCH_SCHEMA_REGISTRY"


def definitions(ids: Iterable[int]) -> dict[int, Any]:
    """Return the Avro schemas of some ids, as JSON, by id; those that the registry lacks are not.

    Raises
    ------
    ReplayError
        If no registry is known, it does not answer or refuses, lacks more than 100 of the ids, or
        a schema is none of Avro or refers to others.
    """
    address = registry()
    stored: dict[int, Any] = {}
    unknown = 0
    for number in sorted(ids):
        if text := _stored(address, number):
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
    import requests

    url = f"{address}/schemas/ids/{number}"
    user, _, password = endpoints().schema_registry_login.partition(":")
    try:
        answer = requests.get(
            url, auth=(user, password) if user else None, timeout=_ANSWER_S, allow_redirects=False
        )
        content = answer.json() if answer.status_code in (200, 404) else None
    except (requests.RequestException, ValueError) as err:
        why = type(err).__name__
        raise ReplayError(f"the schema registry does not answer: {why}", where=url) from err
    if not isinstance(content, dict):
        raise ReplayError(f"the schema registry refuses with {answer.status_code}", where=url)
    if answer.status_code != 200:
        if content.get("error_code") == _NO_SCHEMA:
            raise LookupError(number)
        raise ReplayError(
            "there is no schema registry",
            where=url,
            hint="of Apicurio, the address ends with /apis/ccompat/v7",
        )
    return _text(content, url)


def _text(content: dict[str, Any], url: str) -> str:
    kind = content.get("schemaType", "AVRO")
    if kind != "AVRO" or content.get("references"):
        what = "refers to other schemas" if kind == "AVRO" else f"is {kind}"
        raise ReplayError(f"the schema {what}, expected Avro that stands alone", where=url)
    try:
        json.loads(content["schema"])
    except (KeyError, TypeError, ValueError, RecursionError) as err:
        raise ReplayError("the schema registry gives no schema", where=url) from err
    return str(content["schema"])


__all__ = ["VARIABLE", "definitions", "registry"]
