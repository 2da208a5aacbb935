"""What a person watches of running streams, for Prometheus: asked anew at each scrape.

Counters count from the start of the process, which is how Prometheus takes them; those of routes
come from the notifier's journal, which outlives it. It asks broker, journals and promotions, so it
runs wherever these are reached. Only this machine is let in.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import pulsar
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from workbench.alerts import route_status
from workbench.desk.following import NO_DOCUMENT, Readers, Tails, readers
from workbench.errors import DeskError, ServicesError, StreamError
from workbench.stream import (
    COUNTERS,
    DRIFT,
    USUAL_SEVERITY,
    Promotion,
    Stream,
    load_stream,
    name_of,
    noted_drift,
    promotions,
    remembered,
    status,
)
from workbench.times import instant_ms, now_ms

PORT = 9477
_OPEN_DAYS = 7  # how far back an alert may have opened that still is
_CLOSED = 10_000  # ids of closed alerts that are remembered: a restarted job sends some again


class OpenAlerts:
    """The alerts of a stream that are open, of the messages of its topic in their order."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._open: dict[str, str] = {}
        self._closed: dict[str, None] = {}

    def take(self, contents: Iterable[bytes]) -> None:
        """Take messages; an alert that was closed stays so, and what is no alert is passed over."""
        for content in contents:
            try:
                alert = json.loads(content)
                key, status, kind = alert["id"], alert["status"], alert["kind"]
                whose = alert.get("stream", self._stream)
            except NO_DOCUMENT:
                continue
            if whose != self._stream:
                continue
            if status == "open" and key not in self._closed:
                self._open[key] = kind
            elif status == "closed":
                self._open.pop(key, None)
                self._closed[key] = None
                if len(self._closed) > _CLOSED:
                    del self._closed[next(iter(self._closed))]

    def by_kind(self) -> Counter[str]:
        """Return how many are open, by kind."""
        return Counter(self._open.values())


class _Followed:
    """A stream: what its topics have said since the process began."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.beats = dict.fromkeys(COUNTERS, 0)
        self.beat_ms: int | None = None
        self.alerts = OpenAlerts(stream.name)
        self.readers = Readers(None, ())
        self.is_up = self.was_up = False
        self._tails = Tails(
            {"alerts": stream.alerts, "heartbeat": stream.heartbeat},
            {"alerts": now_ms() - _OPEN_DAYS * 86_400_000, "heartbeat": now_ms()},
        )

    def look(self) -> None:
        """Read what is new; of a broker that does not answer what was seen last stands."""
        try:
            self.readers = readers(self.stream)
            for name, contents in self._tails.new():
                if name == "alerts":
                    self.alerts.take(contents)
                else:
                    self._take(contents)
        except (ServicesError, pulsar.PulsarException):
            self.is_up = False
            self.readers = Readers(None, ())
        else:
            self.is_up = self.was_up = True

    def _take(self, contents: Iterable[bytes]) -> None:
        """Take heartbeats; what is none is passed over."""
        for content in contents:
            try:
                beat = json.loads(content)
                counts = {counter: int(beat.get(counter, 0)) for counter in COUNTERS}
                self.beat_ms = instant_ms(str(beat["at"]))
            except NO_DOCUMENT:
                continue
            self.beats = {counter: self.beats[counter] + counts[counter] for counter in COUNTERS}


class _Families:
    """Metric families by name, each with the streams' samples."""

    def __init__(self) -> None:
        self.by_name: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}

    def add(self, name: str, text: str, value: float | None, **labels: str) -> None:
        """Add a sample; None: there is none. A name that ends in `_total` is a counter's."""
        if value is None:
            return
        kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
        family = self.by_name.get(name)
        if family is None:
            family = self.by_name[name] = kind(f"workbench_{name}", text, labels=list(labels))
        family.add_metric(list(labels.values()), value)


