"""Which fields JSON values have where no schema is known: a look at all of them.

A field is what all its values are: whole numbers a long, with fractions among them a double; text,
and whatever else is mixed or nested, is text. Kinds are noted in compiled code (measured on one
core: 7 million readings of 59 bytes a second); a value with a name not met before, or that
compiled code leaves, goes through Python's `json`. What is no JSON object has no fields: it is a
misfit where the others are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import numpy as np

from workbench.archive.format.bits import pointer
from workbench.archive.values.decimals import number
from workbench.archive.values.encoded import EncodedValues
from workbench.archive.values.flat_json import (
    find_name,
    is_utf8,
    literal,
    skip_value,
    space,
    string,
)
from workbench.archive.values.schemas import Schema
from workbench.compiled import compiled

# bits of what a field holds
BOOLEAN, WHOLE, FRACTION, TEXT, NESTED, NAN = (1 << bit for bit in range(6))
_NUMBERS = WHOLE | FRACTION | NAN
_TYPES = {0: "null", BOOLEAN: "boolean", WHOLE: "long"}  # else double for numbers, string
_BITS = {"null": 0, "boolean": BOOLEAN, "long": WHOLE, "double": FRACTION, "string": TEXT}
_MOST = 2000  # fields; a topic with more has keys that are values
_NAN, _INFINITY = (int.from_bytes(word, "little") for word in (b"NaN", b"Infinity"))
_QUOTE, _COMMA, _COLON, _OPEN, _CLOSE, _LIST = 0x22, 0x2C, 0x3A, 0x7B, 0x7D, 0x5B


class Inference:
    """What the fields of JSON objects hold, as far as they were looked at.

    Attributes
    ----------
    kinds
        Name to bits of what it holds, in the order in which they were met.
    others
        How many values were no JSON objects.
    """

    def __init__(self, schema: Schema | None = None) -> None:
        fields = schema.definition["fields"] if schema and schema.type == "JSON" else []
        self.kinds = {field["name"]: _BITS[field["type"][1]] for field in fields}
        self.others = 0

    def look(self, encoded: EncodedValues) -> None:
        """Take note of what values hold; null ones hold nothing."""
        row, count = 0, len(encoded.sizes)
        while row < count:
            names = [name.encode() for name in self.kinds]
            met = np.fromiter(self.kinds.values(), np.int64, len(names))
            data = np.frombuffer(b"".join(names) + b" ", np.uint8).copy()
            bounds = np.cumsum([len(name) for name in names]).astype(np.int64)
            stop = survey(encoded.data, encoded.starts, encoded.sizes, row, data, bounds, met)
            self.kinds = dict(zip(self.kinds, met.tolist(), strict=True))
            if stop < count:
                self.take(encoded.value(stop) or b"")
            row = stop + 1

    def take(self, raw: bytes) -> None:
        """Take note of what one value holds."""
        try:
            value = json.loads(raw.decode("utf-8-sig"))
        except RecursionError:  # one message, which will be a misfit: the others tell the fields
            return
        except ValueError:
            value = None
        if not isinstance(value, dict):
            self.others += 1
            return
        for name, part in value.items():
            self.kinds[name] = self.kinds.get(name, 0) | _bit(part)

    def merge(self, kinds: Mapping[str, int]) -> None:
        """Take note of what other values hold."""
        for name, bits in kinds.items():
            self.kinds[name] = self.kinds.get(name, 0) | bits

    def schema(self) -> Schema:
        """Return a JSON schema that fits all values; BYTES where there is no field, or no end."""
        if not 0 < len(self.kinds) <= _MOST:
            return Schema(0, "BYTES")
        fields = [{"name": n, "type": ["null", _type(bits)]} for n, bits in self.kinds.items()]
        return Schema(0, "JSON", {"type": "record", "name": "Inferred", "fields": fields})

    def mixed(self) -> list[str]:
        """Return the fields that are text although they hold numbers or booleans too."""
        return [
            name
            for name, bits in self.kinds.items()
            if _type(bits) == "string" and bits & (BOOLEAN | WHOLE | FRACTION)
        ]


def infer_schema(payloads: Iterable[bytes], earlier: Schema | None = None) -> Schema:
    """Return a JSON schema that fits all values, or BYTES where one is no JSON object.

    Parameters
    ----------
    earlier
        Inferred from other values of the topic: these count, too.
    """
    if earlier and earlier.type != "JSON":
        return earlier
    inference = Inference(earlier)
    for raw in payloads:
        inference.take(raw)
    return Schema(0, "BYTES") if inference.others else inference.schema()


def _type(bits: int) -> str:
    return _TYPES.get(bits) or ("double" if not bits & ~_NUMBERS else "string")


def _bit(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, int):
        return WHOLE if -(1 << 63) <= value < 1 << 63 else FRACTION
    if isinstance(value, float):
        return FRACTION
    if value in ("NaN", "Infinity", "-Infinity"):  # as Jackson writes them
        return NAN
    return TEXT if isinstance(value, str) else NESTED


@compiled
def survey(data, starts, sizes, first, names, bounds, met):  # type: ignore[no-untyped-def]
    """Add to `met` what the fields hold, and return the first row that is left, or n.

    Parameters
    ----------
    data, starts, sizes
        uint8, and where each value lies in it; a size of -1 is null.
    first
        The row to begin with.
    names, bounds
        The k names known, one after another, and where each ends.
    met
        int64, shape (k,): bits.
    """
    fields = len(bounds)
    held = np.zeros(fields, np.int64)
    data, names = pointer(data), pointer(names)
    for i in range(first, len(starts)):
        if sizes[i] < 0:
            continue
        held[:] = 0
        end = starts[i] + sizes[i]
        if not is_utf8(data, starts[i], end) or not _row(
            data, starts[i], end, names, bounds, fields, held
        ):
            return i
        met |= held
    return len(starts)


@compiled
def _row(data, position, end, names, bounds, fields, held):  # type: ignore[no-untyped-def]
    """Fill `held` with what the fields of an object hold; return whether it is one."""
    position, guess = space(data, position, end), 0
    if position >= end or data[position] != _OPEN:
        return False
    position = space(data, position + 1, end)
    if position < end and data[position] == _CLOSE:
        return space(data, position + 1, end) == end
    while position < end and data[position] == _QUOTE:
        stop, escaped = string(data, position + 1, end)
        if stop < 0 or escaped:
            return False
        k = find_name(data, position + 1, stop, names, bounds, fields, guess)
        position = space(data, stop + 1, end)
        if k < 0 or position >= end or data[position] != _COLON:
            return False
        position = space(data, position + 1, end)
        if position >= end:
            return False
        held[k], guess = _held(data, position, end), k + 1
        position = skip_value(data, position, end)
        if held[k] < 0 or position < 0:
            return False
        position = space(data, position, end)
        if position < end and data[position] == _CLOSE:
            return space(data, position + 1, end) == end
        if position >= end or data[position] != _COMMA:
            return False
        position = space(data, position + 1, end)
    return False


@compiled
def _held(data, position, end):  # type: ignore[no-untyped-def]
    """Return the bit of the value that starts here, -1 where it is not plain."""
    byte = data[position]
    if byte == _QUOTE:
        return NAN if _is_no_number(data, position + 1, end) else TEXT
    if byte == 0x6E:  # n
        return 0
    if byte == 0x74 or byte == 0x66:  # t, f
        return BOOLEAN
    if byte in (_OPEN, _LIST):
        return NESTED
    w, _, whole, stop = number(data, position + 1 if byte == 0x2D else position, end)
    if stop < 0:
        return -1
    if whole and w > np.uint64(0x7FFFFFFFFFFFFFFF):
        return -1
    return WHOLE if whole else FRACTION


@compiled
def _is_no_number(data, position, end):  # type: ignore[no-untyped-def]
    """Return whether a text is what Jackson writes for a double that JSON has no number for."""
    stop = literal(data, position, end, _NAN)
    if stop < 0:
        minus = position < end and data[position] == 0x2D
        stop = literal(data, position + 1 if minus else position, end, _INFINITY)
    return stop >= 0 and stop < end and data[stop] == _QUOTE
