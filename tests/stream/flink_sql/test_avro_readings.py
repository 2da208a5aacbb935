"""Job and archive take the same for the same in Confluent's wire format, on generated records.

Schemas, and values of them, whole and damaged, go through `AvroReadings` in one JVM, which asks a
registry over HTTP, and through `decode_readings`. The rules are those of docs/stream-file.md.
"""

import base64
import json
import math
import random
import subprocess
from functools import cache
from pathlib import Path

import pyarrow as pa
import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from workbench import services
from workbench.errors import ReplayError
from workbench.history.kafka_readings import ReadingFields, decode_readings
from workbench.history.kafka_values import HEAD
from workbench.services.compilation import flink_jars, jar
from workbench.stream.flink_sql.functions import function_jar

JARS = ("flink-dist-*.jar", "flink-table-api-java-uber-*.jar")
FIELDS = ReadingFields("Reading", ("pump",), ("bar",), ("at_ms",))
KINDS = {"key": pa.string(), "version": pa.int64(), "value": pa.binary()}
TIMED = {"type": "long", "logicalType": "timestamp-millis"}
PLAIN = {
    "type": "record", "name": "Reading", "namespace": "plant",
    "fields": [
        {"name": "pump", "type": "string"},
        {"name": "bar", "type": ["null", "double"], "default": None},
        {"name": "at_ms", "type": ["null", TIMED], "default": None},
    ],
}  # fmt: skip
NAMED = {
    "pump": ["string", ["null", "string"], ["string", "null"], {"type": "string"}, "int", "bytes",
             {"type": "string", "logicalType": "uuid"}],
    "bar": ["double", "long", ["null", "double"], "float", "int", ["long", "null"], "boolean",
            ["null", "float"], ["int", "double"], TIMED, "string", ["int"],
            {"type": "int", "logicalType": "date"}, {"type": "long", "logicalType": "none"}],
    "at_ms": ["long", "int", TIMED, ["null", TIMED], ["null", "long"], "double",
              {"type": "long", "logicalType": "timestamp-micros"}],
}  # fmt: skip
OTHERS = [
    "null", "boolean", "int", "long", "float", "double", "bytes", "string",
    {"type": "enum", "name": "State", "symbols": ["ON", "OFF"]},
    {"type": "fixed", "name": "Mark", "size": 3},
    {"type": "array", "items": "null"},
    {"type": "array", "items": ["null", "long"]},
    {"type": "map", "values": "double"},
    ["null", "string", "boolean"],
    {"type": "record", "name": "Pose", "fields": [{"name": "bar", "type": "double"}]},
    {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]},
    {"type": "array", "items": {"type": "map", "values": {"type": "array", "items": "int"}}},
    {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2},
]  # fmt: skip


def wire(schema, number, record):
    out = bytearray(HEAD.pack(0, number))

    class Out:
        write = staticmethod(out.extend)

    schemaless_writer(Out, parse_schema(schema), record)
    return bytes(out)


