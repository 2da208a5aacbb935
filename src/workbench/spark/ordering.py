"""Readings of a DataFrame in the order in which the batch path takes them.

By sensor, event time, source partition and place in it; what says the place is the message id, or
the columns that it is made of, as in tables that `workbench archive sync` writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as Spark's manual names it
from pyspark.sql.types import IntegralType, StructType, TimestampType

from workbench.errors import DetectorError, did_you_mean

Batches = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]
PLACE = ("partition", "ledger_id", "entry_id", "batch_index")
_OWN = "__workbench_{}__"
TIME_MS = _OWN.format("event_ms")
PLACES = tuple(_OWN.format(name) for name in PLACE)
_ID_ORDER = (2, 0, 1, 3)  # of PLACE in ledger:entry:partition:batch


def check_columns(frame: DataFrame, names: list[str]) -> None:
    """Refuse readings that lack a column, with the nearest that they have."""
    for name in names:
        if name not in frame.columns:
            raise DetectorError(
                f"the readings have no column {name!r}", hint=did_you_mean(name, frame.columns)
            )


def column(name: str) -> Column:
    """Return a column by its name, whatever is in it."""
    return F.col("`" + name.replace("`", "``") + "`")


def mapped(frame: DataFrame, function: Batches, schema: StructType) -> DataFrame:
    """Return `frame.mapInArrow(function, schema)`, which takes a dot in a name for a field."""
    names = frame.columns

    def named(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return function(pa.RecordBatch.from_arrays(x.columns, names) for x in batches)

    numbered = frame.toDF(*[f"c{i}" for i in range(len(names))])
    return numbered.mapInArrow(named, schema)


def placed(frame: DataFrame, time: str) -> DataFrame:
    """Return readings with their event time, epoch ms, and their place in the topic.

    Raises
    ------
    DetectorError
        If the time is no instant, or nothing says in which order the readings came.
    """
    added = {TIME_MS: _epoch_ms(frame, time), **dict(zip(PLACES, _place(frame), strict=True))}
    return frame.withColumns(added)


def by_sensor(frame: DataFrame, sensor: str) -> DataFrame:
    """Return readings with `placed`, those of a sensor together and in their order."""
    together = frame.repartition(column(sensor))
    return together.sortWithinPartitions(column(sensor), TIME_MS, *PLACES)


def _epoch_ms(frame: DataFrame, time: str) -> Column:
    kind = frame.schema[time].dataType
    if isinstance(kind, TimestampType):
        return F.unix_millis(column(time))
    if isinstance(kind, IntegralType):
        return column(time).cast("long")
    raise DetectorError(
        f"column {time!r} is {kind.simpleString()}, expected timestamp, or epoch ms",
        hint="a time without a zone, or a text, is an instant only in some zone: cast it",
    )


def _place(frame: DataFrame) -> list[Column]:
    for name in ("__message_id__", "message_id"):
        if name in frame.columns:
            parts = F.split(column(name), ":")
            return [F.get(parts, F.lit(i)).try_cast("long") for i in _ID_ORDER]
    for form in ("__{}__", "{}"):
        names = [form.format(name) for name in PLACE]
        if set(names) <= set(frame.columns):
            return [column(name).cast("long") for name in names]
    raise DetectorError(
        "nothing says in which order the readings came",
        hint=f"keep __message_id__, or {', '.join(PLACE)}",
    )
