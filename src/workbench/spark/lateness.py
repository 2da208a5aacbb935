"""Which readings of a DataFrame are late or ahead, by the rule of `detectors.partition_time`.

A source partition passes through one task in its own order; nothing is held of it but the readings
in doubt.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.types import BooleanType, StructField, StructType

from workbench.arrays import Bools, Ints
from workbench.detectors import PartitionJudge
from workbench.errors import DetectorError
from workbench.spark.ordering import PLACES, TIME_MS, mapped


def with_lateness(
    frame: DataFrame, sensor: str, lateness_ms: int, ahead_ms: int | None
) -> DataFrame:
    """Return readings (`ordering.placed`) with the columns `late` and `ahead`."""
    PartitionJudge(lateness_ms, ahead_ms)  # refuses bounds that cannot be
    added = [StructField("late", BooleanType()), StructField("ahead", BooleanType())]
    ordered = frame.repartition(PLACES[0]).sortWithinPartitions(*PLACES)

    def judged(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        judge: _Judge | None = None
        for batch in batches:
            for part in _by_partition(batch):
                number = part.column(_place(part, PLACES[0]))[0].as_py()
                if judge is not None and judge.partition != number:
                    yield from judge.end()
                    judge = None
                judge = judge or _Judge(number, sensor, lateness_ms, ahead_ms)
                yield from judge.take(part)
        if judge is not None:
            yield from judge.end()

    return mapped(ordered, judged, StructType([*frame.schema.fields, *added]))


class _Judge:
    """Judges the readings of one source partition, and holds those in doubt."""

    def __init__(
        self, partition: int | None, sensor: str, lateness_ms: int, ahead_ms: int | None
    ) -> None:
        self.partition, self.sensor = partition, sensor
        self._judge = PartitionJudge(lateness_ms, ahead_ms)
        self._numbers: dict[object, int] = {}  # of sensors
        self._held: pa.Table | None = None
        self._first = np.zeros(0, np.int64)  # numbers, in the partition, of the rows held
        self._taken = 0

    def take(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Yield the readings that are settled; one without a sensor is neither late nor ahead."""
        sensors = batch.column(_place(batch, self.sensor))
        times = batch.column(_place(batch, TIME_MS))
        if times.null_count:
            raise DetectorError("a reading has no event time")
        named = np.asarray(sensors.is_valid())
        table = pa.Table.from_batches([batch])
        yield from _marked(table.filter(pa.array(~named)))
        codes = np.array(
            [self._numbers.setdefault(name, len(self._numbers)) for name in sensors.to_pylist()]
        )
        yield from self._settle(
            table.filter(pa.array(named)), times.to_numpy()[named], codes[named], ended=False
        )

    def end(self) -> Iterator[pa.RecordBatch]:
        """Yield those that are left: nobody contradicts them."""
        if self._held is not None:
            none = np.zeros(0, np.int64)
            yield from self._settle(self._held[:0], none, none, ended=True)

    def _settle(
        self, table: pa.Table, times_ms: Ints, codes: Ints, *, ended: bool
    ) -> Iterator[pa.RecordBatch]:
        rows, late, ahead = self._judge.take(times_ms, codes, ended=ended)
        numbers = np.concatenate([self._first, self._taken + np.arange(len(table))])
        whole = table if self._held is None else pa.concat_tables([self._held, table])
        settled = np.isin(numbers, rows)
        yield from _marked(whole.filter(pa.array(settled)), late, ahead)
        self._held = whole.filter(pa.array(~settled)).combine_chunks()
        self._first, self._taken = numbers[~settled], self._taken + len(table)


def _marked(
    table: pa.Table, late: Bools | None = None, ahead: Bools | None = None
) -> Iterator[pa.RecordBatch]:
    for name, marks in (("late", late), ("ahead", ahead)):
        given = np.zeros(len(table), np.bool_) if marks is None else marks
        table = table.append_column(name, pa.array(given))
    yield from table.combine_chunks().to_batches()


def _by_partition(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield the rows of each source partition; they are sorted by it."""
    column = batch.column(_place(batch, PLACES[0]))
    if column.null_count:
        raise DetectorError("a reading has no place in a topic: its message id has not four parts")
    numbers = column.to_numpy()
    cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    for start, stop in pairwise(cuts):
        if stop > start:
            yield batch.slice(start, stop - start)


def _place(batch: pa.RecordBatch, name: str) -> int:
    place: int = batch.schema.get_field_index(name)
    return place
