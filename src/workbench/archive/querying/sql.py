"""SQL over topics: DuckDB sees each as a view; projection and time predicates reach the reader.

A topic is `readings`, or `"tenant/namespace".readings` where the short name is not unique.
Its columns are the decoded fields, then `event_time` (publish time where a message has none),
`publish_time` and `key` unless fields have these names, then those that Pulsar SQL hid:
`__message_id__`, `__event_time__`, `__publish_time__`, `__key__`, `__ordering_key__`,
`__partition__`, `__sequence_id__`, `__producer_name__`, `__properties__`, `__schema_version__`.

`NATURAL JOIN` joins by all columns of one name, these too, and some are null: as a rule it has no
rows, not even of a topic with itself. `JOIN ... USING (pump, event_time)` names what is meant.

SQL takes `Temp` and `temp` for one name, quoted or not. Columns and topics that differ only in case
are numbered, `Temp__1` and `temp__2`, and the plain name is refused: never answered from the other.
A NaN is, as in all of DuckDB, larger than any number, in filters too. An event time beyond what SQL
holds (the year 294247) is null.

A topic that is asked for compacted has of each key the newest message alone, of the whole topic:
what a query then asks of times and fields is asked of these.
"""

from __future__ import annotations

import datetime as dt
import re
import tempfile
from collections.abc import Collection, Container, Generator, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from workbench import local_sql
from workbench.archive import messages as msg
from workbench.archive.archive import Archive
from workbench.archive.compaction import Place
from workbench.archive.querying.names import (
    HasTopics,
    SqlName,
    asked_names,
    local,
    numbered,
    quoted,
    sql_names,
)
from workbench.archive.selection import Selection
from workbench.archive.topic import Topic
from workbench.errors import ArchiveError, WorkbenchError, did_you_mean
from workbench.local_sql import duckdb

# hidden column: the columns of `messages` it is made of
_IDS = ("ledger_id", "entry_id", "partition", "batch_index")
_HIDDEN = {
    "__message_id__": _IDS,
    "__event_time__": ("event_time",),
    "__publish_time__": ("publish_time",),
    "__key__": ("key",),
    "__ordering_key__": ("ordering_key",),
    "__partition__": ("partition",),
    "__sequence_id__": ("sequence_id",),
    "__producer_name__": ("producer",),
    "__properties__": ("properties",),
    "__schema_version__": ("schema_version",),
}
_PLAIN = {
    "event_time": ("event_time", "publish_time"),
    "publish_time": ("publish_time",),
    "key": ("key",),
}
_TIMES = {
    "event_time": "event_time",
    "__event_time__": "event_time",
    "publish_time": "publish_time",
    "__publish_time__": "publish_time",
}
_BOUND = re.compile(r"(\w+) (>=|>|<=|<|==) (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?)Z?")
_EPOCH = dt.datetime(1970, 1, 1)
_MOST_MS = (1 << 63) // 1000  # of an instant in microseconds


