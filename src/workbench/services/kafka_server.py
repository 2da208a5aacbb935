"""A real Kafka: one node that is broker and controller (KRaft), on loopback."""

from __future__ import annotations

import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from workbench import files, kafka
from workbench.endpoints import Endpoints, home
from workbench.errors import ServicesError
from workbench.services.artifacts import fetch
from workbench.services.jdk import complaint, java
from workbench.services.processes import start
from workbench.services.state import ROLE, State

PORTS = ("kafka", "kafka_controller")
_FORMAT_S = 120  # 2 s on an idle core
_ANSWER_S = 2.0
_MEMORY = ("-Xms256m", "-Xmx512m", "-XX:+UseG1GC")
_PROTOCOL = "SASL_PLAINTEXT"  # the password crosses loopback alone
_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"
_LOG = """\
log4j.rootLogger=WARN, out
log4j.logger.kafka.server.KafkaRaftServer=INFO
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %-5p %c{1} %m%n
"""


def _settings(state: State, data: Path) -> dict[str, object]:
    ports = state["ports"]
    controller = f"127.0.0.1:{ports['kafka_controller']}"
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"CLIENTS://127.0.0.1:{ports['kafka']},CONTROLLER://{controller}",
        "advertised.listeners": f"CLIENTS://127.0.0.1:{ports['kafka']}",
        "inter.broker.listener.name": "CLIENTS",
        **_logins(state["kafka_password"]),
        "log.dirs": data,
        # a misspelt topic is refused, not made
        "auto.create.topics.enable": "false",
        # history stays
        "log.retention.ms": -1,
        # of one node
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
    }


def _logins(password: str) -> dict[str, str]:
    """Return whom the broker and its controller let in, and who they are themselves."""
    server = f'{_login(password)} user_{ROLE}="{password}";'
    return {
        "listener.security.protocol.map": f"CLIENTS:{_PROTOCOL},CONTROLLER:{_PROTOCOL}",
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.clients.plain.sasl.jaas.config": server,
        "listener.name.controller.plain.sasl.jaas.config": server,
    }


def _client(folder: Path, password: str) -> Path:
    """Write a client's properties."""
    lines = [f"security.protocol={_PROTOCOL}", "sasl.mechanism=PLAIN"]
    lines += [f"sasl.jaas.config={_login(password)};", ""]
    return files.write_text(folder / "client.properties", "\n".join(lines), mode=0o600)


def _login(password: str) -> str:
    return f'{_MODULE} required username="{ROLE}" password="{password}"'


def launch(state: State) -> None:
    """Start the node; at first its folder is given an id of a cluster."""
    folder = home().resolve() / "kafka"
    settings = _settings(state, folder / "data")
    lines = [f"{key}={value}\n" for key, value in settings.items()]
    properties = files.write_text(folder / "server.properties", "".join(lines), mode=0o600)
    state["endpoints"]["kafka_config"] = str(_client(folder, state["kafka_password"]))
    log = files.write_text(folder / "log4j.properties", _LOG)
    (folder / "tmp").mkdir(exist_ok=True)  # where Kafka's libraries unpack their native halves
    command = [
        *(java(), *_MEMORY, f"-Dlog4j.configuration={log.as_uri()}"),
        *(f"-Djava.io.tmpdir={folder / 'tmp'}", f"-Dkafka.logs.dir={home().resolve() / 'logs'}"),
        *("-cp", ":".join(map(str, fetch("kafka")))),
    ]
    if not (folder / "data" / "meta.properties").is_file():
        _format(command, properties)
    start("kafka", [*command, "kafka.Kafka", properties], {})


def _format(command: list[object], properties: Path) -> None:
    cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    if cluster.startswith("-"):  # which would be an option
        cluster = f"A{cluster[1:]}"
    tool = ["kafka.tools.StorageTool", "format", "--config", properties, "--cluster-id", cluster]
    done = subprocess.run(
        list(map(str, [*command, *tool])), capture_output=True, text=True, timeout=_FORMAT_S
    )
    if done.returncode:
        said = complaint(done.stderr) or done.stdout.strip()
        raise ServicesError(f"Kafka's folder cannot be formatted: {said}", where=properties.parent)


def missing(state: State) -> str:
    """Return what is not ready yet: nothing once the broker tells its topics."""
    import confluent_kafka
    from confluent_kafka.admin import AdminClient

    settings = kafka.python_settings(Endpoints(**state["endpoints"]))
    try:
        cluster = AdminClient({**settings, "log_level": 0}).list_topics(timeout=_ANSWER_S)
    except confluent_kafka.KafkaException as err:
        return f"it does not answer ({err.args[0].str()})"
    return "" if cluster.brokers else "it has no broker"
