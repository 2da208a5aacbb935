"""Relations between channels against the textbook's way to them."""

import numpy as np
import pytest

from workbench.detectors.methods.method import Training
from workbench.detectors.methods.relations import (
    fit_reconstruction,
    fit_regression,
    reconstruction,
    regression,
)

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("variance", [0.9, 0.99999])
@pytest.mark.parametrize(("rows", "features"), [(400, 30), (30, 30), (20, 30)])
def test_reconstruction_leaves_what_the_singular_vectors_leave(rows, features, variance):
    sizes = np.logspace(0, -6, features)  # from what explains most to what explains nothing
    inputs = RNG.normal(size=(rows, features)) * sizes @ RNG.normal(size=(features, features)) + 5
    params = {"variance": variance}

    state = fit_reconstruction(Training(inputs, params, ("a",), 0))

    less = inputs - inputs.mean(axis=0)
    _, lengths, vectors = np.linalg.svd(less, full_matrices=False)
    assert len(state["components"]) == 1 + int(
        np.searchsorted(np.cumsum(lengths**2) / (lengths**2).sum(), variance)
    )
    kept = vectors[: len(state["components"])]
    left = np.linalg.norm(less - less @ kept.T @ kept, axis=1)
    scores = reconstruction(inputs, state, params)
    np.testing.assert_allclose(scores, left / np.median(left), rtol=1e-7)


def test_regression_is_the_residual_of_each_feature_by_the_others_in_turn():
    rows = RNG.normal(size=(500, 4)) @ RNG.normal(size=(4, 4)) + RNG.normal(size=4)
    params = {"degree": 1, "ridge": 1e-6, "combine": "worst"}
    state = fit_regression(Training(rows, params, ("a", "b", "c", "d"), 0))

    scores = regression(rows, state, params)

    for row, score in zip(rows[:50], scores, strict=False):
        left = [
            row[at] - np.r_[1.0, np.delete(row, at)] @ state["weights"][at]
            for at in range(len(row))
        ]
        worst = np.abs((np.array(left) - state["centre_left"]) / state["scale"]).max()
        np.testing.assert_allclose(score, worst, rtol=1e-9)
