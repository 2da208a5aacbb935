"""Decode JSON values by a record schema: flat ones in compiled code, the rest by `json`.

JSON has no schema resolution: a value is what it holds, so a field that only an older version of
the schema has is a column too, after those of the newest.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from workbench.archive.values import flat_json as flat
from workbench.archive.values.avro.arrow_types import arrow_type, columns, is_text
from workbench.archive.values.avro.schema import Field, Type, parse
from workbench.archive.values.claims import (
    TOO_MANY,
    arrays_by_runs,
    counter,
    most_cells,
    possible_cells,
)
from workbench.archive.values.encoded import EncodedValues, Misfit
from workbench.archive.values.grid import KINDS, Grid
from workbench.archive.values.json_objects import Literal, Unwritten, converter
from workbench.archive.values.schemas import Schema
from workbench.errors import ArchiveWarning


class JsonValues:
    """Decodes JSON objects into the columns `fields`.

    Attributes
    ----------
    fields
        Arrow fields; numbers, strings and booleans are parsed without a Python object per row.
    """

    def __init__(self, schemas: list[Schema], wanted: list[str] | None) -> None:
        records = [parse(schema.definition) for schema in schemas]
        self._is_empty = not any(record.fields for record in records)
        parts = _fields_of_all(records)
        self._all = frozenset(parts)
        self._parts = list(parts.values()) if wanted is None else [parts[name] for name in wanted]
        self.fields = [pa.field(part.name, arrow_type(part.type)) for part in self._parts]
        self._converters = [converter(part.type, part.name) for part in self._parts]
        self._counts = {
            part.name: count for part in self._parts if (count := counter(part.type)) is not None
        }
        self._types = max(record.types for record in records)
        names = [field.name.encode() for field in self.fields]
        self._names = np.frombuffer(b"".join(names), np.uint8).copy()
        self._bounds = np.cumsum([len(name) for name in names]).astype(np.int64)
        self._kinds = np.array([KINDS.get(field.type, -1) for field in self.fields], np.int64)
        texts = any(is_text(part.type) for part in self._parts)
        self._has_warned = False  # of one ledger: there may be thousands
        self._is_written = False  # whether numbers are read as they were written
        self._is_flat = bool(self.fields) and bool((self._kinds >= 0).all()) and not texts

    def decode(self, encoded: EncodedValues, misfit: Misfit) -> list[pa.Array]:
        """Return one array per field; a row of size -1 is null.

        Parameters
        ----------
        encoded
            Where each value lies.
        misfit
            Called with a row and what is wrong with it.
        """
        arrays = self._decode(encoded, misfit)
        if self.fields and not self._is_empty and all(x.null_count == len(x) for x in arrays):
            self._warn_of_strangers(encoded)
        return arrays

    def _warn_of_strangers(self, encoded: EncodedValues) -> None:
        """Say that values without a single field of the schema are another's, by the first one."""
        rows = np.flatnonzero(encoded.sizes > 0)
        names = _names(encoded.value(int(rows[0]))) if len(rows) else []
        if names and self._all.isdisjoint(names) and not self._has_warned:
            self._has_warned = True
            text = _strangers_text(names, self._all, encoded.where)
            warnings.warn(text, ArchiveWarning, stacklevel=2)

    def _decode(self, encoded: EncodedValues, misfit: Misfit) -> list[pa.Array]:
        if not self._is_flat:
            return self._decode_by_json(encoded, misfit)
        grid = Grid(encoded.data, self._kinds, len(encoded.starts))
        ends = encoded.starts + np.maximum(encoded.sizes, 0)
        flat.parse(
            encoded.data, encoded.starts, ends, self._names,
            self._bounds, self._kinds, grid.ints, grid.doubles, grid.state, grid.later,
        )  # fmt: skip
        grid.leave_out_of_range(self.fields)
        grid.leave_between_floats(self.fields)
        for row in np.flatnonzero((grid.later > 0) & (encoded.sizes >= 0)):
            for slot, value in enumerate(self._values(encoded, int(row), misfit)):
                grid.set(slot, int(row), value)
        return [grid.array(slot, field.type) for slot, field in enumerate(self.fields)]

    def _values(self, encoded: EncodedValues, row: int, misfit: Misfit) -> list[Any]:
        """Return the row's values in the order of the fields, as Arrow takes them."""
        raw = encoded.value(row)
        if raw is None:
            return [None] * len(self.fields)
        try:
            return self._converted(raw.decode("utf-8-sig"))
        except (ValueError, OverflowError, RecursionError) as err:
            misfit(row, _what(err, raw))
            return [None] * len(self.fields)

    def _converted(self, text: str) -> list[Any]:
        read = Literal if self._is_written else None
        value = json.loads(text, parse_float=read, parse_constant=read)
        if not isinstance(value, dict):
            raise ValueError(f"a JSON {type(value).__name__}, expected an object")
        cells = sum(count(value.get(name)) for name, count in self._counts.items())
        if cells > most_cells(len(text), self._types):
            raise ValueError(TOO_MANY)
        pairs = zip(self._parts, self._converters, strict=True)
        try:
            return [
                convert(value if self._is_empty else value.get(part.name))
                for part, convert in pairs
            ]
        except Unwritten:
            self._is_written = True  # and so for the rows that follow, which will be alike
            return self._converted(text)

    def _decode_by_json(self, encoded: EncodedValues, misfit: Misfit) -> list[pa.Array]:
        return arrays_by_runs(
            possible_cells(encoded.sizes, len(self.fields)),
            lambda rows: [self._values(encoded, row, misfit) for row in rows],
            self.fields,
        )


def _fields_of_all(records: list[Type]) -> dict[str, Field]:
    """Return the newest record's fields, and after them what only older ones have."""
    fields: dict[str, Field] = {}
    for record in reversed(records):
        for field in record.fields:
            fields.setdefault(field.name, field)
    return fields or {field.name: field for field in columns(records[-1])}


def _names(raw: bytes | None) -> list[str]:
    """Return the fields of a value; none of one that is no object, which is a misfit and told."""
    try:
        value = json.loads((raw or b"").decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return []
    return list(value) if isinstance(value, dict) else []


def _strangers_text(names: list[str], fields: Iterable[str], where: str) -> str:
    place = f" They are in {where}, and perhaps in others" if where else ""
    return (
        f"messages are rows of nulls: they have {', '.join(names)}, and none of the fields of "
        f"their schema, {', '.join(sorted(fields))}: are they of another topic that had its "
        f"name?{place}"
    )


def _what(err: Exception, raw: bytes) -> str:
    shown = raw[:60] + b"..." if len(raw) > 60 else raw
    return f"{err}: {shown.decode(errors='replace')!r}"
