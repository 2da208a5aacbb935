"""One call: topic and half-open interval to a frame, whatever holds the messages.

(The module cannot be called `replay`: importing it would hide the function `workbench.replay`.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.archive.catalogue import split_partition
from workbench.archive.topic import Selection, epoch_ms
from workbench.endpoints import endpoints, project
from workbench.errors import ReplayError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

    from workbench.archive import Archive, Topic
    from workbench.archive.schemas import Schema

_SOURCES = ("archive", "broker", "both")
_PARTS = ("ledger_id", "entry_id", "partition", "batch_index")  # of a message id
_ADDED = ("event_time", "publish_time", "key")  # and message_id


def replay(
    topic: str,
    start: str | None = None,
    stop: str | None = None,
    source: str = "archive",
    *,
    archive: str | Archive | None = None,
    columns: list[str] | None = None,
    by: str = "event_time",
) -> pd.DataFrame:
    """Return the readings of `topic` with `by` in [start, stop), in the broker's order.

    Parameters
    ----------
    topic
        Full name, or its last part where that is unambiguous.
    start, stop
        ISO-8601 UTC; None or empty is unbounded.
    source
        `archive`: what is offloaded. `broker`: what the broker serves. `both`: the archive,
        then what the broker holds behind its last entry, so without a gap or a duplicate.
    archive
        Folder or URL, or an open archive; None is `WORKBENCH_ARCHIVE`, that of the local
        services, or `data/archive`.
    columns
        Decoded fields wanted; None is all.
    by
        `event_time` (a message without one has its publish time) or `publish_time`.

    Returns
    -------
    frame
        Decoded fields, then `event_time`, `publish_time`, `key`, `message_id`
        ("ledger:entry:partition:batch"); one that shares its name with a field is `__name__`.
        `frame.attrs["manifest"]` says what was read.

    Raises
    ------
    ReplayError
        If there is no such source, no archive is known, or the broker does not answer.
    ArchiveError
        If the topic is not there, or anything is wrong with its bytes.
    """
    if source not in _SOURCES:
        raise ReplayError(f"no source {source!r}", hint=did_you_mean(source, _SOURCES))
    Selection.of(start, stop, by)  # refuse bounds that cannot be, before anything is read
    if source == "broker":
        return _from_broker(topic, start, stop, columns, by)
    found = open_archive(archive).topic(topic)
    frame = _frame(found, start, stop, columns, by)
    manifest = found.manifest(start, stop, by)
    if source == "both":
        live = _after(found, start, stop, columns, by)
        manifest["not_offloaded"] = live.attrs["manifest"]["messages"]
        frame = pd.concat([frame, live], ignore_index=True) if len(live) else frame
        frame = _by_partition(frame)
    frame.attrs["manifest"] = manifest
    return frame


def _from_broker(
    topic: str, start: str | None, stop: str | None, columns: list[str] | None, by: str
) -> pd.DataFrame:
    name = topic if "://" in topic else f"persistent://public/default/{topic}"
    return _live(name, {}, [], start, stop, columns, by)


def _after(
    topic: Topic, start: str | None, stop: str | None, columns: list[str] | None, by: str
) -> pd.DataFrame:
    """Return what the broker holds behind the last entry of each partition in the archive."""
    last = {
        split_partition(ledger.topic)[1]: (ledger.id, ledger.entries - 1)
        for ledger in topic.ledgers  # ascending, so that the last one stays
    }
    return _live(topic.name, last, topic.schemas(), start, stop, columns, by)


def _live(
    name: str,
    after: Mapping[int, tuple[int, int]],
    schemas: list[Schema],
    start: str | None,
    stop: str | None,
    columns: list[str] | None,
    by: str,
) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.compute as pc

    from workbench.live import read_live

    table, _ = read_live(name, after=after, schemas=schemas)
    known = [field.name for field in table.schema.field("fields").type]
    wrong = [one for one in columns or [] if one not in known]
    if wrong:
        raise ReplayError(f"no column {wrong[0]!r}", hint=did_you_mean(wrong[0], known))
    at = _or(table["event_time"], table["publish_time"])
    chosen = (at if by == "event_time" else table["publish_time"]).cast(pa.int64())
    kept = pa.array(np.ones(table.num_rows, bool))
    for bound, test in ((epoch_ms(start), pc.greater_equal), (epoch_ms(stop), pc.less)):
        if bound is not None:
            kept = pc.and_(kept, test(chosen, bound).combine_chunks())
    fields = {one: pc.struct_field(table["fields"], [known.index(one)]) for one in columns or known}
    ids = _message_ids([table[one] for one in _PARTS])
    added = {"event_time": at, "publish_time": table["publish_time"], "key": table["key"]}
    named = {f"__{one}__" if one in known else one: column for one, column in added.items()}
    result = pa.table({**fields, **named, "message_id": ids}).filter(kept)
    frame: pd.DataFrame = result.to_pandas()
    frame.attrs["manifest"] = {
        "topic": name,
        "start": start or None,
        "stop": stop or None,
        "by": by,
        "messages": len(frame),
    }
    return frame


def _by_partition(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with partitions one after another, each in its own order."""
    partition = frame["message_id"].str.split(":").str[2].astype(int)
    order = np.argsort(partition.to_numpy(), kind="stable")
    return frame.iloc[order].reset_index(drop=True)


def open_archive(archive: str | Archive | None) -> Archive:
    """Return the archive at a URL, an open one as it is, or the one that is configured.

    Raises
    ------
    ReplayError
        If None is given and none is configured.
    """
    from workbench import archive as room

    if isinstance(archive, room.Archive):
        return archive
    if archive:
        return room.open(archive)
    known = endpoints().archive
    sample = project() / "data" / "archive"
    if not known and not sample.is_dir():
        raise ReplayError(
            "no archive is known", hint="pass archive=, or set WORKBENCH_ARCHIVE to its URL"
        )
    return room.open(known or str(sample))


def _frame(
    topic: Topic, start: str | None, stop: str | None, columns: list[str] | None, by: str
) -> pd.DataFrame:
    fields = topic.fields() if columns is None else list(columns)
    clashing = set(topic.fields())
    names = {name: f"__{name}__" if name in clashing else name for name in _ADDED}
    asked = [f"__{part}__" if part in clashing else part for part in _PARTS]
    table = topic.read(start, stop, columns=[*fields, *names.values(), *asked], by=by)
    event, publish = table[names["event_time"]], table[names["publish_time"]]
    table = table.set_column(
        table.schema.get_field_index(names["event_time"]), names["event_time"], _or(event, publish)
    )
    ids = _message_ids([table[name] for name in asked])
    frame: pd.DataFrame = table.drop(asked).append_column("message_id", ids).to_pandas()
    return frame


def _or(times: pa.ChunkedArray, otherwise: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.coalesce(times, otherwise)


def _message_ids(parts: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = [pc.cast(part, pa.string()) for part in parts]
    return pc.binary_join_element_wise(*texts, ":")
