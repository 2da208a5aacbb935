"""Times that are numbers with an exponent: read where all their digits are written, else refused.

`1.770976800e+09` says as much as `1770976800`. `1.77098E+12`, which is what a spreadsheet shows and
saves of a narrow column, has lost what came behind: hours of readings would be of one instant.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from workbench.errors import TimesError
from workbench.times.texts import Texts

_WRITTEN = r"^\d+(\.\d+)?[eE]\+?\d{1,2}$"


def written_out(texts: Texts) -> Texts:
    """Return texts, those of numbers with an exponent without it.

    Raises
    ------
    TimesError
        If one is not written to its last digit before the point; `rows` are all such.

    Examples
    --------
    >>> list(written_out(Texts(["1.770976800e+09", "1770976860.5"])))
    ['1770976800', '1770976860.5']
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = np.flatnonzero(pc.match_substring_regex(texts.arrow, _WRITTEN))
    if not len(rows):
        return texts
    numbers = [Decimal(text) for text in texts.arrow.take(pa.array(rows)).to_pylist()]
    lost = [int(row) for row, one in zip(rows, numbers, strict=True) if _exponent(one) > 0]
    if lost:
        raise TimesError(
            f"{texts[lost[0]]!r} has an exponent, by which digits are lost",
            where=f"row {lost[0]}",
            hint="write times out, as 1770976800 or 1770976800.25; in a spreadsheet, let the "
            "column show numbers without an exponent before it is saved as text",
            rows=lost,
        )
    plain = np.array(list(texts), dtype=object)
    plain[rows] = [f"{number:f}" for number in numbers]
    return Texts(pa.array(plain, pa.string()))


def _exponent(number: Decimal) -> int:
    """Return which place the last digit that is written has: 0 that of ones."""
    exponent = number.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


__all__ = ["written_out"]
