"""SQL in a stream file: scalar expressions over its channels, of the subset that is named here.

They go to Flink and to DuckDB as they are written, so what they may hold is decided before, by
DuckDB's own parser: numbers, channels, operators, CASE, BETWEEN, IN, IS NULL, CAST to a number,
and `FUNCTIONS`. No texts, queries, other names or comments.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from workbench import local_sql
from workbench.errors import StreamError, did_you_mean

FUNCTIONS = frozenset({
    "abs", "acos", "asin", "atan", "atan2", "ceil", "ceiling", "coalesce", "cos", "cosh", "cot",
    "degrees", "exp", "floor", "greatest", "if", "least", "ln", "log", "log10", "log2", "mod",
    "nullif", "pi", "pow", "power", "radians", "round", "sign", "sin", "sinh", "sqrt", "tan",
    "tanh", "truncate",
})  # fmt: skip
_OPERATORS = frozenset({"+", "-", "*", "/", "%"})
_KINDS = frozenset({
    "CONSTANT", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CASE", "CAST", "BETWEEN",
})  # fmt: skip
_LOGIC = frozenset({
    "OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_COALESCE",
    "OPERATOR_NULLIF", "COMPARE_IN", "COMPARE_NOT_IN",
})  # fmt: skip
_NUMBERS = frozenset({
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL",
})  # fmt: skip
_NEVER = ("'", '"', "$", ";", "--", "/*", "\\", "\0")
_MOST_CHARACTERS = 10_000


def check_expressions(expressions: Mapping[str, str], names: Collection[str]) -> None:
    """Refuse whatever is no scalar expression over some names.

    Parameters
    ----------
    expressions
        SQL by what it is of, as a message says it: `derived load`.
    names
        The channels, and what else may be named.

    Raises
    ------
    StreamError
        With the first that is none, and why.
    """
    if not expressions:
        return
    with local_sql.connect(threads="1") as connection:
        for where, text in expressions.items():
            found = next((one for one in _NEVER if one in text), None)
            if found or len(text) > _MOST_CHARACTERS:
                _refuse(where, text, f"holds {found}" if found else f"has {len(text)} characters")
            query = "SELECT " + text.replace("`", '"')
            row = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
            parsed = json.loads(row[0] if row else "{}")
            if parsed.get("error", True):
                _refuse(where, text, f"is no SQL: {parsed.get('error_message', '')}")
            _check(where, text, parsed, names)


def _check(where: str, text: str, parsed: Mapping[str, Any], names: Collection[str]) -> None:
    statements = parsed["statements"]
    select = statements[0]["node"]
    one = len(statements) == 1 and select["type"] == "SELECT_NODE"
    if not one or len(select["select_list"]) != 1 or select["from_table"]["type"] != "EMPTY":
        _refuse(where, text, "is more than one expression")
    rest = {key: value for key, value in select.items() if key != "select_list"}
    if any(True for _ in _nodes(rest)) or select["modifiers"] or select["cte_map"]["map"]:
        _refuse(where, text, "is a query")
    for node in _nodes(select["select_list"]):
        fault = _fault(node, names)
        if fault:
            _refuse(where, text, *fault)


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every expression in a parsed query."""
    if isinstance(value, dict):
        if "class" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _nodes(inner)


def _fault(node: Mapping[str, Any], names: Collection[str]) -> tuple[str, str | None] | None:
    """Return what is wrong with an expression, and a hint; None: nothing."""
    kind = node["class"]
    if node.get("alias"):
        return f"names something {node['alias']!r}", None
    if kind == "COLUMN_REF":
        name = ".".join(node["column_names"])
        fine = name in names
        return None if fine else (f"names {name!r}, no channel", did_you_mean(name, names))
    if kind == "FUNCTION":
        name = node["function_name"]
        if name in _OPERATORS or (name in FUNCTIONS and not node["schema"]):
            return None
        return f"calls {name!r}, which is not among those allowed", did_you_mean(name, FUNCTIONS)
    if kind == "CONSTANT":
        return _constant_fault(node["value"])
    if kind == "CAST":
        target = node["cast_type"]["id"]
        return None if target in _NUMBERS else (f"casts to {target}, no number", None)
    if kind in _KINDS or (kind == "OPERATOR" and node["type"] in _LOGIC):
        return None
    return f"holds a {kind.lower().replace('_', ' ')}", None


def _constant_fault(value: Mapping[str, Any]) -> tuple[str, str | None] | None:
    if value["is_null"]:
        return None
    number = value["value"]
    if isinstance(number, (int, float)) and not isinstance(number, bool):
        return None if abs(number) < math.inf else ("holds a number that is not finite", None)
    return None if value["type"]["id"] in _NUMBERS else ("holds a text", None)


def _refuse(where: str, text: str, why: str, hint: str | None = None) -> None:
    shown = text if len(text) <= 60 else f"{text[:60]}..."
    raise StreamError(f"{where} is {shown!r}, which {why}", hint=hint or _HINT)


_HINT = "one SQL expression over the stream's channels: docs/stream-file.md"

__all__ = ["FUNCTIONS", "check_expressions"]
