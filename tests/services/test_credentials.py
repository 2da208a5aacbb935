"""Nobody is let into the local Pulsar and Kafka who has not what was made at their first start."""

import contextlib
import socket
import struct

import psutil
import pulsar
import pytest
import requests
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from workbench import broker
from workbench import kafka as door
from workbench import services as room
from workbench.endpoints import home
from workbench.services import state

UNAUTHORIZED = 502  # StatusCode.EUA of apache/bookkeeper's BookkeeperProtocol.proto
OTHER = state.signed_token("00" * 32)


def asked(port, request):
    """Send bytes and their length to a port; return what comes back, without its length."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as peer:
        peer.sendall(struct.pack(">i", len(request)) + request)
        with contextlib.suppress(ConnectionResetError):
            answer = peer.makefile("rb")
            (length,) = struct.unpack(">i", answer.read(4) or b"\0\0\0\0")
            return answer.read(length)
    return b""


def varint(number):
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def field(number, value):
    """Return one of Protobuf's fields, a number or a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def read_entry(ledger, entry):
    """Return what asks a bookie for an entry, in the third version of its protocol."""
    head = field(1, 3) + field(2, 1) + field(3, 7)
    return field(1, head) + field(100, field(1, ledger) + field(2, entry))


@pytest.mark.pulsar
@pytest.mark.parametrize("token", [None, OTHER], ids=["no token", "a token of another key"])
def test_the_broker_lets_nobody_in_without_its_token(services, token):
    given = {} if token is None else {"Authorization": f"Bearer {token}"}
    client = pulsar.Client(
        services.broker,
        authentication=token and pulsar.AuthenticationToken(token),
        operation_timeout_seconds=5,
    )

    with contextlib.closing(client), pytest.raises(pulsar.PulsarException):
        client.create_producer("let-in")

    for path in ("/admin/v2/namespaces/public", "/metrics/", "/admin/v2/brokers/health"):
        answer = requests.get(services.admin + path, headers=given, timeout=60)
        assert answer.status_code == requests.codes.unauthorized, path
    with broker.connect() as client:
        client.create_producer("let-in")
    assert broker.full_name("let-in") in broker.topics("public/default")


@pytest.mark.pulsar
def test_the_bookie_gives_its_entries_to_the_broker_alone(services):
    with broker.connect() as client:
        client.create_producer("kept-in").send(b"a reading")
    stats = broker.get(f"{broker.rest_path('kept-in')}/internalStats")
    ledger = stats["ledgers"][-1]["ledgerId"]

    answer = asked(state.load()["ports"]["bookie"], read_entry(ledger, 0))

    assert b"a reading" not in answer
    assert field(2, UNAUTHORIZED) in answer


@pytest.mark.pulsar
def test_what_lets_one_into_pulsar_is_for_its_owner_alone_and_in_no_log(services):
    known = state.load()
    secrets = [services.broker_token, known["broker_key"], known["bookie_secret"]]
    told = [*told_by("pulsar"), (home() / "pulsar" / "standalone.conf").read_text()]

    assert [secret for secret in secrets for text in told if secret in text] == []
    for name in ("token", "token.key", "logins.conf"):
        assert (home() / "pulsar" / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.pulsar
@pytest.mark.parametrize("port", ["kafka", "kafka_controller"])
def test_kafka_answers_nobody_who_does_not_log_in(kafka, port):
    # DescribeCluster, the first version: of the broker, or of the controller
    request = struct.pack(">hhih", 60, 1, 7, 1) + b"a\0" + bytes([0, 1 + (port != "kafka"), 0])

    assert asked(state.load()["ports"][port], request) == b""


@pytest.mark.pulsar
def test_kafka_lets_nobody_in_with_another_password(kafka):
    other = door.python_settings() | {"sasl.password": "00" * 32, "log_level": 0}
    for settings in (other, {"bootstrap.servers": kafka.kafka, "log_level": 0}):
        with pytest.raises(KafkaException):
            AdminClient(settings).list_topics(timeout=5)

    assert AdminClient(door.python_settings()).list_topics(timeout=60).brokers


@pytest.mark.pulsar
def test_what_lets_one_into_kafka_is_for_its_owner_alone_and_in_no_log(kafka):
    assert [text for text in told_by("kafka") if state.load()["kafka_password"] in text] == []
    for name in ("client.properties", "server.properties"):
        assert (home() / "kafka" / name).stat().st_mode & 0o777 == 0o600


def told_by(service):
    """Command lines of a service, and its log."""
    (status,) = room.status([service])
    lines = [" ".join(psutil.Process(pid).cmdline()) for pid in status.pids]
    return [*lines, status.log.read_text(errors="replace")]
