"""Detectors by how probable a row is: histograms, distributions, mixtures, components."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench.arrays import Floats
from workbench.compiled import compiled
from workbench.detectors.contract import State
from workbench.detectors.methods.method import Params, Training
from workbench.detectors.methods.parts import rooted
from workbench.errors import DetectorError


def fit_ecod(training: Training) -> State:
    """Keep each feature's training values, sorted."""
    return {"sorted": np.sort(training.inputs, axis=0)}


def ready_ecod(state: State, params: Params) -> tuple[Floats, Floats, Floats]:
    """Return per feature the training values, and -log of the smaller tail at and below each.

    Shapes (f, m), (f, m) and (f, m + 1).
    """
    values = np.ascontiguousarray(state["sorted"].T)
    f, m = values.shape
    equal, between = np.empty((f, m)), np.empty((f, m + 1))
    for feature, column in enumerate(values):
        upto = np.searchsorted(column, column, side="right")
        since = m - np.searchsorted(column, column, side="left")
        equal[feature] = -np.log((np.minimum(upto, since) + 1) / (m + 1))
    rank = np.arange(m + 1)
    between[:] = -np.log((np.minimum(rank, m - rank) + 1) / (m + 1))
    return values, equal, between


def ecod(inputs: Floats, ready: tuple[Floats, Floats, Floats], params: Params) -> Floats:
    """Return the sum over features of the smaller tail's -log probability.

    Notes
    -----
    Source: Li et al. (2022), as PyOD's ECOD scores each row alone. PyOD's puts the rows to score
    and the training rows into one distribution, so that a row's score depends on its batch; here
    a row joins the training rows by itself. The skewness term never changes PyOD's maximum, as it
    is one of the two tails, and is left out.
    """
    scores: Floats = np.zeros(len(inputs))
    _tails(inputs, *ready, scores)
    return scores


@compiled
def _place(column: Any, value: Any) -> int:
    """Return how many of sorted values are less, as NumPy's searchsorted."""
    low, left = 0, len(column)
    while left > 1:  # without a branch on the value
        half = left // 2
        low += half if column[low + half - 1] < value else 0
        left -= half
    return low + (1 if left == 1 and column[low] < value else 0)


@compiled
def _tails(x: Any, values: Any, equal: Any, between: Any, scores: Any) -> None:
    for feature in range(values.shape[0]):
        column = values[feature]
        for i in range(x.shape[0]):
            low = _place(column, x[i, feature])
            exact = low < len(column) and column[low] == x[i, feature]
            scores[i] += equal[feature, low] if exact else between[feature, low]


def fit_pca(training: Training) -> State:
    """Learn the components of the standardised rows."""
    from pyod.models.pca import PCA

    share = training.params["variance"]
    fitted = PCA(n_components=share if share < 1 else None, svd_solver="full")
    fitted.fit(training.inputs)
    return {
        "mean": fitted.scaler_.mean_,
        "deviation": fitted.scaler_.scale_,
        "components": np.ascontiguousarray(fitted.selected_components_),
        "weights": np.ascontiguousarray(fitted.selected_w_components_),
    }


def pca(inputs: Floats, state: State, params: Params) -> Floats:
    """Return the weighted sum of distances to the components.

    Notes
    -----
    Source: Shyu et al. (2003), as PyOD's PCA: the distance of the standardised row to the end of
    each unit component, over the share of variance it explains.
    """
    rows = (inputs - state["mean"]) / state["deviation"]
    length = np.einsum("ij,ij->i", rows, rows)[:, np.newaxis]
    squared = length + 1.0 - 2.0 * (rows @ state["components"].T)
    scores: Floats = np.sqrt(np.maximum(squared, 0.0)) @ (1.0 / state["weights"])
    return scores


def pca_parts(inputs: Floats, state: State, params: Params) -> Floats:
    """Return what each feature adds to the weighted sum of distances, (n, f).

    The square of a distance is a sum over features, a distance that over itself.
    """
    rows = (inputs - state["mean"]) / state["deviation"]
    ends = state["components"]
    length = np.einsum("ij,ij->i", rows, rows)[:, np.newaxis]
    squared = np.maximum(length + 1.0 - 2.0 * (rows @ ends.T), 1e-300)
    weights = 1.0 / (np.sqrt(squared) * state["weights"])
    total = weights.sum(axis=1, keepdims=True)
    parts: Floats = rows**2 * total - 2.0 * rows * (weights @ ends) + weights @ ends**2
    return parts


def fit_hbos(training: Training) -> State:
    """Learn a histogram per feature."""
    from pyod.models.hbos import HBOS

    params = training.params
    fitted = HBOS(params["n_bins"], params["alpha"], params["tol"]).fit(training.inputs)
    edges = np.ascontiguousarray(fitted.bin_edges_.T)
    return {"edges": edges, "density": np.ascontiguousarray(fitted.hist_.T)}


def check_hbos(state: State, params: Params, sizes: Mapping[str, int]) -> None:
    """Refuse bins other than declared, edges out of order and densities below 0."""
    if state["density"].shape[1] != params["n_bins"]:
        raise DetectorError(f"array density has not {params['n_bins']} bins")
    if state["edges"].shape[1] != params["n_bins"] + 1 or (np.diff(state["edges"]) < 0).any():
        raise DetectorError(f"array edges has not {params['n_bins'] + 1} edges in order")
    if (state["density"] < 0).any():
        raise DetectorError("array density holds a value that is < 0")


