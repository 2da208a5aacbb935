"""Isolation forest: grown by PyOD, walked in compiled code.

scikit-learn's own walk, which PyOD calls, takes 2.4 times as long in batches of 4,096 windows (100
trees, 64 readings, one core), and 88 times in batches of 64, as a stream sends them: it sets up
every tree anew at each call. Arrays are besides what a package can hold without pickle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.arrays import Floats, Ints
from workbench.compiled import compiled
from workbench.detectors.contract import State
from workbench.detectors.methods.method import Params, Training
from workbench.errors import DetectorError

_ROWS = 64  # walked together: they stay in the cache
STATE = {
    "roots": "i8[t]",
    "feature": "i4[m]",
    "threshold": "f8[m]",
    "left": "i4[m]",
    "right": "i4[m]",
    "depth": "f8[m]",
    "usual": "f8[1]",
    "offset": "f8[1]",
}
"""Trees one after the other, each in preorder from its root; a leaf has feature -1 and a depth."""


def fit_iforest(training: Training) -> State:
    """Grow the trees and lay them out as arrays."""
    from pyod.models.iforest import IForest
    from sklearn.ensemble._iforest import _average_path_length

    params, n = training.params, len(training.inputs)
    fitted = IForest(
        n_estimators=params["n_estimators"],
        max_samples=min(params["max_samples"], n),
        random_state=training.seed,
    ).fit(training.inputs)
    forest = fitted.detector_
    trees = [estimator.tree_ for estimator in forest.estimators_]
    sizes = np.array([tree.node_count for tree in trees])
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    leaf = np.concatenate([tree.children_left == -1 for tree in trees])
    paths = np.concatenate(forest._decision_path_lengths) - 1.0
    paths = paths + np.concatenate(forest._average_path_length_per_tree)
    per_node = np.repeat(roots, sizes)

    def laid(name: str) -> Any:
        return np.concatenate([getattr(tree, name) for tree in trees])

    return {
        "roots": roots,
        "feature": np.where(leaf, -1, laid("feature")).astype(np.int32),
        "threshold": np.where(leaf, 0.0, laid("threshold")),
        "left": np.where(leaf, -1, laid("children_left") + per_node).astype(np.int32),
        "right": np.where(leaf, -1, laid("children_right") + per_node).astype(np.int32),
        "depth": np.where(leaf, paths, 0.0),
        "usual": np.array([len(trees) * _average_path_length([forest._max_samples])[0]]),
        "offset": np.array([float(forest.offset_)]),
    }


def check_iforest(state: State, params: Params, sizes: Mapping[str, int]) -> None:
    """Refuse trees that a walk could leave, or never leave.

    A child stands behind its parent and before the next root, so that every walk ends in its tree.
    """
    roots, feature = state["roots"], state["feature"]
    most = params["n_estimators"] * (2 * params["max_samples"] - 1)
    if len(roots) > params["n_estimators"] or len(feature) > most:
        raise DetectorError(
            f"{len(roots)} trees have {len(feature)} nodes, "
            f"expected at most {params['n_estimators']} with {most}"
        )
    nodes = np.arange(len(feature))
    ends = np.concatenate([roots[1:], [len(feature)]])
    if len(roots) == 0 or roots[0] != 0 or (ends <= roots).any():
        raise DetectorError("the roots of the trees are not in order")
    end = np.repeat(ends, ends - roots)
    inner = feature != -1
    for name in ("left", "right"):
        child = state[name][inner]
        if ((child <= nodes[inner]) | (child >= end[inner])).any():
            raise DetectorError(f"array {name} leads out of its tree")
    if (feature[inner] < 0).any() or (feature >= sizes["f"]).any():
        raise DetectorError(f"array feature names others than the {sizes['f']} there are")
    if (state["depth"] < 0).any():
        raise DetectorError("array depth holds a value that is < 0")
    if not state["usual"][0] > 0:
        raise DetectorError("array usual holds a value that is not > 0")


@dataclass(frozen=True, eq=False)
class Grove:
    """Trees as they are walked: a leaf leads to itself, so that all rows take as many steps.

    Attributes
    ----------
    threshold
        The largest float32 not above the true one, which a float32 compares with alike; infinite
        at a leaf.
    steps
        Shape (t,): from the root to the deepest leaf of each tree.
    """

    roots: Ints
    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    depth: Floats
    steps: Ints
    usual: float
    offset: float


def ready_iforest(state: State, params: Params) -> Grove:
    """Return the trees as they are walked, none deeper than they are grown."""
    leaf = state["feature"] == -1
    itself = np.arange(len(leaf), dtype=np.int32)
    exact = np.where(leaf, np.inf, state["threshold"])
    with np.errstate(over="ignore"):
        below = exact.astype(np.float32)
    below = np.where(below > exact, np.nextafter(below, np.float32(-np.inf)), below)
    left = np.where(leaf, itself, state["left"])
    right = np.where(leaf, itself, state["right"])
    steps = _steps(state["roots"], left, right)
    deepest = math.ceil(math.log2(params["max_samples"]))
    if steps.max() > deepest:
        raise DetectorError(f"a tree has a depth of {steps.max()}, expected at most {deepest}")
    return Grove(
        roots=state["roots"],
        feature=np.where(leaf, 0, state["feature"]).astype(np.int32),
        threshold=below.astype(np.float32),
        left=left,
        right=right,
        depth=state["depth"],
        steps=steps,
        usual=float(state["usual"][0]),
        offset=float(state["offset"][0]),
    )


@compiled
def _steps(roots: Any, left: Any, right: Any) -> Any:
    steps, level = np.zeros(len(roots), np.int64), np.zeros(len(left), np.int64)
    tree = 0
    for node in range(len(left)):
        if tree + 1 < len(roots) and node == roots[tree + 1]:
            tree += 1
        steps[tree] = max(steps[tree], level[node])
        level[left[node]] = level[right[node]] = level[node] + 1  # children stand behind
    return steps


def iforest(inputs: Floats, grove: Grove, params: Params) -> Floats:
    """Return how easily random cuts isolate each row, less what is usual in training.

    Notes
    -----
    Source: Liu, Ting and Zhou (2008), as PyOD's IForest (scikit-learn's, which compares float32).
    """
    depths: Floats = np.zeros(len(inputs))
    rows = np.ascontiguousarray(inputs, dtype=np.float32)
    for start in range(0, len(rows), _ROWS):
        some = slice(start, start + _ROWS)
        _walk(
            rows[some], grove.roots, grove.steps, grove.feature, grove.threshold, grove.left,
            grove.right, grove.depth, depths[some],
        )  # fmt: skip
    scores: Floats = 2.0 ** (-depths / grove.usual) + grove.offset
    return scores


@compiled
def _walk(
    x: Any,
    roots: Any,
    steps: Any,
    feature: Any,
    threshold: Any,
    left: Any,
    right: Any,
    depth: Any,
    depths: Any,
) -> None:
    nodes = np.empty(x.shape[0], np.int32)
    for tree in range(len(roots)):
        nodes[:] = roots[tree]
        for _ in range(steps[tree]):
            for i in range(x.shape[0]):  # rows do not wait for each other, nor for a branch
                node = nodes[i]
                low = x[i, feature[node]] <= threshold[node]
                nodes[i] = left[node] if low else right[node]
        for i in range(x.shape[0]):
            depths[i] += depth[nodes[i]]
