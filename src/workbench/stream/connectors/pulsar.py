"""Topics of Pulsar at the ends of a job.

What can be known before Flink starts is checked before: the broker, the topics, their schemas.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workbench import broker, services
from workbench.archive import split_partition
from workbench.endpoints import Endpoints, broker_token_file, endpoints
from workbench.errors import StreamError
from workbench.stream.definition.stream_file import Stream
from workbench.stream.flink_sql.tables import KEY, Sink, Source, message_columns, message_time
from workbench.stream.flink_sql.views import CONTRIBUTIONS
from workbench.stream.flink_sql.views import columns as alert_columns

_LATEST = 2**63 - 1  # ledger and entry of Pulsar's MessageId.latest
# Partitions that are added while the job runs are found after so long.
_DISCOVERY = {"pulsar.source.partitionDiscoveryIntervalMs": "10000"}
# The connector hands readings on by the hundred, or after ten seconds: where one comes each second,
# so late. It looks at a request to stop no sooner.
_FETCH = {"pulsar.source.maxFetchTime": "50", "pulsar.source.maxFetchRecords": "1000"}
_METADATA = {
    "message_id": "BYTES METADATA VIRTUAL",
    "message_event_time": "TIMESTAMP_LTZ(3) METADATA FROM 'event_time' VIRTUAL",
    "message_publish_time": "TIMESTAMP_LTZ(3) METADATA FROM 'publish_time' VIRTUAL",
}


def source(stream: Stream, position: str) -> Source:
    """Return the end that reads a stream's topic: unbounded.

    Parameters
    ----------
    position
        Where it begins: a message id `ledger:entry:partition`, `earliest` or `latest`.

    Raises
    ------
    ServicesError
        If the broker does not answer, or there is no such topic; then with the nearest names.
    StreamError
        If the topic's schema has no such fields.
    """
    partitions = broker.partitions(stream.topic)
    _check_fields(stream)
    addresses = endpoints()
    subscription = f"workbench-{stream.name}"
    return Source(
        columns={**message_columns(stream), **_METADATA},
        options={
            "connector": "pulsar",
            "topics": stream.topic,
            "service-url": addresses.broker,
            "format": "reading",
            "source.start.message-id": lasting_position(stream.topic, position, subscription),
            "source.subscription-name": subscription,
            **_FETCH,
            **_DISCOVERY,
            **_token(addresses),
        },
        message_id="message_id_text(`message_id`)",
        partition="SPLIT_INDEX(message_id_text(`message_id`), ':', 2)",
        time=message_time(stream, "`message_event_time`", "`message_publish_time`"),
        # the partition in the ids of a topic's messages: -1 where it has none
        partitions=tuple(str(split_partition(topic)[1]) for topic in partitions),
    )


def sink(stream: Stream, name: str, topic: str) -> Sink:
    """Return the end that writes a view to a topic, as JSON; that of alerts is given a schema.

    Raises
    ------
    ServicesError
        If the broker does not answer, or refuses the schema.
    """
    addresses = endpoints()
    if name in ("alerts", "shadow"):
        _register(topic, alert_schema(stream))
    options = {
        "connector": "pulsar",
        "topics": topic,
        "service-url": addresses.broker,
        "value.format": "json",
        "key.format": "raw",
        "key.fields": KEY,
        **_token(addresses),
    }
    return Sink(options, keyed=True)


def jars() -> list[Path]:
    """Return the jars of the connector."""
    return list(services.connector_jars())


def _token(addresses: Endpoints) -> dict[str, str]:
    if not addresses.broker_token:
        return {}
    return {
        "pulsar.client.authPluginClassName": (
            "org.apache.pulsar.client.impl.auth.AuthenticationToken"
        ),
        "pulsar.client.authParams": broker_token_file().as_uri(),
    }


def left_behind(stream: Stream) -> str | None:
    """Return the place from which on a topic has what no job has read; None: there is nothing.

    A job says at each checkpoint how far it is, by the subscription that it reads with. Of a topic
    with partitions, which have a place each, it is `earliest`.

    Raises
    ------
    ServicesError
        If the broker does not answer, or there is no such topic.
    """
    partitions = broker.partitions(stream.topic)
    places = [place for part in partitions if (place := _unread(part, f"workbench-{stream.name}"))]
    if not places or partitions == [broker.full_name(stream.topic)]:
        return next(iter(places), None)
    return "earliest"


def _unread(topic: str, subscription: str) -> str | None:
    """Return the first message that a subscription did not have; None: it had all, or is new."""
    path = broker.rest_path(topic)
    held = broker.get(f"{path}/stats")["subscriptions"].get(subscription)
    if not held or not held["msgBacklog"]:
        return None
    cursors = broker.get(f"{path}/internalStats")["cursors"]
    ledger, entry = cursors[subscription]["markDeletePosition"].split(":")
    return f"{ledger}:{int(entry) + 1}:-1"


def is_read(stream: Stream) -> bool:
    """Tell whether a job of a stream, or its function, is connected to the stream's topic.

    Raises
    ------
    ServicesError
        If the broker does not answer, or there is no such topic.
    """
    names = (f"workbench-{stream.name}", f"workbench-function-{stream.name}")
    for part in broker.partitions(stream.topic):
        held = broker.get(f"{broker.rest_path(part)}/stats")["subscriptions"]
        consumers = [each for name in names if name in held for each in held[name]["consumers"]]
        if any(each["consumerName"] != services.POSITIONING for each in consumers):
            return True
    return False


def lasting_position(topic: str, position: str, subscription: str) -> str:
    """Return a position that still means the same after a while.

    A job that fails before its first checkpoint begins anew: at `latest` it would leave out what
    came meanwhile. Of a partitioned topic there is no one message id to begin at. There the broker
    is to remember: the subscription of each partition is put behind its last message now, and the
    position says up to which partition that holds; those added later are read from their first
    message (`MessageIdStartCursor`).
    """
    if position != "latest":
        return position
    partitions = broker.partitions(topic)
    if partitions != [broker.full_name(topic)]:
        for part in partitions:
            _subscribe(part, subscription)
        return f"{_LATEST}:{_LATEST}:{len(partitions) - 1}"
    last = broker.get(f"{broker.rest_path(topic)}/lastMessageId")
    return f"{last['ledgerId']}:{last['entryId'] + 1}:-1"


def _subscribe(topic: str, subscription: str) -> None:
    """Put a subscription, which may be there already, behind the last message of a topic."""
    path = f"{broker.rest_path(topic)}/subscription/{quote(subscription, safe='')}"
    made = broker.admin("PUT", path, params={"replicated": "false"})
    if made.status_code == HTTPStatus.CONFLICT:
        made = broker.admin("POST", f"{path}/skip_all")
    broker.check(made)


def _check_fields(stream: Stream) -> None:
    schema = broker.get_or_none(f"{broker.schema_path(stream.topic)}/schema")
    if schema is None:
        return  # no schema: any field may come
    if schema["type"] not in {"JSON", "STRING", "BYTES"}:
        raise StreamError(f"the readings are {schema['type']}, expected JSON", where=stream.topic)
    if schema["type"] != "JSON":
        return
    fields = [field["name"] for field in json.loads(schema["data"]).get("fields", [])]
    for name in (*stream.fields, *filter(None, [stream.event_time])):
        if name not in fields:
            raise StreamError(
                f"the readings have no field {name!r}, they have {', '.join(fields)}",
                where=stream.topic,
            )


def alert_schema(stream: Stream) -> dict[str, Any]:
    """Return the Avro definition by which Pulsar describes the JSON of an alert."""
    part = {
        "type": "record",
        "name": "Contribution",
        "fields": [
            _nullable(name, "double" if name in ("share", "expected") else "string")
            for name in ("channel", "share", "direction", "expected")
        ],
    }
    kinds: dict[str, object] = {"STRING": "string", "DOUBLE": "double", "BIGINT": "long"}
    kinds[CONTRIBUTIONS] = {"type": "array", "items": part}
    values = {
        "type": "record",
        "name": "Channels",
        "fields": [_nullable(name, "double") for name in stream.measured],
    }
    fields = [
        _nullable(name, kinds.get(kind, values)) for name, kind in alert_columns(stream).items()
    ]
    return {"type": "record", "name": "Alert", "fields": fields}


def _nullable(name: str, kind: object) -> Mapping[str, Any]:
    return {"name": name, "type": ["null", kind], "default": None}


def _register(topic: str, schema: Mapping[str, Any]) -> None:
    body = {"type": "JSON", "schema": json.dumps(schema), "properties": {}}
    broker.check(broker.admin("POST", f"{broker.schema_path(topic)}/schema", json=body))


__all__ = ["alert_schema", "is_read", "jars", "lasting_position", "left_behind", "sink", "source"]
