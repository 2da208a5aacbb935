"""What the archive reads is what the live broker's client reads."""

import asyncio
import gc
import json

import fsspec
import numpy as np
import pulsar
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from workbench import archive, replay
from workbench.archive import fetch_schemas, generations, merge_schemas, parse_schemas
from workbench.archive.bucket import open_bucket
from workbench.errors import ArchiveError, ArchiveWarning, ReplayError, ServicesError
from workbench.history.frames import open_archive

COMPRESSIONS = [
    pulsar.CompressionType.NONE,
    pulsar.CompressionType.LZ4,
    pulsar.CompressionType.ZLib,
    pulsar.CompressionType.ZSTD,
    pulsar.CompressionType.SNAPPY,
]


def read_all(client, topic):
    reader = client.create_reader(topic, pulsar.MessageId.earliest)
    rows = []
    while reader.has_message_available():
        message = reader.read_next(timeout_millis=30_000)
        place = message.message_id()
        rows.append(
            {
                "ledger_id": place.ledger_id(),
                "entry_id": place.entry_id(),
                "batch_index": place.batch_index(),
                "publish": message.publish_timestamp(),
                "event": message.event_timestamp(),
                "key": message.partition_key(),
                "ordering_key": message.ordering_key(),
                "properties": message.properties(),
                "producer": message.producer_name(),
                "value": None if message.has_null_value() else message.data(),
            }
        )
    reader.close()
    return rows


def archived(topic):
    table = open_archive(None).topic(topic).messages()
    rows = []
    for row in table.to_pylist():
        ms = {
            name: int(row[f"{name}_time"].timestamp() * 1000 + 0.5) if row[f"{name}_time"] else 0
            for name in ("publish", "event")
        }
        same = ("ledger_id", "entry_id", "batch_index", "producer", "value")
        rows.append(
            {name: row[name] for name in same}
            | ms
            | {
                "key": row["key"] or "",
                "ordering_key": (row["ordering_key"] or b"").decode(),
                "properties": dict(row["properties"]),
            }
        )
    return rows


MESSAGE = st.fixed_dictionaries(
    {"content": st.binary(max_size=300)},
    optional={
        "partition_key": st.text(max_size=9).filter(lambda one: "\0" not in one),
        "ordering_key": st.text("abé", min_size=1, max_size=5),
        "event_timestamp": st.integers(1, 2_000_000_000_000),
        "properties": st.dictionaries(st.text("kxé", min_size=1), st.text(max_size=9), max_size=2),
    },
)
ROUND = st.tuples(
    st.sampled_from(COMPRESSIONS), st.booleans(), st.lists(MESSAGE, min_size=1, max_size=30)
)


def is_dropped(compression, batching, message):
    """Say whether pulsar-client 3.13 drops the message when it reads: see the test below."""
    return compression == pulsar.CompressionType.ZLib and not batching and not message["content"]


@pytest.mark.pulsar
@settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(rounds=st.lists(ROUND, min_size=1, max_size=4), large=st.booleans())
def test_rows_are_those_of_the_client(services, rounds, large):
    from workbench.broker import connect
    from workbench.services import offload

    topic = f"persistent://public/default/rows-{np.random.default_rng().integers(1 << 40)}"
    with connect() as client:
        for compression, batching, messages in rounds:
            producer = client.create_producer(
                topic,
                compression_type=compression,
                batching_enabled=batching,
                batching_max_messages=7,
                block_if_queue_full=True,
                chunking_enabled=large and not batching,
            )
            for message in messages:
                if not is_dropped(compression, batching, message):
                    producer.send_async(**message, callback=None)
            if large and not batching:
                producer.send(bytes(np.random.default_rng(1).integers(0, 256, 6_000_000, np.uint8)))
            producer.flush()
            producer.close()
        offload(topic)
        expected = read_all(client, topic)

    assert archived(topic) == expected


@pytest.mark.pulsar
def test_what_a_deleted_topic_left_is_told_where_the_broker_can_be_asked(services):
    from workbench import broker
    from workbench.services import offload

    topic = "persistent://public/default/again"
    files, bucket = bucket_files(services)

    def send(content):
        with broker.connect() as client:
            client.create_producer(topic).send(json.dumps({"v": content}).encode())
        offload(topic)

    before = set(files.find(bucket))
    send(1.0)
    left = {key: files.cat_file(key) for key in set(files.find(bucket)) - before}
    broker.check(broker.admin("DELETE", broker.rest_path(topic), params={"force": "true"}))
    send(2.0)
    for key, data in left.items():  # as Pulsar up to 2.10.2 leaves them
        files.pipe_file(key, data)

    with pytest.warns(ArchiveWarning, match="1 of 2 ledgers in the archive are not among those"):
        frame = replay(topic, source="both")

    assert list(frame["v"]) == [1.0, 2.0]


