"""Proof that notebook and stream score alike: the same readings, by both paths, compared.

The batch path is `detectors.detect`; the stream's is the job itself, on Flink's mini cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from workbench import kafka, local_sql
from workbench.arrays import Bools, Floats, Ints
from workbench.detectors import (
    Contribution,
    Detection,
    Package,
    detect,
    episode_contributions,
    sensor_codes,
)
from workbench.errors import StreamError
from workbench.services import caller_versions
from workbench.stream.definition.stream_file import Stream
from workbench.stream.flink_sql.tables import AHEAD
from workbench.stream.flink_sql.views import PATTERN
from workbench.stream.frames import message_ids
from workbench.stream.promotion import explained, unscored
from workbench.stream.promotion.certificates import (
    FRAME,
    MESSAGES,
    RECORDS,
    TOLERANCE,
    Certificate,
)
from workbench.stream.promotion_log import find_package
from workbench.stream.running import originals
from workbench.stream.running.job import run
from workbench.stream.running.originals import Origin
from workbench.stream.running.outcome import Outcome
from workbench.stream.selection import chosen

READINGS = 200_000
_LIBRARIES = ("workbench", "apache-flink", "numpy", "pandas", "pyarrow", "pyod", "scikit-learn")


def judged_package(stream: Stream, package: str | None = None) -> Package:
    """Return the package of an id, or what the stream's `detector` names, as it runs there."""
    return as_run(stream, find_package(package) if package else chosen(stream))


def gathered(
    stream: Stream, frame: pd.DataFrame | None, archive: str | Origin | None, readings: int
) -> tuple[pd.DataFrame, pa.Table]:
    """Return readings of an archive, its last ones if there is no frame, and their messages."""
    opened = originals.readable(stream, archive)
    frame = _last(stream, opened, readings) if frame is None else frame
    return frame, originals.messages(stream, opened, frame)


def prove(
    stream: Stream,
    package: Package,
    frame: pd.DataFrame,
    messages: pa.Table | None = None,
    *,
    time: str = "event_time",
    floor: float = 0.0,
) -> Certificate:
    """Run both paths over readings, and return what comparing them found.

    Parameters
    ----------
    package
        What scores them, with the stream's threshold and rule (`as_run`); it is in the store.
    messages
        The messages that `frame` was made of, row by row (`originals.messages`); None: the job
        reads the frame.
    floor
        The least share of the readings that could have a full window which has to be scored.
    """
    ready = originals.prepared(stream, frame, messages)
    outcome = run(alone(stream), ready, time_column=time, package=package.id, messages=messages)
    ready = with_derived(stream, ready)
    batch = batch_path(stream, package, ready, time=time)
    proven = certify(stream, package, ready, batch, outcome, time=time)
    kept = RECORDS if kafka.is_topic(stream.topic) else MESSAGES
    kept += f", Avro of {stream.record}" if stream.record else ""
    return replace(proven, read=FRAME if messages is None else kept, floor=floor)


def alone(stream: Stream) -> Stream:
    """Return a stream that its detector's scores and alerts are all of."""
    return replace(stream, also=(), shadow="", machine="", sums={}, limits={}, patterns={})


def certify(
    stream: Stream,
    package: Package,
    ready: pd.DataFrame,
    batch: Detection,
    outcome: Outcome,
    *,
    time: str = "event_time",
) -> Certificate:
    """Return in what the paths differ over some readings, and why those without a score have none.

    Parameters
    ----------
    ready
        The readings, with sensors by name and derived channels.
    batch, outcome
        What `batch_path` and `run` made of them.
    """
    why = episode_contributions(
        package, ready, batch.episodes, sensor=stream.sensor, time=time,
        lateness_ms=stream.lateness_ms, ahead_ms=stream.ahead_ms,
    )  # fmt: skip
    return certified(stream, package, ready, batch, outcome, why, time=time)


