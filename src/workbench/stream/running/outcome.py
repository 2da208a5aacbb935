"""What a bounded job wrote, read back."""

from __future__ import annotations

import io
import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from workbench.cards import Card, HasCard
from workbench.errors import StreamError
from workbench.stream.definition.stream_file import Stream
from workbench.stream.flink_sql.outputs import written
from workbench.stream.running.alert_table import alert_rows

OUTPUTS = ("alerts", "scores", "late", "refused")
_SHORTEST_S = 0.1
_TYPES = {"STRING": pa.string(), "BIGINT": pa.int64(), "DOUBLE": pa.float64()}
_MARKS = [bytes([number]) for number in (*range(1, 9), *range(14, 32))]  # control characters
_BLOCK = 16 << 20  # bytes: a row is in one, and no message of Kafka or Pulsar is longer by default


@dataclass(frozen=True, eq=False)
class Outcome(HasCard):
    """What a bounded job made of some readings.

    Attributes
    ----------
    stream, package
        Name of the stream, and id of the package that it started with.
    alerts
        Newest state of each alert, one row per id, by start.
    scores
        `message_id`, `sensor`, `event_ms`, `score` (NaN where there is none), `threshold`,
        `package`.
    late
        `message_id`, `sensor`, `event_ms` of readings that came too late.
    readings
        How many went in.
    startup_s, running_s
        Until the first score was written, and from then to the end.
    shadow
        What the challenger would have alerted, as `alerts`.
    refused
        `message_id`, `reason` of readings whose time cannot be: they lead their partition's others.
    """

    stream: str
    package: str
    alerts: pd.DataFrame
    scores: pd.DataFrame
    late: pd.DataFrame
    readings: int
    startup_s: float
    running_s: float
    shadow: pd.DataFrame = field(default_factory=pd.DataFrame)
    refused: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def rate(self) -> float:
        """Readings per second, start-up left out."""
        return self.readings / max(self.running_s, _SHORTEST_S)

    def card(self) -> Card:
        """Return what a notebook shows of it: the newest alerts."""
        facts = {
            "package": self.package[:16],
            "readings": f"{self.readings:,}, {len(self.late):,} of them late",
            "refused": f"{len(self.refused):,}" if len(self.refused) else None,
            "alerts": len(self.alerts),
            "challenger's alerts": len(self.shadow) or None,
            "rate": f"{self.rate:,.0f} readings/s after {self.startup_s:.1f} s of start-up",
        }
        return Card("outcome of stream", self.stream, facts, alert_rows(self.alerts))


@dataclass(frozen=True)
class Written:
    """What a bounded job wrote, in files.

    Attributes
    ----------
    stream, package
        What ran, and the id of the package that it started with.
    place
        The folder of the files.
    readings, last_ms
        How many went in, and the newest time of them, epoch ms.
    startup_s, running_s
        As `Outcome` has them.
    """

    stream: Stream
    package: str
    place: Path
    readings: int
    last_ms: int
    startup_s: float
    running_s: float

    @property
    def rate(self) -> float:
        """Readings per second, start-up left out."""
        return self.readings / max(self.running_s, _SHORTEST_S)

    def alerts(self) -> pd.DataFrame:
        """Return the newest state of each alert."""
        return until_end(self.stream, output(self.stream, "alerts", self.place), self.last_ms)

    def pieces(self, name: str) -> Iterator[pa.RecordBatch]:
        """Yield what was written of scores, late or refused readings, some MiB at a time."""
        return _batches(self.place / name, written(self.stream, name))

    def reader(self, name: str) -> pa.RecordBatchReader:
        """Return what reads `pieces` once."""
        schema = _schema(written(self.stream, name))
        return pa.RecordBatchReader.from_batches(schema, self.pieces(name))

    def outcome(self) -> Outcome:
        """Return all of it in frames."""
        scores, late, refused = (output(self.stream, n, self.place) for n in OUTPUTS[1:])
        return Outcome(
            self.stream.name, self.package, self.alerts(), scores, late, self.readings,
            self.startup_s, self.running_s, output(self.stream, "shadow", self.place), refused,
        )  # fmt: skip


