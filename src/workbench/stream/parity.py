"""Proof that notebook and stream score alike: the same readings, by both paths, compared.

The batch path is `detectors.detect`; the stream's is the job itself, on Flink's mini cluster.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.cards import Card, Shown
from workbench.detectors import Detection, Package, detect
from workbench.errors import StreamError
from workbench.history import replay
from workbench.stream.definition import Stream, load_stream
from workbench.stream.ends import message_ids
from workbench.stream.job import run
from workbench.stream.outcome import Outcome
from workbench.stream.promotions import Promotion, find_package, store
from workbench.stream.selection import chosen

READINGS = 200_000
TOLERANCE = 1e-9  # relative; scores near 0 are compared with 1
_LIBRARIES = ("workbench", "apache-flink", "numpy", "pandas", "pyarrow", "pyod", "scikit-learn")


@dataclass(frozen=True)
class Certificate(Shown):
    """What comparing both paths found.

    Attributes
    ----------
    stream, package
        What was compared.
    first, last
        Message ids of the first and the last reading.
    readings, scored
        How many were compared, and how many of them have a score in the batch path.
    largest_difference
        Between two scores, relative; infinite if only one path has a score.
    alerts
        How many alarms the batch path has.
    differing_alerts
        Those that only one path has, or whose peak, end or count differ: as text.
    late_batch, late_stream, late_differing
        Readings that came too late, in each path, and how many only one of them left out.
    rate
        Readings per second in the job, start-up left out.
    versions
        Of the libraries that scored.
    """

    stream: str
    package: str
    first: str
    last: str
    readings: int
    scored: int
    largest_difference: float
    alerts: int
    differing_alerts: tuple[str, ...]
    late_batch: int
    late_stream: int
    late_differing: int
    rate: float
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the paths agree."""
        return not self.reasons()

    def reasons(self) -> list[str]:
        """Return in what the paths differ; nothing if they agree."""
        reasons = []
        if not self.scored:
            reasons.append(f"none of {self.readings} readings has a score, so nothing is proven")
        if not self.largest_difference <= TOLERANCE:
            reasons.append(f"scores differ by {self.largest_difference:.3g}, at most {TOLERANCE:g}")
        if self.differing_alerts:
            few = "; ".join(self.differing_alerts[:3])
            reasons.append(f"{len(self.differing_alerts)} alerts differ: {few}")
        if self.late_differing:
            reasons.append(f"{self.late_differing} readings are late in one path only")
        return reasons

    def card(self) -> Card:
        """Return what a notebook shows of it."""
        facts = {
            "verdict": "both paths agree" if self.passed else "the paths differ",
            "because": "; ".join(self.reasons()),
            "package": self.package[:16],
            "readings": f"{self.readings:,}, {self.scored:,} of them scored",
            "messages": f"{self.first} to {self.last}",
            "scores differ by": f"{self.largest_difference:.3g} at most, {TOLERANCE:g} allowed",
            "alerts": f"{self.alerts:,}, {len(self.differing_alerts)} of them differ",
            "late": f"{self.late_batch:,} in batch, {self.late_stream:,} in the stream",
            "rate": f"{self.rate:,.0f} readings a second",
            "versions": self.versions,
        }
        return Card("certificate of parity", self.stream, facts)

    def json(self) -> str:
        """Return the certificate as JSON."""
        return json.dumps({"passed": self.passed, **asdict(self)}, indent=1)

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}-{os.getpid()}")
        temporary.write_text(self.json() + "\n", encoding="utf-8")
        temporary.replace(path)


def parity(
    stream: str | Path | Stream,
    frame: pd.DataFrame | None = None,
    *,
    package: str | None = None,
    readings: int = READINGS,
    time: str = "event_time",
) -> Certificate:
    """Score readings by both paths and compare.

    Parameters
    ----------
    frame
        Readings in order of arrival; if left out, the last `readings` of the archive.
    package
        Id of a package in place of the stream's detector.
    time
        Column with the event time.

    Raises
    ------
    StreamError
        If the stream has no detector, the readings do not fit it, or the job fails.
    """
    found = load_stream(stream)
    judged = find_package(package) if package else chosen(found)
    if frame is None:
        frame = _last(found, readings)
    alone = replace(found, also=(), shadow="", machine="", sums={}, limits={}, patterns={})
    outcome = run(alone, frame, time_column=time, package=judged.id)
    batch = detect(
        as_run(found, judged),
        with_derived(found, frame),
        sensor=found.sensor,
        time=time,
        lateness_ms=found.lateness_ms,
    )
    return compare(outcome, batch, frame)


