"""Keep a Delta table current with a topic: a run adds the ledgers that are new, in one commit.

    DEST/_delta_log/...                                  Delta's own: what belongs to the table
    DEST/event_date=2026-01-05/ledger-00000012-1a2b3c4d.parquet

How far a run came stands in Delta's log with the rows themselves: the commit carries, for each
partition of the topic, the id of the last ledger (an application transaction), and in its info the
id of the last message. So whenever a run is killed, the table holds whole runs, and the next one
writes the same files under the same names again and commits them once.

A ledger with messages of a transaction whose end is not in the archive yet waits, and so do those
behind it in its partition: their rows may still change.

Source: Delta Lake protocol, Transaction Identifiers, Add File; deltalake 1.6.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from workbench import files
from workbench.archive.delivery import Delivery, of_topic
from workbench.archive.messages import STOP_MS
from workbench.archive.parts import Part
from workbench.archive.selection import Selection
from workbench.archive.statistics import READER
from workbench.archive.storage.ledger import Ledger
from workbench.archive.topic import Topic
from workbench.archive.writing.exporting import planned_columns, rows_by_day
from workbench.errors import ArchiveError

_NO_DAY = "__HIVE_DEFAULT_PARTITION__"
_MOST_US = (1 << 63) // 1000
_DELTA = [
    (pa.types.is_boolean, "boolean", pa.bool_()),
    (pa.types.is_int8, "byte", pa.int8()),
    (pa.types.is_int16, "short", pa.int16()),
    (pa.types.is_uint8, "short", pa.int16()),
    (pa.types.is_int32, "integer", pa.int32()),
    (pa.types.is_uint16, "integer", pa.int32()),
    (pa.types.is_int64, "long", pa.int64()),
    (pa.types.is_uint32, "long", pa.int64()),
    (pa.types.is_float32, "float", pa.float32()),
    (pa.types.is_float64, "double", pa.float64()),
    (pa.types.is_string, "string", pa.string()),
    (pa.types.is_binary, "binary", pa.binary()),
    (pa.types.is_date32, "date", pa.date32()),
]


@dataclass(frozen=True)
class Synced:
    """What a run did: ledgers and rows added, ledgers that wait, the table's version."""

    ledgers: int
    rows: int
    waiting: int
    version: int
    last_message_ids: dict[str, str]


def sync(topic: Topic, destination: str | Path, *, columns: list[str] | None = None) -> Synced:
    """Add the messages of all new ledgers to the Delta table at `destination`, a folder.

    The columns are those of `export`, and `event_date`, by which the table is partitioned: the day
    of event time (of publish time where there is none; null where the time cannot be).

    Raises
    ------
    ArchiveError
        If the table is of something else, a column has no type in Delta, a field has another type
        than before, or anything is wrong with the bytes.
    """
    folder = Path(destination)
    schema = topic.decoder(planned_columns(topic, columns)).schema
    if "event_date" in schema.names:
        raise ArchiveError("a field is called event_date, as the table's days", hint="--columns")
    with files.locked(folder / "_workbench.lock"):
        for place in (folder, *folder.glob("event_date=*")):
            files.remove_abandoned(place)
        table = _table(folder, topic, schema)
        run = _Run(topic, folder, schema)
        waiting = 0
        for partition in dict.fromkeys(ledger.topic for ledger in topic.ledgers):
            done = table.transaction_version(partition)
            waiting += run.add(partition, -1 if done is None else done)
        if run.last:
            run.commit(table)
        table.update_incremental()
        version = table.version()
    return Synced(run.ledgers, run.rows, waiting, version, run.message_ids)


class _Run:
    """The files of one run, until they are committed."""

    def __init__(self, topic: Topic, folder: Path, schema: pa.Schema) -> None:
        self.topic, self.folder, self.schema = topic, folder, schema
        self.actions: list[Any] = []
        self.last: dict[str, int] = {}
        self.message_ids: dict[str, str] = {}
        self.ledgers = self.rows = 0

    def add(self, partition: str, done: int) -> int:
        """Write the ledgers of a partition behind the ledger `done`; return how many wait."""
        new = [x for x in of_topic(self.topic.ledgers, partition) if x.id > done]
        delivery = Part(self.topic, new).delivery()
        for position, ledger in enumerate(tqdm(new, desc="sync", unit=" ledgers", disable=None)):
            undecided = len(delivery.undecided)
            actions, rows = self._write(ledger, delivery)
            if len(delivery.undecided) > undecided:
                return len(new) - position
            self.actions += actions
            self.rows += rows
            self.ledgers += 1
            self.last[partition] = ledger.id
            self.message_ids[partition] = f"{ledger.id}:{ledger.entries - 1}"
        return 0

    def _write(self, ledger: Ledger, delivery: Delivery) -> tuple[list[Any], int]:
        """Write the files of one ledger, a day each, all of them or none."""
        writers: dict[str, tuple[Path, Any]] = {}
        rows: dict[str, int] = {}
        mark = self._mark(ledger)
        batches = self.topic.select(
            Selection(), self.schema.names, ledgers=[ledger], delivery=delivery
        )
        with ExitStack() as stack:
            for day, part in _parts(batches):
                if day not in writers:
                    path = self.folder / f"event_date={day}" / f"{mark}.parquet"
                    draft = stack.enter_context(files.new_file(path))
                    writer = pq.ParquetWriter(draft, part.schema, compression="zstd")
                    writers[day] = path, stack.enter_context(writer)
                    rows[day] = 0
                writers[day][1].write_batch(part)
                rows[day] += part.num_rows
        added = [self._action(day, path, rows[day]) for day, (path, _) in writers.items()]
        return added, sum(rows.values())

    def _mark(self, ledger: Ledger) -> str:
        """Return the name of a ledger's files: the same for the same bytes and columns."""
        content = f"{ledger.topic} {ledger.etag} {self.schema}".encode()
        return f"ledger-{ledger.id:08d}-{hashlib.sha256(content).hexdigest()[:8]}"

    def _action(self, day: str, path: Path, rows: int) -> Any:
        from deltalake.transaction import AddAction

        stat = path.stat()
        return AddAction(
            path=str(path.relative_to(self.folder)),
            size=stat.st_size,
            partition_values={"event_date": None if day == _NO_DAY else day},
            modification_time=int(stat.st_mtime * 1000),
            data_change=True,
            stats=json.dumps({"numRecords": rows}),
        )

    def commit(self, table: Any) -> None:
        """Let the files belong to the table, with how far they reach."""
        from deltalake import CommitProperties, Transaction

        marks = [Transaction(partition, last) for partition, last in self.last.items()]
        info = {"workbench.last_message_ids": json.dumps(self.message_ids)}
        table.create_write_transaction(
            self.actions,
            "append",
            table.schema(),
            ["event_date"],
            commit_properties=CommitProperties(custom_metadata=info, app_transactions=marks),
        )


