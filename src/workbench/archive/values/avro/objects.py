"""What fastavro reads, as Arrow takes it: one function per type of the reader's schema.

fastavro is given schemas without logical types (`plain`): it resolves versions, and gives numbers
and bytes as they were written. So times beyond what Python's `datetime` holds stay numbers, and
compiled and slow path agree by construction. Defaults are marked, since they are JSON, where bytes
are text of ISO-8859-1 and a union is its first branch.

Source: Apache Avro 1.11 specification, "Schema Resolution", "JSON Encoding".
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

import fastavro

from workbench.archive.values.avro.arrow_types import MOST_DIGITS, is_text, narrowed
from workbench.archive.values.avro.schema import NO_DEFAULT, Type
from workbench.errors import ArchiveError

Convert = Callable[[Any], Any]
_DIGITS = Context(prec=2 * MOST_DIGITS)
_WIDTHS = {"int": 1, "long": 2, "float": 3, "double": 4}  # of numbers, the narrowest first
_BITS = {"int": 31, "long": 63}
_DAY = {"time-millis": 86_400_000, "time-micros": 86_400_000_000}  # in the type's own unit


@dataclass(frozen=True)
class Default:
    """A default as it stands in the schema; fastavro hands it through where a field is missing."""

    value: Any


def plain(record: Type, *, is_reader: bool = False) -> Any:
    """Return a record's schema as fastavro takes it: without logical types, defaults marked.

    Parameters
    ----------
    is_reader
        Order the numbers of unions: fastavro takes the first branch that a value may be promoted
        to, where the specification wants the one of the very type, if there is one.

    Raises
    ------
    ArchiveError
        If fastavro refuses it.
    """
    writer = _Plain(record, is_reader=is_reader)
    try:
        schema = fastavro.parse_schema(writer.schema(record))
    except Exception as err:  # fastavro raises what it meets
        raise ArchiveError(f"the schema is no Avro schema: {type(err).__name__} {err}") from err
    writer.put_back(schema)
    return schema


class _Plain:
    """Writes the graph of a schema down again, each named type once.

    fastavro compares short names alone. Types of one short name get their full one, with
    underscores: two types stay two.
    """

    def __init__(self, record: Type, *, is_reader: bool) -> None:
        self._is_reader = is_reader
        self._defaults: dict[tuple[str, str], Any] = {}
        self._symbols: dict[str, dict[str, Any]] = {}
        self._written: set[int] = set()
        self.names = plain_names(record)

    def schema(self, kind: Type) -> Any:
        if kind.kind == "union":
            branches = kind.branches
            if self._is_reader:
                branches = sorted(branches, key=lambda branch: _WIDTHS.get(branch.kind, 0))
            return [self.schema(branch) for branch in branches]
        if kind.items is not None:
            part = "items" if kind.kind == "array" else "values"
            return {"type": kind.kind, part: self.schema(kind.items)}
        if not kind.name:
            return kind.kind
        name = self.names[kind.name]
        if id(kind) in self._written:
            return name
        self._written.add(id(kind))
        aliases = [_word(alias.rpartition(".")[2]) for alias in kind.aliases]
        schema: dict[str, Any] = {"type": kind.kind, "name": name, "aliases": aliases}
        if kind.kind == "fixed":
            return {**schema, "size": kind.size}
        if kind.kind == "enum":
            default = {} if kind.symbol_default is None else {"default": kind.symbol_default}
            self._symbols[name] = {"symbols": kind.symbols, **default}
            return {**schema, "symbols": []}
        fields = []
        for field in kind.fields:
            fields.append(
                {"name": field.name, "type": self.schema(field.type), "aliases": field.aliases}
            )
            if field.default is not NO_DEFAULT:
                self._defaults[name, field.name] = Default(field.default)
        return {**schema, "fields": fields}

    def put_back(self, schema: Any) -> None:
        """Put defaults and symbols into what fastavro has parsed: of them it takes not all.

        (Of defaults it keeps only JSON; of symbols it takes ASCII alone, where Java takes letters
        of any alphabet.)
        """
        if isinstance(schema, list):
            for branch in schema:
                self.put_back(branch)
        elif isinstance(schema, dict):
            if schema["type"] == "enum":
                schema.update(self._symbols[schema["name"]])
            for field in schema.get("fields", ()):
                if (schema["name"], field["name"]) in self._defaults:
                    field["default"] = self._defaults[schema["name"], field["name"]]
                self.put_back(field["type"])
            for part in ("items", "values"):
                self.put_back(schema.get(part))


def plain_names(record: Type) -> dict[str, str]:
    """Return the name that fastavro is given for each full name in a schema."""
    full = sorted({kind.name for kind in _types(record, {}) if kind.name})
    short = [name.rpartition(".")[2] for name in full]
    return {
        name: _word(name if short.count(last) > 1 else last)
        for name, last in zip(full, short, strict=True)
    }


def _types(kind: Type, met: dict[int, Type]) -> list[Type]:
    if id(kind) not in met:
        met[id(kind)] = kind
        inner = [*kind.branches, *(field.type for field in kind.fields)]
        for part in [*inner, *([kind.items] if kind.items is not None else [])]:
            _types(part, met)
    return list(met.values())


def _word(name: str) -> str:
    """Return a name without marks; names that differ in these alone stay two."""
    return re.sub(r"[^\w.]", lambda mark: f"_{ord(mark[0]):x}", name).replace(".", "_")


def read(raw: bytes, writer: Any, reader: Any) -> dict[str, Any]:
    """Return one record of `writer` as `reader` (None: the same) sees it, for `converter`."""
    try:
        return _read(raw, writer, reader, named=True)
    except TypeError:  # fastavro 1.13 cannot name a branch that only one of both defines in place
        return _read(raw, writer, reader, named=False)


def _read(raw: bytes, writer: Any, reader: Any, *, named: bool) -> dict[str, Any]:
    record: dict[str, Any] = fastavro.schemaless_reader(
        io.BytesIO(raw),
        writer,
        reader,
        return_named_type=named,
        # kept apart until it is known that text is wanted: bytes would be other bytes
        handle_unicode_errors="surrogateescape",
    )
    return record


def converter(kind: Type, names: dict[str, str]) -> Convert:
    """Return what turns a value that `read` gave for a type into what Arrow takes.

    The function raises ValueError where the value does not fit the type.
    """
    if is_text(kind):
        encode = _Json(names)
        return lambda value: None if value is None else _json_text(encode.value(kind, value))
    convert = _converter(narrowed(kind), names)

    def nullable(value: Any) -> Any:
        if isinstance(value, Default):
            value = value.value
        return None if value is None else convert(value)

    return nullable


def _converter(kind: Type, names: dict[str, str]) -> Convert:
    if kind.kind == "record":
        parts = {field.name: converter(field.type, names) for field in kind.fields}
        defaults = {field.name: Default(field.default) for field in kind.fields}

        def record(value: Any) -> dict[str, Any]:
            value = {**defaults, **_untagged(value)}  # a record in a default may lack fields
            return {name: part(value[name]) for name, part in parts.items()}

        return record
    if kind.items is not None:
        item = converter(kind.items, names)
        if kind.kind == "array":
            return lambda value: [item(part) for part in value]
        return lambda value: [(key, item(part)) for key, part in value.items()]
    return lambda value: scalar(kind, _untagged(value))


def scalar(kind: Type, value: Any) -> Any:
    """Return one value without parts, as Arrow takes it.

    Raises
    ------
    ValueError
        If it passes what its type can hold.
    """
    if kind.kind in ("bytes", "fixed"):
        value = value.encode("latin-1") if isinstance(value, str) else value
        if kind.logical == "decimal" and kind.precision <= MOST_DIGITS:
            return decimal(int.from_bytes(value, "big", signed=True), kind)
        return value
    if kind.kind in _BITS:
        return whole(kind, value)
    if kind.kind in ("float", "double"):
        if isinstance(value, int) and int(float(value)) != value:
            raise ValueError(f"{value}, which a {kind.kind} cannot hold exactly")
        return float(value)
    return _utf8(value) if isinstance(value, str) else value


def _utf8(text: str) -> str:
    """Return text with replacement characters where its bytes were no UTF-8, as Java shows it."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def whole(kind: Type, value: int) -> int:
    """Return a whole number, or raise ValueError where its type cannot hold it."""
    bits = _BITS[kind.kind]
    if not -(1 << bits) <= value < 1 << bits:
        raise ValueError(f"{value}, expected a whole number of {bits + 1} bits")
    if kind.logical in _DAY and not 0 <= value < _DAY[kind.logical]:
        raise ValueError(f"{value}, which is no {kind.logical} of a day")
    return value


