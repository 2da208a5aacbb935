"""Relations between channels, for faults that show in no single one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from workbench.arrays import Floats
from workbench.detectors.contract import State
from workbench.detectors.methods.method import Params, Training
from workbench.detectors.methods.rules import MAD_SIGMA
from workbench.errors import DetectorError

_MOST_TERMS = 500


def fit_reconstruction(training: Training) -> State:
    """Learn the components that explain the declared share of variance."""
    mean = training.inputs.mean(axis=0)
    variances, components = _components(training.inputs - mean)
    explained = np.cumsum(variances) / max(float(variances.sum()), 1e-300)
    kept = int(np.searchsorted(explained, training.params["variance"])) + 1
    kept = min(kept, len(variances), training.inputs.shape[1] - 1)
    if kept < 1:
        raise DetectorError("reconstruction needs two features at least")
    components = np.ascontiguousarray(components[:kept])
    state = {"mean": mean, "components": components, "usual": np.ones(1)}
    left = reconstruction(training.inputs, state, training.params)
    return {**state, "usual": np.array([max(float(np.median(left)), 1e-9)])}


def _components(less: Floats) -> tuple[Floats, Floats]:
    """Return the variance along each component, largest first, and the components, one a row.

    Of more rows than features by way of their products: a fourth of the time, and what rounding
    takes from the smallest components none of those that explain a share of 0.99999 has.
    """
    if len(less) < less.shape[1]:
        _, sizes, components = np.linalg.svd(less, full_matrices=False)
        return sizes**2, components
    variances, axes = np.linalg.eigh(less.T @ less)
    return np.maximum(variances[::-1], 0.0), axes.T[::-1]


def reconstruction(inputs: Floats, state: State, params: Params) -> Floats:
    """Return what the components leave of a row, over what they usually leave.

    Notes
    -----
    Source: Jackson and Mudholkar (1979), Control Procedures for Residuals; the root of their Q.
    """
    left = _left(inputs, state)
    scores: Floats = np.sqrt(np.einsum("ij,ij->i", left, left)) / state["usual"][0]
    return scores


def reconstruction_parts(inputs: Floats, state: State, params: Params) -> Floats:
    """Return the squares of what the components leave, (n, f)."""
    squares: Floats = np.square(_left(inputs, state))
    return squares


def reconstruction_expected(inputs: Floats, state: State, params: Params) -> Floats:
    """Return what the components make of a row, (n, f)."""
    rebuilt: Floats = inputs - _left(inputs, state)
    return rebuilt


def _left(inputs: Floats, state: State) -> Floats:
    less: Floats = inputs - state["mean"]
    less -= (less @ state["components"].T) @ state["components"]
    return less


def fit_regression(training: Training) -> State:
    """Learn each feature from all the others, and how far they usually are apart."""
    rows, params = training.inputs, training.params
    n, f = rows.shape
    terms = _terms(rows[:1], params["degree"], 0).shape[1]
    if f < 2 or terms > _MOST_TERMS:
        raise DetectorError(
            f"regression has {terms} terms of {f} features, at most {_MOST_TERMS} of at least 2",
            hint="features: newest or mean, or degree: 1",
        )
    weights = np.empty((f, terms))
    for feature in range(f):
        design = _terms(rows, params["degree"], feature)
        gram = design.T @ design + params["ridge"] * n * np.eye(terms)
        weights[feature] = np.linalg.solve(gram, design.T @ rows[:, feature])
    left = _residuals(rows, weights, params["degree"])
    centre: Floats = np.median(left, axis=0)
    scale = np.maximum(MAD_SIGMA * np.median(np.abs(left - centre), axis=0), 1e-9)
    scaled = (left - centre) / scale
    precision = np.linalg.inv(scaled.T @ scaled / n + 1e-6 * np.eye(f))
    return {"weights": weights, "centre_left": centre, "scale": scale, "precision": precision}


def check_regression(state: State, params: Params, sizes: Mapping[str, int]) -> None:
    """Refuse weights for other terms than the parameters say."""
    terms = _terms(np.zeros((1, sizes["f"])), params["degree"], 0).shape[1]
    if state["weights"].shape[1] != terms or not (state["scale"] > 0).all():
        raise DetectorError(f"array weights has not {terms} terms, or scale a value not > 0")


def regression(inputs: Floats, state: State, params: Params) -> Floats:
    """Return how far features lie from what the others say: the worst, or Mahalanobis of all.

    Notes
    -----
    Source: Hawkins (1991), Multivariate Quality Control Based on Regression-Adjusted Variables.
    """
    left = _residuals(inputs, state["weights"], params["degree"])
    scaled = (left - state["centre_left"]) / state["scale"]
    if params["combine"] == "worst":
        worst: Floats = np.abs(scaled).max(axis=1)
        return worst
    squared = np.einsum("ij,ij->i", scaled @ state["precision"], scaled)
    distances: Floats = np.sqrt(np.maximum(squared, 0.0))
    return distances


def regression_expected(inputs: Floats, state: State, params: Params) -> Floats:
    """Return what the others say of each feature, (n, f)."""
    left = _residuals(inputs, state["weights"], params["degree"])
    said: Floats = inputs - left + state["centre_left"]
    return said


def _residuals(rows: Floats, weights: Floats, degree: int) -> Floats:
    if degree == 1:
        f = rows.shape[1]
        others = np.zeros((f, f))
        others[~np.eye(f, dtype=np.bool_)] = weights[:, 1:].ravel()
        apart: Floats = rows - (rows @ others.T + weights[:, 0])
        return apart
    left = [rows[:, at] - _terms(rows, degree, at) @ weights[at] for at in range(rows.shape[1])]
    return np.stack(left, axis=1)


def _terms(rows: Floats, degree: int, without: int) -> Floats:
    """Return one, all features but one, and for degree 2 their products."""
    others = np.delete(rows, without, axis=1)
    parts = [np.ones((len(rows), 1)), others]
    if degree == 2 and others.shape[1] ** 2 <= 4 * _MOST_TERMS:
        first, second = np.triu_indices(others.shape[1])
        parts.append(others[:, first] * others[:, second])
    elif degree == 2:
        parts.append(np.zeros((len(rows), _MOST_TERMS)))  # too many: refused by their number
    return np.concatenate(parts, axis=1)
