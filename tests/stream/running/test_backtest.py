import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from workbench import detectors, replay
from workbench.cli import cli
from workbench.errors import StreamError
from workbench.stream import parse_stream
from workbench.stream.promotion_log import add_package
from workbench.stream.running.backtesting import backtest, order_matters
from workbench.stream.running.job import run

ARCHIVE = str(Path(__file__).parents[3] / "data" / "archive")
CHANNELS = ["vibration_mm_s", "bearing_temperature_c"]
DAY = ("2026-01-13T00:00:00Z", "2026-01-14T00:00:00Z")


@pytest.fixture
def package(store, tmp_path):
    frame = replay("pumps", None, "2026-01-08T00:00:00Z", archive=ARCHIVE)
    spec = {"name": "robust_z", "window": 10, "channels": CHANNELS, "max_span_s": 1800}
    detector = detectors.fit(spec, frame, sensor="pump")
    rule = detectors.EpisodeRule(3, 5, 10)
    detectors.save(detector, tmp_path / "detector", threshold=2.0, rule=rule, training={})
    return add_package(tmp_path / "detector")


@pytest.mark.flink
def test_a_backtest_alerts_as_the_batch_path_does(package, store):
    asked = ["backtest", "plant", "--start", DAY[0], "--stop", DAY[1], "--archive", ARCHIVE]

    result = CliRunner().invoke(
        cli, [*asked, "--package", package, "--json"], catch_exceptions=False
    )

    said = json.loads(result.stdout.splitlines()[-1])
    frame = replay("pumps", *DAY, archive=ARCHIVE)
    batch = detectors.detect(
        detectors.load(store / "packages" / package), frame, sensor="pump", lateness_ms=60_000
    )
    assert said["readings"] == len(frame)
    assert said["late"] == batch.late.sum()
    assert said["execution"] == "streaming"  # some readings are of one instant
    assert said["sensors"] == 6
    assert said["alerts"] == len(said["alert"]) == len(batch.episodes) > 0
    assert said["alerts_per_sensor_day"] == pytest.approx(len(batch.episodes) / 6, rel=0.01)
    assert {(one["sensor"], one["start"]) for one in said["alert"]} == {
        (one.sensor, f"{one.start:%Y-%m-%dT%H:%M:%S}.{one.start.microsecond // 1000:03d}Z")
        for one in batch.episodes.itertuples()
    }


def test_a_span_without_readings_is_told(store):
    with pytest.raises(StreamError) as error:
        backtest("plant", "2030-01-01T00:00:00Z", archive=ARCHIVE)

    assert str(error.value) == (
        "the archive has no readings of persistent://public/default/pumps "
        "from 2030-01-01T00:00:00Z to the last"
    )


@pytest.fixture
def orderly(readings):
    """Readings out of order, but none late, and none of a pump's of one instant."""
    frame = readings.drop_duplicates(["pump", "event_time"]).reset_index(drop=True)
    while (late := detectors.late(detectors.epoch_ms(frame["event_time"]), 30_000)).any():
        frame = frame[~late].reset_index(drop=True)
    assert not frame["event_time"].is_monotonic_increasing
    return frame


@pytest.mark.flink
def test_batch_execution_says_what_streaming_execution_says(
    store, package_folder, orderly, content
):
    limits = {
        "over": {"when": "pressure_bar > 1", "rule": {"k": 2, "n": 3, "m": 4}},
        "falling": {"when": "flow_l_min_per_s < -0.05"},
    }
    stream = parse_stream(
        "both", content(derived={"ratio": "pressure_bar / flow_l_min"}, limits=limits)
    )
    given = {"package": add_package(package_folder)}

    batch = run(stream, orderly, batch=True, **given)
    streamed = run(stream, orderly, **given)

    assert not order_matters(stream, orderly)
    assert set(batch.alerts["kind"]) == {"episode", "over", "falling"}
    assert np.isfinite(batch.scores["score"]).sum() > len(orderly) / 2
    for name, key in {"alerts": "id", "scores": "message_id", "late": "message_id"}.items():
        one, other = (getattr(found, name).set_index(key) for found in (batch, streamed))
        pd.testing.assert_frame_equal(one.sort_index(), other.sort_index(), check_exact=True)


@pytest.mark.parametrize(
    ("changes", "shift", "expected"),
    [
        ({}, 0, False),
        ({"limits": {"over": {"when": "pressure_bar > 1"}}}, 0, False),
        ({"patterns": {"gone": {"template": "silent_sensor", "after_s": 300}}}, 0, True),
        ({"sums": {"supply": {"of": "flow_l_min", "every_s": 60}}}, 0, True),
        ({}, -3600, True),  # late
        ({}, None, True),  # of one millisecond with another
    ],
)
def test_the_order_of_arrival_matters_to_late_and_equal_times_sums_and_patterns(
    orderly, content, changes, shift, expected
):
    last = orderly.index[-1]
    if shift is None:
        again = orderly[orderly["pump"] == "pump-1"].tail(1)
        again = again.assign(event_time=again["event_time"] + pd.Timedelta(microseconds=10))
        orderly = pd.concat([orderly, again], ignore_index=True)
    else:
        orderly.loc[last, "event_time"] += pd.Timedelta(seconds=shift)

    assert order_matters(parse_stream("pumps", content(**changes)), orderly) is expected
