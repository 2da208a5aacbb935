"""Proof that notebook and Pulsar Function score alike: the same messages, by both, compared.

The function is exported into a folder and imported from there, as a functions worker would; then
its `process` is called with each message, in this process. What it publishes is compared as JSON.
What a worker does around it is not looked at: how messages come, acknowledgement, restarts.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pulsar
import pyarrow as pa

from workbench.detectors import Package, sensor_rows
from workbench.errors import StreamError
from workbench.stream.definition.stream_file import Stream, load_stream
from workbench.stream.flink_sql.outputs import topics, written
from workbench.stream.frames import in_step, message_ids
from workbench.stream.function.bundle import Exported, check_possible, export_function
from workbench.stream.function.memory import Row
from workbench.stream.function.process import StreamFunction
from workbench.stream.promotion.certificates import FUNCTION, MESSAGES, Certificate
from workbench.stream.promotion.proof import (
    batch_path,
    certify,
    gathered,
    judged_package,
    with_derived,
)
from workbench.stream.running import originals
from workbench.stream.running.outcome import Outcome, newest
from workbench.stream.selection import as_promoted

READINGS = 20_000  # a function takes hundreds to thousands a second
_LOG = logging.getLogger(__name__)
_TYPES = {"event_ms": "int64", "score": "float64", "threshold": "float64"}


def function_parity(
    stream: str | Path | Stream,
    frame: pd.DataFrame | None = None,
    *,
    package: str | None = None,
    readings: int = READINGS,
    archive: str | originals.Origin | None = None,
    scored_share: float | None = None,
) -> Certificate:
    """Score the archive's messages by the batch path and by the stream's Pulsar Function; compare.

    At the end of the messages those that still wait for their time are let go, as in a bounded
    job; a function that runs waits for what comes next.

    Parameters
    ----------
    frame
        Readings of the archive; if left out, its last `readings`.
    package, archive, scored_share
        As for `parity`.

    Raises
    ------
    StreamError
        If the stream has no detector or says what a function cannot do, or a sensor's readings
        come by several partitions, which a function does not merge.
    """
    definition = load_stream(stream)
    check_possible(definition)
    definition = definition if package else as_promoted(definition)
    judged = judged_package(definition, package)
    frame, messages = gathered(definition, frame, archive, readings)
    floor = definition.gate.scored_share if scored_share is None else scored_share
    return prove_function(definition, judged, frame, messages, floor=floor)


def prove_function(
    stream: Stream, package: Package, frame: pd.DataFrame, messages: pa.Table, *, floor: float = 0.0
) -> Certificate:
    """Run batch path and function over messages, and return what comparing them found.

    Parameters
    ----------
    package
        What scores them, with the stream's threshold and rule; it is in the store.
    frame, messages
        Readings, and the messages that they were made of, row by row.
    """
    ready = originals.prepared(stream, frame, messages)
    _refuse_split(stream, ready)
    outcome = run_function(stream, package, messages.take(in_step(stream, ready)))
    ready = with_derived(stream, ready)
    certified = certify(stream, package, ready, batch_path(stream, package, ready), outcome)
    return replace(certified, read=MESSAGES, compared=FUNCTION, floor=floor)


def _refuse_split(stream: Stream, frame: pd.DataFrame) -> None:
    """Refuse readings of which a sensor's come by several partitions."""
    parts = pd.Series(message_ids(frame)).str.split(":").str[-2]
    for sensor, rows in sensor_rows(frame[stream.sensor]).items():
        partitions = set(parts.iloc[rows])
        if len(partitions) == 1:
            continue
        raise StreamError(
            f"readings of {stream.sensor} {sensor} come by partitions "
            f"{', '.join(sorted(partitions))}: a function merges nothing across partitions",
            where=stream.topic,
            hint=f"workbench stream run {stream.name}: the job puts them in order",
        )


def run_function(stream: Stream, package: Package, messages: pa.Table) -> Outcome:
    """Return what a stream's function says of messages, in the order in which they come.

    Parameters
    ----------
    messages
        As `message_file.write` takes them.
    """
    definition = replace(
        stream, scores=stream.scores or "scores", refused=stream.refused or "refused"
    )
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
        exported = export_function(definition, Path(folder), package=package.id)
        function, context = _imported(exported), _Worker(exported.folder / "package")
        begun = time.monotonic()
        late = []
        for message in _messages(messages):
            context.message = message
            function.process(message.data(), context)
            late += _rows(function, "late")
        function.end(context)
        late += _rows(function, "late")
    rows = {view: context.published.get(topic, []) for view, topic in topics(definition).items()}
    rows["late"] = late
    return Outcome(
        stream.name,
        package.id,
        newest(iter(rows["alerts"]), list(written(stream, "alerts"))),
        _frame(stream, rows, "scores"),
        _frame(stream, rows, "late"),
        len(messages),
        begun - began,
        time.monotonic() - begun,
        refused=_frame(stream, rows, "refused"),
    )


def _rows(function: StreamFunction, view: str) -> list[Row]:
    return [row for name, row in function.said if name == view]


def _frame(stream: Stream, rows: dict[str, list[Row]], view: str) -> pd.DataFrame:
    columns = list(written(stream, view))
    types = {name: kind for name, kind in _TYPES.items() if name in columns}
    return pd.DataFrame(rows[view], columns=columns).astype(types)


def _imported(exported: Exported) -> StreamFunction:
    """Return the function of the file that was written."""
    spec = importlib.util.spec_from_file_location(exported.file.stem, exported.file)
    assert spec  # noqa: S101 - for mypy: a path to a .py file has a spec
    assert spec.loader  # noqa: S101 - and a loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: StreamFunction = getattr(module, exported.title)()
    return function


@dataclass(frozen=True)
class _Message:
    """A message as a consumer hands it over."""

    number: pulsar.MessageId
    event_ms: int
    publish_ms: int
    value: bytes

    def message_id(self) -> pulsar.MessageId:
        return self.number

    def data(self) -> bytes:
        return self.value

    def event_timestamp(self) -> int:
        return self.event_ms

    def publish_timestamp(self) -> int:
        return self.publish_ms


def _messages(messages: pa.Table) -> Iterator[_Message]:
    for row in messages.to_pylist():
        ledger, entry, partition, batch = map(int, row["message_id"].split(":"))
        number = pulsar.MessageId(partition, ledger, entry, batch)
        yield _Message(number, row["event_ms"], row["publish_ms"], row["value"] or b"")


@dataclass
class _Worker:
    """What a function asks of the worker that runs it; keeps what is published, by topic."""

    package: Path
    message: Any = None
    published: dict[str, list[Row]] = field(default_factory=dict)

    def get_message_id(self) -> pulsar.MessageId:
        return self.message.message_id()

    def get_message_eventtime(self) -> int:
        return int(self.message.event_timestamp())

    def get_user_config_value(self, key: str) -> str | None:
        return str(self.package) if key == "package" else None

    def get_logger(self) -> logging.Logger:
        return _LOG

    def publish(self, topic_name: str, message: str, *, message_conf: Any) -> None:
        self.published.setdefault(topic_name, []).append(json.loads(message))


__all__ = ["READINGS", "function_parity", "prove_function", "run_function"]
