import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest

from workbench.errors import EvaluationError
from workbench.evaluation import auc_pr, period, vus_pr

HERE = Path(__file__).parent
RECORDED = json.loads((HERE / "tsb_ad.json").read_text())
NAB = Path(os.environ.get("WORKBENCH_NAB", HERE.parents[2] / "shared" / "data" / "nab"))
needs_nab = pytest.mark.skipif(not NAB.is_dir(), reason=f"NAB is not at {NAB}: set WORKBENCH_NAB")


def recorder():
    spec = importlib.util.spec_from_file_location("record_tsb_ad", HERE / "record_tsb_ad.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_nab
@pytest.mark.parametrize("name", RECORDED["series"])
def test_figures_on_real_series_equal_those_of_tsb_ad(name):
    record = recorder()
    frame = record.nab_series(NAB, name)
    values = frame["value"].to_numpy(dtype=float)
    labels = record.nab_labels(NAB, name, frame["timestamp"])
    expected = RECORDED["series"][name]
    assert period(values) == expected["period"]
    for method in record.METHODS:
        scores = record.scores_of(values, method)
        volume = vus_pr(labels, scores, buffer=expected["period"])
        assert volume == pytest.approx(expected[method]["vus_pr"], abs=1e-6)
        assert auc_pr(labels, scores) == pytest.approx(expected[method]["auc_pr"], abs=1e-6)


@pytest.mark.parametrize("seed", RECORDED["twins"])
def test_figures_on_awkward_labels_equal_those_of_tsb_ad(seed):
    labels, scores, buffer = recorder().twin(int(seed))
    expected = RECORDED["twins"][seed]
    assert vus_pr(labels, scores, buffer=buffer) == pytest.approx(expected["vus_pr"], abs=1e-6)
    assert auc_pr(labels, scores) == pytest.approx(expected["auc_pr"], abs=1e-6)


def test_scores_that_are_the_labels_are_perfect_without_a_buffer():
    labels = np.zeros(500, dtype=bool)
    labels[200:260] = True
    assert vus_pr(labels, labels, buffer=0) == pytest.approx(1.0)
    assert auc_pr(labels, labels) == pytest.approx(1.0)


def test_only_the_order_of_scores_counts():
    rng = np.random.default_rng(3)
    labels, scores = rng.random(400) < 0.1, rng.random(400)
    assert vus_pr(labels, np.exp(9 * scores), buffer=20) == vus_pr(labels, scores, buffer=20)
    assert auc_pr(labels, np.exp(9 * scores)) == auc_pr(labels, scores)


def test_a_reading_without_a_score_counts_as_the_lowest():
    labels = np.array([0, 0, 1, 1, 0])
    missing = np.array([np.nan, 1.0, 5.0, np.nan, 2.0])
    lowest = np.array([-9.0, 1.0, 5.0, -9.0, 2.0])
    assert vus_pr(labels, missing, buffer=2) == vus_pr(labels, lowest, buffer=2)
    assert auc_pr(labels, missing) == auc_pr(labels, lowest)


def test_a_series_without_repetition_has_the_default_period():
    assert period(np.zeros(100)) == 125
    assert period(np.arange(1000.0)) == 125


@pytest.mark.parametrize(
    ("labels", "scores", "options", "message"),
    [
        ([0, 1], [1.0], {}, "labels have shape (2,), scores (1,); both must be (n,)"),
        (
            [0, 0],
            [1.0, 2.0],
            {},
            "0 of 2 readings are labelled, some must be, and some not",
        ),
        (
            [1, 1],
            [1.0, 2.0],
            {},
            "2 of 2 readings are labelled, some must be, and some not",
        ),
        ([0, 1], [1.0, 2.0], {"buffer": -1}, "the buffer is -1, not >= 0"),
        (
            [0, 1],
            [1.0, 2.0],
            {"thresholds": 1},
            "1 thresholds are asked for, at least 2 are needed",
        ),
    ],
)
def test_what_cannot_be_judged_is_refused(labels, scores, options, message):
    with pytest.raises(EvaluationError) as caught:
        vus_pr(labels, scores, **{"buffer": 0, **options})
    assert str(caught.value) == message
