"""Decode messages whose schema versions are of another type than the newest.

A topic may change from JSON to Avro, or back: both are records, and older messages become the
newest version's columns, by name. Between other types nothing is right to do: such messages are
misfits. (A primitive of as many bytes would be read without complaint, and wrongly.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pyarrow as pa

from workbench.archive.values.encoded import EncodedValues, Misfit
from workbench.arrays import Ints


class Values(Protocol):
    """Decodes the values of messages into `fields`."""

    @property
    def fields(self) -> list[pa.Field]:
        """One field per array of `decode`."""

    def decode(self, encoded: EncodedValues, misfit: Misfit) -> list[pa.Array]:
        """Return one array per field; a null value is a row of nulls."""


@dataclass
class ByVersion:
    """Decodes into the newest version's fields, each message by the type of its own version.

    Attributes
    ----------
    newest
        For the versions of the newest one's type, and messages that name none.
    others
        For the versions of other types; text says why these cannot be read.
    """

    newest: Values
    others: dict[int, Values | str]

    @property
    def fields(self) -> list[pa.Field]:
        """The newest version's fields."""
        return self.newest.fields

    def decode(self, encoded: EncodedValues, misfit: Misfit) -> list[pa.Array]:
        """Return one array per field; a null value is a row of nulls."""
        strange = np.isin(encoded.versions, list(self.others)) & (encoded.sizes >= 0)
        if not strange.any():
            return self.newest.decode(encoded, misfit)
        order, parts = [], []
        for version in (None, *self.others):
            mine = ~strange if version is None else strange & (encoded.versions == version)
            order.append(np.flatnonzero(mine))
            parts.append(self._part(version, encoded, order[-1], misfit))
        back = pa.array(np.argsort(np.concatenate(order)))
        return [pa.concat_arrays(arrays).take(back) for arrays in zip(*parts, strict=True)]

    def _part(
        self, version: int | None, encoded: EncodedValues, mine: Ints, misfit: Misfit
    ) -> list[pa.Array]:
        values = self.newest if version is None else self.others[version]
        if isinstance(values, str):
            for row in mine:
                misfit(int(row), values)
            return [pa.nulls(len(mine), field.type) for field in self.fields]
        chosen = replace(
            encoded,
            starts=encoded.starts[mine],
            sizes=encoded.sizes[mine],
            versions=encoded.versions[mine],
        )
        arrays = values.decode(chosen, lambda row, what: misfit(int(mine[row]), what))
        by_name = dict(zip(values.fields, arrays, strict=True))
        return [by_name.get(field, pa.nulls(len(mine), field.type)) for field in self.fields]
