"""The catalogues of PostgreSQL over the topics of an archive: tables, columns, types, settings.

The queries that make them of four small tables are SQL (`catalogue.sql`, `functions.sql`); here
those tables are filled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from workbench.archive import SqlName
from workbench.local_sql import duckdb
from workbench.serve.columns import TYPES, Type, type_of
from workbench.serve.statements import SETTINGS

_FIRST_OID = 16_385  # below are PostgreSQL's own
_LONG = {
    "bool": "boolean", "int2": "smallint", "int4": "integer", "int8": "bigint",
    "float4": "real", "float8": "double precision", "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone", "time": "time without time zone",
}  # fmt: skip
_CATEGORIES = {"bool": "B", "text": "S", "json": "U", "bytea": "U", "interval": "T"}
_OTHERS = [("name", 19, 64, 1003), ("oid", 26, 4, 1028), ("varchar", 1043, -1, 1015)]
_TABLES = """
CREATE TABLE pg.__topic (
    oid BIGINT, space_oid BIGINT, space VARCHAR, name VARCHAR, columns INTEGER, entries BIGINT
);
CREATE TABLE pg.__column (
    oid BIGINT, number INTEGER, name VARCHAR, type_oid BIGINT, type_name VARCHAR, length INTEGER,
    ndims INTEGER
);
CREATE TABLE pg.__type (
    oid BIGINT, name VARCHAR, long_name VARCHAR, length INTEGER, category VARCHAR, element BIGINT,
    array_oid BIGINT
);
CREATE TABLE pg.__setting (name VARCHAR, setting VARCHAR);
"""


def make(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the catalogues, without topics."""
    folder = Path(__file__).parent
    connection.execute("CREATE SCHEMA pg; CREATE SCHEMA pg_information; CREATE SCHEMA public")
    connection.execute(_TABLES)
    _insert(connection, "__type", list(_types()))
    _insert(connection, "__setting", list(SETTINGS.items()))
    connection.execute("SET search_path = 'public,pg'")
    for name in ("functions.sql", "catalogue.sql"):
        connection.execute((folder / name).read_text(encoding="utf-8"))


def _types() -> Iterable[tuple[int, str, str, int, str, int, int]]:
    others = [Type(*other) for other in _OTHERS]
    for kind in [*TYPES.values(), *others]:
        long = {**_LONG, "varchar": "character varying"}.get(kind.name, kind.name)
        group = _CATEGORIES.get(kind.name, "D" if kind.name[:4] in ("date", "time") else "N")
        yield kind.oid, kind.name, long, kind.size, group, 0, kind.array
        yield kind.array, f"_{kind.name}", f"{long}[]", -1, "A", kind.oid, 0


def fill(
    cursor: duckdb.DuckDBPyConnection, topics: Iterable[tuple[SqlName, pa.Schema, int]]
) -> None:
    """Let the catalogues show these topics: name, columns, entries of each."""
    spaces: dict[str, int] = {"public": 2200}
    rows, columns = [], []
    for oid, (name, schema, entries) in enumerate(topics, _FIRST_OID):
        space = "public" if name.is_plain else name.schema
        number = spaces.setdefault(space, 1_000_000 + len(spaces))
        rows.append((oid, number, space, name.table, len(schema), entries))
        for position, column in enumerate(schema, 1):
            kind, is_array = type_of(column.type)
            stored = (kind.oid, kind.name, kind.size, 0)
            if is_array:
                stored = (kind.array, f"_{kind.name}", -1, 1)
            columns.append((oid, position, column.name, *stored))
    cursor.execute("BEGIN; DELETE FROM pg.__topic; DELETE FROM pg.__column")
    if rows:
        _insert(cursor, "__topic", rows)
        _insert(cursor, "__column", columns)
    cursor.execute("COMMIT")


def _insert(
    cursor: duckdb.DuckDBPyConnection, table: str, rows: Sequence[tuple[str | int, ...]]
) -> None:
    """Add rows in one statement, as literals: parameters would load pandas."""
    texts = (", ".join(map(_literal, row)) for row in rows)
    values = ", ".join(f"({text})" for text in texts)
    cursor.execute(f"INSERT INTO pg.{table} VALUES {values}")  # noqa: S608 - literals are quoted


def _literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
