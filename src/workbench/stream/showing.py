"""How alerts show themselves in a notebook."""

from __future__ import annotations

import pandas as pd

_SHOWN = ("start", "sensor", "kind", "status", "peak_score", "readings")


def alert_rows(alerts: pd.DataFrame) -> list[dict[str, object]]:
    """Return the table of a card for alerts in their newest state, the newest first.

    Examples
    --------
    >>> start = pd.Timestamp("2026-01-05T06:30:00Z")
    >>> row = {"start": start, "sensor": "pump-1", "kind": "episode", "status": "open"}
    >>> alerts = pd.DataFrame([{**row, "peak_score": 4.25, "readings": 3, "id": "a1"}])
    >>> alert_rows(alerts)[0]["start"]
    '2026-01-05 06:30:00'
    """
    clock = alerts["start"].dt.strftime("%Y-%m-%d %H:%M:%S")
    latest = alerts.assign(start=clock).iloc[::-1]
    return [dict(zip(_SHOWN, row, strict=True)) for row in latest[list(_SHOWN)].to_numpy()]
