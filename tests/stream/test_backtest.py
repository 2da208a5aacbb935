import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from workbench import detectors, replay
from workbench.cli import cli
from workbench.errors import StreamError
from workbench.stream.backtest import backtest
from workbench.stream.promotions import add_package

ARCHIVE = str(Path(__file__).parents[2] / "data" / "archive")
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
