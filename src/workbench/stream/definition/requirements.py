"""What a stream asks of a detector before it may score: the `gate` of a stream file.

    gate:
      labels: data/labels.csv       # known events, or `feedback`: what people answered
      metric: f1                    # that decides between candidate and champion
      days: 3.5                     # the recent span that they are judged on
      alerts_per_sensor_day: 0.3    # most alerts on that span, outside of known events
      alarm_share: 0.1              # most of that span's time under an alarm, outside of them
      drift: 0.4                    # most that a channel may have moved since training, 0 to 1
      us_per_reading: 500           # most that scoring a reading may cost, microseconds
      scored_share: 0.9             # least of the readings with a full window that parity scores
      late_share: 0.1               # most of a partition's readings that may come too late, 0 to 1

All of it may be left out. What has no limit is measured and told, and refuses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from workbench.errors import StreamError, did_you_mean
from workbench.stream.definition.patterns import shortened

METRICS = (
    "f1",
    "recall",
    "precision",
    "vus_pr",
    "auc_pr",
    "delay_median_s",
    "delay_p90_s",
    "false_alerts_per_sensor_day",
)  # those of workbench.metrics that the gate can measure

_LARGEST = 1e15


@dataclass(frozen=True)
class Gate:
    """What `promote` asks of a candidate; None: no limit.

    Attributes
    ----------
    labels
        CSV file of known events; `feedback`: what people answered of the stream's alerts; empty:
        none are known.
    metric
        A name in METRICS.
    days
        Length of the recent span, days.
    alerts_per_sensor_day
        Most alerts on the recent span that begin in no known event, per sensor and day; what
        the threshold of a `refit` is set by.
    alarm_share
        Most of the recent span's time, outside of known events, that may be under an alarm, 0 to 1:
        an alarm that never ends is one alert.
    drift
        Most that the distribution of a channel may differ between training and the recent span:
        the largest difference of the two cumulative distributions (Kolmogorov-Smirnov), 0 to 1.
    us_per_reading
        Most time to score one reading, microseconds.
    scored_share
        The least share of the readings that could have a full window which parity has to have
        scored, 0 to 1: what has no score is not proven.
    late_share
        Most of the readings of a partition that may come too late: of a history that is out of
        order the stream scores next to nothing.
    """

    labels: str = ""
    metric: str = "f1"
    days: float = 7.0
    alerts_per_sensor_day: float | None = None
    alarm_share: float = 0.1
    drift: float | None = None
    us_per_reading: float | None = None
    scored_share: float = 0.9
    late_share: float = 0.1


def parse_gate(section: Mapping[str, Any]) -> Gate:
    """Return the gate that a stream file declares, checked.

    Raises
    ------
    StreamError
        If a key is unknown or a value is no limit.
    """
    keys = [term.name for term in fields(Gate)]
    for key, value in section.items():
        if key not in keys:
            raise StreamError(f"a gate has no {key!r}", hint=did_you_mean(str(key), keys))
        if key in ("labels", "metric"):
            if not isinstance(value, str):
                raise StreamError(f"gate {key} is {value!r}, expected a text")
        elif type(value) not in (int, float) or not 0 < value < _LARGEST:
            raise StreamError(f"gate {key} is {shortened(value)}, expected a number above 0")
    gate = Gate(**section)
    if gate.metric not in METRICS:
        raise StreamError(
            f"gate metric is {gate.metric!r}", hint=did_you_mean(gate.metric, METRICS)
        )
    return gate