def bucket_files(services):
    files = fsspec.filesystem(
        "s3", endpoint_url=services.s3_endpoint, key=services.s3_key, secret=services.s3_secret,
        use_listings_cache=False,
    )  # fmt: skip
    return files, services.archive.removeprefix("s3://")


class Before(pulsar.schema.Record):
    a = pulsar.schema.Double()


class Now(pulsar.schema.Record):
    b = pulsar.schema.Double()


@pytest.mark.pulsar
def test_of_a_topic_made_anew_and_not_offloaded_both_sources_give_what_the_broker_has(
    services, tmp_path, monkeypatch
):
    from workbench import broker
    from workbench.services import offload

    monkeypatch.setattr(generations, "CLOCKS_MS", 0)  # here all is over within that
    topic = "persistent://public/default/anew"
    files, bucket = bucket_files(services)

    def send(content):
        schema = pulsar.schema.AvroSchema(type(content))
        with broker.connect() as client:
            client.create_producer(topic, schema=schema).send(content)

    def schemas_with(kept):
        return merge_schemas(
            parse_schemas(kept, where=""),
            fetch_schemas(services.admin, [topic], token=services.broker_token),
        )

    before = set(files.find(bucket))
    send(Before(a=1.0))
    offload(topic)
    schemas = schemas_with({})
    for key in set(files.find(bucket)) - before:
        files.get_file(key, str(tmp_path / key.rpartition("/")[2]))
    broker.check(broker.admin("DELETE", broker.rest_path(topic), params={"force": "true"}))
    send(Now(b=2.0))
    opened = archive.open(str(tmp_path), schemas=schemas_with(schemas))

    with pytest.warns(ArchiveWarning, match="nothing of the newest life .* has been offloaded"):
        older = replay(topic, archive=opened)
    with pytest.warns(ArchiveWarning, match="nothing of the newest life .* has been offloaded"):
        both = replay(topic, archive=opened, source="both")

    assert list(older["a"]) == [1.0]
    assert (list(both["b"]), "a" in both) == ([2.0], False)


@pytest.mark.pulsar
def test_an_empty_zlib_message_is_a_row_though_the_client_drops_it(services):
    from workbench.broker import connect
    from workbench.services import offload

    topic = "persistent://public/default/empty-zlib"
    with connect() as client:
        producer = client.create_producer(topic, compression_type=pulsar.CompressionType.ZLib)
        for content in (b"a", b"", b"b"):
            producer.send(content)
        producer.close()
        offload(topic)
        read = [row["value"] for row in read_all(client, topic)]

    assert [row["value"] for row in archived(topic)] == [b"a", b"", b"b"]
    assert read == [b"a", b"b"]


class Place(pulsar.schema.Record):
    hall = pulsar.schema.String()
    floor = pulsar.schema.Integer()


class Reading(pulsar.schema.Record):
    sensor = pulsar.schema.String()
    count = pulsar.schema.Integer()
    total = pulsar.schema.Long()
    value = pulsar.schema.Double()
    small = pulsar.schema.Float()
    fine = pulsar.schema.Boolean()


class Nested(pulsar.schema.Record):
    place = Place()
    levels = pulsar.schema.Array(pulsar.schema.Double())
    limits = pulsar.schema.Map(pulsar.schema.Integer())


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
INTS = st.integers(-(2**31), 2**31 - 1)
READING = st.fixed_dictionaries(
    {
        "sensor": st.none() | TEXTS,
        "count": st.none() | INTS,
        "total": st.none() | st.integers(-(2**63), 2**63 - 1),
        "value": st.none() | FLOATS,
        "small": st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False),
        "fine": st.none() | st.booleans(),
    }
)
NESTED = st.fixed_dictionaries(
    {
        "place": st.builds(lambda hall, floor: Place(hall=hall, floor=floor), TEXTS, INTS),
        "levels": st.lists(FLOATS, max_size=3),
        "limits": st.dictionaries(TEXTS, INTS, max_size=3),
    }
)
# name: schema of the client, values, and how a value of the client looks as the archive's row
KINDS = {
    "json": (pulsar.schema.JsonSchema(Reading), READING, Reading),
    "avro": (pulsar.schema.AvroSchema(Reading), READING, Reading),
    "json-nested": (pulsar.schema.JsonSchema(Nested), NESTED, Nested),
    "avro-nested": (pulsar.schema.AvroSchema(Nested), NESTED, Nested),
    "string": (pulsar.schema.StringSchema(), TEXTS, None),
    "bytes": (pulsar.schema.BytesSchema(), st.binary(max_size=50), None),
}


