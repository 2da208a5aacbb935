"""Rows of buckets that were hard to read are those that the Java client 4.0.8 read.

`cases/` holds buckets that a real Pulsar 4.0.8 offloaded, each for a kind of value or schema, and
what the Java client gave for each message: its payload, and the record as it decoded it.
"""

import base64
import contextlib
import gzip
import hashlib
import json
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from workbench import archive
from workbench.errors import ArchiveError, ArchiveWarning

CASES = Path(__file__).parent / "cases"
NAMES = sorted(path.parent.name for path in CASES.glob("*/expected.jsonl.gz"))
# how many messages no column can hold: 100,000 nested lists
COARSER = {
    "instant-overflow": "all are to the second",
    "localdatetime-overflow": "all are to the microsecond",
}
MISFITS = {"deep-json": 1}


def expected_rows(name):
    text = gzip.decompress((CASES / name / "expected.jsonl.gz").read_bytes()).decode()
    topics = {}
    for line in text.splitlines():
        row = json.loads(line)
        topics.setdefault(row["topic"], []).append(row)
    return topics


def from_base64(text):
    return None if text is None else base64.b64decode(text)


@pytest.mark.parametrize("name", NAMES)
def test_messages_are_those_that_the_java_client_read(name):
    opened = archive.open(str(CASES / name / "bucket"))

    assert opened.names() == sorted(expected_rows(name))
    for topic, expected in expected_rows(name).items():
        messages = opened.topic(topic).messages().to_pylist()
        assert len(messages) == len(expected)
        for message, row in zip(messages, expected, strict=True):
            if "md5" in row:  # in place of a payload that is very long
                assert (
                    hashlib.md5(message["value"], usedforsecurity=False).hexdigest().lstrip("0")
                    == row["md5"]
                )
            else:
                assert message["value"] == (None if row["null"] else from_base64(row["data"]))
            assert [message["ledger_id"], message["entry_id"]] == [row["ledger"], row["entry"]]
            assert [message["batch_index"], message["partition"]] == [
                row["batch"],
                row["partition"],
            ]
            assert message["publish_time"].timestamp() * 1000 == row["publish"]
            event = message["event_time"]
            assert (0 if event is None else event.timestamp() * 1000) == row["event"]
            assert [message["key"], message["producer"]] == [row["key"], row["producer"]]
            assert message["ordering_key"] == from_base64(row["okey"])
            assert dict(message["properties"]) == row["props"]
            assert message["sequence_id"] == row["seq"]
            assert message["schema_version"] == from_base64(row["sv"])


def as_arrow(value, kind):
    """Return what the Java client gave for a field, as a column of `kind` shows it."""
    if value is None:
        return None
    if isinstance(value, dict) and "__b64" in value:
        raw = base64.b64decode(value["__b64"])
        if not pa.types.is_decimal(kind):
            return raw
        return Decimal(int.from_bytes(raw, "big", signed=True)).scaleb(-kind.scale)
    if isinstance(value, dict) and "__map" in value:
        return [(key, as_arrow(item, kind.item_type)) for key, item in value["__map"].items()]
    if pa.types.is_struct(kind):
        return {field.name: as_arrow(value[field.name], field.type) for field in kind}
    if pa.types.is_list(kind):
        return [as_arrow(item, kind.value_type) for item in value]
    return Decimal(str(value)) if pa.types.is_decimal(kind) else value


def without_branches(text):
    """Return a union's value out of Avro's JSON encoding, as the Java client gave it."""
    ((branch, value),) = json.loads(text).items()
    if branch == "map":
        return {"__map": value}
    if branch == "Text":
        raw = value["w"].encode("latin-1")
        return {**value, "w": {"__b64": base64.b64encode(raw).decode()}}
    return value


def whole_record(row):
    """Return the fields of a message: decoded by the client, or out of its JSON."""
    if row["null"]:
        return None
    if "value" not in row:
        return json.loads(base64.b64decode(row["data"]))
    if isinstance(row["value"], dict) and "__json" in row["value"]:
        return json.loads(row["value"]["__json"])
    return row["value"]


def numbers_for_times(column):
    if not pa.types.is_temporal(column.type):
        return column.to_pylist()
    return column.cast(pa.int32() if column.type.bit_width == 32 else pa.int64()).to_pylist()


def field_matches(name, shown, field, record):
    if record is None:
        return shown is None
    if name == "union-text" and field.name == "u" and shown is not None:
        return without_branches(shown) == record["u"]
    if name == "empty-record":
        return (shown, record) == ("{}", {})
    if "__t" in record:
        digits = {"ns": 9, "us": 6, "ms": 3, "s": 0}[field.type.unit]
        shown = str(np.datetime64(shown, field.type.unit))
        return moment(shown, digits) == moment(record["__s"], digits)
    return shown == as_arrow(record.get(field.name), field.type)


def moment(text, digits):
    """Return date, time and `digits` of the fraction, of a time as Java or numpy prints it."""
    date, _, time = text.rstrip("Z").rpartition("T")
    whole, _, fraction = time.partition(".")
    whole += ":00" if whole.count(":") == 1 else ""
    return date.lstrip("+"), whole, fraction.ljust(9, "0")[:digits]


@pytest.mark.parametrize("name", sorted({*NAMES} - {"mapfile-real", "json-drift"}))
def test_fields_are_those_that_the_java_client_read(name):
    opened = archive.open(str(CASES / name / "bucket"), misfits="null")
    ((topic, expected),) = expected_rows(name).items()
    opened_topic = opened.topic(topic)

    with pytest.warns(ArchiveWarning) if name in COARSER else contextlib.nullcontext() as caught:
        table = opened_topic.read()

    assert name not in COARSER or COARSER[name] in str(caught[0].message)
    table.validate(full=True)
    assert table.num_rows == len(expected)
    refused = {
        tuple(map(int, re.search(r"message (\d+):(\d+):-1:(-?\d+)", str(error)).groups()))
        for error in opened_topic.damage.errors
    }
    assert len(refused) == MISFITS.get(name, 0)
    columns = [numbers_for_times(table[field.name]) for field in table.schema]
    for place, row in enumerate(expected):
        if (row["ledger"], row["entry"], row["batch"]) in refused:
            assert all(column[place] is None for column in columns)
            continue
        record = whole_record(row)
        for field, column in zip(table.schema, columns, strict=True):
            if name == "deep-json":
                assert json.loads(column[place]) == record["a"]
            else:
                assert field_matches(name, column[place], field, record), (row, column[place])


def test_a_field_of_type_null_is_a_column_of_nulls():
    table = archive.open(str(CASES / "null-field" / "bucket")).topic("t").read()

    assert table.to_pylist() == [{"n": None, "a": 1}]


def test_a_field_is_what_all_its_values_are_where_no_schema_is_known():
    opened = archive.open(str(CASES / "json-drift" / "bucket"))
    ((topic, expected),) = expected_rows("json-drift").items()

    table = opened.topic(topic).read()

    assert table["v"].type == pa.float64()
    assert table["v"].to_pylist() == [json.loads(from_base64(row["data"]))["v"] for row in expected]


def test_a_version_that_no_schema_is_known_of_is_refused_with_its_message():
    topic = archive.open(str(CASES / "schemas-overwritten" / "bucket")).topic("sdel")

    with pytest.raises(ArchiveError) as caught:
        topic.read()
    assert str(caught.value) == (
        "the value does not fit the schema: schema version 0 is not known, only [2]\n"
        "  in persistent://public/arch/sdel, message 602:0:-1:-1\n"
        '  misfits="null" keeps such a message as nulls'
    )
