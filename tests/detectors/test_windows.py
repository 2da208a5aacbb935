import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.detectors import (
    EpisodeRule,
    episodes,
    epoch_ms,
    fit,
    late,
    score_readings,
    sliding_windows,
)
from workbench.errors import DetectorError, WorkbenchError

# Slow, obvious twins: one reading at a time.


def naive_late(times_ms, lateness_ms, partition):
    largest, flags = {}, []
    for time, source in zip(times_ms, partition, strict=True):
        flags.append(source in largest and time <= largest[source] - lateness_ms)
        largest[source] = max(time, largest.get(source, time))
    return np.array(flags, dtype=bool)


def naive_windows(rows, times_ms, sensors, values, *, window, max_span_ms):
    """Return (row of the newest reading, window) pairs, by row."""
    windows = []
    for sensor in dict.fromkeys(sensors):
        mine = [i for i in range(len(rows)) if sensors[i] == sensor]
        mine.sort(key=lambda i: times_ms[i])  # stable
        for end in range(window, len(mine) + 1):
            picked = mine[end - window : end]
            span = times_ms[picked[-1]] - times_ms[picked[0]]
            if np.isnan(values[picked]).any() or (max_span_ms is not None and span > max_span_ms):
                continue
            windows.append((rows[picked[-1]], values[picked]))
    return sorted(windows, key=lambda one: one[0])


class Newest:
    """Scores a window by its newest reading."""

    window, channels = 3, ("bar",)

    def score(self, windows):
        return windows[:, -1, 0]


@st.composite
def frames(draw):
    n = draw(st.integers(0, 60))
    value = st.one_of(st.floats(-5, 5), st.just(float("nan")))
    return pd.DataFrame(
        {
            "pump": draw(st.lists(st.sampled_from("abc"), min_size=n, max_size=n)),
            "t": np.array(draw(st.lists(st.integers(0, 40), min_size=n, max_size=n)), np.int64),
            "bar": np.array(draw(st.lists(value, min_size=n, max_size=n)), float),
            "lpm": np.array(draw(st.lists(value, min_size=n, max_size=n)), float),
            "partition": draw(st.lists(st.sampled_from([0, 1]), min_size=n, max_size=n)),
        }
    )


@settings(max_examples=60)
@given(frames(), st.integers(1, 5), st.sampled_from([None, 0.005, 0.02]))
@pytest.mark.slow
def test_windows_are_those_of_the_slow_twin(frame, window, max_span_s):
    windows = sliding_windows(
        frame,
        sensor="pump",
        time="t",
        channels=["bar", "lpm"],
        window=window,
        max_span_s=max_span_s,
    )

    expected = naive_windows(
        list(range(len(frame))),
        frame["t"].tolist(),
        frame["pump"].tolist(),
        frame[["bar", "lpm"]].to_numpy(),
        window=window,
        max_span_ms=None if max_span_s is None else round(max_span_s * 1000),
    )
    assert windows.rows.tolist() == [row for row, _ in expected]
    for values, (_, wanted) in zip(windows.values, expected, strict=True):
        np.testing.assert_array_equal(values, wanted)


@settings(max_examples=60)
@given(frames(), st.integers(1, 10))
@pytest.mark.slow
def test_late_is_judged_per_partition_as_by_the_slow_twin(frame, lateness_ms):
    flags = late(frame["t"].to_numpy(), lateness_ms, frame["partition"].to_numpy())

    expected = naive_late(frame["t"].tolist(), lateness_ms, frame["partition"].tolist())
    np.testing.assert_array_equal(flags, expected)


@settings(max_examples=30)
@given(frames())
def test_late_readings_are_gone_before_windows_are_made(frame):
    scores = score_readings(
        Newest(), frame, sensor="pump", time="t", lateness_ms=3, partition="partition"
    )

    gone = naive_late(frame["t"].tolist(), 3, frame["partition"].tolist())
    on_time = score_readings(Newest(), frame[~gone], sensor="pump", time="t")
    np.testing.assert_array_equal(scores[~gone], on_time)
    assert np.isnan(scores[gone]).all()


