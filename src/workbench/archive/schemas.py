"""The schemas of a topic's values: they are not in the bucket.

Kept as `schemas.json` beside the objects: full topic name (without partition) to a list of
`{"version": 0, "type": "AVRO", "schema": ...}`, ascending by version; the schema is the text that
the broker's REST API gives, or the JSON it stands for.

Source: apache/pulsar 4.0.8, SchemasResourceBase.getAllSchemas, SchemaType.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from workbench.archive.catalogue import split_partition
from workbench.archive.store import Store
from workbench.errors import ArchiveError

FILE = "schemas.json"


@dataclass(frozen=True)
class Schema:
    """One version of a topic's schema.

    Attributes
    ----------
    version
        From 0; a message names it by 8 bytes, big-endian.
    type
        JSON, AVRO, STRING, BYTES, KEY_VALUE, INT32, ... as Pulsar spells them.
    definition
        The Avro record for JSON and AVRO, {"key": ..., "value": ...} for KEY_VALUE, else None.
    properties
        As the broker keeps them.
    """

    version: int
    type: str
    definition: Any = None
    properties: dict[str, str] = field(default_factory=dict)


def parse_schemas(stored: Any, *, where: str) -> dict[str, list[Schema]]:
    """Return the schemas of every topic in the content of a `schemas.json`.

    Raises
    ------
    ArchiveError
        If it is not topics with lists of version, type and schema.
    """
    try:
        return {
            split_partition(topic)[0]: sorted(
                (parse_schema(one) for one in versions), key=lambda schema: schema.version
            )
            for topic, versions in stored.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as err:
        raise ArchiveError(
            f"not a list of schemas for every topic: {type(err).__name__} {err}",
            where=where,
            hint='expected {"persistent://tenant/ns/topic": [{"version": 0, "type": "JSON", '
            '"schema": {...}}]}',
        ) from err


def parse_schema(stored: dict[str, Any]) -> Schema:
    """Return one schema, from `schemas.json` or from the REST API (where it is `data`)."""
    text = stored["schema"] if "schema" in stored else stored.get("data")
    if isinstance(text, str):
        text = json.loads(text) if text.strip() not in ("", "null") else None
    kind = str(stored["type"]).upper()
    return Schema(int(stored["version"]), kind, text, dict(stored.get("properties") or {}))


def read_schemas(store: Store, keys: set[str]) -> dict[str, list[Schema]]:
    """Return what `schemas.json` in the store says; nothing if there is none."""
    if FILE not in keys:
        return {}
    try:
        stored = json.loads(store.read(FILE))
    except ValueError as err:
        raise ArchiveError(f"not JSON: {err}", where=FILE) from err
    return parse_schemas(stored, where=FILE)


def load_schemas(source: str | Mapping[str, Any]) -> dict[str, list[Schema]]:
    """Return the schemas in a file, or in the content of one.

    Raises
    ------
    ArchiveError
        If the file is not there or is no `schemas.json`.
    """
    if isinstance(source, Mapping):
        return parse_schemas(source, where="schemas")
    try:
        return parse_schemas(json.loads(Path(source).read_text(encoding="utf-8")), where=source)
    except (OSError, ValueError) as err:
        raise ArchiveError(f"cannot read the schemas: {err}", where=source) from err


def fetch_schemas(admin: str, topics: list[str], *, token: str = "") -> dict[str, Any]:
    """Return the content of a `schemas.json`: every version of each topic, from a broker's REST.

    Parameters
    ----------
    admin
        The broker's admin address, as http://127.0.0.1:8080.
    topics
        Full names; those without a schema are left out.
    token
        JSON web token, where the broker wants one.

    Raises
    ------
    ArchiveError
        If the broker does not answer, or refuses.
    """
    import requests

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    found = {}
    for topic in topics:
        *spaces, local = topic.partition("://")[2].split("/")
        path = "/".join([*spaces, quote_plus(local)])
        url = f"{admin.rstrip('/')}/admin/v2/schemas/{path}/schemas"
        try:
            answer = requests.get(url, headers=headers, timeout=30)
            if answer.status_code == 404:
                continue
            answer.raise_for_status()
            versions = answer.json()["getSchemaResponses"]
        except (requests.RequestException, ValueError, KeyError) as err:
            raise ArchiveError(f"no schemas from the broker: {err}", where=url) from err
        if versions:
            found[topic] = [_stored(one) for one in versions]
    return found


def _stored(one: dict[str, Any]) -> dict[str, Any]:
    schema = parse_schema(one)
    return {
        "version": schema.version,
        "type": schema.type,
        "schema": schema.definition,
        "properties": schema.properties,
    }
