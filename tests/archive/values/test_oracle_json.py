"""JSON of hundreds of generated topics is what the Java client 4.0.8 reads: `make oracle`.

Its answers are in `oracle/recorded_json.jsonl.xz`: the fields of a GenericJsonRecord, and a POJO
where the Java client wrote the values. `expected` says what docs/archive-format.md makes of the
former: what it refuses has to be a misfit, and nothing else may be one.
"""

import base64
import datetime as dt
import json
import lzma
import math
import re
from collections import Counter
from decimal import Context, Decimal
from pathlib import Path

import numpy as np
import pytest

from workbench.archive import EncodedValues, Schema, open_values
from workbench.archive.values.avro.arrow_types import arrow_type, is_text, narrowed
from workbench.archive.values.avro.schema import parse
from workbench.archive.values.grid import bounds

from .test_oracle import same, shown, without_times

RECORDED = Path(__file__).parents[1] / "oracle" / "recorded_json.jsonl.xz"
# Jackson refuses these; they are read here, as docs/archive-format.md says
READ_HERE = re.compile(r'(?<!["\w])-?(NaN|Infinity)|\d{1001}|[eE]\d{10}|^\ufeff', re.DOTALL)
# Jackson takes these; they are misfits here: bytes behind an object, no object, no UTF-8
TOO_LONG = re.compile(r"expected (at most )?\d+( digits|: )")  # decimals
BEFORE_1970 = re.compile(r"before 1970: Jackson up to 2.20 and later ones mean another instant")
REFUSED_HERE = re.compile(
    r"Extra data|codec can't decode|expected an object|Expecting value: line 1 column [12] "
)
NO_NUMBERS = ("NaN", "Infinity", "-Infinity")
DIGITS = Context(prec=80)
PER_SECOND = {"millis": 10**3, "micros": 10**6, "nanos": 10**9}


class RefusedError(Exception):
    """A value that the archive's rules make a misfit."""


class Near(float):
    """A decimal, a float or a text, of which the Java client gives the nearest double."""


@pytest.fixture(scope="module")
def recorded():
    lines = lzma.decompress(RECORDED.read_bytes()).decode().splitlines()
    return [json.loads(line) for line in lines]


def read(topic):
    """Return the columns of a topic's messages, and what was said of its misfits, by message."""
    schemas = [Schema(version, "JSON", one) for version, one in enumerate(topic["schemas"])]
    payloads = [raw.encode("latin-1") for _, raw in topic["messages"]]
    sizes = np.array([len(raw) for raw in payloads], np.int64)
    data = np.frombuffer(b"".join(payloads) + b"!", np.uint8).copy()
    versions = np.array([version for version, _ in topic["messages"]], np.int64)
    values, said = open_values(schemas, None), {}
    encoded = EncodedValues(data, np.cumsum(sizes) - sizes, sizes, versions)
    arrays = values.decode(encoded, lambda row, what: said.setdefault(row, what))
    for array in arrays:
        array.validate(full=True)
    return dict(zip([field.name for field in values.fields], arrays, strict=True)), said


def of_all_versions(topic):
    """Return the fields as columns have them: the newest's, and those that only older ones have."""
    fields = {}
    for definition in reversed(topic["schemas"]):
        for field in parse(definition).fields:
            fields.setdefault(field.name, field.type)
    return fields


def plain(answer):
    """Return the Python value of an answer, as `json` reads it."""
    if not isinstance(answer, dict):
        return answer
    ((name, value),) = answer.items()
    if name == "array":
        return [plain(item) for item in value]
    if name == "object":
        return {key: plain(item) for key, item in value.items()}
    return float(value) if name == "double" else value  # bytes: the text, which Java decoded


