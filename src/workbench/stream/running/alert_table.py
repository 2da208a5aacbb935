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
    >>> part = {"channel": "flow", "share": 0.72, "direction": "above", "expected": None}
    >>> alert_rows(alerts.assign(contributions=[[part]]))[0]["because of"]
    'flow above (72 %)'
    """
    clock = alerts["start"].dt.strftime("%Y-%m-%d %H:%M:%S")
    latest = alerts.assign(start=clock).iloc[::-1]
    rows = [dict(zip(_SHOWN, row, strict=True)) for row in latest[list(_SHOWN)].to_numpy()]
    if "contributions" not in latest:
        return rows
    return [
        {**row, "because of": _because(parts)}
        for row, parts in zip(rows, latest["contributions"], strict=True)
    ]


def _because(parts: object) -> str:
    """Return the first two channels that an alert is due to; empty: it does not say."""
    if not isinstance(parts, list):
        return ""
    return ", ".join(
        f"{part['channel']} {part['direction']} ({part['share']:.0%})".replace("%)", " %)")
        for part in parts[:2]
    )
