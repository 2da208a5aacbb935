"""A running stream, watched from its topics: alerts, heartbeat, lag, challenger against champion.

It asks the queue and nobody else, so it does not care where the job runs, goes on while the job or
the broker is started anew, and shows an alert once however often a restart has sent it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pulsar

from workbench import kafka
from workbench.alerts import checked, is_of
from workbench.cards import Card, HasCard
from workbench.desk.following import NO_DOCUMENT, Tails, readers
from workbench.errors import AlertsError, ServicesError
from workbench.stream import COUNTERS, Stream, alert_rows, columns, load_stream, newest
from workbench.times import instant_ms, iso, now_ms

if TYPE_CHECKING:
    from workbench.desk.labelling import Answering

_QUIET_S = 30.0  # three heartbeats


def watch(
    stream: str | Path | Stream, *, seconds: float = 0.0, every_s: float = 2.0, since_h: float = 24
) -> Watch:
    """Return a watch of a stream, after following it for a while.

    Parameters
    ----------
    seconds
        How long to follow it, shown anew every so often; an interrupt ends that, too. 0: not.
    every_s
        Seconds between two looks.
    since_h
        Alerts that were sent before these last hours are left out.
    """
    found = Watch(load_stream(stream), since_h=since_h)
    return found.follow(seconds, every_s=every_s) if seconds else found


class Watch(HasCard):
    """What a running stream has said so far.

    Attributes
    ----------
    stream
        Whose.
    backlog
        Entries of the readings' topic that the job has not acknowledged, as of its last checkpoint;
        None: nobody ever read it.
    readers
        Since when each consumer of the job is connected, one for each partition; empty: none is;
        None: Kafka does not tell.
    restarts
        How often the job was seen to come back.
    beats
        Sums of the heartbeat's counters, by name.
    strange
        How many messages of its topics are no alerts, or no heartbeats; they are passed over.
    trouble
        Why the last look failed; empty: it did not.
    """

    def __init__(self, stream: Stream, *, since_h: float = 24) -> None:
        self.stream = stream
        self.backlog: int | None = None
        self.readers: tuple[str, ...] | None = ()
        self.restarts = 0
        self.beats: dict[str, int] = dict.fromkeys(COUNTERS, 0)
        self.strange = 0
        self.trouble = ""
        self._since_ms = int((time.time() - 3600 * since_h) * 1000)
        self._before: set[str] = set()  # names of the job's consumers
        self._beat = ""
        self._looked = 0.0
        topics = {kind: getattr(stream, kind) for kind in ("alerts", "shadow", "heartbeat")}
        self._tails = Tails(topics, dict.fromkeys(topics, self._since_ms))
        self._said: dict[str, list[dict[str, Any]]] = {"alerts": [], "shadow": []}

    @property
    def alerts(self) -> pd.DataFrame:
        """The champion's alerts, one row per id in its newest state, by start."""
        return newest(iter(self._said["alerts"]), list(columns(self.stream)))

    @property
    def would_be_alerts(self) -> pd.DataFrame:
        """The challenger's, from the shadow topic."""
        return newest(iter(self._said["shadow"]), list(columns(self.stream)))

    def look(self) -> Watch:
        """Read what is new and return this; a broker that does not answer is noted as `trouble`."""
        self._looked = time.time()
        try:
            self._ask()
            for kind, contents in self._tails.new():
                if kind == "heartbeat":
                    self._count(self._parsed(contents, _beat))
                else:
                    said = self._parsed(contents, checked)
                    self._said[kind] += [alert for alert in said if is_of(self.stream, alert)]
        except (ServicesError, pulsar.PulsarException) as err:
            self.trouble = getattr(err, "message", "") or str(err)
            self.readers = ()
        else:
            self.trouble = ""
        return self

    def _parsed(
        self, contents: list[bytes], parse: Callable[[Any], Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        documents = []
        for content in contents:
            try:
                documents.append(dict(parse(json.loads(content))))
            except (*NO_DOCUMENT, AlertsError):
                self.strange += 1
        return documents

    def _count(self, beats: list[dict[str, Any]]) -> None:
        for beat in beats:
            self._beat = beat["at"]
            self.beats = {counter: self.beats[counter] + beat[counter] for counter in COUNTERS}

    def follow(self, seconds: float, *, every_s: float = 2.0) -> Watch:
        """Look again and again, and show what is seen; return this at the end or interrupted."""
        from IPython.display import display

        shown, until = None, time.monotonic() + seconds
        try:
            while True:
                self.look()
                if shown is None:
                    shown = display(self, display_id=True)
                else:
                    shown.update(self)
                if time.monotonic() + every_s >= until:
                    break
                time.sleep(every_s)
        except KeyboardInterrupt:
            pass
        return self

    def answering(self, *, who: str = "") -> Answering:
        """Return the champion's newest alerts with buttons that answer them, for a notebook."""
        from workbench.desk.labelling import Answering  # here: widgets are for notebooks alone

        return Answering(self.stream, self.alerts, who=who)

    def card(self) -> Card:
        """Return what a notebook shows of it."""
        champion, challenger = self.alerts, self.would_be_alerts
        facts = {
            "looked": _clock(self._looked) if self._looked else "not yet: watch.follow(60)",
            "broker": self.trouble,
            "job": self._job() if self._looked else None,
            "restarts seen": self.restarts or None,
            "behind": None if self.backlog is None else f"{self.backlog:,} {self._unit}",
            "heartbeat": self._pulse() if self.stream.heartbeat and self._looked else None,
            "since watched": {name: count for name, count in self.beats.items() if count},
            "alerts": f"{len(champion)}, {_open(champion)} of them open",
            "in alarm": _in_alarm(champion),
            "passed over": f"{self.strange:,} messages of its topics that are no alerts"
            if self.strange
            else None,
            "challenger": _against(champion, challenger) if self.stream.shadow else None,
        }
        return Card("watch", self.stream.name, facts, alert_rows(champion))

    def _job(self) -> str:
        if self.readers is None:
            return "Kafka does not tell who reads the topic; its heartbeat does"
        if not self.readers:
            return "nobody reads the topic"
        return f"reads the topic since {min(self.readers)}"

    @property
    def _unit(self) -> str:
        return "records" if kafka.is_topic(self.stream.topic) else "entries"

    def _pulse(self) -> str:
        if not self._beat:
            return "none yet"
        age_s = (now_ms() - (instant_ms(self._beat) or 0)) / 1000
        return f"{self._beat}, {age_s:.0f} s ago" if age_s > _QUIET_S else "regular"

    def _ask(self) -> None:
        """Ask the broker how far the job's subscription is."""
        job = readers(self.stream)
        self.backlog = job.backlog
        if job.consumers is None:
            self.readers = None
            return
        self.readers = tuple(sorted(part["connectedSince"] for part in job.consumers))
        names = {part["consumerName"] for part in job.consumers}  # kept when a broker is restarted
        if names and self._before and not names & self._before:
            self.restarts += 1
        self._before = names or self._before


def _clock(at_s: float) -> str:
    return iso(round(at_s * 1000), "s").replace("T", " ").replace("Z", " UTC")


def _open(alerts: pd.DataFrame) -> int:
    return int((alerts["status"] == "open").sum())


def _in_alarm(alerts: pd.DataFrame) -> str | None:
    """Return how long alerts lasted, and since when the oldest open one does: few are not quiet."""
    if not len(alerts):
        return None
    still = alerts["status"] == "open"
    lasted = (alerts["stop"] - alerts["start"])[~still].dt.total_seconds().sum()
    parts = [f"{lasted / 3600:,.1f} h of closed alerts"]
    if still.any():
        parts.append(f"open since {alerts['start'][still].min():%Y-%m-%d %H:%M:%S} UTC")
    return ", ".join(parts)


def _beat(content: dict[str, Any]) -> dict[str, Any]:
    instant_ms(str(content["at"]))  # null is none
    return {"at": content["at"], **{name: int(content.get(name, 0)) for name in COUNTERS}}


def _against(champion: pd.DataFrame, challenger: pd.DataFrame) -> Mapping[str, int]:
    """Count the alerts of each that meet one of the other's, of the same sensor, in time."""
    pairs = champion.reset_index().merge(
        challenger.reset_index(), on="sensor", suffixes=("", "_other")
    )
    latest = pd.Timestamp.max.tz_localize("UTC")
    stop, other = pairs["stop"].fillna(latest), pairs["stop_other"].fillna(latest)
    both = pairs[(pairs["start"] <= other) & (pairs["start_other"] <= stop)]
    return {
        "would alert": len(challenger),
        "where the champion does": both["index_other"].nunique(),
        "alone": len(challenger) - both["index_other"].nunique(),
        "missing": len(champion) - both["index"].nunique(),
    }
