"""One call: topic and half-open interval to a frame, whatever holds the messages.

(The module cannot be called `replay`: importing it would hide the function `workbench.replay`.)
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench import broker, kafka
from workbench.archive import STOP_MS, Selection, split_partition, to_frame
from workbench.endpoints import endpoints, project
from workbench.errors import ArchiveWarning, ReplayError, did_you_mean
from workbench.times import instant_ms

if TYPE_CHECKING:
    import pyarrow as pa

    from workbench.archive import Archive, Topic

_SOURCES = ("archive", "broker", "both", "kafka")
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
    generation: int | None = None,
    compacted: bool = False,
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
        then what the broker holds behind its last entry, so without a duplicate; a gap is refused,
        and a message that lies across the seam is told.
        `kafka`: what Kafka still has, by its records' timestamps; a warning tells what it has
        deleted of the span, the manifest the earliest offset and time of each partition. A topic
        `kafka://NAME` is read so unless an archive is given.
    archive
        Folder or URL, or an open archive; None is `WORKBENCH_ARCHIVE`, that of the local
        services, or `data/archive`.
    columns
        Decoded fields wanted, None is all; and parts of the message id, as `partition` (int32,
        -1 where the topic has none), where no field has that name: then as `__partition__`.
    by
        `event_time` (a message without one has its publish time) or `publish_time`.
    generation
        Which life of the topic in the archive, from 1, the oldest; None is the newest, which is
        the only one that the broker has.
    compacted
        Of each key the newest message of the archive alone, tombstones out, as `Topic.read` does.

    Returns
    -------
    frame
        Decoded fields, then `event_time`, `publish_time`, `key`, `message_id`
        ("ledger:entry:partition:batch", of Kafka "topic-partition:offset"); one that shares its
        name with a field is `__name__`.
        `frame.attrs["manifest"]` says what was read.

    Raises
    ------
    ReplayError
        If there is no such source, no archive is known, the broker does not answer, or, for `both`,
        has ledgers that the archive lacks before its last one.
    ArchiveError
        If the topic is not there, or anything is wrong with its bytes.
    """
    if kafka.is_topic(topic) and source == "archive" and not archive:
        source = "kafka"
    if kafka.is_topic(topic) and source == "archive":
        raise ReplayError(
            f"{topic} is of Kafka, which has no archive",
            where=str(archive),
            hint="leave archive out (in a notebook's params, archive: '')",
        )
    if source not in _SOURCES:
        raise ReplayError(f"no source {source!r}", hint=did_you_mean(source, _SOURCES))
    if kafka.is_topic(topic) and source in ("broker", "both"):
        raise ReplayError(
            f"{topic} is of Kafka, source {source!r} is Pulsar's", hint="source='kafka'"
        )
    Selection.of(start, stop, by)  # refuse bounds that cannot be, before anything is read
    if generation is not None and source != "archive":
        raise ReplayError(
            f"generation {generation} is asked of source {source!r}, which has the newest alone",
            hint="source='archive' reads the others",
        )
    if compacted and source != "archive":
        raise ReplayError(f"compacted=True is of source 'archive' alone, not of {source!r}")
    if source == "kafka":
        return _from_kafka(topic, start, stop, columns, by)
    if source == "broker":
        return _from_broker(topic, start, stop, columns, by)
    opened = open_archive(archive)
    if source == "both" and opened.lives(name := opened.full_name(topic))[-1].is_past:
        _warn_of_past(name)
        return _from_broker(name, start, stop, columns, by)
    history = opened.topic(topic, generation)
    if source == "both":
        _check_seam(history)
        live = _after(history, start, stop, columns, by)
    frame = _frame(history, start, stop, columns, by, compacted=compacted)
    manifest = history.manifest(start, stop, by)
    if compacted:
        manifest["compacted"] = True
    if source == "both":
        _warn_of_cut(history)
        manifest["not_offloaded"] = live.attrs["manifest"]["messages"]
        frame = pd.concat([frame, live], ignore_index=True) if len(live) else frame
        frame = _by_partition(frame)
    frame.attrs["manifest"] = manifest
    return frame


def _from_kafka(
    topic: str, start: str | None, stop: str | None, columns: list[str] | None, by: str
) -> pd.DataFrame:
    from workbench.history.kafka_topics import read_kafka

    if by != "event_time":
        raise ReplayError(
            f"a record of Kafka has one time, by={by!r} is not known of it", hint="by='event_time'"
        )
    return read_kafka(topic, start, stop, columns)