def decimal(unscaled: int, kind: Type) -> Decimal:
    """Return unscaled * 10 ** -scale, or raise ValueError where it has too many digits."""
    if abs(unscaled) >= 10**kind.precision:
        raise ValueError(
            f"a decimal of {len(str(abs(unscaled)))} digits, expected at most {kind.precision}"
        )
    return _DIGITS.scaleb(Decimal(unscaled), -kind.scale)


def _untagged(value: Any) -> Any:
    """Return a value of a named type without the name that fastavro adds inside a union."""
    return value[1] if isinstance(value, tuple) else value


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


class _Json:
    """Turns values that `read` gave into Avro's JSON encoding."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def value(self, kind: Type, value: Any) -> Any:
        if isinstance(value, Default):
            return value.value if kind.kind != "union" else self._default(kind, value.value)
        if kind.kind == "union":
            return self._union(kind, value)
        value = _untagged(value)
        if kind.kind == "record":
            return {field.name: self.value(field.type, value[field.name]) for field in kind.fields}
        if kind.kind == "array" and kind.items is not None:
            return [self.value(kind.items, part) for part in value]
        if kind.kind == "map" and kind.items is not None:
            return {key: self.value(kind.items, part) for key, part in value.items()}
        if kind.kind in ("bytes", "fixed"):
            return value.decode("latin-1")
        if kind.kind in ("float", "double"):
            return _number(float(value))
        return whole(kind, value) if kind.kind in _BITS else scalar(kind, value)

    def _default(self, union: Type, value: Any) -> Any:
        first = union.branches[0]
        return None if first.kind == "null" else {first.label: value}

    def _union(self, union: Type, value: Any) -> Any:
        if value is None:
            return None
        branch = self._branch(union, value)
        return {branch.label: self.value(branch, value)}

    def _branch(self, union: Type, value: Any) -> Type:
        """Return the branch of a value; a whole number is of the widest type that it may have."""
        if isinstance(value, tuple):
            named = [b for b in union.branches if self._names.get(b.name) == value[0]]
            return named[0]
        for kinds in _KINDS[type(value)]:
            fitting = [b for b in union.branches if b.kind == kinds]
            if kinds == "record":
                fitting = [b for b in fitting if {f.name for f in b.fields} == set(value)]
            if fitting:
                return fitting[0]
        raise ValueError(f"{value!r}, which is of no branch of its union")


_KINDS: dict[type, tuple[str, ...]] = {
    bool: ("boolean",),
    int: ("long", "int", "double", "float"),
    float: ("double", "float"),
    str: ("string", "enum"),
    bytes: ("bytes", "fixed"),
    list: ("array",),
    dict: ("map", "record"),  # a record comes with its name, but where the writer had no union
}


def _number(value: float) -> float | str:
    """Return a double as Java's JSON encoder has it: what JSON has no number for is text."""
    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


def conflict(written: Type, wanted: Type, met: set[tuple[int, int]] | None = None) -> str:
    """Return where it is not known what a value of an older version means, empty if nowhere.

    Resolution compares the types beneath: milliseconds would be read as microseconds, and
    hundredths as thousandths, without a word.
    """
    met = set() if met is None else met
    written, wanted = narrowed(written), narrowed(wanted)
    kinds = {branch.kind for branch in wanted.branches}
    if kinds >= {"bytes", "string"} and written is not wanted:
        return "a union of bytes and string in an older version"
    if (id(written), id(wanted)) in met:
        return ""
    met.add((id(written), id(wanted)))
    if written.logical and wanted.logical:
        units = [_unit(written), _unit(wanted)]
        return "" if units[0] == units[1] else " and then ".join(units)
    theirs = {field.name: field.type for field in written.fields}
    pairs = [(theirs[f.name], f.type) for f in wanted.fields if f.name in theirs]
    if written.items is not None and wanted.items is not None:
        pairs.append((written.items, wanted.items))
    texts = (conflict(*pair, met) for pair in pairs)
    return next((text for text in texts if text), "")


def _unit(kind: Type) -> str:
    if kind.logical == "decimal":
        return f"decimal of scale {kind.scale}"
    return kind.logical
