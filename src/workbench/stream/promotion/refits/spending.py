"""What a champion has spent of its stream's alert budget, by the log of promotions.

Each reading of the archive is scored by what was promoted when it came, against the threshold that
was in force then: nothing is kept beside the log.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workbench import detectors
from workbench.detectors import Package
from workbench.evaluation import GroundTruth
from workbench.stream.definition.stream_file import Stream
from workbench.stream.frames import arrived
from workbench.stream.promotion.budget import Carried
from workbench.stream.promotion.refits.scored_span import DAY_MS, ScoredSpan
from workbench.stream.promotion.refits.trailing import Span, fitted_until
from workbench.stream.promotion_log import Promotion
from workbench.stream.running import originals

_DAILY_H = 24.0  # between two refits, where no policy says


def carried_over(
    stream: Stream,
    champion: Package,
    log: Sequence[Promotion],
    span: Span,
    times: float,
    terms: detectors.Terms,
    truth: GroundTruth,
    archive: originals.Origin,
) -> Carried:
    """Return what a champion's next threshold is bought with, beside the budget of its span.

    Parameters
    ----------
    log
        The promotions that say what was in force; the last one's sensors are asked about.
    span
        The trailing span; so many of them count at most (`detectors.CARRIED_SPANS`).
    times
        How many times what is left of the budget is carried over.
    truth
        An alarm that begins in a known event is not counted.

    Raises
    ------
    StreamError
        If the champion does not say until when it was fitted.
    """
    promoted_ms = min(line.effective_ms for line in log if line.package == champion.id)
    length_ms = span.stop - span.start
    begin_ms = max(
        fitted_until(champion), promoted_ms, span.stop - detectors.CARRIED_SPANS * length_ms
    )
    if begin_ms >= span.stop:
        return Carried(begin_ms, detectors.Spent(0, 0.0), 0.0, 0.0)
    scored = ScoredSpan(stream, archive, list(log), np.array([begin_ms - length_ms, span.stop]))
    spent = _spent(scored, champion, truth, begin_ms, span.stop)
    next_h = (champion.spec.get("refit") or {}).get("every_h", _DAILY_H)
    sensors = spent.sensor_days * DAY_MS / (span.stop - begin_ms)  # that spoke, each all the time
    return Carried(
        begin_ms,
        spent,
        times * spent.left(terms.alerts_per_sensor_day or 0.0),
        sensors * next_h / 24,
    )


def _spent(
    scored: ScoredSpan, champion: Package, truth: GroundTruth, begin_ms: int, stop_ms: int
) -> detectors.Spent:
    order = detectors.partition_order(scored.frame)
    rows = order[~arrived(scored.stream, scored.frame).left_out[order]]
    names = scored.frame[scored.stream.sensor].to_numpy(dtype=object)
    counted = scored.within(begin_ms, stop_ms)
    if scored.log[-1].sensors:
        counted &= detectors.of_sensors(names, scored.log[-1].sensors)
    rows = rows[counted[rows]]
    return detectors.spent(
        scored.times[rows],
        names[rows],
        scored.scored[1][rows],
        left_out=truth.unfit(scored.times[rows], names[rows]),
        rule=scored.packages[-1].rule,
        detector=champion.detector,
    )
