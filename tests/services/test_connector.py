import json
import multiprocessing
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import pulsar
import pytest

from workbench import broker
from workbench.broker import connect
from workbench.endpoints import broker_token_file
from workbench.errors import ServicesError
from workbench.services import artifacts, connector, connector_jars, java
from workbench.services.compilation import flink_jars, jar
from workbench.stream.running.job import environment

from .slow_seeks import SlowSeeks

MESSAGES = 600


def send_one_batch(topic):
    """Send readings as one entry, numbered from 0, and one more behind it."""
    with connect() as client:
        producer = client.create_producer(
            topic,
            batching_enabled=True,
            batching_max_messages=MESSAGES,
            batching_max_publish_delay_ms=60_000,
        )
        ids = []
        for n in range(MESSAGES):
            producer.send_async(
                json.dumps({"n": n}).encode(), lambda _, message_id: ids.append(message_id)
            )
        producer.flush()
        producer.send_async(json.dumps({"n": MESSAGES}).encode(), None)
        producer.flush()
    assert len({(message_id.ledger_id(), message_id.entry_id()) for message_id in ids}) == 1


def slow_job(topic, folder, jars, addresses, *, savepoint=None):
    """Start a job that numbers what it reads, 10 ms each, and writes TOPIC-out."""
    from pyflink.table import DataTypes
    from pyflink.table.udf import udf

    resumed = {"execution__state_recovery__path": savepoint} if savepoint else {}
    env = environment(
        brief=True,
        pipeline__jars=";".join(jar.as_uri() for jar in jars),
        execution__checkpointing__interval="300 ms",
        execution__checkpointing__dir=folder.as_uri(),
        python__fn_execution__bundle__size="10",
        python__fn_execution__arrow__batch__size="10",
        **resumed,
    )
    ends = (
        f"'connector' = 'pulsar', 'service-url' = '{addresses.broker}', 'format' = 'json', "
        "'pulsar.client.authPluginClassName' = "
        "'org.apache.pulsar.client.impl.auth.AuthenticationToken', "
        f"'pulsar.client.authParams' = '{broker_token_file().as_uri()}'"
    )
    env.execute_sql(
        f"CREATE TEMPORARY TABLE readings (n BIGINT, arrived AS PROCTIME()) WITH ({ends}, "
        f"'topics' = '{topic}', 'source.start.message-id' = 'earliest', "
        "'source.subscription-name' = 'test')"
    )
    env.execute_sql(
        f"CREATE TEMPORARY TABLE seen (n BIGINT, place BIGINT) WITH ({ends}, "
        f"'topics' = '{topic}-out')"
    )
    slowly = udf(lambda n: (time.sleep(0.01), n)[1], result_type=DataTypes.BIGINT())
    env.create_temporary_function("slowly", slowly)
    return env.execute_sql(
        "INSERT INTO seen SELECT n, COUNT(*) OVER (ORDER BY arrived ROWS BETWEEN "
        "UNBOUNDED PRECEDING AND CURRENT ROW) FROM (SELECT slowly(n) AS n, arrived FROM readings)"
    ).get_job_client()


def through_savepoint(build, folder, addresses):
    """Stop a job within a batch and start it anew; return the rows before and after."""
    jars = artifacts.fetch("connector") if build == "released" else connector_jars()
    topic = f"persistent://public/default/batch-{build}"
    send_one_batch(topic)
    with connect() as client:
        client.create_producer(f"{topic}-out").close()
        reader = client.create_reader(f"{topic}-out", pulsar.MessageId.earliest)
        first = slow_job(topic, folder, jars, addresses)
        before = read(reader, 150)
        savepoint = first.stop_with_savepoint(False, folder.as_uri()).result()
        second = slow_job(topic, folder, jars, addresses, savepoint=savepoint)
        after = read(reader, MESSAGES)
        second.cancel().result()
    return before, after


def read(reader, last):
    """Read until a row with this number or a later one."""
    rows = []
    while not rows or rows[-1]["n"] < last:
        rows.append(json.loads(reader.read_next(180_000).data()))
    return rows


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.parametrize("build", ["released", "ours"])
def test_a_job_restored_within_a_batch_goes_on_with_it(services, tmp_path, build):
    """FLINK-36180: the released connector loses the rest of the batch.

    Each build has a process, and so a JVM, of its own: two of one class do not get on in one.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        before, after = pool.apply(through_savepoint, (build, tmp_path, services))

    seen = {row["n"] for row in before + after}
    if build == "released":
        assert len(seen) < MESSAGES  # how many depends on when the savepoint was taken
    else:
        assert seen == set(range(MESSAGES + 1))
        # the restored job numbers on where the checkpoint was: nothing is counted twice
        assert {row["place"] - row["n"] for row in before + after} == {1}


@pytest.mark.slow
def test_classes_that_do_not_compile_are_refused(tmp_path, monkeypatch):
    (tmp_path / "Wrong.java").write_text("class Wrong { int n = none; }")
    monkeypatch.setattr(connector, "_SOURCES", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    with pytest.raises(ServicesError) as error:
        connector_jars()

    assert error.value.message.startswith("Java classes do not compile: ")
    assert "none cannot be resolved to a variable" in error.value.message
    assert error.value.where == str(tmp_path)
    assert error.value.hint == "were they written for another version of what they use?"
    assert not list((tmp_path / "cache").rglob("*.jar"))


@pytest.mark.pulsar
def test_a_subscription_is_free_once_it_is_at_its_position_however_slow_the_broker(services):
    """A seek lets the consumer connect anew; closed amid that, it kept the partition for good."""
    topics = [f"persistent://public/default/slow-seeks-{n}" for n in range(3)]
    with connect() as client:
        for topic in topics:
            client.create_producer(topic).send(b"{}")
    proxy = SlowSeeks(urlsplit(services.broker).port)
    token = broker_token_file().read_text().strip()
    jars = [*connector_jars(), *flink_jars("flink-dist-*.jar", "log4j-*.jar")]
    path = [jar(Path(__file__).with_name("java"), jars), *jars]
    command = [java(), "-cp", ":".join(map(str, path)), "workbench.Positioning"]
    url = f"pulsar://127.0.0.1:{proxy.port}"
    with subprocess.Popen(
        [*map(str, command), url, token, "slow", *topics],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as positioning:
        try:
            assert any(line == "positioned\n" for line in positioning.stdout)
            consumers = {topic: consumers_of(topic, "slow") for topic in topics}
        finally:
            positioning.kill()
    proxy.listening.close()

    assert consumers == {topic: [] for topic in topics}
    assert proxy.connections == 1  # it was never cut


def consumers_of(topic, subscription):
    stats = broker.admin("GET", f"{broker.rest_path(topic)}/stats").json()
    return stats["subscriptions"][subscription]["consumers"]
