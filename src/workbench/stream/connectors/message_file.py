"""Messages as they lie on a topic, in a file: what parity reads, by the job's own parser."""

from __future__ import annotations

import base64
from pathlib import Path

import pyarrow as pa

from workbench import files
from workbench.arrays import Ints
from workbench.stream.definition.stream_file import Stream
from workbench.stream.flink_sql.tables import Source, message_columns, message_time, value_options

_FACTS = {  # of a message, behind the columns of the reading: see `java/MessageFileFormat`
    "message_id": "STRING",
    "partition": "STRING",
    "message_event_time": "TIMESTAMP_LTZ(3)",
    "message_publish_time": "TIMESTAMP_LTZ(3)",
}


def source(stream: Stream, path: Path) -> Source:
    """Return the end that reads a file of `write`: bounded, parsed as the topic is."""
    return Source(
        columns={**message_columns(stream), **_FACTS},
        options={
            "connector": "filesystem",
            "path": path.resolve().as_uri(),
            "format": "message-file",
            **value_options(stream, "message-file"),
        },
        message_id="`message_id`",
        partition="`partition`",
        time=message_time(stream, "`message_event_time`", "`message_publish_time`"),
        bounded=True,
    )


def write(messages: pa.Table, order: Ints, path: Path) -> None:
    """Write messages as the file that `source` reads.

    Parameters
    ----------
    messages
        `message_id` as text, `partition`, `event_ms` (0: not set), `publish_ms` and `value`, the
        bytes on the topic, null where they are.
    order
        The rows, in the order wanted.
    """
    lines = []
    for batch in messages.take(order).to_batches(max_chunksize=10_000):
        for *facts, value in zip(*(column.to_pylist() for column in batch), strict=True):
            text = "-" if value is None else base64.b64encode(value).decode()
            lines.append("\t".join(map(str, [*facts, text])) + "\n")
    files.write_text(path, "".join(lines))


__all__ = ["source", "write"]
