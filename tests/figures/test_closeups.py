"""An alert's close-up, judged by the artists drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.dates import num2date

from workbench import figures
from workbench.errors import FigureError

START = pd.Timestamp("2026-01-12T00:00:00Z")
CHANNELS = ["flow_l_min", "vibration_mm_s"]


@pytest.fixture
def stack():
    fig, axes = plt.subplots(2, 1, sharex=True)
    yield axes
    plt.close(fig)


@pytest.fixture
def frame():
    times = pd.Series(pd.date_range(START, periods=1000, freq="min"))
    return pd.DataFrame({"event_time": times, CHANNELS[0]: np.arange(1000.0), CHANNELS[1]: 1.0})


def drawn(ax, gid):
    return [line for line in ax.lines if line.get_gid() == gid]


def test_the_window_shown_is_the_last_readings_up_to_the_alerts_start(stack, frame):
    shuffled = frame.sample(frac=1, random_state=7)
    alert = pd.Series({"start": frame["event_time"][500]})

    figures.closeup(stack, shuffled, CHANNELS, alert=alert, window=8)

    (window,) = drawn(stack[0], "window")
    assert window.get_ydata().tolist() == list(range(493, 501))
    (line,) = drawn(stack[0], "alert")
    assert pd.Timestamp(num2date(line.get_xdata()[0])).round("ms") == alert["start"]
    assert stack[0].lines[-1].get_ydata().tolist() == list(range(441, 561))


def test_normal_windows_lie_under_the_alerts_window_channel_by_channel(stack, frame):
    normal = np.stack([np.full((8, 2), (3.0, 4.0)), np.full((8, 2), (5.0, 6.0))])

    figures.closeup(
        stack, frame, CHANNELS, alert=frame.iloc[500].rename({"event_time": "start"}), window=8,
        normal=normal,
    )  # fmt: skip

    assert [line.get_ydata()[0] for line in drawn(stack[0], "normal")] == [3.0, 5.0]
    assert [line.get_ydata()[0] for line in drawn(stack[1], "normal")] == [4.0, 6.0]
    (window,) = drawn(stack[1], "window")
    assert drawn(stack[1], "normal")[0].get_xdata().tolist() == window.get_xdata().tolist()


def test_no_normal_window_is_cut_off_where_it_lies_far_from_the_alerts(stack, frame):
    labels = pd.DataFrame({"start": [START], "stop": [START + pd.Timedelta(days=1)]})

    figures.closeup(
        stack, frame, CHANNELS, alert=frame.iloc[500].rename({"event_time": "start"}), window=8,
        normal=np.full((1, 8, 2), 5000.0), labels=labels,
    )  # fmt: skip

    assert [ax.get_ylim()[1] > 5000 for ax in stack] == [True, True]


def test_the_nearest_windows_are_near_in_every_channel_by_its_own_spread():
    rng = np.random.default_rng(7)
    windows = rng.normal(size=(200, 8, 2)) * [1000.0, 0.001]

    nearest = figures.nearest_windows(windows, windows[42] + [10.0, 0.00001], count=3)

    assert nearest.shape == (3, 8, 2)
    np.testing.assert_array_equal(nearest[0], windows[42])


def test_a_close_up_before_any_reading_is_refused(stack, frame):
    with pytest.raises(FigureError) as refused:
        figures.closeup(
            stack,
            frame,
            CHANNELS,
            alert=pd.Series({"start": START - pd.Timedelta(days=1)}),
            window=8,
        )

    assert str(refused.value) == (
        "no reading lies at or before the alert's start, 2026-01-11 00:00:00+00:00"
    )


def test_normal_windows_of_another_shape_are_refused(stack, frame):
    with pytest.raises(FigureError) as refused:
        figures.closeup(
            stack, frame, CHANNELS, alert=pd.Series({"start": START}), window=8,
            normal=np.zeros((3, 7, 2)),
        )  # fmt: skip

    assert str(refused.value) == "the normal windows have shape (3, 7, 2), not (k, 8, 2)"
