"""Values of thousands of generated topics are what the Java client 4.0.8 decoded: `make oracle`.

Its answers are in `oracle/recorded.jsonl.xz`: records in Avro's JSON encoding, by the newest of
the schemas. A value that comes out otherwise has a reason under `misfits`, with its message.
"""

import base64
import json
import lzma
import math
import re
from decimal import Context, Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from workbench.archive import UNITS, EncodedValues, Schema, open_values, unit_needed
from workbench.archive.values.avro.arrow_types import arrow_type, is_text, narrowed
from workbench.archive.values.avro.schema import parse

DIGITS = Context(prec=80)
RECORDED = Path(__file__).parents[1] / "oracle" / "recorded.jsonl.xz"
# what a misfit may say; all else is a difference
REASONS = re.compile(
    r"which a (float|double) cannot hold exactly|expected at most \d+ digits|which is no time-"
    r"|UnicodeDecodeError|a union of bytes and string in an older version"
    r"|which is no time (of a day|that Java has)"
)


@pytest.fixture(scope="module")
def recorded():
    lines = lzma.decompress(RECORDED.read_bytes()).decode().splitlines()
    return [json.loads(line) for line in lines]


def read(topic):
    """Return the columns of a topic's messages, and what was said of its misfits, by message."""
    schemas = [
        Schema(version, topic["type"], definition)
        for version, definition in enumerate(topic["schemas"] or [None])
    ]
    payloads = [base64.b64decode(raw) for _, raw in topic["messages"]]
    sizes = np.array([len(raw) for raw in payloads], np.int64)
    data = np.frombuffer(b"".join(payloads) + b"!", np.uint8).copy()
    versions = np.array([version for version, _ in topic["messages"]], np.int64)
    encoded = EncodedValues(data, np.cumsum(sizes) - sizes, sizes, versions)
    unit = UNITS[unit_needed(open_values(schemas, None), encoded, list)]
    values, said = open_values(schemas, None, unit), {}
    arrays = values.decode(encoded, lambda row, what: said.setdefault(row, what))
    for array in arrays:
        array.validate(full=True)
    return dict(zip([field.name for field in values.fields], arrays, strict=True)), said


