"""Tell which texts are numbers, by their decimal mark and that of thousands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workbench.arrays import Bools, Floats

LARGEST = 2.0**53  # below it a double is each whole number alone
INEXACT = "has more digits than a reading, which is a double, can hold"


def numeric(texts: pa.Array, decimal: str, thousands: str) -> pa.Array:
    """Return which texts are numbers, with these marks."""
    mark, group = re.escape(decimal), re.escape(thousands)
    whole = rf"([1-9]\d{{0,2}}({group}\d{{3}})+|\d+)" if thousands else r"\d+"
    return pc.match_substring_regex(
        texts, rf"^[+-]?({whole}({mark}\d+)?|{mark}\d+)([eE][+-]?\d+)?$"
    )


def plain_numbers(
    texts: pa.Array | Sequence[str], typed: Bools | None, marks: tuple[str, str]
) -> pa.Array:
    """Return numbers with a decimal point and no other mark, null where a text is none.

    Parameters
    ----------
    texts
        Shape (n,).
    typed
        Shape (n,), which were numbers in their file; None if none were.
    marks
        The decimal mark of the others, and that of thousands.
    """
    column = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string())
    plain = _plain(column, *marks)
    if typed is None or marks == (".", ""):
        return plain
    return pc.if_else(pa.array(typed), _plain(column, ".", ""), plain)


def _plain(texts: pa.Array, decimal: str, thousands: str) -> pa.Array:
    plain = pc.if_else(numeric(texts, decimal, thousands), texts, pa.scalar(None, pa.string()))
    if thousands:
        plain = pc.replace_substring(plain, thousands, "")
    return pc.replace_substring(plain, decimal, ".")


def of_two_meanings(texts: pa.Array, decimal: str) -> str | None:
    """Return the first number with a decimal mark, if in each that has one it may mark thousands.

    Empty if none has one; None if one shows what it is: `1.234` may be both, `0.234` and `1.23`
    not.
    """
    mark = re.escape(decimal)
    marked = texts.filter(pc.match_substring(texts, decimal))
    either = pc.match_substring_regex(marked, rf"^[+-]?[1-9]\d{{0,2}}{mark}\d{{3}}$")
    if not pc.all(either, min_count=0).as_py():
        return None
    return str(marked[0]) if len(marked) else ""


def inexact(texts: pa.Array, numbers: Floats) -> Bools:
    """Return which texts, from 2^53 on, have digits that no double holds.

    Parameters
    ----------
    texts
        Shape (n,), numbers with a decimal point and no other mark.
    numbers
        Shape (n,), the doubles next to them.

    Examples
    --------
    >>> texts = ["9007199254740992.0", "9007199254740993.0", "9007199254740993e0", "1e23"]
    >>> inexact(pa.array(texts), np.array([float(text) for text in texts])).tolist()
    [False, True, True, False]
    """
    bad = np.zeros(len(numbers), dtype=np.bool_)
    rows = np.flatnonzero(np.isfinite(numbers) & (np.abs(numbers) >= LARGEST))
    large = zip(texts.take(pa.array(rows)).to_pylist(), numbers[rows].tolist(), strict=True)
    bad[rows] = [not _is_said_by(text, number) for text, number in large]
    return bad


def _is_said_by(text: str, number: float) -> bool:
    """Return whether a double, with as many digits as a text has, is that text: 1e23 is none."""
    exact = Decimal(text)
    return Decimal(f"{number:.{len(exact.as_tuple().digits) - 1}e}") == exact
