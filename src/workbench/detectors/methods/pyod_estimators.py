"""Estimators of PyOD that need no code of ours: a line in the catalogue each.

What a package keeps of them is the training rows and the seed; a copy is fitted again from these
when it is loaded, which the golden windows then prove. So no state of foreign objects is stored.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from workbench.arrays import Floats
from workbench.detectors.contract import State
from workbench.detectors.methods.method import Params, Training
from workbench.errors import DetectorError

MOST = 10_000  # training rows
STATE = {"train": "f8[m,f]", "seed": "i8[1]"}


def fit_foreign(training: Training) -> State:
    """Keep the training rows and the seed."""
    return {"train": training.inputs, "seed": np.array([training.seed])}


def check_foreign(state: State, params: Params, sizes: Mapping[str, int]) -> None:
    """Refuse so many training rows that fitting again would take long, and no seed."""
    if not 0 <= state["seed"][0] < 2**32:
        raise DetectorError(f"array seed holds {state['seed'][0]}, expected 0 to {2**32 - 1}")
    if not 1 <= len(state["train"]) <= MOST:
        raise DetectorError(f"array train has {len(state['train'])} rows, expected 1 to {MOST}")


def ready_foreign(path: str, *names: str, seeded: bool = False) -> Callable[[State, Params], Any]:
    """Return a function that fits the estimator of PyOD at `path`, with these parameters."""

    def ready(state: State, params: Params) -> Any:
        module, _, name = path.partition(":")
        kind = getattr(importlib.import_module(f"pyod.models.{module}"), name)
        more = {"random_state": int(state["seed"][0])} if seeded else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns of does not concern its scores
            return kind(**{name: params[name] for name in names}, **more).fit(state["train"])

    return ready


def foreign(inputs: Floats, fitted: Any, params: Params) -> Floats:
    """Return PyOD's scores of the rows."""
    if not len(inputs):
        return np.empty(0)
    return np.asarray(fitted.decision_function(inputs), dtype=np.float64).ravel()