def plain(value):
    if isinstance(value, pulsar.schema.Record):
        return {name: plain(getattr(value, name)) for name in type(value)._fields}
    return list(value.items()) if isinstance(value, dict) else value


@pytest.mark.pulsar
@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=2,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data(), compression=st.sampled_from(COMPRESSIONS), batching=st.booleans())
def test_decoded_values_are_those_of_the_client(services, kind, data, compression, batching):
    from workbench.broker import connect
    from workbench.services import offload

    schema, values, record = KINDS[kind]
    topic = f"persistent://public/default/{kind}-{np.random.default_rng().integers(1 << 40)}"
    sent = data.draw(st.lists(values, min_size=1, max_size=40))
    if compression == pulsar.CompressionType.ZLib:  # of which the client drops empty messages
        sent = [payload for payload in sent if payload not in ("", b"")]
        assume(sent)
    with connect() as client:
        producer = client.create_producer(
            topic, schema=schema, compression_type=compression, batching_enabled=batching
        )
        for payload in sent:
            producer.send_async(record(**payload) if record else payload, None)
        producer.flush()
        producer.close()
        offload(topic)
        reader = client.create_reader(topic, pulsar.MessageId.earliest, schema=schema)
        expected = []
        while reader.has_message_available():
            value = plain(reader.read_next(timeout_millis=30_000).value())
            expected.append(value if record else {"value": value})
        reader.close()

    schemas = fetch_schemas(services.admin, [topic], token=services.broker_token)
    table = archive.open(services.archive, schemas=schemas).topic(topic).read()

    assert len(expected) == len(sent)
    assert table.to_pylist() == expected


@pytest.mark.pulsar
def test_a_bucket_is_read_by_the_options_given(services, monkeypatch):
    from workbench.broker import connect
    from workbench.services import offload

    topic = "persistent://public/default/by-options"
    with connect() as client:
        producer = client.create_producer(topic)
        producer.send(b"1")
        producer.close()
    offload(topic)
    given = {"key": services.s3_key, "secret": services.s3_secret}
    given["endpoint_url"] = services.s3_endpoint
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)

    table = archive.open(services.archive, **given).topic(topic).messages()
    (part,) = archive.open(services.archive, **given).topic(topic).manifest()["objects"]

    assert table["value"].to_pylist() == [b"1"]
    assert part["bytes"] > 0
    assert part["etag"].endswith("-1")  # of a multipart upload of one part
    with pytest.raises(ArchiveError, match=r"^cannot list s3://offload: .*(signature|Forbidden)"):
        archive.open(services.archive, **{**given, "secret": "wrong"})
    with pytest.raises(ArchiveError, match=r"^no archive at s3://no-such-bucket$"):
        archive.open("s3://no-such-bucket", **given)


@pytest.mark.pulsar
def test_an_archive_that_goes_away_in_a_running_loop_leaves_no_task_that_fails(services):
    """As in a notebook's kernel: s3fs closes its session in the wrong loop there."""
    failures = []

    async def open_and_drop():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context))
        open_bucket(services.archive).list()
        gc.collect()
        await asyncio.sleep(0.2)
        gc.collect()

    asyncio.run(open_and_drop())

    assert failures == []


@pytest.mark.pulsar
def test_both_is_the_archive_and_what_is_not_offloaded_yet(services):
    from workbench.broker import connect
    from workbench.services import offload

    topic = "persistent://public/default/seam"
    with connect() as client:
        client_topic = client.create_producer(topic, schema=pulsar.schema.BytesSchema())
        for i in range(50):
            client_topic.send_async(json.dumps({"i": i, "v": i / 2}).encode(), None)
        client_topic.flush()
        offload(topic)
        for i in range(50, 90):
            client_topic.send_async(json.dumps({"i": i, "v": None}).encode(), None)
        client_topic.flush()
        client_topic.close()

    both = replay(topic, source="both")
    live = replay(topic, source="broker")

    assert both["i"].tolist() == list(range(90))
    assert replay(topic)["i"].tolist() == list(range(50))
    assert both["message_id"].is_unique
    assert live["message_id"].tolist() == both["message_id"].tolist()
    assert live["v"].equals(both["v"])
    assert both.attrs["manifest"]["not_offloaded"] == 40
    published = both["publish_time"].iloc[60].isoformat()
    late = replay(topic, published, source="both", by="publish_time", columns=["i"])
    assert late["i"].tolist()[-1] == 89
    assert late.columns.tolist()[0] == "i"