def output(stream: Stream, name: str, place: Path) -> pd.DataFrame:
    """Return what a job wrote of a view below `place`: of alerts their newest states."""
    columns = written(stream, name)
    if name in ("alerts", "shadow"):
        return newest(_json_lines(place / name), list(columns))
    return _csv(place / name, columns)


def _json_lines(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("part-*")):
        with path.open(encoding="utf-8") as file:
            yield from map(json.loads, file)


def newest(alerts: Iterator[dict[str, Any]], names: list[str]) -> pd.DataFrame:
    """Return one row per alert id (docs/design.md, D9): the closed one if any, else the last."""
    frame = pd.DataFrame(list(alerts), columns=names)
    frame["closed"] = frame["status"] == "closed"
    frame = frame.sort_values("closed", kind="stable").drop_duplicates("id", keep="last")
    for name in ("start", "peak_time", "stop"):
        frame[name] = pd.to_datetime(frame[name], utc=True).dt.as_unit("ms")
    return frame.sort_values(["start", "sensor"], ignore_index=True).drop(columns="closed")


def _csv(folder: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    frame: pd.DataFrame = pa.Table.from_batches(
        list(_batches(folder, columns)), _schema(columns)
    ).to_pandas()
    return frame


def _schema(columns: Mapping[str, str]) -> pa.Schema:
    return pa.schema([(name, _TYPES[kind]) for name, kind in columns.items()])


def _batches(folder: Path, columns: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    read = pyarrow.csv.ReadOptions(column_names=list(columns), block_size=_BLOCK)
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)  # a sensor may have any name
    convert = pyarrow.csv.ConvertOptions(
        column_types={name: _TYPES[kind] for name, kind in columns.items()}
    )
    for path in sorted(folder.glob("part-*")):
        if path.stat().st_size:
            mark = _mark(path)
            with path.open("rb") as raw, pa.PythonFile(_Marked(raw, mark), mode="r") as file:
                for batch in pyarrow.csv.open_csv(
                    file, read_options=read, parse_options=parse, convert_options=convert
                ):
                    yield _with_zeros(batch, mark) if mark else batch


def _mark(path: Path) -> bytes:
    """Return a byte that a file does not have, to stand for the zeros in it; empty: it has none."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"\0") < 0:
            return b""
        for mark in _MARKS:
            if content.find(mark) < 0:
                return mark
    raise StreamError("names of sensors hold a zero and every other control character", where=path)


class _Marked(io.RawIOBase):
    """A file whose zeros read as a mark: behind one, Arrow's reader overlooks a quote or a comma.

    (With pyarrow 11, in rows that follow long ones; a test has them.)
    """

    def __init__(self, file: BinaryIO, mark: bytes) -> None:
        self._file, self._mark = file, mark

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        return content.replace(b"\0", self._mark) if self._mark else content


def _with_zeros(batch: pa.RecordBatch, mark: bytes) -> pa.RecordBatch:
    columns = [
        pc.replace_substring(column, mark.decode(), "\0")
        if pa.types.is_string(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def until_end(stream: Stream, alerts: pd.DataFrame, last_ms: int) -> pd.DataFrame:
    """Leave out sensors that were silent only since the readings ended."""
    silent = {n: p.after_s for n, p in stream.patterns.items() if p.template == "silent_sensor"}
    if not silent:
        return alerts
    until = alerts["start"] + pd.to_timedelta(alerts["kind"].map(silent), unit="s")
    end = pd.Timestamp(last_ms, unit="ms", tz="UTC")
    kept = (alerts["status"] == "closed") | until.isna() | (until < end)
    return alerts[kept].reset_index(drop=True)
