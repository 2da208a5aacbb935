"""Messages as they lie on a topic, in a file: what parity reads, by the job's own parser."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from workbench import files
from workbench.stream.definition.stream_file import KEY_FIELD, Stream
from workbench.stream.flink_sql.tables import Source, message_columns, message_time, value_options

COLUMNS = ("message_id", "partition", "event_ms", "publish_ms", "value")
ROWS = 10_000  # whose texts are made at once
_FACTS = {  # of a message, behind the columns of the reading: see `java/MessageFileFormat`
    "message_id": "STRING",
    "partition": "STRING",
    "message_event_time": "TIMESTAMP_LTZ(3)",
    "message_publish_time": "TIMESTAMP_LTZ(3)",
}


def source(stream: Stream, path: Path) -> Source:
    """Return the end that reads a file of `write`: bounded, parsed as the topic is."""
    return Source(
        columns={
            **message_columns(stream),
            **_FACTS,
            **({KEY_FIELD: "BYTES"} if stream.keyed else {}),
        },
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


def write(batches: Iterable[pa.RecordBatch], path: Path) -> None:
    """Write messages as the file that `source` reads, in their order.

    Parameters
    ----------
    batches
        Of COLUMNS: `message_id` as text, `partition`, `event_ms` (0: not set), `publish_ms` and
        `value`, the bytes on the topic, null where they are; of a keyed stream `key`, bytes, too.
    """
    with files.new_file(path) as part, pa.OSFile(str(part), "wb") as file:
        for batch in batches:
            for start in range(0, batch.num_rows, ROWS):
                file.write("".join(_lines(batch.slice(start, ROWS))).encode())


def _lines(batch: pa.RecordBatch) -> Iterator[str]:
    payloads = ["value", *(["key"] if "key" in batch.schema.names else [])]
    columns = {name: batch.column(batch.schema.get_field_index(name)).to_pylist()
               for name in dict.fromkeys([*COLUMNS, *payloads])}  # fmt: skip
    for name in payloads:
        columns[name] = [_encoded(payload) for payload in columns[name]]
    for row in zip(*columns.values(), strict=True):
        yield "\t".join(map(str, row)) + "\n"


def _encoded(payload: bytes | None) -> str:
    return "-" if payload is None else base64.b64encode(payload).decode()


__all__ = ["COLUMNS", "ROWS", "source", "write"]
