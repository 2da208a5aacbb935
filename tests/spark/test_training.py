"""A training frame of bounded size out of a DataFrame: whole stretches, the same each time."""

import numpy as np
import pandas as pd
import pytest

from workbench import detectors
from workbench.errors import DetectorError

from .conftest import MARKS

pytestmark = MARKS

START_MS = 1_793_512_800_000  # 2026-11-01T05:20:00Z, forty minutes before New York's hour twice
STRETCH_S, SHARE = 600, 300


def span():
    """Return three sensors' readings, one in ten seconds: sixty in a stretch."""
    random = np.random.default_rng(3)
    times = np.repeat(START_MS + 10_000 * np.arange(1000), 3)
    return pd.DataFrame(
        {
            "machine.name": np.tile(["a", "b", "c"], 1000),
            "x": random.normal(0, 1, 3000),
            "event_time": times,
            "message_id": [f"{i // 500}:{i % 500}:-1:-1" for i in range(3000)],
        }
    )


def test_a_sample_is_whole_stretches_of_each_sensor_and_fits_a_detector(spark):
    from workbench import spark as room

    whole = span()
    text = ["`machine.name`", "x", "timestamp_millis(event_time) as event_time", "message_id"]
    readings = spark.createDataFrame(whole.sample(frac=1, random_state=2)).selectExpr(*text)
    asked = {"sensor": "machine.name", "most": 3 * SHARE, "stretch_s": STRETCH_S}

    taken = room.sample(readings, **asked)

    assert taken.attrs["manifest"] == {
        "sensors": 3,
        "readings_in_span": 3000,
        "readings": len(taken),
        "stretch_s": STRETCH_S,
        "seed": 0,
    }
    assert list(taken) == list(whole)
    assert (taken.groupby("machine.name").size() > SHARE - 60).all()
    assert (taken.groupby("machine.name").size() <= SHARE).all()
    whole = whole.assign(stretch=whole["event_time"] // (1000 * STRETCH_S))
    chosen = taken.assign(event_time=detectors.epoch_ms(taken["event_time"]))
    chosen["stretch"] = chosen["event_time"] // (1000 * STRETCH_S)
    pairs = chosen[["machine.name", "stretch"]].drop_duplicates()
    expected = whole.merge(pairs)
    order = ["event_time", "machine.name"]
    pd.testing.assert_frame_equal(
        chosen.sort_values(order, ignore_index=True),
        expected.sort_values(order, ignore_index=True)[list(chosen)],
        check_dtype=False,
    )
    again = room.sample(readings.repartition(5), **asked)
    pd.testing.assert_frame_equal(again, taken)
    detector = detectors.fit(  # the gap rule keeps stretches apart
        {"name": "pca", "channels": ["x"], "window": 8, "max_span_s": 120},
        taken,
        sensor="machine.name",
    )
    assert detector.window == 8

    with pytest.raises(DetectorError) as caught:
        room.sample(readings, **(asked | {"most": 30}))
    assert str(caught.value) == (
        "30 readings of 3 sensors are 10 of each, and the smallest stretch of 600 s of one of them "
        "has 40\n  a larger most=, or a shorter stretch_s="
    )
