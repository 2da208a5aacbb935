"""A topic as a DataFrame: the rows, their order, the columns and the refusals of `archive`."""

import datetime as dt
import decimal
import io
import json
import subprocess
from pathlib import Path

import fastavro
import pyarrow as pa
import pytest

from workbench import archive

from .conftest import MARKS

pytestmark = MARKS

SAMPLE = Path(__file__).parents[2] / "data" / "archive"
TOPIC = "persistent://public/default/t"


def sql(folder, text):
    """Return what `workbench sql` answers, instants in microseconds as Spark has them."""
    table = archive.table(archive.open(str(folder)), text)
    return table.cast(pa.schema([_in_us(field) for field in table.schema]))


def _in_us(field):
    if not pa.types.is_timestamp(field.type):
        return field
    return field.with_type(pa.timestamp("us", tz=field.type.tz and "UTC"))


def failure(call):
    """Return what a user of Spark is told."""
    from pyspark.errors import PySparkException

    with pytest.raises(PySparkException) as caught:
        call()
    return str(caught.value)


def test_the_sample_is_the_table_of_workbench_sql_row_by_row(rows):
    frame = rows(SAMPLE, "pumps")

    given, expected = frame.toArrow(), sql(SAMPLE, "select * from pumps")
    assert given.num_rows == 120_045
    assert given.column_names == expected.column_names
    for name in given.column_names:
        assert given[name].combine_chunks().to_pylist() == expected[name].to_pylist(), name


def test_columns_and_an_interval_are_chosen_and_times_are_those_of_read(rows):
    start, stop = "2026-01-12T00:00:00Z", "2026-01-13T06:00:00Z"
    names = ["pump", "vibration_mm_s", "event_time", "__message_id__"]

    frame = rows(SAMPLE, "pumps", columns=json.dumps(names), start=start, stop=stop)

    table = archive.open(str(SAMPLE)).topic("pumps").read(
        start, stop, columns=["pump", "vibration_mm_s", "event_time"]
    )  # fmt: skip
    given = frame.toArrow()
    assert given.column_names == names
    assert given.select(names[:2]).to_pydict() == table.select(names[:2]).to_pydict()
    assert given["event_time"].cast(pa.int64()).to_pylist() == [
        1000 * ms for ms in table["event_time"].cast(pa.int64()).to_pylist()
    ]


def test_publish_time_chooses_too(rows):
    start = "2026-01-15T00:00:00Z"

    frame = rows(SAMPLE, "pumps", columns="pump", start=start, by="publish_time")

    expected = archive.open(str(SAMPLE)).topic("pumps").read(start, by="publish_time")
    assert frame.count() == len(expected)


def test_the_session_may_be_of_any_zone_and_of_ansi_or_not(spark, rows):
    counts = []
    for zone, ansi in (("America/New_York", "true"), ("Asia/Kolkata", "false")):
        spark.conf.set("spark.sql.session.timeZone", zone)
        spark.conf.set("spark.sql.ansi.enabled", ansi)
        frame = rows(SAMPLE, "pumps", columns="event_time")
        counts.append(frame.selectExpr("sum(unix_millis(event_time) % 1000003)").first()[0])
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    spark.conf.set("spark.sql.ansi.enabled", "true")

    times = archive.open(str(SAMPLE)).topic("pumps").times()
    assert counts == [int((times % 1000003).sum())] * 2


def test_chunks_and_transactions_across_partitions_are_whole(rows, pulsar, tmp_path):
    def chunk(number):
        return pulsar.entry(b"ab", (26, b"x"), (27, 3), (28, 6), (29, number))

    of, end = ((22, 5), (23, 1)), ((20, 21), (22, 5), (23, 1))
    ledgers = [
        [pulsar.entry(b"committed", *of), chunk(0)],
        [chunk(1), pulsar.entry(b"undecided", (22, 6), (23, 1))],
        [chunk(2), pulsar.entry(b"", *end)],
    ]
    for number, entries in enumerate(ledgers, 1):
        pulsar.ledger(tmp_path, entries, number=number)

    frame = rows(tmp_path, columns="value,__message_id__", partitions="3")

    assert frame.rdd.getNumPartitions() == 3
    assert [tuple(row) for row in frame.collect()] == [
        (b"committed", "1:0:-1:-1"),
        (b"ababab", "3:0:-1:-1"),
    ]


