import numpy as np
import pandas as pd
import pytest
from matplotlib.dates import num2date
from matplotlib.figure import Figure

from workbench import figures
from workbench.errors import FigureError
from workbench.figures.style import days


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


def test_each_sensor_has_a_row_where_keys_are_numbers_in_bytes(ax):
    whole, half = minutes("2026-01-05", 1440), minutes("2026-01-05", 720)
    readings = pd.DataFrame(
        {"pump": ["\0\0\0\1"] * 1440 + ["\0\0\0\2"] * 720, "event_time": whole.append(half)}
    )

    figures.completeness(ax, readings, sensor="pump", period_s=60)

    assert written(ax) == ["100", "50"]


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


def test_what_changes_is_dark_where_one_package_alone_alerts_and_light_where_both_do(ax):
    start = pd.to_datetime(["2026-01-05T06:00Z", "2026-01-05T12:00Z", "2026-01-05T18:00Z"])
    stop = start + pd.Timedelta("1h")
    alerts = pd.DataFrame({"sensor": ["a", "b", "a"], "start": start, "stop": stop})
    alerts["under"] = ["champion", "candidate", "both"]

    figures.changes(
        ax, alerts, sensors=["a", "b", "quiet"], span=("2026-01-05T00:00Z", "2026-01-06T00:00Z")
    )

    bars = {
        (round(bar.get_x() % 1 * 24), round(bar.get_y() + bar.get_height() / 2, 1)): bar.get_alpha()
        for bar in ax.patches
    }
    assert bars == {(6, -0.2): 1, (12, 1.2): 1, (18, -0.2): 0.35, (18, 0.2): 0.35}
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b", "quiet"]


def test_of_many_sensors_those_that_change_most_are_drawn(ax):
    names = [f"p{n:02}" for n in range(60)]
    start = pd.Timestamp("2026-01-05T06:00Z")
    alerts = pd.DataFrame(
        {"sensor": names[10:], "start": start, "stop": start + pd.Timedelta("1h"), "under": "both"}
    )
    alerts.loc[alerts["sensor"] == "p59", "under"] = "candidate"

    figures.changes(ax, alerts, sensors=names, span=("2026-01-05T00:00Z", "2026-01-06T00:00Z"))

    drawn = [text.get_text() for text in ax.get_yticklabels()]
    assert len(drawn) == 40
    assert "p59" in drawn


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


def test_what_has_moved_beyond_the_limit_has_a_red_edge_and_a_day_left_out_is_blank():
    ax = Figure().subplots()
    starts = pd.to_datetime(["2026-01-10T06:00Z", "2026-01-12T06:00Z"])
    moved = pd.DataFrame({"flow_l_min": [0.1, 0.5], "the score": [0.2, np.nan]}, index=starts)

    figures.moves(ax, moved, limit=0.4)

    (edge,) = [patch for patch in ax.patches if patch.get_gid() == "over"]
    assert edge.get_xy() == (days(starts)[1], -0.5)
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["0.10", "", "0.50", "0.20", "", ""]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["flow", "the score"]


def test_moves_without_a_day_are_refused():
    with pytest.raises(FigureError, match=r"^there is no day to draw$"):
        figures.moves(Figure().subplots(), pd.DataFrame())


def test_what_people_answered_stands_beside_the_alerts(ax):
    hours = pd.to_datetime(["2026-01-05T02:00Z", "2026-01-05T22:00Z", "2026-01-05T10:00Z"])
    alerts = pd.DataFrame(
        {"sensor": ["a", "a", "b"], "start": hours, "stop": hours + pd.Timedelta(hours=1),
         "under": ["champion", "both", "candidate"], "answer": ["false", "true", ""]}
    )  # fmt: skip

    figures.changes(ax, alerts, sensors=["a", "b"], span=("2026-01-05T00:00Z", "2026-01-06T00:00Z"))

    beside = [(text.get_text(), text.get_ha(), text.xy[1]) for text in ax.texts]
    assert beside == [("false", "left", 0), ("true", "right", 0)]
    assert ax.texts[0].xy[0] == pytest.approx(days(alerts["stop"][:1])[0])
    assert ax.texts[1].xy[0] == pytest.approx(days(alerts["start"][1:2])[0])


@pytest.mark.parametrize("period_s", [0.0, float("nan")])
def test_a_period_that_is_none_is_refused(ax, period_s):
    readings = pd.DataFrame({"pump": ["a", "b"], "event_time": minutes("2026-01-05", 2)})

    with pytest.raises(FigureError, match=f"^the period is {period_s} s, expected > 0"):
        figures.completeness(ax, readings, sensor="pump", period_s=period_s)
