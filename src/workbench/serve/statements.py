"""What a client says, statement by statement: which are answered here, and what may be asked.

Only queries are; whatever would change something, or touch a file, is refused by its first word,
by DuckDB's parser, and by DuckDB's own lock (`engine`). What clients say to set up a session is
answered as PostgreSQL would where it changes nothing, and refused where it would change answers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from workbench.local_sql import duckdb
from workbench.serve.calls import check_calls
from workbench.serve.columns import TYPES
from workbench.serve.errors import QueryError
from workbench.serve.parameters import literal

TOKEN = re.compile(
    r"""(?<!\w)[eE]'(?:[^'\\]|\\.|'')*'  # text with escapes
      | '(?:[^']|'')*'                # text
      | "(?:[^"]|"")*"                # a name
      | (?<![\w$])\$([^\W\d]\w*|)\$.*?\$\1\$  # text between dollars
      | --[^\r\n]* | /\*.*?\*/        # comments
      | \$\d+ | ;""",
    re.DOTALL | re.VERBOSE,
)
_QUERIES = {"SELECT", "WITH", "VALUES", "TABLE", "FROM", "EXPLAIN", "DESCRIBE", "SUMMARIZE", "("}
_SEARCH_PATH = re.compile(  # how Grafana asks which schemas need no name
    r"FROM\s+generate_series\(\s*array_lower\(string_to_array\(current_setting\('search_path'\),\s*"
    r"','\),\s*1\),\s*array_upper\(string_to_array\(current_setting\('search_path'\),\s*','\),\s*1\)"
    r"\s*\)\s*as\s+i,\s*string_to_array\(current_setting\('search_path'\),\s*','\)\s*s\b",
    re.IGNORECASE,
)
_REWRITTEN = [  # PostgreSQL's ways to say it, and DuckDB's
    (re.compile(r"OPERATOR\s*\(\s*pg_catalog\s*\.\s*([^)\s]+)\s*\)", re.IGNORECASE), r"\1"),
    (re.compile(r"COLLATE\s+pg_catalog\s*\.\s*default", re.IGNORECASE), ""),
    (re.compile(r"::\s*(pg_catalog\s*\.\s*)?reg(class|type|proc|namespace|role)\b", re.I), ""),
    (re.compile(r"\bjson_build_object\b", re.IGNORECASE), "json_object"),
    (re.compile(r"\bpg_catalog\s*\.\s*(?=[\w\"])", re.IGNORECASE), ""),
    (re.compile(r"\binformation_schema\s*\.\s*(?=\w)", re.IGNORECASE), "pg_information."),
]
_ARRAY = re.compile(r"\s*::\s*(?=\w+\s*\[\])")
_REGCLASS = re.compile(r"\s*::\s*(?:pg_catalog\s*\.\s*)?(regclass|regtype)\b", re.IGNORECASE)
SETTINGS = {
    "server_version": "13.0", "server_version_num": "130000", "server_encoding": "UTF8",
    "client_encoding": "UTF8", "datestyle": "ISO, MDY", "intervalstyle": "postgres",
    "timezone": "UTC", "integer_datetimes": "on", "standard_conforming_strings": "on",
    "is_superuser": "off", "default_transaction_read_only": "on", "transaction_read_only": "on",
    "in_hot_standby": "off", "transaction_isolation": "read committed", "search_path": "public",
    "default_transaction_isolation": "read committed", "max_identifier_length": "63",
    "max_index_keys": "32", "lc_collate": "C", "lc_ctype": "C",
    "session_authorization": "workbench",
}  # fmt: skip
_FREE = {  # settings that may be set to anything: they change no answer of ours
    "application_name", "extra_float_digits", "search_path", "client_min_messages",
    "bytea_output", "lock_timeout", "idle_in_transaction_session_timeout", "row_security",
    "synchronous_commit", "default_transaction_isolation", "transaction_isolation", "jit",
    "session_characteristics", "ssl_renegotiation_limit", "transaction_read_only",
    "default_transaction_read_only", "standard_conforming_strings", "escape_string_warning",
    "geqo", "enable_seqscan", "statement_timeout", "constraint_exclusion",
}  # fmt: skip
_ARRAYS = re.compile(r"\b(?:ANY|ALL)\s*\(\s*\$(\d+)|\$(\d+)\s*::\s*[\w ]+\[\]", re.IGNORECASE)
_UTC = {"utc", "etc/utc", "gmt", "z", "0", "default", "+00", "+00:00", "etc/gmt"}
_SET = re.compile(
    r"SET\s+(?:SESSION\s+|LOCAL\s+)?(TIME\s+ZONE|NAMES|[\w.]+)\s*(?:=|\bTO\b)?\s*(.*)", re.I | re.S
)


def split(text: str) -> list[str]:
    """Return the statements of a text without the semicolons between them; empty ones are left out.

    Examples
    --------
    >>> split("select ';' ; -- one; two\\nselect 2;")
    ["select ';'", '-- one; two\\nselect 2']
    """
    parts, start = [], 0
    for token in TOKEN.finditer(text):
        if token[0] == ";":
            parts.append(text[start : token.start()])
            start = token.end()
    parts.append(text[start:])
    return [part.strip() for part in parts if first_word(part)]


def first_word(text: str) -> str:
    """Return the word with which a statement begins, in capitals; empty: there is only comment."""
    bare = re.sub(r"^(\s|--[^\r\n]*([\r\n]|$)|/\*.*?\*/)+", "", text, flags=re.DOTALL)
    word = re.match(r"\w+|\S", bare)
    return word[0].upper() if word else ""


def filled(text: str, literals: Sequence[str]) -> str:
    """Return a statement with a literal for each `$n`.

    Examples
    --------
    >>> filled("select '$1', $1", ["7"])
    "select '$1', 7"
    """

    def value(token: re.Match[str]) -> str:
        number = token[0][1:] if token[0].startswith("$") else ""
        if not number.isdigit():
            return token[0]
        if not 1 <= int(number) <= len(literals):
            raise QueryError(f"there is no parameter ${number}", code="42P02")
        return literals[int(number) - 1]

    return TOKEN.sub(value, text)


def array_parameters(text: str) -> set[int]:
    """Return which parameters are arrays though no type is declared: `ANY ($1)`, `$1::text[]`.

    Examples
    --------
    >>> array_parameters("select $2::int where 'a' = any ( $1 ) or $3 :: text[] is null")
    {1, 3}
    """
    return {int(asked or cast) for asked, cast in _ARRAYS.findall(text)}


def parameters(text: str) -> int:
    """Return how many parameters a statement has."""
    names = (token[0][1:] for token in TOKEN.finditer(text) if token[0].startswith("$"))
    return max((int(number) for number in names if number.isdigit()), default=0)


def translated(text: str) -> str:
    """Return a statement of PostgreSQL in DuckDB's words, as far as catalogues are asked.

    Examples
    --------
    >>> translated("SELECT pg_catalog.version(), 'pg_catalog.x'")
    "SELECT version(), 'pg_catalog.x'"
    >>> translated("SELECT 'pumps'::regclass")
    "SELECT to_regclass('pumps')"
    >>> translated("SELECT '{a,b}'::text[]")
    "SELECT ['a', 'b']::text[]"
    """
    text = _SEARCH_PATH.sub("FROM (SELECT 1 AS i, ['public'] AS s)", text)
    pieces: list[str] = []
    start = 0
    for token in [*TOKEN.finditer(text), None]:
        code = text[start : token.start() if token else len(text)]
        cast = _REGCLASS.match(code) if pieces and pieces[-1].startswith("'") else None
        if pieces and pieces[-1].startswith("'{") and _ARRAY.match(code):
            items = pieces[-1][1:-1].replace("''", "'").encode()
            pieces[-1] = literal(items, TYPES["text"].array, binary=False)
        if cast:
            pieces[-1] = f"to_{cast[1].lower()}({pieces[-1]})"
            code = code[cast.end() :]
        for pattern, ours in _REWRITTEN:
            code = pattern.sub(ours, code)
        pieces.append(code)
        if token:
            pieces.append(token[0])
            start = token.end()
    return "".join(pieces)


def check(text: str) -> None:
    """Raise unless a statement is one query.

    Raises
    ------
    QueryError
        If it is another statement, or several.
    """
    word = first_word(text)
    if word not in _QUERIES:
        raise QueryError(
            f"{word} is not answered: the archive is read only", code="25006", hint="SELECT is"
        )
    kinds = [statement.type for statement in duckdb.extract_statements(text)]
    if [kind.name for kind in kinds] == ["EXPLAIN"]:
        text = re.sub(r"^\s*EXPLAIN\s+(\([\w\s,]*\)\s*|ANALYZE\s+)*", "", _bare(text), flags=re.I)
        kinds = [statement.type for statement in duckdb.extract_statements(text)]
    if [kind.name for kind in kinds] != ["SELECT"]:
        names = ", ".join(kind.name for kind in kinds)
        raise QueryError(f"{names} is not answered: the archive is read only", code="25006")
    check_calls(text)


def _bare(text: str) -> str:
    return TOKEN.sub(lambda token: " " if token[0][:2] in ("--", "/*") else token[0], text)


def session_tag(text: str) -> str | None:
    """Return what is said to a statement that sets up a session; None: it is none.

    Raises
    ------
    QueryError
        If it would change answers: another time zone, another encoding, DuckDB's settings.
    """
    word = first_word(text)
    if word in {"BEGIN", "START"}:
        return "BEGIN"
    if word in {"COMMIT", "END"}:
        return "COMMIT"
    if word in {"ROLLBACK", "ABORT"}:
        return "ROLLBACK"
    if word in {"SAVEPOINT", "RELEASE", "DISCARD", "DEALLOCATE", "RESET", "UNLISTEN", "CLOSE"}:
        return word if word != "DISCARD" else "DISCARD ALL"
    if word == "SET":
        _check_setting(_bare(text).strip())
        return "SET"
    return None


def _check_setting(text: str) -> None:
    if re.match(r"SET\s+(SESSION\s+CHARACTERISTICS|TRANSACTION)\b", text, re.IGNORECASE):
        return
    said = _SET.fullmatch(text)
    if not said:
        raise QueryError(f"cannot set: {text}", code="42601")
    name, value = re.sub(r"\s+", "", said[1].lower()), said[2].strip().strip("'\"").lower()
    if name == "timezone" and value not in _UTC:
        raise QueryError(
            f"times are in UTC, not in {value}", code="0A000", hint="AT TIME ZONE asks"
        )
    if name in {"client_encoding", "names"} and value.replace("-", "") not in {"utf8", "unicode"}:
        raise QueryError(f"text is in UTF8, not in {value}", code="0A000")
    if name == "datestyle" and not value.startswith("iso"):
        raise QueryError(f"dates are in ISO style, not in {value}", code="0A000")
    if name == "intervalstyle" and value != "postgres":
        raise QueryError(f"intervals are in style postgres, not in {value}", code="0A000")
    if name not in _FREE | {"timezone", "client_encoding", "names", "datestyle", "intervalstyle"}:
        raise QueryError(f"{name} cannot be set", code="42704")


def shown(text: str) -> tuple[str, str] | None:
    """Return name and value for SHOW of a setting; None: it is no such statement.

    Raises
    ------
    QueryError
        If no setting has the name.
    """
    if first_word(text) != "SHOW":
        return None
    name = " ".join(_bare(text).split()[1:]).strip('"').lower()
    name = {"time zone": "timezone", "transaction isolation level": "transaction_isolation"}.get(
        name, name
    )
    if name not in SETTINGS:
        raise QueryError(f"no setting {name!r}", code="42704")
    return name, SETTINGS[name]
