"""Have a broker offload a topic, and verify what lies in the bucket afterwards."""

from __future__ import annotations

import re
import struct
import time
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import requests
from tqdm import tqdm

from workbench import broker
from workbench.endpoints import endpoints
from workbench.errors import ServicesError
from workbench.services.s3 import client

if TYPE_CHECKING:
    from botocore.client import BaseClient

_POLL_S = 0.2
_JAVA = re.compile(r"^(?:[\w.$]+(?:Exception|Error): )+")  # the causes' class names
_LOAD_S = 60.0  # for a topic to be served again after it was closed
_DATA_LENGTH = struct.Struct(">8xq")  # of an index object: magic, its length, the data's length


@dataclass(frozen=True)
class OffloadedLedger:
    """One ledger in the bucket: `bytes` are those of its data and index object together."""

    topic: str
    ledger: int
    entries: int
    bytes: int


@dataclass(frozen=True)
class Offload:
    """What of a topic lies in the bucket, all of it verified.

    Attributes
    ----------
    topic
        Full name.
    ledgers
        Every offloaded ledger, also from earlier calls, in the broker's order.
    new
        How many of them this call offloaded.
    """

    topic: str
    ledgers: tuple[OffloadedLedger, ...]
    new: int

    @property
    def objects(self) -> int:
        """Data and index objects."""
        return 2 * len(self.ledgers)

    @property
    def bytes(self) -> int:
        """Of all objects."""
        return sum(ledger.bytes for ledger in self.ledgers)


def offload(topic: str, *, timeout_s: float = 600) -> Offload:
    """Close a topic's open ledger, offload all closed ones, wait, and verify the objects.

    Parameters
    ----------
    topic
        Full or short name; of a partitioned topic all partitions.
    timeout_s
        For the offload of one partition.

    Raises
    ------
    ServicesError
        If the broker or the bucket cannot be reached, there is no such topic, the offload fails
        or takes too long, or an object is missing or not as long as its index says.
    """
    bucket = _Bucket()
    parts = broker.partitions(topic)
    ledgers: list[OffloadedLedger] = []
    new = 0
    for part in tqdm(parts, desc=f"offloading {topic}", unit=" topics", disable=None):
        new += _offload_one(part, timeout_s)
        ledgers += _verified(part, bucket)
    return Offload(broker.full_name(topic), tuple(ledgers), new)


def _offload_one(topic: str, timeout_s: float) -> int:
    path, deadline = broker.rest_path(topic), time.monotonic() + timeout_s
    broker.check(broker.admin("PUT", f"{path}/unload"))
    stats = _closed_stats(topic)
    last: int = stats["ledgers"][-1]["ledgerId"]  # the new open one: all below it are closed
    new = waiting = _waiting(stats, last)
    while waiting:
        body = {"ledgerId": last, "entryId": 0, "partitionIndex": -1}
        answer = broker.admin("PUT", f"{path}/offload", json=body)
        if answer.status_code != requests.codes.conflict:  # one runs already: wait for that
            broker.check(answer)
        while _is_running(path, topic):
            if time.monotonic() > deadline:
                raise ServicesError(
                    f"the offload still runs after {timeout_s:g} s",
                    where=topic,
                    hint="does the broker have the credentials of its bucket, and reach it?",
                )
            time.sleep(_POLL_S)
        waiting = _waiting(broker.get(f"{path}/internalStats"), last)
    return len(new)


def _closed_stats(topic: str) -> dict[str, Any]:
    """Return the internal statistics once the topic is served again."""
    deadline = time.monotonic() + _LOAD_S
    while True:
        answer = broker.admin("GET", f"{broker.rest_path(topic)}/internalStats")
        if answer.ok or time.monotonic() > deadline:
            broker.check(answer)
            stats: dict[str, Any] = answer.json()
            return stats
        time.sleep(_POLL_S)


def _waiting(stats: dict[str, Any], last: int) -> list[int]:
    return [
        ledger["ledgerId"]
        for ledger in stats["ledgers"]
        if ledger["ledgerId"] < last and not ledger["offloaded"]
    ]


def _is_running(path: str, topic: str) -> bool:
    answer = broker.get(f"{path}/offload")
    if answer["status"] == "ERROR":
        raise ServicesError(
            f"the broker could not offload: {_JAVA.sub('', answer['lastError'])}",
            where=topic,
            hint="its log says more: workbench services logs pulsar",
        )
    return bool(answer["status"] == "RUNNING")


class _Bucket:
    """The bucket of `endpoints`, found to be within reach."""

    def __init__(self) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        servers = endpoints()
        if not servers.archive.startswith("s3://"):
            raise ServicesError(
                f"cannot verify what is offloaded: {servers.archive or 'no archive'} is no bucket",
                hint="set WORKBENCH_ARCHIVE to s3://BUCKET, the one that the broker offloads to",
            )
        self.name, _, self.prefix = servers.archive.removeprefix("s3://").partition("/")
        self.client = client(servers)
        try:
            self.client.head_bucket(Bucket=self.name)
        except (BotoCoreError, ClientError, ValueError) as err:
            raise ServicesError(
                f"the bucket cannot be reached: {err}",
                where=servers.archive,
                hint="workbench services up s3, or workbench doctor",
            ) from err


def _verified(topic: str, bucket: _Bucket) -> list[OffloadedLedger]:
    info = broker.get(f"{broker.rest_path(topic)}/internal-info")
    stored = []
    for ledger in sorted(info["ledgers"], key=itemgetter("ledgerId")):  # they come in any order
        if ledger.get("isOffloaded"):
            key = f"{bucket.prefix}{ledger['offloadedContextUuid']}-ledger-{ledger['ledgerId']}"
            size = _object_bytes(bucket.client, bucket.name, key)
            stored.append(OffloadedLedger(topic, ledger["ledgerId"], ledger["entries"], size))
    return stored


def _object_bytes(s3: BaseClient, bucket: str, key: str) -> int:
    """Return the length of both objects of a ledger, if the data is as long as its index says."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        index = s3.get_object(Bucket=bucket, Key=f"{key}-index")["Body"].read()
        length: int = s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
    except (BotoCoreError, ClientError) as err:
        raise ServicesError(
            f"an offloaded object cannot be read: {err}", where=f"s3://{bucket}/{key}"
        ) from err
    (expected,) = _DATA_LENGTH.unpack_from(index)
    if length != expected:
        raise ServicesError(
            f"the data object has {length} bytes, its index says {expected}",
            where=f"s3://{bucket}/{key}",
            hint="an entry did not fit its block: offload in larger ones (8 MiB or more)",
        )
    return length + len(index)
