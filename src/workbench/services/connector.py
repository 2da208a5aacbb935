"""Flink's connectors of queues: Kafka's as it is, Pulsar's with five of its classes replaced.

Pulsar's, as released, loses readings when it is restored within a batch (FLINK-36180), counts
readings twice when a broker restarts under it, and makes two consumers of one partition when a
checkpoint completes early (FLINK-38600), and reads a partition that was added while the job runs
from the moment at which it is found. What stands in `java/connector` mends that, and says how.
A connector that is mended upstream needs this module no more.
"""

from __future__ import annotations

from pathlib import Path

from workbench.services.artifacts import fetch
from workbench.services.compilation import flink_jars, jar

POSITIONING = "workbench-position"  # consumer of `CursorPosition`, there for a moment
_SOURCES = Path(__file__).parent / "java" / "connector"


def connector_jars() -> list[Path]:
    """Return the jars that Flink needs to read and write Pulsar, for `pipeline.jars`.

    Raises
    ------
    ServicesError
        If they are not cached and cannot be downloaded, or are not what was pinned.
    """
    released, *others = fetch("connector")
    class_path = [released, *others, *flink_jars("flink-dist-*.jar")]
    return [jar(_SOURCES, class_path, into=released), *others]


def kafka_connector_jars() -> list[Path]:
    """Return the jars that Flink needs to read and write Kafka: connector and client as released.

    Raises
    ------
    ServicesError
        If they are not cached and cannot be downloaded, or are not what was pinned.
    """
    return fetch("kafka-connector")


__all__ = ["POSITIONING", "connector_jars", "kafka_connector_jars"]
