"""One door to Kafka, here or elsewhere: what its clients are told, and what it has of a topic.

Addresses come from `WORKBENCH_KAFKA`, else from the local services. What else a client has to know
(SASL, TLS) stands in a file of a Java client's properties, `WORKBENCH_KAFKA_CONFIG`: Flink's client
is told the file's name alone, Python's client the same properties by the names that it has for
them.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.endpoints import Endpoints, endpoints
from workbench.errors import ServicesError, did_you_mean

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError

SCHEME = "kafka://"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")  # Kafka's rule for the names of topics
_HINT = "workbench services up kafka, or set WORKBENCH_KAFKA to HOST:PORT of one that runs"
_ANSWER_S = 10.0
_PROVIDER = "org.apache.kafka.common.config.provider.FileConfigProvider"
_LOGIN = re.compile(r'(username|password)\s*=\s*"((?:[^"\\]|\\.)*)"')
# Java's names of properties: those of librdkafka
_PYTHON = {
    "security.protocol": "security.protocol",
    "sasl.mechanism": "sasl.mechanism",
    "ssl.endpoint.identification.algorithm": "ssl.endpoint.identification.algorithm",
    "ssl.truststore.location": "ssl.ca.location",
    "ssl.truststore.certificates": "ssl.ca.pem",
    "ssl.keystore.location": "ssl.keystore.location",
    "ssl.keystore.password": "ssl.keystore.password",
    "ssl.keystore.certificate.chain": "ssl.certificate.pem",
    "ssl.keystore.key": "ssl.key.pem",
    "ssl.key.password": "ssl.key.password",
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}  # in a file of properties
_STORES = {"ssl.truststore.type": "PEM", "ssl.keystore.type": "PKCS12"}  # that both clients read


def topic_name(topic: str) -> str:
    """Return a topic's name in Kafka.

    Raises
    ------
    ServicesError
        If it is none.

    Examples
    --------
    >>> topic_name("kafka://pumps")
    'pumps'
    """
    name = topic.removeprefix(SCHEME)
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        raise ServicesError(
            f"{topic!r} is not the name of a topic of Kafka",
            hint=f"{SCHEME}TOPIC: at most 249 letters, digits, dots, underscores and hyphens",
        )
    return name


def is_topic(name: str) -> bool:
    """Tell whether a topic is Kafka's, by its scheme."""
    return name.startswith(SCHEME)


def servers() -> str:
    """Return the bootstrap servers.

    Raises
    ------
    ServicesError
        If none are known.
    """
    addresses = endpoints().kafka
    if not addresses:
        raise ServicesError("no Kafka is known", hint=_HINT)
    return addresses


def flink_settings() -> dict[str, str]:
    """Return what Flink's client is told: no secret, but where it finds them.

    A value is replaced by the client itself, from the file, on the machine on which it runs.
    Source: org.apache.kafka.common.config.AbstractConfig, FileConfigProvider (KIP-421).
    """
    settings = {"bootstrap.servers": servers()}
    path = endpoints().kafka_config
    if not path:
        return settings
    file = Path(path).resolve()
    providers = {"config.providers": "file", "config.providers.file.class": _PROVIDER}
    return {
        **settings,
        **providers,
        **{key: f"${{file:{file}:{key}}}" for key in _properties(file)},
    }


def python_settings(places: Endpoints | None = None) -> dict[str, str]:
    """Return what Python's client is told, of the Kafka of `endpoints` or of other places.

    Raises
    ------
    ServicesError
        If no Kafka is known, or the file of properties says what this client cannot be told.
    """
    places = places or endpoints()
    addresses, config = places.kafka or servers(), places.kafka_config
    properties = _properties(Path(config)) if config else {}
    return {"bootstrap.servers": addresses, **in_python(properties, config)}


def in_python(properties: Mapping[str, str], where: str = "") -> dict[str, str]:
    """Return a Java client's properties as librdkafka has them.

    Raises
    ------
    ServicesError
        If one has no like there.

    Examples
    --------
    >>> in_python({"security.protocol": "SSL", "ssl.truststore.type": "PEM",
    ...            "ssl.truststore.location": "/etc/ca.pem"})
    {'security.protocol': 'SSL', 'ssl.ca.location': '/etc/ca.pem'}
    """
    settings: dict[str, str] = {}
    for key, value in properties.items():
        if key == "sasl.jaas.config":
            settings |= _login(value, where)
        elif key in _PYTHON:
            settings[_PYTHON[key]] = value
        elif key not in _STORES:
            raise ServicesError(f"{key} is of Java's client alone", where=where)
    for key, kind in _STORES.items():
        store = key.replace("type", "location")
        if store in properties and properties.get(key, "JKS").upper() != kind:
            raise ServicesError(
                f"{store} is a {properties.get(key, 'JKS')}, which Python's client cannot read",
                where=where,
                hint=f"{key}={kind}, which Java's reads, too",
            )
    if settings.get("ssl.endpoint.identification.algorithm") == "":  # Java's word for none
        settings["ssl.endpoint.identification.algorithm"] = "none"
    return settings


