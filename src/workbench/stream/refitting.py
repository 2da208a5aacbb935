"""Fit the champion's specification anew on the trailing span, and let the gate decide.

The archive's last days are cut in three, none of which shares a reading with another:

    [ trailing span: fitted on | days: threshold by the alert budget | days: the gate judges ]

`days` and the budget are the stream's (`gate` in its file). Readings of known events are in none of
the first two: a detector that learns a fault as usual will not find the next one.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workbench import detectors
from workbench.detectors import Package
from workbench.errors import StreamError
from workbench.evaluation import labelled
from workbench.history import open_archive, replay
from workbench.stream.checks import labels_of, span_ms
from workbench.stream.definition import Stream, load_stream
from workbench.stream.gate import promote
from workbench.stream.parity import READINGS, as_run, with_derived
from workbench.stream.promotions import Promotion, find_package, iso, promotions, store

_DAY_MS = 86_400_000


@dataclass(frozen=True)
class _Spans:
    """Epoch ms: fitted on [start, middle), threshold from [middle, stop)."""

    start: int
    middle: int
    stop: int


def refit(
    stream: str | Path | Stream,
    *,
    trailing_days: float | None = None,
    readings: int = READINGS,
    archive: str | None = None,
) -> Promotion:
    """Fit the champion's specification on the trailing span, and promote it if the gate lets it.

    For cron: from the same archive comes the same package, and what is champion already is not
    promoted again.

    Parameters
    ----------
    trailing_days
        Length of the span to fit on; None: `refit: trailing_h` of the specification, or the length
        of the span that the champion was fitted on.
    readings
        Parity is proven on so many.
    archive
        Folder or URL; None: the one that is configured.

    Raises
    ------
    PromotionRefused
        If the gate refuses; it lists every reason.
    StreamError
        If there is no champion, no alert budget, or too little in the archive.
    """
    found = load_stream(stream)
    log = promotions(found.name, "champion")
    if not log:
        raise StreamError(
            f"stream {found.name} has no champion to fit again",
            where=store(),
            hint=f"workbench promote RUN --stream {found.name}",
        )
    champion = find_package(log[-1].package)
    spans = _spans(found, champion, trailing_days, archive)
    place = store() / "streams" / found.name
    with tempfile.TemporaryDirectory(prefix=".refit-", dir=place) as folder:
        package = Path(folder) / "detector"
        _fit(found, champion, spans, archive, package)
        return promote(
            package,
            stream=found,
            sensors=log[-1].sensors,
            readings=readings,
            archive=archive,
        )


def _spans(
    stream: Stream, champion: Package, trailing_days: float | None, archive: str | None
) -> _Spans:
    times = open_archive(archive).topic(stream.topic).times()
    if not len(times):
        raise StreamError(f"the archive has no readings of {stream.topic}")
    days_ms = round(stream.gate.days * _DAY_MS)
    stop = int(times.max()) + 1 - days_ms
    start = stop - days_ms - _trailing_ms(champion, trailing_days)
    if start < int(times.min()) - _DAY_MS:
        raise StreamError(
            f"the archive begins at {iso(int(times.min()))}, the trailing span at {iso(start)}",
            hint="a shorter one (--trailing-days), or fewer days in the stream file's gate",
        )
    return _Spans(start, stop - days_ms, stop)


def _trailing_ms(champion: Package, trailing_days: float | None) -> int:
    policy = champion.spec.get("refit") or {}
    if trailing_days is not None:
        return round(trailing_days * _DAY_MS)
    if "trailing_h" in policy:
        return int(policy["trailing_h"] * _DAY_MS / 24)
    fitted = span_ms(champion.training)
    if fitted is None or not fitted[0]:
        raise StreamError(
            "neither the champion's refit policy nor its training says how long to fit on",
            hint="give --trailing-days",
        )
    return fitted[1] - fitted[0]


def _fit(
    stream: Stream, champion: Package, spans: _Spans, archive: str | None, folder: Path
) -> None:
    budget = stream.gate.alerts_per_sensor_day
    if budget is None:
        raise StreamError(
            f"stream {stream.name} declares no alert budget, which its threshold comes from",
            hint="gate: {alerts_per_sensor_day: 0.3} in the stream file",
        )
    training = _readings(stream, spans.start, spans.middle, archive)
    quiet = _readings(stream, spans.middle, spans.stop, archive)
    fitted = detectors.fit(
        champion.spec, training, sensor=stream.sensor, keep=~_known(stream, training)
    )
    rule = as_run(stream, champion).rule
    usual = quiet[~_known(stream, quiet)]
    threshold = detectors.threshold_for_budget(
        detectors.epoch_ms(usual["event_time"]),
        usual[stream.sensor].to_numpy(),
        detectors.score_readings(
            fitted, usual, sensor=stream.sensor, lateness_ms=stream.lateness_ms
        ),
        alerts_per_sensor_day=budget,
        rule=rule,
    )
    detectors.save(
        fitted, folder, threshold=threshold, rule=rule, training=training.attrs["manifest"]
    )


def _readings(stream: Stream, start: int, stop: int, archive: str | None) -> pd.DataFrame:
    columns = [stream.sensor, *stream.channels]
    frame = replay(stream.topic, iso(start), iso(stop), archive=archive, columns=columns)
    ready = with_derived(stream, frame)
    ready.attrs = frame.attrs
    return ready


def _known(stream: Stream, frame: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which readings lie in a known event."""
    times = detectors.epoch_ms(frame["event_time"])
    return labelled(times, frame[stream.sensor].to_numpy(), labels_of(stream))
