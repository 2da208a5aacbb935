"""What a stream asks of a detector before it may score: the `gate` of a stream file.

    gate:
      labels: data/labels.csv       # known events, which candidates are judged by
      metric: f1                    # that decides between candidate and champion
      days: 3.5                     # the recent span that they are judged on
      alerts_per_sensor_day: 0.3    # most alerts on that span, outside of known events
      drift: 0.4                    # most that a channel may have moved since training, 0 to 1
      us_per_reading: 500           # most that scoring a reading may cost, microseconds

All of it may be left out. What has no limit is measured and told, and refuses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from workbench.errors import StreamError, did_you_mean

METRICS = {
    "f1": 1,
    "recall": 1,
    "precision": 1,
    "vus_pr": 1,
    "auc_pr": 1,
    "delay_median_s": -1,
    "delay_p90_s": -1,
    "false_alerts_per_sensor_day": -1,
}  # by name: 1 where more is better, -1 where less is


@dataclass(frozen=True)
class Gate:
    """What `promote` asks of a candidate; None: no limit.

    Attributes
    ----------
    labels
        CSV file of known events; empty: none are known.
    metric
        A name in METRICS.
    days
        Length of the recent span, days.
    alerts_per_sensor_day
        Most alerts on the recent span that begin in no known event, per sensor and day; what
        the threshold of a `refit` is set by.
    drift
        Most that the distribution of a channel may differ between training and the recent span:
        the largest difference of the two cumulative distributions (Kolmogorov-Smirnov), 0 to 1.
    us_per_reading
        Most time to score one reading, microseconds.
    """

    labels: str = ""
    metric: str = "f1"
    days: float = 7.0
    alerts_per_sensor_day: float | None = None
    drift: float | None = None
    us_per_reading: float | None = None


def parse_gate(given: Mapping[str, Any]) -> Gate:
    """Return the gate that a stream file declares, checked.

    Raises
    ------
    StreamError
        If a key is unknown or a value is no limit.
    """
    known = [one.name for one in fields(Gate)]
    for key, value in given.items():
        if key not in known:
            raise StreamError(f"a gate has no {key!r}", hint=did_you_mean(str(key), known))
        if key in ("labels", "metric"):
            if not isinstance(value, str):
                raise StreamError(f"gate {key} is {value!r}, expected a text")
        elif type(value) not in (int, float) or not 0 < value < math.inf:
            raise StreamError(f"gate {key} is {value!r}, expected a number above 0")
    gate = Gate(**given)
    if gate.metric not in METRICS:
        raise StreamError(
            f"gate metric is {gate.metric!r}", hint=did_you_mean(gate.metric, METRICS)
        )
    return gate
