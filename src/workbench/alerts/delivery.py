"""One route at work: what comes is grouped, sent, tried again, given up; then acknowledged.

It has no clock and no thread of its own: the moment is given to it, in seconds of any clock that
only goes forward.

    taken ──▶ waits for others of its machine ──▶ sent ──▶ in the journal ──▶ acknowledged
                  ▲     ▲                          │
                  │     └── a pause, twice as long ┘ refused; after `tries` a dead letter
                  └── waits while it is silent; silent for good: in the journal

What is acknowledged is in the journal before, so a process that is killed anywhere repeats at most
what it had sent and not yet written down; the message's id says that it is the same.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from workbench.alerts.journal import Journal, Outcome
from workbench.alerts.links import answer_urls, notebook_urls
from workbench.alerts.messages import Message, message
from workbench.alerts.routing import Alert, machine, takes
from workbench.alerts.silences import Silences
from workbench.alerts.targets import AGAIN_S, BusyError, Target
from workbench.errors import AlertsError
from workbench.stream import Stream
from workbench.times import iso

LONGEST_PAUSE_S = 900.0
_SILENT_S = 60.0  # after so long it is looked whether an alert is silent still

Acknowledge = Callable[[Any], None]


@dataclass
class _Group:
    """What waits to be said of a machine."""

    due_s: float
    alerts: dict[str, Alert] = field(default_factory=dict)
    receipts: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, alert: Alert, receipt: Any) -> None:
        before = self.alerts.get(alert["id"])
        if before is None or before["status"] == "open":
            self.alerts[alert["id"]] = alert
        self.receipts.setdefault(alert["id"], []).append(receipt)


@dataclass
class _Held:
    """An alert that is silent for a while."""

    due_s: float
    alert: Alert
    receipts: list[Any]


class Delivery:
    """The alerts of one route.

    Parameters
    ----------
    stream, name
        The stream, and which of its routes.
    journal
        What became of alerts before.
    send
        Where messages go; None: nowhere, for a preview.
    acknowledge
        Is given the receipts of what is settled.
    silences
        What is told to nobody; None: nothing is silent.
    epoch_s
        Gives the seconds since 1970 at a moment: silences are known by them.
    """

    def __init__(
        self,
        stream: Stream,
        name: str,
        *,
        journal: Journal,
        send: Target,
        acknowledge: Acknowledge,
        silences: Silences | None = None,
        epoch_s: Callable[[float], float] = lambda _: time.time(),
    ) -> None:
        self.stream, self.name, self.route = stream, name, stream.routes[name]
        self.journal = journal
        self._send, self._acknowledge = send, acknowledge
        self._silences, self._epoch_s = silences, epoch_s
        self._groups: dict[str, _Group] = {}
        self._held: dict[str, _Held] = {}  # by id
        self._resolved: set[str] = set()  # at Alertmanager, for they are silent
        self._last_s: dict[str, float] = {}
        self._again_s = -math.inf

    def take(self, alert: Alert, receipt: Any, now_s: float) -> None:
        """Take an alert; what this route has nothing to say of is acknowledged at once."""
        self.journal.catch_up()
        if not takes(self.stream, self.route, alert) or self.journal.settled(alert):
            self._acknowledge(receipt)
            return
        if held := self._held.pop(alert["id"], None):
            self._join(held, now_s)
        self._join(_Held(now_s, alert, [receipt]), now_s)

    def _join(self, held: _Held, now_s: float) -> None:
        """Let an alert wait beside others of its machine."""
        whose = machine(self.route, held.alert["sensor"])
        if whose not in self._groups:
            earliest_s = self._last_s.get(whose, -math.inf) + self.route.every_s
            self._groups[whose] = _Group(max(now_s + self.route.wait_s, earliest_s))
        for receipt in held.receipts:
            self._groups[whose].add(held.alert, receipt)

    def refuse(self, message_id: str, content: str, reason: str, receipt: Any) -> None:
        """Keep what is no alert as a dead letter, once: a kill may bring the message again."""
        refused = {"id": message_id, "status": "refused", "content": content}
        self.journal.catch_up()
        if self.journal.settled(refused) or self.journal.record("dead", [refused], reason):
            self._acknowledge(receipt)

    def work(self, now_s: float) -> float:
        """Send what is due, and return the moment at which something is due again."""
        for name in [name for name, held in self._held.items() if held.due_s <= now_s]:
            self._join(self._held.pop(name), now_s)
        for whose in [name for name, group in self._groups.items() if group.due_s <= now_s]:
            self._attempt(whose, now_s)
        dues_s = [group.due_s for group in self._groups.values()]
        return min(dues_s + [held.due_s for held in self._held.values()], default=math.inf)

    def _attempt(self, whose: str, now_s: float) -> None:
        group = self._groups[whose]
        self.journal.catch_up()  # the other notifier may have sent some while they waited here
        self._settle(group, [each for each in group.alerts.values() if self.journal.settled(each)])
        self._silence(group, now_s)
        if alerts := list(group.alerts.values()):
            self._try(group, alerts, whose, now_s)
        if not group.alerts:
            del self._groups[whose]

    def _silence(self, group: _Group, now_s: float) -> None:
        """Take out of a group what nobody is told of now, or ever."""
        ends_ms = {each["id"]: self._silent_ms(each, now_s) for each in group.alerts.values()}
        silent = [each for each in group.alerts.values() if ends_ms[each["id"]] == math.inf]
        self._close(group, silent, "silent")
        for name in [name for name in group.alerts if ends_ms[name]]:
            left_s = ends_ms[name] / 1000 - self._epoch_s(now_s)
            due_s = now_s + min(_SILENT_S, max(left_s, 0.001))
            self._held[name] = _Held(due_s, group.alerts.pop(name), group.receipts.pop(name))

    def _silent_ms(self, alert: Alert, now_s: float) -> float:
        """Return until when an alert is silent, as `Silences.ends_ms`.

        A program that was told that an alert is open is told that it closed: it keeps a state.
        """
        if self._silences is None:
            return 0
        if self.route.to != "apprise" and self.journal.told_open(alert):
            return 0
        return self._silences.ends_ms(alert, 1000 * self._epoch_s(now_s))

    def _try(self, group: _Group, alerts: list[Alert], whose: str, now_s: float) -> None:
        try:
            self._send(self._message(alerts))
        except AlertsError as err:
            wanted_s = err.after_s if isinstance(err, BusyError) else 0.0
            self._fail(group, err.message, now_s, wanted_s)
        else:
            self._close(group, alerts, "sent")
            self._last_s[whose] = now_s

    def _message(self, alerts: list[Alert]) -> Message:
        return message(self.stream, self.name, alerts, answer_urls(alerts), notebook_urls(alerts))

    def _fail(self, group: _Group, reason: str, now_s: float, wanted_s: float) -> None:
        """Give up what was tried too often; the rest waits, longer if the target wants that."""
        alerts = list(group.alerts.values())
        self.journal.record("failed", alerts, reason)
        dead = [alert for alert in alerts if self.journal.tries(alert) >= self.route.tries]
        tried = max(map(self.journal.tries, alerts))
        self._close(group, dead, "dead", reason)
        group.due_s = now_s + max(pause_s(tried), min(wanted_s, LONGEST_PAUSE_S))

    def _close(
        self, group: _Group, alerts: list[Alert], outcome: Outcome, reason: str = ""
    ) -> None:
        """Be done with alerts; what cannot be written down stays the queue's until it can."""
        if self.journal.record(outcome, alerts, reason):
            self._settle(group, alerts)
            return
        for alert in alerts:  # not acknowledged: the next process has it again, once
            del group.alerts[alert["id"]]
            del group.receipts[alert["id"]]

    def _settle(self, group: _Group, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            del group.alerts[alert["id"]]
            for receipt in group.receipts.pop(alert["id"]):
                self._acknowledge(receipt)

    def repeat_open(self, now_s: float) -> None:
        """Tell Alertmanager each minute what is open, as Prometheus does: it forgets in a restart.

        What is silent since is resolved there, once. No other target is told again. A failure is no
        matter: each alert was delivered once.
        """
        if self.route.to != "alertmanager" or now_s < self._again_s + AGAIN_S:
            return
        self._again_s = now_s
        self.journal.catch_up()
        with contextlib.suppress(AlertsError):
            for alert in self.journal.open_alerts:
                if not self._is_silent(alert, now_s):
                    self._send(self._message([alert]))
                elif alert["id"] not in self._resolved:
                    stop = iso(round(1000 * self._epoch_s(now_s)))
                    self._send(self._message([{**alert, "status": "closed", "stop": stop}]))
                    self._resolved.add(alert["id"])

    def _is_silent(self, alert: Alert, now_s: float) -> bool:
        if self._silences is None:
            return False
        return self._silences.ends_ms(alert, 1000 * self._epoch_s(now_s)) > 0


def pause_s(tries: int) -> float:
    """Return how long to wait after so many failures.

    Examples
    --------
    >>> [pause_s(tries) for tries in (1, 2, 3, 10, 11, 10_000)]
    [1.0, 2.0, 4.0, 512.0, 900.0, 900.0]
    """
    return min(LONGEST_PAUSE_S, 2.0 ** min(tries - 1, 20))


__all__ = ["Delivery", "pause_s"]
