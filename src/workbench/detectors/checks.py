"""What holds for every detector, as checks that whoever writes one can run on it.

Each check takes a detector and windows that are usual to it, at least fifty, none with a missing
value; it raises AssertionError, which says what does not hold. The catalogue's own are tested by
the same checks. In pytest:

    @pytest.mark.parametrize("check", checks.CHECKS, ids=checks.name)
    def test_it_holds_what_all_detectors_hold(check):
        check(detector, windows)
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from workbench.arrays import Floats
from workbench.detectors.alarms import EpisodeRule
from workbench.detectors.contract import Detector, score_windows
from workbench.detectors.fitted import Fitted
from workbench.detectors.packages import load, save
from workbench.errors import DetectorError

_RTOL = 1e-9  # matrix products round by the size of the batch
_FAR = np.array([10.0, 30.0, 100.0, 1e3, 1e5])  # deviations of a channel


def finite_one_per_window(detector: Detector, windows: Floats) -> None:
    """A score is a finite float64, one for each window, none for none."""
    scores = detector.score(windows)
    _hold(scores.shape == (len(windows),), f"{len(windows)} windows have {scores.shape} scores")
    _hold(scores.dtype == np.float64, f"scores are {scores.dtype}, not float64")
    _hold(bool(np.isfinite(scores).all()), "a usual window has a score that is not finite")
    _hold(detector.score(windows[:0]).shape == (0,), "no windows have scores")


def alone_as_in_any_batch(detector: Detector, windows: Floats) -> None:
    """A window scores the same however the batch around it is cut."""
    whole = detector.score(windows)
    for size in (1, 7, 333):
        cuts = range(0, min(len(windows), 60 * size), size)
        parts = np.concatenate([detector.score(windows[cut : cut + size]) for cut in cuts])
        _close(parts, whole[: len(parts)], f"in batches of {size}")


def changes_nothing(detector: Detector, windows: Floats) -> None:
    """Scoring changes neither windows nor detector, and does not depend on the order of calls."""
    frozen = windows.copy()
    frozen.flags.writeable = False
    first, second = detector.score(frozen), detector.score(frozen[::-1])[::-1]
    _close(first, second, "in reverse order")
    _hold(bool((frozen == windows).all()), "scoring wrote into the windows")
    if isinstance(detector, Fitted):
        writeable = [name for name, array in detector.state.items() if array.flags.writeable]
        _hold(not writeable, f"the state can be written to: {', '.join(writeable)}")


def refuses_other_shapes(detector: Detector, windows: Floats) -> None:
    """Windows of another length, or of other channels, are refused and never scored."""
    for bad in (windows[:, 1:], windows[:, :, 1:], windows[0]):
        try:
            detector.score(bad)
        except DetectorError:
            continue
        _hold(False, f"windows of shape {bad.shape} have scores")


def missing_by_one_rule(detector: Detector, windows: Floats) -> None:
    """A window with a missing value scores where the detector takes it, else has no score.

    What is not finite is missing. `score` itself refuses infinity, and NaN unless it takes that;
    of a window that is left out the others know nothing.
    """
    holed = windows[:3].copy()
    holed[0, 0, 0], holed[1, -1, -1] = np.nan, np.inf
    scores = score_windows(detector, holed)
    taken = getattr(detector, "takes_missing", False)
    for score, what in zip(scores, ("NaN", "infinity"), strict=False):
        _hold(bool(np.isfinite(score)) == taken, f"a window with {what} scores {score}")
    _close(scores[2:], detector.score(windows[2:3]), "beside windows without a score")
    for bad in holed[taken:2]:
        try:
            detector.score(bad[np.newaxis])
        except DetectorError:
            continue
        _hold(False, f"score takes {bad[~np.isfinite(bad)][0]}")


def huge_is_finite(detector: Detector, windows: Floats) -> None:
    """The largest numbers have finite scores, in every channel."""
    for channel, name in enumerate(detector.channels):
        for value in (1e200, -1e200, np.finfo(np.float64).max):
            huge = windows[:1].copy()
            huge[0, -1, channel] = value
            score = detector.score(huge)[0]
            _hold(math.isfinite(score), f"{name} of {value:g} scores {score}")


def far_is_above_and_grows(detector: Detector, windows: Floats) -> None:
    """A value far out scores above all usual windows, the more the farther, in some channel.

    So that no threshold taken from usual windows is one that nothing passes. A detector with a
    `ceiling` below infinity says so, and is not asked.
    """
    if getattr(detector, "ceiling", math.inf) < math.inf:
        return
    most, flat = detector.score(windows).max(), []
    for channel, name in enumerate(detector.channels):
        far = np.repeat(windows[len(windows) // 3][np.newaxis], len(_FAR), axis=0)
        far[:, -1, channel] += _FAR * (windows[..., channel].std() or 1.0)
        scores = detector.score(far)
        if (scores > most).all() and (np.diff(scores) > 0).all():
            return
        flat.append(f"{name} {', '.join(f'{score:.4g}' for score in scores)}")
    steps = ", ".join(f"{step:g}" for step in _FAR)
    _hold(False, f"usual up to {most:.4g}; {steps} deviations out: {'; '.join(flat)}")


def same_from_its_package(detector: Detector, windows: Floats) -> None:
    """A package written and read again scores alike. Asked of fitted detectors only."""
    if not isinstance(detector, Fitted):
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "package")
        threshold = float(np.nextafter(min(detector.ceiling, 1e300), -np.inf))
        save(detector, path, threshold=threshold, rule=EpisodeRule(), training={})
        again = load(path)
    _hold(again.threshold == threshold, f"a threshold of {threshold} came back {again.threshold}")
    _close(again.detector.score(windows), detector.score(windows), "from its package")


Check = Callable[[Detector, Floats], None]
CHECKS: tuple[Check, ...] = (
    finite_one_per_window,
    alone_as_in_any_batch,
    changes_nothing,
    refuses_other_shapes,
    missing_by_one_rule,
    huge_is_finite,
    far_is_above_and_grows,
    same_from_its_package,
)


def name(check: Check) -> str:
    """Return the name of a check, for pytest's ids."""
    return check.__name__


def run(detector: Detector, windows: Floats) -> None:
    """Run all checks.

    Raises
    ------
    AssertionError
        At the first that does not hold.

    Examples
    --------
    >>> class Newest:
    ...     window, channels = 2, ("flow",)
    ...     def score(self, windows):
    ...         return windows[:, -1, 0]
    >>> run(Newest(), np.random.default_rng(1).normal(size=(60, 2, 1)))
    Traceback (most recent call last):
    AssertionError: windows of shape (60, 1, 1) have scores
    """
    for check in CHECKS:
        check(detector, windows)


def _hold(holds: bool, told: str) -> None:
    if not holds:
        raise AssertionError(told)


def _close(scores: Floats, expected: Floats, when: str) -> None:
    np.testing.assert_allclose(
        scores, expected, rtol=_RTOL, atol=1e-12, err_msg=f"scores differ {when}"
    )
