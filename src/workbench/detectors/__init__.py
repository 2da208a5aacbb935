"""Detectors: the contract, windows, the catalogue, thresholds, and packages.

A detector is fitted on a span of history, frozen, and from then on a pure function from windows to
scores (DESIGN D3). This room does not know what is a good score: `evaluation` does.
"""

from __future__ import annotations

from workbench.detectors.adaptation import Adapted, Refit, replay_refits
from workbench.detectors.batch import Detection, detect
from workbench.detectors.calibration import threshold_for_probability
from workbench.detectors.catalogue import catalogue
from workbench.detectors.contract import Detector, score_windows
from workbench.detectors.ensembles import choose_weights
from workbench.detectors.episodes import (
    EpisodeRule,
    alarmed,
    budget_interval,
    episodes,
    threshold_for_budget,
)
from workbench.detectors.fitted import Fitted
from workbench.detectors.fitting import fit
from workbench.detectors.packages import Package, load, save
from workbench.detectors.scopes import fit_each, score_each
from workbench.detectors.seasons import with_clock
from workbench.detectors.specs import resolve
from workbench.detectors.windows import Windows, epoch_ms, late, score_readings, sliding_windows

__all__ = [
    "Adapted",
    "Detection",
    "Detector",
    "EpisodeRule",
    "Fitted",
    "Package",
    "Refit",
    "Windows",
    "alarmed",
    "budget_interval",
    "catalogue",
    "choose_weights",
    "detect",
    "episodes",
    "epoch_ms",
    "fit",
    "fit_each",
    "late",
    "load",
    "replay_refits",
    "resolve",
    "save",
    "score_each",
    "score_readings",
    "score_windows",
    "sliding_windows",
    "threshold_for_budget",
    "threshold_for_probability",
    "with_clock",
]
