"""SQL over topics of Kafka: DuckDB sees each that a query names as a view of its name.

A view has the decoded fields, then `event_time`, `publish_time` and `key` unless fields have these
names, then `__message_id__`, `__event_time__`, `__key__`, `__partition__` and `__offset__`. Names
that differ only in case are numbered, as over an archive.

A topic is read whole, as Kafka has it, unless the query is of one topic, once, and surely bounds
the time of its records: then from the first record of that time on (`kafka_span`).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Generator, Sequence

import pyarrow as pa

from workbench import kafka, local_sql
from workbench.archive import quoted, view_text
from workbench.errors import ReplayError, did_you_mean
from workbench.history.kafka_span import WHOLE, kafka_span, sql_table
from workbench.local_sql import duckdb

_WORDS = re.compile(r'"([^"]+)"|([\w.-]+)')


def query_kafka(
    text: str, *, batch_rows: int = 65536, read: list[str] | None = None
) -> Generator[pa.RecordBatch, None, None]:
    """Yield the result of a SQL query over topics of Kafka, `batch_rows` at a time.

    The first batch may be empty: it carries the schema.

    Parameters
    ----------
    read
        What was read of each topic is added to it, a line each.

    Raises
    ------
    ServicesError
        If Kafka does not answer.
    ReplayError
        If the query is wrong, names a topic that is not there, or for what `read_records` raises.
    """
    with (
        tempfile.TemporaryDirectory() as spill,
        local_sql.connect(threads="1", temp_directory=spill) as connection,
    ):
        try:
            asked = _asked(connection, text, kafka.topics())
            for number, name in enumerate(asked):
                span = kafka_span(text, name) if len(asked) == 1 else WHOLE
                records = span.records(name)
                if read is not None:
                    read.append(records.line())
                table, raw = sql_table(records.table), f"__topic_{number}"
                connection.register(raw, table)
                view = view_text(table.schema, raw)
                connection.execute(f"CREATE VIEW {quoted(name)} AS {view}")
            reader = connection.execute(text).fetch_record_batch(batch_rows)
            yield pa.RecordBatch.from_pylist([], schema=reader.schema)
            yield from reader
        except duckdb.Error as err:
            raise ReplayError(str(err).partition("\n\n")[0].strip()) from err


def _asked(connection: duckdb.DuckDBPyConnection, text: str, topics: Sequence[str]) -> list[str]:
    """Return which topics a query names, refused where SQL cannot tell which is meant."""
    _check_points(connection, text, topics)
    wanted = sorted(_tables(connection, text, topics, qualified=False))
    for name in wanted:
        alike = [topic for topic in topics if topic.lower() == name.lower()]
        if len(alike) > 1:
            raise ReplayError(
                f"{name!r} is the name of {len(alike)} topics that differ only in case",
                hint="SQL takes them for one: workbench.replay reads either",
            )
        if not alike:
            raise ReplayError(
                f"there is no topic {kafka.SCHEME}{name}", hint=did_you_mean(name, topics)
            )
    return [topic for topic in topics if topic.lower() in {name.lower() for name in wanted}]


def _tables(
    connection: duckdb.DuckDBPyConnection, text: str, topics: Sequence[str], *, qualified: bool
) -> set[str]:
    """Return the tables that a query names; of a join that USING binds, all words that are topics.

    DuckDB looks for the columns of such a join in tables that are not there yet.
    """
    try:
        return connection.get_table_names(text, qualified=qualified)
    except (duckdb.BinderException, RuntimeError):
        words = {word for pair in _WORDS.findall(text) for word in pair}
        names = {topic.lower() for topic in topics}
        mine = {word for word in words if word.lower() in names}
        return {quoted(word) for word in mine} if qualified else mine


def _check_points(connection: duckdb.DuckDBPyConnection, text: str, topics: Sequence[str]) -> None:
    """Refuse the name of a topic with a point in it and no quotes: SQL would read a schema's."""
    for name in sorted(_tables(connection, text, topics, qualified=True)):
        plain = name.replace('"', "")
        if "." not in plain or name == quoted(plain):
            continue
        for topic in topics:
            if topic.lower() == plain.lower():
                raise ReplayError(
                    f"SQL takes {name} for a table of a schema, not for the topic {topic}",
                    hint=f"in double quotes: {quoted(topic)}",
                )
        if name.split(".")[0] != "main":
            nearest = did_you_mean(plain, topics)
            raise ReplayError(
                f"there is no topic {kafka.SCHEME}{plain}",
                hint=f"{nearest}; a name with a point stands in double quotes",
            )


__all__ = ["query_kafka"]
