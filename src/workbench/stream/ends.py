"""The ends of the job: table definitions, for files and for Pulsar.

Every source has the columns `message_id`, `event_ms`, the sensor's, one per channel, and `ts`, the
row time with its watermark. What stands between the ends does not know which they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from workbench.detectors import epoch_ms
from workbench.endpoints import Endpoints, broker_token_file
from workbench.errors import StreamError, did_you_mean
from workbench.stream.definition import Stream
from workbench.stream.events import interval, quoted

KEY = "message_key"
REFUSED = "refused"  # why a message is no reading
LATE = {"message_id": "STRING", "sensor": "STRING", "event_ms": "BIGINT"}
SCORES = {
    "message_id": "STRING",
    "sensor": "STRING",
    "event_ms": "BIGINT",
    "score": "DOUBLE",
    "threshold": "DOUBLE",
    "package": "STRING",
}
# The connector hands readings on by the hundred, or after ten seconds: where one comes each second,
# so late. It looks at a request to stop no sooner.
_FETCH = {"pulsar.source.maxFetchTime": "50", "pulsar.source.maxFetchRecords": "1000"}
# SQL that makes text of a message id: for files it is text already
MESSAGE_ID = {"files": "{}", "pulsar": "message_id_text({})"}


def table(name: str, columns: Mapping[str, str], options: Mapping[str, str], *more: str) -> str:
    """Return the SQL that defines a table; `more` are further lines between its parentheses."""
    lines = [*(f"`{column}` {kind}" for column, kind in columns.items()), *more]
    given = ",\n  ".join(f"'{key}' = '{_escaped(value)}'" for key, value in options.items())
    return (
        f"CREATE TEMPORARY TABLE {name} (\n  " + ",\n  ".join(lines) + f"\n) WITH (\n  {given}\n)"
    )


def _escaped(value: str) -> str:
    return value.replace("'", "''")


def _watermark(stream: Stream) -> str:
    return f"WATERMARK FOR `ts` AS `ts` - {interval(stream.lateness_s)}"


def _texts(stream: Stream) -> dict[str, str]:
    return dict.fromkeys(filter(None, [stream.sensor, stream.machine]), "STRING")


def file_source(stream: Stream, path: Path) -> str:
    """Return the table of a CSV file that `write_readings` made: bounded, in its order."""
    numbers = dict.fromkeys(stream.channels, "DOUBLE")
    columns = {"message_id": "STRING", "event_ms": "BIGINT", **_texts(stream), **numbers}
    options = {
        "connector": "filesystem",
        "path": path.resolve().as_uri(),
        "format": "csv",
        "csv.null-literal": "",
    }
    row_time = "`ts` AS TO_TIMESTAMP_LTZ(`event_ms`, 3)"
    return table("source", columns, options, row_time, _watermark(stream))


def file_sink(name: str, columns: Mapping[str, str], folder: Path, kind: str) -> str:
    """Return the table of a new folder of files."""
    options = {"connector": "filesystem", "path": folder.resolve().as_uri(), "format": kind}
    return table(name, columns, options)


def pulsar_source(stream: Stream, known: Endpoints, *, start: str, subscription: str) -> str:
    """Return the table of a topic: unbounded, from message id `start`, `earliest` or `latest`."""
    numbers = dict.fromkeys(stream.channels, "DOUBLE")
    named = {stream.event_time: "BIGINT"} if stream.event_time else {}
    metadata = {
        "message_id": "BYTES METADATA VIRTUAL",
        "message_event_time": "TIMESTAMP_LTZ(3) METADATA FROM 'event_time' VIRTUAL",
        "message_publish_time": "TIMESTAMP_LTZ(3) METADATA FROM 'publish_time' VIRTUAL",
    }
    options = {
        "connector": "pulsar",
        "topics": stream.topic,
        "service-url": known.broker,
        "format": "reading",
        "source.start.message-id": start,
        "source.subscription-name": subscription,
        **_FETCH,
        **_token(known),
    }
    row_time, event_ms = _pulsar_times(stream)
    columns = {**_texts(stream), **numbers, **named, REFUSED: "STRING", **metadata}
    return table("source", columns, options, row_time, event_ms, _watermark(stream))


def _pulsar_times(stream: Stream) -> tuple[str, str]:
    """DESIGN D10: event time of the message if set, else the named field, else publish time."""
    message = "CASE WHEN EXTRACT(EPOCH FROM `message_event_time`) > 0 THEN `message_event_time` END"
    named = f"TO_TIMESTAMP_LTZ(`{stream.event_time}`, 3), " if stream.event_time else ""
    # what is no reading must not move time on
    refused = f"CASE WHEN `{REFUSED}` IS NOT NULL THEN TO_TIMESTAMP_LTZ(0, 3) END"
    row_time = f"COALESCE({refused}, {message}, {named}`message_publish_time`)"
    whole = f"EXTRACT(EPOCH FROM {row_time}) * 1000 + EXTRACT(MILLISECOND FROM {row_time})"
    return f"`ts` AS {row_time}", f"`event_ms` AS {whole}"


def pulsar_sink(name: str, columns: Mapping[str, str], topic: str, known: Endpoints) -> str:
    """Return the table of a topic to write to: JSON, and a first column that is the key.

    The connector leaves key columns out of the value, so the key has a column of its own.
    """
    options = {
        "connector": "pulsar",
        "topics": topic,
        "service-url": known.broker,
        "value.format": "json",
        "key.format": "raw",
        "key.fields": KEY,
        **_token(known),
    }
    return table(name, {KEY: "STRING", **columns}, options)


def _token(known: Endpoints) -> dict[str, str]:
    if not known.broker_token:
        return {}
    return {
        "pulsar.client.authPluginClassName": (
            "org.apache.pulsar.client.impl.auth.AuthenticationToken"
        ),
        "pulsar.client.authParams": broker_token_file().as_uri(),
    }


def write_readings(stream: Stream, frame: pd.DataFrame, path: Path, *, time: str) -> None:
    """Write readings, in their order, as the file that `file_source` reads.

    Raises
    ------
    StreamError
        If a column is missing, or a channel holds no numbers.
    """
    for name in (time, *stream.fields):
        if name not in frame.columns:
            raise StreamError(
                f"the readings have no column {name!r}",
                hint=did_you_mean(name, map(str, frame.columns)),
            )
    columns = {
        "message_id": pa.array(message_ids(frame)),
        "event_ms": pa.array(epoch_ms(frame[time])),
        **{one: pa.array(frame[one].astype("string"), type=pa.string()) for one in _texts(stream)},
    }
    for channel in stream.channels:
        columns[channel] = _numbers(frame, channel)
    options = pyarrow.csv.WriteOptions(include_header=False)
    pyarrow.csv.write_csv(pa.table(columns), path, write_options=options)


def message_ids(frame: pd.DataFrame) -> list[str]:
    """Return the message ids of readings; their positions where they have none."""
    ids = frame["message_id"] if "message_id" in frame.columns else range(len(frame))
    return [str(one) for one in ids]


def _numbers(frame: pd.DataFrame, channel: str) -> pa.Array:
    try:
        values = frame[channel].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as err:
        raise StreamError(f"channel {channel} holds {frame[channel].dtype}, not numbers") from err
    return pa.array(np.where(np.isfinite(values), values, np.nan), from_pandas=True)


__all__ = [
    "LATE",
    "MESSAGE_ID",
    "SCORES",
    "file_sink",
    "file_source",
    "message_ids",
    "pulsar_sink",
    "pulsar_source",
    "quoted",
    "table",
    "write_readings",
]  # fmt: skip
