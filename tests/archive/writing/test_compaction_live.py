"""The compacted view is what a client that reads compacted has from a broker that compacted."""

import json

import numpy as np
import pulsar as client_library
import pytest

from workbench import archive


@pytest.mark.pulsar
def test_rows_are_those_of_a_client_that_reads_compacted(services):
    from workbench import broker
    from workbench.services import offload

    chance = np.random.default_rng(7)
    name = f"persistent://public/default/compacted-{chance.integers(1 << 40)}"
    compaction = f"{broker.rest_path(name)}/compaction"
    with broker.connect() as client:
        for batching in (True, False, True):
            producer = client.create_producer(
                name,
                batching_enabled=batching,
                batching_max_messages=7,
                block_if_queue_full=True,
                # else this client names no size, and the broker takes no empty message for empty
                compression_type=client_library.CompressionType.LZ4,
            )
            for _ in range(60):
                content = json.dumps({"v": int(chance.integers(1000))}).encode()
                key = {} if chance.random() < 0.1 else {"partition_key": f"k{chance.integers(25)}"}
                value = b"" if chance.random() < 0.15 else content
                producer.send_async(value, callback=None, **key)
            producer.flush()
            producer.close()
        broker.check(broker.admin("PUT", compaction))
        _wait_for_compaction(compaction)
        expected = _read_compacted(client, name)
    offload(name)

    topic = archive.open(services.archive).topic(name)
    parts = ["ledger_id", "entry_id", "batch_index", "key", "value"]
    topic.versions = archive.parse_schemas(
        {name: [{"version": 0, "type": "BYTES", "schema": ""}]}, where="test"
    )[name]
    table = topic.read(columns=parts, compacted=True)

    assert [tuple(row.values()) for row in table.to_pylist()] == expected
    assert 5 < len(expected) < 26


def _wait_for_compaction(path):
    import time

    from workbench import broker

    for _ in range(200):
        status = broker.get_or_none(path)["status"]
        if status != "RUNNING":
            break
        time.sleep(0.3)
    assert status == "SUCCESS"


def _read_compacted(client, name):
    reader = client.create_reader(name, client_library.MessageId.earliest, is_read_compacted=True)
    rows = []
    while reader.has_message_available():
        message = reader.read_next(timeout_millis=30_000)
        place = message.message_id()
        if not message.partition_key():
            continue  # pulsar-client 3.13 shows what compaction took out of a batch, as nothing
        rows.append(
            (
                place.ledger_id(),
                place.entry_id(),
                place.batch_index(),
                message.partition_key(),
                message.data(),
            )
        )
    reader.close()
    return rows
