"""Files as they are at the ends of a job: JSON lines in, JSON lines or CSV out."""

from __future__ import annotations

from pathlib import Path

from workbench.errors import StreamError
from workbench.stream.definition.stream_file import Stream, load_stream
from workbench.stream.flink_sql.tables import Sink, Source, message_columns

_NAME = "message_file"


def file_source(stream: str | Path | Stream, path: Path) -> Source:
    """Return the end that reads a file of JSON, a reading a line, to its end.

    A line is taken as a message of a topic is (docs/stream-file.md); one that is no reading is
    refused. The file is one partition, its lines are in order of arrival. A line has no id: what
    tells where a reading came from is the name of the file.

    Parameters
    ----------
    stream
        Its `event_time` names the field with the time of a reading.

    Raises
    ------
    StreamError
        If the stream has no `event_time`, its sensor is the key, or there is no such file.
    """
    definition = load_stream(stream)
    named = definition.event_time
    if not named:
        raise StreamError(
            f"lines of a file have no time of their own, and stream {definition.name} has no "
            "event_time",
            hint="event_time: the field with epoch milliseconds",
        )
    if definition.keyed:
        raise StreamError(
            f"lines of a file have no key, which names the sensor of stream {definition.name}",
            hint="sensor: the field that says whose reading it is",
        )
    if not path.is_file():
        raise StreamError("there is no such file", where=path)  # those of a folder have no order
    moment = f"TO_TIMESTAMP_LTZ(`{named}`, 3)"
    return Source(
        columns={
            **message_columns(definition),
            _NAME: "STRING NOT NULL METADATA FROM 'file.name' VIRTUAL",
        },
        options={
            "connector": "filesystem",
            "path": path.resolve().as_uri(),
            "format": "reading",
        },
        message_id=f"`{_NAME}`",
        partition="'0'",
        time=f"COALESCE({moment}, TO_TIMESTAMP_LTZ(0, 3))",
        fault=f"COALESCE(`refused`, CASE WHEN {moment} IS NULL THEN 'it has no {named}' END)",
        bounded=True,
    )


def file_sink(folder: Path, kind: str = "json") -> Sink:
    """Return the end that writes files into a new folder, in Flink's format `json` or `csv`."""
    return Sink({"connector": "filesystem", "path": folder.resolve().as_uri(), "format": kind})


__all__ = ["file_sink", "file_source"]
