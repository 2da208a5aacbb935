"""Try a candidate without labels: fitted on the past, asked about what came after it.

Three questions, all on readings that the candidate was not fitted on: does it find faults that are
planted there, of growing size; is it as quiet at the end of them as at their beginning; do the
others say the same. Where readings are labelled, how well it tells those from the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.arrays import Bools, Floats
from workbench.detectors.choosing.faults import FAULT_KINDS, FaultKind, plant_fault
from workbench.detectors.contract import score_windows
from workbench.detectors.fitted import Fitted, filled, part_of

SIZES = (1.0, 2.0, 4.0, 8.0)  # deviations of the channel
_USUAL = 0.99  # of the usual scores, that a planted fault must pass
_PLANTED = 64  # windows that each kind and size is planted into


@dataclass(frozen=True, eq=False)
class Trial:
    """What became of a candidate.

    Attributes
    ----------
    found
        Share of the planted faults that pass 99 % of the usual scores.
    restless
        Share of the later half that passes 99 % of the earlier half's scores: 0.01 is steady.
    scores
        Shape (n,), of the windows held.
    """

    found: float
    restless: float
    scores: Floats


@dataclass(frozen=True, eq=False)
class Held:
    """Windows after those that candidates were fitted on, in order of time.

    Attributes
    ----------
    windows
        Shape (n, w, c).
    channels
        Names, c.
    wrong
        Shape (n,): whether the newest reading is labelled as faulty.
    unit
        Shape (c,): each channel's usual deviation.
    calm
        Shape (n,): windows that faults may be planted into.
    """

    windows: Floats
    channels: tuple[str, ...]
    wrong: Bools
    unit: Floats
    calm: Bools

    def tried(self, candidate: Fitted) -> Trial:
        """Return what a fitted candidate makes of these windows, and of faults planted in them."""
        scores = self._scores(candidate, self.windows)
        usual = scores[~self.wrong]
        half = len(usual) // 2
        passed = usual[half:] > np.quantile(usual[:half], _USUAL)
        found = self._share_above(candidate, float(np.quantile(usual, _USUAL)))
        return Trial(found, float(passed.mean()), scores)

    def _scores(self, candidate: Fitted, windows: Floats) -> Floats:
        whole = {"channels": list(self.channels)}
        return score_windows(candidate, part_of(windows, candidate.spec, whole))

    def _share_above(self, candidate: Fitted, level: float) -> float:
        """Return the share of planted faults whose score passes a level."""
        calm = np.flatnonzero(self.calm)
        picked = calm[np.linspace(0, len(calm) - 1, min(_PLANTED, len(calm))).astype(int)]
        whole = filled(self.windows[picked], np.zeros(len(self.channels)))
        scores = [
            self._scores(candidate, planted(whole, kind, size, self.unit))
            for kind in FAULT_KINDS
            for size in SIZES
        ]
        return float((np.concatenate(scores) > level).mean())


def planted(windows: Floats, kind: FaultKind, size: float, unit: Floats) -> Floats:
    """Return windows with a fault in some channels each, in turn, that the newest reading shows.

    It is in a quarter of the channels, at least one: what breaks in a machine shows in several. A
    spike is the newest reading; a shift, a drift and a stuck sensor take the later half.
    """
    faulty = windows.copy()
    n, w, c = windows.shape
    length = 1 if kind == "spike" else max(1, w // 2)
    for row in range(n):
        for channel in (row + np.arange(max(1, c // 4))) % c:
            faulty[row, w - length :, channel] = plant_fault(
                windows[row, w - length :, channel],
                kind, size=size, unit=float(unit[channel]), length=length,
            )  # fmt: skip
    return faulty


def agreement(trials: Sequence[Trial]) -> list[float]:
    """Return how far each ranks the windows as the others do together, -1 to 1; a single one: 1.

    Notes
    -----
    Source: Spearman's rank correlation, with the mean of the others' ranks.
    """
    ranks = np.array([_ranks(trial.scores) for trial in trials])
    if len(ranks) == 1:
        return [1.0]
    total = ranks.sum(axis=0)
    return [float(np.corrcoef(own, total - own)[0, 1]) for own in ranks]


def _ranks(scores: Floats) -> Floats:
    from scipy.stats import rankdata

    ranks: Floats = rankdata(scores)
    return ranks + np.linspace(0, 1e-9, len(ranks))  # never constant, which has no correlation


def rarity(scores: Floats, wrong: Bools) -> Floats:
    """Return -log10 of the share of readings not labelled whose score is as large."""
    calm = np.sort(scores[~wrong])
    larger = len(calm) - np.searchsorted(calm, scores)
    logs: Floats = -np.log10((larger + 1) / (len(calm) + 1))
    return logs


def precision(scores: Floats, wrong: Bools) -> float:
    """Return the average precision of scores against labels.

    Notes
    -----
    Source: area under precision and recall, without interpolation, as scikit-learn's.
    """
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(wrong, scores))
