import json

import numpy as np
import pytest
from click.testing import CliRunner
from pyod.models.cblof import CBLOF
from pyod.models.ecod import ECOD
from pyod.models.gmm import GMM
from pyod.models.hbos import HBOS
from pyod.models.iforest import IForest
from pyod.models.inne import INNE
from pyod.models.kde import KDE
from pyod.models.knn import KNN
from pyod.models.lof import LOF
from pyod.models.mcd import MCD
from pyod.models.ocsvm import OCSVM
from pyod.models.pca import PCA

from workbench import detectors
from workbench.cli import cli
from workbench.detectors.fitted import method_inputs
from workbench.detectors.methods.reach import beyond
from workbench.detectors.methods.table import METHODS
from workbench.errors import DetectorError

BASE = {"window": 16, "channels": ["flow", "pressure"], "sample": 300}
PYOD = {
    "knn": (KNN(), {}),
    "knn, mean": (KNN(n_neighbors=9, method="mean"), {"n_neighbors": 9, "method": "mean"}),
    "knn, median": (KNN(method="median"), {"method": "median"}),
    "lof": (LOF(), {}),
    "cblof": (CBLOF(random_state=5), {}),
    "iforest": (IForest(n_estimators=30, max_samples=200, random_state=5),
                {"n_estimators": 30, "max_samples": 200}),
    "hbos": (HBOS(), {}),
    "hbos, tight": (HBOS(n_bins=4, tol=0.01), {"n_bins": 4, "tol": 0.01}),
    "pca": (PCA(n_components=0.9, svd_solver="full"), {"variance": 0.9}),
    "mcd": (MCD(random_state=5), {"features": "mean"}),
    "gmm": (GMM(n_components=4, reg_covar=1e-4, tol=1e-2, max_iter=300, random_state=5), {}),
    "ocsvm": (OCSVM(nu=0.1), {}),
    "kde": (KDE(), {}),
    "inne": (INNE(random_state=5), {}),
}  # fmt: skip


@pytest.fixture(scope="module")
def windows(readings):
    return detectors.sliding_windows(
        readings, sensor="pump", time="event_time", channels=BASE["channels"], window=16
    ).values


def fitted_on(windows, spec, readings):
    """Return our detector, and the features that it was fitted on."""
    detector = detectors.fit(spec, readings, sensor="pump", seed=5)
    pick = np.sort(np.random.default_rng(5).choice(len(windows), 300, replace=False))
    return detector, method_inputs(windows[pick], detector.spec, detector.state)


@pytest.mark.slow
@pytest.mark.parametrize("name", PYOD)
def test_scores_are_those_of_pyod(readings, windows, name):
    estimator, params = PYOD[name]
    spec = {"name": name.partition(",")[0], **BASE, **params}
    detector, trained = fitted_on(windows, spec, readings)

    fresh = windows + 0.01  # between equal rows scikit-learn finds distances of 1e-7, not of 0

    expected = estimator.fit(trained).decision_function(
        method_inputs(fresh, detector.spec, detector.state)
    )

    if METHODS[detector.spec["name"]].bounded:  # beyond the training range ours goes on to rise
        expected = expected + beyond(
            method_inputs(fresh, detector.spec, detector.state), detector.state
        )
    np.testing.assert_allclose(detector.score(fresh), expected, rtol=1e-9, atol=1e-12)


def test_ecod_scores_a_window_as_pyod_scores_it_alone(readings, windows):
    detector, trained = fitted_on(windows, {"name": "ecod", **BASE}, readings)
    estimator = ECOD().fit(trained)

    some = windows[:40]
    rows = method_inputs(some, detector.spec, detector.state)
    alone = [estimator.decision_function(row[np.newaxis])[0] for row in rows]

    np.testing.assert_allclose(
        detector.score(some), alone + beyond(rows, detector.state), rtol=1e-9
    )


def test_a_detector_that_cannot_score_new_windows_is_refused_by_name(readings):
    with pytest.raises(DetectorError) as caught:
        detectors.fit({"name": "matrix_profile", **BASE}, readings, sensor="pump")

    assert str(caught.value) == (
        "detector matrix_profile cannot score new windows: it compares a series with itself, "
        "so a score needs the readings after it"
    )


def test_the_command_lists_every_detector():
    result = CliRunner().invoke(cli, ["detectors", "--json"])

    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["name"] for row in rows] == list(METHODS)
    assert all(row["good_at"] and row["source"] for row in rows)


def test_the_command_shows_one_detector():
    result = CliRunner().invoke(cli, ["detectors", "knn"])

    assert result.stdout.startswith("knn: shapes not seen in training; several kinds of usual")
    assert "n_neighbors: nearest training windows that count (int 1 to 1000, default 5)" in (
        result.stdout
    )
    assert "sample: training windows at most, drawn at random (int 10 to 1e+06, default 1000)" in (
        result.stdout
    )


def test_the_command_knows_what_was_meant():
    result = CliRunner().invoke(cli, ["detectors", "knnn"])

    assert str(result.exception) == "no detector 'knnn'\n  did you mean 'knn'?"
