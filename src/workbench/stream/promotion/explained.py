"""Whether the alerts of a job say the same of why as the batch path does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from workbench.detectors import Contribution
from workbench.stream.flink_sql.views import PATTERN
from workbench.times import epoch_ms


def differences(
    episodes: pd.DataFrame,
    contributions: Sequence[tuple[Contribution, ...]],
    alerts: pd.DataFrame,
) -> list[float]:
    """Return how far each alert's contributions are from those of the batch path.

    Of alerts that both paths have, and that are closed: one that is open tells of its first
    reading. The largest difference of a share, and of an expected value relative to it; infinite
    where channels or directions differ.

    Parameters
    ----------
    episodes, contributions
        Of the batch path: `Detection.episodes`, and `detectors.episode_contributions` of them.
    alerts
        Of the job (`Outcome.alerts`).
    """
    closed = alerts[alerts["status"] == "closed"]
    if "kind" in closed:
        closed = closed[closed["kind"] == PATTERN]
    keys = zip(closed["sensor"], epoch_ms(closed["start"]), strict=True)
    said = dict(zip(keys, closed["contributions"], strict=True))
    ours = zip(episodes["sensor"], epoch_ms(episodes["start"]), contributions, strict=True)
    return [
        _apart(parts, said[sensor, start_ms] or ())
        for sensor, start_ms, parts in ours
        if (sensor, start_ms) in said
    ]


def _apart(ours: Iterable[Contribution], theirs: Iterable[Mapping[str, Any]]) -> float:
    """Return how far one alert's contributions are apart.

    Examples
    --------
    >>> part = Contribution("flow", 1.0, "above", 2.0)
    >>> _apart([part], [{"channel": "flow", "share": 0.75, "direction": "above", "expected": 2.0}])
    0.25
    >>> _apart([part], [])
    inf
    """
    mine = {part.channel: part for part in ours}
    other = {part["channel"]: Contribution(**part) for part in theirs}
    if mine.keys() != other.keys():
        return math.inf
    return max((_part_apart(part, other[name]) for name, part in mine.items()), default=0.0)


def _part_apart(ours: Contribution, theirs: Contribution) -> float:
    if ours.direction != theirs.direction or (ours.expected is None) != (theirs.expected is None):
        return math.inf
    expected, other = ours.expected or 0.0, theirs.expected or 0.0
    return max(abs(ours.share - theirs.share), abs(expected - other) / max(abs(expected), 1.0))


__all__ = ["differences"]
