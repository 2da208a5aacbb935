"""A running stream, watched from its topics: alerts, heartbeat, lag, challenger against champion.

It asks the broker and nobody else, so it does not care where the job runs, goes on while the job or
the broker is started anew, and shows an alert once however often a restart has sent it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pulsar

from workbench.cards import Card, Shown
from workbench.errors import ServicesError
from workbench.services import broker
from workbench.services.connector import POSITIONING
from workbench.stream.definition import Stream, load_stream
from workbench.stream.events import COUNTERS
from workbench.stream.outcome import newest
from workbench.stream.showing import alert_rows
from workbench.stream.views import columns

_READ_MS = 5_000
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


class Watch(Shown):
    """What a running stream has said so far.

    Attributes
    ----------
    stream
        Whose.
    backlog
        Entries of the readings' topic that the job has not acknowledged, as of its last checkpoint;
        None: nobody ever read it.
    readers
        Since when each consumer of the job is connected, one for each partition; empty: none is.
    restarts
        How often the job was seen to come back.
    beats
        Sums of the heartbeat's counters, by name.
    trouble
        Why the last look failed; empty: it did not.
    """

    def __init__(self, stream: Stream, *, since_h: float = 24) -> None:
        self.stream = stream
        self.backlog: int | None = None
        self.readers: tuple[str, ...] = ()
        self.restarts = 0
        self.beats: dict[str, int] = dict.fromkeys(COUNTERS, 0)
        self.trouble = ""
        self._since_ms = int((time.time() - 3600 * since_h) * 1000)
        self._before: set[str] = set()  # names of the job's consumers
        self._beat = ""
        self._looked = 0.0
        self._ends: dict[str, Any] = {}
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
            with broker.connect() as client:
                for kind in self._said:
                    self._said[kind] += self._new(client, getattr(self.stream, kind))
                for beat in self._new(client, self.stream.heartbeat):
                    self._beat = str(beat["at"])
                    self.beats = {one: self.beats[one] + int(beat[one]) for one in COUNTERS}
        except (ServicesError, pulsar.PulsarException) as err:
            self.trouble = getattr(err, "message", "") or str(err)
            self.readers = ()
        else:
            self.trouble = ""
        return self

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

    def card(self) -> Card:
        """Return what a notebook shows of it."""
        champion, challenger = self.alerts, self.would_be_alerts
        facts = {
            "looked": _clock(self._looked) if self._looked else "not yet: watch.follow(60)",
            "broker": self.trouble,
            "job": self._job() if self._looked else None,
            "restarts seen": self.restarts or None,
            "behind": None if self.backlog is None else f"{self.backlog:,} entries",
            "heartbeat": self._pulse() if self.stream.heartbeat and self._looked else None,
            "since watched": {name: count for name, count in self.beats.items() if count},
            "alerts": f"{len(champion)}, {_open(champion)} of them open",
            "challenger": _against(champion, challenger) if self.stream.shadow else None,
        }
        return Card("watch", self.stream.name, facts, alert_rows(champion))

    def _job(self) -> str:
        if not self.readers:
            return "nobody reads the topic"
        return f"reads the topic since {min(self.readers)}"

    def _pulse(self) -> str:
        if not self._beat:
            return "none yet"
        age_s = time.time() - datetime.fromisoformat(self._beat).timestamp()
        return f"{self._beat}, {age_s:.0f} s ago" if age_s > _QUIET_S else "regular"

    def _ask(self) -> None:
        """Ask the broker how far the job's subscription is."""
        name = f"workbench-{self.stream.name}"
        parts = [broker.get(f"{broker.rest_path(one)}/stats") for one in self._parts()]
        found = [one["subscriptions"][name] for one in parts if name in one["subscriptions"]]
        self.backlog = sum(one["msgBacklog"] for one in found) if found else None
        consumers = [each for one in found for each in one["consumers"]]
        reading = [one for one in consumers if one["consumerName"] != POSITIONING]
        self.readers = tuple(sorted(one["connectedSince"] for one in reading))
        names = {one["consumerName"] for one in reading}  # kept when a broker is restarted
        if names and self._before and not names & self._before:
            self.restarts += 1
        self._before = names or self._before

    def _parts(self) -> list[str]:
        return broker.partitions(self.stream.topic)

    def _new(self, client: pulsar.Client, topic: str) -> list[dict[str, Any]]:
        """Return the messages behind the last one read; of a topic that is not there none."""
        if not topic or broker.admin("GET", f"{broker.rest_path(topic)}/stats").status_code == 404:
            return []
        reader = client.create_reader(topic, self._ends.get(topic, pulsar.MessageId.earliest))
        try:
            if topic not in self._ends:
                reader.seek(self._since_ms)
            found = []
            while reader.has_message_available():
                message = reader.read_next(_READ_MS)
                self._ends[topic] = message.message_id()
                found.append(json.loads(message.data()))
            return found
        finally:
            reader.close()


def _clock(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _open(alerts: pd.DataFrame) -> int:
    return int((alerts["status"] == "open").sum())


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