def one_number(value):
    """Return JSON with the widest number's label: a union of int and long is a long."""
    if isinstance(value, list):
        return [one_number(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"float"} and not isinstance(value["float"], str):
        return {"double": np.float32(value["float"]).item()}  # Java prints the shortest digits
    labels = {"int": "long", "float": "double"} if len(value) == 1 else {}
    return {labels.get(key, key): one_number(item) for key, item in value.items()}


def expected(value, kind):
    """Return what a column shows of a value in Avro's JSON encoding."""
    if is_text(kind):
        return one_number(value)
    union, kind = kind, narrowed(kind)
    if union.kind == "union":
        if value is None:
            return None
        ((label, value),) = value.items() if isinstance(value, dict) else [(None, value)]
        value = np.float32(value).item() if label == "float" else value
    if kind.kind == "record":
        return {field.name: expected(value[field.name], field.type) for field in kind.fields}
    if kind.kind == "array":
        return [expected(item, kind.items) for item in value]
    if kind.kind == "map":
        return sorted((key, expected(item, kind.items)) for key, item in value.items())
    if kind.kind in ("bytes", "fixed"):
        raw = value.encode("latin-1")
        if not pa.types.is_decimal(arrow_type(kind)):
            return raw
        return DIGITS.scaleb(Decimal(int.from_bytes(raw, "big", signed=True)), -kind.scale)
    if kind.kind in ("float", "double"):
        number = float(value)
        return np.float32(number).item() if kind.kind == "float" else number
    return value


def shown(value, kind):
    """Return a column's value, with numbers for times, and text of JSON parsed."""
    if value is None or is_text(kind):
        return one_number(json.loads(value)) if value is not None else None
    kind = narrowed(kind)
    if kind.kind == "record":
        return {field.name: shown(value[field.name], field.type) for field in kind.fields}
    if kind.kind == "array":
        return [shown(item, kind.items) for item in value]
    if kind.kind == "map":
        return sorted((key, shown(item, kind.items)) for key, item in value)
    return value


def without_times(array):
    """Return an array with the numbers that its times stand for, at any depth."""
    kind = array.type
    if pa.types.is_temporal(kind):
        return array.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    if pa.types.is_struct(kind):
        parts = [without_times(array.field(i)) for i in range(kind.num_fields)]
        mask = pa.array(np.array(array.is_null()))
        return pa.StructArray.from_arrays(parts, names=[field.name for field in kind], mask=mask)
    if pa.types.is_list(kind):
        return pa.ListArray.from_arrays(with_nulls(array), without_times(array.values))
    if pa.types.is_map(kind):
        items = without_times(array.items)
        return pa.MapArray.from_arrays(with_nulls(array), array.keys, items)
    return array


def with_nulls(array):
    offsets = [int(x) for x in np.frombuffer(array.buffers()[1], np.int32)[: len(array) + 1]]
    nulls = [not valid for valid in array.is_valid().to_pylist()]
    pairs = zip(offsets, [*nulls, False], strict=True)
    return pa.array([None if is_null else offset for offset, is_null in pairs], pa.int32())


def same(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return math.isnan(a) and math.isnan(b) if a != a or b != b else a == b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    # text of a number is told from a number: the encoding names the branch
    return a == b and isinstance(a, bool) == isinstance(b, bool)


@pytest.mark.slow
def test_avro_is_what_the_java_client_decoded(recorded):
    compared = refused = 0
    different = []
    for number, topic in enumerate(recorded):
        if topic["type"] != "AVRO":
            continue
        reader = parse(topic["schemas"][-1])
        columns, said = read(topic)
        shown_values = {name: without_times(array).to_pylist() for name, array in columns.items()}
        for entry, answer in enumerate(topic["answers"]):
            if set(answer) == {"error"} or entry in said:
                failed = set(answer) == {"error"}
                if entry not in said or not (failed or REASONS.search(said[entry])):
                    different.append((number, entry, said.get(entry), answer))
                refused += 1
                continue
            compared += 1
            for field in reader.fields:
                ours = shown(shown_values[field.name][entry], field.type)
                theirs = expected(answer[field.name], field.type)
                if not same(ours, theirs):
                    different.append((number, entry, field.name, ours, theirs))
    assert different == []
    assert compared > 5000
    assert refused < compared / 10


def java_time(text, digits):
    """Return date, time and `digits` of the fraction, of a time as `java.time` prints it."""
    date, _, time = text.rstrip("Z").rpartition("T")
    whole, _, fraction = time.partition(".")
    whole += ":00" * (2 - whole.count(":"))
    return date.lstrip("+"), whole, fraction.ljust(9, "0")[:digits]


def primitive(column, row):
    """Return a value and how Java's client shows it, or that both are the same."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind):
        number = column.cast(pa.int32() if kind.bit_width == 32 else pa.int64())[row].as_py()
        return None if number is None else (number, kind)
    return column[row].as_py()


def is_the_same_text(value, text):
    if value is None or not isinstance(value, tuple):
        if isinstance(value, bytes):
            return base64.b64decode(text) == value
        if isinstance(value, float):
            # a float is printed with as many digits as tell it
            return same(value, float(text)) or math.isclose(value, float(text), rel_tol=2**-24)
        return str(value).lower() == text if isinstance(value, bool) else str(value) == text
    number, kind = value
    if pa.types.is_time(kind):
        return java_time(str(np.datetime64(number, "ns")), 9)[1:] == java_time(f"T{text}", 9)[1:]
    if pa.types.is_date32(kind):
        return str(np.datetime64(number, "D")) == text.lstrip("+")
    if kind.unit == "ms" and text.lstrip("-").isdigit():
        return str(number) == text
    digits = {"ns": 9, "us": 6, "ms": 3, "s": 0}[kind.unit]
    ours = str(np.datetime64(number, kind.unit))
    if "T" not in text:
        text = f"{text}T00:00"
    return java_time(ours, digits) == java_time(text, digits)


def test_primitives_are_what_the_java_client_decoded(recorded):
    compared, different = 0, []
    for topic in recorded:
        if topic["type"] == "AVRO":
            continue
        columns, said = read(topic)
        column = columns["value"]
        for entry, answer in enumerate(topic["answers"]):
            if isinstance(answer, dict) or entry in said:
                if not (isinstance(answer, dict) and entry in said):
                    different.append((topic["type"], entry, said.get(entry), answer))
                continue
            compared += 1
            value = primitive(column, entry)
            if not is_the_same_text(value, answer):
                different.append((topic["type"], entry, value, answer))
    assert different == []
    assert compared > 400
