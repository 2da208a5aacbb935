"""The alerts of a stream as people ask for them: in their newest state, with what was answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workbench.alerts.feedback import answers
from workbench.alerts.notifier import recent
from workbench.errors import AlertsError, did_you_mean
from workbench.stream import Stream, load_stream
from workbench.times import now_ms


def list_alerts(stream: str | Path | Stream, *, hours: float = 24.0) -> list[dict[str, Any]]:
    """Return the alerts sent in the last hours, by start; `answer` is what was said of each.

    Raises
    ------
    ServicesError
        If the broker does not answer, or there is no alerts topic.
    """
    definition = load_stream(stream)
    newest: dict[str, dict[str, Any]] = {}
    for _, alert in recent(definition, now_ms() - round(hours * 3_600_000)):
        before = newest.get(alert["id"])
        if before is None or before["status"] == "open":
            newest[alert["id"]] = dict(alert)
    verdicts = {given.alert: given.verdict for given in answers(definition)}
    rows = [{**alert, "answer": verdicts.get(alert["id"], "")} for alert in newest.values()]
    return sorted(rows, key=lambda row: (row["start"], row["id"]))


def find_alert(
    stream: str | Path | Stream, alert_id: str, *, hours: float = 24.0 * 30
) -> dict[str, Any]:
    """Return the alert of the last hours that has this id, or the one whose id starts so.

    Raises
    ------
    AlertsError
        If none does, or several do.
    """
    rows = list_alerts(stream, hours=hours)
    matches = [row for row in rows if row["id"] == alert_id]
    matches = matches or [row for row in rows if row["id"].startswith(alert_id)]
    if len(matches) != 1 or not alert_id:
        raise AlertsError(
            f"{len(matches)} alerts of the last {hours / 24:g} days have an id that starts with "
            f"{alert_id!r}",
            hint=did_you_mean(alert_id, [row["id"] for row in rows]) if len(rows) < 20 else None,
        )
    return matches[0]


__all__ = ["find_alert", "list_alerts"]
