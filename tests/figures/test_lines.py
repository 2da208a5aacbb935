"""Readings, scores and marks over event time, judged by the artists drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.dates import num2date

from workbench import figures
from workbench.detectors import Detection
from workbench.errors import FigureError
from workbench.figures.envelope import envelope

START = pd.Timestamp("2026-01-12T00:00:00Z")
DAY = pd.Timedelta(days=1)


@pytest.fixture
def ax():
    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)


@pytest.fixture
def stack():
    fig, axes = plt.subplots(2, 1, sharex=True)
    yield axes
    plt.close(fig)


def minutes(count):
    return pd.Series(pd.date_range(START, periods=count, freq="min"))


def one_label(**changes):
    start = START + pd.Timedelta(hours=6)
    label = {"sensor": "pump-1", "start": start, "stop": start + pd.Timedelta(hours=3)}
    label |= {"kind": "bearing_wear", "channels": ("flow_l_min",)} | changes
    return pd.DataFrame([label])


def spans(ax, gid):
    """Return where the shades of one kind begin and end, UTC."""
    boxes = [patch.get_extents().transformed(ax.transData.inverted()) for patch in ax.patches]
    found = [box for box, patch in zip(boxes, ax.patches, strict=True) if patch.get_gid() == gid]
    return [tuple(pd.Timestamp(num2date(x)).round("ms") for x in (b.x0, b.x1)) for b in found]


def test_a_spike_of_one_reading_in_a_year_of_minutes_is_drawn(ax):
    values = np.sin(np.arange(500_000) / 700)
    values[123_456] = 40.0
    values[123_457] = -40.0

    figures.series(ax, minutes(500_000), values, name="flow_l_min")

    drawn = ax.lines[0].get_ydata()
    assert len(drawn) <= 8000
    assert drawn.max() == 40.0
    assert drawn.min() == -40.0
    spike = ax.lines[0].get_xdata()[drawn == 40.0][0]
    assert pd.Timestamp(num2date(spike)).round("ms") == START + pd.Timedelta(minutes=123_456)


def test_a_thinned_line_keeps_the_ends_and_extremes_of_every_column():
    rng = np.random.default_rng(7)
    times, values = np.arange(20_000) + rng.uniform(0, 1, 20_000), rng.normal(size=20_000)

    drawn_times, drawn = envelope(times, values, columns=50)

    column = np.minimum(((times - times[0]) / (times[-1] - times[0]) * 50).astype(int), 49)
    kept = np.minimum(((drawn_times - times[0]) / (times[-1] - times[0]) * 50).astype(int), 49)
    for one in range(50):
        own, thin = values[column == one], drawn[kept == one]
        assert (thin[0], thin.min(), thin.max(), thin[-1]) == (
            own[0],
            own.min(),
            own.max(),
            own[-1],
        )


def test_a_line_is_not_drawn_across_an_hour_without_readings_but_across_one_lost_reading(ax):
    times = minutes(180).drop(index=[30, *range(60, 120)])

    figures.series(ax, times, np.ones(len(times)), name="flow_l_min")

    at, drawn = ax.lines[0].get_data()
    assert np.isnan(drawn).sum() == 1
    broken = pd.Timestamp(num2date(at[np.isnan(drawn)][0])).round("ms")
    assert broken == START + pd.Timedelta(minutes=120)


def test_a_reading_between_two_gaps_is_a_dot(ax):
    times = minutes(300).iloc[[*range(60), 150, *range(240, 300)]]

    figures.series(ax, times, np.arange(121.0), name="flow_l_min")

    assert ax.lines[1].get_marker() == "."
    assert ax.lines[1].get_ydata().tolist() == [60.0]


def test_readings_that_came_out_of_order_are_drawn_in_order(ax):
    figures.series(ax, minutes(4).iloc[[0, 2, 1, 3]], [0.0, 2.0, 1.0, 3.0], name="flow_l_min")

    assert ax.lines[0].get_ydata().tolist() == [0.0, 1.0, 2.0, 3.0]


def test_nothing_to_draw_is_an_empty_figure(ax):
    figures.series(ax, minutes(0), [], name="flow_l_min", labels=one_label())

    assert len(ax.lines[0].get_xdata()) == 0


def test_a_label_is_shaded_from_its_start_to_its_stop_to_the_minute(ax):
    figures.series(ax, minutes(1440), np.ones(1440), name="flow_l_min", labels=one_label())

    start = START + pd.Timedelta(hours=6)
    assert spans(ax, "label") == [(start, start + pd.Timedelta(hours=3))]
    assert [text.get_text() for text in ax.texts] == ["bearing wear"]


def test_a_label_does_not_move_by_the_readers_time_zone(ax):
    there = one_label()
    for end in ("start", "stop"):
        there[end] = there[end].dt.tz_convert("Asia/Kolkata")
    with plt.rc_context({"timezone": "Asia/Kolkata"}):
        figures.series(
            ax,
            minutes(1440).dt.tz_convert("America/New_York"),
            np.ones(1440),
            name="flow_l_min",
            labels=there,
        )
        ax.get_figure().canvas.draw()
        ticks = [text.get_text() for text in ax.get_xticklabels()]

    assert spans(ax, "label")[0][0] == START + pd.Timedelta(hours=6)
    assert "12:00" in ticks
    assert ax.get_xlabel() == "event time, UTC"


def test_a_label_outside_the_readings_neither_shows_nor_widens_the_axis(ax):
    far = one_label(start=START + 30 * DAY, stop=START + 31 * DAY)

    figures.series(ax, minutes(1440), np.ones(1440), name="flow_l_min", labels=far)

    assert spans(ax, "label") == []
    assert pd.Timestamp(num2date(ax.get_xlim()[1])) < START + DAY


def test_a_label_is_shaded_in_the_channel_it_names_and_outlined_in_the_others(stack):
    frame = pd.DataFrame({"event_time": minutes(1440), "flow_l_min": 1.0, "vibration_mm_s": 2.0})

    figures.channels(stack, frame, ["flow_l_min", "vibration_mm_s"], labels=one_label())

    assert [len(spans(ax, "label")) for ax in stack] == [1, 0]
    assert [len(spans(ax, "label elsewhere")) for ax in stack] == [0, 1]


def test_every_channel_has_its_own_unit_and_the_guilty_one_is_red(stack):
    frame = pd.DataFrame({"event_time": minutes(60), "flow_l_min": 1.0, "vibration_mm_s": 2.0})

    figures.channels(stack, frame, ["flow_l_min", "vibration_mm_s"], guilty=["vibration_mm_s"])

    assert [ax.get_ylabel() for ax in stack] == ["flow, l/min", "vibration, mm/s"]
    assert [ax.yaxis.label.get_color() == figures.ALARM for ax in stack] == [False, True]
    assert [ax.get_xlabel() for ax in stack] == ["", "event time, UTC"]


def test_an_alert_is_flagged_where_it_starts_with_a_bar_until_it_stops(ax):
    alerts = pd.DataFrame({"start": [START + DAY / 4], "stop": [START + DAY / 2]})

    figures.scores(ax, minutes(1440), np.ones(1440), 0.5, alerts=alerts)

    (flag,) = [line for line in ax.lines if line.get_gid() == "alerts"]
    assert pd.Timestamp(num2date(flag.get_xdata()[0])).round("ms") == START + DAY / 4
    (bar,) = ax.collections[0].get_segments()
    ends = [pd.Timestamp(num2date(x)).round("ms") for x in bar[:, 0]]
    assert ends == [START + DAY / 4, START + DAY / 2]


def test_the_threshold_and_its_uncertainty_stand_where_they_are(ax):
    figures.scores(ax, minutes(60), np.linspace(0, 9, 60), 4.25, uncertainty=(4.0, 4.5))

    assert list(ax.lines[1].get_ydata()) == [4.25, 4.25]
    assert ax.texts[0].get_text() == "4.25"
    (band,) = [patch for patch in ax.patches if patch.get_gid() == "uncertainty"]
    assert (band.get_extents().transformed(ax.transData.inverted()).y0).round(9) == 4.0


def test_a_reading_without_a_score_breaks_no_alert_and_draws_nothing(ax):
    figures.scores(ax, minutes(4), [np.nan, 1.0, np.nan, 2.0], 0.5)

    assert ax.lines[0].get_ydata().tolist() == [1.0, 2.0]


def test_a_stack_of_scores_has_one_scale_and_each_sensor_its_own_marks(stack):
    readings = pd.DataFrame({"key": ["pump-1"] * 60 + ["pump-2"] * 60})
    readings["event_time"] = pd.concat([minutes(60), minutes(60)], ignore_index=True)
    scores = np.concatenate([np.full(60, 1.0), np.full(60, 9.0)])
    alerts = pd.DataFrame({"sensor": ["pump-2"], "start": [START], "stop": [START + DAY / 48]})
    labels = one_label(start=START, stop=START + DAY / 48)

    figures.score_stack(
        stack,
        readings,
        Detection(scores, np.zeros(120, dtype=bool), alerts),
        5.0,
        labels,
        sensors=["pump-1", "pump-2"],
    )

    assert [len(spans(ax, "label")) for ax in stack] == [1, 0]
    flags = [[line for line in ax.lines if line.get_gid() == "alerts"] for ax in stack]
    assert [len(one) for one in flags] == [0, 1]
    assert stack[0].get_ylim() == stack[1].get_ylim()
    assert [ax.get_ylabel() for ax in stack] == ["pump-1, score", "pump-2, score"]


@pytest.mark.parametrize("what", ["labels", "alerts"])
def test_marks_of_several_sensors_are_refused_on_the_axes_of_one(ax, what):
    rows = pd.concat([one_label(), one_label(sensor="pump-2")])

    with pytest.raises(FigureError) as refused:
        figures.series(ax, minutes(60), np.ones(60), name="flow_l_min", **{what: rows})

    assert str(refused.value) == (
        f"the {what} are of 2 sensors (pump-1, pump-2), the axes show one\n"
        f"  pass {what}[{what}['sensor'] == 'pump-1']"
    )


def test_a_misspelt_channel_is_answered_with_the_nearest(stack):
    frame = pd.DataFrame({"event_time": minutes(60), "flow_l_min": 1.0})

    with pytest.raises(FigureError) as refused:
        figures.channels(stack, frame, ["flow_l_min", "flow_l_mn"])

    assert str(refused.value) == (
        "the frame has no column 'flow_l_mn', it has event_time, flow_l_min\n"
        "  did you mean 'flow_l_min'?"
    )


def test_more_axes_than_channels_are_refused(stack):
    with pytest.raises(FigureError) as refused:
        figures.channels(stack, pd.DataFrame(), ["flow_l_min"])

    assert str(refused.value) == "2 axes for 1 channels\n  plt.subplots(1, sharex=True)"


def test_the_power_of_ten_of_large_values_stands_clear_of_the_name(ax):
    times = pd.date_range("2026-01-05", periods=50, freq="h", tz="UTC")

    figures.series(ax, times, np.linspace(1e7, 9e7, 50), name="bytes")

    ax.figure.canvas.draw()
    power, name = (one.get_window_extent() for one in (ax.yaxis.offsetText, ax.yaxis.label))
    assert ax.yaxis.offsetText.get_text()
    assert not power.overlaps(name)
