"""Which records of a topic of Kafka a query surely asks for, by their time.

DuckDB says which filters it leaves to a table when it runs the query over one that is empty, with
the columns of the topic's newest records. They hold for one scan of one topic; of more than that,
or of what cannot be run so, nothing is concluded. A field may be called `event_time`: a bound on it
says nothing of records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from workbench import kafka, local_sql
from workbench.archive import numbered, quoted, time_bounds, view_text
from workbench.errors import ReplayError
from workbench.history.kafka_topics import KINDS, KafkaRecords, is_undecoded, read_records
from workbench.history.kafka_values import decode_records
from workbench.local_sql import duckdb
from workbench.times import iso

_PLAIN = ("event_time", "publish_time", "key")
_HIDDEN = {
    f"__{name}__": name for name in ("message_id", "event_time", "key", "partition", "offset")
}
_TIMES = {"event_time", "publish_time"}
_RAW = "__newest"


@dataclass(frozen=True, eq=False)
class Span:
    """A span of records' times that a query asks for.

    Attributes
    ----------
    start_ms, stop_ms
        Epoch ms, half-open; None: unbounded.
    fields
        What the newest records hold; None: not known.
    """

    start_ms: int | None = None
    stop_ms: int | None = None
    fields: pa.StructType | None = None

    def records(self, name: str) -> KafkaRecords:
        """Return the records of a topic that are in it, or all where that means something else."""
        start, stop = (None if ms is None else iso(ms) for ms in (self.start_ms, self.stop_ms))
        records = read_records(name, start, stop)
        if (start or stop) and {field.lower() for field in _fields(records.table)} & _TIMES:
            start, records = None, read_records(name)
        records = records.with_fields(self.fields)
        records.warn(start)
        return records


WHOLE = Span()


def kafka_span(text: str, name: str) -> Span:
    """Return the span that a query, which names this topic alone, asks for.

    Raises
    ------
    ServicesError
        If Kafka does not answer.
    """
    try:
        table = _newest(name)
    except ReplayError:  # the newest alone cannot be read: perhaps all can
        return WHOLE
    if is_undecoded(table):
        return WHOLE
    fields = table.schema.field("fields").type
    probe = _Probe(sql_table(table).schema)
    with local_sql.connect(threads="1") as connection:
        connection.register(_RAW, probe)
        body = view_text(probe.schema, _RAW)
        connection.execute(f"CREATE VIEW {quoted(name)} AS {body}")
        try:
            if len(connection.extract_statements(text)) != 1:
                return WHOLE
            plan = str(connection.execute(f"EXPLAIN {text}").fetchall())
            connection.execute(text).fetchall()
        except (duckdb.Error, pa.ArrowException):
            return WHOLE
    if len(probe.filters) != 1 or plan.count("Function: ARROW_SCAN") != 1:
        return WHOLE
    own = [*_HIDDEN, *(plain for plain in _PLAIN if plain in probe.schema.names)]
    taken = {field.lower() for field in _fields(table)}
    sources = [column for column in own if column not in taken]
    bounds = list(time_bounds(probe.filters[0], probe.schema, sources))
    return Span(
        max((start for _, start, _ in bounds if start is not None), default=None),
        min((stop for _, _, stop in bounds if stop is not None), default=None),
        fields,
    )


class _Probe(ds.Dataset):  # type: ignore[misc] # pyarrow is untyped
    """An empty table that keeps the filters which DuckDB leaves to it."""

    def __init__(self, schema: pa.Schema) -> None:
        self.filters: list[str] = []
        self._schema = schema

    @property
    def schema(self) -> pa.Schema:
        """Columns, as `sql_table` gives them."""
        return self._schema

    def scanner(
        self,
        columns: list[str] | None = None,
        filter: ds.Expression | None = None,  # noqa: A002
    ) -> ds.Scanner:
        """Return a scan of nothing."""
        self.filters.append(str(filter))
        schema = pa.schema([self._schema.field(name) for name in columns or self._schema.names])
        return ds.Scanner.from_batches([], schema=schema, columns=columns, filter=filter)


def _newest(name: str) -> pa.Table:
    """Return `KafkaRecords.table` of the newest record of each partition, without its rows."""
    topic = f"{kafka.SCHEME}{name}"
    last = {number: end - 1 for number, (first, end) in kafka.bounds(topic).items() if end > first}
    tails = kafka.tails(topic, 0, last)
    rows = [(number, *record) for number, records in tails.items() for record in records]
    records: dict[str, list[Any]] = {column: [None] * len(rows) for column in KINDS}
    for place, column in enumerate(("partition", "event_time", "value")):
        records[column] = [row[place] for row in rows]
    records["version"] = [-1] * len(rows)
    table = decode_records(records, KINDS, topic=topic).table.slice(0, 0)
    return table.append_column("message_id", pa.array([], pa.string()))


def _fields(table: pa.Table) -> list[str]:
    has = "fields" in table.column_names
    return [field.name for field in table.schema.field("fields").type] if has else []


def sql_table(table: pa.Table) -> pa.Table:
    """Return records, as `KafkaRecords.table` has them, as SQL sees them."""
    fields = _fields(table)
    shown = numbered(fields, taken=[*_PLAIN, *_HIDDEN])
    columns = {name: pc.struct_field(table["fields"], [place]) for place, name in enumerate(shown)}
    used = {name.lower() for name in fields}
    columns |= {name: table[name] for name in _PLAIN if name not in used}
    return pa.table(columns | {hidden: table[name] for hidden, name in _HIDDEN.items()})


__all__ = ["WHOLE", "Span", "kafka_span", "sql_table"]
