"""What a bounded job wrote, read back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from workbench.cards import Card, HasCard
from workbench.stream.definition.stream_file import Stream
from workbench.stream.flink_sql.outputs import written
from workbench.stream.running.alert_table import alert_rows

OUTPUTS = ("alerts", "scores", "late", "refused")
_SHORTEST_S = 0.1
_TYPES = {"STRING": pa.string(), "BIGINT": pa.int64(), "DOUBLE": pa.float64()}


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
    read = pyarrow.csv.ReadOptions(column_names=list(columns))
    convert = pyarrow.csv.ConvertOptions(
        column_types={name: _TYPES[kind] for name, kind in columns.items()}
    )
    for path in sorted(folder.glob("part-*")):
        if path.stat().st_size:
            yield from pyarrow.csv.open_csv(path, read_options=read, convert_options=convert)


def until_end(stream: Stream, alerts: pd.DataFrame, last_ms: int) -> pd.DataFrame:
    """Leave out sensors that were silent only since the readings ended."""
    silent = {n: p.after_s for n, p in stream.patterns.items() if p.template == "silent_sensor"}
    if not silent:
        return alerts
    until = alerts["start"] + pd.to_timedelta(alerts["kind"].map(silent), unit="s")
    end = pd.Timestamp(last_ms, unit="ms", tz="UTC")
    kept = (alerts["status"] == "closed") | until.isna() | (until < end)
    return alerts[kept].reset_index(drop=True)
