"""Event times that cannot be: their rows come out, and what is left out is told."""

import json
import struct

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner

from workbench import archive
from workbench.cli import cli
from workbench.errors import ArchiveError, ArchiveWarning
from workbench.history import odd_times, replay

GOOD_MS = 1_767_571_200_000
YEAR_2339_MS = 11_651_379_494_838  # stamped by older Go clients where there was no event time
WRONG = {
    "2339": YEAR_2339_MS,
    "us": GOOD_MS * 1000,
    "ns": GOOD_MS * 1_000_000,
    "negative": (1 << 64) - 1000,
    "most": (1 << 63) - 1,
}


@pytest.fixture
def bucket(pulsar, tmp_path):
    def make(event_ms):
        times = (GOOD_MS, event_ms, GOOD_MS + 2000)
        entries = [
            pulsar.entry(json.dumps({"pump": "a", "v": i}).encode(), (12, ms))
            for i, ms in enumerate(times)
        ]
        pulsar.ledger(tmp_path, entries)
        return str(tmp_path)

    return make


@pytest.mark.parametrize("event_ms", WRONG.values(), ids=WRONG)
def test_the_rows_of_such_messages_come_out_everywhere(bucket, event_ms):
    url = bucket(event_ms)
    wanted = event_ms if event_ms < 1 << 63 else 1_700_000_000_000  # negative: published then

    frame = replay("t", archive=url)

    assert frame["v"].tolist() == [0, 1, 2]
    assert frame["event_time"].dtype.tz is not None
    index = pd.DatetimeIndex(frame["event_time"])
    assert index.as_unit("ms").asi8.tolist() == [GOOD_MS, wanted, GOOD_MS + 2000]
    assert str(frame["publish_time"].dtype) == "datetime64[ns, UTC]"
    for option in ((), ("--json",), ("--csv",)):
        result = CliRunner().invoke(cli, ["sql", url, "select * from t", *option])
        assert result.exit_code == 0, result.output
        assert result.output.count("producer") >= 3
    assert archive.table(archive.open(url), "select count(*) n from t")["n"].to_pylist() == [3]


@pytest.mark.parametrize("event_ms", [YEAR_2339_MS, GOOD_MS * 1000])
def test_an_interval_that_leaves_such_messages_out_says_so(bucket, event_ms):
    url = bucket(event_ms)

    with pytest.warns(ArchiveWarning, match=r"^1 messages are left out, whose event times cannot"):
        frame = replay("t", "2026-01-05", "2026-01-06", archive=url)

    assert frame["v"].tolist() == [0, 2]
    assert frame.attrs["manifest"]["impossible_event_times"] == 1


def test_an_interval_of_times_that_can_be_says_nothing(bucket):
    frame = replay("t", "2026-01-05", "2026-01-06", archive=bucket(GOOD_MS))  # a warning fails it

    assert len(frame) == 3
    assert frame.attrs["manifest"]["impossible_event_times"] == 0


@pytest.mark.parametrize("event_ms", WRONG.values(), ids=WRONG)
def test_such_messages_are_counted(bucket, event_ms):
    opened = archive.open(bucket(event_ms))

    (checked,) = archive.check(opened)

    assert checked.problems == ()
    assert checked.notes == (
        "1 messages have an event time that cannot be: negative, or from 2262 on "
        "(microseconds or nanoseconds sent as milliseconds?)",
    )
    assert "impossible event times  1" in opened["t"].card().text()
    result = CliRunner().invoke(cli, ["archive", "info", opened.url, "t"])
    assert "impossible event times: 1\n" in result.output


@pytest.mark.parametrize("event_ms", WRONG.values(), ids=WRONG)
def test_such_messages_are_exported(bucket, event_ms, tmp_path):
    topic = archive.open(bucket(event_ms))["t"]

    assert archive.export(topic, tmp_path / "out").rows == 3


def test_times_that_can_hardly_be_are_counted_by_their_kind(pulsar, tmp_path):
    published_ms = 1_700_000_000_000
    day_ms = 86_400_000
    times = [0, *WRONG.values(), 1000, published_ms, published_ms + day_ms + 1, published_ms]
    entries = [
        pulsar.entry(b'{"pump": "a"}', *([(12, ms)] if ms else []), publish_ms=published_ms)
        for ms in times
    ]
    pulsar.ledger(tmp_path, entries)

    counts = odd_times("t", archive=str(tmp_path))

    assert counts.to_dict() == {
        "messages": 10,
        "without an event time, or with 0": 1,
        "negative": 1,
        "before 1980": 1,
        "from 2262 on": 4,
        "more than a day after they were published": 1,
    }