def test_a_reading_without_a_window_has_no_score():
    frame = pd.DataFrame(
        {"pump": "a", "t": [0, 1, 2, 3, 4, 90, 91, 92], "bar": [1, 2, 3, np.inf, 5, 6, 7, 8.0]}
    )

    scores = score_readings(Newest(), frame, sensor="pump", time="t", max_span_s=0.01)

    np.testing.assert_array_equal(scores, [np.nan, np.nan, 3, *[np.nan] * 4, 8])


def test_a_reading_of_no_sensor_is_in_no_window():
    frame = pd.DataFrame({"pump": ["a", None, "a", "a"], "t": range(4), "bar": [1.0, 9, 2, 3]})

    scores = score_readings(Newest(), frame, sensor="pump", time="t")

    np.testing.assert_array_equal(scores, [np.nan, np.nan, np.nan, 3])


def test_sensors_that_are_one_up_to_a_zero_are_two(readings):
    names = {name: f"a\0{name}" for name in readings["pump"].unique()}
    frame = readings.assign(pump=readings["pump"].map(names))
    asked = {"sensor": "pump", "channels": ["flow"], "window": 3, "time": "event_time"}

    plain, odd = sliding_windows(readings, **asked), sliding_windows(frame, **asked)

    assert len(names) > 1
    np.testing.assert_array_equal(odd.rows, plain.rows)
    np.testing.assert_array_equal(odd.values, plain.values)
    spec = {"name": "robust_z", "window": 3, "channels": ["flow"], "level": "sensor"}
    detectors_of = [fit(spec, each, sensor="pump") for each in (readings, frame)]
    scores, odd_scores = (
        score_readings(detector, each, sensor="pump")
        for detector, each in zip(detectors_of, (readings, frame), strict=True)
    )
    np.testing.assert_array_equal(odd_scores, scores)
    limit = float(np.nanquantile(scores, 0.8))
    alerts = [
        episodes(epoch_ms(each["event_time"]), each["pump"], scores, limit, EpisodeRule())
        for each in (readings, frame)
    ]
    assert len(alerts[0]) > 0
    assert alerts[0]["sensor"].map(names).tolist() == alerts[1]["sensor"].tolist()


TEXT = pd.Series(["a"]).dtype  # object, of pandas 3 str


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"channels": ["bra"]},
            "the readings have no column 'bra'\n  did you mean 'bar'?",
        ),
        (
            {"channels": ["pump"]},
            f"channel pump holds {TEXT}, not numbers: could not convert string to float: 'a'",
        ),
        (
            {"time": "bar"},
            "times are float64, expected epoch milliseconds or timestamps\n"
            "  workbench.times.parse_column makes them of text and other units",
        ),
    ],
)
def test_readings_that_cannot_be_windowed_are_refused(change, message):
    frame = pd.DataFrame({"pump": ["a"], "t": [0], "bar": [1.0]})
    asked = {"sensor": "pump", "time": "t", "channels": ["bar"], "window": 1} | change

    with pytest.raises(WorkbenchError) as caught:
        sliding_windows(frame, **asked)

    assert str(caught.value) == message


def test_a_lateness_of_nothing_is_refused():
    with pytest.raises(DetectorError) as caught:
        late(np.array([1, 2]), 0)

    assert str(caught.value) == "lateness is 0 ms, at least 1 is needed"


def test_what_is_not_finite_is_missing_to_a_detector_that_takes_missing_values():
    class Newest:
        window, channels, takes_missing = 1, ("bar",), True

        def score(self, windows):
            return np.nan_to_num(windows[:, -1, 0], nan=-1.0, posinf=9e9)

    frame = pd.DataFrame({"pump": "a", "t": [0, 1, 2], "bar": [1.0, np.inf, np.nan]})

    scores = score_readings(Newest(), frame, sensor="pump", time="t")

    assert scores.tolist() == [1.0, -1.0, -1.0]
