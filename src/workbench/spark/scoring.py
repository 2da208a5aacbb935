"""Scores and alerts of a DataFrame by a detector package, as the batch path gives them.

A sensor's readings are brought together and sorted by Spark, which spills to disk, and pass through
in batches of Arrow. Of a sensor no more is held than the last `window - 1` readings for scores, and
for alerts its times and scores, 16 bytes a reading. Lateness goes by the source partition: its
readings pass in their order, and no more is held than those that are in doubt.

The package travels as its two files; each process that scores checks them as `detectors.load` does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as Spark's manual names it
from pyspark.sql.types import DoubleType, LongType, StructField, StructType, TimestampType

from workbench import files
from workbench.arrays import Bools, Floats, Ints
from workbench.detectors import (
    Package,
    episodes,
    load,
    load_with_bytes,
    save,
    score_readings,
    sensor_codes,
)
from workbench.errors import DetectorError
from workbench.spark.lateness import with_lateness
from workbench.spark.ordering import (
    PLACES,
    TIME_MS,
    by_sensor,
    check_columns,
    mapped,
    placed,
)

LEFT_OUT = "__workbench_left_out__"
_UTC = pa.timestamp("us", tz="UTC")


def score(
    frame: DataFrame,
    package: Package | str | Path,
    *,
    sensor: str,
    time: str = "event_time",
    lateness_ms: int | None = None,
    ahead_ms: int | None = None,
) -> DataFrame:
    """Return the readings with `score`, double, null where there is none.

    Parameters
    ----------
    frame
        Readings, with `__message_id__` (or `message_id`, or its parts), in any order.
    package
        A detector package, or its folder.
    sensor, time
        Columns: whose reading it is; its event time, a timestamp or epoch ms.
    lateness_ms, ahead_ms
        As in `detectors.detect`. Where lateness is given, `late` and `ahead` are added, too.

    Raises
    ------
    DetectorError
        If a column is missing, or nothing says in which order the readings came.

    Notes
    -----
    The scores are those of `detectors.detect` on the same readings in the order of `replay`; the
    rows come sensor after sensor.
    """
    scoring = _Scoring.of(package, sensor)
    shown, ordered = scoring.prepared(frame, time, lateness_ms, ahead_ms)
    schema = StructType([*shown.fields, StructField("score", DoubleType())])
    names = shown.names

    def scored(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch, scores, _ in scoring.scored(batches):
            column = pa.array(scores, from_pandas=True)  # NaN is null: it is above no threshold
            kept = [batch.column(batch.schema.get_field_index(name)) for name in names]
            yield pa.RecordBatch.from_arrays([*kept, column], [*names, "score"])

    return mapped(ordered, scored, schema)


def alerts(
    frame: DataFrame,
    package: Package | str | Path,
    *,
    sensor: str,
    time: str = "event_time",
    lateness_ms: int | None = None,
    ahead_ms: int | None = None,
) -> DataFrame:
    """Return one row per alarm, with the columns of `detectors.episodes`.

    Parameters and errors are those of `score`.
    """
    scoring = _Scoring.of(package, sensor)
    _, ordered = scoring.prepared(frame, time, lateness_ms, ahead_ms)
    times = ("start", "peak_time", "stop")
    schema = StructType(
        [
            StructField("sensor", frame.schema[sensor].dataType),
            *(StructField(name, TimestampType()) for name in times),
            StructField("peak_score", DoubleType()),
            StructField("readings", LongType()),
        ]
    )

    def alarms(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        kind: pa.DataType | None = None
        for kind, name, times_ms, scores in _sensors(scoring, batches):
            rows = scoring.episodes(name, times_ms, scores)
            columns = [pa.array(rows["sensor"], kind)]
            columns += [pa.array(rows[column], _UTC) for column in times]
            columns += [pa.array(rows["peak_score"]), pa.array(rows["readings"], pa.int64())]
            yield pa.RecordBatch.from_arrays(columns, schema.names)

    return mapped(ordered, alarms, schema)


@dataclass(frozen=True)
class _Scoring:
    """What scores batches of readings of a sensor after the other; sent to executors."""

    contents: Mapping[str, bytes]
    package_id: str
    channels: tuple[str, ...]
    window: int
    sensor: str

    @classmethod
    def of(cls, package: Package | str | Path, sensor: str) -> _Scoring:
        if isinstance(package, Package):
            package, contents = _written(package)
        else:
            package, contents = load_with_bytes(package)
        detector = package.detector
        return cls(contents, package.id, tuple(detector.channels), detector.window, sensor)

    def prepared(
        self, frame: DataFrame, time: str, lateness_ms: int | None, ahead_ms: int | None
    ) -> tuple[StructType, DataFrame]:
        """Return the columns that are shown, and the readings in order, with those they need."""
        check_columns(frame, [self.sensor, time, *self.channels])
        for name in ("score", *(("late", "ahead") if lateness_ms is not None else ())):
            if name in frame.columns:
                raise DetectorError(f"the readings have a column {name!r} already")
        ready = placed(frame, time)
        shown = frame.schema
        if lateness_ms is None:
            ready = ready.withColumn(LEFT_OUT, F.lit(False))
        else:
            ready = with_lateness(ready, self.sensor, lateness_ms, ahead_ms)
            shown = StructType([*shown.fields, *(ready.schema[x] for x in ("late", "ahead"))])
            ready = ready.withColumn(LEFT_OUT, F.col("late") | F.col("ahead"))
        return shown, by_sensor(ready, self.sensor)

    def scored(
        self, batches: Iterator[pa.RecordBatch]
    ) -> Iterator[tuple[pa.RecordBatch, Floats, Bools]]:
        """Yield each batch with the scores of its readings, and which are in no window."""
        package = _loaded(self.package_id, tuple(self.contents.items()))
        before = pd.DataFrame()
        for batch in batches:
            readings = self._readings(batch)
            left_out = _column(batch, LEFT_OUT).to_numpy(zero_copy_only=False)
            kept = readings[~left_out]
            whole = pd.concat([before, kept], ignore_index=True) if len(before) else kept
            scores = np.full(len(readings), np.nan)
            scores[~left_out] = score_readings(
                package.detector,
                whole,
                sensor=self.sensor,
                time=TIME_MS,
                max_span_s=package.max_span_s,
            )[len(before) :]
            yield batch, scores, left_out
            before = self._last(whole)

    def episodes(self, sensor: object, times_ms: Ints, scores: Floats) -> pd.DataFrame:
        """Return the alarms of one sensor."""
        package = _loaded(self.package_id, tuple(self.contents.items()))
        sensors = np.full(len(times_ms), sensor, dtype=object)
        return episodes(times_ms, sensors, scores, package.threshold, package.rule)

    def _readings(self, batch: pa.RecordBatch) -> pd.DataFrame:
        names = list(dict.fromkeys([self.sensor, TIME_MS, *self.channels]))
        for name, what in ((TIME_MS, "event time"), *((x, "place in a topic") for x in PLACES)):
            if _column(batch, name).null_count:
                row = int(np.flatnonzero(_column(batch, name).is_null())[0])
                whose = _column(batch, self.sensor)[row].as_py()
                raise DetectorError(f"a reading of sensor {whose!r} has no {what}")
        table = pa.table([_column(batch, name) for name in names], names)
        readings: pd.DataFrame = table.to_pandas()
        # a null beside whole numbers would make all of them floats, and other sensors
        readings[self.sensor] = table[self.sensor].to_pandas(integer_object_nulls=True)
        return readings

    def _last(self, readings: pd.DataFrame) -> pd.DataFrame:
        """Return the readings that windows of the next batch may begin with."""
        if self.window == 1 or not len(readings):
            return readings[:0]
        tail = readings[-(self.window - 1) :]
        is_last = tail[self.sensor] == tail[self.sensor].iloc[-1]
        last: pd.DataFrame = tail.loc[is_last.to_numpy(dtype=bool)]
        return last


def _sensors(
    scoring: _Scoring, batches: Iterator[pa.RecordBatch]
) -> Iterator[tuple[pa.DataType, Any, Ints, Floats]]:
    """Yield type and name of each sensor, with times and scores of its readings that count."""
    held: list[tuple[Ints, Floats]] = []
    name, kind = None, None
    for batch, scores, left_out in scoring.scored(batches):
        sensors = _column(batch, scoring.sensor)
        kind = sensors.type
        times_ms = _column(batch, TIME_MS).to_numpy()
        codes, names = sensor_codes(sensors.to_pandas(integer_object_nulls=True))
        for code in pd.unique(codes[~left_out & (codes >= 0)]):
            rows = (codes == code) & ~left_out
            if held and names[code] != name:
                yield kind, name, *_joined(held)
                held = []
            name = names[code]
            held.append((times_ms[rows], scores[rows]))
    if held:
        yield kind, name, *_joined(held)


def _joined(held: list[tuple[Ints, Floats]]) -> tuple[Ints, Floats]:
    times, scores = zip(*held, strict=True)
    return np.concatenate(times), np.concatenate(scores)


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    return batch.column(batch.schema.get_field_index(name))


def _written(package: Package) -> tuple[Package, dict[str, bytes]]:
    """Return a package that is loaded already as its files."""
    with tempfile.TemporaryDirectory() as name:
        save(
            package.detector,
            Path(name) / "package",
            threshold=package.threshold,
            rule=package.rule,
            training=package.training,
        )
        return load_with_bytes(Path(name) / "package")


@lru_cache(maxsize=4)
def _loaded(package_id: str, contents: tuple[tuple[str, bytes], ...]) -> Package:
    """Return the package of some files, checked, once in each process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "package"
        with files.new_folder(folder) as part:
            for file, content in contents:
                files.write_bytes(part / file, content)
        return load(folder, package_id=package_id)
