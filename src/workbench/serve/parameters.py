"""Turn the parameters that a client binds into literals of SQL.

PostgreSQL takes a parameter of no declared type as a literal of unknown type; so does DuckDB take
a quoted literal. And a bound on time that is a literal reaches the reader of the archive.

Source: PostgreSQL 15, Message Formats (Bind); src/backend/utils/adt, the functions `*_recv`.
"""

from __future__ import annotations

import datetime as dt
import re
import struct
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal

from workbench.serve.columns import TYPES, epoch_2000
from workbench.serve.errors import QueryError

_SQL = {  # oid: the type in SQL; others, as text and unknown, are plain literals
    TYPES["bool"].oid: "BOOLEAN",
    TYPES["bytea"].oid: "BLOB",
    TYPES["int8"].oid: "BIGINT",
    TYPES["int2"].oid: "SMALLINT",
    TYPES["int4"].oid: "INTEGER",
    26: "BIGINT",
    TYPES["float4"].oid: "FLOAT",
    TYPES["float8"].oid: "DOUBLE",
    TYPES["date"].oid: "DATE",
    TYPES["time"].oid: "TIME",
    TYPES["timestamp"].oid: "TIMESTAMP",
    TYPES["timestamptz"].oid: "TIMESTAMPTZ",
    TYPES["interval"].oid: "INTERVAL",
    2950: "UUID",
}
_WHOLE = {TYPES[name].oid for name in ("int2", "int4", "int8")}
_PLAIN = {0, 18, 19, 25, 114, 705, 1042, 1043, 3802}
_ARRAYS = {kind.array: kind.oid for kind in TYPES.values()} | {1015: 1043, 1002: 18, 1003: 19}
OIDS = {
    "BOOLEAN": 16, "BIGINT": 20, "SMALLINT": 21, "INTEGER": 23, "FLOAT": 700, "DOUBLE": 701,
    "DATE": 1082, "TIME": 1083, "TIMESTAMP": 1114, "TIMESTAMP WITH TIME ZONE": 1184,
    "INTERVAL": 1186, "BLOB": 17, "UUID": 2950,
}  # fmt: skip


def literal(value: bytes | None, oid: int, *, binary: bool) -> str:
    """Return a parameter as SQL; nothing in it can end the literal.

    Raises
    ------
    QueryError
        If its bytes are not of the type, or the type is none that can be bound.

    Examples
    --------
    >>> literal(b"it's", 25, binary=False), literal(bytes([0, 7]), 21, binary=True)
    ("'it''s'", "'7'::SMALLINT")
    """
    if value is None:
        return f"NULL::{_SQL[oid]}" if oid in _SQL else "NULL"
    if oid == TYPES["numeric"].oid:
        return _decimal_literal(value, binary=binary)
    if oid in _ARRAYS:
        inner = _ARRAYS[oid]
        items = _unpacked(value) if binary else ((item, inner) for item in _unbraced(_text(value)))
        return "[" + ", ".join(literal(item, of, binary=binary) for item, of in items) + "]"
    if oid not in _SQL and oid not in _PLAIN:
        raise QueryError(f"a parameter of type {oid} cannot be bound", code="0A000")
    try:
        text = _RECEIVED[oid](value) if binary and oid in _RECEIVED else _text(value)
    except (struct.error, ValueError, OverflowError) as err:
        what = f"{len(value)} bytes are no parameter of type {oid}: {err}"
        raise QueryError(what, code="22P03") from err
    if oid == TYPES["bytea"].oid:
        return f"unhex('{_hex(value, text, binary)}')"
    if oid in _WHOLE and not re.fullmatch(r"\s*[+-]?\d+\s*", text):  # it would be rounded
        raise QueryError(f"{text!r} is no whole number", code="22P02")
    return _quoted(text) + (f"::{_SQL[oid]}" if oid in _SQL else "")


