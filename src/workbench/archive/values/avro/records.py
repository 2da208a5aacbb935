"""Decode Avro records of any version into the newest version's fields.

Records without nesting go through compiled code, all others and every row that does not fit
through fastavro.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from workbench.archive.values.avro import flat
from workbench.archive.values.avro.arrow_types import arrow_type, columns
from workbench.archive.values.avro.budget import layout, misfits
from workbench.archive.values.avro.objects import (
    conflict,
    converter,
    plain,
    plain_names,
    read,
)
from workbench.archive.values.avro.plans import plan
from workbench.archive.values.avro.schema import Field, Type, parse
from workbench.archive.values.claims import arrays_by_runs, possible_cells
from workbench.archive.values.encoded import EncodedValues, Misfit
from workbench.archive.values.grid import Grid, kind_of
from workbench.archive.values.schemas import Schema
from workbench.arrays import Ints


class AvroValues:
    """Decodes Avro records into the columns `fields`."""

    def __init__(self, schemas: list[Schema], wanted: list[str] | None) -> None:
        records = {schema.version: parse(schema.definition) for schema in schemas}
        self.newest = schemas[-1].version
        reader = records[self.newest]
        self._is_empty = not reader.fields
        self._parts = _parts(reader, wanted)
        self.fields = [pa.field(part.name, arrow_type(part.type)) for part in self._parts]
        self._writers = {version: plain(record) for version, record in records.items()}
        self._layouts = {version: layout(record, reader) for version, record in records.items()}
        self._reader = plain(reader, is_reader=True)
        names = plain_names(reader)
        self._conflicts = {
            version: conflicts
            for version, record in records.items()
            if (conflicts := _conflicts(record, self._parts))
        }
        self._converters = [converter(part.type, names) for part in self._parts]
        self._kinds = np.array([kind_of(field.type) for field in self.fields], np.int64)
        self._plans = {
            version: None if self._is_empty else plan(record, self._parts)
            for version, record in records.items()
        }

    def decode(self, encoded: EncodedValues, misfit: Misfit) -> list[pa.Array]:
        """Return one array per field; a row of size -1 is nulls."""
        encoded = replace(
            encoded, versions=np.where(encoded.versions < 0, self.newest, encoded.versions)
        )
        versions = [int(version) for version in np.unique(encoded.versions[encoded.sizes >= 0])]
        if not self.fields or any(self._plans.get(version) is None for version in versions):
            return self._decode_by_fastavro(encoded, misfit)
        grid = Grid(encoded.data, self._kinds, len(encoded.starts))
        ends = encoded.starts + np.maximum(encoded.sizes, 0)
        for version in versions:
            how = self._plans[version]
            assert how is not None  # noqa: S101 - looked at above
            written = np.flatnonzero((encoded.versions == version) & (encoded.sizes >= 0))
            flat.parse(
                encoded.data, encoded.starts, ends, written, how.codes, how.slots, how.branches,
                how.widths, self._kinds, grid.ints, grid.doubles, grid.state, grid.later,
            )  # fmt: skip
            how.finish(grid, written)
        grid.leave_out_of_range(self.fields)
        later = np.flatnonzero((grid.later > 0) & (encoded.sizes >= 0))
        wrong = self._wrong(encoded, later)
        for row in later.tolist():
            for slot, value in enumerate(self._values(encoded, row, misfit, wrong.get(row))):
                grid.set(slot, row, value)
        return [grid.array(slot, field.type) for slot, field in enumerate(self.fields)]

    def _decode_by_fastavro(self, encoded: EncodedValues, misfit: Misfit) -> list[pa.Array]:
        wrong = self._wrong(encoded, np.flatnonzero(encoded.sizes >= 0))
        return arrays_by_runs(
            possible_cells(encoded.sizes, len(self.fields)),
            lambda rows: [self._values(encoded, row, misfit, wrong.get(row)) for row in rows],
            self.fields,
        )

    def _wrong(self, encoded: EncodedValues, rows: Ints) -> dict[int, str]:
        """Return what is wrong with the bytes of some rows, before anything is made of them."""
        wrong: dict[int, str] = {}
        for version, how in self._layouts.items():
            mine = rows[encoded.versions[rows] == version]
            starts = encoded.starts[mine]
            met = misfits(encoded.data, starts, starts + encoded.sizes[mine], how)
            wrong |= {int(mine[i]): text for i, text in met.items()}
        return wrong

    def _values(
        self, encoded: EncodedValues, row: int, misfit: Misfit, wrong: str | None
    ) -> list[Any]:
        """Return a row's values in the order of the fields, as Arrow takes them."""
        raw, version = encoded.value(row), int(encoded.versions[row])
        nulls = [None] * len(self.fields)
        if raw is None:
            return nulls
        if version not in self._writers:
            misfit(row, f"schema version {version} is not known, only {sorted(self._writers)}")
            return nulls
        if version in self._conflicts:
            misfit(row, self._conflicts[version])
            return nulls
        if wrong is not None:
            misfit(row, f"not Avro of version {version}: {wrong}")
            return nulls
        reader = None if version == self.newest else self._reader
        try:
            record = read(raw, self._writers[version], reader)
        except Exception as err:  # fastavro raises what it meets
            misfit(row, f"not Avro of version {version}: {type(err).__name__} {err}".rstrip())
            return nulls
        values = []
        for part, convert in zip(self._parts, self._converters, strict=True):
            try:
                values.append(convert(record if self._is_empty else record[part.name]))
            except (ValueError, OverflowError, RecursionError) as err:
                misfit(row, f"field {part.name} has {err}")
                return nulls
        return values


def _parts(reader: Type, wanted: list[str] | None) -> list[Field]:
    """Return the columns `wanted` of a record, or all."""
    parts = columns(reader)
    by_name = {part.name: part for part in parts}
    return parts if wanted is None else [by_name[name] for name in wanted]


def _conflicts(record: Type, parts: list[Field]) -> str:
    written = {field.name: field.type for field in record.fields}
    for part in parts:
        text = conflict(written.get(part.name, part.type), part.type)
        if text:
            return f"field {part.name} was {text}: which of them a value is is not known"
    return ""