def certified(
    stream: Stream,
    package: Package,
    ready: pd.DataFrame,
    batch: Detection,
    outcome: Outcome,
    why: Sequence[tuple[Contribution, ...]],
    *,
    time: str = "event_time",
) -> Certificate:
    """Return what `certify` does, where it is known why the batch path alerts.

    Parameters
    ----------
    why
        What each channel has in the peak of each of `batch.episodes`.
    """
    apart = explained.differences(batch.episodes, why, outcome.alerts)
    without = unscored.reasons(
        package.detector, ready, batch, sensor=stream.sensor, time=time,
        max_span_s=package.max_span_s,
    )  # fmt: skip
    able = unscored.able(ready, sensor=stream.sensor, window=package.detector.window)
    return replace(
        compare(outcome, batch, ready, sensor=stream.sensor),
        explained=len(apart),
        largest_explanation_difference=max(apart, default=0.0),
        able=able - without["unsteady"],
        unscored=without,
    )


def batch_path(
    stream: Stream, package: Package, ready: pd.DataFrame, *, time: str = "event_time"
) -> Detection:
    """Return what the batch path makes of a stream's readings, derived channels included."""
    return detect(
        package,
        ready,
        sensor=stream.sensor,
        time=time,
        lateness_ms=stream.lateness_ms,
        ahead_ms=stream.ahead_ms,
    )


def as_run(stream: Stream, package: Package) -> Package:
    """Return a package with the stream's own threshold and rule in place of its own."""
    return replace(
        package,
        threshold=package.threshold if stream.threshold is None else stream.threshold,
        rule=stream.rule or package.rule,
    )


def _last(stream: Stream, archive: Origin, count: int) -> pd.DataFrame:
    frame = originals.readings(stream, archive)
    if not len(frame):
        raise StreamError(f"the archive has no readings of {stream.topic}")
    return originals.newest(frame, count)


