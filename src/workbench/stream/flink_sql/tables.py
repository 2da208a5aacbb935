"""The sources and sinks of the job as tables: where messages come from, where each view goes.

A source is a table `messages` and a view `received` of it with the columns `message_id` and
`partition` as text, `event_ms`, `ts` (the same as a timestamp), the sensor's, one per channel, and
`fault`: why the message is no reading. `java/PartitionOrder` stands behind it. What stands between
source and sinks does not know which they are: `connectors/` makes them, a module for each kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.endpoints import registry_file
from workbench.errors import StreamError
from workbench.history import ReadingFields
from workbench.stream.definition.stream_file import KEY_FIELD, Stream
from workbench.stream.flink_sql.events import quoted

MESSAGES = "messages"  # the table of what is read
KEY = "message_key"
REFUSED = "refused"  # why a message is no reading
AHEAD = "its time leads the other readings"  # as `java/PartitionOrder` begins the reason
LATE = {"message_id": "STRING", "sensor": "STRING", "event_ms": "BIGINT"}
SCORES = {
    "message_id": "STRING",
    "sensor": "STRING",
    "event_ms": "BIGINT",
    "score": "DOUBLE",
    "threshold": "DOUBLE",
    "package": "STRING",
}
SORTED = (  # `source` for batch execution, where `java/PartitionOrder` has nothing to say
    "SELECT *, `fault` AS `refused`, FALSE AS `late`, "
    "CAST(NULL AS BIGINT) AS `clock_ms`\nFROM received"
)
_KEY_FAULT = (  # why a key names no sensor; NULL: it names one
    f"CASE WHEN `{KEY_FIELD}` IS NULL OR key_text(`{KEY_FIELD}`) = '' THEN 'it has no key' "
    f"WHEN key_text(`{KEY_FIELD}`) IS NULL THEN 'its key is no UTF-8' END"
)


@dataclass(frozen=True)
class Source:
    """A table of messages, and SQL expressions on its columns that say what they are.

    Attributes
    ----------
    columns
        Names and SQL types: the stream's fields (`message_columns`), and what the connector knows
        of a message besides, as `BIGINT METADATA FROM 'offset' VIRTUAL`. Of a stream whose `sensor`
        is `__key__` that is `__key__`, too: BYTES, or the STRING that names the sensor.
    options
        Flink's: connector, format, ...
    message_id, partition
        Text: an id by which a message is found again; the part of the queue within which its
        readings have an order. Time is judged in each partition by itself.
    time
        `TIMESTAMP_LTZ(3)`, never NULL: `message_time` gives the usual one.
    event_ms
        The same in epoch milliseconds; empty: calculated of it.
    fault
        Text: why it is no reading; NULL where it is one.
    partitions
        Those that there are when the job starts: it waits for the first reading of each.
    bounded
        Whether it ends; then it has to give partitions in step, by their time.
    jars
        What Flink needs for it, besides its own.
    """

    columns: Mapping[str, str]
    options: Mapping[str, str]
    message_id: str
    partition: str
    time: str
    event_ms: str = ""
    fault: str = f"`{REFUSED}`"
    partitions: tuple[str, ...] = ()
    bounded: bool = False
    jars: tuple[Path, ...] = ()

    def table(self) -> str:
        """Return the SQL that defines the table `messages`."""
        return table(MESSAGES, self.columns, self.options)

    def received(self, stream: Stream) -> str:
        """Return the query of what is read, the same columns from everywhere.

        Raises
        ------
        StreamError
            If the key names the sensor, and the table has none.
        """
        sensor, fault, time = f"`{stream.sensor}`", self.fault, self.time
        if stream.keyed and KEY_FIELD not in self.columns:
            raise StreamError(f"the source has no column {KEY_FIELD}: the message's key, BYTES")
        if stream.keyed and self.columns[KEY_FIELD] == "BYTES":
            sensor, fault = f"key_text({sensor})", f"COALESCE({fault}, {_KEY_FAULT})"
            time = f"CASE WHEN {_KEY_FAULT} IS NULL THEN {time} ELSE TO_TIMESTAMP_LTZ(0, 3) END"
        columns = {
            "message_id": self.message_id,
            "partition": self.partition,
            "ts": time,
            "fault": fault,
            "event_ms": self.event_ms or milliseconds(time),
        }
        selected = [f"{expression} AS `{name}`" for name, expression in columns.items()]
        others = [name for name in texts(stream) if name != stream.sensor]
        selected += [f"{sensor} AS `{stream.sensor}`", quoted(*others, *stream.channels)]
        return f"SELECT {', '.join(selected)}\nFROM {MESSAGES}"


@dataclass(frozen=True)
class Sink:
    """Where what a view says is written.

    Attributes
    ----------
    options
        Flink's: connector, format, ...
    keyed
        Whether a first column, `message_key`, holds the key: an alert's id, a score's sensor. A
        queue's connector leaves key columns out of the value, so the key has one of its own.
    jars
        What Flink needs for it, besides its own.
    """

    options: Mapping[str, str]
    keyed: bool = False
    jars: tuple[Path, ...] = ()

    def table(self, name: str, columns: Mapping[str, str]) -> str:
        """Return the SQL that defines the table of a view with these columns."""
        key = {KEY: "STRING"} if self.keyed else {}
        return table(f"{name}_sink", {**key, **columns}, self.options)


def table(name: str, columns: Mapping[str, str], options: Mapping[str, str]) -> str:
    """Return the SQL that defines a table.

    Examples
    --------
    >>> print(table("alerts", {"id": "STRING"}, {"connector": "print"}))
    CREATE TEMPORARY TABLE alerts (
      `id` STRING
    ) WITH (
      'connector' = 'print'
    )
    """
    lines = ",\n  ".join(f"`{column}` {kind}" for column, kind in columns.items())
    given = ",\n  ".join(f"'{key}' = '{_escaped(value)}'" for key, value in options.items())
    return f"CREATE TEMPORARY TABLE {name} (\n  {lines}\n) WITH (\n  {given}\n)"


def _escaped(value: str) -> str:
    return value.replace("'", "''")


def texts(stream: Stream) -> dict[str, str]:
    """Return names and SQL types of a reading's texts: sensor and machine."""
    return dict.fromkeys(filter(None, [stream.sensor, stream.machine]), "STRING")


