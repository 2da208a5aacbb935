"""What has to be known of all values of a topic before the first is read: fields, units of time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from workbench.archive import messages as msg
from workbench.archive.ledgers import Damage, Entries, Messages, read_messages
from workbench.archive.statistics import FieldKinds
from workbench.archive.storage.ledger import Ledger
from workbench.archive.values.decoding import has_times, open_values, unit_needed
from workbench.archive.values.encoded import encoded_values
from workbench.archive.values.inference import Inference, infer_schema
from workbench.archive.values.primitives import UNITS
from workbench.archive.values.schemas import Schema
from workbench.errors import ArchiveWarning

# what a topic gives of its ledgers for each piece of messages, and whether that is for good
Scan = Callable[[Callable[[Messages], Any], list[Ledger]], tuple[list[Any], bool]]


def first_values(batches: Iterable[Entries]) -> Iterator[bytes]:
    """Yield the values of the first 1,000 messages that have any."""
    count = _SAMPLE
    for entries in batches:
        values = encoded_values(read_messages(entries, Damage(skip=True)))
        filled = np.flatnonzero(values.sizes >= 0)[:count]
        yield from (values.value(int(i)) or b"" for i in filled)
        count -= len(filled)
        if count <= 0:
            return


_SAMPLE = 1000  # messages of a ledger looked at where JSON has no schema


def infer_fields(
    topic: str, sample: Iterable[bytes], ledgers: list[Ledger], scan: Scan, url: str
) -> Schema:
    """Return a JSON schema that fits all values, where none is known; BYTES for other values.

    Parameters
    ----------
    sample
        Values that say whether all are JSON: one that is not, behind them, is a misfit.
    url
        Of the archive: what the fields of each ledger hold is kept for the next time.
    """
    first = infer_schema(sample)
    if first.type == "BYTES":
        return first
    inference, cache = Inference(first), FieldKinds(url, topic)
    by_ledger = {ledger: cache.of(ledger) for ledger in ledgers}
    new = {ledger: Inference() for ledger, kinds in by_ledger.items() if kinds is None}
    parts, is_final = scan(partial(_look, first), [*new])
    for ledger, part in parts:
        new[ledger].merge(part.kinds)
    if is_final:
        cache.keep({ledger: part.kinds for ledger, part in new.items()})
    for ledger, kinds in by_ledger.items():
        inference.merge(new[ledger].kinds if kinds is None else kinds)
    if inference.mixed():
        warnings.warn(
            f"no schema is known of {topic}, and {', '.join(inference.mixed())} hold text and "
            "numbers: they are text",
            ArchiveWarning,
            stacklevel=3,
        )
    return inference.schema()


def _look(first: Schema, messages: Messages) -> tuple[Ledger, Inference]:
    inference = Inference(first)
    inference.look(encoded_values(messages))
    return messages.entries.ledger, inference


def time_unit(topic: str, schemas: list[Schema], ledgers: list[Ledger], scan: Scan) -> str:
    """Return the finest unit in which 64 bits count all times of a topic of bare times.

    Nanoseconds, as Java has them, end in 2262; where a value lies beyond, all are to a coarser
    unit, and that is said.
    """
    if not has_times(schemas[-1]):
        return UNITS[0]
    values = open_values(schemas, None)

    def needed(messages: Messages) -> int:
        keys = lambda: msg.column(messages, "key").to_pylist()  # noqa: E731 - asked for or not
        return unit_needed(values, encoded_values(messages), keys)

    unit = UNITS[max(scan(needed, ledgers)[0], default=0)]
    if unit != UNITS[0]:
        warnings.warn(
            f"{topic} holds times outside of 1677 to 2262, which nanoseconds cannot count: "
            f"all are to the {_NAMES[unit]}",
            ArchiveWarning,
            stacklevel=4,
        )
    return unit


_NAMES = {"us": "microsecond", "ms": "millisecond", "s": "second"}