def _from_broker(
    topic: str, start: str | None, stop: str | None, columns: list[str] | None, by: str
) -> pd.DataFrame:
    name = topic if "://" in topic else f"persistent://public/default/{topic}"
    return _live(name, {}, None, start, stop, columns, by)


def _warn_of_past(topic: str) -> None:
    warnings.warn(
        f"nothing of the newest life of {topic} has been offloaded: it was made anew, and what the "
        "broker holds is all that is read; source='archive' reads the earlier life",
        ArchiveWarning,
        stacklevel=3,
    )


def _check_seam(topic: Topic) -> None:
    """Refuse what would leave a hole between archive and broker; say what the broker does not know.

    A topic that was deleted and made anew leaves ledgers that the broker does not count as the
    topic's, and so does a trimming that failed; which of the two it was, nobody can say any more,
    so the rows stay. Source: apache/pulsar 4.0.8, PersistentTopicsBase.internalGetInternalStats.
    """
    if not endpoints().admin:
        return
    strangers = []
    for part in {ledger.topic for ledger in topic.ledgers}:
        stats = broker.get_or_none(f"{broker.rest_path(part)}/internalStats")
        theirs = stats["ledgers"] if stats else []
        entries = {ledger["ledgerId"]: ledger["entries"] for ledger in theirs}
        mine = [ledger for ledger in topic.ledgers if ledger.topic == part]
        _check_holes(part, entries, {ledger.id for ledger in mine})
        strangers += [ledger for ledger in mine if ledger.id not in entries]
    if strangers:
        warnings.warn(
            f"{len(strangers)} of {len(topic.ledgers)} ledgers in the archive are not among those "
            f"that the broker has of {topic.name}, the first is {strangers[0].id}: left by a topic "
            "of this name that was deleted, or by a trimming that failed; their rows are read too",
            ArchiveWarning,
            stacklevel=3,
        )


def _check_holes(topic: str, entries: Mapping[int, int], archived: set[int]) -> None:
    """Refuse ledgers of the broker that lie before the archive's last one and are not in it."""
    holes = [
        ledger
        for ledger, count in sorted(entries.items())
        if count and ledger < max(archived) and ledger not in archived
    ]
    if holes:
        others = f" (and {len(holes) - 1} others)" if len(holes) > 1 else ""
        raise ReplayError(
            f"ledger {holes[0]} of {topic}, {entries[holes[0]]} entries, is at the broker and not "
            f"in the archive, where later ones are, up to {max(archived)}{others}",
            hint="source='broker' reads all that the broker has; workbench archive check",
        )


def _warn_of_cut(topic: Topic) -> None:
    """Say what begins in the archive and ends at the broker, so that neither has it whole."""
    if topic.unfinished or topic.undecided:
        warnings.warn(
            f"{topic.unfinished} messages in chunks and {len(topic.undecided)} messages of "
            f"transactions of {topic.name} have no end in the archive: where the broker has it, "
            "they are not read; source='broker' reads them",
            ArchiveWarning,
            stacklevel=3,
        )


def _after(
    topic: Topic, start: str | None, stop: str | None, columns: list[str] | None, by: str
) -> pd.DataFrame:
    """Return what the broker holds behind the last entry of each partition in the archive."""
    last = {
        split_partition(ledger.topic)[1]: (ledger.id, ledger.entries - 1)
        for ledger in topic.ledgers  # ascending, so that the last one stays
    }
    return _live(topic.name, last, topic, start, stop, columns, by)


