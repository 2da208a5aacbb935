"""SQL over topics: DuckDB sees each as a view; projection and time predicates reach the reader.

A topic is `readings`, or `"tenant/namespace".readings` where the short name is not unique.
Its columns are the decoded fields, then `event_time` (publish time where a message has none),
`publish_time` and `key` unless fields have these names, then those that Pulsar SQL hid:
`__message_id__`, `__event_time__`, `__publish_time__`, `__key__`, `__ordering_key__`,
`__partition__`, `__sequence_id__`, `__producer_name__`, `__properties__`, `__schema_version__`.
"""

from __future__ import annotations

import datetime as dt
import re
import tempfile
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from workbench.archive import messages as msg
from workbench.archive.topic import Selection, Topic
from workbench.errors import ArchiveError, did_you_mean

if TYPE_CHECKING:
    from workbench.archive.archive import Archive

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


class TopicDataset(ds.Dataset):  # type: ignore[misc] # pyarrow is untyped
    """A topic as DuckDB scans it: it calls `scanner` with the columns and the filter it needs."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.error: ArchiveError | None = None
        fields = topic.decoder().schema
        added = [n for n in _PLAIN if n not in fields.names]
        self._sources = {n: _PLAIN[n] for n in added} | _HIDDEN
        self._fields = fields.names
        hidden = [pa.field(n, _type(parts)) for n, parts in self._sources.items()]
        self._schema = pa.schema([*fields, *hidden])

    @property
    def schema(self) -> pa.Schema:
        """Fields, then the added columns."""
        return self._schema

    def scanner(
        self,
        columns: list[str] | None = None,
        filter: ds.Expression | None = None,  # noqa: A002
    ) -> ds.Scanner:
        """Return a scan of `columns`, of the rows that pass `filter`."""
        names = columns or self._schema.names
        schema = pa.schema([self._schema.field(name) for name in names])
        found = self._batches(schema, Selection(tuple(time_bounds(str(filter), self._schema))))
        return ds.Scanner.from_batches(found, schema=schema, columns=columns, filter=filter)

    def _batches(self, schema: pa.Schema, selection: Selection) -> Iterator[pa.RecordBatch]:
        fields = [name for name in schema.names if name in self._fields]
        added = {name: self._sources[name] for name in schema.names if name in self._sources}
        parts = list(dict.fromkeys(part for source in added.values() for part in source))
        asked = {part: f"__{part}__" if part in self._fields else part for part in parts}
        try:
            for batch in self.topic.select(selection, [*fields, *asked.values()] or None):
                columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                arrays = [
                    _build([columns[asked[part]] for part in added[n]], n)
                    if n in added
                    else columns[n]
                    for n in schema.names
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        except ArchiveError as err:
            self.error = err
            raise


def _type(parts: tuple[str, ...]) -> pa.DataType:
    return pa.string() if parts == _IDS else msg.SCHEMA.field(parts[0]).type


def _build(parts: list[pa.Array], name: str) -> pa.Array:
    if name == "__message_id__":
        return pc.binary_join_element_wise(*[pc.cast(one, pa.string()) for one in parts], ":")
    return pc.coalesce(*parts) if len(parts) > 1 else parts[0]


def time_bounds(text: str, schema: pa.Schema) -> Iterator[tuple[str, int | None, int | None]]:
    """Yield (by, start, stop) in ms for the bounds on time that a filter, as text, surely sets.

    What is not understood sets none: the filter itself is applied to the rows afterwards.

    Examples
    --------
    >>> schema = pa.schema([("event_time", pa.timestamp("ms"))])
    >>> list(time_bounds("((v > 1) and (event_time >= 1970-01-01 00:00:01.000))", schema))
    [('event_time', 1000, None)]
    >>> list(time_bounds("((v > 1) or (event_time >= 1970-01-01 00:00:01.000))", schema))
    []
    """
    if not all(re.fullmatch(r"\w+", name) for name in schema.names):
        return
    for part in _conjuncts(re.sub(r'"(?:\\.|[^"\\])*"', '""', text)):
        found = _BOUND.fullmatch(part)
        if not found or found[1] not in _TIMES:
            continue
        time = dt.datetime.fromisoformat(found[3])
        ms = (time - _EPOCH) // dt.timedelta(milliseconds=1)
        start = ms if found[2] in (">=", ">", "==") else None
        stop = ms + 1 if found[2] in ("<=", "<", "==") else None
        yield _TIMES[found[1]], start, stop


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
    archive: Archive, text: str, *, rows: int = 65536, skipped: list[str] | None = None
) -> Generator[pa.RecordBatch, None, None]:
    """Yield the result of a SQL query over the archive's topics, `rows` at a time.

    The first batch may be empty: it carries the schema. What an archive opened with
    `skip_damaged` (or misfits as nulls) left out is added to `skipped`, at the end.

    Raises
    ------
    ArchiveError
        If the query is wrong, or a topic that it reads is damaged.
    """
    with tempfile.TemporaryDirectory() as spill, duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET memory_limit = '200MiB'; SET threads = 1")
        connection.execute("SET enable_progress_bar = false")  # it would print to stdout
        connection.execute("SET temp_directory = ?", [spill])
        datasets = _register(connection, archive, text)
        try:
            reader = connection.execute(text).fetch_record_batch(rows)
            yield pa.RecordBatch.from_pylist([], schema=reader.schema)
            yield from reader
        except (duckdb.Error, pa.ArrowException, OSError) as err:
            raise _explain(err, datasets, archive) from err
        finally:
            found = (error for one in datasets for error in one.topic.damage.found)
            if skipped is not None:
                skipped += dict.fromkeys(str(error) for error in found)


def table(archive: Archive, text: str) -> pa.Table:
    """Return the result of a SQL query over the archive's topics."""
    return pa.Table.from_batches(list(query(archive, text)))


def _register(
    connection: duckdb.DuckDBPyConnection, archive: Archive, text: str
) -> list[TopicDataset]:
    """Make views of the topics whose names occur in the query; others cost nothing."""
    names = [name for name in archive.names() if _local(name).lower() in text.lower()]
    datasets = []
    for name in names:
        dataset = TopicDataset(archive.topic(name))
        datasets.append(dataset)
        connection.register(name, dataset)
        space = _quoted(name.partition("://")[2].rpartition("/")[0])
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {space}")
        views = [f"{space}.{_quoted(_local(name))}"]
        if sum(_local(other).lower() == _local(name).lower() for other in archive.names()) == 1:
            views.append(_quoted(_local(name)))
        for view in views:
            connection.execute(f"CREATE VIEW {view} AS FROM {_quoted(name)}")
    return datasets


def _local(name: str) -> str:
    return name.rpartition("/")[2]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _explain(err: Exception, datasets: list[TopicDataset], archive: Archive) -> ArchiveError:
    for dataset in datasets:
        if dataset.error is not None:
            return dataset.error
    said = str(err)
    missing = re.search(r"Table with name (\S+) does not exist", said)
    if missing:
        names = [_local(name) for name in archive.names()]
        return ArchiveError(
            f"no topic {missing[1]!r}",
            where=archive.store.url,
            hint=did_you_mean(missing[1], names),
        )
    return ArchiveError(said.partition("\n\n")[0].strip())
