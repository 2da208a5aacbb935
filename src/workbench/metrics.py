"""Metrics: what each is, its unit, and whether more or less of it is better.

The one table that sweeps, leaderboards, figures and the gate ask. A metric that is not in it has no
better and no worse: it is shown as it is, and nothing is put in order by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A line of the table.

    Attributes
    ----------
    unit
        As an axis says it behind the name; empty: a share or a count.
    better
        Whether `more` or `less` of it is better.
    """

    unit: str
    better: Literal["more", "less"]


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "f1", "f1_pointwise", "recall", "recall_at_budget", "precision", "accuracy",
                "vus_pr", "auc_pr", "auc_roc", "nab", "r2",
            ),
            Metric("", "more"),
        ),
        "found": Metric("", "more"),
        "readings_per_s": Metric("per s", "more"),
        "missed": Metric("", "less"),
        "false_alerts": Metric("", "less"),
        "false_alerts_per_day": Metric("per day", "less"),
        "false_alerts_per_sensor_day": Metric("per sensor and day", "less"),
        "alarm_share": Metric("", "less"),
        **dict.fromkeys(
            ("delay_s", "delay_median_s", "delay_p90_s", "wall_s", "seconds"), Metric("s", "less")
        ),
        "us_per_reading": Metric("per reading", "less"),
        **dict.fromkeys(
            ("rmse", "mae", "mse", "mape", "loss", "error", "errors"), Metric("", "less")
        ),
        "largest_difference": Metric("", "less"),
        "differing_alerts": Metric("", "less"),
    }
)  # fmt: skip


def metric_named(name: str) -> Metric | None:
    """Return the line of a metric, or of the one that it is a variant of; None if there is none.

    A variant has words behind: `delay_median_s_knn`, `vus_pr_low`. One whose words name another
    metric, such as `recall_error`, is a metric of its own, which the table does not have.

    Examples
    --------
    >>> metric_named("recall").better, metric_named("false_alerts_knn").better
    ('more', 'less')
    >>> metric_named("recall_error") is None, metric_named("alerts") is None
    (True, True)
    """
    words = name.lower().split("_")
    for taken in range(len(words), 0, -1):
        metric = METRICS.get("_".join(words[:taken]))
        if metric is not None:
            return None if set(words[taken:]) & METRICS.keys() else metric
    return None


def direction(name: str) -> int:
    """Return 1 where more of a metric is better, -1 where less is, 0 where nobody knows.

    Examples
    --------
    >>> direction("f1"), direction("delay_median_s"), direction("window")
    (1, -1, 0)
    """
    metric = metric_named(name)
    if metric is None:
        return 0
    return 1 if metric.better == "more" else -1
