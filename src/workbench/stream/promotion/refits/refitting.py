"""Fit the champion's specification anew on the trailing span, and let the gate decide.

The archive's last days are cut in two, which share no reading:

    [ trailing span: fitted on, its last third buys the threshold | days: the gate judges ]

`days` and the budget are the stream's (`gate` in its file). Detector and threshold come from
`detectors.fit_again`, as in a replayed schedule (`replay_refits`): a reading of a known event is
not learnt from, nor, where the policy says so, one under an alarm of what was promoted then. With
`labels: feedback` what people answered is taken up (`evaluation.answered`).

With `threshold_only`, given or in the specification, the package stays, and only the threshold is
bought anew (`detectors.buy_again`), on what of the trailing span came after its fit: the promotion
names the same package with another threshold, from its own instant on. With `carry_over` it is
bought with what the budget has left since then, and the span ends with the archive: the gate judges
the budget over all that time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench import detectors
from workbench.arrays import Bools
from workbench.detectors import Package
from workbench.errors import StreamError
from workbench.evaluation import GroundTruth
from workbench.stream.definition.stream_file import Stream, load_stream
from workbench.stream.promotion.checks import promoted, truth_of
from workbench.stream.promotion.gate import promote
from workbench.stream.promotion.proof import READINGS, as_run, batch_path
from workbench.stream.promotion.refits.drifting import drift
from workbench.stream.promotion.refits.spending import carried_over
from workbench.stream.promotion.refits.trailing import (
    Span,
    Taken,
    fitted_until,
    readings_of,
    trailing_span,
)
from workbench.stream.promotion_log import (
    Promotion,
    find_package,
    in_force,
    promotions,
    store,
)
from workbench.stream.running import originals
from workbench.times import Time, epoch_ms, instant_ms, iso


def refit(
    stream: str | Path | Stream,
    *,
    trailing_days: float | None = None,
    readings: int = READINGS,
    archive: str | None = None,
    answers_until: Time = None,
    reason: str = "",
    threshold_only: bool = False,
    carry_over: float | None = None,
) -> Promotion:
    """Fit the champion's specification on the trailing span, and promote it if the gate lets it.

    For cron: from the same archive and the same answers comes the same package, and what is
    champion already is not promoted again.

    Parameters
    ----------
    trailing_days
        Length of the span to fit on; None: `refit: trailing_h` of the specification, or the length
        of the span that the champion was fitted on.
    readings
        Parity is proven on so many.
    archive
        Folder or URL; None: the one that is configured.
    answers_until
        With `labels: feedback`: answers that were given later do not count; None: all do. The
        package's training names the instant of the last one that counts.
    reason
        Kept in the log: `reason_to_refit`.
    threshold_only
        Leave the detector as it is, and buy its threshold alone; so it is in any case where the
        specification's `refit` says so.
    carry_over
        Leave the detector as it is, and buy its threshold with what the budget has left since its
        fit, so many times. None: as the specification's `refit` says.

    Raises
    ------
    PromotionRefused
        If the gate refuses; it lists every reason.
    StreamError
        If there is no champion, no alert budget, or too little in the archive; with
        `threshold_only` also where the stream file's own threshold stands.
    DetectorError
        If a fit is refused, or too little came since the last one to buy a threshold by.
    """
    definition = load_stream(stream)
    log = promotions(definition.name, "champion")
    if not log:
        raise StreamError(
            f"stream {definition.name} has no champion to fit again",
            where=store(),
            hint=f"workbench promote RUN --stream {definition.name}",
        )
    champion = find_package(log[-1].package)
    truth = truth_of(definition, until=answers_until)
    opened = originals.readable(definition, archive)
    times = detectors.carries_over(champion.spec["refit"]) if carry_over is None else carry_over
    spans = trailing_span(
        definition, champion, log[-1].sensors, trailing_days, opened, held_out=not times
    )
    asked: dict[str, Any] = {"sensors": log[-1].sensors, "readings": readings, "archive": opened}
    asked["truth"] = truth  # an answer that is given meanwhile is in no package either
    if times or threshold_only or detectors.buys_only(champion.spec["refit"]):
        threshold, why, more = _bought(definition, log, spans, times, opened, truth)
        reason = "; ".join(filter(None, [reason, why]))
        package = store() / "packages" / champion.id
        return promote(
            package, stream=definition, threshold=threshold, reason=reason, **asked, **more
        )
    place = store() / "streams" / definition.name
    with tempfile.TemporaryDirectory(prefix=".refit-", dir=place) as folder:
        package = Path(folder) / "detector"
        _fit(definition, log[-1], spans, opened, package, truth)
        return promote(package, stream=definition, reason=reason, **asked)


def reason_to_refit(
    stream: str | Path | Stream, *, archive: str | originals.Origin | None = None
) -> str:
    """Return what of the champion has drifted over its limit; empty: nothing, or not known yet.

    After a promotion it is not known until the days that `drift` judges were all scored by what
    was promoted: before, they speak of the one that it replaced.

    Raises
    ------
    StreamError
        As `drift`.
    """
    definition = load_stream(stream)
    drifted = drift(definition, archive=archive)
    begin_ms = instant_ms(drifted.judged[0]) or 0
    log = promotions(definition.name, "champion")
    if drifted.passed or not log or log[-1].effective_ms > begin_ms:
        return ""
    return "; ".join(drifted.reasons())


def _fit(
    stream: Stream, promotion: Promotion, spans: Span, archive: originals.Origin, folder: Path,
    truth: GroundTruth,
) -> None:  # fmt: skip
    champion = find_package(promotion.package)
    training = readings_of(stream, spans.start, spans.stop, archive)
    terms = _terms(stream, champion)
    again = fitted_again(stream, champion, training, terms, truth, sensors=promotion.sensors)
    answers = {"answers": dict(truth.manifest)} if truth.answers else {}
    detectors.save(
        again.detector,
        folder,
        threshold=again.threshold,
        rule=terms.rule,
        training={**training.attrs["manifest"], **answers},
    )


def _bought(
    stream: Stream, log: Sequence[Promotion], spans: Span, times: float, archive: originals.Origin,
    truth: GroundTruth,
) -> tuple[float, str, dict[str, Any]]:  # fmt: skip
    """Return the threshold that is bought alone, how, and what else the gate is to be given.

    What is carried over is what came until now: then the gate has no days that the threshold does
    not know, and is given those that it was bought on, and what came before.
    """
    champion, more = find_package(log[-1].package), {}
    terms, why = _terms(stream, champion, alone=True), f"{iso(spans.start)} to {iso(spans.stop)}"
    training = readings_of(stream, spans.start, spans.stop, archive)
    alerts = 0.0
    if times:
        carried = carried_over(stream, champion, log, spans, times, terms, truth, archive)
        start = max(spans.start, fitted_until(champion))
        frame = originals.readings(stream, archive, iso(start), iso(spans.stop))
        why, alerts, more = (
            f"{why}; {carried}",
            carried.alerts,
            {"carried": carried, "frame": frame},
        )
    threshold = bought_again(
        stream, champion, training, terms, truth, sensors=log[-1].sensors, carried=alerts
    )
    return threshold, f"threshold bought on {why}", more


def _terms(stream: Stream, champion: Package, *, alone: bool = False) -> detectors.Terms:
    if alone and stream.threshold is not None:
        raise StreamError(
            f"stream {stream.name} declares the threshold {stream.threshold:g} itself, which no "
            "promotion changes",
            hint="leave `threshold` out of the stream file",
        )
    budget = stream.gate.alerts_per_sensor_day
    if budget is None:
        raise StreamError(
            f"stream {stream.name} declares no alert budget, which its threshold comes from",
            hint="gate: {alerts_per_sensor_day: 0.3} in the stream file",
        )
    share = min(detectors.MOST_ALARMED, stream.gate.alarm_share)
    return detectors.Terms(budget, as_run(stream, champion).rule, alarm_share=share)


def fitted_again(
    stream: Stream,
    champion: Package,
    training: pd.DataFrame,
    terms: detectors.Terms,
    truth: GroundTruth,
    *,
    sensors: Sequence[str] = (),
) -> detectors.Refit:
    """Return what a champion's specification becomes after the readings of a trailing span.

    Parameters
    ----------
    training
        The span, of all sensors: lateness is judged by all of a partition.
    truth
        What is known of it: faults and what is left out are not learnt from; what was answered
        raises the threshold, and an alarm that was false is learnt from.
    sensors
        Those that it is the champion of; empty: all.
    """
    span = Taken.of(stream, training, truth, sensors)
    log = promotions(stream.name, "champion")
    alarm = (
        _alarm(stream, log, training, terms, span.arrived)
        if detectors.asks_for_alarms(champion.spec["refit"])
        else np.zeros(len(training), dtype=np.bool_)
    )
    stop_ms = int(span.times_ms.max(initial=0)) + 1
    return detectors.fit_again(
        champion.spec,
        span.readings,
        sensor=stream.sensor,
        terms=terms,
        left_out=span.left_out,
        alarm=alarm[span.rows] & (span.usual < 0),
        fits_ms=[*(line.effective_ms for line in log), stop_ms],
        before=champion.detector,
        answered=span.answered,
    )


def bought_again(
    stream: Stream,
    champion: Package,
    training: pd.DataFrame,
    terms: detectors.Terms,
    truth: GroundTruth,
    *,
    sensors: Sequence[str] = (),
    carried: float = 0.0,
) -> float:
    """Return the threshold that a champion, left as it is, has after a trailing span.

    The parameters are those of `fitted_again`, and `carried` as `detectors.buy_again` takes it; of
    the span, what came after its fit counts.
    """
    fitted_ms = fitted_until(champion)
    span = Taken.of(stream, training, truth, sensors)
    return detectors.buy_again(
        champion.detector,
        span.readings,
        sensor=stream.sensor,
        terms=terms,
        left_out=span.left_out,
        fresh=span.times_ms >= fitted_ms,
        carried=carried,
        answered=span.answered,
    )


def _alarm(
    stream: Stream, log: Sequence[Promotion], frame: pd.DataFrame, terms: detectors.Terms,
    taken: Bools,
) -> Bools:  # fmt: skip
    """Return which readings alarmed by what was promoted when they were taken.

    Those that were not `taken`, (n,), count for no alarm's begin or end, as in the stream.
    """
    sensors, times = frame[stream.sensor].to_numpy(dtype=object), epoch_ms(frame["event_time"])
    holds = in_force(log, sensors, times)
    scores, thresholds = np.full((2, len(frame)), np.nan)
    for position in np.unique(holds[holds >= 0]):
        package = as_run(stream, promoted(log[position]))
        held = holds == position
        scores[held] = batch_path(stream, package, frame).scores[held]
        thresholds[held] = package.threshold
    alarm = np.zeros(len(frame), dtype=np.bool_)
    alarm[taken] = detectors.alarming(
        times[taken], sensors[taken], scores[taken], thresholds[taken], terms.rule
    )
    return alarm
