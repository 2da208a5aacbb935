"""Avro schemas as the specification resolves their names: `parse` makes a graph of `Type`s.

A name without dots inherits the namespace around it; a dotted name is full, whatever
`namespace` says; a reference is looked up in the namespace it stands in, then as written. Two
types of one short name in two namespaces are two types; a definition repeated word for word (as
Pulsar's Python client writes it) is one. A logical type that does not fit its type is ignored, as
the specification demands.

What a schema unfolds to is counted on the way, before anything is made of it: see the constants.

Source: Apache Avro 1.11 specification, "Names", "Aliases", "Logical Types"; 1.12 for the
nanosecond timestamps.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

from workbench.errors import ArchiveError

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
_LOGICAL = {
    "int": ("date", "time-millis"),
    "long": (
        "time-micros",
        "timestamp-millis",
        "timestamp-micros",
        "timestamp-nanos",
        "local-timestamp-millis",
        "local-timestamp-micros",
        "local-timestamp-nanos",
    ),
    "string": ("uuid",),
    "bytes": ("decimal",),
    "fixed": ("decimal",),
}
NO_DEFAULT = object()
# one that refers to types takes as many columns, converters and names as if it wrote them out
TYPES = 10_000  # of a schema with all references unfolded, symbols of enums among them
LEVELS = 100  # of types in types, and of values in values: Python's own calls end at 1,000
_CHARACTERS = 1000  # of a name, a symbol or a default: each may stand in every row
_FIXED_BYTES = (1 << 31) - 1
_DIGITS = 10_000  # of a decimal


@dataclass(eq=False)
class Type:
    """One type of a schema; a reference is the very object it refers to.

    Attributes
    ----------
    kind
        A primitive's name, `record`, `enum`, `fixed`, `array`, `map` or `union`.
    name
        Full name of a named type.
    aliases
        Full names it may have been written under.
    logical
        Logical type, empty where there is none that fits.
    precision, scale
        Of a decimal.
    size
        Bytes of a fixed.
    symbols
        Of an enum.
    symbol_default
        The enum's symbol for one that it lacks, or None.
    fields
        Of a record.
    items
        Type of an array's items or a map's values.
    branches
        Of a union.
    types, levels
        How many types it unfolds to, and how deep; a type inside itself is one.
    """

    kind: str
    name: str = ""
    aliases: list[str] = field(default_factory=list)
    logical: str = ""
    precision: int = 0
    scale: int = 0
    size: int = 0
    symbols: list[str] = field(default_factory=list)
    symbol_default: str | None = None
    fields: list[Field] = field(default_factory=list)
    items: Type | None = None
    branches: list[Type] = field(default_factory=list)
    types: int = 1
    levels: int = 1

    @property
    def label(self) -> str:
        """The name of this type as a branch in Avro's JSON encoding of a union."""
        return self.name or self.kind

    @property
    def short_name(self) -> str:
        """The name without its namespace."""
        return self.name.rpartition(".")[2]


@dataclass(eq=False)
class Field:
    """One field of a record; `default` is JSON as it stands in the schema, or NO_DEFAULT."""

    name: str
    type: Type
    aliases: list[str]
    default: Any


def parse(definition: Any) -> Type:
    """Return the graph of a schema that is a record.

    Raises
    ------
    ArchiveError
        If it is no record, breaks the specification, or unfolds to more than TYPES types or
        LEVELS levels.

    Examples
    --------
    >>> temperature = {"name": "v", "type": ["null", "double"]}
    >>> parse({"type": "record", "name": "R", "namespace": "a.b", "fields": [temperature]}).name
    'a.b.R'
    """
    if isinstance(definition, str) and definition[:1] in ("{", "["):
        raise _too_deep()  # `schemas.parse_schema` has left it as text
    if not isinstance(definition, dict) or definition.get("type") not in ("record", "error"):
        raise ArchiveError(f"the schema is {str(definition)[:80]}, expected a record")
    try:
        return _Parser().type(definition, "")
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as err:
        text = f"{type(err).__name__} {err}"[:_CHARACTERS]
        raise ArchiveError(f"the schema is no Avro schema: {text}") from err
    except RecursionError as err:
        raise _too_deep() from err


def _too_deep() -> ArchiveError:
    return ArchiveError(f"the schema is nested more than {LEVELS} levels deep")


def plain_union(union: Type) -> Type | None:
    """Return the one type beside null of a union, or None where there are more."""
    others = [branch for branch in union.branches if branch.kind != "null"]
    return others[0] if len(others) == 1 else None


