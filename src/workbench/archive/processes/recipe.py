"""What is built of entries, as a text: another process that has it builds the very same.

Callers' own decoders and places to keep (`compacted`) are in no recipe; such reads stay in the
process that reads. Nor are keys: what is encrypted was decrypted before.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

import pyarrow as pa

from workbench.archive import messages as msg
from workbench.archive.ledgers import Messages
from workbench.archive.selection import Selection
from workbench.archive.values.decoding import make_decoder, open_values
from workbench.archive.values.schemas import Schema
from workbench.errors import ArchiveError

_reads = itertools.count()


@dataclass(frozen=True)
class Recipe:
    """Which messages are wanted, and which columns of them.

    Attributes
    ----------
    selection
        Bounds on time; a read sets it.
    schemas
        By which values are decoded; empty where the columns are those of `messages`.
    columns
        As in `Topic.read`.
    unit
        Of bare times.
    """

    selection: Selection = field(default_factory=Selection)
    schemas: Sequence[Schema] = ()
    columns: list[str] | None = None
    unit: str = "ns"

    def text(self) -> bytes | None:
        """Return it as JSON, another one each time; None where JSON does not hold it.

        Another one, since a decoder remembers what it has said in a read, and says it in the next.
        """
        if self.selection.places is not None:
            return None
        content = {
            "read": next(_reads),
            "bounds": self.selection.bounds,
            "schemas": [asdict(schema) for schema in self.schemas],
            "columns": self.columns,
            "unit": self.unit,
        }
        try:
            written = json.dumps(content)
        except (TypeError, ValueError, RecursionError):
            return None
        return written.encode() if parse(written.encode()) == self else None

    def builder(self) -> Callable[[Messages], pa.RecordBatch]:
        """Return what builds the columns of messages; raises at a value that does not fit."""
        if not self.schemas:
            return msg.record_batch
        opened = partial(open_values, list(self.schemas), unit=self.unit)
        return make_decoder(opened, self.columns, _refuse).record_batch


def parse(text: bytes) -> Recipe:
    """Return the recipe that a text holds."""
    content = json.loads(text)
    bounds = tuple((by, start, stop) for by, start, stop in content["bounds"])
    schemas = tuple(Schema(**schema) for schema in content["schemas"])
    return Recipe(Selection(bounds), schemas, content["columns"], content["unit"])


def _refuse(_messages: Messages, _row: int, what: str) -> None:
    raise ArchiveError(what)  # who reads says it, with its place
