"""Values of Kafka's records as columns: JSON objects, and Avro in Confluent's wire format.

    0     byte     0, with which no JSON begins
    1     int32    id of the schema, which the registry has
    5     bytes    a record in Avro's binary encoding

Columns are those of the schema that the latest record names; of JSON that stands among them, what
fits by name. What a schema lacks is null: a default was measured by nobody.

Source: Confluent Platform documentation, "Formats, serializers, and deserializers", "Wire format".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from workbench.archive import EncodedValues, Inference, Schema
from workbench.arrays import Bools, Ints
from workbench.endpoints import endpoints
from workbench.errors import ArchiveError, ReplayError
from workbench.history.live import decoded, encoded
from workbench.history.schema_registry import VARIABLE, definitions

HEAD = struct.Struct(">Bi")  # magic, id of the schema
_HINT = f"{VARIABLE}=http://HOST:PORT"
_JSON = -2  # version of values that name no schema, where others do
_READER = 1 << 31  # version of what all are read as, no id
_ANY = {"type": "record", "name": "Any", "fields": []}


@dataclass(frozen=True, eq=False)
class DecodedRecords:
    """Records with their values decoded.

    Attributes
    ----------
    table
        `fields`, a struct, then the columns given.
    misfits
        Rows whose value fits nothing: their fields are null.
    schemas
        Ids that values name.
    remark
        What is to be said of the misfits, and of fields that no column has; empty: nothing.
    """

    table: pa.Table
    misfits: tuple[int, ...]
    schemas: tuple[int, ...]
    remark: str = ""


def decode_records(
    records: Mapping[str, list[Any]], kinds: Mapping[str, pa.DataType], *, topic: str
) -> DecodedRecords:
    """Return records with their values decoded.

    Parameters
    ----------
    records
        `value`, `version`, `key`, `partition` and `event_time`, epoch ms, among them, a list each,
        by partition and offset; versions are set to ids of schemas.
    kinds
        Type of each column.

    Raises
    ------
    ReplayError
        If all values are Avro and no registry is known; or for what it answers, or what its
        schemas are.
    """
    rows = replace(encoded(records), where=topic)
    ids = schema_ids(rows)
    named = tuple(map(int, np.unique(ids[ids >= 0])))
    records["version"][:] = ids.tolist()
    is_json, inference = ids < 0, Inference()
    inference.look(replace(rows, sizes=np.where(is_json, rows.sizes, -1)))
    schemas, remark = [inference.schema()], ""
    if named and not endpoints().schema_registry:
        remark = f"{int((~is_json).sum())} begin as Avro of a schema registry, and none is known"
        if not (is_json & (rows.sizes >= 0)).any():
            raise ReplayError(f"all records {remark.partition(' ')[2]}", where=topic, hint=_HINT)
    elif named:
        stored = definitions(named)
        names = _known_kind(stored, ids, topic)
        remark = _other_kinds(stored, names)
        written = {number: stored[number] for number in names}
        newest = _newest(records, np.isin(ids, names), ids)
        schemas = _schemas(schemas[0], written, newest)
        remark = "; ".join(filter(None, (remark, _left_out(written, newest))))
        head = np.where(is_json, 0, HEAD.size)
        rows = replace(
            rows,
            starts=rows.starts + head,
            sizes=rows.sizes - head,
            versions=np.where(is_json, _JSON, ids),
        )
    misfits: list[int] = []
    try:
        table = decoded(records, rows, schemas, kinds, lambda row, _: misfits.append(row))
    except ArchiveError as err:
        raise ReplayError(err.message, where=f"schemas {named} of {topic}") from err
    if len(schemas) > 1:  # columns of Avro: JSON that has none of them would be nulls unsaid
        misfits += np.flatnonzero(is_json & (rows.sizes > 0) & _is_nulls(table)).tolist()
    return DecodedRecords(table, tuple(sorted(set(misfits))), named, remark)


def _is_nulls(table: pa.Table) -> Bools:
    if "fields" not in table.column_names:
        return np.zeros(table.num_rows, bool)
    parts = table["fields"].combine_chunks().flatten()
    nulls = [part.is_null().to_numpy(zero_copy_only=False) for part in parts]
    return np.logical_and.reduce(nulls) if nulls else np.zeros(table.num_rows, bool)


def schema_ids(rows: EncodedValues) -> Ints:
    """Return the id of the schema that each value names, (n,); -1: it names none."""
    long = rows.sizes >= HEAD.size
    starts = np.where(long, rows.starts, 0)
    if not long.any():
        return np.full(len(starts), -1, np.int64)
    heads = rows.data[starts[:, None] + np.arange(HEAD.size)].astype(np.int64)
    ids: Ints = heads[:, 1:] @ (1 << np.array([24, 16, 8, 0]))
    return np.where(long & (heads[:, 0] == 0) & (ids < 1 << 31), ids, -1)


def schema_id(value: bytes) -> int | None:
    """Return the id of the schema that a value names; None: it names none.

    Examples
    --------
    >>> schema_id(bytes([0, 0, 0, 1, 2, 6])), schema_id(b'{"pump": "p-1"}')
    (258, None)
    """
    if len(value) < HEAD.size:
        return None
    magic, number = HEAD.unpack_from(value)
    return number if magic == 0 and number >= 0 else None


def _known_kind(stored: Mapping[int, Any], ids: Ints, topic: str) -> list[int]:
    """Return the ids whose schemas are records of the name that most values have."""
    if not stored:
        raise ReplayError(
            "the schema registry has none of the schemas that records name", where=topic
        )
    records = {number: each for number, each in stored.items() if _is_record(each)}
    if not records:
        number, definition = next(iter(stored.items()))
        raise ReplayError(
            f"schema {number} is {str(definition)[:80]}, expected a record", where=topic
        )
    counts: dict[str, int] = {}
    for number, record in records.items():
        name = _short_name(record)
        counts[name] = counts.get(name, 0) + int((ids == number).sum())
    usual = max(counts, key=lambda name: counts[name])
    if list(counts.values()).count(counts[usual]) > 1:
        raise ReplayError(
            f"the records are of several kinds, none of which is most: {', '.join(sorted(counts))}",
            where=topic,
            hint="readings of one kind in a topic",
        )
    return [number for number, record in records.items() if _short_name(record) == usual]


def _other_kinds(stored: Mapping[int, Any], usual: list[int]) -> str:
    others = {
        f"{number} ({_short_name(each) if _is_record(each) else str(each)[:40]})"
        for number, each in stored.items()
        if number not in usual
    }
    return f"schemas of another kind: {', '.join(sorted(others))}" if others else ""


def _newest(records: Mapping[str, list[Any]], is_usual: Bools, ids: Ints) -> int:
    """Return the id that the latest record names: of the last of each partition, by time.

    (An id may be smaller than one before it: of a rollback, or of a schema that another topic had
    first.)
    """
    last = {records["partition"][row]: row for row in np.flatnonzero(is_usual).tolist()}
    return int(ids[max(last.values(), key=lambda row: (records["event_time"][row], row))])


def _left_out(written: Mapping[int, Any], newest: int) -> str:
    """Say which fields no column has, as the latest record's schema lacks them."""
    columns = {
        name
        for field in written[newest]["fields"]
        for name in (field["name"], *field.get("aliases", []))
    }
    others = {field["name"] for each in written.values() for field in each["fields"]} - columns
    if not others:
        return ""
    names = ", ".join(sorted(others))
    return f"schema {newest} of the latest record has no {names}, which others have"


