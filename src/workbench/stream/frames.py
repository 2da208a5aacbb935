"""Frames of readings as a stream takes them: who sent them, which are late, in which order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from workbench.arrays import Ints, Objects
from workbench.detectors import Arrivals, arrivals_of, source_partitions
from workbench.detectors import sensor_names as names
from workbench.stream.definition.stream_file import Stream

FIRST_MS, LAST_MS = -62_167_219_200_000, 253_402_300_799_999  # years 0 to 9999: Flink's SQL times


def in_step(stream: Stream, frame: pd.DataFrame, *, time: str = "event_time") -> Ints:
    """Return readings so that partitions come in step, each in its order.

    So a job has to keep few readings that wait for another partition, and a watermark that is the
    slowest partition's calls none of another late.
    """
    order: Ints = np.lexsort(
        (partitions(frame), arrived(stream, frame, time=time).clock_ms)
    )  # stable
    return order


def partitions(frame: pd.DataFrame) -> Ints:
    """Return the source partition of each reading as codes; 0 where the frame does not say."""
    parts = source_partitions(frame)
    return np.zeros(len(frame), np.int64) if parts is None else parts


def arrived(stream: Stream, frame: pd.DataFrame, *, time: str = "event_time") -> Arrivals:
    """Return which readings a stream calls late or ahead, by the rule of the batch path."""
    return arrivals_of(
        frame,
        sensor=stream.sensor,
        time=time,
        lateness_ms=stream.lateness_ms,
        ahead_ms=stream.ahead_ms,
    )


def key_names(keys: pa.ChunkedArray) -> Objects:
    """Return the sensor that each key names, (n,); None: it names none. In Java: `KeyText`.

    Examples
    --------
    >>> key_names(pa.chunked_array([[b"pump-1", b"", None, bytes([255])]])).tolist()
    ['pump-1', None, None, None]
    """
    coded = keys.combine_chunks().dictionary_encode()
    each = [*map(_key_name, coded.dictionary.to_pylist()), None]
    places = coded.indices.fill_null(len(each) - 1).to_numpy(zero_copy_only=False)
    named: Objects = np.array(each, dtype=object)[places]
    return named


def _key_name(key: bytes) -> str | None:
    try:
        return key.decode() or None
    except UnicodeDecodeError:
        return None


def message_ids(frame: pd.DataFrame) -> list[str]:
    """Return the message ids of readings; their positions where they have none."""
    ids = frame["message_id"] if "message_id" in frame.columns else range(len(frame))
    return [str(message_id) for message_id in ids]


__all__ = [
    "FIRST_MS",
    "LAST_MS",
    "arrived",
    "in_step",
    "key_names",
    "message_ids",
    "names",
    "partitions",
]
