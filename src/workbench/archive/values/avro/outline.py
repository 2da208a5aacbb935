"""What a record of Avro is at a glance: its name, and what each of its fields is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.archive.values.avro.schema import Type, parse, plain_union


@dataclass(frozen=True)
class Outline:
    """A record's outline.

    Attributes
    ----------
    name
        Without its namespace.
    fields
        By name what a field is: its logical type, else its type; of a union with null what it is
        beside; `union` where that are several.
    has_namesake
        Whether another type of the same name is within it, of whatever namespace.
    """

    name: str
    fields: Mapping[str, str]
    has_namesake: bool


def outline(definition: Any) -> Outline:
    """Return the outline of a schema.

    Raises
    ------
    ArchiveError
        If it is no record, breaks the specification, or claims too much.

    Examples
    --------
    >>> bar = {"name": "bar", "type": ["null", "double"]}
    >>> outline({"type": "record", "name": "plant.Reading", "fields": [bar]})
    Outline(name='Reading', fields={'bar': 'double'}, has_namesake=False)
    """
    record = parse(definition)
    within = _within(record, set())
    alike = [kind for kind in within if kind.name and kind.short_name == record.short_name]
    kinds = {field.name: _kind(field.type) for field in record.fields}
    return Outline(record.short_name, kinds, any(kind is not record for kind in alike))


def _kind(kind: Type) -> str:
    plain = plain_union(kind) if kind.kind == "union" else kind
    return "union" if plain is None else plain.logical or plain.kind


def _within(kind: Type, met: set[int]) -> Iterator[Type]:
    """Yield the types within a type, each once."""
    inner = [*kind.branches, *(field.type for field in kind.fields)]
    inner += [kind.items] if kind.items is not None else []
    for part in inner:
        if id(part) not in met:
            met.add(id(part))
            yield part
            yield from _within(part, met)


__all__ = ["Outline", "outline"]
