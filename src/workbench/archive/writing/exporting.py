"""Write a topic as Parquet files, a folder for each day of event time; go on where it stopped.

    OUT/event_date=2026-01-05/ledger-00000012.parquet
    OUT/_export/ledger-00000012.json        written last: this ledger is done

A ledger that is done, from the same object and with the same columns, is not written again.

What is newest of a key may be another message once the topic has grown: an export of the compacted
view goes on while the ledgers are the same, and is refused as soon as they are not.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from workbench import files
from workbench.archive.delivery import Delivery
from workbench.archive.selection import Selection
from workbench.archive.statistics import READER
from workbench.archive.storage.ledger import Ledger
from workbench.archive.topic import Topic
from workbench.errors import ArchiveError
from workbench.times import Time

_DAY_MS = 86_400_000
_ADDED = ["event_time", "publish_time", "key", "ledger_id", "entry_id", "partition", "batch_index"]


@dataclass(frozen=True)
class Exported:
    """What an export did: ledgers written and found done, rows written, files in all."""

    ledgers: int
    done_before: int
    rows: int
    files: int


def export(
    topic: Topic,
    out: str | Path,
    *,
    start: Time = None,
    stop: Time = None,
    columns: list[str] | None = None,
    compacted: bool = False,
) -> Exported:
    """Write the messages with event time in [start, stop) below the folder `out`.

    The columns are `columns` (None: all fields), then event and publish time, key, and the parts
    of the message id. With `compacted`, of each key the newest message of the whole topic alone, if
    its event time is in [start, stop), as `Topic.read` has it.

    Raises
    ------
    ArchiveError
        If `out` holds an export of something else, or a compacted one of other ledgers, or anything
        is wrong with the bytes.
    """
    folder = Path(out)
    plan = _plan(topic, start, stop, columns, compacted=compacted)
    _check_same(folder, plan)
    delivery, selection = topic.delivery(), Selection.of(start, stop, "event_time")
    if compacted:
        selection = replace(selection, places=topic.newest_places())
    ledgers = rows = before = 0
    for ledger in tqdm(topic.ledgers, desc="export", unit=" ledgers", disable=None):
        done = _done(folder, ledger)
        if done is not None and not done["open_chunks"]:
            before += 1
            continue
        batches = topic.select(selection, plan["columns"], ledgers=[ledger], delivery=delivery)
        if done is not None:  # only for the chunks that the next ledger ends
            before += 1
            for _ in batches:
                pass
            continue
        rows += _write(folder, ledger, batches, delivery)
        ledgers += 1
    return Exported(ledgers, before, rows, len(list(folder.glob("event_date=*/*.parquet"))))


def planned_columns(topic: Topic, columns: list[str] | None) -> list[str]:
    """Return the columns that leave: those asked for (None: all fields), then times, key and id."""
    fields = topic.fields()
    asked = fields if columns is None else columns
    added = [f"__{name}__" if name in fields else name for name in _ADDED]
    return list(dict.fromkeys([*asked, *added]))


def _plan(
    topic: Topic, start: Time, stop: Time, columns: list[str] | None, *, compacted: bool
) -> dict[str, Any]:
    manifest = topic.manifest(start, stop)
    plan = {name: manifest[name] for name in ("topic", "start", "stop")}
    plan = {"reader": READER, **plan, "columns": planned_columns(topic, columns)}
    if compacted:  # all that decides which messages are the newest
        plan["compaction"] = [[ledger.key, ledger.etag] for ledger in topic.ledgers]
    return plan


def _check_same(folder: Path, plan: dict[str, Any]) -> None:
    path = folder / "_export" / "export.json"
    if not path.is_file():
        if folder.is_dir() and not all(map(_is_beginning, folder.iterdir())):
            raise ArchiveError("the folder is not empty, and holds no export", where=folder)
        files.write_json(path, plan)
        return
    earlier = json.loads(path.read_text())
    wrong = [name for name in earlier | plan if earlier.get(name) != plan.get(name)]
    if wrong == ["compaction"] and "compaction" in earlier and "compaction" in plan:
        raise ArchiveError(
            f"the folder holds a compacted export of {len(earlier['compaction'])} ledgers, the "
            f"topic has {len(plan['compaction'])} now, or others: the newest of a key may be "
            "another message",
            where=folder,
            hint="export into another folder",
        )
    if wrong:
        raise ArchiveError(
            f"the folder holds an export with another {', '.join(wrong)}",
            where=folder,
            hint="export into another folder",
        )


def _is_beginning(path: Path) -> bool:
    """Tell whether it is all that an export left which ended before its plan was written."""
    return path.name == "_export" and all(part.name[0] == "." for part in path.iterdir())


def _name(ledger: Ledger) -> str:
    return f"ledger-{ledger.id:08d}"


def _done(folder: Path, ledger: Ledger) -> dict[str, Any] | None:
    path = folder / "_export" / f"{_name(ledger)}.json"
    if not path.is_file():
        return None
    mark: dict[str, Any] = json.loads(path.read_text())
    if (mark["key"], mark["etag"]) != (ledger.key, ledger.etag):
        return None
    return None if mark.get("undecided") else mark  # else: transactions may have ended since


def _write(
    folder: Path, ledger: Ledger, batches: Iterator[pa.RecordBatch], delivery: Delivery
) -> int:
    """Write one ledger's files: under another name first, so that a file seen is whole."""
    partial = folder / "_export" / f"{_name(ledger)}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    writers: dict[str, pq.ParquetWriter] = {}
    undecided = len(delivery.undecided)
    rows = 0
    for batch in batches:
        rows += batch.num_rows
        for day, part in rows_by_day(batch):
            if day not in writers:
                path = partial / f"{day}.parquet"
                writers[day] = pq.ParquetWriter(path, part.schema, compression="zstd")
            writers[day].write_batch(part)
    for day, writer in writers.items():
        writer.close()
        target = folder / f"event_date={day}"
        target.mkdir(exist_ok=True)
        files.put(partial / f"{day}.parquet", target / f"{_name(ledger)}.parquet")
    partial.rmdir()
    mark = {"key": ledger.key, "etag": ledger.etag, "rows": rows, "files": sorted(writers)}
    mark["open_chunks"] = delivery.unfinished
    mark["undecided"] = len(delivery.undecided) - undecided
    files.write_json(folder / "_export" / f"{_name(ledger)}.json", mark)
    return rows


def rows_by_day(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Yield (day, its rows) by event time, by publish time where there is none."""
    names = batch.schema.names
    event, publish = (
        batch.column(names.index(f"__{name}__" if f"__{name}__" in names else name))
        for name in ("event_time", "publish_time")
    )
    ms = pc.coalesce(event, publish).cast(pa.int64()).to_numpy(zero_copy_only=False)
    days = ms // _DAY_MS
    for day in np.unique(days):
        text = str(np.datetime64(int(day), "D"))
        yield text, batch.filter(pa.array(days == day))