def test_an_interval_without_readings_is_an_empty_frame(rows, pulsar, tmp_path):
    pulsar.ledger(tmp_path, [pulsar.entry(b"v")])

    assert rows(tmp_path, start="2030-01-01").count() == 0


AVRO = {
    "type": "record",
    "name": "R",
    "fields": [
        {"name": "Temp", "type": "double"},
        {"name": "temp", "type": "float"},
        {"name": "flag", "type": "boolean"},
        {"name": "count", "type": ["null", "int"]},
        {"name": "fixed", "type": {"type": "fixed", "name": "F", "size": 3}},
        {
            "name": "price",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        },
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "clock", "type": {"type": "long", "logicalType": "time-micros"}},
        {"name": "instant", "type": {"type": "long", "logicalType": "timestamp-nanos"}},
        {"name": "local", "type": {"type": "long", "logicalType": "local-timestamp-millis"}},
        {"name": "nothing", "type": "null"},
        {
            "name": "parts",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "P",
                    "fields": [
                        {
                            "name": "ids",
                            "type": {
                                "type": "map",
                                "values": {"type": "long", "logicalType": "timestamp-millis"},
                            },
                        },
                        {"name": "raw", "type": ["null", "F"]},
                    ],
                },
            },
        },
    ],
}
TYPES = (
    "struct<Temp__1:double,temp__2:float,flag:boolean,count:int,fixed:binary,price:decimal(9,2),"
    "day:date,clock:string,instant:timestamp,local:timestamp_ntz,nothing:void,"
    "parts:array<struct<ids:map<string,timestamp>,raw:binary>>>"
)


def avro_topic(pulsar, folder, instants_ns):
    """Write a topic of records of all types, with these instants."""
    schema = fastavro.parse_schema(json.loads(json.dumps(AVRO)))
    entries = []
    for i, instant_ns in enumerate(instants_ns):
        out = io.BytesIO()
        record = {
            "Temp": 1.5,
            "temp": 2.5,
            "flag": True,
            "count": None if i else 7,
            "fixed": b"abc",
            "price": decimal.Decimal("-12.34"),
            "day": dt.date(2026, 1, 5),
            "clock": dt.time(12, 30, 0, 250),
            "instant": instant_ns,
            "local": 1_767_571_200_000,
            "nothing": None,
            "parts": [{"ids": {"a": 1_767_571_200_001}, "raw": None}, {"ids": {}, "raw": b"xyz"}],
        }
        fastavro.schemaless_writer(out, schema, record)
        entries.append(pulsar.entry(out.getvalue(), (16, bytes(8))))
    pulsar.ledger(folder, entries)
    stored = {TOPIC: [{"version": 0, "type": "AVRO", "schema": AVRO}]}
    (folder / "schemas.json").write_text(json.dumps(stored))


def test_every_type_of_value_is_one_of_sparks(rows, pulsar, tmp_path):
    instant_ns = 1_767_571_200_123_456_000
    avro_topic(pulsar, tmp_path, [instant_ns, instant_ns])
    names = [part.split(":")[0] for part in TYPES[7:].split(",")]
    names = [*names[:5], "price", "day", "clock", "instant", "local", "nothing", "parts"]

    frame = rows(tmp_path, columns=json.dumps(names))

    assert frame.schema.simpleString() == TYPES
    first, second = frame.toArrow().to_pylist()
    moment = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
    assert first == {
        "Temp__1": 1.5,
        "temp__2": 2.5,
        "flag": True,
        "count": 7,
        "fixed": b"abc",
        "price": decimal.Decimal("-12.34"),
        "day": dt.date(2026, 1, 5),
        "clock": "12:30:00.000250",
        "instant": moment + dt.timedelta(microseconds=123_456),
        "local": dt.datetime(2026, 1, 5),
        "nothing": None,
        "parts": [
            {"ids": [("a", moment + dt.timedelta(milliseconds=1))], "raw": None},
            {"ids": [], "raw": b"xyz"},
        ],
    }
    assert second == {**first, "count": None}