@pytest.mark.pulsar
def test_both_refuses_a_hole_before_the_archives_last_ledger(services, tmp_path):
    from workbench.broker import connect
    from workbench.services import offload

    topic = "persistent://public/default/hole"
    files, bucket = bucket_files(services)
    before = set(files.find(bucket))
    for i in range(3):
        with connect() as client:
            client.create_producer(topic).send(json.dumps({"i": i}).encode())
        offload(topic)
    for key in set(files.find(bucket)) - before:
        files.get_file(key, str(tmp_path / key.rpartition("/")[2]))
    opened = archive.open(str(tmp_path), schemas={})
    _, middle, last = opened.topic(topic).ledgers
    whole = replay(topic, source="both", archive=opened)
    for path in tmp_path.glob(f"*-ledger-{middle.id}*"):
        path.unlink()
    cut = archive.open(str(tmp_path), schemas={})

    with pytest.raises(ReplayError) as refused:
        replay(topic, source="both", archive=cut)

    assert whole["i"].tolist() == [0, 1, 2]
    assert str(refused.value) == (
        f"ledger {middle.id} of {topic}, 1 entries, is at the broker and not in the archive, where "
        f"later ones are, up to {last.id}\n"
        "  source='broker' reads all that the broker has; workbench archive check"
    )
    assert replay(topic, source="broker")["i"].tolist() == [0, 1, 2]


@pytest.mark.pulsar
def test_both_says_that_a_message_has_its_end_at_the_broker(services, pulsar, tmp_path):
    from workbench.broker import connect

    topic = "persistent://public/default/cut"
    with connect() as client:
        client.create_producer(topic).send(b"whole")
    fields = (26, b"x"), (27, 2), (28, 4), (29, 0)
    pulsar.ledger(tmp_path, [pulsar.entry(b"ab", *fields)], topic="public/default/persistent/cut")
    opened = archive.open(str(tmp_path), schemas={})

    said = "1 messages in chunks and 0 messages of transactions of .* have no end in the archive"
    with pytest.warns(ArchiveWarning, match="not among those"), pytest.warns(match=said):
        both = replay(topic, source="both", archive=opened)

    assert len(both) == 1


@pytest.mark.pulsar
def test_a_broker_serves_values_by_the_schema_that_each_was_sent_with(services):
    from workbench.broker import connect

    topic = "persistent://public/default/evolved-live"
    records = [
        type("Pump", (pulsar.schema.Record,), fields)
        for fields in (
            {"bar": pulsar.schema.Double()},
            {"a": pulsar.schema.String(required_default=True), "bar": pulsar.schema.Double()},
        )
    ]
    with connect() as client:
        for record, values in zip(records, ({"bar": 1.5}, {"a": "x", "bar": 2.5}), strict=True):
            producer = client.create_producer(topic, schema=pulsar.schema.AvroSchema(record))
            producer.send(record(**values))
            producer.close()

    live = replay(topic, source="broker", columns=["bar", "a", "partition"])

    assert live["bar"].tolist() == [1.5, 2.5]
    assert live["a"].tolist() == [None, "x"]
    assert live["partition"].tolist() == [-1, -1]


def test_a_broker_that_is_not_there_is_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.delenv("WORKBENCH_BROKER", raising=False)
    way = "  workbench services up pulsar, or set WORKBENCH_BROKER to a broker that runs"
    with pytest.raises(ServicesError) as caught:
        replay("pumps", source="broker")
    assert str(caught.value) == f"no broker is known\n{way}"
    monkeypatch.setenv("WORKBENCH_BROKER", "pulsar://127.0.0.1:1")
    with pytest.raises(ServicesError) as caught:
        replay("pumps", source="broker")
    refused = "no broker answers at pulsar://127.0.0.1:1: Connection refused"
    assert str(caught.value) == f"{refused}\n{way}"


def test_a_source_that_does_not_exist():
    with pytest.raises(ReplayError) as caught:
        replay("pumps", source="brokr")
    assert str(caught.value) == "no source 'brokr'\n  did you mean 'broker'?"


def test_no_archive_is_known(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.delenv("WORKBENCH_ARCHIVE", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReplayError) as caught:
        replay("pumps")
    assert str(caught.value) == (
        "no archive is known\n  pass archive=, or set WORKBENCH_ARCHIVE to its URL"
    )
