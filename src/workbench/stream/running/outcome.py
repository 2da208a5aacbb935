"""What a bounded job wrote, read back."""

from __future__ import annotations

import json
from collections.abc import Iterator
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

_SHORTEST_S = 0.1


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


def _csv(folder: Path, columns: Any) -> pd.DataFrame:
    types = {"STRING": pa.string(), "BIGINT": pa.int64(), "DOUBLE": pa.float64()}
    read = pyarrow.csv.ReadOptions(column_names=list(columns))
    convert = pyarrow.csv.ConvertOptions(
        column_types={name: types[kind] for name, kind in columns.items()}
    )
    parts = [path for path in sorted(folder.glob("part-*")) if path.stat().st_size]
    tables = [pyarrow.csv.read_csv(p, read_options=read, convert_options=convert) for p in parts]
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    found: pd.DataFrame = pa.concat_tables([schema.empty_table(), *tables]).to_pandas()
    return found


def until_end(stream: Stream, alerts: pd.DataFrame, last_ms: int) -> pd.DataFrame:
    """Leave out sensors that were silent only since the readings ended."""
    silent = {n: p.after_s for n, p in stream.patterns.items() if p.template == "silent_sensor"}
    if not silent:
        return alerts
    until = alerts["start"] + pd.to_timedelta(alerts["kind"].map(silent), unit="s")
    end = pd.Timestamp(last_ms, unit="ms", tz="UTC")
    kept = (alerts["status"] == "closed") | until.isna() | (until < end)
    return alerts[kept].reset_index(drop=True)