def _login(jaas: str, where: str) -> dict[str, str]:
    login = {f"sasl.{name}": re.sub(r"\\(.)", r"\1", text) for name, text in _LOGIN.findall(jaas)}
    if len(login) != 2:
        raise ServicesError(
            "sasl.jaas.config has no username and password", where=where, hint="PLAIN, or SCRAM"
        )
    return login


def _properties(path: Path) -> dict[str, str]:
    """Return what a file of properties says, as `java.util.Properties` reads it."""
    if not path.is_file():
        raise ServicesError("there is no such file", where=path, hint="see WORKBENCH_KAFKA_CONFIG")
    text = re.sub(r"\\\r?\n[ \t]*", "", path.read_text(encoding="utf-8"))
    lines = [line.strip() for line in text.splitlines()]
    pairs = [re.split(r"\s*[=:]\s*", line, maxsplit=1) for line in lines if line[:1] not in "#!"]
    wrong = [pair[0] for pair in pairs if len(pair) < 2]
    if wrong:
        raise ServicesError(f"{wrong[0]!r} is not KEY=VALUE", where=path)
    return {
        key: re.sub(r"\\(.)", lambda mark: _ESCAPES.get(mark[1], mark[1]), value)
        for key, value in pairs
    }


@contextlib.contextmanager
def connect(**settings: object) -> Iterator[Consumer]:
    """Open a consumer that commits nothing by itself, and close it at the end.

    Parameters
    ----------
    settings
        Of librdkafka, with `_` for `.`.

    Raises
    ------
    ServicesError
        If no Kafka is known, its client is not installed, or Kafka does not answer or refuses.
    """
    with _answers() as client:
        given = {key.replace("_", "."): value for key, value in settings.items()}
        usual = {"group.id": "workbench", "enable.auto.commit": False, "log_level": 0}
        consumer = client.Consumer(
            {**usual, **python_settings(), **given}, logger=logging.getLogger(__name__)
        )
        try:
            yield consumer
        finally:
            consumer.close()


@contextlib.contextmanager
def _answers() -> Iterator[Any]:
    """Give Python's client; tell what it raises as an error of ours."""
    try:
        import confluent_kafka as client
    except ImportError as err:
        raise ServicesError(
            "confluent-kafka is not installed", hint="pip install workbench[kafka]"
        ) from err
    try:
        yield client
    except client.KafkaException as err:
        raise refused(err.args[0]) from err


def refused(error: KafkaError) -> ServicesError:
    """Return what to raise for an error of Kafka's."""
    addresses = endpoints().kafka
    return ServicesError(f"Kafka does not answer, or refuses: {error}", where=addresses, hint=_HINT)


def partitions(topic: str) -> list[int]:
    """Return the numbers of a topic's partitions.

    Raises
    ------
    ServicesError
        As `connect`; or if there is no such topic, with the nearest names.
    """
    name = topic_name(topic)
    with connect() as consumer:
        catalogue = consumer.list_topics(timeout=_ANSWER_S).topics
    if name not in catalogue:
        nearest = did_you_mean(name, [other for other in catalogue if not _is_internal(other)])
        raise ServicesError(f"there is no topic {SCHEME}{name}", hint=nearest)
    return sorted(catalogue[name].partitions)


def topics() -> list[str]:
    """Return the names of all topics, without the scheme and without Kafka's own."""
    with connect() as consumer:
        catalogue = consumer.list_topics(timeout=_ANSWER_S).topics
    return sorted(name for name in catalogue if not _is_internal(name))


def _is_internal(name: str) -> bool:
    return name.startswith("__")


def bounds(topic: str) -> dict[int, tuple[int, int]]:
    """Return, by partition, the offset of the first record that Kafka still has, and the next."""
    numbers, name = partitions(topic), topic_name(topic)
    with _answers() as client, connect() as consumer:
        return {
            number: consumer.get_watermark_offsets(
                client.TopicPartition(name, number), timeout=_ANSWER_S
            )
            for number in numbers
        }


