"""The schemas of a topic's values: they are not in the bucket.

Kept as `schemas.json` beside the objects: full topic name (without partition) to a list of
`{"version": 0, "type": "AVRO", "schema": ...}`, ascending by version; the schema is the text that
the broker's REST API gives, or the JSON it stands for. `timestamp` is when the broker took it,
epoch ms, as far as that is known. Of a topic that was made anew under its name, whose versions
begin at 0 again, those of each life stand there; from the second on they have its number, `life`.

Source: apache/pulsar 4.0.8, SchemasResourceBase.getAllSchemas, SchemaType.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workbench.archive.format.index import split_partition
from workbench.archive.storage.small_reads import SmallReads
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
    registered_ms
        When the broker took it, epoch ms; 0: not known.
    life
        Of the topic whose schema it is, from 0: one made anew under its name counts from 0 again.
    """

    version: int
    type: str
    definition: Any = None
    properties: dict[str, str] = field(default_factory=dict)
    registered_ms: int = 0
    life: int = 0


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
                (parse_schema(version) for version in versions), key=lambda x: (x.life, x.version)
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
        # one nested too deep stays text, and is refused where its topic is read
        with contextlib.suppress(RecursionError):
            text = json.loads(text) if text.strip() not in ("", "null") else None
    kind = str(stored["type"]).upper()
    properties = dict(stored.get("properties") or {})
    registered_ms, life = int(stored.get("timestamp") or 0), int(stored.get("life") or 0)
    return Schema(int(stored["version"]), kind, text, properties, registered_ms, life)


def read_schemas(reads: SmallReads) -> dict[str, list[Schema]]:
    """Return what `schemas.json` in the bucket says; nothing if there is none."""
    item = reads.items.get(FILE)
    if item is None:
        return {}
    (content,) = reads.whole([item])
    if isinstance(content, ArchiveError):
        raise content
    try:
        stored = json.loads(content)
    except (ValueError, RecursionError) as err:
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
    except (OSError, ValueError, RecursionError) as err:
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
    ServicesError
        If the broker does not answer, or refuses.
    ArchiveError
        If what it answers is no list of schemas.
    """
    from workbench import broker

    stored = {}
    for topic in topics:
        path = f"{broker.schema_path(topic)}/schemas"
        answer = broker.get_or_none(path, url=admin, token=token) or {}
        try:
            versions = [
                _stored(parse_schema(schema)) for schema in answer.get("getSchemaResponses", [])
            ]
        except (AttributeError, TypeError, KeyError, ValueError) as err:
            raise ArchiveError(f"no schemas from the broker: {err}", where=admin + path) from err
        if versions:
            stored[topic] = versions
    return stored


def merge_schemas(
    kept: Mapping[str, list[Schema]], fetched: Mapping[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """Return the content of a `schemas.json` with what was kept and what a broker knows now.

    A schema that was deleted at the broker, or a topic, stays: older messages need it for ever. So
    do those of a topic that was made anew: its schemas are another life's, where the broker took
    them after all that were kept, and counts from a version that was there before.

    Parameters
    ----------
    kept
        Versions by topic, as `load_schemas` gives them.
    fetched
        As `fetch_schemas` gives it.

    Raises
    ------
    ArchiveError
        If a version's type or definition is another than the one kept, of the same life.
    """
    merged = {topic: list(kept[topic]) for topic in kept}
    for topic, schemas in parse_schemas(fetched, where="the broker").items():
        stored = merged.setdefault(topic, [])
        life = max((schema.life for schema in stored), default=0)
        newest = {schema.version: schema for schema in stored if schema.life == life}
        if _made_anew(list(newest.values()), schemas):
            life, newest = life + 1, {}
        for schema in schemas:
            newest[schema.version] = _same(newest.get(schema.version), schema, life, topic)
        older = [schema for schema in stored if schema.life != life]
        merged[topic] = older + [newest[version] for version in sorted(newest)]
    return {topic: list(map(_stored, versions)) for topic, versions in merged.items()}


def _made_anew(kept: list[Schema], fetched: list[Schema]) -> bool:
    """Return whether a broker's schemas are those of another topic than the ones kept."""
    if not (kept and fetched and all(schema.registered_ms for schema in kept + fetched)):
        return False
    later = min(x.registered_ms for x in fetched) > max(x.registered_ms for x in kept)
    return later and min(x.version for x in fetched) <= max(x.version for x in kept)


def _same(before: Schema | None, schema: Schema, life: int, topic: str) -> Schema:
    if before and (before.type, before.definition) != (schema.type, schema.definition):
        raise ArchiveError(
            f"version {schema.version} is another at the broker than the one kept",
            where=topic,
            hint="a topic made anew, or another cluster's: keep its schemas in a file of their own",
        )
    # one that was kept without a time stays so: of what was read by it nobody knows the life
    return replace(schema, life=life, registered_ms=(before or schema).registered_ms)


def _stored(schema: Schema) -> dict[str, Any]:
    return {
        "version": schema.version,
        "type": schema.type,
        "schema": schema.definition,
        "properties": schema.properties,
        **({"timestamp": schema.registered_ms} if schema.registered_ms else {}),
        **({"life": schema.life} if schema.life else {}),
    }
