"""Which type a parameter has of which a client declares none: that of what it stands beside.

PostgreSQL tells the types of parameters when a statement is prepared, and drivers encode by them.
DuckDB knows them once values are bound. So for each such parameter a query is made whose only
column has its type; DuckDB describes it.
"""

from __future__ import annotations

import re
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from workbench.serve.statements import TOKEN

_FROM = ("with_", "from_", "joins", "laterals")
_NAME = "parameter_"  # sqlglot takes `$1,$2` for a text between dollars
_COUNT = "SELECT CAST(NULL AS BIGINT)"


def typed_alike(text: str) -> dict[int, str]:
    """Return a query with the type of each parameter, by its number; not where it stands alone.

    Examples
    --------
    >>> typed_alike("select $3 from pumps where event_time < $1 and load > $2::int limit 5")
    {1: 'SELECT event_time FROM pumps', 2: 'SELECT CAST(NULL AS INT)'}
    >>> typed_alike("select 1 from pumps where ($1 is null or pump = $1) and load in ($2,$3)")
    {1: 'SELECT pump FROM pumps', 2: 'SELECT load FROM pumps', 3: 'SELECT load FROM pumps'}
    """
    named = TOKEN.sub(_named, text)
    queries: dict[int, str] = {}
    try:
        statement = sqlglot.parse_one(named, read="duckdb")
        for parameter in statement.find_all(exp.Placeholder):
            number = parameter.name.removeprefix(_NAME)
            if number.isdecimal() and int(number) not in queries and (query := _typed(parameter)):
                queries[int(number)] = query
    except (SqlglotError, RecursionError):
        return {}
    return dict(sorted(queries.items()))


def _named(token: re.Match[str]) -> str:
    is_parameter = token[0][0] == "$" and token[0][1:].isdecimal()
    return f"${_NAME}{token[0][1:]} " if is_parameter else token[0]


def _typed(parameter: exp.Expression) -> str:
    """Return a query whose column has the type of a parameter; empty: nothing tells it."""
    parent = parameter.parent
    if isinstance(parent, exp.Cast):
        return exp.select(exp.cast(exp.null(), parent.to.copy())).sql("duckdb")
    if isinstance(parent, exp.Limit | exp.Offset):
        return _COUNT
    if not isinstance(parent, exp.Predicate) or isinstance(parent, exp.Is):
        return ""
    nothing = (exp.Placeholder, exp.Null)
    beside = [part for part in parent.iter_expressions() if not isinstance(part, nothing)]
    select = parameter.find_ancestor(exp.Select)
    if not beside or select is None:
        return ""
    query = exp.select(beside[0].copy())
    for clause in _FROM:
        query.set(clause, _copied(select.args.get(clause)))
    return query.transform(_without_value).sql("duckdb")


def _copied(clause: Any) -> Any:
    """Return a clause by itself: a copy of all would be made for each parameter."""
    if isinstance(clause, list):
        return [part.copy() for part in clause]
    return clause.copy() if clause else None


def _without_value(part: exp.Expression) -> exp.Expression:
    return exp.null() if isinstance(part, exp.Placeholder) else part


__all__ = ["typed_alike"]
