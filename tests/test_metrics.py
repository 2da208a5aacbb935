"""One table says of each metric which way is better."""

import dataclasses
import json

import pytest

from workbench.errors import EvaluationError
from workbench.evaluation import EventReport, leaderboard, summary, swapped
from workbench.metrics import METRICS, direction
from workbench.runs.leaderboard import first_metric, ordered
from workbench.runs.store import Run
from workbench.stream.definition import requirements

FIGURES = ("delay_median_s", "vus_pr", "my_cost")


def rows():
    values = {"random": (9.0, 0.1, 3.0), "constant": (5.0, 0.2, 2.0), "knn": (1.0, 0.9, 1.0)}
    return [
        {"detector": name, "series": series, **dict(zip(FIGURES, figures, strict=True))}
        for name, figures in values.items()
        for series in ("a", "b")
    ]


def test_everything_that_the_gate_can_ask_for_is_in_the_table():
    assert [name for name in requirements.METRICS if name not in METRICS] == []


def test_every_figure_of_an_event_report_that_has_a_better_side_is_in_the_table():
    neither = {"alerts", "alerts_per_sensor_day", "events"}
    counts = {field.name for field in dataclasses.fields(EventReport)} - {"table", "sensor_days"}
    named = counts | {name for name, one in vars(EventReport).items() if isinstance(one, property)}

    unranked = {name for name in named if not direction(name)}

    assert unranked == neither | {"kinds", "delays_s", "time"}


@pytest.mark.parametrize("headline", ["vus_pr", "delay_median_s"])
def test_a_leaderboard_has_the_better_one_on_top_whichever_way_is_better(headline):
    board = leaderboard(rows(), headline=headline)

    assert board["detector"].tolist() == ["knn", "constant", "random"]
    assert board["wins"].tolist() == [2, 0, 0]


@pytest.mark.parametrize("headline", ["vus_pr", "delay_median_s"])
def test_a_setting_is_chosen_whichever_way_is_better(headline):
    assert swapped(rows(), headline=headline)["setting"].tolist() == ["knn", "knn"]


def test_nothing_is_ranked_by_a_figure_of_which_nobody_knows_the_better_side():
    with pytest.raises(EvaluationError) as error:
        leaderboard(rows(), headline="my_cost")
    assert str(error.value) == (
        "whether more or less of my_cost is better is not known\n"
        "  rank by a figure that workbench.metrics has"
    )
    with pytest.raises(EvaluationError, match="whether more or less of my_cost is better"):
        swapped(rows(), headline="my_cost")


def test_a_figure_that_is_not_in_the_table_is_summed_up_without_an_order():
    lines = summary(rows()).query("figure == 'my_cost'")

    assert lines["detector"].tolist() == ["constant", "knn", "random"]
    assert lines["wins"].tolist() == [0, 0, 0]


def runs_with(folder, *records):
    made = []
    for number, metrics in enumerate(records):
        (folder / str(number)).mkdir()
        (folder / str(number) / "metrics.json").write_text(json.dumps(metrics))
        (folder / str(number) / "params.json").write_text("{}")
        about = {"status": "complete", "notebook": "n.ipynb", "source": "-", "wall_s": 1.0}
        made.append(Run(folder / str(number), about))
    return made


def test_runs_stand_best_first_whichever_way_is_better_and_as_they_are_where_nobody_knows(tmp_path):
    runs = runs_with(tmp_path, {}, {"delay_s": 9.0, "my_cost": 5}, {"delay_s": 1.0, "my_cost": 7})

    assert [run.id for run in ordered(runs, "delay_s")] == ["2", "1", "0"]
    assert [run.id for run in ordered(runs, "my_cost")] == ["1", "2", "0"]


def test_runs_are_ranked_by_the_first_metric_that_can_be(tmp_path):
    assert first_metric(runs_with(tmp_path, {"my_cost": 1, "recall": 0.5})) == "recall"
