"""Readings of a frame as a file, for a bounded job: numbers as they are, no parser between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from workbench.errors import StreamError, did_you_mean
from workbench.stream.definition.stream_file import Stream
from workbench.stream.flink_sql.tables import Source, texts
from workbench.stream.frames import in_step, message_ids, names, partitions
from workbench.times import epoch_ms


def source(stream: Stream, path: Path) -> Source:
    """Return the end that reads a file of `write`: bounded, in its order."""
    ids = dict.fromkeys(["message_id", "partition"], "STRING")
    numbers = dict.fromkeys(stream.channels, "DOUBLE")
    return Source(
        columns={**ids, "event_ms": "BIGINT", **texts(stream), **numbers},
        options={
            "connector": "filesystem",
            "path": path.resolve().as_uri(),
            "format": "csv",
            "csv.null-literal": "",
        },
        message_id="`message_id`",
        partition="`partition`",
        time="TO_TIMESTAMP_LTZ(`event_ms`, 3)",
        event_ms="`event_ms`",
        fault="CAST(NULL AS STRING)",
        bounded=True,
    )


def write(stream: Stream, frame: pd.DataFrame, path: Path, *, time: str) -> None:
    """Write readings as the file that `source` reads: partitions in step, each in its order.

    Raises
    ------
    StreamError
        If a column is missing, or a channel holds no numbers.
    """
    for name in dict.fromkeys((time, stream.sensor, *stream.fields)):
        if name not in frame.columns:
            raise StreamError(
                f"the readings have no column {name!r}",
                hint=did_you_mean(name, map(str, frame.columns)),
            )
    columns = {
        "message_id": pa.array(message_ids(frame)),
        "partition": pa.array(partitions(frame).astype(str)),
        "event_ms": pa.array(epoch_ms(frame[time])),
        **{text: pa.array(names(frame[text]), type=pa.string()) for text in texts(stream)},
    }
    for channel in stream.channels:
        columns[channel] = _numbers(frame, channel)
    options = pyarrow.csv.WriteOptions(include_header=False)
    order = in_step(stream, frame, time=time)
    pyarrow.csv.write_csv(pa.table(columns).take(order), path, write_options=options)


def _numbers(frame: pd.DataFrame, channel: str) -> pa.Array:
    try:
        values = frame[channel].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as err:
        raise StreamError(f"channel {channel} holds {frame[channel].dtype}, not numbers") from err
    return pa.array(np.where(np.isfinite(values), values, np.nan), from_pandas=True)


__all__ = ["source", "write"]
