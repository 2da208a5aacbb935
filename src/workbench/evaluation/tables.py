"""CSV files as frames, each number the one that its text says.

By itself pandas before 3 is off in the last digit of some, which moves thresholds and ties.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

_IS_EXACT = int(pd.__version__.partition(".")[0]) >= 3


def read_table(file: Path, kinds: Mapping[str, type] | None = None) -> pd.DataFrame:
    """Return a CSV file as a frame, also a compressed one.

    Parameters
    ----------
    kinds
        Columns whose type is told; the others show theirs.

    Raises
    ------
    ValueError, OSError
        As `pandas.read_csv`.
    """
    kinds = dict(kinds or {})
    if _IS_EXACT:
        return pd.read_csv(file, dtype=kinds)
    return pd.read_csv(file, dtype=kinds, float_precision="round_trip")


__all__ = ["read_table"]