def ready_hbos(state: State, params: Params) -> tuple[Floats, Floats]:
    """Return edges, widened by the tolerance, and scores of each bin, those outside included."""
    edges, tol = state["edges"].copy(), params["tol"]
    lowest = edges[:, 0] - (edges[:, 1] - edges[:, 0]) * tol
    edges[:, 0] = np.nextafter(lowest, -np.inf)  # the lowest edge itself is in the first bin
    edges[:, -1] += (edges[:, -1] - edges[:, -2]) * tol
    scores = -np.log2(state["density"] + params["alpha"])
    rarest = scores.max(axis=1, keepdims=True)
    return edges, np.concatenate([rarest, scores, rarest], axis=1)


def hbos(inputs: Floats, ready: tuple[Floats, Floats], params: Params) -> Floats:
    """Return the sum over features of the -log2 density of the bin.

    Notes
    -----
    Source: Goldstein and Dengel (2012), as PyOD's HBOS with a fixed number of bins.
    """
    edges, scores = ready
    total: Floats = np.zeros(len(inputs))
    _bins(inputs, edges, scores, total)
    return total


@compiled
def _bins(x: Any, edges: Any, scores: Any, total: Any) -> None:
    for feature in range(edges.shape[0]):
        column = edges[feature]
        for i in range(x.shape[0]):
            total[i] += scores[feature, _place(column, x[i, feature])]


def fit_mcd(training: Training) -> State:
    """Learn location and covariance from the half of the rows that lie closest together."""
    from pyod.models.mcd import MCD

    n, f = training.inputs.shape
    if n <= 2 * f:
        raise DetectorError(
            f"{n} training windows are too few for a covariance of {f} features",
            hint="a longer span, or fewer features: summary, newest, or of fewer readings",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            fitted = MCD(random_state=training.seed).fit(training.inputs).detector_
        except (RuntimeWarning, UserWarning, ValueError) as err:
            raise DetectorError(
                f"the features have no covariance of full rank: {err}",
                hint="centred features depend on each other: use raw, summary or newest",
            ) from err
    return {"mean": fitted.location_, "precision": np.ascontiguousarray(fitted.precision_)}


def mahalanobis(inputs: Floats, state: State, params: Params) -> Floats:
    """Return the squared Mahalanobis distance to the location.

    Notes
    -----
    Source: Rousseeuw and Van Driessen (1999), as PyOD's MCD.
    """
    less = inputs - state["mean"]
    distances: Floats = np.einsum("ij,ij->i", less @ state["precision"], less)
    return distances


def mahalanobis_parts(inputs: Floats, state: State, params: Params) -> Floats:
    """Return what each feature adds to the squared distance, (n, f)."""
    return rooted(inputs - state["mean"], np.asarray(state["precision"], dtype=np.float64))


def fit_gmm(training: Training) -> State:
    """Learn a mixture of normal distributions."""
    from pyod.models.gmm import GMM

    params = training.params
    fitted = GMM(
        params["n_components"],
        reg_covar=params["reg_covar"],
        random_state=training.seed,
        max_iter=300,
        tol=1e-2,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one that has not quite settled is a mixture, too
        mixture = fitted.fit(training.inputs).detector_
    return {
        "means": mixture.means_,
        "factors": mixture.precisions_cholesky_,
        "weights": mixture.weights_,
    }


def check_gmm(state: State, params: Params, sizes: Mapping[str, int]) -> None:
    """Refuse weights or factors that make no density."""
    diagonal = np.diagonal(state["factors"], axis1=1, axis2=2)
    if not (diagonal > 0).all() or not (state["weights"] > 0).all():
        raise DetectorError("array factors or weights holds a value that is not > 0")


def gmm(inputs: Floats, state: State, params: Params) -> Floats:
    """Return the -log density of the mixture.

    Notes
    -----
    Source: PyOD's GMM (scikit-learn's, full covariances).
    """
    f = inputs.shape[1]
    logs = np.empty((len(inputs), len(state["weights"])))
    for component, (mean, factor) in enumerate(zip(state["means"], state["factors"], strict=True)):
        scaled = (inputs - mean) @ factor
        volume = np.log(np.diagonal(factor)).sum() + np.log(state["weights"][component])
        logs[:, component] = volume - 0.5 * np.einsum("ij,ij->i", scaled, scaled)
    most = logs.max(axis=1)
    total = most + np.log(np.exp(logs - most[:, np.newaxis]).sum(axis=1))
    scores: Floats = 0.5 * f * np.log(2 * np.pi) - total
    return scores


def fit_ocsvm(training: Training) -> State:
    """Learn the border around the training rows."""
    from pyod.models.ocsvm import OCSVM

    params = training.params
    fitted = OCSVM(nu=params["nu"], gamma=params["gamma"] / training.inputs.shape[1])
    machine = fitted.fit(training.inputs).detector_
    return {
        "vectors": np.ascontiguousarray(machine.support_vectors_),
        "weights": machine.dual_coef_[0].copy(),
        "border": machine.intercept_.copy(),
    }


def ocsvm(inputs: Floats, state: State, params: Params) -> Floats:
    """Return how far outside the border, in the kernel's terms.

    Notes
    -----
    Source: Schoelkopf et al. (2001), as PyOD's OCSVM with a Gaussian kernel; its gamma is ours
    over the number of features, so that 1 is PyOD's `auto`.
    """
    vectors = state["vectors"]
    lengths = np.einsum("ij,ij->i", inputs, inputs)[:, np.newaxis]
    squared = inputs @ vectors.T
    squared *= -2
    squared += lengths + np.einsum("ij,ij->i", vectors, vectors)
    kernel = np.exp(squared * (-params["gamma"] / inputs.shape[1]))
    scores: Floats = -(kernel @ state["weights"] + state["border"][0])
    return scores
