"""The job's parser of readings and the archive's take the same for the same, on generated cases.

Thousands of messages, as producers write them and as they do not, go through `ReadingParser` in
one JVM and through the archive's reader of JSON. The rules are those of docs/stream-file.md.
"""

import base64
import math
import random
import subprocess
from pathlib import Path

import numpy as np
import pytest

from workbench import services
from workbench.archive.values.decoding import open_values
from workbench.archive.values.encoded import EncodedValues
from workbench.archive.values.schemas import Schema
from workbench.services.compilation import flink_jars, jar
from workbench.stream import parse_stream
from workbench.stream.flink_sql.functions import function_jar
from workbench.stream.function.parsing import parse

JARS = ("flink-dist-*.jar", "flink-table-api-java-uber-*.jar")
CASES = 6_000
NUMBERS = [
    "0", "1", "-1", "-0", "-0.0", "1.0", "1.5", "0.1", "1e3", "1E+3", "1e-400", "1e400", "-1e400",
    "NaN", "Infinity", "-Infinity", "nan", "inf", "INF", "+INF", "-INF", "+Infinity", "+1", "01",
    "-01", "1.", ".5", "1e", "0x10", "1_000", "--1", "9" * 400, "1" + "0" * 30,
    "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
    "9.1e18", "9.3e18", "1767571200000", "1767571200000.0", "1767571200000.5", "4.9e-324",
    "2.2250738585072011e-308", "1.7976931348623157e308", "1.7976931348623159e308",
    "0.1000000000000000055511151231257827021181583404541015625", "9007199254740993",
]  # fmt: skip
TEXTS = [
    '""', '"a"', '"NaN"', '"Infinity"', '"-Infinity"', '"nan"', '"1.5"', '"7"', '"pump-1"', '"é"',
    '"\\u00e9"', '"\\ud83d\\ude00"', '"\\ud800"', '"\\ud800a"', '"\\udc00"', '"\\n"', '"\\q"',
    '"\\u12"', '"a\nb"', '"\t"', '"\\/"', '"a', "'a'", '"\\""', '"\x7f"', '"null"', '" "',
]  # fmt: skip
OTHERS = [
    "null", "true", "false", "{}", "[]", "[1]", '{"a": 1}', '{"a": [1, {"b": NaN}]}', "[1,]",
    '{"a":}', "nul", "True", "None", "[[[[]]]]", "undefined", "", "[INF]", '{"a": 01}', "}", "]",
    '{"a": "\\q"}', "[1 2]", "// no", "/* no */ 1",
]  # fmt: skip
NAMES = ["pump", "bar", "at_ms", "more", "", "Pump", "b\\u0061r", "b ar", "refused"]
SPACES = ["", "", "", " ", "\n", "\t", "\r", "\x0b", "\xa0"]
FIXED = [
    None, b"", b" ", b"null", b"[]", b'"pump"', b"7", b"{", b"{}", b"{}{}", b"\xef\xbb\xbf{}",
    b'\xef\xbb\xbf{"pump": "a", "bar": 1}', b'\xef\xbb{"pump": "a"}', b'{"pump": "a"} \n',
    b'{"pump": "a"}x', b'{"pump": "a"},', b'{"pump": "a",}', b'{"pump": "a" "bar": 1}',
    b'{"pump": "a", "bar": 1, "bar": 2}', b'{"pump": "a", "bar": 1, "bar": null}',
    b'{"pump": "a", "bar": "x", "bar": 2}', b'{"pump": "a", "bar": 2, "bar": "x"}',
    b'{"pump": "\xff"}', b'{"pump": "a", "more": "\xff"}', b'{"pump": "\xed\xa0\x80"}',
    b'{"pump": "\xc0\x80"}', b'{"pump": "a", "more": "\xc3"}', '{"pump": "a"}'.encode("utf-16"),
    '{"pump": "a"}'.encode("utf-16-le"), '{"pump": "a"}'.encode("utf-32"), b'{"pump": "a\x00"}',
    b'{"pump": "a"}\x00', b"\x00\x00\x00\x06{}",
    b'{"pump": "a", "more": ' + b"[" * 300 + b"]" * 300 + b"}",
]  # fmt: skip


@pytest.mark.slow
def test_the_parsers_take_the_same_for_the_same(tmp_path):
    messages = [*FIXED, *_each(), *_generated(random.Random(20260105), CASES)]

    job, archive = _by_the_job(messages, tmp_path), _by_the_archive(messages)

    differing = [
        f"{message!r}: job {reading}, archive {row}"
        for message, reading, row in zip(messages, job, archive, strict=True)
        if not _same(reading, row)
    ]
    assert differing == []
    assert list(map(_by_the_function, messages)) == [reading and reading[:2] for reading in job]
    taken = sum(reading is not None for reading in job)
    assert 1000 < taken < len(messages) - 1000