def by_the_job(messages, registry, folder, record="Reading"):
    """Return (reason, sensor, number, whole number) of each message; its JVM's stderr besides."""
    lines = ("null" if one is None else base64.b64encode(one).decode() for one in messages)
    cases, registry_file = folder / "cases", folder / "registry"
    cases.write_text("".join(line + "\n" for line in lines))
    registry_file.write_text(f"{registry.url}\n{registry.login}\n")
    path = [*flink_jars(*JARS), function_jar()]
    runner = jar(Path(__file__).with_name("java"), path)
    command = [
        services.java(),
        "-cp",
        ":".join(map(str, [*path, runner])),
        "workbench.ReadingCases",
    ]
    done = subprocess.run(
        [*command, cases, record, registry_file],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return [_read(line.split("\t")) for line in done.stdout.splitlines()], done.stderr


def _read(parts):
    *texts, number, whole = parts
    texts = [None if part == "null" else base64.b64decode(part[1:]).decode() for part in texts]
    return (
        *texts,
        None if number == "null" else float(number),
        None if whole == "null" else int(whole),
    )


def by_the_archive(messages, fields=FIELDS):
    """Return whether a message is refused, sensor, number, whole number; and what was decoded."""
    count = len(messages)
    records = {
        "key": [None] * count, "version": [0] * count, "value": [*messages],
        "partition": [0] * count, "event_time": [0] * count,
    }  # fmt: skip
    made = decode_readings(records, KINDS, fields, topic="kafka://pumps")
    rows = made.table["fields"].to_pylist()
    refused = [row in made.misfits or not each["pump"] for row, each in enumerate(rows)]
    readings = [
        (None, None, None) if is_none else (each["pump"], each["bar"], each["at_ms"])
        for is_none, each in zip(refused, rows, strict=True)
    ]
    return list(zip(refused, *zip(*readings, strict=True), strict=True)), made


def same(messages, registry, folder):
    job, trouble = by_the_job(messages, registry, folder)
    assert len(job) == len(messages), trouble[-2000:]
    archive, _ = by_the_archive(messages)
    differing = [
        f"{message!r}: job {ours}, archive {theirs}"
        for message, ours, theirs in zip(messages, job, archive, strict=True)
        if not _alike(ours, theirs)
    ]
    assert differing == []
    return job


def _alike(job, archive):
    reason, *reading = job
    refused, *row = archive
    return (reason is not None) == refused and list(map(_exact, reading)) == list(map(_exact, row))


def _exact(value):
    return value.hex() if isinstance(value, float) else value


@cache
def of_type(kind, name=""):
    """Return values of a type, by its JSON: of what the registry would have."""
    definition = json.loads(kind)
    if isinstance(definition, list):
        return st.one_of([of_type(json.dumps(item)) for item in definition])
    kind = definition if isinstance(definition, str) else definition["type"]
    wide = st.integers(-(2**63), 2**63 - 1)
    scalars = {
        "null": st.none(), "boolean": st.booleans(), "int": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(10**6), 2 * 10**12) | wide,
        "float": st.floats(width=32), "double": st.floats(), "bytes": st.binary(max_size=4),
        "string": st.text(st.characters(codec="utf-8"), max_size=4),
    }  # fmt: skip
    if kind in scalars:
        return scalars[kind]
    if kind == "enum":
        return st.sampled_from(definition["symbols"])
    if kind == "fixed":
        return st.binary(min_size=definition["size"], max_size=definition["size"])
    if kind == "array":
        return st.lists(of_type(json.dumps(definition["items"])), max_size=3)
    if kind == "map":
        values = of_type(json.dumps(definition["values"]))
        return st.dictionaries(st.text("ab", max_size=2), values, max_size=2)
    if definition["name"] == "Node":
        return st.recursive(
            st.just({"next": None}), lambda inner: st.builds(lambda item: {"next": item}, inner)
        )
    parts = {field["name"]: of_type(json.dumps(field["type"])) for field in definition["fields"]}
    return st.fixed_dictionaries(parts)


@st.composite
def schemas(draw):
    """Draw a schema of readings: named fields of this type and that, others between them."""
    fields = []
    for name, kinds in NAMED.items():
        if draw(st.integers(0, 9)) < 9:
            usual = draw(st.integers(0, 3)) > 0  # else most schemas would be of no readings
            fields.append(
                {"name": name, "type": draw(st.sampled_from(kinds[:3] if usual else kinds))}
            )
    others = draw(st.lists(st.sampled_from(OTHERS), max_size=3, unique_by=json.dumps))
    for number, kind in enumerate(others):
        place = draw(st.integers(0, len(fields)))
        fields.insert(place, {"name": f"more_{number}", "type": kind})
    name = draw(st.sampled_from(["Reading"] * 9 + ["Alarm"]))
    space = draw(st.sampled_from([{}, {"namespace": "plant.a"}]))
    return {"type": "record", "name": name, **space, "fields": fields}