def _parts(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Yield (day, rows of it) with columns as Delta has them."""
    for batch in batches:
        for day, part in rows_by_day(batch):
            columns = [_delta_column(column) for column in part.columns]
            names = part.schema.names
            yield _folder_day(day), pa.RecordBatch.from_arrays(columns, names)


def _folder_day(day: str) -> str:
    """Return the day of a folder; those of times that cannot be are one, without a day."""
    latest = str(np.datetime64(STOP_MS, "ms").astype("datetime64[D]"))
    return day if len(day) == 10 and "1970-01-01" <= day <= latest else _NO_DAY


def _delta_column(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_timestamp(kind):
        return _instants(column)
    for test, _, ours in _DELTA:
        if test(kind):
            return column.cast(ours)
    return column


def _instants(column: pa.Array) -> pa.Array:
    """Return times in microseconds, as Delta counts them; null for those beyond."""
    if column.type.unit == "ms":
        ms = column.cast(pa.int64())
        fits = pc.and_(pc.less(ms, _MOST_US), pc.greater(ms, -_MOST_US))
        column = pc.if_else(fits, column, pa.scalar(None, column.type))
    return column.cast(pa.timestamp("us", "UTC"), safe=False)


def _delta_type(kind: pa.DataType) -> Any:
    for test, name, _ in _DELTA:
        if test(kind):
            return name
    if pa.types.is_timestamp(kind) and kind.tz:
        return "timestamp"
    if pa.types.is_decimal128(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_map(kind):
        pair = {"keyType": _delta_type(kind.key_type), "valueType": _delta_type(kind.item_type)}
        return {"type": "map", **pair, "valueContainsNull": True}
    if pa.types.is_list(kind):
        inner = _delta_type(kind.value_type)
        return {"type": "array", "elementType": inner, "containsNull": True}
    if pa.types.is_struct(kind):
        return {"type": "struct", "fields": [_delta_field(field) for field in kind]}
    raise ArchiveError(f"{kind} has no type in Delta", hint="leave the column out: --columns")


def _delta_field(field: pa.Field) -> dict[str, Any]:
    return {
        "name": field.name,
        "type": _delta_type(field.type),
        "nullable": True,
        "metadata": {},
    }


def _table(folder: Path, topic: Topic, schema: pa.Schema) -> Any:
    """Return the table at a folder, made or widened if need be.

    Raises
    ------
    ArchiveError
        If it is of something else, or the library is not there.
    """
    try:
        from deltalake import DeltaTable, Schema
    except ImportError as err:
        raise ArchiveError(
            "Delta tables take deltalake", hint="pip install 'workbench[lakes]'"
        ) from err
    fields = [_delta_field(pa.field("event_date", pa.date32()))]
    fields += [_delta_field(field) for field in schema]
    wanted = {"type": "struct", "fields": fields}
    about = {"reader": READER, "topic": topic.name, "generation": topic.generation}
    if not DeltaTable.is_deltatable(str(folder)):
        if (
            any(path.suffix == ".parquet" for path in folder.rglob("*.parquet"))
            or (folder / "_export").exists()
        ):
            raise ArchiveError("the folder holds Parquet files, and no Delta table", where=folder)
        return DeltaTable.create(
            str(folder),
            Schema.from_json(json.dumps(wanted)),
            partition_by=["event_date"],
            description=json.dumps(about),
        )
    table = DeltaTable(str(folder))
    _check_same(table, about, folder)
    return _widened(table, fields, folder)


def _check_same(table: Any, about: dict[str, Any], folder: Path) -> None:
    try:
        stored = json.loads(table.metadata().description or "{}")
    except ValueError:
        stored = {}
    wrong = [name for name in about if stored.get(name) != about[name]]
    if wrong:
        raise ArchiveError(
            f"the table is of another {', '.join(wrong)}",
            where=folder,
            hint="sync into another folder",
        )


def _widened(table: Any, wanted: list[dict[str, Any]], folder: Path) -> Any:
    """Return the table with columns for fields that are new."""
    from deltalake import DeltaTable, Field

    stored = {
        field["name"]: field["type"] for field in json.loads(table.schema().to_json())["fields"]
    }
    for field in wanted:
        if field["name"] in stored and stored[field["name"]] != field["type"]:
            raise ArchiveError(
                f"column {field['name']} is {stored[field['name']]} in the table, "
                f"{field['type']} in the topic",
                where=folder,
                hint="sync into another folder",
            )
    new = [Field.from_json(json.dumps(field)) for field in wanted if field["name"] not in stored]
    if not new:
        return table
    table.alter.add_columns(new)
    return DeltaTable(os.fspath(folder))