def _decimal_literal(value: bytes, *, binary: bool) -> str:
    """Return a numeric as a bare literal: DuckDB's NUMERIC would keep three decimals of it."""
    oid = TYPES["numeric"].oid
    try:
        text = _RECEIVED[oid](value) if binary and oid in _RECEIVED else _text(value)
        number = Decimal(text)
    except (struct.error, ValueError, ArithmeticError) as err:
        what = f"{len(value)} bytes are no parameter of type {oid}: {err}"
        raise QueryError(what, code="22P03") from err
    return f"({number:f})" if number.is_finite() else f"{_quoted(text)}::DOUBLE"


def _text(value: bytes) -> str:
    return value.decode()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _hex(value: bytes, text: str, binary: bool) -> str:
    if binary:
        return value.hex()
    if not text.startswith("\\x"):
        raise QueryError("bytes as text are wanted in hexadecimal: \\x00ff", code="22P02")
    return bytes.fromhex(text[2:]).hex()


def _unbraced(text: str) -> Iterator[bytes | None]:
    """Yield the items of `{a,"b c",NULL}`."""
    if not (text.startswith("{") and text.endswith("}")):
        raise QueryError(f"{text!r} is no array of one dimension", code="22P02")
    item, quoted, escaped, was_quoted = "", False, False, False
    for letter in text[1:-1] + ",":
        if escaped:
            item, escaped = item + letter, False
        elif letter == "\\":
            escaped = True
        elif letter == '"':
            quoted, was_quoted = not quoted, True
        elif letter == "," and not quoted:
            if item or was_quoted:
                yield None if item.upper() == "NULL" and not was_quoted else item.encode()
            item, was_quoted = "", False
        else:
            item += letter


def _unpacked(value: bytes) -> Iterator[tuple[bytes | None, int]]:
    dimensions, _, oid = struct.unpack_from("!iii", value)
    if dimensions > 1:
        raise QueryError(f"an array of {dimensions} dimensions cannot be bound", code="0A000")
    count, place = (struct.unpack_from("!i", value, 12)[0], 20) if dimensions else (0, 12)
    for _ in range(count):
        size = struct.unpack_from("!i", value, place)[0]
        yield (value[place + 4 : place + 4 + size] if size >= 0 else None), oid
        place += 4 + max(size, 0)


def _number(form: str) -> Callable[[bytes], str]:
    return lambda value: repr(struct.unpack(form, value)[0])


def _instant(value: bytes) -> str:
    micros = dt.timedelta(microseconds=struct.unpack("!q", value)[0])
    return (epoch_2000() + micros).isoformat()


def _numeric(value: bytes) -> str:
    count, weight, sign, _ = struct.unpack_from("!hhHh", value)
    if sign == 0xC000:
        return "NaN"
    groups = struct.unpack_from(f"!{count}h", value, 8)
    total = sum(Decimal(group).scaleb(4 * (weight - i)) for i, group in enumerate(groups))
    return f"{-total if sign == 0x4000 else Decimal(total):f}"


def _interval(value: bytes) -> str:
    micros, days, months = struct.unpack("!qii", value)
    return f"{months} months {days} days {micros} microseconds"


_RECEIVED: dict[int, Callable[[bytes], str]] = {
    TYPES["bool"].oid: lambda value: str(value != b"\0"),
    TYPES["bytea"].oid: lambda _: "",
    TYPES["int8"].oid: _number("!q"),
    TYPES["int2"].oid: _number("!h"),
    TYPES["int4"].oid: _number("!i"),
    26: _number("!I"),
    TYPES["float4"].oid: _number("!f"),
    TYPES["float8"].oid: _number("!d"),
    TYPES["date"].oid: lambda value: str(
        epoch_2000().date() + dt.timedelta(struct.unpack("!i", value)[0])
    ),
    TYPES["time"].oid: lambda value: str(
        (epoch_2000() + dt.timedelta(microseconds=struct.unpack("!q", value)[0])).time()
    ),
    TYPES["timestamp"].oid: lambda value: _instant(value).removesuffix("+00:00"),
    TYPES["timestamptz"].oid: _instant,
    TYPES["interval"].oid: _interval,
    TYPES["numeric"].oid: _numeric,
    2950: lambda value: str(uuid.UUID(bytes=value)),
    3802: lambda value: value[1:].decode(),
}
