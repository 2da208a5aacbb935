"""A stream as the class that a functions worker runs: a message in, messages out.

What is exported (`bundle`) is a subclass with the stream and the package's id in it, and nothing
else. The windows are `memory`'s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import pulsar

from workbench import detectors
from workbench.stream.definition.stream_file import parse_stream
from workbench.stream.flink_sql.outputs import key, topics
from workbench.stream.function.memory import Expressions, Memory, Row, refusal
from workbench.stream.function.parsing import parse


class Context(Protocol):
    """What of a worker's context is asked. Source: Pulsar 4.0.8, `contextimpl.ContextImpl`."""

    message: pulsar.Message

    def get_message_id(self) -> pulsar.MessageId:
        """Return the message's id."""

    def get_message_eventtime(self) -> int:
        """Return its event time, epoch ms; 0: it has none."""

    def get_user_config_value(self, key: str) -> Any:
        """Return what the worker was told of the function."""

    def get_logger(self) -> Any:
        """Return the function's log."""

    def publish(self, topic_name: str, message: str, *, message_conf: Mapping[str, str]) -> None:
        """Send a message."""


class StreamFunction(pulsar.Function):  # type: ignore[misc] # pulsar is untyped
    """Readings in; scores, refused messages and alerts out, to the topics of the stream.

    Attributes
    ----------
    name, content
        The stream: its name, and what its file holds.
    package
        Id of the detector package; empty: the stream has limits only.
    said
        What the last message brought about: names of views, and rows of them.
    """

    name: ClassVar[str]
    content: ClassVar[Mapping[str, Any]]
    package: ClassVar[str]

    def __init__(self) -> None:
        self.said: list[tuple[str, Row]] = []
        self._memory: Memory | None = None
        self._derived: Expressions | None = None

    def process(self, message: bytes, context: Context) -> None:
        """Score what is due with this message.

        Raises
        ------
        PackageError
            If the package is not the one that the function was exported with.
        """
        self.said = self._read(context)
        self._publish(context)

    def end(self, context: Context) -> None:
        """Score what still waits: nothing comes any more, which no worker ever says."""
        self.said = self._started(context).end()
        self._publish(context)

    def _started(self, context: Context) -> Memory:
        """Return the windows; the package is loaded at the first message, checked by its id."""
        if self._memory is None:
            stream = parse_stream(self.name, dict(self.content))
            if stream.derived:
                self._derived = Expressions(stream, stream.derived.values())
            folder = context.get_user_config_value("package")
            package = detectors.load(folder, package_id=self.package) if self.package else None
            self._memory = Memory(stream, package)
        return self._memory

    def _read(self, context: Context) -> list[tuple[str, Row]]:
        memory, message_id = self._started(context), context.get_message_id()
        place = ":".join(
            str(part)
            for part in (
                message_id.ledger_id(),
                message_id.entry_id(),
                message_id.partition(),
                message_id.batch_index(),
            )
        )
        times_ms = context.get_message_eventtime(), context.message.publish_timestamp()
        data = context.message.data()
        try:
            reading = parse(memory.stream, data, place, times_ms, self._derived)
        except (ValueError, RecursionError) as error:
            return [refusal(place, str(error) or repr(error))]
        return memory.read(reading)

    def _publish(self, context: Context) -> None:
        """Send what was said, as JSON under a key; what is refused without a topic is logged."""
        written = topics(self._started(context).stream)
        for view, row in self.said:
            if view in written:
                conf = {"partition_key": row[key(view)]}
                context.publish(written[view], json.dumps(row), message_conf=conf)
            elif view == "refused":
                context.get_logger().warning(
                    "message %s is refused: %s", row["message_id"], row["reason"]
                )


__all__ = ["Context", "StreamFunction"]