def certificate(promotion: Promotion) -> Certificate:
    """Return the certificate that a promotion was allowed by.

    Raises
    ------
    StreamError
        If it is not in the store, or not a certificate.
    """
    path = store() / promotion.certificate
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        del stored["passed"]  # derived
        return Certificate(**{**stored, "differing_alerts": tuple(stored["differing_alerts"])})
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise StreamError(f"there is no certificate: {err}", where=path) from err


def as_run(stream: Stream, package: Package) -> Package:
    """Return a package with the stream's own threshold and rule in place of its own."""
    return replace(
        package,
        threshold=package.threshold if stream.threshold is None else stream.threshold,
        rule=stream.rule or package.rule,
    )


def _last(stream: Stream, readings: int) -> pd.DataFrame:
    frame = replay(stream.topic, columns=[stream.sensor, *stream.channels])
    if not len(frame):
        raise StreamError(f"the archive has no readings of {stream.topic}")
    return frame.tail(readings).reset_index(drop=True)


def with_derived(stream: Stream, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the readings with the derived channels, by DuckDB (DESIGN D4)."""
    if not stream.derived:
        return frame
    import duckdb

    made = ", ".join(
        f'CAST({expression} AS DOUBLE) AS "{name}"' for name, expression in stream.derived.items()
    )
    readings = frame[list(stream.channels)].astype(np.float64)  # noqa: F841 - read by DuckDB
    query = f"SELECT {made.replace('`', chr(34))} FROM readings"
    with duckdb.connect() as connection:
        try:
            derived = connection.execute(query).df()
        except duckdb.Error as err:
            raise StreamError(f"DuckDB cannot evaluate the derived channels: {err}") from err
    return frame.assign(**{name: derived[name].to_numpy() for name in stream.derived})


def compare(outcome: Outcome, batch: Detection, frame: pd.DataFrame) -> Certificate:
    """Return in what the job and the batch path differ.

    Parameters
    ----------
    outcome, batch
        What `run` and `detectors.detect` made of the same readings.
    frame
        Those readings.
    """
    ids = pd.Index(message_ids(frame))
    scores, seen = np.full(len(ids), np.nan), np.zeros(len(ids), dtype=np.bool_)
    rows = ids.get_indexer(pd.Index(outcome.scores["message_id"]))
    scores[rows], seen[rows] = outcome.scores["score"].to_numpy(), True
    late = np.asarray(ids.isin(outcome.late["message_id"]))
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
        late_differing=int((late != batch.late).sum() + (seen == late).sum()),
        rate=round(outcome.rate, 1),
        versions={name: version(name) for name in _LIBRARIES},
    )


def _difference(batch: NDArray[np.float64], stream: NDArray[np.float64]) -> float:
    if (np.isnan(batch) != np.isnan(stream)).any():
        return float("inf")
    there = ~np.isnan(batch)
    if not there.any():
        return 0.0
    size = np.maximum(np.abs(batch[there]), 1.0)
    return float(np.max(np.abs(batch[there] - stream[there]) / size))


def _differing(episodes: pd.DataFrame, outcome: Outcome) -> Iterable[str]:
    """Yield what differs between alarms; one that never ended is compared by its start only."""
    both = episodes.merge(
        outcome.alerts,
        how="outer",
        on=["sensor", "start"],
        suffixes=("", "_stream"),
        indicator=True,
    )
    only = both["_merge"].astype(str).map({"left_only": "batch only", "right_only": "stream only"})
    closed = both["status"] == "closed"
    last = outcome.scores.groupby("sensor")["event_ms"].max()
    ended = both["stop"] <= pd.to_datetime(both["sensor"].map(last), unit="ms", utc=True)
    wrong = only.notna() | (closed != ended)
    for name in ("peak_time", "stop", "readings"):
        wrong |= closed & (both[name] != both[f"{name}_stream"])
    size = both["peak_score"].abs().clip(lower=1.0)
    wrong |= closed & ~((both["peak_score"] - both["peak_score_stream"]).abs() <= TOLERANCE * size)
    for position in np.flatnonzero(wrong):
        one = both.iloc[position]
        why = "differs" if pd.isna(only.iloc[position]) else only.iloc[position]
        yield f"{one['sensor']} from {one['start']:%Y-%m-%dT%H:%M:%S.%fZ}: {why}"


__all__ = ["READINGS", "TOLERANCE", "Certificate", "as_run", "compare", "parity"]
