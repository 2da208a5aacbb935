"""What an alert budget has left since a fit, which the next threshold is bought with.

A threshold is bought by what came before it, and what comes after it alerts more or less often.
`carry_over` makes up for that, as a household does: the alerts that the budget allowed and that did
not come are allowed on top when the next threshold is bought, and those that were too many are
taken off. It counts what was said, by the thresholds that were in force; nothing is remembered.

Only the last CARRIED_SPANS trailing spans count: a quiet year must not end in a flood, nor a loud
week in a year that hears nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.arrays import Bools, Ints
from workbench.detectors.alarms import EpisodeRule, alarm_starts, sensor_days
from workbench.detectors.contract import Detector

CARRIED_SPANS = 4  # trailing spans


@dataclass(frozen=True)
class Spent:
    """What of a budget was spent.

    Attributes
    ----------
    alerts
        Alarms that began, outside of known events.
    sensor_days
        In so much time: each sensor's from its first reading to its last.
    """

    alerts: int
    sensor_days: float

    def left(self, alerts_per_sensor_day: float) -> float:
        """Return the alerts that the budget has left; below 0: so many were too many.

        Examples
        --------
        >>> Spent(alerts=2, sensor_days=10.0).left(0.5)
        3.0
        """
        return alerts_per_sensor_day * self.sensor_days - self.alerts


def spent(
    times_ms: Ints,
    sensors: Sequence[object] | NDArray[Any],
    above: Bools,
    *,
    left_out: Bools,
    rule: EpisodeRule,
    detector: Detector | None = None,
) -> Spent:
    """Return what readings have spent of a budget.

    Parameters
    ----------
    times_ms, sensors
        Shape (n,), in arrival order, late readings left out.
    above
        Shape (n,): whether a reading scored above the threshold that was in force when it came.
    left_out
        Shape (n,): readings of known events. An alarm that begins in one is what is wanted.
    detector
        With `level: sensor`, a sensor without a level has no part in the budget. None: all have.

    Examples
    --------
    >>> times = np.arange(5) * 43_200_000  # two days
    >>> above, known = np.array([0, 1, 0, 1, 0], bool), np.array([0, 0, 0, 1, 0], bool)
    >>> spent(times, ["a"] * 5, above, left_out=known, rule=EpisodeRule())
    Spent(alerts=1, sensor_days=2.0)
    """
    names = np.asarray(sensors, dtype=object)
    (starts,) = alarm_starts(times_ms, names, above.astype(np.float64), [0.5], rule)
    usual = ~left_out
    days = sensor_days(times_ms[usual], names[usual], detector)
    return Spent(int(usual[starts].sum()), days)
