"""The alerts of a stream as people ask for them: in their newest state, with what was answered.

And those that a job left open when it ended. Whether an alarm is on is kept in the state of the
job. One that goes on from a savepoint or a checkpoint has it, and closes what it opened. One that
begins without a state knows of no alarm, and would never close any.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench import event_topics
from workbench.alerts.drift_alerts import send_with_reason
from workbench.alerts.feedback import answers
from workbench.alerts.notifier import recent
from workbench.alerts.routing import Alert, parsed
from workbench.errors import AlertsError, TimesError, did_you_mean
from workbench.stream import DRIFT, Stream, is_read, load_stream
from workbench.times import instant_ms, iso, now_ms

REASON = "its job ended while it was open: when it would have closed is not known"
_NAMED = 3  # of the alerts that a line tells


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


@dataclass(frozen=True)
class LeftOpen:
    """The alerts that are open on a stream's topic before its job begins.

    Attributes
    ----------
    alerts
        By start.
    kept
        Why they are not to be closed; empty: they are nobody's any more.
    """

    alerts: tuple[Alert, ...]
    kept: str = ""


def left_open(stream: Stream, *, position: str = "latest") -> LeftOpen:
    """Return what is open before a job of a stream begins without a state.

    Parameters
    ----------
    position
        From where it is to read: one that reads what was read before says the same alerts again.

    Raises
    ------
    ServicesError
        If the broker is away, or the readings' topic is not there.
    """
    contents = event_topics.read(stream.alerts) if stream.alerts else []
    alerts = tuple(sorted(_open(stream, contents), key=lambda alert: alert["start"]))
    return LeftOpen(alerts, _kept(stream, position) if alerts else "")


def _open(stream: Stream, contents: Iterable[bytes]) -> list[Alert]:
    """Return the alerts that a job of this stream opened, and nothing closed."""
    newest: dict[str, Alert] = {}
    for content in contents:
        with contextlib.suppress(AlertsError, TimesError):  # none, or nobody's
            alert = parsed(content)
            whose = alert.get("stream") == stream.name and alert["kind"] != DRIFT
            if whose and newest.get(alert["id"], alert)["status"] == "open":
                newest[alert["id"]] = alert
    return [alert for alert in newest.values() if alert["status"] == "open"]


def _kept(stream: Stream, position: str) -> str:
    if position != "latest":
        return "the job closes those whose beginning it reads again"
    connected = is_read(stream)
    if connected is None:
        return "Kafka does not tell whether another job of this stream goes on with them"
    return "another job of this stream is connected to its topic" if connected else ""


def close_left_open(stream: Stream, left: LeftOpen) -> str:
    """Close what a job left open, with the reason, and return a line of it; empty: there is none.

    An alert ends with the last reading that is known to be of it: that of its peak.

    Raises
    ------
    ServicesError
        If the broker does not take it.
    """
    if not left.alerts:
        return ""
    count = f"{len(left.alerts)} alert" + ("s" if len(left.alerts) > 1 else "")
    named = "; ".join(
        f"{alert['sensor']} {alert['kind']} since {alert['start']}"
        for alert in left.alerts[:_NAMED]
    )
    more = "" if len(left.alerts) <= _NAMED else f"; {len(left.alerts) - _NAMED} more"
    if left.kept:
        return f"{count} of before stay open ({named}{more}): {left.kept}"
    send_with_reason(stream, map(_closed, left.alerts))
    return f"closed {count} that its last job left open: {named}{more}"


def _closed(alert: Alert) -> Alert:
    last = instant_ms(alert.get("peak_time")) or instant_ms(alert["start"]) or 0
    # half-open: behind the last reading
    return {**alert, "status": "closed", "stop": iso(last + 1), "reason": REASON}


__all__ = ["REASON", "LeftOpen", "close_left_open", "find_alert", "left_open", "list_alerts"]