class TopicDataset(ds.Dataset):  # type: ignore[misc] # pyarrow is untyped
    """A topic as DuckDB scans it: it calls `scanner` with the columns and the filter it needs.

    Where it is `compacted`, it is looked at once, by the first scan, and has of each key the newest
    message alone.
    """

    def __init__(self, topic: Topic | Any, *, compacted: bool = False) -> None:
        self.topic = topic
        self.compacted = compacted
        self.error: WorkbenchError | None = None
        fields = topic.decoder().schema
        shown = numbered(fields.names, taken=[*_PLAIN, *_HIDDEN])
        self._fields = dict(zip(shown, fields.names, strict=True))
        taken = {name.lower() for name in fields.names}
        added = {name: parts for name, parts in _PLAIN.items() if name not in taken}
        self._sources = added | _HIDDEN
        hidden = [pa.field(name, _type(parts)) for name, parts in self._sources.items()]
        named = [field.with_name(name) for name, field in zip(shown, fields, strict=True)]
        self._schema = pa.schema([*named, *hidden])

    @property
    def renamed(self) -> dict[str, str]:
        """Fields whose columns are numbered: column to field."""
        return {column: field for column, field in self._fields.items() if column != field}

    @property
    def schema(self) -> pa.Schema:
        """Fields, then the added columns."""
        return self._schema

    @cached_property
    def _places(self) -> frozenset[Place] | None:
        """Where the messages are that compaction leaves; None: it is not compacted."""
        places: frozenset[Place] | None = self.topic.newest_places() if self.compacted else None
        return places

    def scanner(
        self,
        columns: list[str] | None = None,
        filter: ds.Expression | None = None,  # noqa: A002
    ) -> ds.Scanner:
        """Return a scan of `columns`, of the rows that pass `filter`."""
        names = columns or self._schema.names
        schema = pa.schema([self._schema.field(name) for name in names])
        bounds = time_bounds(str(filter), self._schema, self._sources)
        batches = self.batches(schema, Selection(tuple(bounds)))
        return ds.Scanner.from_batches(batches, schema=schema, columns=columns, filter=filter)

    def batches(self, schema: pa.Schema, selection: Selection) -> Iterator[pa.RecordBatch]:
        """Yield the columns of `schema`, some of `self.schema`, of the messages selected."""
        fields = [self._fields[name] for name in schema.names if name in self._fields]
        added = {name: self._sources[name] for name in schema.names if name in self._sources}
        parts = list(dict.fromkeys(part for source in added.values() for part in source))
        known = set(self._fields.values())
        asked = {part: f"__{part}__" if part in known else part for part in parts}
        try:
            selection = replace(selection, places=self._places)
            for batch in self.topic.select(selection, [*fields, *asked.values()] or None):
                columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                arrays = [
                    _build([columns[asked[part]] for part in added[n]], n)
                    if n in added
                    else columns[self._fields[n]]
                    for n in schema.names
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        except WorkbenchError as err:
            self.error = err
            raise


def _type(parts: tuple[str, ...]) -> pa.DataType:
    return pa.string() if parts == _IDS else msg.SCHEMA.field(parts[0]).type


def _build(parts: list[pa.Array], name: str) -> pa.Array:
    if name == "__message_id__":
        return pc.binary_join_element_wise(*[pc.cast(piece, pa.string()) for piece in parts], ":")
    if name in _TIMES:
        parts = [_holdable(part) for part in parts]
    if len(parts) == 1 or not parts[0].null_count:  # as a rule all messages have an event time
        return parts[0]
    return pc.coalesce(*parts)


def _holdable(times: pa.Array) -> pa.Array:
    """Return times with null for those that SQL, which counts microseconds, cannot hold."""
    ms = times.cast(pa.int64())
    bounds = pc.min_max(ms)
    least, most = bounds["min"].as_py(), bounds["max"].as_py()
    if least is None or -_MOST_MS < least <= most < _MOST_MS:
        return times
    fits = pc.and_(pc.less(ms, _MOST_MS), pc.greater(ms, -_MOST_MS))
    return pc.if_else(fits, times, pa.scalar(None, times.type))


def time_bounds(
    text: str, schema: pa.Schema, sources: Container[str] = _TIMES
) -> Iterator[tuple[str, int | None, int | None]]:
    """Yield (by, start, stop) in ms for the bounds on time that a filter, as text, surely sets.

    What is not understood sets none: the filter itself is applied to the rows afterwards. Only
    columns in `sources` are the message's: a field may be called `event_time`, too.

    Examples
    --------
    >>> schema = pa.schema([("event_time", pa.timestamp("ms"))])
    >>> list(time_bounds("((v > 1) and (event_time >= 1970-01-01 00:00:01.000))", schema))
    [('event_time', 1000, None)]
    >>> list(time_bounds("(event_time < 1970-01-01 00:00:01.000)", schema))
    [('event_time', None, 1000)]
    >>> list(time_bounds("((v > 1) or (event_time >= 1970-01-01 00:00:01.000))", schema))
    []
    """
    if not all(re.fullmatch(r"\w+", name) for name in schema.names):
        return
    for part in _conjuncts(re.sub(r'"(?:\\.|[^"\\])*"', '""', text)):
        bound = _BOUND.fullmatch(part)
        if not bound or bound[1] not in _TIMES or bound[1] not in sources:
            continue
        time = dt.datetime.fromisoformat(bound[3])
        ms, rest = divmod(time - _EPOCH, dt.timedelta(milliseconds=1))
        start = ms if bound[2] in (">=", ">", "==") else None
        stop = ms + (bound[2] != "<" or bool(rest)) if bound[2] in ("<=", "<", "==") else None
        yield _TIMES[bound[1]], start, stop


def _conjuncts(text: str) -> Iterator[str]:
    """Yield the parts of `(a and b)` that all must hold."""
    text = text.strip()
    while text.startswith("(") and _closing(text) == len(text) - 1:
        text = text[1:-1]
    depth = start = 0
    parts = []
    for i, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and text.startswith(" and ", i):
            parts.append(text[start:i])
            start = i + 5
    if not parts:
        yield text
        return
    for part in [*parts, text[start:]]:
        yield from _conjuncts(part)


def _closing(text: str) -> int:
    depth = 0
    for i, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return i
    return -1


def query(
    archive: Archive,
    text: str,
    *,
    batch_rows: int = 65536,
    skipped: list[str] | None = None,
    compacted: Collection[str] = (),
) -> Generator[pa.RecordBatch, None, None]:
    """Yield the result of a SQL query over the archive's topics, `batch_rows` at a time.

    The first batch may be empty: it carries the schema. What an archive opened with
    `skip_damaged` (or misfits as nulls) left out is added to `skipped`, at the end.

    Parameters
    ----------
    compacted
        Topics of which each key's newest message alone is a row, tombstones out, as `Topic.read`
        has them: of the whole topic, whatever times the query asks for.

    Raises
    ------
    ArchiveError
        If the query is wrong, a topic that it reads is damaged, or one that is asked for compacted
        is none that it reads, or has more keys than there is memory for.
    """
    with (
        tempfile.TemporaryDirectory() as spill,
        local_sql.connect(memory_limit="200MiB", threads="1", temp_directory=spill) as connection,
    ):
        datasets = _register(connection, archive, text, compacted)
        try:
            reader = connection.execute(text).fetch_record_batch(batch_rows)
            yield pa.RecordBatch.from_pylist([], schema=reader.schema)
            yield from reader
        except (duckdb.Error, pa.ArrowException, OSError) as err:
            raise explained(err, datasets, archive) from err
        finally:
            found = (error for dataset in datasets for error in dataset.topic.damage.errors)
            if skipped is not None:
                skipped += dict.fromkeys(str(error) for error in found)


def table(archive: Archive, text: str, *, compacted: Collection[str] = ()) -> pa.Table:
    """Return the result of a SQL query over the archive's topics, as `query` yields it."""
    return pa.Table.from_batches(list(query(archive, text, compacted=compacted)))


def view_text(schema: pa.Schema, raw: str) -> str:
    """Return the query of a topic's view over what is registered as `raw`, of these columns."""
    # DuckDB leaves comparisons of plain columns to pyarrow, for which NaN is not greater
    kept = ", ".join(
        f"-(-{quoted(field.name)}) AS {quoted(field.name)}"
        for field in schema
        if pa.types.is_floating(field.type)
    )
    replaced = f" REPLACE ({kept})" if kept else ""
    return f"SELECT *{replaced} FROM {quoted(raw)}"  # noqa: S608 - names are quoted


def _register(
    connection: duckdb.DuckDBPyConnection, archive: Archive, text: str, compacted: Collection[str]
) -> list[TopicDataset]:
    """Make views of the topics that the query names."""
    datasets = []
    names = asked_names(archive, connection, text)
    newest = _read_by_query(archive, names, compacted)
    for number, name in enumerate(names):
        dataset = TopicDataset(archive.topic(name.topic), compacted=name.topic in newest)
        datasets.append(dataset)
        connection.register(f"__topic_{number}", dataset)
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(name.schema)}")
        body = view_text(dataset.schema, f"__topic_{number}")
        for view in name.views:
            connection.execute(f"CREATE VIEW {view} AS {body}")
    return datasets


