"""Every notebook runs from top to bottom with small parameters, and its numbers are right.

They run one after another in a store of their own, as a person would: look, prototype, train,
compare, promote, monitor. Each test asserts what its notebook recorded.
"""

import json
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from workbench import runs
from workbench.cli.evaluation import benchmark
from workbench.errors import RunError

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHANNELS = ["flow_l_min", "discharge_pressure_bar", "motor_current_a"]
DAYS = {
    "train_start": "2026-01-09T00:00:00Z",
    "train_stop": "2026-01-11T00:00:00Z",
    "threshold_stop": "2026-01-12T00:00:00Z",
    "stop": "2026-01-14T00:00:00Z",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store of runs and one of promotions, both away from the user's."""
    folder = tmp_path_factory.mktemp("tour")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_STORE", str(folder / "store"))
        patch.chdir(ROOT)
        yield folder / "runs"


@pytest.fixture(scope="module")
def trained(store):
    specs = {
        "knn": {"name": "knn", "window": 5, "channels": CHANNELS, "max_span_s": 900},
        "robust_z": {"name": "robust_z", "window": 1, "channels": CHANNELS},
    }
    return {
        name: runs.train("notebooks/20_train.ipynb", {"detector": spec, **DAYS}, store=store)
        for name, spec in specs.items()
    }


@pytest.fixture(scope="module")
def promoted(store, trained):
    params = {
        "run": trained["knn"].id,
        "store": str(store),
        "start": "2026-01-12T00:00:00Z",
        "stop": "2026-01-13T00:00:00Z",
    }
    return runs.train("notebooks/40_promote.ipynb", params, store=store)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs_functions_or_paths(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None
            assert not any(line.startswith(("def ", "class ")) for line in cell.source.splitlines())


@pytest.mark.parametrize("path", sorted((ROOT / "params").glob("2*.yaml")), ids=lambda p: p.stem)
def test_a_params_file_names_its_notebook_and_a_known_detector(path):
    from workbench import detectors

    content = yaml.safe_load(path.read_text())

    assert (ROOT / content["notebook"]).is_file()
    assert detectors.resolve(content["detector"])["channels"]


@pytest.mark.notebook
def test_look_counts_what_arrived(store):
    params = {"start": "2026-01-05T00:00:00Z", "stop": "2026-01-06T00:00:00Z"}

    run = runs.train("notebooks/00_look.ipynb", params, store=store)

    counts = {"readings": 8534, "sensors": 6, "late": 23, "missing_values": 20, "steps_back": 23}
    counts["odd_times"] = 0
    assert run.metrics == counts | {"longest_gap_s": 2040.0, "longest_run": 5}


@pytest.mark.notebook
def test_prototype_shows_how_each_idea_fails(store):
    metrics = runs.train("notebooks/10_prototype.ipynb", {}, store=store).metrics

    assert metrics["events"] == 6
    assert [metrics[f"found_{name}"] for name in ("level", "change", "relation")] == [4, 3, 6]
    assert [metrics[f"false_alerts_{name}"] for name in ("level", "change", "relation")] == [
        1,
        6,
        7,
    ]
    assert metrics["delay_median_s_level"] > 10 * metrics["delay_median_s_relation"]
    assert metrics["change_false_after_a_fault"] == 5  # what ends is a step, too
    assert metrics["false_in_the_morning"] == 5  # a bearing warms up later than the load
    assert metrics["morning_without_bearing_temperature_c"] <= 1


@pytest.mark.notebook
def test_training_keeps_a_package_and_how_good_it_is(trained):
    run = trained["knn"]

    assert (run.package / "detector.json").is_file()
    assert (run.metrics["found"], run.metrics["events"]) == (2, 3)
    assert (run.metrics["alerts"], run.metrics["false_alerts"]) == (10, 0)
    assert run.metrics["threshold"] == pytest.approx(1.26826, abs=1e-5)
    assert run.metrics["delay_median_s"] == pytest.approx(3247.5)
    assert run.metrics["vus_pr"] > trained["robust_z"].metrics["vus_pr"] > 0


@pytest.mark.notebook
def test_compare_names_the_better_candidate(store, trained):
    params = {"candidates": [run.id for run in trained.values()], "store": str(store)}

    run = runs.train("notebooks/30_compare.ipynb", params, store=store)

    assert run.metrics["chosen_run"] == trained["knn"].id
    assert (run.metrics["candidates"], run.metrics["f1"]) == (2, 0.8)


@pytest.fixture
def machines(pulsar, tmp_path):
    """An archive of two machines with three tags, a reading a minute for four days."""
    random, entries = np.random.default_rng(7), []
    for minute, load in enumerate(np.sin(np.arange(4 * 1440) / 200)):
        for machine in ("m-1", "m-2"):
            tags = load + random.normal(0, 0.1, 3)
            value = {"machine": machine, **{f"tag_{i}": round(x, 3) for i, x in enumerate(tags)}}
            ms = 1_767_571_200_000 + 60_000 * minute
            raw = json.dumps(value).encode()
            entries.append(pulsar.entry(raw, (12, ms), publish_ms=ms + 500))
    pulsar.ledger(tmp_path, entries)
    return {"archive": str(tmp_path), "topic": "t"}


@pytest.mark.notebook
def test_any_topic_goes_through_the_tour_by_its_params_alone_and_without_labels(store, machines):
    tags = [f"tag_{i}" for i in range(3)]
    stops = {"train_stop": "2026-01-07T00:00:00Z", "stop": "2026-01-09T00:00:00Z"}
    spans = {"train_start": "", **stops}
    given = {**machines, "sensor": "machine", "labels": ""}

    def run(name, **params):
        return runs.train(f"notebooks/{name}.ipynb", params, store=store).metrics

    look = run("00_look", **given, channels=[], shown="")
    prototype = run("10_prototype", **given, **spans, channels=tags, shown="")
    spec = {"name": "robust_z", "window": 1, "channels": tags}
    between = {"threshold_stop": "2026-01-08T00:00:00Z"}
    trained = run("20_train", **given, **spans, **between, detector=spec)
    compared = run("30_compare", topic="t", store=str(store))

    assert (look["readings"], look["sensors"], look["late"]) == (11_520, 2, 0)
    assert prototype["events"] == 0
    assert trained["alerts"] is not None
    assert [trained[name] for name in ("f1", "false_alerts", "recall", "vus_pr")] == [None] * 4
    assert (compared["candidates"], compared["f1"]) == (1, None)


@pytest.mark.notebook
@pytest.mark.flink
def test_promote_proves_parity(promoted, trained):
    assert promoted.metrics["differing_alerts"] == 0
    assert promoted.metrics["largest_difference"] <= 1e-9
    assert promoted.metrics["readings_compared"] == 8594
    assert promoted.metrics["late_readings"] == 20


@pytest.mark.notebook
@pytest.mark.flink
def test_monitor_sees_the_same_alerts_as_the_notebook(store, promoted):
    params = {
        "package": promoted.metrics["package"],
        "start": "2026-01-16T00:00:00Z",
        "stop": "2026-01-17T00:00:00Z",
    }

    run = runs.train("notebooks/50_monitor.ipynb", params, store=store)

    assert run.metrics["differing_alerts"] == 0
    assert run.metrics["live_alerts"] == 0  # nothing was followed
    assert (run.metrics["found"], run.metrics["events"]) == (1, 2)
    assert (run.metrics["alerts"], run.metrics["false_alerts"]) == (8, 0)  # 7 in earlier events
    assert run.metrics["late_readings"] == 36
    assert run.metrics["readings_per_s"] > 0


@pytest.mark.notebook
def test_leaderboard_ranks_a_detector_above_the_floors(store):
    from workbench import evaluation

    if not evaluation.nab_folder().is_dir():
        pytest.skip(f"NAB is not at {evaluation.nab_folder()}: set WORKBENCH_NAB")

    params = {"every": 19, "alternatives": {"8": {"window": 8}}}

    run = runs.train("notebooks/60_leaderboard.ipynb", params, store=store)

    assert run.metrics["series"] == 3
    assert run.metrics["vus_pr"] > 1.5 * run.metrics["vus_pr_random"]
    assert run.metrics["vus_pr_low"] <= run.metrics["vus_pr"] <= run.metrics["vus_pr_high"]
    assert run.metrics["nab_low_fn"] > 0
    assert run.metrics["nab_standard_low"] <= run.metrics["nab_standard"]
    assert run.metrics["nab_standard"] <= run.metrics["nab_standard_high"]


@pytest.mark.notebook
def test_a_benchmark_of_own_sets_is_a_page_that_says_who_is_refused(store, tmp_path):
    rng = np.random.default_rng(2)
    times = pd.date_range("2026-01-05", periods=800, freq="min", tz="UTC")
    lines = ["sensor,start,stop"]
    for name in ("m1", "m2"):
        wave = np.sin(np.arange(800) / 9) + 0.1 * rng.normal(size=800)
        wave[600:620] += 2
        pd.DataFrame({"event_time": times, "a": wave, "b": rng.normal(size=800)}).to_csv(
            tmp_path / f"{name}.csv", index=False
        )
        lines.append(f"{name},{times[600].isoformat()},{times[620].isoformat()}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "m3.csv").write_text("a,b\n1,2\n")
    spec = tmp_path / "near.yaml"
    spec.write_text("detector: {name: knn, window: 4}\n")
    asked = [str(tmp_path), "--spec", str(spec), "--report", "--json", "--store", str(store)]

    result = CliRunner().invoke(benchmark, asked)

    assert result.exit_code == 1, result.output
    figures = json.loads(result.stdout)
    assert (figures["series"], figures["refused"], figures["quiet"]) == (2, 1, 0)
    assert figures["vus_pr"] > 2 * figures["vus_pr_random"]
    page = Path(figures["report"]).read_text()
    assert "m3.csv" in page
    assert "windowed_pca" in page


@pytest.mark.notebook
def test_plain_ideas_find_the_failures_of_a_real_machine(store):
    from workbench import evaluation

    if not evaluation.nab_folder().is_dir():
        pytest.skip(f"NAB is not at {evaluation.nab_folder()}: set WORKBENCH_NAB")

    metrics = runs.train("notebooks/70_machine_temperature.ipynb", {}, store=store).metrics

    assert metrics["readings"] == 22_695
    assert [metrics[f"found_{name}"] for name in ("level", "change", "shape")] == [4, 2, 4]
    assert [metrics[f"false_alerts_{name}"] for name in ("level", "change", "shape")] == [5, 8, 4]
    assert metrics["best"] == "level"
    assert metrics["vus_pr_level"] == pytest.approx(0.618, abs=0.001)


@pytest.mark.notebook
def test_where_nab_is_not_the_notebook_says_so(store, tmp_path):
    params = {"nab": str(tmp_path)}

    with pytest.raises(RunError) as refused:
        runs.train("notebooks/70_machine_temperature.ipynb", params, store=store)

    assert "there are no NAB labels" in str(refused.value)