@pytest.mark.slow
def test_a_number_that_is_none_is_a_missing_value_however_it_is_spelt(tmp_path):
    spellings = ["NaN", "Infinity", "-Infinity", '"NaN"', '"Infinity"', '"-Infinity"', "1e400"]
    spellings += ["-1e400", "9" * 400, "null"]
    messages = [
        f'{{"pump": "a", "bar": {spelling}, "at_ms": {spelling}}}'.encode()
        for spelling in spellings
    ]

    job = _by_the_job(messages, tmp_path)

    assert job == _by_the_archive(messages)
    assert set(job[:-2]) | {job[-1]} == {("a", None, None)}
    assert job[-2] is None  # a whole number of 400 digits is none of 64 bits


def _each():
    """Yield every odd value in every column, and in a field that nobody asked for."""
    for value in (*NUMBERS, *TEXTS, *OTHERS):
        yield f'{{"pump": {value}, "bar": 1.5}}'.encode()
        for name in ("bar", "at_ms", "more"):
            yield f'{{"pump": "a", "{name}": {value}, "bar": 2}}'.encode()


def _generated(rng, count):
    for _ in range(count):
        values = (NUMBERS, TEXTS, OTHERS)
        odd = rng.random() < 0.7
        fields = {
            "pump": '"pump-1"',
            "bar": f"{rng.normalvariate(0, 1):.6g}",
            "at_ms": "1767571200000",
        }
        parts = [f'"{name}":{value}' for name, value in fields.items() if rng.random() < 0.9]
        for _ in range(rng.randrange(3) if odd else 0):
            value = rng.choice(rng.choice(values))
            parts.insert(
                rng.randrange(len(parts) + 1),
                f'"{rng.choice(NAMES)}"{_space(rng)}:{_space(rng)}{value}',
            )
        text = _space(rng) + "{" + f",{_space(rng)}".join(parts) + "}" + _space(rng)
        yield _damaged(rng, text.encode("utf-8", "surrogatepass"))


def _space(rng):
    return rng.choice(SPACES) if rng.random() < 0.3 else ""


def _damaged(rng, message):
    if rng.random() < 0.85 or not message:
        return message
    place = rng.randrange(len(message))
    return rng.choice(
        [
            message[:place],
            message[place:],
            message[:place] + message[place + 1 :],
            message[:place] + bytes([rng.randrange(256)]) + message[place:],
            message + message,
        ]
    )


def _by_the_job(messages, folder):
    """Return (sensor, number, whole number) of each message, None where it is refused."""
    lines = ("null" if one is None else base64.b64encode(one).decode() for one in messages)
    cases = folder / "cases"
    cases.write_text("".join(line + "\n" for line in lines))
    path = [*flink_jars(*JARS), function_jar()]
    runner = jar(Path(__file__).with_name("java"), path)
    command = [
        services.java(),
        "-cp",
        ":".join(map(str, [*path, runner])),
        "workbench.ReadingCases",
    ]
    done = subprocess.run(
        [*command, cases], capture_output=True, text=True, check=True, timeout=300
    )
    return [_read(line.split("\t")) for line in done.stdout.splitlines()]


def _read(parts):
    refused, sensor, number, whole = parts
    if refused != "null":
        return None
    name = base64.b64decode(sensor[1:]).decode()
    return (
        name,
        None if number == "null" else float(number),
        None if whole == "null" else int(whole),
    )


def _by_the_archive(messages):
    """Return the same by the archive's reader; what misfits, and what has no sensor, is refused."""
    fields = [("pump", "string"), ("bar", "double"), ("at_ms", "long")]
    definition = {
        "type": "record",
        "name": "Reading",
        "fields": [{"name": name, "type": ["null", kind]} for name, kind in fields],
    }
    values = open_values([Schema(0, "JSON", definition)], [name for name, _ in fields])
    data = np.frombuffer(b"".join(one or b"" for one in messages), np.uint8)
    sizes = np.array([-1 if one is None else len(one) for one in messages], np.int64)
    starts = np.concatenate([[0], np.cumsum(np.maximum(sizes, 0))[:-1]])
    misfits = set()
    columns = values.decode(
        EncodedValues(data, starts, sizes, np.full_like(sizes, -1)),
        lambda row, what: misfits.add(row),
    )
    pumps, bars, times = (column.to_pylist() for column in columns)
    return [
        None if row in misfits or not pump else (pump, _number(bar), moment)
        for row, (pump, bar, moment) in enumerate(zip(pumps, bars, times, strict=True))
    ]


def _by_the_function(message):
    """Return (sensor, number) by the parser of a Pulsar Function, which takes no null."""
    content = {"topic": "t", "sensor": "pump", "channels": ["bar"], "alerts": "a", "window": 2}
    stream = parse_stream("cases", {**content, "event_time": "at_ms"})
    try:
        reading = parse(stream, message or b"", "7:1:-1:0", (0, 1))
    except ValueError:
        return None
    return reading.sensor, _number(reading.channels["bar"])


def _number(value):
    return value if value is not None and math.isfinite(value) else None


def _same(job, archive):
    """Compare both, but for a list or object in a field of text: the archive keeps its JSON."""
    return job == archive or (job is None and archive[0][:1] in ("{", "["))
