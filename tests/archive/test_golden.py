"""Rows of really offloaded ledgers are those that a real client read."""

import json

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from workbench import archive, replay

CASES = [
    "D1-json",
    "D2-avro",
    "D3-plain",
    "D4-zlib",
    "D5-snappy",
    "D6-partitioned",
    "D7-multiblock",
    "D8-nulls",
    "D9-evolution",
]
SAME = {
    "ledger_id": "ledger_id",
    "entry_id": "entry_id",
    "batch_index": "batch_index",
    "partition": "partition",
    "key": "key",
    "ordering_key": "ordering_key",
    "producer": "producer_name",
    "sequence_id": "sequence_id",
    "schema_version": "schema_version",
    "value": "payload",
}


def only_topic(bucket, **options):
    opened = archive.open(bucket, **options)
    (name,) = opened.names()
    return opened.topic(name)


@pytest.mark.parametrize("name", CASES)
def test_messages_are_those_a_client_read(golden, name):
    case = golden(name)
    expected = case.expected()

    messages = only_topic(case.bucket).messages()

    assert messages.num_rows == expected.num_rows
    for column, other in SAME.items():
        assert messages[column].to_pylist() == expected[other].to_pylist(), column
    published = messages["publish_time"].cast(pa.int64())
    events = pc.fill_null(messages["event_time"].cast(pa.int64()), 0)
    assert published.to_pylist() == expected["publish_time_ms"].to_pylist()
    assert events.to_pylist() == expected["event_time_ms"].to_pylist()
    properties = [json.loads(text) for text in expected["properties"].to_pylist()]
    assert [dict(pairs) for pairs in messages["properties"].to_pylist()] == properties
    messages.validate(full=True)


@pytest.mark.parametrize("name", ["D1-json", "D6-partitioned", "D7-multiblock"])
@pytest.mark.parametrize("has_schema", [True, False], ids=["schema", "inferred"])
def test_json_is_decoded_as_python_does(golden, name, has_schema):
    case = golden(name)
    values = [json.loads(payload) for payload in case.expected()["payload"].to_pylist()]

    table = only_topic(case.bucket, schemas=case.schemas() if has_schema else None).read()

    assert table.to_pylist() == values


@pytest.mark.parametrize("name", ["D2-avro", "D9-evolution"])
def test_avro_is_decoded_with_the_newest_schema(golden, name):
    case = golden(name)
    lines = (case.folder / "decoded.jsonl").read_text().splitlines()
    defaults = {"quality": 100, "unit": "kWh"} if name == "D9-evolution" else {}

    table = only_topic(case.bucket, schemas=case.schemas()).read()

    assert table.to_pylist() == [{**defaults, **json.loads(line)} for line in lines]


def test_strings_are_decoded(golden):
    case = golden("D4-zlib")

    table = only_topic(case.bucket, schemas=case.schemas()).read()

    expected = [payload.decode() for payload in case.expected()["payload"].to_pylist()]
    assert table.to_pydict() == {"value": expected}


def test_a_partition_can_be_read_alone(golden):
    case = golden("D6-partitioned")
    opened = archive.open(case.bucket)

    partition = opened.topic("d6-parts-partition-1").messages()

    assert partition.num_rows == 4941
    assert set(partition["partition"].to_pylist()) == {1}
    assert opened.topics()[["partitions", "ledgers"]].to_numpy().tolist() == [[3, 6]]


def test_replay_gives_the_partition_of_each_reading_when_asked(golden):
    case = golden("D6-partitioned")

    frame = replay("d6-parts", archive=case.bucket, columns=["partition"])

    expected = case.expected().to_pandas()
    assert frame.columns.tolist() == [
        "partition", "event_time", "publish_time", "key", "message_id",
    ]  # fmt: skip
    assert frame["partition"].value_counts().to_dict() == (
        expected["partition"].value_counts().to_dict()
    )
    ids = frame["message_id"].str.split(":").str[2].astype(int)
    assert frame["partition"].tolist() == ids.tolist()


def test_replay_gives_a_frame_in_the_order_of_the_broker(golden):
    case = golden("D1-json")

    frame = replay("d1-json", "2023-11-14T22:13:21Z", "2023-11-14T22:13:22Z", archive=case.bucket)

    expected = case.expected().slice(10, 10).to_pandas()
    assert frame.columns.tolist() == [
        "sensor", "ts", "value", "event_time", "publish_time", "key", "message_id",
    ]  # fmt: skip
    assert frame["message_id"].tolist() == [f"4:0:-1:{i}" for i in range(10, 20)]
    assert frame["ts"].tolist() == expected["event_time_ms"].tolist()
    assert frame["key"].tolist() == expected["key"].tolist()
    assert json.loads(json.dumps(frame.attrs["manifest"]))["first_message_id"] == "4:0"
