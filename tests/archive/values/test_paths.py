"""Compiled code and the libraries behind it read the same values, or say the same of misfits.

Hundreds of odd payloads: what a sensor, a gateway or another language's client may write. Each is
read once alone beside others by the compiled path, and once by the library's path; both must give
equal rows, bit for bit, and name the same rows as misfits.
"""

import io
import json
import struct

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.archive.values.avro.records import AvroValues
from workbench.archive.values.encoded import EncodedValues
from workbench.archive.values.json_values import JsonValues
from workbench.archive.values.schemas import Schema


def rows_of(values, versions=0):
    sizes = np.array([-1 if value is None else len(value) for value in values], np.int64)
    ends = np.cumsum(np.maximum(sizes, 0))
    data = np.frombuffer(b"".join(value or b"" for value in values) + b"!", np.uint8).copy()
    versions = np.broadcast_to(np.array(versions, np.int64), sizes.shape)
    return EncodedValues(data, ends - np.maximum(sizes, 0), sizes, versions)


def bits(value):
    """Return a value so that equal means the same bits: -0.0 is not 0.0, NaN is NaN."""
    return struct.pack("d", value) if isinstance(value, float) else value


def numbers_for_times(array):
    """Return times as numbers: Python's own end with the year 9999."""
    if not pa.types.is_temporal(array.type):
        return array
    return array.cast(pa.int32() if array.type.bit_width == 32 else pa.int64())


def answers(decode, rows):
    """Return the rows that a path gives, and which of them it calls misfits."""
    misfits = set()
    arrays = decode(rows, lambda row, what: misfits.add(row))
    for array in arrays:
        array.validate(full=True)
    columns = [[bits(value) for value in numbers_for_times(array).to_pylist()] for array in arrays]
    return list(zip(*columns, strict=True)), misfits


FIELDS = {"i": "int", "l": "long", "f": "float", "d": "double", "b": "boolean", "s": "string"}
JSON = {
    "type": "record",
    "name": "R",
    "fields": [{"name": name, "type": ["null", kind]} for name, kind in FIELDS.items()],
}
ODD_TEXT = """
NaN Infinity -Infinity "NaN" "Infinity" 1.0 1e400 -1e400 1e-400 -0.0 -0 0e5 true false null True 1.
.5 01 +1 1e 0x10 --1 1_000 9223372036854775807 9223372036854775808 -9223372036854775808
-9223372036854775809 2147483648 -2147483649 1E2 1e2 3.4028236e38 4.9e-324 2.4703282292062328e-324
"" "5" "\\u00e4" "\\ud83d\\ude00" "\\ud800" "\\x" "a "\\u12 [] [1,{}] {} {"a":[1]} [tru] {"a"} [1,]
{"a":1,} "\\n\\t\\/" 'a' nulls tru 0.1 123456789012345678901234567890 1.7976931348623157e308
1.7976931348623159e308 9007199254740993 9007199254740993.0
"""
ODD = [*ODD_TEXT.split(), "1" + "0" * 400, "0." + "0" * 400 + "1", '"\t"', "1 1", "", " "]
TOKENS = (
    st.sampled_from(ODD)
    | st.floats().map(repr)
    | st.integers().map(str)
    | st.text().map(json.dumps)
)
NAMES = st.sampled_from(
    [*(f'"{name}"' for name in FIELDS), '"other"', '"\\u0069"', "i", '""', '"I"']
)
SPACES = st.sampled_from(["", "", "", " ", "\n", "\t ", "\ufeff", "\x00"])


@st.composite
def json_payloads(draw):
    """Draw the text of an object: odd tokens, repeated and unknown names, spaces, cuts."""
    pairs = draw(st.lists(st.tuples(NAMES, TOKENS), max_size=5))
    space = draw(SPACES)
    text = "{" + ",".join(f"{space}{name}:{space}{token}" for name, token in pairs) + "}"
    raw = (draw(SPACES) + text + draw(SPACES)).encode("utf-8", "surrogatepass")
    kind = draw(st.sampled_from(["whole"] * 8 + ["cut", "byte", "tail"]))
    place = draw(st.integers(0, len(raw)))
    return {
        "whole": raw,
        "cut": raw[:place],
        "byte": raw[:place] + bytes([draw(st.integers(0, 255))]) + raw[place:],
        "tail": raw + draw(st.sampled_from([b"x", b"{}", b",", b"\xff", b"\x00"])),
    }[kind]


