import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from workbench import figures
from workbench.figures.style import ALARM, DATA, LABEL, NORMAL, SCORE, days, time_axis

# Machado et al. (2009), severity 1: what linear red, green and blue become
BLINDNESS = {
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("flow_l_min", "flow, l/min"),
        ("discharge_pressure_bar", "discharge pressure, bar"),
        ("motor_current_a", "motor current, A"),
        ("vibration_mm_s", "vibration, mm/s"),
        ("bearing_temperature_c", "bearing temperature, °C"),
        ("delay_median_s", "delay median, s"),
        ("channel_a", "channel_a"),
        ("valve_c", "valve_c"),
        ("temperature", "temperature"),
        ("bar", "bar"),
        ("vus_pr", "vus_pr"),
        ("_bar", "_bar"),
        ("", ""),
    ],
)
def test_an_axis_has_the_unit_that_the_field_name_says_and_never_a_guess(field, says):
    assert figures.label(field) == says


def test_the_style_is_one_that_matplotlib_takes_without_a_warning():
    with plt.style.context(figures.STYLE):
        assert plt.rcParams["figure.figsize"] == [9.0, 3.0]


@pytest.mark.parametrize("matrix", BLINDNESS.values(), ids=BLINDNESS)
def test_the_colours_stay_apart_for_the_colour_blind(matrix):
    colours = [
        np.array(to_rgb(one)) @ np.array(matrix).T for one in (DATA, SCORE, ALARM, LABEL, NORMAL)
    ]

    apart = [np.linalg.norm(a - b) for i, a in enumerate(colours) for b in colours[:i]]

    assert min(apart) > 0.2  # of 1.7, black to white


def test_times_of_another_zone_are_drawn_in_utc():
    berlin = pd.Series(pd.to_datetime(["2026-01-12T01:00:00+01:00"]))

    assert days(berlin).tolist() == [20465.0]  # 2026-01-12T00:00:00Z


@pytest.mark.parametrize(
    ("start", "stop", "first", "corner"),
    [
        ("2026-01-12T00:00Z", "2026-01-19T00:00Z", "12 Jan", "2026"),
        ("2026-01-12T17:00Z", "2026-01-12T19:00Z", "17:00", "12 Jan 2026"),
        ("2026-01-12T00:00Z", "2026-05-19T00:00Z", "Feb", "2026"),
    ],
)
def test_the_time_axis_names_the_day_and_the_year_whatever_the_span(start, stop, first, corner):
    figure = Figure(figsize=(9, 3))
    ax = figure.subplots()

    time_axis(ax, *days([pd.Timestamp(start), pd.Timestamp(stop)]))
    figure.draw_without_rendering()

    shown = [one.get_text() for one in ax.get_xticklabels()]
    assert first in shown
    assert ax.xaxis.get_offset_text().get_text() == corner


@pytest.mark.parametrize("width_in", [4.2, 6, 9])
def test_dates_do_not_overlap_on_a_phone_nor_in_a_notebook(width_in):
    figure = Figure(figsize=(width_in, 3))
    ax = figure.subplots()

    time_axis(ax, *days([pd.Timestamp("2026-01-05T00:00Z"), pd.Timestamp("2026-01-19T00:00Z")]))
    figure.draw_without_rendering()

    boxes = [one.get_window_extent() for one in ax.get_xticklabels()]
    assert len(boxes) >= 2
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


@pytest.mark.parametrize("width_in", [2, 4.2, 9])
def test_every_span_from_a_second_to_ten_years_has_dates(width_in):
    figure = Figure(figsize=(width_in, 3))
    ax = figure.subplots()
    for span in np.geomspace(1 / 86_400, 3652, 40):
        time_axis(ax, 20465.1, 20465.1 + span)

        assert len(ax.get_xticks()) >= 1
