import pandas as pd
import pytest
from matplotlib.figure import Figure

from workbench import figures
from workbench.errors import FigureError


@pytest.fixture
def ax():
    return Figure(figsize=(9, 3)).subplots()


def written(ax):
    return [one.get_text() for one in ax.texts]


RUNS = pd.DataFrame(
    {
        "detector": ["knn", "knn", "pca", "pca", "pca"],
        "window": [5, 60, 5, 60, 60],
        "span_s": [60, 60, 60, 60, 120],
        "vus_pr": [0.25, 0.5, 0.125, 0.75, 0.25],
    }
)


def test_each_cell_is_the_mean_of_the_runs_with_its_two_parameters(ax):
    figures.parameter_map(ax, RUNS, x="window", y="detector", metric="vus_pr")

    assert ax.images[0].get_array().tolist() == [[0.25, 0.5], [0.125, 0.5]]
    assert written(ax) == ["0.25", "0.5", "0.125", "0.5"]
    assert [one.get_text() for one in ax.get_xticklabels()] == ["5", "60"]
    assert [one.get_text() for one in ax.get_yticklabels()] == ["knn", "pca"]
    assert ax.figure.axes[1].get_ylabel() == "vus_pr"


def test_a_pair_that_was_not_run_is_empty_and_says_so(ax):
    figures.parameter_map(ax, RUNS, x="span_s", y="detector", metric="vus_pr")

    assert written(ax) == ["0.375", "no run", "0.438", "0.25"]


def test_parameters_are_in_order_of_size_not_of_text(ax):
    runs = pd.DataFrame({"window": [100, 20, 3], "detector": "knn", "vus_pr": [0.1, 0.2, 0.3]})

    figures.parameter_map(ax, runs, x="window", y="detector", metric="vus_pr")

    assert [one.get_text() for one in ax.get_xticklabels()] == ["3", "20", "100"]


def test_a_misspelt_parameter_is_refused(ax):
    with pytest.raises(FigureError) as error:
        figures.parameter_map(ax, RUNS, x="windw", y="detector", metric="vus_pr")

    assert str(error.value) == (
        "the table has no column 'windw', it has detector, window, span_s, vus_pr\n"
        "  did you mean 'window'?"
    )
