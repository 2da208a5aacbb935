"""The Python functions of the job: windows in, scores out; and why (`stream.scoring`)."""

from __future__ import annotations

from typing import Any

import pandas as pd
from pyflink.common import Row
from pyflink.table import DataTypes
from pyflink.table.udf import ScalarFunction

from workbench.stream.scoring import Scored, Scorer

RESULT = DataTypes.ROW(
    [
        DataTypes.FIELD("score", DataTypes.DOUBLE()),
        DataTypes.FIELD("threshold", DataTypes.DOUBLE()),
        DataTypes.FIELD("package", DataTypes.STRING()),
        DataTypes.FIELD("above_past", DataTypes.BYTES()),
        DataTypes.FIELD("unleveled", DataTypes.BOOLEAN()),
    ]
)
CONTRIBUTIONS = DataTypes.ARRAY(
    DataTypes.ROW(
        [
            DataTypes.FIELD("channel", DataTypes.STRING()),
            DataTypes.FIELD("share", DataTypes.DOUBLE()),
            DataTypes.FIELD("direction", DataTypes.STRING()),
            DataTypes.FIELD("expected", DataTypes.DOUBLE()),
        ]
    )
)


class Score(ScalarFunction):  # type: ignore[misc] # pyflink is untyped
    """`score(sensor, event_ms, past)` in SQL."""

    def __init__(self, scored: Scored, channels: tuple[str, ...]) -> None:
        self._scorer = Scorer(scored, channels)

    def eval(self, *columns: pd.Series[Any]) -> pd.DataFrame:
        """Return one row of RESULT per reading."""
        return self._scorer.score(*columns)


class Explain(ScalarFunction):  # type: ignore[misc] # pyflink is untyped
    """`contributions(package, past, sensor)` in SQL, of the few readings that alerts are about."""

    def __init__(self, scored: Scored, channels: tuple[str, ...]) -> None:
        self._scorer = Scorer(scored, channels)

    def eval(self, package: str | None, past: bytes | None, sensor: str) -> list[Row] | None:
        """Return CONTRIBUTIONS; NULL where there are none."""
        if package is None or past is None:
            return None
        return [Row(*part) for part in self._scorer.explained(package, past, sensor)] or None
