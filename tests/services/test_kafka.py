"""A real Kafka: how it comes up, what it keeps, what its clients are told."""

import psutil
import pytest
from click.testing import CliRunner

import workbench
from workbench import kafka as door
from workbench import services as room
from workbench.cli import cli
from workbench.errors import ServicesError
from workbench.services.doctor import Finding, examine

JAAS = (
    "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n"
    '    username="plant" password="planted-7c1d0f";\n'
)


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Name a file of properties, as a Java client has one."""

    def write(text):
        path = tmp_path / "client.properties"
        path.write_text(text)
        monkeypatch.setenv("WORKBENCH_KAFKA", "kafka.example:9093")
        monkeypatch.setenv("WORKBENCH_KAFKA_CONFIG", str(path))
        return path

    return write


@pytest.mark.pulsar
def test_kafka_comes_up_on_loopback_and_keeps_topics_and_groups(kafka):
    (first,) = room.status(["kafka"])
    door.make_topic("kafka://kept", partitions=3)
    door.commit("kafka://kept", "workbench-pumps", {0: 0, 1: 0, 2: 0})
    listening = {
        connection.laddr.ip.removeprefix("::ffff:")
        for connection in psutil.Process(first.pids[0]).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }

    room.down(["kafka"])
    assert room.status(["kafka"])[0].state == "down"
    assert not any(psutil.pid_exists(pid) for pid in first.pids)
    (second,) = room.up(["kafka"])

    assert (first.state, second.state) == ("up", "up")
    assert second.address == first.address == kafka.kafka
    assert listening == {"127.0.0.1"}
    assert door.bounds("kafka://kept") == {0: (0, 0), 1: (0, 0), 2: (0, 0)}
    assert "Kafka Server started" in room.logs("kafka", lines=100)


@pytest.mark.pulsar
def test_a_csv_file_is_sent_to_kafka_and_read_back_as_it_was(kafka, tmp_path):
    path = tmp_path / "pumps.csv"
    lines = [f"2026-01-05T00:00:{i % 60:02}Z,pump-{i % 3},{i / 4}\n" for i in range(50)]
    path.write_text("".join(["time,pump,bar\n", *lines]))
    asked = ["ingest", str(path), "--to", "kafka://ingested", "--sensor", "pump"]

    done = CliRunner().invoke(
        cli, [*asked, "--time", "time", "--values", "bar"], catch_exceptions=False
    )

    assert done.stdout.startswith("50 readings to kafka://ingested in ")
    frame = workbench.replay("kafka://ingested", source="kafka")
    assert frame["bar"].tolist() == [i / 4 for i in range(50)]
    assert frame["pump"].tolist() == frame["key"].tolist()
    assert [str(time) for time in frame["event_time"][:2]] == [
        "2026-01-05 00:00:00+00:00",
        "2026-01-05 00:00:01+00:00",
    ]
    with pytest.raises(ServicesError) as error:
        room.ingest_frame(
            frame, "kafka://ingested", sensor="pump", time="event_time", values=["bar"],
            schema="avro",
        )  # fmt: skip
    assert str(error.value) == "Kafka keeps no schema to read avro by\n  schema json"


@pytest.mark.pulsar
def test_a_topic_that_is_not_there_is_refused_with_the_nearest_and_not_made(kafka):
    door.make_topic("kafka://pumps")

    with pytest.raises(ServicesError) as error:
        door.partitions("kafka://pump")

    assert str(error.value) == ("there is no topic kafka://pump\n  did you mean 'pumps'?")
    with pytest.raises(ServicesError):
        door.partitions("kafka://pump")


@pytest.mark.pulsar
def test_the_doctor_asks_kafka(kafka):
    door.make_topic("kafka://looked-at")

    (finding,) = [one for one in examine() if one.subject == "bootstrap"]

    count = len(door.topics())
    assert finding == Finding(
        "bootstrap", "ok", f"Kafka answers at {kafka.kafka}, it has {count} topics"
    )


def test_the_doctor_says_that_no_kafka_answers(monkeypatch):
    monkeypatch.setenv("WORKBENCH_KAFKA", "127.0.0.1:9")
    monkeypatch.setattr(door, "_ANSWER_S", 1.0)

    (finding,) = [one for one in examine() if one.subject == "bootstrap"]

    assert finding.state == "wrong"
    assert finding.found.startswith("Kafka does not answer, or refuses: ")
    assert finding.mend.startswith("workbench services up kafka, or set WORKBENCH_KAFKA to ")


def test_a_kafka_that_is_not_there_is_said_within_seconds(monkeypatch):
    monkeypatch.setenv("WORKBENCH_KAFKA", "127.0.0.1:9")
    monkeypatch.setattr(door, "_ANSWER_S", 1.0)

    with pytest.raises(ServicesError, match=r"^Kafka does not answer, or refuses: ") as error:
        door.partitions("kafka://pumps")

    assert error.value.hint == (
        "workbench services up kafka, or set WORKBENCH_KAFKA to HOST:PORT of one that runs"
    )


def test_flink_is_told_where_the_secrets_are_and_none_of_them(config):
    path = config(
        "# of the plant\nsecurity.protocol = SASL_SSL\nsasl.mechanism:SCRAM-SHA-512\n" + JAAS
    )

    settings = door.flink_settings()

    assert "planted" not in str(settings)
    assert settings.pop("config.providers.file.class").endswith("FileConfigProvider")
    assert settings == {
        "bootstrap.servers": "kafka.example:9093",
        "config.providers": "file",
        "security.protocol": f"${{file:{path}:security.protocol}}",
        "sasl.mechanism": f"${{file:{path}:sasl.mechanism}}",
        "sasl.jaas.config": f"${{file:{path}:sasl.jaas.config}}",
    }
    assert door.python_settings() == {
        "bootstrap.servers": "kafka.example:9093",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "plant",
        "sasl.password": "planted-7c1d0f",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ssl.provider=SunJSSE", "ssl.provider is of Java's client alone\n  in {}"),
        (
            "ssl.truststore.location=/etc/ca.jks",
            "ssl.truststore.location is a JKS, which Python's client cannot read\n  in {}\n"
            "  ssl.truststore.type=PEM, which Java's reads, too",
        ),
        (
            "sasl.jaas.config=OAuthBearerLoginModule required;",
            "sasl.jaas.config has no username and password\n  in {}\n  PLAIN, or SCRAM",
        ),
        ("security.protocol", "'security.protocol' is not KEY=VALUE\n  in {}"),
    ],
)
def test_what_both_clients_cannot_be_told_is_refused(config, text, message):
    path = config(text)

    with pytest.raises(ServicesError) as error:
        door.python_settings()

    assert str(error.value) == message.format(path)


@pytest.mark.parametrize("topic", ["kafka://", "kafka://plant/pumps", "kafka://.."])
def test_a_name_that_kafka_does_not_take_is_refused(topic):
    with pytest.raises(ServicesError, match=f"^'{topic}' is not the name of a topic of Kafka"):
        door.topic_name(topic)