def test_nanoseconds_that_spark_cannot_hold_are_refused_by_message_id(rows, pulsar, tmp_path):
    instant_ns = 1_767_571_200_123_456_000
    avro_topic(pulsar, tmp_path, [instant_ns, instant_ns + 1])

    said = failure(rows(tmp_path, columns="flag,instant").collect)

    assert (
        "ArchiveError: Spark cannot hold a value of column 'instant': Casting from "
        "timestamp[ns, tz=UTC] to timestamp[us, tz=UTC] would lose data: 1767571200123456001\n"
        f"  in {TOPIC}, message 1:1:-1:-1\n"
        '  leave the column out: .option("columns", "...") names those wanted'
    ) in said
    assert rows(tmp_path, columns="flag").count() == 2


def test_damage_is_an_error_with_its_place_and_never_a_shorter_answer(rows, pulsar, tmp_path):
    pulsar.ledger(tmp_path, [pulsar.entry(b"v")], number=1)
    key = pulsar.ledger(tmp_path, [pulsar.entry(b"damaged")], number=2)
    pulsar.ledger(tmp_path, [pulsar.entry(b"v")], number=3)
    frame = rows(tmp_path, columns="value", partitions="3")
    path = tmp_path / key
    path.write_bytes(path.read_bytes()[:-1] + b"x")

    said = failure(frame.count)

    assert "ArchiveError: entry 0 of ledger 2: CRC32C is" in said
    assert f"  in {key} at byte 140" in said


def test_a_misfit_is_an_error_with_its_message_id(rows, pulsar, tmp_path):
    avro_topic(pulsar, tmp_path, [1_767_571_200_000_000_000])
    pulsar.ledger(tmp_path, [pulsar.entry(b"\x01", (16, bytes(8)))], number=2)

    said = failure(rows(tmp_path, columns="flag").collect)

    assert "ArchiveError: the value does not fit the schema" in said
    assert f"  in {TOPIC}, message 2:0:-1:-1" in said


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"colums": "value"}, "pulsar_archive has no option 'colums'\n  did you mean 'columns'?"),
        ({"columns": "valu"}, f"no column 'valu'\n  in {TOPIC}\n  did you mean 'value'?"),
        ({"start": "soon"}, "'soon' is not a time\n  expected ISO 8601"),
        ({"by": "time"}, "cannot select by 'time'"),
        ({"partitions": "0"}, "option 'partitions' is '0', expected a number from 1"),
        ({"generation": "2"}, f"{TOPIC} has no generation 2\n  it has 1 to 1"),
        ({"topic": "u"}, "no topic 'u'"),
        ({"topic": ""}, 'pulsar_archive has no topic\n  give it: .option("topic", "t")'),
    ],
    ids=lambda given: str(given)[:24],
)
def test_what_cannot_be_is_refused_when_it_is_asked_for(rows, pulsar, tmp_path, options, text):
    pulsar.ledger(tmp_path, [pulsar.entry(b"v")])

    assert f"Error: {text}" in failure(lambda: rows(tmp_path, **options))


def test_a_schema_of_ones_own_is_refused(spark, pulsar, tmp_path):
    pulsar.ledger(tmp_path, [pulsar.entry(b"v")])
    source = spark.read.format("pulsar_archive").option("topic", "t").option("columns", "value")

    frame = source.schema("value string").load(str(tmp_path))

    expected = "the schema given is struct<value:string>, the topic's is struct<value:binary>"
    assert expected in failure(frame.collect)


def test_several_generations_are_not_chosen_from_in_silence(rows, pulsar, tmp_path):
    uuid = "00000000-0000-4000-8000-00000000000{}"
    pulsar.ledger(tmp_path, [pulsar.entry(b"old")], number=1, uuid=uuid.format(1))
    entries = [pulsar.entry(b"new"), pulsar.entry(b"new")]
    pulsar.ledger(tmp_path, entries, number=1, uuid=uuid.format(2))

    said = failure(lambda: rows(tmp_path))

    assert "are of 2 generations" in said
    assert '.option("generation", 1)' in said
    counts = [rows(tmp_path, generation=number).count() for number in (1, 2)]
    assert sorted(counts) == [1, 2]


def test_spark_listens_on_loopback_alone(spark):
    process = spark.sparkContext._gateway.proc.pid
    shown = subprocess.run(["ss", "-ltnp"], capture_output=True, text=True, check=True).stdout
    mine = [line.split()[3] for line in shown.splitlines() if f"pid={process}," in line]

    assert mine
    assert [
        address for address in mine if "127.0.0.1" not in address and "[::1]" not in address
    ] == []