def text(value):
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def whole_text(value):
    """Return a value with texts that UTF-8 can hold."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, list):
        return [whole_text(item) for item in value]
    if isinstance(value, dict):
        return {text(key): whole_text(item) for key, item in value.items()}
    return value


def expected(value, kind):
    """Return what a column shows of a value as `json` reads it, or raise RefusedError."""
    if value is None:
        return None
    if is_text(kind):
        return whole_text(value)
    kind = narrowed(kind)
    if kind.kind == "record":
        inner = only(value, dict)
        return {field.name: expected(inner.get(field.name), field.type) for field in kind.fields}
    if kind.kind == "array":
        return [expected(item, kind.items) for item in only(value, list)]
    if kind.kind == "map":
        pairs = only(value, dict).items()
        return sorted((text(key), expected(item, kind.items)) for key, item in pairs)
    if kind.logical == "decimal":
        return Near(number(value))
    if kind.kind in ("int", "long"):
        return whole(value, kind)
    if kind.kind in ("float", "double"):
        found = float(value) if value in NO_NUMBERS else number(value)
        return Near(found) if kind.kind == "float" else found
    if kind.kind in ("bytes", "fixed"):
        return raw_bytes(only(value, str), kind.size if kind.kind == "fixed" else None)
    if kind.kind in ("boolean", "null"):
        return only(value, bool if kind.kind == "boolean" else type(None))
    return in_text(value)


def only(value, kind):
    if not isinstance(value, kind):
        raise RefusedError
    return value


def in_text(value):
    if isinstance(value, str):
        return text(value)
    if value in (math.inf, -math.inf):
        return None
    return Near(value) if isinstance(value, float) else whole_text(value)


def number(value):
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RefusedError
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def raw_bytes(value, size):
    try:
        raw = base64.b64decode(value, validate=True)
    except ValueError:
        raise RefusedError from None
    if size is not None and len(raw) != size:
        raise RefusedError
    return raw


def whole(value, kind):
    """Return a whole number, also of Java's times."""
    if value in NO_NUMBERS or value in (math.inf, -math.inf):
        return None
    if isinstance(value, list) and kind.logical:
        return java_time(value, kind)
    least, most = bounds(arrow_type(kind))
    if kind.logical.startswith("timestamp-") and isinstance(value, float):
        return Near(value)  # of seconds with nine digits; or whole. POJOs tell which
    if not number(value).is_integer() or not least <= value <= most:
        raise RefusedError
    return int(value)


