"""Scores and alerts of a DataFrame are those of the batch path on the same readings."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from workbench import detectors, replay
from workbench.detectors import EpisodeRule
from workbench.errors import DetectorError
from workbench.spark import scoring

from .conftest import MARKS

pytestmark = MARKS

SAMPLE = Path(__file__).parents[2] / "data" / "archive"
CHANNELS = ["flow_l_min", "vibration_mm_s"]
START_MS = 1_793_512_800_000  # 2026-11-01T05:20:00Z, forty minutes before New York's hour twice


def packaged(
    folder, frame, *, sensor, channels, window=8, max_span_s=900, quantile=0.99, level=None
):
    """Fit a detector and return its package, loaded."""
    spec = {
        "name": "pca",
        "channels": channels,
        "window": window,
        "max_span_s": max_span_s,
        "level": level,
    }
    detector = detectors.fit(spec, frame, sensor=sensor)
    scores = detectors.score_readings(detector, frame, sensor=sensor)
    threshold = float(np.nanquantile(scores, quantile))
    rule = EpisodeRule(k=2, n=3, m=2)
    detectors.save(detector, folder, threshold=threshold, rule=rule, training={})
    return detectors.load(folder)


def assert_same(scored, alarms, frame, detection, *, sensor):
    """Compare what Spark made of readings, by message id, with what the batch path made."""
    given = scored.toPandas().set_index("message_id").loc[frame["message_id"]]
    np.testing.assert_allclose(given["score"].to_numpy(float), detection.scores, rtol=1e-9)
    if "late" in given:
        np.testing.assert_array_equal(given["late"].to_numpy(bool), detection.late)
        np.testing.assert_array_equal(given["ahead"].to_numpy(bool), detection.ahead)
    columns = ["sensor", "start", "peak_time", "stop", "peak_score", "readings"]
    rows = alarms.selectExpr(
        "sensor", "unix_millis(start) start", "unix_millis(peak_time) peak_time",
        "unix_millis(stop) stop", "peak_score", "readings",
    ).toPandas()  # fmt: skip
    expected = detection.episodes.copy()
    for name in ("start", "peak_time", "stop"):
        expected[name] = detectors.epoch_ms(expected[name])
    order = ["sensor", "start"]
    pd.testing.assert_frame_equal(
        rows[columns].sort_values(order, ignore_index=True),
        expected[columns].sort_values(order, ignore_index=True),
        rtol=1e-9,
        check_dtype=False,
    )


def test_the_sample_scores_as_in_the_batch_path(rows, tmp_path):
    from workbench import spark as room

    start, stop = "2026-01-12T00:00:00Z", "2026-01-15T00:00:00Z"
    training = replay("pumps", "2026-01-06", "2026-01-08", archive=str(SAMPLE))
    package = packaged(tmp_path / "package", training, sensor="pump", channels=CHANNELS)
    frame = replay("pumps", start, stop, archive=str(SAMPLE))
    names = ",".join(["pump", *CHANNELS, "event_time", "__message_id__"])
    readings = rows(SAMPLE, "pumps", columns=names, start=start, stop=stop)
    readings = readings.withColumnRenamed("__message_id__", "message_id")
    asked = {"sensor": "pump", "lateness_ms": 60_000, "ahead_ms": 3_600_000}

    detection = detectors.detect(package, frame, **asked)

    assert len(detection.episodes) > 10
    assert detection.late.any()
    scored = room.score(readings, package, **asked).select("message_id", "score", "late", "ahead")
    alarms = room.alerts(readings, tmp_path / "package", **asked)
    assert_same(scored, alarms, frame, detection, sensor="pump")


def test_each_sensor_is_scored_on_its_own_level(spark, tmp_path):
    from workbench import spark as room

    usual, frame = (unlike(generated(seed), range(7, 10 if seed == 3 else 9)) for seed in (7, 3))
    named = {"sensor": "machine", "channels": ["x", "y"], "level": "sensor"}
    package = packaged(tmp_path / "package", usual, **named, window=4, max_span_s=60, quantile=0.7)
    asked = {"sensor": "machine", "lateness_ms": 2000, "ahead_ms": 10**6}

    detection = detectors.detect(package, frame, **asked)
    readings = spark.createDataFrame(frame)
    scored = room.score(readings, package, **asked).select("message_id", "score", "late", "ahead")
    alarms = room.alerts(readings, package, **asked)

    assert package.detector.levels.names == ("7", "8")
    stranger = (frame["machine"] == 9).to_numpy()
    assert stranger.any()
    assert np.isnan(detection.scores[stranger]).all()
    assert np.isfinite(detection.scores).sum() > 50
    assert_same(scored, alarms, frame, detection, sensor="machine")


def unlike(frame, numbers):
    """Return readings of machines of unlike size that are called by numbers."""
    called = dict(zip("abc", numbers, strict=False))
    frame = frame[frame["machine.name"].isin(list(called))].reset_index(drop=True)
    number = frame.pop("machine.name").map(called)
    scaled = {name: frame[name] * 100.0 ** (number - 7) for name in ("x", "y")}
    return frame.assign(**scaled, machine=number.astype("int64"))


def generated(seed):
    """Return readings of a topic with partitions: late and early ones, twins, gaps, holes."""
    random = np.random.default_rng(seed)
    count = 600
    steps = random.choice([0, 0, 250, 1000, 1000, 1000, 90_000, -700, -5000], count)
    times_ms = START_MS + np.cumsum(np.maximum(steps, 0)) + np.minimum(steps, 0)
    times_ms[random.integers(0, count, 4)] += 10**8  # clocks that are ahead
    values = random.normal(10, 1, (count, 2))
    values[random.integers(0, count, 12)] += 9
    values[random.integers(0, count, 12), 0] = np.nan
    partition = random.integers(0, 3, count)
    sensors = random.choice(
        np.array(["a", "b", "c", "one that is silent"]), count, p=[0.4, 0.4, 0.19, 0.01]
    )
    frame = pd.DataFrame(
        {
            "machine.name": sensors,
            "x": values[:, 0],
            "y": values[:, 1],
            "event_time": pd.to_datetime(times_ms, unit="ms", utc=True),
            "message_id": [
                f"{9 + i // 100}:{i % 100 // 2}:{part}:{i % 2}" for i, part in enumerate(partition)
            ],
        }
    )  # fmt: skip
    frame.loc[random.integers(0, count, 5), "machine.name"] = None
    return frame


@pytest.mark.parametrize(
    "asked",
    [{}, {"lateness_ms": 2000}, {"lateness_ms": 2000, "ahead_ms": 10**6}],
    ids=["as they come", "without late ones", "without those ahead"],
)
def test_late_early_and_equal_readings_are_treated_as_in_the_batch_path(spark, tmp_path, asked):
    from workbench import spark as room

    frame = generated(len(asked))
    named = {"sensor": "machine.name", "channels": ["x", "y"]}
    package = packaged(
        tmp_path / "package", generated(7), **named, window=4, max_span_s=60, quantile=0.7
    )
    shuffled = frame.sample(frac=1, random_state=5)
    shuffled = shuffled.assign(event_time=detectors.epoch_ms(shuffled["event_time"]))
    mixed = spark.createDataFrame(shuffled).selectExpr(
        "nullif(`machine.name`, 'NaN') as `machine.name`", "x", "y",
        "timestamp_millis(event_time) as event_time", "message_id",
    )  # fmt: skip
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "40")
    try:
        detection = detectors.detect(package, frame, sensor="machine.name", **asked)
        scored = room.score(mixed, package, sensor="machine.name", **asked)
        alarms = room.alerts(mixed, package, sensor="machine.name", **asked)

        assert len(detection.episodes) > 3
        assert_same(scored, alarms, frame, detection, sensor="machine.name")
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")


def test_what_cannot_be_scored_is_refused_before_anything_is_read(spark, tmp_path):
    from workbench import spark as room

    package = packaged(
        tmp_path / "package", generated(7), sensor="machine.name", channels=["x", "y"], window=4
    )
    readings = spark.createDataFrame(
        [("a", 1.0, 2.0, 5, "1:2:-1:-1", "2026-01-05")],
        "s string, x double, y double, t long, message_id string, day string",
    )

    def said(frame, **asked):
        with pytest.raises(DetectorError) as caught:
            room.score(frame, package, **{"sensor": "s", "time": "t"} | asked)
        return str(caught.value)

    assert said(readings, sensor="sensor").startswith("the readings have no column 'sensor'\n")
    assert said(readings.drop("y")).startswith("the readings have no column 'y'")
    assert said(readings.drop("message_id")) == (
        "nothing says in which order the readings came\n"
        "  keep __message_id__, or partition, ledger_id, entry_id, batch_index"
    )
    assert said(readings, time="day").startswith("column 'day' is string, expected timestamp")
    assert said(readings, lateness_ms=0) == "lateness is 0 ms, at least 1 is needed"
    assert room.score(readings, package, sensor="s", time="t").columns[-1] == "score"


def test_a_reading_of_no_sensor_makes_no_other_of_numbers_beyond_a_double(tmp_path):
    numbers, rng = [2**60 + 1, 2**60 + 2], np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "machine": np.repeat(numbers, 200),
            "event_time": np.tile(60_000 * np.arange(200), 2),
            "flow": rng.normal(np.repeat([5.0, 5000.0], 200), np.repeat([1.0, 1000.0], 200)),
        }
    )
    package = packaged(
        tmp_path / "p", frame, sensor="machine", channels=["flow"], level="sensor", window=2
    )
    expected = detectors.score_readings(package.detector, frame, sensor="machine")
    table = pa.table(
        {
            "machine": pa.array([None, *frame["machine"]], pa.int64()),
            scoring.TIME_MS: pa.array([0, *frame["event_time"]], pa.int64()),
            "flow": pa.array([1.0, *frame["flow"]]),
            scoring.LEFT_OUT: pa.array([False] * 401),
            **{place: pa.array([0] * 401, pa.int64()) for place in scoring.PLACES},
        }
    )

    asked = scoring._Scoring.of(str(tmp_path / "p"), "machine")
    scored = asked.scored(iter(table.to_batches(max_chunksize=50)))

    given = np.concatenate([scores for _, scores, _ in scored])
    np.testing.assert_allclose(given[1:], expected, rtol=1e-9)
    assert np.isfinite(expected).sum() == 398
