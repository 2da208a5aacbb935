import json
import multiprocessing
import time

import pulsar
import pytest

from workbench.broker import connect
from workbench.endpoints import broker_token_file
from workbench.errors import ServicesError
from workbench.services import artifacts, connector, connector_jars
from workbench.stream.running.job import environment

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