def tails(topic: str, since_ms: int, places: dict[int, int]) -> dict[int, list[tuple[int, bytes]]]:
    """Return time, epoch ms, and value of the records behind some places, by partition.

    The places, next offsets by partition, are moved on. A partition that has none yet is read from
    the first record of `since_ms`, epoch ms, on. A record without a value is left out.
    """
    ends, name, moved = bounds(topic), topic_name(topic), dict(places)
    values: dict[int, list[tuple[int, bytes]]] = {}
    settings = {"auto_offset_reset": "earliest", "enable_partition_eof": True}
    with _answers() as client, connect(**settings) as consumer:
        for number, (first, end) in ends.items():
            if number not in moved:
                asked = [client.TopicPartition(name, number, max(since_ms, 0))]
                (place,) = consumer.offsets_for_times(asked, timeout=_ANSWER_S)
                moved[number] = place.offset if place.offset >= 0 else end
            start = resumed(moved[number], first, end)
            consumer.assign([client.TopicPartition(name, number, start)])
            records = list(_until(consumer, start, end))
            values[number] = [
                (each.timestamp()[1], each.value()) for each in records if each.value() is not None
            ]
            moved[number] = records[-1].offset() + 1 if records else start
    places.update(moved)
    return values


def resumed(place: int, first: int, end: int) -> int:
    """Return from where a reader that is at `place` goes on, in a partition that has [first, end).

    What Kafka has deleted nobody sees. A place beyond the end is one of a topic that was deleted
    and made anew: of the new one all is new.

    Examples
    --------
    >>> resumed(5, 0, 9), resumed(9, 0, 9), resumed(2, 4, 9), resumed(50, 0, 9)
    (5, 9, 4, 0)
    """
    return first if place > end else max(place, first)


def _until(consumer: Consumer, start: int, end: int) -> Iterator[Any]:
    """Yield the records of the partition that is assigned, to the end that it had."""
    from confluent_kafka import KafkaError

    while start < end:
        record = consumer.poll(_ANSWER_S)
        if record is None:
            raise ServicesError(f"Kafka gives nothing for {_ANSWER_S:g} s, {end - start} are left")
        error = record.error()
        if error and error.code() == KafkaError._PARTITION_EOF:
            return
        if error:
            raise refused(error)
        start = record.offset() + 1
        yield record


def committed(topic: str, group: str) -> dict[int, int]:
    """Return the offsets that a consumer group has committed, by partition; none where none."""
    numbers, name = partitions(topic), topic_name(topic)
    with _answers() as client, connect(group_id=group) as consumer:
        asked = [client.TopicPartition(name, number) for number in numbers]
        places = consumer.committed(asked, timeout=_ANSWER_S)
        return {place.partition: place.offset for place in places if place.offset >= 0}


def commit(topic: str, group: str, offsets: Mapping[int, int]) -> None:
    """Put a consumer group at these offsets, by partition."""
    name = topic_name(topic)
    with _answers() as client, connect(group_id=group) as consumer:
        places = [client.TopicPartition(name, *place) for place in offsets.items()]
        for place in consumer.commit(offsets=places, asynchronous=False):
            if place.error:
                raise refused(place.error)


def backlog(topic: str, group: str) -> int | None:
    """Return how many records lie behind the offsets that a consumer group has committed.

    None: it has committed none.
    """
    offsets = committed(topic, group)
    if not offsets:
        return None
    return sum(
        end - resumed(offsets.get(number, first), first, end)
        for number, (first, end) in bounds(topic).items()
    )


def make_topic(topic: str, *, partitions: int = -1) -> None:
    """Make a topic if there is none of this name, and return once it can be written and read.

    Parameters
    ----------
    partitions
        How many; -1: as many as the broker gives a new topic.

    Raises
    ------
    ServicesError
        As `connect`; or if it is not there in time.
    """
    name, deadline = topic_name(topic), time.monotonic() + _ANSWER_S
    with _answers() as client, connect() as consumer:
        if _has_leaders(consumer, name):
            return
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient({**python_settings(), "log_level": 0})
        made = admin.create_topics([NewTopic(name, partitions)], request_timeout=_ANSWER_S)
        try:
            made[name].result()
        except client.KafkaException as err:
            if err.args[0].code() != client.KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        while not _has_leaders(consumer, name):
            if time.monotonic() > deadline:
                raise ServicesError(f"{SCHEME}{name} has no leader", where=endpoints().kafka)
            time.sleep(0.05)


def _has_leaders(consumer: Consumer, name: str) -> bool:
    found = consumer.list_topics(timeout=_ANSWER_S).topics.get(name)
    return bool(found and found.partitions) and all(
        partition.leader >= 0 for partition in found.partitions.values()
    )