def _schemas(inferred: Schema, stored: Mapping[int, Any], newest: int) -> list[Schema]:
    """Return the schemas by which values are decoded, that of the columns last."""
    json = Schema(_JSON, "JSON", inferred.definition if inferred.type == "JSON" else _ANY)
    written = [Schema(number, "AVRO", stored[number]) for number in sorted(stored)]
    reader = _with_nulls(stored[newest], list(stored.values()))
    return [json, *written, Schema(_READER, "AVRO", reader)]


def _is_record(definition: Any) -> bool:
    fields = definition.get("fields") if isinstance(definition, dict) else None
    named = isinstance(fields, list) and all(
        isinstance(field, dict) and {"name", "type"} <= field.keys() for field in fields
    )
    return named and definition.get("type") == "record"


def _with_nulls(newest: Any, written: list[Any]) -> Any:
    """Return the newest record with null for what one of those written lacks, however deep.

    An enum has the symbols of all, and no default.

    Examples
    --------
    >>> bar = {"name": "bar", "type": "double", "default": 0}
    >>> old, new = ({"type": "record", "name": "R", "fields": each} for each in ([], [bar]))
    >>> _with_nulls(new, [old, new])["fields"]
    [{'name': 'bar', 'type': ['null', 'double'], 'default': None}]
    """
    kinds = list(_named(written))
    if isinstance(newest, list):
        return [_with_nulls(branch, written) for branch in newest]
    if not isinstance(newest, dict):
        return newest
    like = [kind for kind in kinds if _short_name(kind) == _short_name(newest)]
    parts = {
        part: _with_nulls(newest[part], written)
        for part in ("type", "items", "values")
        if part in newest
    }
    if newest.get("type") == "enum":
        symbols = [symbol for kind in (newest, *like) for symbol in kind.get("symbols", [])]
        parts = {**parts, "symbols": list(dict.fromkeys(symbols))}
        newest = {key: value for key, value in newest.items() if key != "default"}
    if newest.get("type") == "record" and _is_record(newest):
        names = [{field["name"] for field in kind["fields"]} for kind in like if _is_record(kind)]
        parts["fields"] = [_field(field, names, written) for field in newest["fields"]]
    return {**newest, **parts}


def _field(field: Mapping[str, Any], names: list[set[str]], written: list[Any]) -> dict[str, Any]:
    kind = _with_nulls(field["type"], written)
    if any(field["name"] not in had for had in names):
        return {**field, "type": _or_null(kind), "default": None}
    # a default that nobody needs: it may not fit a record within that has nulls now
    return {**{key: part for key, part in field.items() if key != "default"}, "type": kind}


def _named(definition: Any) -> Iterator[dict[str, Any]]:
    """Yield the records and enums that a schema defines."""
    if isinstance(definition, list):
        for branch in definition:
            yield from _named(branch)
    elif isinstance(definition, dict):
        if definition.get("type") in ("record", "enum"):
            yield definition
        for part in ("type", "items", "values", "fields"):
            yield from _named(definition.get(part))


def _short_name(kind: Mapping[str, Any]) -> str:
    return str(kind.get("name")).rpartition(".")[2]


def _or_null(kind: Any) -> list[Any]:
    others = [branch for branch in kind if branch != "null"] if isinstance(kind, list) else [kind]
    return ["null", *others]


__all__ = ["HEAD", "DecodedRecords", "decode_records", "schema_id", "schema_ids"]