def java_time(parts, kind):
    """Return the number for [year, month, day, hour, minute, second, nano], or parts of it."""
    unit = PER_SECOND.get(kind.logical.rpartition("-")[2], 0)
    sizes = {"date": (3,), "time": (2, 3, 4), "local": (5, 6, 7)}
    if len(parts) not in sizes.get(kind.logical.partition("-")[0], ()):
        raise RefusedError
    if not all(type(part) is int for part in parts):
        raise RefusedError
    whole = parts if not kind.logical.startswith("time-") else [1970, 1, 1, *parts]
    year, month, day, hour, minute, second, nano = [*whole, 0, 0, 0, 0][:7]
    try:
        days = int(np.datetime64(f"{year:05d}-{month:02d}-{day:02d}").astype(np.int64))
        dt.time(hour, minute, second, nano // 1000)
    except (ValueError, OverflowError):
        raise RefusedError from None
    if kind.logical == "date":
        return days
    return (days * 86_400 + hour * 3600 + minute * 60 + second) * unit + nano * unit // 10**9


def agree(ours, theirs, kind):
    """Return whether a column's value is the expected one."""
    if isinstance(theirs, Near):
        if kind.logical.startswith("timestamp-"):
            return is_time(ours, theirs, kind)
        if kind.kind == "float":
            return is_float(ours, theirs)
        if isinstance(ours, bytes):
            ours = Decimal(int.from_bytes(ours, "big", signed=True)).scaleb(-kind.scale, DIGITS)
        return ours is not None and same(float(ours), float(theirs))
    if isinstance(theirs, dict) and kind.kind == "record":
        types = {field.name: narrowed(field.type) for field in kind.fields}
        return all(agree(ours[name], theirs[name], types[name]) for name in types)
    if isinstance(theirs, list) and kind.items is not None and kind.kind in ("array", "map"):
        inner = narrowed(kind.items)
        if kind.kind == "map":
            keys = [key for key, _ in theirs]
            return [key for key, _ in ours] == keys and all(
                agree(a, b, inner) for (_, a), (_, b) in zip(ours, theirs, strict=True)
            )
        return len(ours) == len(theirs) and all(
            agree(a, b, inner) for a, b in zip(ours, theirs, strict=True)
        )
    if isinstance(ours, str) and not isinstance(theirs, str):
        ours = json.loads(ours)
    return same(ours, theirs)


def is_float(ours, theirs):
    """Return whether a float is nearest to a double; of one in the middle, either is."""
    with np.errstate(over="ignore"):
        nearest = np.float32(theirs).item()
    return same(ours, nearest) or ours + nearest == 2 * theirs


def is_time(ours, theirs, kind):
    unit = PER_SECOND[kind.logical.rpartition("-")[2]]
    return ours == theirs or math.isclose(ours, theirs * unit, rel_tol=2**-50, abs_tol=1)


def disagreement(topic, entry, columns, said, fields):
    """Return what differs in a message from what GenericJsonRecord gives, or None."""
    answer, raw = topic["generic"][entry], topic["messages"][entry][1].encode("latin-1")
    misfit = said.get(entry)
    if "error" in answer:
        readable = READ_HERE.search(raw.decode(errors="replace"))
        return None if misfit or readable else "Jackson refuses it"
    if misfit and REFUSED_HERE.search(misfit):
        return None
    wrong = {}
    for name, kind in fields.items():
        try:
            theirs = expected(plain(answer[name]), kind)
        except RefusedError:
            return None if misfit else f"{name} is read, {answer[name]}"
        if not misfit and not agree(columns[name][entry], theirs, narrowed(kind)):
            wrong[name] = columns[name][entry], theirs
    if misfit and may_be_refused(misfit, str(topic["schemas"])):
        return None
    return misfit or wrong or None


def may_be_refused(misfit, schemas):
    """Return whether a misfit is of a text that the Java client does not give as written."""
    if TOO_LONG.search(misfit):
        return "decimal" in schemas
    if "expected base64" in misfit:
        return "bytes" in schemas  # Jackson steps over white space and control characters
    times = "timestamp-" in schemas
    return times and bool(BEFORE_1970.search(misfit) or "whole number of 64 bits" in misfit)


def shown_columns(topic):
    columns, said = read(topic)
    fields = of_all_versions(topic)
    numbers = {name: without_times(array).to_pylist() for name, array in columns.items()}
    values = {name: [as_json(x, fields[name]) for x in column] for name, column in numbers.items()}
    return values, said, fields


def as_json(value, kind):
    if value is not None and is_text(kind):
        return json.loads(value)
    return shown(value, kind)


@pytest.mark.slow
def test_json_is_what_the_java_client_reads(recorded):
    counts, different = Counter(), []
    for number_, topic in enumerate(recorded):
        columns, said, fields = shown_columns(topic)
        counts["messages"] += len(topic["messages"])
        counts["misfits"] += len(said)
        for entry in range(len(topic["messages"])):
            what = disagreement(topic, entry, columns, said, fields)
            if what is not None:
                different.append((number_, entry, topic["messages"][entry][1], what))
    assert different == []
    assert counts["messages"] > 7000
    assert counts["misfits"] < counts["messages"] / 2


def of_pojo(answer, kind):
    """Return what a column shows of a POJO's field."""
    kind = narrowed(kind)
    if answer is None or not isinstance(answer, dict):
        return answer
    ((name, value),) = answer.items()
    if name == "array":
        return [of_pojo(item, kind.items) for item in value]
    if name == "object" and kind.kind == "map":
        # without nulls, which Jackson leaves out
        held = {key: item for key, item in value.items() if item is not None}
        return sorted((key, of_pojo(item, kind.items)) for key, item in held.items())
    if name == "object":
        return {field.name: of_pojo(value[field.name], field.type) for field in kind.fields}
    if name in ("float", "double"):
        return np.float32(value).item() if name == "float" else float(value)
    if name == "bytes":
        return base64.b64decode(value)
    if name == "decimal":
        return Decimal(value) if kind.logical == "decimal" else value
    unit = PER_SECOND.get(kind.logical.rpartition("-")[2], 0)
    if name == "instant":
        second, nano = map(int, value.split())
        return second * unit + nano * unit // 10**9
    return value if name == "day" else value * unit // 10**9


def unlike(values, entry, columns, fields):
    """Yield the fields of a message that a POJO has otherwise: name, column's value, POJO's."""
    for name, kind in fields.items():
        ours, theirs = columns[name][entry], of_pojo(values["object"][name], kind)
        if not same(ours, theirs):
            yield name, ours, theirs


def is_before_1970(held, misfit):
    second, nano = held["object"]["at"]["instant"].split()
    return bool(BEFORE_1970.search(misfit)) and int(second) < 0 and int(nano) > 0


@pytest.mark.slow
def test_what_the_java_client_wrote_is_what_its_objects_held(recorded):
    counts, different = Counter(), []
    for topic in recorded:
        if "held" not in topic:
            continue
        columns, said, fields = shown_columns(topic)
        for entry, held in enumerate(topic["held"]):
            if entry in said:
                if not (TOO_LONG.search(said[entry]) or is_before_1970(held, said[entry])):
                    different.append((topic["messages"][entry][1], said[entry]))
                continue
            counts[topic["pojo"]] += 1
            what = [
                (name, ours, theirs)
                for name, ours, theirs in unlike(held, entry, columns, fields)
                if not (name == "amount" and is_number(ours, theirs))
            ]
            different += [(topic["messages"][entry][1], what)] if what else []
    assert different == []
    assert counts.keys() == {"Nested", "Numbers", "Texts", "Times"}
    assert min(counts.values()) > 50


def is_another_rule(ours, theirs, kind):
    """Return whether docs/archive-format.md says why a column's value is not the POJO's."""
    kind = narrowed(kind)
    if ours is None:  # an int of Java has no null: 0; no double holds the number in the text
        return not theirs or (kind.kind == "string" and math.isinf(float(theirs)))
    if kind.logical.startswith("timestamp-"):
        return theirs == ours * 1000  # the schema says the unit of a whole number; Jackson: s
    if kind.kind == "enum":
        return ours.isdigit()  # Java counts its symbols
    if theirs is None:
        return not ours.strip("\0 ")  # a blank text is no BigDecimal
    return kind.kind == "string" and (is_number(ours, theirs) or ours == whole_text(theirs))


def is_number(ours, theirs):
    """Return whether a text is the same number, a whole one by its digits alone, as in the job."""
    try:
        return float(ours) == float(theirs)
    except ValueError:
        return False


@pytest.mark.slow
def test_a_changed_value_is_what_the_pojo_reads_or_has_a_rule_of_its_own(recorded):
    counts, different = Counter(), []
    for topic in recorded:
        if topic.get("pojo") not in ("Numbers", "Texts", "Times"):
            continue
        columns, said, fields = shown_columns(topic)
        for entry, pojo in enumerate(topic["pojos"]):
            if entry in said or "error" in pojo or "held" in topic:
                continue
            counts[topic["pojo"]] += 1
            for name, ours, theirs in unlike(pojo, entry, columns, fields):
                if not is_another_rule(ours, theirs, fields[name]):
                    different.append((topic["messages"][entry][1], name, ours, theirs))
    assert different == []
    assert min(counts.values()) > 30
