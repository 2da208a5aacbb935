"""What topics are called in SQL, where names that differ only in case are one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from workbench.local_sql import duckdb


class HasTopics(Protocol):
    """Topics that a query may name: an archive's, or more."""

    @property
    def url(self) -> str:
        """Where they are."""

    def names(self) -> list[str]:
        """Return their full names, sorted."""


@dataclass(frozen=True)
class SqlName:
    """What a topic is called in SQL.

    Attributes
    ----------
    topic
        Full name.
    schema, table
        `"tenant/namespace"` and its last part, numbered where SQL cannot tell it from another.
    is_plain
        Whether no other topic is called `table`: the schema may be left out.
    """

    topic: str
    schema: str
    table: str
    is_plain: bool

    @property
    def views(self) -> list[str]:
        """Names of the topic's views, quoted, the fullest first."""
        plain = [self.table, self.topic] if self.is_plain else []
        full = f"{quoted(self.schema)}.{quoted(self.table)}"
        return list(dict.fromkeys([full, *map(quoted, plain)]))


def sql_names(archive: HasTopics) -> list[SqlName]:
    """Return the names of all topics in SQL, in the order of their full ones."""
    names = archive.names()
    spaces, tables = numbered([_space(name) for name in names]), _locals(names)
    lower = [table.lower() for table in tables]
    return [
        SqlName(name, space, table, lower.count(table.lower()) == 1)
        for name, space, table in zip(names, spaces, tables, strict=True)
    ]


def asked_names(
    archive: HasTopics, connection: duckdb.DuckDBPyConnection, text: str
) -> list[SqlName]:
    """Return the names of the topics that a query may read; others cost nothing."""
    wanted = asked_tables(connection, text)
    asked = []
    for name in sql_names(archive):
        plain = local(name.topic)
        if not wanted & {name.topic.lower(), plain.lower(), name.table.lower()}:
            continue
        if name.table != plain and name.table.lower() not in wanted:
            continue  # the plain name is of several topics: refused, by name
        asked.append(name)
    return asked


def numbered(names: Sequence[str], *, taken: Sequence[str] = ()) -> list[str]:
    """Return names with a number behind those that SQL cannot tell apart, as they differ in case.

    Parameters
    ----------
    taken
        Names that stay as they are, whatever else there is; one that is the very same hides it.

    Examples
    --------
    >>> numbered(["Temp", "temp", "bar", "Key"], taken=["key"])
    ['Temp__1', 'temp__2', 'bar', 'Key__1']
    """
    spellings: dict[str, list[str]] = {}
    for name in [*names, *taken]:
        group = spellings.setdefault(name.lower(), [])
        if name not in group:
            group.append(name)
    return [
        name
        if len(spellings[name.lower()]) == 1
        else f"{name}__{spellings[name.lower()].index(name) + 1}"
        for name in names
    ]


def asked_tables(connection: duckdb.DuckDBPyConnection, text: str) -> set[str]:
    """Return the tables that a query names, in lower case; all its words if it is not clear."""
    try:
        return {name.lower() for name in connection.get_table_names(text)}
    except duckdb.Error:
        return {word.lower() for word in re.findall(r'"([^"]+)"|([\w.-]+)', text) for word in word}


def _locals(names: list[str]) -> list[str]:
    """Return the short names of topics, numbered where a namespace has several in SQL's eyes."""
    result = dict.fromkeys(names, "")
    for space in {_space(name) for name in names}:
        mine = [name for name in names if _space(name) == space]
        result |= dict(zip(mine, numbered([local(name) for name in mine]), strict=True))
    return list(result.values())


def _space(name: str) -> str:
    return name.partition("://")[2].rpartition("/")[0]


def local(name: str) -> str:
    """Return the last part of a topic's name."""
    return name.rpartition("/")[2]


def quoted(name: str) -> str:
    """Return a name as SQL takes it whatever is in it."""
    return '"' + name.replace('"', '""') + '"'
