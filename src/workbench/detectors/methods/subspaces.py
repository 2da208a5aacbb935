"""Each channel's windows against that channel's own components: shapes that it never takes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from workbench.arrays import Floats
from workbench.detectors.contract import State
from workbench.detectors.methods.method import Params, Training
from workbench.errors import DetectorError

_LONGEST = 512  # features of a channel


def fit_subpca(training: Training) -> State:
    """Learn the components of each channel's features, and how far they usually reach."""
    rows = _by_channel(training.inputs, len(training.channels))
    each = rows.shape[2]
    if each > _LONGEST:
        raise DetectorError(
            f"subpca has {each} features of a channel, at most {_LONGEST}",
            hint="a shorter window, or features of fewer readings, as raw:16",
        )
    less = rows - rows.mean(axis=1, keepdims=True)
    sizes, components = np.linalg.eigh(less.transpose(0, 2, 1) @ less / rows.shape[1])
    sizes = np.maximum(sizes, 0.0)
    held = np.maximum(training.params["ridge"] * sizes.mean(axis=1, keepdims=True), 1e-12)
    whitening = components / np.sqrt(sizes + held)[:, np.newaxis, :]
    return {"mean": training.inputs.mean(axis=0), "whitening": np.ascontiguousarray(whitening)}


def check_subpca(state: State, params: Params, sizes: Mapping[str, int]) -> None:
    """Refuse components of another number of features than the channels have."""
    if state["whitening"].shape[1] * sizes["c"] != sizes["f"]:
        raise DetectorError(
            f"array whitening has {state['whitening'].shape[1]} features of a channel, "
            f"expected {sizes['f'] / sizes['c']:g}"
        )


def subpca(inputs: Floats, state: State, params: Params) -> Floats:
    """Return how far the channels lie off their own components, each by what is usual of it.

    Notes
    -----
    Source: Hotelling (1947), T² of lagged readings as Ku, Storer and Georgakis (1995) take them,
    here of each channel by itself; the root of their sum. All components count: a shape that a
    channel hardly ever takes lies on the smallest ones.
    """
    scores: Floats = np.sqrt(subpca_parts(inputs, state, params).sum(axis=1))
    return scores


def subpca_parts(inputs: Floats, state: State, params: Params) -> Floats:
    """Return what each channel adds to the squared score, (n, c)."""
    whitened = _by_channel(inputs - state["mean"], len(state["whitening"])) @ state["whitening"]
    parts: Floats = np.einsum("cnk,cnk->nc", whitened, whitened)
    return parts


def _by_channel(inputs: Floats, channels: int) -> Floats:
    """Return (n, f) features, of which the channel changes fastest, as (c, n, f / c)."""
    by_channel: Floats = inputs.reshape(len(inputs), inputs.shape[1] // channels, channels)
    return np.ascontiguousarray(by_channel.transpose(2, 0, 1))
