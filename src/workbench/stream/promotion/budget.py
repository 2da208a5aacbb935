"""Whether a candidate would alert as seldom and as shortly as the stream's budget allows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from workbench.detectors import Spent
from workbench.stream.definition.stream_file import Stream
from workbench.stream.promotion.checks import Judged
from workbench.stream.promotion.verdicts import Finding, limited
from workbench.times import iso


@dataclass(frozen=True)
class Carried:
    """What a threshold was bought with beside the budget (`carry_over`).

    Attributes
    ----------
    since_ms
        From when the alerts are counted, event time.
    spent
        Those that came since, by the thresholds that were in force.
    alerts
        So many more (below 0: fewer) than the budget the new threshold may give on the trailing
        span.
    next_days
        Until the next threshold, sensor-days.
    """

    since_ms: int
    spent: Spent
    alerts: float
    next_days: float

    def __str__(self) -> str:
        """What the log of promotions says of it."""
        return (
            f"{self.spent.alerts} alerts in {self.spent.sensor_days:.3g} sensor-days since "
            f"{iso(self.since_ms)}, {self.alerts:+.3g} carried over"
        )

    def rate(self, alerts_per_sensor_day: float) -> float:
        """Return the alerts a day and sensor since then, if the next days have so many.

        Examples
        --------
        >>> Carried(0, Spent(alerts=3, sensor_days=6.0), 0.0, next_days=2.0).rate(0.5)
        0.5
        """
        days = self.spent.sensor_days + self.next_days
        alerts = self.spent.alerts + alerts_per_sensor_day * self.next_days
        return alerts / days if days else alerts_per_sensor_day


def within_budget(stream: Stream, candidate: Judged, champion: Judged | None = None) -> Finding:
    """Whether it would alert as seldom, and as shortly, as is wanted, outside of known events.

    Where all of the span is known nobody can tell, and that is no pass. One that would do so too
    often or too long passes where the champion does it more: to refuse it would keep the louder.

    Parameters
    ----------
    champion
        What it would take the place of, of the same readings; None: of nothing, or not of all.
    """
    most, longest = stream.gate.alerts_per_sensor_day, stream.gate.alarm_share
    (usual, share), now = _burden(candidate), _burden(champion)
    finding = limited("expected alerts", usual, most, _expected(candidate), "{:.3g}")
    wanted = f"{finding.wanted}, in alarm at most {longest:.0%}"
    if (most is not None and most < now[0] < math.inf) or longest < now[1] < math.inf:
        wanted += f", or less than the champion's {now[0]:.3g} and {now[1]:.1%}"
    quiet = most is None or usual <= most or usual < now[0] < math.inf
    brief = share <= longest or share < now[1] < math.inf
    passed = (None if most is None else True) if quiet and brief else False
    return replace(finding, passed=passed, wanted=wanted)


def _burden(judged: Judged | None) -> tuple[float, float]:
    """Return alerts a day and sensor, and share in alarm; within no limit where nobody can tell."""
    if judged is None:
        return 0.0, 0.0
    usual, share = judged.figures["false_alerts_per_sensor_day"], judged.figures["alarm_share"]
    if judged.alerts_per_sensor_day is None or usual is None or share is None:
        return math.inf, math.inf
    return usual, share


def _expected(judged: Judged) -> str:
    """Return what is said of them; `{}` stands for the alerts a day and sensor."""
    every, (usual, share) = judged.alerts_per_sensor_day, _burden(judged)
    if every is None or share == math.inf:
        if judged.unleveled:
            return "not judged: what is not known is of sensors without a level"
        return "not judged: all of it is known"
    with_events = f" ({every:.3g} with known events)" if every > usual else ""
    unleveled = f", {judged.unleveled:,} sensors without a level left out"
    return (
        f"{{:.3g}} a day and sensor{with_events}, in alarm {share:.1%} of the time"
        f"{unleveled if judged.unleveled else ''}"
    )


def same_detector(stream: Stream, judged: Sequence[Judged]) -> Finding:
    """What a threshold that a carried budget bought costs and brings: told, and no reason.

    The detector ranks readings as before. Where it says less than the threshold in force, it is
    because more was said than the budget allows; to refuse it would be to keep the louder one.
    """
    figures = [one.summary(stream.gate.metric) for one in judged]
    if not judged[0].judgeable:
        figures = ["not known: nothing is labelled or answered in what is judged"]
    before = f"; champion: {figures[1]}" if len(figures) > 1 else ""
    name, wanted = "not worse than the champion", "the same detector: its alert budget decides"
    return Finding(name, None, figures[0], wanted + before)


def within_carried(
    stream: Stream, candidate: Judged, carried: Carried, champion: Judged | None = None
) -> Finding:
    """Whether the budget is kept since the fit, if the days until the next refit are as expected.

    Of the trailing span by itself nobody could ask that: what the budget has left is spent in it on
    top, and its days are those that the threshold was bought on. In the long run alerts are those
    that came, by thresholds that knew nothing of them, and what this one adds until the next.
    One within the budget by itself passes too: it pays back. So does one that is no louder than the
    champion.

    Parameters
    ----------
    champion
        As `within_budget` has it.
    """
    most, longest = stream.gate.alerts_per_sensor_day or 0.0, stream.gate.alarm_share
    (usual, share), now = _burden(candidate), _burden(champion)
    overall = carried.rate(usual) if usual < math.inf else math.inf
    wanted = f"at most {most:.3g}, in alarm at most {longest:.0%}; or no more than the champion"
    quiet = min(overall, usual) <= most or usual <= now[0] < math.inf
    brief = share <= longest or share <= now[1] < math.inf
    return Finding("expected alerts", quiet and brief, _since(carried, usual, share), wanted)


def _since(carried: Carried, usual: float, share: float) -> str:
    """Return what is said of the alerts since the fit, and of those to come."""
    if usual == math.inf:
        return "not judged: all of it is known"
    before = carried.spent
    return (
        f"{carried.rate(usual):.3g} a day and sensor since {iso(carried.since_ms, 'm')}: "
        f"{before.alerts} in {before.sensor_days:.3g} sensor-days, by the thresholds in force, "
        f"and {usual:.3g} a day until the next refit, as on the readings that this one was bought "
        f"by, in alarm {share:.1%} of that time"
    )
