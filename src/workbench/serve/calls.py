"""Which functions a query may call, told by DuckDB's own parser.

A SELECT can call what acts: functions that switch logging on, run a text as SQL, read files or an
address in memory. Of functions that give a table those listed here are answered, and no others: the
rest of DuckDB's are such, or tell of the server itself.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

from workbench import local_sql
from workbench.local_sql import duckdb
from workbench.serve.errors import QueryError

_TABLES = {
    "range", "generate_series", "unnest", "repeat", "json_each", "json_tree", "pg_get_keywords",
    "_pg_expandarray", "pg_timezone_names",
}  # fmt: skip
_NEVER = {"write_log", "getenv", "getvariable", "nextval", "currval"}
_OURS = {"current_setting"}  # answered by a macro; DuckDB's own of that name tells of the server


def check_calls(query: str) -> None:
    """Raise if one query calls a function that is not answered.

    Raises
    ------
    QueryError
        If it does, or is no query that the parser can tell of.
    """
    row = _parser().cursor().execute("SELECT json_serialize_sql(?)", [query]).fetchone()
    try:
        parsed = json.loads(row[0] if row else "{}")
    except RecursionError as err:
        raise QueryError("the query is nested too deeply to be looked at", code="54001") from err
    if parsed.get("error", True):
        said = parsed.get("error_message", "nothing is known of it")
        raise QueryError(f"the query is not answered: {said}", code="42601")
    for node in _nodes(parsed["statements"]):
        if node.get("type") == "TABLE_FUNCTION":
            _check(node["function"], is_table=True)
        elif "function_name" in node:
            _check(node, is_table=False)


@functools.cache
def _parser() -> duckdb.DuckDBPyConnection:
    return local_sql.connect(threads="1")


def _nodes(parsed: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in parsed JSON."""
    left = [parsed]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield value
            left += value.values()
        elif isinstance(value, list):
            left += value


def _check(function: dict[str, Any], *, is_table: bool) -> None:
    name = str(function.get("function_name", "")).lower()
    is_qualified = function.get("schema") in {"main", "system"} and name in _OURS
    if name in _NEVER or is_qualified or (is_table and name not in _TABLES):
        raise QueryError(f"{name} is not answered: the archive is read only", code="42501")


__all__ = ["check_calls"]
