import json
import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from workbench import broker
from workbench.cli import cli
from workbench.endpoints import endpoints, home
from workbench.errors import ServicesError
from workbench.services import ingest_frame, offload, s3


def send(topic, n=1000):
    frame = pd.DataFrame({"at": pd.Timestamp("2026-01-05", tz="UTC"), "value": np.arange(n)})
    frame["sensor"] = [f"s-{i % 7}" for i in range(n)]
    ingest_frame(frame, topic, sensor="sensor", time="at", values=["value"], batch_messages=100)


def objects():
    return home() / "s3" / "objects" / "offload"


def refusal(topic):
    with pytest.raises(ServicesError) as error:
        offload(topic)
    return str(error.value)


@pytest.mark.pulsar
def test_what_was_sent_lies_in_the_bucket_afterwards(services):
    send("offload-once")

    done = offload("offload-once")

    (ledger,) = done.ledgers
    assert (done.topic, done.new) == ("persistent://public/default/offload-once", 1)
    assert (ledger.entries, done.objects, done.bytes) == (10, 2, ledger.bytes)
    stored = list(objects().glob(f"*-ledger-{ledger.ledger}*"))
    assert sum(path.stat().st_size for path in stored) == done.bytes


@pytest.mark.pulsar
def test_a_second_offload_adds_only_what_is_new(services):
    send("offload-twice")
    first = offload("offload-twice")
    assert offload("offload-twice").new == 0
    send("offload-twice")

    result = CliRunner().invoke(cli, "offload offload-twice --json")

    ledgers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["entries"] for one in ledgers] == [10, 10]
    ids = [one["ledger"] for one in ledgers]
    assert ids == sorted({first.ledgers[0].ledger, *ids})


@pytest.mark.pulsar
def test_all_partitions_of_a_topic_are_offloaded(services):
    path = broker.rest_path("offload-parts")
    broker.check(broker.admin("PUT", f"{path}/partitions", json=3))
    send("offload-parts")

    result = CliRunner().invoke(cli, "offload offload-parts")

    assert result.output.startswith(
        "persistent://public/default/offload-parts: 3 ledgers (3 new), 6 objects, "
    )
    one = offload("offload-parts-partition-1")
    assert [ledger.topic[-12:] for ledger in one.ledgers] == ["-partition-1"]


@pytest.mark.pulsar
def test_a_topic_without_messages_has_nothing_to_offload(services):
    broker.check(broker.admin("PUT", broker.rest_path("offload-empty")))

    assert offload("offload-empty").ledgers == ()


@pytest.mark.pulsar
def test_an_object_that_was_cut_short_or_lost_is_noticed(services):
    send("offload-damaged")
    (ledger,) = offload("offload-damaged").ledgers
    (path,) = objects().glob(f"*-ledger-{ledger.ledger}")
    content = path.read_bytes()
    where = f"s3://offload/{path.name}"

    path.write_bytes(content[:-1])
    assert refusal("offload-damaged") == (
        f"the data object has {len(content) - 1} bytes, its index says {len(content)}\n"
        f"  in {where}\n"
        "  an entry did not fit its block: offload in larger ones (8 MiB or more)"
    )
    path.unlink()
    assert refusal("offload-damaged") == (
        "an offloaded object cannot be read: "
        "An error occurred (404) when calling the HeadObject operation: Not Found\n"
        f"  in {where}"
    )


@pytest.mark.pulsar
def test_a_topic_that_does_not_exist_is_answered_with_the_nearest(services):
    send("offload-known", 10)

    text = refusal("offload-knwon")

    assert text.startswith(
        "there is no topic persistent://public/default/offload-knwon\n"
        "  did you mean 'persistent://public/default/offload-known'"
    )


@pytest.mark.pulsar
def test_an_unknown_namespace_is_refused_with_the_reason_that_the_broker_gives(services):
    text = refusal("nowhere/default/pumps")

    assert text == (
        "the broker refuses: Namespace does not exist\n"
        f"  in {services.admin}/admin/v2/persistent/nowhere/default/partitioned"
    )


@pytest.mark.pulsar
def test_an_unreachable_broker_is_named(services, monkeypatch):
    monkeypatch.setenv("WORKBENCH_ADMIN", "http://127.0.0.1:9")

    assert refusal("pumps") == (
        "no broker answers at http://127.0.0.1:9: Connection refused\n"
        "  workbench services up pulsar, or set WORKBENCH_ADMIN to a broker that runs"
    )


@pytest.mark.pulsar
def test_a_bucket_that_the_broker_does_not_find_is_told_as_it_says(services, monkeypatch):
    send("offload-nowhere")
    monkeypatch.setenv("WORKBENCH_ARCHIVE", "s3://elsewhere")
    s3.client(endpoints()).create_bucket(Bucket="elsewhere")
    hidden = objects().rename(objects().with_name("hidden"))
    try:
        text = refusal("offload-nowhere")
    finally:
        hidden.rename(objects())

    assert re.fullmatch(
        r"the broker could not offload: [0-9a-f-]+-ledger-\d+ not found in container offload: "
        "The specified bucket does not exist\n"
        "  in persistent://public/default/offload-nowhere\n"
        "  its log says more: workbench services logs pulsar",
        text,
    )


@pytest.mark.parametrize(
    ("archive", "name"), [("data/archive", "data/archive"), ("", "no archive")]
)
def test_without_a_bucket_nothing_is_offloaded(tmp_path, monkeypatch, archive, name):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("WORKBENCH_ARCHIVE", archive)

    assert refusal("pumps") == (
        f"cannot verify what is offloaded: {name} is no bucket\n"
        "  set WORKBENCH_ARCHIVE to s3://BUCKET, the one that the broker offloads to"
    )
