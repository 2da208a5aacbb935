"""Columns of messages that Pulsar's client gives, by the names that the archive's have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def event_ms(message: Any) -> int | None:
    """Return the event time of a message, ms since 1970; None where it has none that can be."""
    event: int = message.event_timestamp()
    return event if 0 < event < 1 << 63 else None


_READ: dict[str, Callable[[Any], Any]] = {
    "ledger_id": lambda message: message.message_id().ledger_id(),
    "entry_id": lambda message: message.message_id().entry_id(),
    "batch_index": lambda message: message.message_id().batch_index(),
    "publish_time": lambda message: message.publish_timestamp(),
    "event_time": event_ms,
    "key": lambda message: message.partition_key() or None,
    "ordering_key": lambda message: message.ordering_key().encode() or None,
    "properties": lambda message: list(message.properties().items()),
    "producer": lambda message: message.producer_name(),
    "sequence_id": lambda message: None,  # the client does not tell it
    "schema_version": lambda message: _version_bytes(message._message.int_schema_version()),
    "version": lambda message: message._message.int_schema_version(),
    "value": lambda message: None if message.has_null_value() else message.data(),
}


def _version_bytes(version: int) -> bytes | None:
    return None if version < 0 else version.to_bytes(8, "big")


def columns_of(messages: list[Any], partition: int, names: list[str]) -> dict[str, list[Any]]:
    """Return columns of messages as lists, by the names of `Topic.messages`, and `version`.

    `sequence_id` is None: Pulsar's client does not tell it.
    """
    return {
        name: [partition] * len(messages)
        if name == "partition"
        else [_READ[name](message) for message in messages]
        for name in names
    }


__all__ = ["columns_of", "event_ms"]