def with_derived(stream: Stream, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the readings with the derived channels, by DuckDB (docs/design.md, D4)."""
    if not stream.derived:
        return frame
    from workbench.local_sql import duckdb  # for its errors

    columns = ", ".join(
        f'CAST({expression} AS DOUBLE) AS "{name}"' for name, expression in stream.derived.items()
    )
    readings = frame[list(stream.channels)].astype(np.float64)
    query = f"SELECT {columns.replace('`', chr(34))} FROM readings"
    with local_sql.connect() as connection:
        connection.register("readings", readings)
        try:
            derived = connection.execute(query).df()
        except duckdb.Error as err:
            raise StreamError(f"DuckDB cannot evaluate the derived channels: {err}") from err
    return frame.assign(**{name: derived[name].to_numpy() for name in stream.derived})


def compare(
    outcome: Outcome, batch: Detection, frame: pd.DataFrame, *, sensor: str | None = None
) -> Certificate:
    """Return in what the job and the batch path differ.

    Parameters
    ----------
    outcome, batch
        What `run` and `detectors.detect` made of the same readings.
    frame
        Those readings.
    sensor
        Column of the sensor: a row without one is no reading; None: all are.
    """
    ids = pd.Index(message_ids(frame))
    scores = np.full(len(ids), np.nan)
    scored = outcome.scores
    rows = ids.get_indexer(pd.Index(scored["message_id"]))
    strangers, scored, rows = scored[rows < 0], scored[rows >= 0], rows[rows >= 0]
    scores[rows] = scored["score"].to_numpy()
    nameless = np.zeros(len(ids), bool) if sensor is None else frame[sensor].isna().to_numpy()
    ours, theirs = _of_batch(batch, nameless), _of_stream(outcome, ids, rows)
    apart = np.flatnonzero(ours != theirs)
    return Certificate(
        stream=outcome.stream,
        package=outcome.package,
        first=ids[0] if len(ids) else "",
        last=ids[-1] if len(ids) else "",
        readings=len(ids),
        scored=int(np.isfinite(batch.scores).sum()),
        largest_difference=_difference(batch.scores, scores),
        alerts=len(batch.episodes),
        differing_alerts=tuple(_differing(batch.episodes, outcome)),
        late_batch=int(batch.late.sum()),
        late_stream=len(outcome.late),
        late_differing=int(((ours == "late") != (theirs == "late")).sum()),
        rate=round(outcome.rate, 1),
        versions={name: version(name) for name in _LIBRARIES} | caller_versions(),
        differing_rows=tuple(
            f"message {ids[row]} is {ours[row]} in batch, {theirs[row]} in the stream"
            for row in apart
        )
        + tuple(
            f"message {stranger} is none of {sensor}'s readings, read in the stream"
            for stranger, sensor in zip(strangers["message_id"], strangers["sensor"], strict=True)
        ),
    )


def _of_batch(batch: Detection, nameless: Bools) -> NDArray[np.object_]:
    """Return what the batch path makes of each reading: in a window, late, ahead or refused."""
    fates = np.full(len(nameless), "read", dtype=object)
    fates[batch.late] = "late"
    if len(batch.ahead):
        fates[batch.ahead] = "ahead"
    fates[nameless] = "refused"
    return fates


def _of_stream(outcome: Outcome, ids: pd.Index, scored: Ints) -> NDArray[np.object_]:
    """Return the same of the job; `lost` where it says nothing of a reading."""
    fates = np.full(len(ids), "lost", dtype=object)
    np.add.at(counts := np.zeros(len(ids), np.int64), scored, 1)
    fates[counts == 1] = "read"
    fates[counts > 1] = "read twice"
    fates[ids.isin(outcome.late["message_id"])] = "late"
    if len(outcome.refused):
        is_ahead = np.array([str(why).startswith(AHEAD) for why in outcome.refused["reason"]])
        for name, rows in (("ahead", is_ahead), ("refused", ~is_ahead)):
            fates[ids.isin(outcome.refused["message_id"][rows])] = name
    return fates


def _difference(batch: Floats, stream: Floats) -> float:
    if (np.isnan(batch) != np.isnan(stream)).any():
        return float("inf")
    there = ~np.isnan(batch)
    if not there.any():
        return 0.0
    size = np.maximum(np.abs(batch[there]), 1.0)
    return float(np.max(np.abs(batch[there] - stream[there]) / size))


def _side_by_side(episodes: pd.DataFrame, alerts: pd.DataFrame) -> pd.DataFrame:
    """Return the alarms of both paths, those of one sensor and start in one row."""
    names = pd.concat([episodes["sensor"], alerts["sensor"]])
    codes, sensors = sensor_codes(names.astype(object), sort=True)
    first, other = (
        rows.assign(sensor=of) for rows, of in
        ((episodes, codes[: len(episodes)]), (alerts, codes[len(episodes) :]))
    )  # fmt: skip
    both = first.merge(
        other, how="outer", on=["sensor", "start"], suffixes=("", "_stream"), indicator=True
    )
    return both.assign(sensor=np.asarray(sensors, dtype=object)[both["sensor"].to_numpy(np.int64)])


def _differing(episodes: pd.DataFrame, outcome: Outcome) -> Iterable[str]:
    """Yield what differs between alarms; one that never ended is compared by its start only."""
    alerts = outcome.alerts
    if "kind" in alerts:
        alerts = alerts[alerts["kind"] == PATTERN]
    both = _side_by_side(episodes, alerts)
    only = both["_merge"].astype(str).map({"left_only": "batch only", "right_only": "stream only"})
    closed = both["status"] == "closed"
    codes, sensors = sensor_codes(outcome.scores["sensor"])
    last = dict(zip(sensors, outcome.scores["event_ms"].groupby(codes).max(), strict=True))
    ended = both["stop"] <= pd.to_datetime(both["sensor"].map(last), unit="ms", utc=True)
    wrong = only.notna() | (closed != ended)
    for name in ("peak_time", "stop", "readings"):
        wrong |= closed & (both[name] != both[f"{name}_stream"])
    size = both["peak_score"].abs().clip(lower=1.0)
    wrong |= closed & ~((both["peak_score"] - both["peak_score_stream"]).abs() <= TOLERANCE * size)
    for position in np.flatnonzero(wrong):
        alert = both.iloc[position]
        why = "differs" if pd.isna(only.iloc[position]) else only.iloc[position]
        yield f"{alert['sensor']} from {alert['start']:%Y-%m-%dT%H:%M:%S.%fZ}: {why}"


__all__ = [
    "READINGS",
    "alone",
    "as_run",
    "batch_path",
    "certified",
    "certify",
    "compare",
    "gathered",
    "judged_package",
    "prove",
    "with_derived",
]
