import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from workbench import figures
from workbench.evaluation import event_report


@pytest.fixture
def ax():
    return Figure(figsize=(9, 3)).subplots()


def texts(ax):
    return [one.get_text() for one in ax.texts]


def at(text):
    return pd.Timestamp(f"2026-01-{text}Z")


@pytest.fixture
def report():
    labels = pd.DataFrame(
        {
            "sensor": ["pump-1", "pump-2", "pump-1"],
            "start": [at("12T00:00"), at("13T00:00"), at("14T00:00")],
            "stop": [at("12T10:00"), at("13T05:00"), at("14T06:00")],
            "kind": ["leak", "stuck_sensor", "leak"],
        }
    )
    alerts = pd.DataFrame(
        {"sensor": ["pump-1", "pump-1"], "start": [at("12T03:00"), at("14T00:30")]}
    )
    span = (at("12T00:00"), at("15T00:00"))
    return event_report(alerts, labels, span=span, sensors=["pump-1", "pump-2"])


def test_each_event_has_its_delay_and_a_missed_one_is_named(ax, report):
    figures.delays(ax, report)

    named = [one.get_text() for one in ax.get_yticklabels()]
    assert dict(zip(named, texts(ax), strict=True)) == {
        "leak · pump-1 · 14 Jan 00:00": "30 min",
        "leak · pump-1 · 12 Jan 00:00": "3.0 h",
        "stuck sensor · pump-2 · 13 Jan 00:00": "missed",
    }
    assert ax.lines[0].get_xdata().tolist() == [0.5, 3.0]


def test_an_events_bar_is_as_long_as_the_event(ax, report):
    figures.delays(ax, report)

    assert [bar.get_width() for bar in ax.patches] == [6.0, 10.0, 5.0]


def test_the_first_candidate_is_on_top_with_its_figure_and_interval(ax):
    table = pd.DataFrame(
        {
            "detector": ["knn", "pca", "random"],
            "vus_pr": [0.8731, 0.5, np.nan],
            "low": [0.7, 0.4, 0.2],
            "high": [0.95, 0.6, 0.3],
        }
    )

    figures.candidates(ax, table, metric="vus_pr", low="low", high="high")

    assert [one.get_text() for one in ax.get_yticklabels()] == ["knn", "pca", "random"]
    assert ax.yaxis_inverted()
    assert texts(ax) == ["0.873", "0.5", "no figure"]
    ends = [segment[:, 0].tolist() for segment in ax.collections[0].get_segments()]
    assert ends == [[0.7, 0.95], [0.4, 0.6], [0.2, 0.3]]


def test_floors_are_grey_and_detectors_are_not(ax):
    table = pd.DataFrame({"detector": ["knn", "constant"], "delay_median_s": [60.0, 0.0]})

    figures.candidates(ax, table, metric="delay_median_s")

    knn, floor = (bar.get_facecolor() for bar in ax.patches)
    assert floor[0] == floor[1] == floor[2]
    assert knn[2] > knn[0]
    assert ax.get_xlabel() == "delay median, s"


def test_no_candidate_has_a_bar_beyond_the_axis(ax):
    table = pd.DataFrame({"detector": ["a", "b"], "gain": [0.0, -4.0]})

    figures.candidates(ax, table, metric="gain")

    low, high = ax.get_xlim()
    assert low <= -4.0
    assert high > 0


def test_candidates_at_one_point_share_a_name_and_one_without_alerts_is_left_out(ax):
    table = pd.DataFrame(
        {
            "detector": ["knn", "pca", "ecod", "quiet"],
            "recall": [0.5, 0.5, 0.9, 0.0],
            "precision": [0.8, 0.8, 0.2, np.nan],
        }
    )

    figures.recall_precision(ax, table)

    assert texts(ax) == ["knn, pca", "ecod"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines] == [
        (0.5, 0.8),
        (0.9, 0.2),
    ]


def test_the_operating_point_lies_where_the_threshold_puts_it(ax):
    wrong = np.array([0, 0, 1, 1, 1, 0])
    scores = np.array([0.1, 0.6, 0.7, 0.9, np.nan, 0.2])

    figures.precision_recall(ax, wrong, scores, threshold=0.5)

    curve, chance, point = ax.lines
    assert point.get_xydata().tolist() == [[2 / 3, 2 / 3]]
    assert chance.get_ydata()[0] == 0.5
    assert curve.get_xydata()[0].tolist() == [1 / 3, 1.0]
    assert curve.get_xydata()[-1].tolist() == [1.0, 0.5]  # all, those without a score too
    assert texts(ax) == ["threshold 0.5"]


def test_a_threshold_above_every_score_has_no_operating_point(ax):
    figures.precision_recall(ax, np.array([0, 1]), np.array([0.1, 0.2]), threshold=3.0)

    assert len(ax.lines) == 2