class StreamMetrics(Collector):
    """The metrics of some streams; `collect` looks at their topics.

    Parameters
    ----------
    streams
        Names or files of stream files, or streams.

    Raises
    ------
    DeskError
        If none is named.
    """

    def __init__(self, streams: Sequence[str | Path | Stream]) -> None:
        definitions = [load_stream(stream) for stream in streams]
        if not definitions:
            raise DeskError("no stream is named, at least one is needed")
        self._followed = [_Followed(definition) for definition in definitions]
        self._lock = Lock()  # two may scrape at once

    def collect(self) -> Iterator[Metric]:
        """Yield what there is to see now."""
        families = _Families()
        with self._lock:
            for followed in self._followed:
                followed.look()
                _topics(families, followed)
                _packages(families, followed.stream)
                _routes(families, followed.stream)
                _cluster(families, followed.stream)
                _drift(families, followed.stream)
        yield from families.by_name.values()

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: what there is, is known when somebody asks."""
        yield from ()


def _topics(families: _Families, followed: _Followed) -> None:
    name, add = followed.stream.name, families.add
    add("broker_up", "1: the broker answers", float(followed.is_up), stream=name)
    if followed.stream.heartbeat:
        for counter, count in followed.beats.items():
            add("heartbeat_total", "What the job counts, by counter of its heartbeat",
                count, stream=name, counter=counter)  # fmt: skip
        add("heartbeat_timestamp_seconds", "When the job's heart beat last",
            _seconds(followed.beat_ms), stream=name)  # fmt: skip
    if followed.is_up:
        job = followed.readers
        add("job_readers", "Consumers of the job that are connected; Kafka does not tell",
            None if job.consumers is None else len(job.consumers), stream=name)  # fmt: skip
        add("job_backlog_entries", "Entries of the readings' topic behind which the job is",
            job.backlog, stream=name)  # fmt: skip
    if not followed.was_up:
        return  # how many are open is not known, which is not none
    kinds = {"episode", *followed.stream.limits, *followed.stream.patterns, "clock", DRIFT}
    counts = dict.fromkeys(sorted(kinds), 0) | followed.alerts.by_kind()
    for kind, count in counts.items():
        severity = followed.stream.severities.get(kind, USUAL_SEVERITY)
        add("alerts_open", f"Alerts that opened in the last {_OPEN_DAYS} days and are open",
            count, stream=name, kind=kind, severity=severity)  # fmt: skip


def _packages(families: _Families, stream: Stream) -> None:
    """Add the packages in force: of each role the last one, before it those of other sensors."""
    for role in ("champion", "challenger"):
        for promotion in _in_force(promotions(stream.name, role)):
            families.add(
                "package_since_timestamp_seconds",
                "Since when a package is in force; of the first of a role, when it was promoted",
                max(_seconds(promotion.effective_ms) or 0, _seconds(_decided(promotion)) or 0),
                stream=stream.name,
                role=role,
                package=promotion.package[:16],
                sensors=",".join(promotion.sensors),
            )


def _in_force(log: Sequence[Promotion]) -> Iterator[Promotion]:
    covered: set[str] = set()
    for promotion in reversed([each for each in log if each.effective_ms <= now_ms()]):
        if promotion.sensors and covered.issuperset(promotion.sensors):
            continue
        yield promotion
        if not promotion.sensors:
            return
        covered.update(promotion.sensors)


def _decided(promotion: Promotion) -> int | None:
    return instant_ms(promotion.decided)


def _routes(families: _Families, stream: Stream) -> None:
    for route in route_status(stream) if stream.routes else ():
        labels = {"stream": stream.name, "route": route.route}
        for outcome, count in (
            ("sent", route.sent), ("failed", route.failed), ("dead", route.dead),
            ("silent", route.silent),
        ):  # fmt: skip
            families.add("route_alerts_total", "What became of alerts on a route: sent, failed (a "
                         "try), dead (given up), silent",
                         count, **labels, outcome=outcome)  # fmt: skip
        families.add("route_waiting", "Alerts tried in vain that are neither sent nor given up",
                     route.waiting, **labels)  # fmt: skip
        families.add("route_backlog_messages", "Messages of the alerts topic that it has not "
                     "acknowledged", route.backlog, **labels)  # fmt: skip
        families.add("route_sent_timestamp_seconds", "When it last sent",
                     _seconds(instant_ms(route.last_sent)), **labels)  # fmt: skip


def _cluster(families: _Families, stream: Stream) -> None:
    """Add how the job on a session cluster is, where one was submitted from here."""
    name, add = stream.name, families.add
    if name not in map(name_of, remembered()):
        return
    try:
        job = status(name)
    except StreamError:  # the cluster is away
        add("job_up", "1: a session cluster runs the job", 0.0, stream=name)
        return
    add("job_up", "1: a session cluster runs the job", float(job.state == "RUNNING"), stream=name)
    if job.state == "LOST":
        return
    add("job_restarts", "How often Flink restarted the job", job.restarts, stream=name)
    add("checkpoint_timestamp_seconds", "When the job's newest checkpoint was completed",
        _seconds(job.checkpoint_ms), stream=name)  # fmt: skip
    for outcome, count in (("completed", job.checkpoints), ("failed", job.failed_checkpoints)):
        add("checkpoints", "Checkpoints since the job was submitted", count,
            stream=name, outcome=outcome)  # fmt: skip


def _drift(families: _Families, stream: Stream) -> None:
    """Add what the newest `workbench drift` on this machine found."""
    noted = noted_drift(stream.name)
    if not noted:
        return
    name, add = stream.name, families.add
    add("drift_judged_timestamp_seconds", "Up to when `workbench drift` judged last",
        _seconds(instant_ms(noted["judged"][1])), stream=name)  # fmt: skip
    for finding in noted["findings"]:
        add("drift_over_limit", "1: over its limit, or not to be known", finding["passed"] is False,
            stream=name, check=finding["check"])  # fmt: skip
    day = noted["days"][-1] if noted["days"] else {"moved": {}, "unscored": None}
    for channel, share in day["moved"].items():
        add("drift", "How far a channel, or the score, has moved since training on the last day",
            share, stream=name, channel=channel)  # fmt: skip
    add("drift_unscored_ratio", "Readings of that day without a score, of those that could have "
        "one", day["unscored"], stream=name)  # fmt: skip


def _seconds(moment_ms: int | None) -> float | None:
    return None if moment_ms is None else moment_ms / 1000


@contextmanager
def expose(streams: Sequence[str | Path | Stream], *, port: int = PORT) -> Iterator[int]:
    """Answer Prometheus on a port of loopback, and give that port.

    Parameters
    ----------
    port
        0: any that is free.

    Raises
    ------
    DeskError
        If the port is taken, or for what `StreamMetrics` raises.
    """
    registry = CollectorRegistry()
    registry.register(StreamMetrics(streams))
    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as err:
        raise DeskError(
            f"port {port} cannot be listened on: {err.strerror}", hint="another --port"
        ) from err
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


__all__ = ["PORT", "OpenAlerts", "StreamMetrics", "expose"]
