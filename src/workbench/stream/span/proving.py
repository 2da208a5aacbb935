"""Parity over a span of any size: sensors a few at a time, the job's rows beside the batch path's.

The job runs once over all messages. What it wrote, and the readings, are sorted by sensor on disk;
then all readings of some sensors are scored by the batch path, and compared with what the job says
of these, as `proof.certify` does with a frame.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from workbench.archive import Archive
from workbench.arrays import Ints
from workbench.detectors import Detection, Package, detect, episode_contributions
from workbench.errors import StreamError
from workbench.history import KafkaRecords
from workbench.stream.definition.stream_file import Stream, load_stream
from workbench.stream.promotion.certificates import MESSAGES, Certificate
from workbench.stream.promotion.proof import (
    READINGS,
    alone,
    certified,
    gathered,
    judged_package,
    prove,
    with_derived,
)
from workbench.stream.running import originals
from workbench.stream.running.job import run_files
from workbench.stream.running.originals import Origin
from workbench.stream.running.outcome import Outcome, Written
from workbench.stream.selection import as_promoted, select
from workbench.stream.span import fates, peaks
from workbench.stream.span.exporting import Span, export
from workbench.stream.span.rows import CHANNEL

PIECE_ROWS = 250_000  # readings that are scored together, and those of a sensor that has more
_BUCKET = "hash(coalesce({}, ''))"  # a sensor's readings are in one, and follow one another
_LAST = np.uint64(np.iinfo(np.uint64).max)


def parity(
    stream: str | Path | Stream,
    frame: pd.DataFrame | None = None,
    *,
    package: str | None = None,
    readings: int = READINGS,
    time: str = "event_time",
    archive: str | Origin | None = None,
    scored_share: float | None = None,
) -> Certificate:
    """Score readings by both paths and compare.

    The batch path scores what the archive's reader makes of the messages, the job the very
    messages, by its own parser. Of a frame that came from elsewhere, both score the frame. Without
    a frame none is made of the span, however many `readings` are asked for: the certificate says
    how much memory it took.

    Parameters
    ----------
    frame
        Readings in order of arrival; if left out, the last `readings` of the archive.
    package
        Id of a package in place of the stream's detector.
    time
        Column with the event time.
    archive
        Where the readings of `frame` are from, or those of the archive if there is none: a folder,
        a URL, or an open one. None: `frame` is of no archive; or, without one, what is configured.
    scored_share
        The least share of the readings that could have a full window which has to be scored, 0 to
        1; None: what the stream's `gate` says.

    Raises
    ------
    StreamError
        If the stream has no detector, the readings do not fit it, none are asked for, or the job
        fails.
    """
    if readings < 1:
        raise StreamError(f"parity of {readings} readings proves nothing, at least 1 is needed")
    definition = load_stream(stream)
    definition = definition if package else as_promoted(definition)
    judged = judged_package(definition, package)
    floor = definition.gate.scored_share if scored_share is None else scored_share
    messages = None
    if frame is None:
        opened = originals.readable(definition, archive)
        if not isinstance(opened, KafkaRecords):
            return prove_span(definition, judged, opened, readings, floor=floor)
        archive = opened
    if frame is None or archive is not None:
        frame, messages = gathered(definition, frame, archive, readings)
    return prove(definition, judged, frame, messages, time=time, floor=floor)


def prove_span(
    stream: Stream,
    package: Package,
    archive: Archive,
    readings: int,
    *,
    floor: float = 0.0,
    piece_rows: int = PIECE_ROWS,
) -> Certificate:
    """Run both paths over the last readings of an archive, and return what comparing them found.

    Parameters
    ----------
    package
        What scores them, with the stream's threshold and rule (`as_run`); it is in the store.
    floor
        The least share of the readings that could have a full window which has to be scored.
    piece_rows
        How many readings are held at a time: all of some sensors, of one at least.
    """
    peaks.forget()
    scored = alone(stream)
    with tempfile.TemporaryDirectory(prefix="workbench-") as temporary:
        folder = Path(temporary)
        span = export(scored, archive, folder, channels=scored.channels, newest=readings)
        source, facts = span.source(folder / "messages.tsv"), span.facts
        selection = select(scored, package.id)
        written = run_files(selection, source, folder, facts.readings, facts.last_ms, batch=False)
        (folder / "messages.tsv").unlink()
        whole = compare_span(scored, package, span, written, piece_rows=piece_rows)
    process_mib, flink_mib = peaks.peaks_mib()
    return replace(
        whole,
        read=MESSAGES,
        floor=floor,
        peak_mib=round(process_mib),
        flink_peak_mib=round(flink_mib),
    )


def compare_span(
    stream: Stream,
    package: Package,
    span: Span,
    written: Written,
    *,
    piece_rows: int = PIECE_ROWS,
) -> Certificate:
    """Return in what the paths differ over a span, as `proof.certify` of a frame.

    Parameters
    ----------
    span
        The readings, with the stream's channels.
    written
        What the job said of them.
    piece_rows
        As `prove_span` takes it.
    """
    each = list(_certificates(stream, package, span, written, piece_rows))
    return replace(_joined(each), first=span.facts.first_id, last=span.facts.last_id)


def _certificates(
    stream: Stream, package: Package, span: Span, written: Written, piece_rows: int
) -> Iterator[Certificate]:
    """Yield what comparing the paths finds in each piece, the sensors of one together."""
    channels = ", ".join(CHANNEL.format(i) for i in range(len(stream.channels)))
    columns = f"message_id, sensor, time_ms, position, fate, {channels}"
    ordered = (
        f"SELECT {_BUCKET.format('sensor')} AS bucket, {columns} FROM rows ORDER BY 1, position"
    )
    said = _Said(span, written)
    for bucket, rows in _pieces(span.asked(ordered), piece_rows):
        frame, fate = _frame(stream, rows)
        yield _certify(stream, package, frame, fate, said.upto(bucket, frame[stream.sensor]))


def _pieces(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[tuple[np.uint64, pa.Table]]:
    """Yield readings of whole buckets, `rows` of them if there are so many, with the last one."""
    held: list[pa.RecordBatch] = []
    for batch in filter(len, batches):
        held.append(batch)
        ends = held[0]["bucket"][0], batch["bucket"][-1]
        if ends[0] == ends[1] or sum(each.num_rows for each in held) < rows:
            continue
        table = pa.Table.from_batches(held)
        buckets = table["bucket"].to_numpy()
        whole = int(np.searchsorted(buckets, buckets[-1]))  # the last one may go on
        if whole:
            yield buckets[whole - 1], table.slice(0, whole).combine_chunks()
        held = table.slice(whole).combine_chunks().to_batches()
    yield _LAST, pa.Table.from_batches(held)


def _frame(stream: Stream, rows: pa.Table) -> tuple[pd.DataFrame, Ints]:
    """Return readings as `originals.readings` has them, in order of arrival, and their fates."""
    rows = rows.take(pc.sort_indices(rows["position"]))
    frame = rows.select(["message_id"]).to_pandas()
    frame[stream.sensor] = rows["sensor"].to_numpy()
    frame["event_time"] = originals.time_column(rows["time_ms"].to_numpy(), frame.index)
    for i, channel in enumerate(stream.channels):
        frame[channel] = rows[CHANNEL.format(i)].to_pandas()
    return with_derived(stream, frame), rows["fate"].to_numpy().astype(np.int64)


def _certify(
    stream: Stream, package: Package, frame: pd.DataFrame, fate: Ints, outcome: Outcome
) -> Certificate:
    """Return in what the paths differ over all readings of some sensors."""
    taken = np.flatnonzero(fate == fates.TAKEN)
    kept = frame.iloc[taken]
    detection = detect(package, kept, sensor=stream.sensor)
    scores = np.full(len(frame), np.nan)
    scores[taken] = detection.scores
    batch = Detection(scores, fate == fates.LATE, detection.episodes, fate == fates.AHEAD)
    why = episode_contributions(package, kept, batch.episodes, sensor=stream.sensor)
    return certified(stream, package, frame, batch, outcome, why)


class _Said:
    """What the job wrote, given out by buckets of sensors, as the readings are."""

    def __init__(self, span: Span, written: Written) -> None:
        self._written, self._alerts = written, written.alerts()
        by_sensor = f"SELECT {_BUCKET.format('sensor')} AS bucket, * FROM {{0}} ORDER BY 1"
        self._rows = {
            name: _Sorted(span.asked(by_sensor.format(name), **{name: written.reader(name)}))
            for name in ("scores", "late")
        }
        self._rows["refused"] = _Sorted(  # the job does not say whose they are
            span.asked(
                f"SELECT {_BUCKET.format('rows.sensor')} AS bucket, refused.message_id, "
                "refused.reason FROM refused LEFT JOIN rows USING (message_id) ORDER BY 1",
                refused=written.reader("refused"),
            )
        )

    def upto(self, bucket: np.uint64, sensors: pd.Series) -> Outcome:
        """Return what it says of all buckets up to one that were not given out yet."""
        mine = self._alerts["sensor"].isin(set(sensors.dropna())) | (bucket == _LAST)
        alerts, self._alerts = self._alerts[mine], self._alerts[~mine]
        said = {name: rows.upto(bucket) for name, rows in self._rows.items()}
        written = self._written
        return Outcome(
            written.stream.name,
            written.package,
            alerts.reset_index(drop=True),
            said["scores"],
            said["late"],
            written.readings,
            written.startup_s,
            written.running_s,
            refused=said["refused"],
        )


class _Sorted:
    """Rows in the order of their buckets, taken from the front."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._held: pa.Table | None = None

    def upto(self, bucket: np.uint64) -> pd.DataFrame:
        """Return all rows up to a bucket that were not taken yet."""
        held = [] if self._held is None else [self._held]
        while not held or held[-1].num_rows == 0 or held[-1]["bucket"][-1].as_py() <= bucket:
            batch = next(self._batches, None)
            if batch is None:
                break
            held.append(pa.Table.from_batches([batch]))
        table = pa.concat_tables(held)
        stop = int(np.searchsorted(table["bucket"].to_numpy(), bucket, side="right"))
        self._held = table.slice(stop).combine_chunks()
        rows: pd.DataFrame = table.slice(0, stop).drop(["bucket"]).to_pandas()
        return rows


def _joined(certificates: Sequence[Certificate]) -> Certificate:
    """Return one certificate of several, each of other sensors of one run of a job."""

    def values(name: str) -> list[Any]:
        return [getattr(each, name) for each in certificates]

    merged: dict[str, Any] = {name: sum(values(name)) for name in _SUMMED}
    merged |= {name: float(np.max(values(name))) for name in _LARGEST}  # NaN where one is
    merged |= {name: tuple(chain.from_iterable(values(name))) for name in _LISTED}
    reasons = certificates[0].unscored
    merged["unscored"] = {why: sum(of[why] for of in values("unscored")) for why in reasons}
    return replace(certificates[0], **merged, pieces=len(certificates))


_SUMMED = (
    "readings", "scored", "alerts", "late_batch", "late_stream", "late_differing", "able",
    "explained",
)  # fmt: skip
_LARGEST = ("largest_difference", "largest_explanation_difference")
_LISTED = ("differing_alerts", "differing_rows")

__all__ = ["compare_span", "parity", "prove_span"]
