import numpy as np
import pandas as pd
import pytest
from matplotlib.dates import num2date
from matplotlib.figure import Figure

from workbench import figures


@pytest.fixture
def ax():
    return Figure(figsize=(9, 3)).subplots()


def minutes(start, count):
    return pd.date_range(start, periods=count, freq="min", tz="UTC")


def written(ax):
    return [one.get_text() for one in ax.texts]


def test_a_day_without_half_its_readings_says_so(ax):
    whole, half = minutes("2026-01-05", 2880), minutes("2026-01-05", 2160)
    readings = pd.DataFrame({"pump": ["a"] * 2880 + ["b"] * 2160, "event_time": whole.append(half)})

    figures.completeness(ax, readings, sensor="pump", period_s=60)

    assert written(ax) == ["100", "100", "100", "50"]
    assert [one.get_text() for one in ax.get_yticklabels()] == ["a", "b"]
    assert ax.figure.axes[1].get_ylabel() == "readings that arrived, %"


def test_a_part_of_a_day_expects_a_part_of_the_readings(ax):
    readings = pd.DataFrame({"pump": "a", "event_time": minutes("2026-01-05T18:00", 360 + 60)})

    figures.completeness(ax, readings, sensor="pump", period_s=60)

    assert written(ax) == ["100", "100"]


def test_a_reading_sent_twice_is_one_that_arrived(ax):
    once = minutes("2026-01-05", 720).append(minutes("2026-01-05T23:59", 1))
    readings = pd.DataFrame({"pump": "a", "event_time": once.append(once)})

    figures.completeness(ax, readings, sensor="pump", period_s=60)

    assert written(ax) == ["50"]


def test_days_begin_at_midnight_utc(ax):
    readings = pd.DataFrame({"pump": "a", "event_time": minutes("2026-01-05", 2880)})
    readings["event_time"] = readings["event_time"].dt.tz_convert("Asia/Tokyo")

    figures.completeness(ax, readings, sensor="pump", period_s=60)

    assert [num2date(one).isoformat() for one in ax.get_xlim()] == [
        "2026-01-05T00:00:00+00:00",
        "2026-01-07T00:00:00+00:00",
    ]
    assert ax.get_xlabel() == "day, UTC"


def test_an_alert_counts_on_the_day_it_starts_and_only_within_the_span(ax):
    alerts = pd.DataFrame(
        {
            "sensor": ["a", "a", "b", "a", "gone"],
            "start": pd.to_datetime(
                [
                    "2026-01-05T23:59:59Z",
                    "2026-01-05T12:00Z",
                    "2026-01-06T00:00Z",
                    "2026-01-07T00:00Z",
                    "2026-01-05T12:00Z",
                ],
                format="ISO8601",
            ),
        }
    )
    span = (pd.Timestamp("2026-01-05", tz="UTC"), pd.Timestamp("2026-01-07", tz="UTC"))

    figures.alerts_by_day(ax, alerts, sensors=["a", "b", "quiet"], span=span)

    assert written(ax) == ["2", "", "", "1", "", ""]
    assert ax.collections[0].get_array().reshape(3, 2).tolist() == [[2, 0], [0, 1], [0, 0]]


def test_a_large_map_is_not_written_full(ax):
    readings = pd.DataFrame(
        {"pump": np.repeat([f"p{i:02}" for i in range(30)], 8 * 24)}
        | {"event_time": np.tile(pd.date_range("2026-01-05", periods=8 * 24, freq="h"), 30)}
    )

    figures.completeness(ax, readings, sensor="pump", period_s=3600)

    assert written(ax) == []


def test_two_spans_of_one_distribution_are_drawn_alike_whatever_their_length():
    axes = Figure().subplots(1, 2)
    before = pd.DataFrame({"flow_l_min": [1.0, 2.0, 2.0, np.nan], "motor_current_a": 5.0})
    after = pd.DataFrame({"flow_l_min": [1.0, 2.0, 2.0] * 7, "motor_current_a": 6.0})

    figures.drift(axes, before, after, ["flow_l_min", "motor_current_a"])

    grey, blue = axes[0].patches
    np.testing.assert_allclose(grey.get_data().values, blue.get_data().values)
    assert sum(blue.get_data().values) == pytest.approx(100)
    assert [ax.get_xlabel() for ax in axes] == ["flow, l/min", "motor current, A"]


def test_bins_are_whole_steps_of_the_sensors_resolution():
    ax = Figure().subplots()
    steps = np.round(np.arange(0, 90) * 0.1, 1)
    readings = pd.DataFrame({"vibration_mm_s": np.tile(steps, 10)})

    figures.drift(ax, readings, readings, ["vibration_mm_s"])

    shares = ax.patches[0].get_data()[0]
    assert np.ptp(shares[:-1]) < 1e-9  # evenly spread readings make an even picture


def test_a_channel_that_never_moves_is_one_bar():
    ax = Figure().subplots()
    stuck = pd.DataFrame({"vibration_mm_s": [3.0, 3.0]})

    figures.drift(ax, stuck, stuck, ["vibration_mm_s"])

    assert ax.patches[0].get_data()[0].tolist() == [100.0]
