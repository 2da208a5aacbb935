"""Time in partitions: the job says of each reading what the batch path says, in whatever order."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from workbench import detectors
from workbench.stream import compare, parse_stream
from workbench.stream.promotion_log import add_package
from workbench.stream.running.job import run

START_MS = 1_767_571_200_000


def generated(partitions=400, readings=60, *, seed=3):
    """Readings of many partitions, each with another mixture of trouble in its times."""
    rng = np.random.default_rng(seed)
    frames = []
    for part in range(partitions):
        sensors = rng.integers(1, 7)
        steps = rng.choice([0, 1, 10, 60, 400], readings, p=rng.dirichlet(np.ones(5)))
        times = np.cumsum(steps).astype(float)
        off = rng.random(readings) < rng.choice([0, 0.1, 0.4])
        times[off] += rng.choice([-400, -40, -30, -5, 299, 301, 5000, 86_400], int(off.sum()))
        frames.append(
            pd.DataFrame(
                {
                    "pump": [f"{part}-{one}" for one in rng.integers(0, sensors, readings)],
                    "event_time": START_MS + (times * 1000).astype(np.int64),
                    "pressure_bar": rng.normal(size=readings),
                    "flow_l_min": rng.normal(size=readings),
                    "message_id": [f"7:{part * readings + n}:{part}:-1" for n in range(readings)],
                }
            )
        )
    frame = pd.concat(frames, ignore_index=True)
    frame["event_time"] = pd.to_datetime(frame["event_time"], unit="ms", utc=True)
    return frame


def judged(package_folder, frame, stream):
    return detectors.detect(
        detectors.load(package_folder),
        frame,
        sensor="pump",
        lateness_ms=stream.lateness_ms,
        ahead_ms=stream.ahead_ms,
    )


@pytest.mark.flink
def test_the_rule_of_the_job_is_that_of_the_batch_path(store, package_folder, stream):
    frame = generated()
    batch = judged(package_folder, frame, stream)

    outcome = run(stream, frame, package=add_package(package_folder))

    assert set(outcome.late["message_id"]) == set(frame["message_id"][batch.late])
    assert set(outcome.refused["message_id"]) == set(frame["message_id"][batch.ahead])
    assert batch.late.sum() > 1000
    assert batch.ahead.sum() > 500
    assert compare(_detected(outcome), batch, frame).reasons() == []
    reason = "its time leads the other readings of its partition by "
    assert outcome.refused["reason"].str.startswith(reason).all()


def _detected(outcome):
    return dataclasses.replace(outcome, alerts=outcome.alerts[outcome.alerts["kind"] == "episode"])


@pytest.mark.flink
@pytest.mark.parametrize("step", ["1ms", "4min"], ids=["different times", "equal times"])
def test_a_sensor_that_comes_by_several_partitions_is_one(
    store, package_folder, stream, readings, step
):
    """As where keys are spread anew after a partition was added."""
    number = np.arange(len(readings))
    times = readings["event_time"] + pd.to_timedelta(number, unit="ms")
    arrived = readings.assign(
        event_time=times.dt.floor(step),
        message_id=[f"7:{n}:{n % 3 if n < 2000 else n % 4}:-1" for n in number],
    )
    parts = arrived["message_id"].str.split(":").str[2]
    frame = arrived.iloc[np.argsort(parts.to_numpy(), kind="stable")].reset_index(drop=True)
    batch = judged(package_folder, frame, stream)

    outcome = run(stream, frame, package=add_package(package_folder))

    certificate = compare(_detected(outcome), batch, frame)
    assert certificate.reasons() == []
    assert certificate.scored > 1500
    assert certificate.alerts > 3
    assert 50 < certificate.late_batch < 300
    assert arrived.duplicated(["pump", "event_time"]).any() == (step == "4min")
    merged = judged(package_folder, arrived, stream)
    np.testing.assert_array_equal(
        pd.Series(merged.scores, arrived["message_id"])[frame["message_id"]], batch.scores
    )


@pytest.mark.flink
def test_a_clock_that_runs_off_is_an_alert_of_its_own(store, package_folder, content):
    stream = parse_stream("pumps", content(detector="none", limits={"over": "pressure_bar > 5"}))
    n = 400
    time = START_MS + np.arange(n) // 4 * 1000
    wrong = np.isin(np.arange(n), [41, 45, 49])  # three readings of sensor 1
    frame = pd.DataFrame(
        {
            "pump": [f"pump-{number % 4}" for number in range(n)],
            "event_time": pd.to_datetime(time + wrong * 86_400_000, unit="ms", utc=True),
            "pressure_bar": np.where((np.arange(n) // 4 >= 60) & (np.arange(n) // 4 < 70), 9.0, 1),
            "flow_l_min": 1.0,
            "message_id": [f"7:{number}:-1:-1" for number in range(n)],
        }
    )

    outcome = run(stream, frame)

    assert outcome.refused["message_id"].tolist() == ["7:41:-1:-1", "7:45:-1:-1", "7:49:-1:-1"]
    assert outcome.refused["reason"].iloc[0] == (
        "its time leads the other readings of its partition by 86400.000 s, "
        "not by 300.000 s at most"
    )
    assert not len(outcome.late)
    clock = outcome.alerts[outcome.alerts["kind"] == "clock"]
    assert clock[["sensor", "status"]].to_numpy().tolist() == [["pump-1", "closed"]]
    assert clock["start"].iloc[0] == pd.Timestamp(START_MS + 10_000, unit="ms", tz="UTC")
    assert clock["stop"].iloc[0] == pd.Timestamp(START_MS + 13_000, unit="ms", tz="UTC")
    over = outcome.alerts[outcome.alerts["kind"] == "over"]
    assert set(over["sensor"]) == {f"pump-{number}" for number in range(4)}