@pytest.mark.filterwarnings("ignore:messages are rows of nulls")
@settings(max_examples=300)
@given(st.lists(json_payloads() | st.none(), min_size=1, max_size=6))
@pytest.mark.slow
def test_json_is_the_same_by_compiled_code_and_by_json(payloads):
    values = JsonValues([Schema(0, "JSON", JSON)], None)
    rows = rows_of(payloads)

    assert answers(values.decode, rows) == answers(values._decode_by_json, rows)


PRIMITIVES = {
    "null": st.none(),
    "boolean": st.booleans(),
    "string": st.text(st.characters(exclude_categories=["Cs"])),
    "bytes": st.binary(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32),
    "double": st.floats(),
}
LOGICAL = {
    "date": "int",
    "time-millis": "int",
    "time-micros": "long",
    "timestamp-millis": "long",
    "timestamp-micros": "long",
    "timestamp-nanos": "long",
    "local-timestamp-millis": "long",
    "uuid": "string",
}


@st.composite
def avro_types(draw, number):
    """Draw (the type of a field, values that a writer gives it), flat."""
    kind = draw(st.sampled_from([*PRIMITIVES, "enum", "fixed", "logical"]))
    if kind == "enum":
        definition = {"type": "enum", "name": f"E{number}", "symbols": ["A", "B", "C"]}
        values = st.sampled_from(["A", "B", "C"])
    elif kind == "fixed":
        definition = {"type": "fixed", "name": f"F{number}", "size": 3}
        values = st.binary(min_size=3, max_size=3)
    elif kind == "logical":
        logical, plain = draw(st.sampled_from(list(LOGICAL.items())))
        definition, values = {"type": plain, "logicalType": logical}, PRIMITIVES[plain]
    else:
        definition, values = kind, PRIMITIVES[kind]
    nullable = draw(st.sampled_from(["no", "first", "last"])) if kind != "null" else "no"
    if nullable != "no":
        union = ["null", definition] if nullable == "first" else [definition, "null"]
        return union, values | st.none()
    return definition, values


def without_logical(definition):
    """Return a definition for fastavro's writer: numbers as they are, out of any range."""
    if isinstance(definition, list):
        return [without_logical(branch) for branch in definition]
    if isinstance(definition, dict) and "logicalType" in definition:
        return definition["type"]
    return definition


WIDER = {"int": ["long", "float", "double"], "long": ["float", "double"], "float": ["double"],
         "string": ["bytes"], "bytes": ["string"]}  # fmt: skip


@st.composite
def evolutions(draw):
    """Draw (written record, wanted record, payloads): fields promoted, dropped, added, moved."""
    count = draw(st.integers(1, 4))
    drawn = [draw(avro_types(number)) for number in range(count)]
    written = [{"name": f"f{number}", "type": kind} for number, (kind, _) in enumerate(drawn)]
    wanted = []
    for field in draw(st.permutations(written)):
        kind = field["type"]
        if isinstance(kind, str) and kind in WIDER:
            kind = draw(st.sampled_from([kind, *WIDER[kind], ["null", kind]]))
        wanted.append({**field, "type": kind})
    wanted = wanted[draw(st.integers(0, count - 1)) :]
    added = draw(
        st.sampled_from([None, ("long", 7), ("bytes", "\u00ff"), (["null", "string"], None)])
    )
    if added:
        wanted.append({"name": "added", "type": added[0], "default": added[1]})
    payloads = []
    plain = {"type": "record", "name": "R", "fields": [
        {**field, "type": without_logical(field["type"])} for field in written
    ]}  # fmt: skip
    for _ in range(draw(st.integers(1, 4))):
        out = io.BytesIO()
        value = {f"f{number}": draw(values) for number, (_, values) in enumerate(drawn)}
        fastavro.schemaless_writer(out, plain, value)
        raw = out.getvalue()
        place = draw(st.integers(0, len(raw)))
        kind = draw(st.sampled_from(["whole"] * 6 + ["cut", "byte"]))
        other = bytes([draw(st.integers(0, 255))])
        payloads.append(
            {"whole": raw, "cut": raw[:place], "byte": raw[:place] + other + raw[place + 1 :]}[kind]
        )
    return [
        {"type": "record", "name": "R", "fields": fields} for fields in (written, wanted)
    ], payloads


@settings(max_examples=300)
@given(evolutions())
@pytest.mark.slow
def test_avro_is_the_same_by_compiled_code_and_by_fastavro(evolution):
    definitions, payloads = evolution
    schemas = [
        Schema(version, "AVRO", definition) for version, definition in enumerate(definitions)
    ]
    values = AvroValues(schemas, None)
    rows = rows_of([*payloads, None], 0)

    assert answers(values.decode, rows) == answers(values._decode_by_fastavro, rows)
