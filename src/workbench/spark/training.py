"""A training frame of bounded size out of a span of any size: whole stretches of each sensor."""

from __future__ import annotations

import pandas as pd
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812 - as Spark's manual names it

from workbench.archive import to_frame
from workbench.detectors import time_order
from workbench.errors import DetectorError
from workbench.spark.ordering import PLACES, TIME_MS, check_columns, column, placed

_SENSOR, _STRETCH, _DRAW, _READINGS, _SO_FAR = (
    f"__workbench_{name}__" for name in ("sensor", "stretch", "draw", "readings", "so_far")
)


def sample(
    frame: DataFrame,
    *,
    sensor: str,
    time: str = "event_time",
    most: int,
    stretch_s: float = 3600.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Return at most `most` readings, whole stretches of time of each sensor, for `detectors.fit`.

    Readings of a stretch stay together, so its windows are those of the span; between stretches
    the gap rule (`max_span_s`) of a detector keeps windows apart. Which stretches are taken depends
    on sensor, time and seed alone.

    Parameters
    ----------
    frame
        Readings, as `score` takes them.
    most
        Readings at most; each sensor has an equal share.
    stretch_s
        Seconds of a stretch, counted from 1970.
    seed
        Of the draw.

    Returns
    -------
    readings
        By event time, with times in UTC; `attrs["manifest"]` has the numbers of sensors and
        readings in the span, and of the readings taken.

    Raises
    ------
    DetectorError
        If a sensor has no stretch that fits into its share.
    """
    check_columns(frame, [sensor, time])
    stretch = F.floor(F.col(TIME_MS) / round(stretch_s * 1000))
    ready = placed(frame, time).withColumn(_SENSOR, column(sensor)).withColumn(_STRETCH, stretch)
    ready = ready.filter(F.col(_SENSOR).isNotNull())
    stretches = ready.groupBy(_SENSOR, _STRETCH).agg(F.count("*").alias(_READINGS))
    counts = stretches.groupBy(_SENSOR).agg(
        F.sum(_READINGS).alias("readings"), F.min(_READINGS).alias("least")
    )
    totals = counts.agg(F.count("*"), F.sum("readings"), F.max("least"))
    sensors, readings, least = (number or 0 for number in totals.collect()[0])
    share = most // max(1, sensors)
    if least > share:
        raise DetectorError(
            f"{most} readings of {sensors} sensors are {share} of each, and the smallest stretch "
            f"of {stretch_s:g} s of one of them has {least}",
            hint="a larger most=, or a shorter stretch_s=",
        )
    chosen = _chosen(stretches, share, seed)
    taken = ready.join(chosen, [_SENSOR, _STRETCH], "left_semi").orderBy(TIME_MS, *PLACES)
    table = taken.select(*map(column, frame.columns)).toArrow()
    result = to_frame(table)
    for name in result.select_dtypes("datetimetz").columns:
        result[name] = result[name].dt.tz_convert("UTC")
    result = result.iloc[time_order(result, sensor=sensor, time=time)].reset_index(drop=True)
    result.attrs["manifest"] = {
        "sensors": sensors,
        "readings_in_span": readings,
        "readings": len(result),
        "stretch_s": stretch_s,
        "seed": seed,
    }
    return result


def _chosen(stretches: DataFrame, share: int, seed: int) -> DataFrame:
    """Return the stretches of each sensor that are drawn, as many as fit into its share."""
    draw = F.xxhash64(F.col(_SENSOR).cast("string"), F.col(_STRETCH), F.lit(seed))
    order = Window.partitionBy(_SENSOR).orderBy(_DRAW, _STRETCH)
    so_far = F.sum(_READINGS).over(order.rowsBetween(Window.unboundedPreceding, 0))
    drawn = stretches.withColumn(_DRAW, draw).filter(F.col(_READINGS) <= share)
    return drawn.withColumn(_SO_FAR, so_far).filter(F.col(_SO_FAR) <= share)