FAR = {
    "INSTANT": struct.pack(">qi", 16_725_225_600, 5_000),
    "LOCAL_DATE": struct.pack(">q", 1 << 33),
    "LOCAL_DATE_TIME": struct.pack(">qq", 193_579, 3_600_000_000_000),
}
NEAR = {
    "INSTANT": struct.pack(">qi", 1_700_000_000, 123_456_789),
    "LOCAL_DATE": struct.pack(">q", 19_675),
    "LOCAL_DATE_TIME": struct.pack(">qq", 19_675, 123_456_789),
}
SHOWN = {
    "INSTANT": ["2023-11-14T22:13:20.123456", "2500-01-01T00:00:00.000005"],
    "LOCAL_DATE": ["2023-11-14T00:00:00", "23520412-02-10T00:00:00"],
    "LOCAL_DATE_TIME": ["2023-11-14T00:00:00.123456", "2500-01-01T01:00:00.000000"],
}


@pytest.mark.parametrize("separated", [None, True, False])
@pytest.mark.parametrize("kind", FAR)
def test_bare_times_of_any_year_are_rows(pulsar, tmp_path, kind, separated):
    schema = {"version": 0, "type": kind}
    values, fields = [NEAR[kind], FAR[kind]], [(), ()]
    if separated is not None:
        properties = {
            "key.schema.type": "STRING", "value.schema.type": kind,
            "kv.encoding.type": "SEPARATED" if separated else "INLINE",
        }  # fmt: skip
        schema = {**schema, "type": "KEY_VALUE", "properties": properties}
        fields = [((6, b"YQ=="), (17, 1))] * 2 if separated else fields
        inline = [struct.pack(">i", 1) + b"a" + struct.pack(">i", len(x)) + x for x in values]
        values = values if separated else inline
    entries = [pulsar.entry(x, *more) for x, more in zip(values, fields, strict=True)]
    pulsar.ledger(tmp_path, entries)
    topic = archive.open(str(tmp_path), schemas={"persistent://public/default/t": [schema]})["t"]

    with pytest.warns(ArchiveWarning, match=r"outside of 1677 to 2262, .* all are to the "):
        frame = archive.to_frame(topic.read())

    unit = np.datetime_data(frame["value"].dt.tz_localize(None).dtype)[0]
    shown = [str(np.datetime64(x, unit)) for x in frame["value"].dt.tz_localize(None).to_numpy()]
    assert shown == SHOWN[kind]
    assert len(list(archive.text_lines(topic.read().to_batches(), "json"))) == 2


def test_a_time_that_java_does_not_have_is_a_misfit(pulsar, tmp_path):
    pulsar.ledger(tmp_path, [pulsar.entry(struct.pack(">qi", 1, 10**9))])
    schemas = {"persistent://public/default/t": [{"version": 0, "type": "INSTANT"}]}

    with pytest.raises(ArchiveError, match="INSTANT is 1 s and 1000000000 ns after 1970, which"):
        archive.open(str(tmp_path), schemas=schemas)["t"].read()


NESTED = pa.struct([("at", pa.timestamp("ms", tz="UTC")), ("xs", pa.list_(pa.date32()))])


def test_nested_times_of_any_year_are_shown():
    values = [{"at": 10**15, "xs": [0, 10**7, None]}, None, {"at": None, "xs": None}]
    table = pa.table({"v": pa.array(values, NESTED), "m": pa.array(
        [[("k", 10**15)], [], None], pa.map_(pa.string(), pa.timestamp("ms")))})  # fmt: skip

    frame = archive.to_frame(table)

    far, day = np.datetime64(10**15, "ms"), np.datetime64(10**7, "D")
    assert frame["v"].tolist() == [
        {"at": far, "xs": [np.datetime64(0, "D"), day, None]}, None, {"at": None, "xs": None},
    ]  # fmt: skip
    assert frame["m"].tolist() == [[("k", far)], [], None]
    first = json.loads(next(archive.text_lines(table.to_batches(), "json")))
    assert first["v"] == {
        "at": "33658-09-27T01:46:40.000", "xs": ["1970-01-01", "29349-01-26", None],
    }  # fmt: skip
    assert "33658-09-27" in "".join(archive.text_lines(table.to_batches(), "csv"))
    assert "33658-09-27" in archive.text_table(table.to_batches())


def plain(value):
    """Lists for arrays, at any depth: pyarrow 13 and later give these."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    is_many = isinstance(value, list | np.ndarray)
    return [plain(inner) for inner in value] if is_many else value


def test_lists_of_maps_and_of_fixed_bytes_are_objects_in_a_frame():
    maps = pa.list_(pa.map_(pa.string(), pa.int64()))
    table = pa.table(
        {
            "maps": pa.array([[[("x", 1)], []], None], maps),
            "fixed": pa.array([[b"ab", None], []], pa.list_(pa.binary(2))),
            "inside": pa.array([{"maps": [[("y", 2)]]}, None], pa.struct([("maps", maps)])),
        }
    )

    frame = archive.to_frame(table)

    assert {name: plain(list(frame[name])) for name in frame} == {
        "maps": [[[("x", 1)], []], None],
        "fixed": [[b"ab", None], []],
        "inside": [{"maps": [[("y", 2)]]}, None],
    }