def _live(
    name: str,
    after: Mapping[int, tuple[int, int]],
    archived: Topic | None,
    start: str | None,
    stop: str | None,
    columns: list[str] | None,
    by: str,
) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.compute as pc

    from workbench.history.live import read_live

    schemas = archived.versions if archived else []
    inferred = archived.schemas()[0] if archived and not schemas else None
    table, used = read_live(name, after=after, schemas=schemas, inferred=inferred)
    if archived and inferred:
        archived.inferred = used[0]  # a field may be new, or wider, behind the archive's end
    names = [field.name for field in table.schema.field("fields").type]
    parts = {_added(part, names): part for part in (*_PARTS, *_ADDED)}
    wrong = [name for name in columns or [] if name not in names and name not in parts]
    if wrong:
        raise ReplayError(f"no column {wrong[0]!r}", hint=did_you_mean(wrong[0], [*names, *parts]))
    event_times = _or(table["event_time"], table["publish_time"])
    chosen = (event_times if by == "event_time" else table["publish_time"]).cast(pa.int64())
    kept = pa.array(np.ones(table.num_rows, bool))
    for bound, test in ((instant_ms(start), pc.greater_equal), (instant_ms(stop), pc.less)):
        if bound is not None:
            kept = pc.and_(kept, test(chosen, bound).combine_chunks())
    fields = {
        name: pc.struct_field(table["fields"], [names.index(name)])
        if name in names
        else table[parts[name]]
        for name in (names if columns is None else columns)
    }
    ids = _message_ids([table[part] for part in _PARTS])
    added = {"event_time": event_times, "publish_time": table["publish_time"], "key": table["key"]}
    named = {_added(name, names): column for name, column in added.items()}
    _warn_of_times(table["event_time"], kept, ids)
    result = pa.table({**fields, **named, "message_id": ids}).filter(kept)
    frame = to_frame(result)
    frame.attrs["manifest"] = {
        "topic": name,
        "start": start or None,
        "stop": stop or None,
        "by": by,
        "messages": len(frame),
    }
    return frame


def _warn_of_times(events: pa.ChunkedArray, kept: pa.Array, ids: pa.ChunkedArray) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    beyond = pc.fill_null(pc.greater_equal(events.cast(pa.int64()), STOP_MS), False)
    lost = ids.filter(pc.and_(beyond, pc.invert(kept)))
    if len(lost):
        warnings.warn(
            f"{len(lost)} messages are left out, whose event times cannot be and so are in no "
            f"interval (from 2262 on); the first is {lost[0]}",
            ArchiveWarning,
            stacklevel=2,
        )


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
    url = endpoints().archive
    sample = project() / "data" / "archive"
    if not url and not sample.is_dir():
        raise ReplayError(
            "no archive is known", hint="pass archive=, or set WORKBENCH_ARCHIVE to its URL"
        )
    return room.open(url or str(sample))


def _frame(
    topic: Topic,
    start: str | None,
    stop: str | None,
    columns: list[str] | None,
    by: str,
    *,
    compacted: bool,
) -> pd.DataFrame:
    shown = Shown.of(topic, columns)
    return to_frame(shown.table(topic.read(start, stop, shown.asked, by, compacted=compacted)))


@dataclass(frozen=True)
class Shown:
    """Which columns a frame of an archive's topic has, and what is read for it.

    Attributes
    ----------
    fields
        Decoded ones, in their order.
    names
        What `event_time`, `publish_time` and `key` are called beside these.
    parts
        What the parts of a message id are called in what is read.
    """

    fields: list[str]
    names: dict[str, str]
    parts: list[str]

    @classmethod
    def of(cls, topic: Topic, columns: list[str] | None) -> Shown:
        """Return what is shown of a topic where `columns` are asked for; None: all fields."""
        every = topic.fields()
        names = {name: _added(name, every) for name in _ADDED}
        return cls(
            every if columns is None else list(columns),
            names,
            [_added(part, every) for part in _PARTS],
        )

    @property
    def asked(self) -> list[str]:
        """The columns to be read, as `Topic.read` takes them."""
        return [*self.fields, *self.names.values(), *self.parts]

    def table(self, read: pa.Table) -> pa.Table:
        """Return what was read as the columns of a frame, `message_id` the last."""
        event, publish = self.names["event_time"], self.names["publish_time"]
        times = _or(read[event], read[publish])
        read = read.set_column(read.schema.get_field_index(event), event, times)
        ids = _message_ids([read[name] for name in self.parts])
        shown = list(dict.fromkeys([*self.fields, *self.names.values()]))
        return read.select(shown).append_column("message_id", ids)


def _added(name: str, fields: Iterable[str]) -> str:
    """Return what a column of the message is called beside `fields`."""
    return f"__{name}__" if name in fields else name


def _or(times: pa.ChunkedArray, otherwise: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.coalesce(times, otherwise)


def _message_ids(parts: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = [pc.cast(part, pa.string()) for part in parts]
    return pc.binary_join_element_wise(*texts, ":")