def generated(count, seed):
    """Return schemas by id, and messages of them, some damaged; the same for the same seed."""
    stored, messages = {1: PLAIN}, []

    @settings(
        max_examples=count,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def generate(data):
        schema, number = data.draw(schemas()), len(stored) + 1
        stored[number] = schema
        rows = [data.draw(of_type(json.dumps(schema))) for _ in range(6)]
        messages.extend(wire(schema, number, row) for row in rows)

    generate()
    rng = random.Random(seed)
    return stored, [*messages, *(_damaged(rng, rng.choice(messages)) for _ in messages)]


def _damaged(rng, message):
    body, place = message[HEAD.size :], rng.randrange(len(message) - HEAD.size + 1)
    byte = bytes([rng.choice([0, 1, 2, 3, 0x7F, 0x80, 0xC3, 0xED, 0xFF, rng.randrange(256)])])
    damaged = rng.choice(
        [
            body[:place],
            body[place:],
            body[:place] + body[place + 1 :],
            body[:place] + byte + body[place:],
            body[:place] + byte + body[place + 1 :],
            body + body,
        ]
    )
    return message[: HEAD.size] + damaged


@pytest.mark.slow
def test_job_and_archive_make_the_same_of_generated_avro(tmp_path, schema_registry):
    stored, messages = generated(400, 20260105)

    job = same(messages, schema_registry(stored), tmp_path)

    taken = sum(reading[0] is None for reading in job)
    assert len(messages) > 4_000
    assert 500 < taken < len(messages) - 500
    assert sum(reading[2] is not None for reading in job) > 200
    assert sum(reading[3] is not None for reading in job) > 200
    assert all(math.isfinite(reading[2] or 0) for reading in job)


@pytest.mark.slow
def test_what_a_job_refuses_of_avro_is_what_the_archive_refuses(tmp_path, schema_registry):
    """Of each rule in docs/stream-file.md one record."""
    long = [{"name": "pump", "type": "string"}, {"name": "bar", "type": "long"}]
    schemas = {
        1: PLAIN,
        2: {**PLAIN, "fields": long},
        3: {**PLAIN, "name": "Alarm"},
        4: {**PLAIN, "fields": [long[0], {"name": "bar", "type": TIMED}]},
        5: {**PLAIN, "fields": [{"name": "bar", "type": ["null", "float"]}]},
        6: {**PLAIN, "fields": [*long, {"name": "x", "type": {**PLAIN, "namespace": "b"}}]},
    }  # fmt: skip
    full = {"pump": "p", "bar": 2.5, "at_ms": 1_767_571_200_123}
    read = {
        wire(PLAIN, 1, full): (None, "p", 2.5, 1_767_571_200_123),
        wire(PLAIN, 1, {**full, "bar": None, "at_ms": None}): (None, "p", None, None),
        wire(PLAIN, 1, {**full, "bar": math.inf}): (None, "p", None, 1_767_571_200_123),
        wire(PLAIN, 1, {**full, "bar": math.nan}): (None, "p", None, 1_767_571_200_123),
        wire(schemas[2], 2, {"pump": "p", "bar": 2**53 + 1}): (None, "p", 2.0**53, None),
        wire(schemas[2], 2, {"pump": "p", "bar": 2**63 - 1}): (None, "p", 2.0**63, None),
        wire(PLAIN, 1, full) + b"behind": (None, "p", 2.5, 1_767_571_200_123),
    }
    refused = {
        None: "it is empty",
        b"": "it is empty",
        b'{"pump": "p"}': "it is no Avro in Confluent's wire format",
        b"\0\0\0\0": "it is no Avro in Confluent's wire format",
        b"\0\xff\0\0\1": "it is no Avro in Confluent's wire format",
        HEAD.pack(0, 9): "the schema registry has no schema 9",
        HEAD.pack(0, 1): "it is no Avro of schema 1: it ends early",
        wire(PLAIN, 1, {**full, "pump": ""}): "it has no pump",
        wire(schemas[3], 3, full): "of schema 3: it is of Alarm, not of Reading",
        wire(schemas[4], 4, {"pump": "p", "bar": 0}):
            "of schema 4: bar is timestamp-millis, not a number",
        wire(schemas[5], 5, {"bar": 1.0}): "it has no pump",
        HEAD.pack(0, 6) + b"\2p\2": "of schema 6: it holds another type of the name Reading",
        HEAD.pack(0, 1) + b"\1": "it is no Avro of schema 1: it ends early, or a size in it is "
            "negative or passes its end",
    }  # fmt: skip

    job = same([*read, *refused], schema_registry(schemas), tmp_path)

    assert job[: len(read)] == list(read.values())
    assert [reading[0] for reading in job[len(read) :]] == list(refused.values())


@pytest.mark.slow
def test_a_value_and_a_schema_that_claim_too_much_are_refused_before_anything_is_made(
    tmp_path, schema_registry
):
    def reading(kind):
        return {**PLAIN, "fields": [PLAIN["fields"][0], {"name": "x", "type": kind}]}

    def doubled(depth):
        inner = {"type": "record", "name": "R0", "fields": [{"name": "v", "type": "int"}]}
        for level in range(1, depth):
            name = f"R{level}"
            fields = [{"name": "a", "type": inner}, {"name": "b", "type": f"R{level - 1}"}]
            inner = {"type": "record", "name": name, "fields": fields}
        return inner

    nested = "int"
    for _ in range(150):
        nested = {"type": "array", "items": nested}
    node = {"type": "record", "name": "Node", "fields": [{"name": "n", "type": ["null", "Node"]}]}
    schemas = {
        1: reading({"type": "array", "items": "null"}),
        2: reading(node),
        3: reading(doubled(24)),
        4: reading(nested),
        5: reading({"type": "map", "values": "null"}),
        6: PLAIN,
    }
    hostile = {
        HEAD.pack(0, 1) + b"\2p" + b"\xfe\xff\xff\xff\x0f\0": "claims more values than its bytes",
        HEAD.pack(0, 1) + b"\2p" + b"\xff\xff\xff\xff\x0f\0\0": "claims more values than its byt",
        HEAD.pack(0, 1) + b"\2p\1\x80\x80": "it ends early",
        HEAD.pack(0, 1) + b"\2p\x65\6\0\2\0": "a block of items whose size is not theirs",
        HEAD.pack(0, 1) + b"\2p\x65\0\1\6\0\0\0\0": "a block of items whose size is not the",
        HEAD.pack(0, 1) + b"\2p" + b"\xff" * 11: "it ends early, or a size",
        HEAD.pack(0, 2) + b"\2p" + b"\2" * 500 + b"\0": "nested more than 100 levels",
        HEAD.pack(0, 3) + b"\2p" + b"\0" * 99: "it unfolds to more than 10000 types",
        HEAD.pack(0, 4) + b"\2p\0": "nested more than 100 levels",
        HEAD.pack(0, 5) + b"\2p" + b"\xfe\xff\xff\xff\x0f\0": "claims more values than its bytes",
        HEAD.pack(0, 6) + b"\xfe\xff\xff\xff\x0fp": "it ends early, or a size in it is negative",
    }

    job = same([*hostile, wire(PLAIN, 6, {"pump": "p"})], schema_registry(schemas), tmp_path)

    assert job[-1] == (None, "p", None, None)
    for (reason, *_), told in zip(job, hostile.values(), strict=False):
        assert told in reason


def _with(kind="int", field=None, **of_record):
    more = {"name": "x", "type": kind, **(field or {})}
    return {**PLAIN, "fields": [*PLAIN["fields"], more], **of_record}


def _fixed(size, **more):
    return _with({"type": "fixed", "name": "F", "size": size, **more})


def _enum(symbols, **more):
    return _with({"type": "enum", "name": "E", "symbols": symbols, **more})


def _text(text, **content):
    return {"schema": text, **content}  # of the registry's answer


def _marked(*names):
    """Fixed types of these names, side by side."""
    fields = [
        {"name": f"x{place}", "type": {"type": "fixed", "name": name, "size": 1}}
        for place, name in enumerate(names)
    ]
    return {**PLAIN, "fields": [*PLAIN["fields"], *fields]}


DECIMAL = {"type": "bytes", "logicalType": "decimal"}
BODY = b"\2p\0\0"  # sensor alone; then what the field more has: zeros
# what the specification leaves open, or what is written against it, and whether it is read
ODD = [
    (_fixed(3), True),
    (_fixed(3.0), False),
    (_fixed(3.7), False),
    (_fixed("3"), False),
    (_fixed(True), False),
    (_fixed(-1), False),
    (_fixed(2**31), False),
    (_fixed(2, aliases="F"), False),
    (_fixed(2, logicalType="decimal", precision=20_000), True),  # fits no two bytes: is none
    (_fixed(9000, logicalType="decimal", precision=10_000), True),
    (_fixed(9000, logicalType="decimal", precision=10_001), False),
    (_with({**DECIMAL, "precision": 10_000}), True),
    (_with({**DECIMAL, "precision": 10_001, "scale": 2}), False),
    (_with({**DECIMAL, "precision": 10**400}), False),
    (_with({**DECIMAL, "precision": 20_000, "scale": -1}), True),
    (_with({**DECIMAL, "precision": 20_000, "scale": True}), True),
    (_with({**DECIMAL, "precision": 20_000, "scale": None}), True),
    (_with({**DECIMAL, "precision": 20_000.0}), True),
    (_enum(["A"], aliases=None), True),
    (_enum(["A-B", "1", "", "ge\u00f6ffnet"]), True),  # read: Java takes letters of any alphabet
    (_enum(["A", "\ud800"]), False),
    (_enum(["A", "B", "A"]), False),
    (_enum(["A", "B"], default="B"), True),
    (_enum(["A", "B"], default=None), True),
    (_enum(["A", "B"], default="C"), False),
    (_enum(["A", "B"], default=["A"]), False),
    (_enum("AB"), False),
    (_enum({"A": 1}), False),
    (_enum(None), False),
    (_enum(["A", 5]), False),
    (_enum(["A", "B" * 1000]), True),
    (_enum(["A", "B" * 1001]), False),
    (_enum(["A"], namespace=5), False),
    (_enum(["A"], namespace=False), False),
    (_with(namespace=None), True),
    (_with(namespace=""), True),
    (_with(aliases=["Old"]), True),
    (_with(aliases=[5]), False),
    (_with(aliases="Old"), False),
    (_with(aliases={}), False),
    (_with(field={"aliases": ["y"]}), True),
    (_with(field={"aliases": [None]}), False),
    (_with(field={"aliases": "y"}), False),
    (_with(field={"default": "d" * 998}), True),
    (_with(field={"default": "d" * 999}), False),
    (_with(field={"default": "\u00e9" * 166}), True),
    (_with(field={"default": "\u00e9" * 167}), False),
    (_with(field={"default": '\x7f\n"\\' * 83 + "12"}), True),
    (_with(field={"default": '\x7f\n"\\' * 83 + "123"}), False),
    (_with(field={"default": [1] * 333}), True),
    (_with(field={"default": [1] * 334}), False),
    (_with(field={"default": {"ab": [True, None, {}], "c": "d" * 967}}), True),
    (_with(field={"default": {"ab": [True, None, {}], "c": "d" * 968}}), False),
    (_with(field={"default": 10**999}), True),
    (_with(field={"default": 10**1000}), False),
    ({"type": PLAIN}, False),
    ([PLAIN], False),
    ({"type": "enum", "name": "Reading", "symbols": ["A"]}, False),
    ({**PLAIN, "type": "error"}, True),
    ({**PLAIN, "fields": {"a": PLAIN["fields"][0]}}, False),
    ({key: value for key, value in PLAIN.items() if key != "fields"}, False),
    (_marked("A-B", "A_B", "1", "\u00e9", "a.b$C"), True),
    (_marked("A", "\udfff"), False),
    (_text(""), False),
    (_text("{"), False),
    (_text(json.dumps(PLAIN) + "\n"), True),
    (_text(json.dumps(PLAIN) + " {}"), False),
    (_text("\ufeff" + json.dumps(PLAIN)), False),
    (_text(json.dumps({**PLAIN, "doc": math.nan})), False),
    (_text(json.dumps({**PLAIN, "doc": -math.inf})), False),
    (_text(json.dumps({**PLAIN, "doc": 10**999})), True),
    (_text(json.dumps({**PLAIN, "doc": 10**1000})), False),
    (_text(json.dumps({**PLAIN, "doc": ["9" * 1001, 1e300]})), True),
    (_text(json.dumps(PLAIN), schemaType=None), True),
    (_text(json.dumps(PLAIN), schemaType="JSON"), False),
    (_text(json.dumps(PLAIN), references=[]), True),
    (_text(json.dumps(PLAIN), references=[{"name": "a"}]), False),
    (_with([["int", "null"], "string"]), True),
    (_with(["int", "int"]), True),
]


@pytest.mark.slow
def test_a_schema_that_is_odd_is_read_by_job_and_archive_or_by_neither(tmp_path, schema_registry):
    stored = {1: PLAIN, **{number: odd for number, (odd, _) in enumerate(ODD, 2)}}
    messages = [HEAD.pack(0, number) + BODY + b"\0" * 9000 for number in stored]

    job = same(messages, schema_registry(stored), tmp_path)

    for message in messages[1:]:  # alone, too: no schema stands in the way of another
        by_the_archive([messages[0], message])
    differing = [
        (str(odd)[-200:], reason)
        for (odd, is_read), (reason, *_) in zip(ODD, job[1:], strict=True)
        if is_read != (reason is None)
    ]
    assert differing == []


@pytest.mark.slow
def test_a_schema_nested_without_end_is_refused_and_the_job_goes_on(tmp_path, schema_registry):
    kind = {"type": "record", "name": "X", "fields": [], "junk": '[[\\"[JUNK'}
    twice = [{"name": name, "type": kind} for name in "xy"]  # so they are compared
    text = json.dumps({**PLAIN, "fields": [*PLAIN["fields"], *twice]})

    def junk(levels):  # behind a text that has brackets of its own
        deep = '", "more": ' + "[" * levels + "]" * levels + ', "end": "'
        return {"schema": text.replace("JUNK", deep)}

    stored = {1: PLAIN, 2: junk(900), 3: junk(1000), 4: junk(200_000)}
    running = schema_registry(stored)
    job, trouble = by_the_job([HEAD.pack(0, number) + BODY for number in stored], running, tmp_path)

    assert [reading[0] for reading in job] == [
        None,
        None,
        *(
            f"schema {number} cannot be read by: its JSON is nested more than 1000 levels deep"
            for number in (3, 4)
        ),
    ], trouble[-2000:]


@pytest.mark.slow
def test_a_page_in_the_place_of_a_schema_is_asked_for_again_and_no_word_on_its_id(
    tmp_path, schema_registry
):
    running, message = schema_registry({1: PLAIN, 2: {"schema": None}}), HEAD.pack(0, 1) + BODY
    running.page, running.trouble = (200, {"status": "maintenance"}), 2
    after_pages, _ = by_the_job([message], running, tmp_path)
    running.page, running.trouble = (200, b"<html>maintenance</html>"), 1
    after_html, _ = by_the_job([message], running, tmp_path)
    never, why = by_the_job([HEAD.pack(0, 2) + BODY], running, tmp_path)

    assert after_pages == after_html == [(None, "p", None, None)]
    assert running.asked == ["/schemas/ids/1"] * 5 + ["/schemas/ids/2"] * 5
    assert never == []
    assert "the schema registry does not answer: it gives no schema" in why


@pytest.mark.slow
def test_a_registry_that_is_down_is_asked_again_and_then_fails_the_job(tmp_path, schema_registry):
    running = schema_registry({1: PLAIN})
    running.login = "plant:planted-7c"
    message = wire(PLAIN, 1, {"pump": "p", "bar": 1.0, "at_ms": None})

    with_login, _ = by_the_job([message, message], running, tmp_path)
    asked, running.trouble = len(running.asked), 2
    after_trouble, _ = by_the_job([message], running, tmp_path)
    asked_again, running.trouble = len(running.asked) - asked, 0
    running.login = "plant:another"
    registry_file = tmp_path / "registry"
    refused, why = by_the_job([message], _Known(running.url, "plant:planted-7c"), tmp_path)
    down, silence = by_the_job([message], _Known("http://127.0.0.1:9", "u:planted-7c"), tmp_path)

    assert with_login == [(None, "p", 1.0, None)] * 2
    assert asked == 1
    assert after_trouble == with_login[:1]
    assert asked_again == 3
    assert (refused, down) == ([], [])  # no dead letters: nothing is said of messages
    assert "the schema registry refuses with 401" in why
    assert "the schema registry does not answer: ConnectException" in silence
    for text in (why, silence):
        assert "planted" not in text
        assert "127.0.0.1" not in text
    assert registry_file.read_text().endswith("planted-7c\n")


class _Known:
    def __init__(self, url, login):
        self.url, self.login = url, login


def test_what_is_registered_by_no_record_of_the_name_is_refused_by_the_archive(schema_registry):
    fields = [{"name": "pump", "type": "string"}, {"name": "Bar", "type": "double"}]
    schema_registry({1: {**PLAIN, "fields": fields}, 2: {**PLAIN, "name": "Alarm"}})

    with pytest.raises(ReplayError) as error:
        by_the_archive([HEAD.pack(0, 1) + b"\2p" + b"\0" * 8])
    assert str(error.value) == (
        "no schema of Reading has a field 'bar'\n  in kafka://pumps\n  did you mean 'Bar'?"
    )
    with pytest.raises(ReplayError, match=r"^schema 2 is of no readings: it is of Alarm, not of R"):
        by_the_archive([HEAD.pack(0, 2)])