class _Parser:
    """Reads one schema; holds the named types met so far."""

    def __init__(self) -> None:
        self.types: dict[str, Type] = {}
        self._definitions: dict[str, Any] = {}
        self._level = 0

    def type(self, definition: Any, space: str) -> Type:
        self._level += 1
        if self._level > LEVELS:
            raise _too_deep()
        avro_type = self._type(definition, space)
        self._level -= 1
        return avro_type

    def _type(self, definition: Any, space: str) -> Type:
        if isinstance(definition, list):
            branches = [self.type(branch, space) for branch in definition]
            return _counted(Type("union", branches=branches), branches)
        if isinstance(definition, str):
            return self._reference(definition, space)
        kind = definition["type"]
        if isinstance(kind, dict | list):
            return self.type(kind, space)
        if kind in ("record", "error", "enum", "fixed"):
            return self._named(definition, space)
        if kind in ("array", "map"):
            items = self.type(definition["items" if kind == "array" else "values"], space)
            return _counted(Type(kind, items=items), [items])
        if kind in PRIMITIVES:
            return _with_logical(Type(kind), definition)
        return self._reference(kind, space)

    def _reference(self, name: str, space: str) -> Type:
        if name in PRIMITIVES:
            return Type(name)
        referred = self.types.get(f"{space}.{name}") if space and "." not in name else None
        referred = referred or self.types.get(name)
        if referred is None:
            raise ArchiveError(f"the schema names type {name[:80]!r}, which it does not define")
        return referred

    def _named(self, definition: dict[str, Any], space: str) -> Type:
        given = definition.get("namespace", space)
        space = "" if given is None else _text(given)
        name = _full_name(_text(definition["name"]), space)
        inner = name.rpartition(".")[0]
        if name in self.types:
            if self._definitions[name] != definition:
                raise ArchiveError(f"the schema defines type {name!r} twice, and differently")
            return self.types[name]
        kind = "record" if definition["type"] == "error" else definition["type"]
        avro_type = Type(kind, name)
        avro_type.aliases = [_full_name(alias, inner) for alias in _aliases(definition)]
        self.types[name], self._definitions[name] = avro_type, definition
        if kind == "enum":
            avro_type.symbols = [_text(symbol) for symbol in _list(definition["symbols"])]
            avro_type.symbol_default = _symbol_default(definition)
            avro_type.types += len(avro_type.symbols)
        elif kind == "fixed":
            avro_type.size = _size(definition["size"])
            _with_logical(avro_type, definition)
        else:
            self._fill(avro_type, definition["fields"], inner)
        return _counted(avro_type, [])

    def _fill(self, record: Type, fields: list[dict[str, Any]], space: str) -> None:
        """Give a record its fields, counted one by one: those beyond what it may have are not made.

        Until then it counts as one, for what it is named in.
        """
        whole = Type("record")
        for stored in _list(fields):
            whole.fields.append(self._field(stored, space))
            _counted(whole, [whole.fields[-1].type])
        if len({found.name for found in whole.fields}) < len(whole.fields):
            raise ArchiveError(f"the schema names two fields of {record.name!r} alike")
        record.fields, record.types, record.levels = whole.fields, whole.types, whole.levels

    def _field(self, definition: dict[str, Any], space: str) -> Field:
        kind = self.type(definition["type"], space)
        default = definition.get("default", NO_DEFAULT)
        if default is not NO_DEFAULT and len(json.dumps(default)) > _CHARACTERS:
            raise ArchiveError(f"the schema has a default of more than {_CHARACTERS} characters")
        return Field(_text(definition["name"]), kind, _aliases(definition), default)


def _counted(whole: Type, parts: list[Type]) -> Type:
    """Return a type with what its parts unfold to added.

    Raises
    ------
    ArchiveError
        If that is more than a schema may have.
    """
    whole.types += sum(part.types for part in parts)
    whole.levels = max([whole.levels, *(part.levels + 1 for part in parts)])
    if whole.types > TYPES:
        raise ArchiveError(f"the schema unfolds to more than {TYPES} types")
    if whole.levels > LEVELS:
        raise _too_deep()
    return whole


def _symbol_default(definition: dict[str, Any]) -> str | None:
    """Return an enum's default, and refuse symbols by which a value is not known.

    (What is in a symbol is free: the rule of names is not that of all who write, and no value's
    bytes have to do with it.)
    """
    symbols, default = definition["symbols"], definition.get("default")
    if len(set(symbols)) < len(symbols):
        raise ValueError("an enum has a symbol twice")
    if default is not None and default not in symbols:
        raise ValueError(f"an enum has no symbol {str(default)[:20]!r}, which is its default")
    return default


def _text(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a name is {type(name).__name__}, expected text")
    name.encode()  # half of a surrogate pair is no text
    if len(name) > _CHARACTERS:
        raise ValueError(f"a name of {len(name)} characters, expected at most {_CHARACTERS}")
    return name


def _list(stored: Any) -> list[Any]:
    if not isinstance(stored, list):
        raise TypeError(f"{str(stored)[:20]}, expected a list")
    return stored


def _aliases(definition: dict[str, Any]) -> list[str]:
    stored = definition.get("aliases")
    return [] if stored is None else [_text(alias) for alias in _list(stored)]


def _size(size: Any) -> int:
    if not isinstance(size, int) or isinstance(size, bool):
        raise TypeError(f"the size of a fixed is {str(size)[:20]}, expected a whole number")
    if not 0 <= size <= _FIXED_BYTES:
        raise ValueError(f"a fixed of {size:.4g} bytes, expected 0 to {_FIXED_BYTES}")
    return size


def _full_name(name: str, space: str | None) -> str:
    return f"{space}.{name}" if space and "." not in name else name


def _with_logical(avro_type: Type, definition: dict[str, Any]) -> Type:
    logical = definition.get("logicalType")
    if logical not in _LOGICAL.get(avro_type.kind, ()):
        return avro_type
    if logical == "decimal":
        digits = definition.get("precision", 0), definition.get("scale", 0)
        if not _is_decimal(avro_type, *digits):
            return avro_type
        if digits[0] > _DIGITS:
            raise ValueError(f"a decimal of {digits[0]:.4g} digits, expected at most {_DIGITS}")
        avro_type.precision, avro_type.scale = digits
    avro_type.logical = logical
    return avro_type


def _is_decimal(avro_type: Type, precision: Any, scale: Any) -> bool:
    whole = type(precision) is int and type(scale) is int  # true is none
    if not whole or precision < 1 or not 0 <= scale <= precision:
        return False
    bits = 8 * avro_type.size - 1
    # not 10**precision <= 2**bits: either may have 10^9 digits
    return avro_type.kind == "bytes" or precision <= bits * math.log10(2)
