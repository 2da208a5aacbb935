"""Frames of readings as a stream takes them: who sent them, which are late, in which order."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from workbench.arrays import Ints
from workbench.detectors import Arrivals, arrivals_of, source_partitions
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


def names(values: pd.Series) -> list[str | None]:
    """Return what sensors are called where their column may hold numbers, as the job does.

    Examples
    --------
    >>> names(pd.Series([7.0, 7.5, None]))
    ['7', '7.5', None]
    >>> names(pd.Series(["pump-1", "", True], dtype=object))
    ['pump-1', None, 'true']
    """
    plain = values.dtype.kind in "iuf" or pd.api.types.infer_dtype(values, skipna=True) == "string"
    if not plain:  # of mixed objects True and 1 would be one
        return [_name(value) for value in values.array]
    codes, each = pd.factorize(values)
    return list(np.array([*map(_name, each), None], dtype=object)[codes])  # -1: missing, the last


def _name(value: object) -> str | None:
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, float | np.floating):
        return None if math.isnan(value) else f"{value:.0f}" if value % 1 == 0 else str(value)
    return None if value is None or value is pd.NA else str(value) or None


def arrived(stream: Stream, frame: pd.DataFrame, *, time: str = "event_time") -> Arrivals:
    """Return which readings a stream calls late or ahead, by the rule of the batch path."""
    return arrivals_of(
        frame,
        sensor=stream.sensor,
        time=time,
        lateness_ms=stream.lateness_ms,
        ahead_ms=stream.ahead_ms,
    )


def message_ids(frame: pd.DataFrame) -> list[str]:
    """Return the message ids of readings; their positions where they have none."""
    ids = frame["message_id"] if "message_id" in frame.columns else range(len(frame))
    return [str(message_id) for message_id in ids]


__all__ = ["FIRST_MS", "LAST_MS", "arrived", "in_step", "message_ids", "names", "partitions"]
