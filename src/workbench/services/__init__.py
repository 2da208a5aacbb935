"""JDK, jars, and a real Pulsar and S3 endpoint on this machine; ingest and offload."""

from __future__ import annotations

from workbench.services.broker import connect, topics
from workbench.services.connector import connector_jars
from workbench.services.control import Status, down, logs, ports, status, up
from workbench.services.ingestion import Ingested, ingest, ingest_frame
from workbench.services.jdk import java
from workbench.services.offloading import Offload, OffloadedLedger, offload

__all__ = [
    "Ingested",
    "Offload",
    "OffloadedLedger",
    "Status",
    "connect",
    "connector_jars",
    "down",
    "ingest",
    "ingest_frame",
    "java",
    "logs",
    "offload",
    "ports",
    "status",
    "topics",
    "up",
]
