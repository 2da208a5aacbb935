"""Forms of numbers and times in JSON that few write, and topics that hold all of them."""

import math
import warnings

import numpy as np
import pyarrow as pa
import pytest

from workbench import archive
from workbench.errors import ArchiveError, ArchiveWarning

from .test_oracle import without_times
from .test_oracle_json import read, recorded  # noqa: F401
from .test_values import json_values, record, refuse, rows_of

SCHEMA_VERSION = 16  # of MessageMetadata
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
DATE = {"type": "int", "logicalType": "date"}
LOCAL = {"type": "long", "logicalType": "local-timestamp-millis"}
MIDDLE = "1.000000059604644775390625"  # of 1 and the next float


def decoded(kind, text):
    """Return the value of a field v, or what is said of it."""
    said = []
    (column,) = json_values(record(v=kind)).decode(
        rows_of([f'{{"v": {text}}}'.encode()]), lambda _, what: said.append(what)
    )
    return said[0] if said else column.cast(without_time(column.type))[0].as_py()


def without_time(kind):
    if not pa.types.is_temporal(kind):
        return kind
    return pa.int32() if kind.bit_width == 32 else pa.int64()


@pytest.mark.parametrize(
    ("text", "above"),
    [
        (MIDDLE, False),
        (MIDDLE[:-1] + "51", True),
        (MIDDLE[:-1] + "49", False),
        ("16777217.000000000000000001e0", True),
        ("340282356779733661637539395458142568447", False),
        ("340282356779733661637539395458142568449", True),
        ("1.4012984643248170709237295832899161312802619418765e-45", False),
        ("0.70064923216240853546186479164495806564013097093826e-45", True),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_float_is_the_one_nearest_to_the_text_and_not_to_its_double(text, above, nested):
    array = {"type": "array", "items": "float"}
    shown = decoded(array if nested else "float", f"[{text}]" if nested else text)

    below = np.float32(np.nextafter(float(text), 0)).item()
    with np.errstate(over="ignore"):
        next_one = np.nextafter(np.float32(below), np.float32(math.inf)).item()
    expected = next_one if above else below
    assert (shown[0] if nested else shown) == expected


def test_rows_of_floats_between_two_are_left_and_others_are_as_before():
    texts = [MIDDLE, "0.1", "1e-40", "null", "1e39", "-0.0", MIDDLE[:-1] + "51"]

    (column,) = json_values(record(v="float")).decode(
        rows_of([f'{{"v":{text}}}'.encode() for text in texts]), refuse
    )

    tenth, tiny = np.float32(0.1).item(), np.float32(1e-40).item()
    next_one = np.nextafter(np.float32(1), np.float32(2)).item()
    assert column.to_pylist() == [1.0, tenth, tiny, None, math.inf, 0.0, next_one]


@pytest.mark.parametrize("text", ["NaN", '"NaN"', "1e400", '"-Infinity"', "Infinity", "null"])
@pytest.mark.parametrize("kind", ["int", "long", DATE])
def test_a_number_that_is_none_is_a_missing_value_in_a_whole_field(kind, text):
    assert decoded(kind, text) is None


def test_a_char_of_java_is_no_number():
    kind = {"type": "int", "java-class": "java.lang.Character"}
    assert "expected a whole number of 32 bits" in decoded(kind, '"k"')


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1700000000.005000000", 1_700_000_000_005),
        ("-3.000000000", -3000),
        ("7E-9", 0),
        ("9.99E-7", 0),
        ("-0.500000000", -500),
        ("-7E-9", -1),
        ("0.0", 0),
    ],
)
def test_an_instant_of_jackson_is_an_instant(text, ms):
    assert decoded(MILLIS, text) == ms


def test_an_instant_that_two_versions_of_jackson_mean_otherwise_is_a_misfit():
    assert decoded(MILLIS, "-3.005000000").startswith(
        "field v is -3.005000000, before 1970: Jackson up to 2.20 and later ones mean another "
        "instant by it, and which wrote it is not known"
    )


@pytest.mark.parametrize(
    ("kind", "text", "number"),
    [
        (DATE, "[10000,1,1]", 2_932_897),
        (DATE, "[0,2,29]", -719_469),
        (DATE, "[-4623,6,9]", int(np.datetime64("-4623-06-09").astype(int))),
        (LOCAL, "[-1,12,31,23,59,59,999000000]", -62_167_219_200_001),
        (LOCAL, "[2024,1,1,0,0]", 1_704_067_200_000),
    ],
)
def test_a_day_of_java_may_lie_in_any_year(kind, text, number):
    assert decoded(kind, text) == number


@pytest.mark.parametrize("text", ["[2023,2,29]", "[0,2,30]", "[2147483648000,1,1]"])
def test_what_is_no_day_is_a_misfit(text):
    assert "day is out of range" in decoded(DATE, text) or "32 bits" in decoded(DATE, text)


@pytest.mark.parametrize("text", ['"QQ"', '"a-_b"', '"\\u00e4"'])
def test_a_text_that_is_not_base64_is_told_with_its_field(text):
    assert decoded("bytes", text).startswith("field v is ")
    assert "expected base64 text" in decoded("bytes", text)


def test_a_token_that_is_no_number_is_no_decimal():
    kind = {"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 1}
    assert decoded(kind, "NaN").startswith("field v is nan, expected a number")


def same_column(column, other):
    """Return whether two columns hold the same; NaN is what NaN is."""
    shown = [str(without_times(array).to_pylist()) for array in (column, other)]
    return column.type == other.type and shown[0] == shown[1]


@pytest.fixture
def bucket(pulsar, tmp_path, recorded):  # noqa: F811
    """All recorded topics in one bucket, and their schemas."""
    schemas = {}
    for number, topic in enumerate(recorded, 1):
        entries = [
            pulsar.entry(raw.encode("latin-1"), (SCHEMA_VERSION, version.to_bytes(8, "big")))
            for version, raw in topic["messages"]
        ]
        name = f"public/default/persistent/t{number}"
        pulsar.ledger(tmp_path, entries, number=number, topic=name)
        schemas[f"persistent://public/default/t{number}"] = [
            {"version": version, "type": "JSON", "schema": schema}
            for version, schema in enumerate(topic["schemas"])
        ]
    return str(tmp_path), schemas


@pytest.mark.slow
def test_every_recorded_topic_is_read_from_a_bucket_and_each_misfit_has_its_message(
    recorded,  # noqa: F811
    bucket,
):
    folder, schemas = bucket
    kept = archive.open(folder, schemas=schemas, misfits="null")
    strict = archive.open(folder, schemas=schemas)
    misfits = 0
    for number, topic in enumerate(recorded, 1):
        columns, said = read(topic)
        name = f"t{number}"

        opened = kept[name]
        table = opened.read(columns=list(columns))

        assert len(opened.damage.errors) == len(said)
        assert all(same_column(table[field].combine_chunks(), columns[field]) for field in columns)
        misfits += len(said)
        if said:
            with pytest.raises(ArchiveError, match=f"t{number}, message {number}:"):
                strict[name].read()
        else:
            assert len(strict[name].read()) == len(topic["messages"])
    assert misfits > 1000


@pytest.mark.slow
def test_without_a_schema_each_topic_is_read_or_refused_by_the_archive(recorded, bucket):  # noqa: F811
    folder, _ = bucket
    opened = archive.open(folder, misfits="null")
    for number, topic in enumerate(recorded, 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ArchiveWarning)
            assert len(opened[f"t{number}"].read()) == len(topic["messages"])