def _read_by_query(archive: Archive, names: Sequence[SqlName], asked: Collection[str]) -> set[str]:
    """Return the full names of topics that are asked for compacted, each a table of the query."""
    full = {archive.full_name(topic) for topic in asked}
    tables = [name.topic for name in names]
    for topic in sorted(full.difference(tables)):
        raise ArchiveError(
            f"{topic} is to be compacted, and is no table of the query",
            where=archive.url,
            hint=f"it reads {', '.join(tables) or 'no topic'}",
        )
    return full


def explained(
    err: Exception, datasets: Sequence[TopicDataset], archive: HasTopics
) -> WorkbenchError:
    """Return what went wrong in a query, as an error of ours."""
    for dataset in datasets:
        if dataset.error is not None:
            return dataset.error
    said = str(err)
    missing = re.search(r"Table with name (\S+) does not exist", said)
    if missing:
        alike = [
            name.table
            for name in sql_names(archive)
            if local(name.topic).lower() == missing[1].lower() and name.table != local(name.topic)
        ]
        if alike:
            return ArchiveError(
                f"{missing[1]!r} is the name of {len(alike)} topics that differ only in case",
                where=archive.url,
                hint=f"SQL takes them for one: write {' or '.join(alike)}",
            )
        names = [local(name) for name in archive.names()]
        return ArchiveError(
            f"no topic {missing[1]!r}",
            where=archive.url,
            hint=did_you_mean(missing[1], names),
        )
    renamed = {column: field for each in datasets for column, field in each.renamed.items()}
    absent = re.search(r'column "?([^"\s]+)"? not found', said)
    alike = [c for c, field in renamed.items() if absent and field.lower() == absent[1].lower()]
    if absent and alike:
        return ArchiveError(
            f"{absent[1]!r} is the name of several columns that differ only in case",
            hint=f"SQL takes them for one: write {' or '.join(alike)}; "
            "what a message itself says is __key__, __event_time__, __publish_time__",
        )
    return ArchiveError(said.partition("\n\n")[0].strip())
