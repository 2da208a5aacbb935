"""Drift of a detector as alerts: one opens when a finding goes over its limit, and closes below it.

    workbench drift plant --alert       # each hour, say

What was opened is kept beside the routes' journals, on disk before the topic is told, so that a
look each hour opens one alert and not twenty-four; one that the broker did not take is sent with
the next look, with the same id (docs/design.md, D9).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from workbench import event_topics, files
from workbench.alerts.routing import Alert
from workbench.endpoints import home
from workbench.stream import DRIFT, NO_LIMIT, Drift, Finding, Stream, alert_schema, load_stream
from workbench.times import instant_ms, iso

_REASON = {"name": "reason", "type": ["null", "string"], "default": None}
_SENSOR = "topic"  # as of a silent one: it is not of one sensor


def announce_drift(stream: str | Path | Stream, drift: Drift) -> list[Alert]:
    """Send the alerts that a look at a detector opens or closes, and return them.

    Each thing with a limit has an alert of its own: it opens when the limit is passed, goes on
    while that lasts, and closes when the value is back, the stream file has no such limit any more,
    or nothing of that name is looked at. What cannot be judged opens and closes nothing. Its times
    are the ends of the judged days.

    Parameters
    ----------
    drift
        Of the newest days: `workbench.stream.drift`.

    Raises
    ------
    ServicesError
        If the broker does not take them; they are sent by the next call then.
    """
    definition = load_stream(stream)
    path = state_path(definition.name)
    with files.locked(path.with_suffix(".lock")):
        _keep(path, _turns(definition, drift, _State(path)))
        unsent: list[Alert] = [*_State(path).unsent]
        for alert in unsent:
            send_with_reason(definition, [alert])
            files.append_line(path, json.dumps({"sent": alert["id"], "status": alert["status"]}))
    return unsent


def state_path(stream: str) -> Path:
    """Return the file that the drift alerts of a stream are kept in; no route can be called so."""
    return home() / "alerts" / stream / "drift.alerts.jsonl"


class _State:
    """What was opened and closed, and what of it was sent."""

    def __init__(self, path: Path) -> None:
        self.newest: dict[str, dict[str, Any]] = {}
        self.openings: Counter[str] = Counter()  # by check
        waiting: dict[tuple[str, str], dict[str, Any]] = {}
        for text in files.whole_lines(path):
            line = json.loads(text)
            if "sent" in line:
                waiting.pop((line["sent"], line["status"]), None)
                continue
            alert = line["alert"]
            self.newest[line["check"]] = alert
            self.openings[line["check"]] += alert["status"] == "open"
            waiting[alert["id"], alert["status"]] = alert
        self.unsent = list(waiting.values())

    def open_of(self, check: str) -> dict[str, Any] | None:
        """Return the alert that is open for a check."""
        newest = self.newest.get(check)
        return newest if newest and newest["status"] == "open" else None


def _keep(path: Path, turns: Iterator[tuple[str, Alert]]) -> None:
    for check, alert in list(turns):
        files.append_line(path, json.dumps({"check": check, "alert": alert}))


def _turns(stream: Stream, drift: Drift, state: _State) -> Iterator[tuple[str, Alert]]:
    """Yield what opens and what closes."""
    for finding in drift.findings:
        opened = state.open_of(finding.check)
        if finding.passed is False and opened is None:
            yield finding.check, _opened(stream, drift, finding, state.openings[finding.check])
        elif opened and (finding.passed or finding.wanted == NO_LIMIT):
            yield finding.check, _closed(opened, drift, _reason(finding))
    looked_at = {finding.check for finding in drift.findings}
    for check in sorted(set(state.newest) - looked_at):
        if opened := state.open_of(check):
            yield check, _closed(opened, drift, f"{check}: not looked at any more")


def _closed(opened: Alert, drift: Drift, reason: str) -> Alert:
    stop_ms = max(instant_ms(drift.judged[1]) or 0, (instant_ms(opened["start"]) or 0) + 1)
    return {**opened, "status": "closed", "stop": iso(stop_ms), "reason": reason}


def _opened(stream: Stream, drift: Drift, finding: Finding, earlier: int) -> Alert:
    """Return an alert that opens; `earlier` ones of its check may have opened on the same days."""
    start, packages = drift.judged[1], drift.days[-1].packages if drift.days else ()
    identity = [stream.topic, DRIFT, finding.check, *packages, start, earlier]
    return {
        "id": hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32],
        "stream": stream.name,
        "sensor": _SENSOR,
        "kind": DRIFT,
        "status": "open",
        "start": start,
        "peak_time": start,
        "stop": None,
        "peak_score": None,
        "threshold": None,
        "readings": sum(day.readings for day in drift.days),
        "channels": None,
        "package": ", ".join(packages),
        "first_message_id": None,
        "last_message_id": None,
        "contributions": None,
        "reason": _reason(finding),
    }


def _reason(finding: Finding) -> str:
    return f"{finding.check}: {finding.found} (limit: {finding.wanted})"


def send_with_reason(stream: Stream, alerts: Iterable[Alert]) -> None:
    """Send alerts that have a `reason` to a stream's topic of alerts.

    Raises
    ------
    ServicesError
        If the broker is away, or does not take them; those before were sent.
    """
    schema = alert_schema(stream)
    schema = {**schema, "fields": [*schema["fields"], _REASON]}
    for alert in alerts:
        event_topics.send(stream.alerts, json.dumps(alert).encode(), key=alert["id"], schema=schema)


__all__ = ["announce_drift", "send_with_reason", "state_path"]
