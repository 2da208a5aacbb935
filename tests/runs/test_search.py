"""Guided search: each trial is chosen by what earlier ones gave."""

import itertools
import json
from collections import Counter

import pytest

from workbench import runs
from workbench.errors import ParamsError
from workbench.runs.planning.specs import read_plans, read_sweeps
from workbench.runs.searching import explore

from .conftest import write_run

NEAR = """from workbench.runs import record
if window == 13:
    raise ValueError("unlucky")
record({"recall": 1 - abs(window - 420) / 1000 - len(sensor) / 10})"""
FILE = """notebook: notebooks/20_try.ipynb
search: {{trials: {trials}, metric: recall, seed: 3, window: {{min: 2, max: 1000}}, {more}}}
"""


def search(project, trials=12, more=""):
    return project.params(FILE.format(trials=trials, more=more))


@pytest.mark.notebook
def test_a_search_goes_on_where_it_was_and_its_report_says_what_mattered(project):
    project.notebook(NEAR)

    begun = runs.sweep([search(project, 4, "sensor: ['', abc]")], jobs=2)
    whole = runs.sweep([search(project, 6, "sensor: ['', abc]")], jobs=2)

    (about,) = whole.about["searches"]
    assert [run.id for run in whole.runs[: len(begun)]] == [run.id for run in begun]
    assert all(run.cached for run in whole.runs[: len(begun)])
    assert about["best"]["recall"] == max(run.metrics["recall"] for run in whole.runs)
    assert (
        "6 trials of params/20_try-a.yaml: 0 given up" in (whole.path / "report.html").read_text()
    )


@pytest.fixture
def execute(tmp_path):
    """Return what gives each plan a run in a store, whose recall is best near window 420."""
    numbers = itertools.count()

    def make(plans):
        made = []
        for plan in plans:
            given, number = plan.parameters, next(numbers)
            recall = 1 - abs(given["window"] - 420) / 1000 - len(given["sensor"]) / 10
            metrics = {} if given["window"] < 100 else {"recall": recall}
            made.append(write_run(tmp_path / "store", number, params=given, metrics=metrics))
        executed.extend(made)
        return made

    executed = make.runs = []
    return make


def asked(project, section):
    project.notebook(NEAR)
    text = f"notebook: notebooks/20_try.ipynb\nsearch: {{metric: recall, {section}}}\n"
    return read_sweeps(None, [project.params(text)])[1][0]


def test_later_trials_come_nearer_and_what_mattered_is_told(project, execute):
    section = "trials: 32, window: {min: 100, max: 1000}, sensor: ['', a]"

    about = explore(asked(project, section), execute)

    recalls = [run.metrics["recall"] for run in execute.runs]
    assert len(recalls) == 32
    assert sum(recalls[20:]) / 12 > sum(recalls[:10]) / 10 + 0.1
    assert about["best"]["recall"] == max(recalls) > 0.95
    assert about["best"]["sensor"] == ""
    assert sum(about["mattered"].values()) == pytest.approx(1)
    assert about["mattered"]["window"] > about["mattered"]["sensor"]


def test_rungs_give_up_what_is_not_among_the_better_third(project, execute):
    section = "trials: 24, window: {min: 100, max: 1000}, rungs: {sensor: [abc, ab, '']}"

    about = explore(asked(project, section), execute)

    steps = Counter(len(run.params["sensor"]) for run in execute.runs)
    assert steps[3] == about["trials"] == 24
    assert steps[3] - steps[0] == about["given_up"] > 12
    assert steps[0] > 1
    first = [len(run.params["sensor"]) for run in execute.runs][:7]
    assert first[:4] == [3] * 4
    assert first[4:].count(2) < 3  # of the first four, too
    assert about["best"]["recall"] == max(run.metrics["recall"] for run in execute.runs)


@pytest.mark.parametrize("least", [2e-16, float("inf"), 1e300])
def test_a_search_ends_well_where_hardly_anything_differs(project, tmp_path, least):
    numbers = itertools.count()

    def execute(plans):
        made = []
        for plan in plans:
            number, given = next(numbers), plan.parameters
            recall = 0.9 + (least if number % 2 else 0)
            made.append(
                write_run(tmp_path / "store", number, params=given, metrics={"recall": recall})
            )
        return made

    about = explore(asked(project, "trials: 8, window: {min: 2, max: 9}, sensor: [a, b]"), execute)

    assert about["trials"] == 8
    assert about["best"]["recall"] >= 0.9
    assert sum(about["mattered"].values()) == pytest.approx(1) or about["mattered"] == {}


def test_a_trial_without_the_metric_says_nothing_and_is_counted(project, execute):
    about = explore(asked(project, "trials: 12, window: [50, 60, 300]"), execute)

    assert 0 < about["failed"] < 12
    assert about["best"] == {"recall": pytest.approx(0.88), "window": 300}
    assert explore(asked(project, "trials: 4, window: [50]"), execute)["best"] is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("search: {trials: 0, metric: recall, window: [1]}", "trials is 0, expected a count"),
        ("search: {trials: 4, window: [1]}", "metric is None, expected one of which is known"),
        ("search: {trials: 4, metric: odd, window: [1]}", "metric is 'odd', expected one of which"),
        ("search: {trials: 4, metric: f1, window: {min: 5}}", "window is {'min': 5}, expected"),
        ("search: {trials: 4, metric: f1, windw: [5]}", "windw"),
        ("search: {trials: 4, metric: f1, window: [5, 1001]}", "1001"),
        ("search: {trials: 4, metric: f1, window: [5], rungs: [1]}", "rungs is [1], expected"),
        ("search: {trials: 4, metric: f1, window: [5], rungs: {sensor: [1]}}", "sensor"),
        (
            "search: {trials: 4, metric: f1, window: [5], rungs: {window: [7]}}",
            "window and window are set one over the other",
        ),
        (
            "search: {trials: 4, metric: f1, sensor: [a]}\nrepeat: {sensor: [b]}",
            "sensor and sensor are set one over the other",
        ),
        ("search: {trials: 4, metric: f1, window: [5]}\ngrid: {sensor: [a]}", "grid beside search"),
    ],
)
def test_a_search_that_cannot_be_made_is_refused_before_a_kernel_starts(project, text, said):
    project.notebook(NEAR)
    file = project.params(f"notebook: notebooks/20_try.ipynb\n{text}\n")

    with pytest.raises(ParamsError) as error:
        read_sweeps(None, [file])

    assert said in str(error.value)
    assert "20_try-a.yaml" in str(error.value)


def test_what_is_one_run_is_no_search(project):
    project.notebook(NEAR)

    with pytest.raises(ParamsError, match="this is a search"):
        read_plans(None, [search(project)])


def test_each_trial_is_repeated_and_a_mapping_may_be_a_value(project):
    parameters = (
        "window: int = 60  # w [2..1000]\nsensor: str = ''  # which\ndetector: dict = {}  # what"
    )
    project.notebook(NEAR, parameters=parameters)
    file = project.params(
        "notebook: notebooks/20_try.ipynb\nbase: {window: 5}\nrepeat: {sensor: [a, b]}\n"
        "search: {trials: 4, metric: f1, detector: [{name: knn}, {name: pca}]}\n"
    )

    plans, (asked,) = read_sweeps(None, [file])
    made = asked.plans({"detector": {"name": "pca"}})

    assert not plans
    assert asked.most_runs == 8
    assert [plan.parameters["sensor"] for plan in made] == ["a", "b"]
    assert {json.dumps(plan.parameters["detector"]) for plan in made} == {'{"name": "pca"}'}
    assert made[0].repeated == ("sensor",)
