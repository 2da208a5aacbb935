"""A Kafka that wants TLS and a password: both stand in a file, and nowhere else."""

import json
import subprocess
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Producer, TopicPartition

from workbench import detectors
from workbench import kafka as door
from workbench import services as room
from workbench.endpoints import Endpoints, home
from workbench.errors import ServicesError
from workbench.services import kafka_server, state
from workbench.stream import parse_stream, start
from workbench.stream.promotion_log import add_package
from workbench.stream.running.originals import readable
from workbench.stream.running.originals import readings as stream_readings

PASSWORD = "planted-5e0c41"  # noqa: S105 - planted, to be looked for
LOGIN = f'org.apache.kafka.common.security.plain.PlainLoginModule required username="plant" \
password="{PASSWORD}"'


def broker_settings(folder, port):
    """What the broker is told besides: TLS by PEM files, and who may come in."""
    key, chain = (
        (folder / name).read_text().strip().replace("\n", "\\n") for name in ("key.pem", "cert.pem")
    )
    return {
        "listeners": f"SASL_SSL://127.0.0.1:{port['kafka']},"
        f"CONTROLLER://127.0.0.1:{port['kafka_controller']}",
        "advertised.listeners": f"SASL_SSL://127.0.0.1:{port['kafka']}",
        "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "SASL_SSL",
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{LOGIN} user_plant="{PASSWORD}";',
        "ssl.keystore.type": "PEM",
        "ssl.keystore.key": key,
        "ssl.keystore.certificate.chain": chain,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": chain,
    }


def make_certificate(folder):
    order = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run([*order, *names, *files], check=True, capture_output=True)


def properties(path, cert, password):
    login = LOGIN.replace(PASSWORD, password)
    path.write_text(
        f"security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config={login};\n"
        f"ssl.truststore.type=PEM\nssl.truststore.location={cert}\n"
    )
    return str(path)


@pytest.fixture
def secured(tmp_path, monkeypatch):
    """Start such a Kafka; give the folder of its certificate."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    for one in fields(Endpoints):
        monkeypatch.delenv(one.metadata["env"], raising=False)
    make_certificate(tmp_path)
    usual = kafka_server._settings
    monkeypatch.setattr(
        kafka_server,
        "_settings",
        lambda record, data: {**usual(record, data), **broker_settings(tmp_path, record["ports"])},
    )
    record = state.load()
    try:
        with state.locked():
            state.save(record)
            kafka_server.launch(record)
        monkeypatch.setenv("WORKBENCH_KAFKA", record["endpoints"]["kafka"])
        config = properties(tmp_path / "client.properties", tmp_path / "cert.pem", PASSWORD)
        monkeypatch.setenv("WORKBENCH_KAFKA_CONFIG", config)
        await_broker()
        yield tmp_path
    finally:
        room.down(["kafka"])


def await_broker():
    deadline = time.monotonic() + 120
    while True:
        try:
            return door.topics()
        except ServicesError:
            assert time.monotonic() < deadline, room.logs("kafka", lines=50)


def publish(topic, frame):
    """Send readings whose time is a field: the records' own timestamps are of another year."""
    producer = Producer(door.python_settings())
    rows = frame[["pump", "pressure_bar", "flow_l_min"]]
    rows = rows.assign(at_ms=detectors.epoch_ms(frame["event_time"])).to_dict("records")
    for number, row in enumerate(rows):
        value = json.dumps(row).encode()
        producer.produce(door.topic_name(topic), value, row["pump"], timestamp=1_000 + number)
        producer.poll(0)
    assert producer.flush(60) == 0


def await_values(topic, count, job):
    deadline, values = time.monotonic() + 240, []
    with door.connect() as consumer:
        consumer.assign([TopicPartition(door.topic_name(topic), 0, 0)])
        while len(values) < count and time.monotonic() < deadline:
            values += [json.loads(each.value()) for each in consumer.consume(10_000, timeout=1)]
    assert len(values) == count, job.state()
    return values


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.timeout(600)
def test_a_job_scores_by_the_field_that_is_the_time_where_kafka_wants_tls_and_a_password(
    secured, store, package_folder, readings, content, monkeypatch
):
    topics = {name: f"kafka://secured-{name}" for name in ("topic", "alerts", "scores")}
    stream = parse_stream("secured", content(**topics, event_time="at_ms"))
    door.make_topic(stream.topic)
    publish(stream.topic, readings)
    frame = stream_readings(stream, readable(stream, None))
    batch = detectors.detect(
        detectors.load(package_folder), frame, sensor="pump", lateness_ms=30_000
    )
    times = detectors.epoch_ms(frame["event_time"])
    taken = ~(batch.late | batch.ahead)
    due = taken & (times <= times[taken].max() - 30_000)

    job = start(stream, position="earliest", package=add_package(package_folder))
    rows = await_values(stream.scores, due.sum(), job)
    job.stop()

    by_id = dict(zip(frame["message_id"], batch.scores, strict=True))
    assert len(frame) == len(readings)
    assert {row["message_id"] for row in rows} == set(frame["message_id"][due])
    given = [np.nan if row["score"] is None else row["score"] for row in rows]
    np.testing.assert_allclose(given, [by_id[row["message_id"]] for row in rows], rtol=1e-9)
    from pyflink.java_gateway import get_gateway

    log = Path(get_gateway().jvm.java.lang.System.getProperty("log.file"))
    assert "sasl.jaas.config = [hidden]" in log.read_text()
    kept = [log, *(path for path in (home() / "logs").rglob("*") if path.is_file())]
    assert not any(PASSWORD.encode() in path.read_bytes() for path in kept)

    config = properties(secured / "wrong.properties", secured / "cert.pem", "another")
    monkeypatch.setenv("WORKBENCH_KAFKA_CONFIG", config)
    monkeypatch.setattr(door, "_ANSWER_S", 5.0)
    with pytest.raises(ServicesError, match=r"^Kafka does not answer, or refuses: "):
        door.topics()