def reading_fields(stream: Stream) -> ReadingFields:
    """Return what a stream takes of Kafka's records: the columns of `message_columns`."""
    times = filter(None, [stream.event_time])
    named = tuple(_value_texts(stream))
    return ReadingFields(stream.record, named, stream.channels, tuple(times), stream.keyed)


def _value_texts(stream: Stream) -> dict[str, str]:
    return {name: kind for name, kind in texts(stream).items() if name != KEY_FIELD}


def message_columns(stream: Stream) -> dict[str, str]:
    """Return names and SQL types of what the format `reading` makes of a message.

    The sensor's comes first, unless the key names it; the last one, `refused`, says why it is no
    reading.
    """
    numbers = dict.fromkeys(stream.channels, "DOUBLE")
    named = {stream.event_time: "BIGINT"} if stream.event_time else {}
    return {**_value_texts(stream), **numbers, **named, REFUSED: "STRING"}


def value_options(stream: Stream, form: str) -> dict[str, str]:
    """Return the options of a format that say what values are; JSON that names a sensor: none.

    The registry's address and login are in the file that is named, not here.
    """
    keyed = {f"{form}.keyed": "true"} if stream.keyed else {}
    if not stream.record:
        return keyed
    return {f"{form}.record": stream.record, f"{form}.registry": str(registry_file()), **keyed}


def message_time(stream: Stream, event_time: str, publish_time: str) -> str:
    """Return SQL for a message's time: its event time if set, else the named field, else publish.

    docs/design.md, D10.

    Parameters
    ----------
    event_time, publish_time
        SQL expressions; an event time of 0 is not set.
    """
    message = f"CASE WHEN {event_time} > TO_TIMESTAMP_LTZ(0, 3) THEN {event_time} END"
    named = f"TO_TIMESTAMP_LTZ(`{stream.event_time}`, 3), " if stream.event_time else ""
    # what is no reading must not move time on
    refused = f"CASE WHEN `{REFUSED}` IS NOT NULL THEN TO_TIMESTAMP_LTZ(0, 3) END"
    return f"COALESCE({refused}, {message}, {named}{publish_time})"


def milliseconds(time: str) -> str:
    """Return SQL for a timestamp's epoch milliseconds."""
    return f"EXTRACT(EPOCH FROM {time}) * 1000 + EXTRACT(MILLISECOND FROM {time})"


__all__ = [
    "AHEAD",
    "LATE",
    "MESSAGES",
    "SCORES",
    "SORTED",
    "Sink",
    "Source",
    "message_columns",
    "message_time",
    "milliseconds",
    "quoted",
    "reading_fields",
    "table",
    "texts",
    "value_options",
]
