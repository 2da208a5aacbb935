"""The notifier: follows a stream's alerts topic for each route, and delivers.

Each route has a thread and a subscription of its own, so that one whose target is dead waits alone.
Pulsar, or Kafka, keeps how far it is (`workbench-alerts-STREAM-ROUTE`, begun at the newest
message); of several notifiers one is active in a partition, and the next takes over.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import pulsar

from workbench import broker, kafka
from workbench.alerts.closeups import illustrating
from workbench.alerts.delivery import Delivery
from workbench.alerts.journal import Journal, journal_path
from workbench.alerts.links import answer_urls, notebook_urls
from workbench.alerts.messages import Message, check_templates
from workbench.alerts.notebooks import opening
from workbench.alerts.routing import Alert, is_of, parsed
from workbench.alerts.silences import Silences
from workbench.alerts.subscriptions import Subscription, backlogs, opened
from workbench.alerts.targets import Target, target
from workbench.errors import AlertsError, ServicesError, TimesError
from workbench.evaluation import fetch_answers
from workbench.stream import Stream, load_stream
from workbench.times import now_ms

_LISTEN_S = 60.0
_LOOK_S = 0.5  # how long a stop may wait for a thread
_READ_MS = 5_000


@dataclass(frozen=True)
class RouteStatus:
    """How a route is.

    Attributes
    ----------
    route
        Its name.
    sent, dead, waiting
        Alerts delivered, given up, and tried in vain so far.
    failed, silent
        How many tries of an alert failed, ever, and alerts that were told to nobody, opened or
        closed: they were answered, or their sensor was known to be worked on.
    backlog
        Messages of the alerts topic that it has not acknowledged; None: nobody knows.
    last_sent
        When; empty: never.
    failure
        Why the last try failed, and when; empty: none failed since the last was sent.
    """

    route: str
    sent: int
    dead: int
    waiting: int
    backlog: int | None
    last_sent: str
    failure: str
    failed: int = 0
    silent: int = 0


def notify(stream: str | Path | Stream, *, seconds: float | None = None) -> None:
    """Deliver the alerts of a stream by its routes, until interrupted or for so long.

    Raises
    ------
    AlertsError, ServicesError
        As `delivering`.
    """
    until = None if seconds is None else time.monotonic() + seconds
    with delivering(stream) as check:
        while until is None or time.monotonic() < until:
            check()
            time.sleep(_LOOK_S / 5)


@contextlib.contextmanager
def delivering(stream: str | Path | Stream) -> Iterator[Callable[[], None]]:
    """Deliver the alerts of a stream by its routes meanwhile; what is given raises if that ended.

    Alerts that come from then on are followed when the block begins.

    Raises
    ------
    AlertsError
        If the stream has no routes, or a variable that one names is not set, or a template cannot
        be used, or links to answers are wanted and cannot be signed, or `WORKBENCH_LAB_URL` is more
        than an address.
    ServicesError
        If the broker cannot be reached at the start; later it is waited for.
    """
    definition = _with_routes(stream)
    _check_messages(definition)
    targets = {name: target(route) for name, route in definition.routes.items()}
    with ExitStack() as stack:
        names = {subscription(definition, name): name for name in targets}
        places = stack.enter_context(opened(definition.alerts, [*names]))
        stop = threading.Event()
        workers = [
            _Worker(place, definition, names[held], targets[names[held]], stop)
            for held, place in places.items()
        ]
        listener = threading.Thread(target=_listen, args=(definition, stop), daemon=True)
        stack.callback(_end, workers, stop)
        for worker in (*workers, listener):
            worker.start()
        yield lambda: _check(workers)


def _listen(stream: Stream, stop: threading.Event) -> None:
    """Bring what is answered elsewhere: it silences, too. A broker that is away is asked again."""
    while stream.feedback:
        with contextlib.suppress(ServicesError):
            fetch_answers(stream.name, stream.feedback)
        if stop.wait(_LISTEN_S):
            return


def _check_messages(stream: Stream) -> None:
    check_templates(stream)
    answer_urls([])  # refuses if links cannot be signed
    notebook_urls([])  # or if they would carry a token


def _check(workers: list[_Worker]) -> None:
    for worker in workers:
        if worker.failure is not None:
            raise worker.failure


def _end(workers: list[_Worker], stop: threading.Event) -> None:
    stop.set()
    for worker in workers:
        if worker.ident is not None:
            worker.join()


class _Worker(threading.Thread):
    """A route, its subscription, its journal."""

    def __init__(
        self,
        place: Subscription,
        stream: Stream,
        name: str,
        send: Target,
        stop: threading.Event,
    ) -> None:
        super().__init__(name=f"route {name}", daemon=True)
        self.failure: BaseException | None = None
        self._stop_event = stop
        self._place = place
        self._delivery = Delivery(
            stream,
            name,
            journal=Journal(journal_path(stream.name, name)),
            send=illustrating(stream, name, opening(send)),
            acknowledge=place.acknowledge,
            silences=Silences(stream.name),
        )

    def run(self) -> None:
        """Work until told to stop; what goes wrong ends the notifier, not this thread alone."""
        try:
            while not self._stop_event.is_set():
                now_s = time.monotonic()
                due_s = self._delivery.work(now_s)
                self._delivery.repeat_open(now_s)
                self._receive(min(_LOOK_S, max(0.001, due_s - time.monotonic())))
        except BaseException as err:
            self.failure = err
        finally:
            self._place.close()

    def _receive(self, seconds: float) -> None:
        received = self._place.receive(seconds)
        if received is None:
            return
        try:
            alert = parsed(received.content)
        except (ValueError, AlertsError, TimesError) as err:
            content = received.content.decode(errors="replace")
            self._delivery.refuse(received.message_id, content, str(err), received.receipt)
            return
        self._delivery.take(alert, received.receipt, time.monotonic())


def subscription(stream: Stream, route: str) -> str:
    """Return the name of a route's subscription on the alerts topic."""
    return f"workbench-alerts-{stream.name}-{route}"


def preview(stream: str | Path | Stream, *, hours: float = 24.0) -> Iterator[Message]:
    """Yield what the last hours' alerts would have made every route send, in the order of time.

    Nothing is sent, acknowledged or written; the clock is the time at which alerts were sent, and
    what is silent is so by the answers that are here now.

    Raises
    ------
    AlertsError
        If the stream has no routes, or messages would have links that cannot be made.
    ServicesError
        If the broker does not answer, or there is no alerts topic.
    """
    definition = _with_routes(stream)
    _check_messages(definition)
    sent = list(recent(definition, now_ms() - round(hours * 3_600_000)))
    for name in definition.routes:
        yield from _previewed(definition, name, sent)


def _previewed(stream: Stream, name: str, sent: list[tuple[float, Alert]]) -> list[Message]:
    messages: list[Message] = []
    delivery = Delivery(
        stream, name, journal=Journal(None), send=messages.append, acknowledge=lambda _: None,
        silences=Silences(stream.name), epoch_s=lambda at_s: at_s,
    )  # fmt: skip
    due_s, route = math.inf, stream.routes[name]
    end_s = now_ms() / 1000 + route.wait_s + route.every_s  # what is silent still is not told
    for at_s, alert in sent:
        while due_s <= at_s:
            due_s = delivery.work(due_s)
        delivery.take(alert, None, at_s)
        due_s = delivery.work(at_s)
    while due_s <= end_s:
        due_s = delivery.work(due_s)
    return messages


def recent(stream: Stream, since_ms: int) -> Iterator[tuple[float, Alert]]:
    """Yield a stream's alerts sent since a moment, with when they were, in seconds.

    What is no alert on their topic, or another stream's, is left out.

    Raises
    ------
    ServicesError
        If the broker does not answer, or there is no such topic.
    """
    for sent_ms, content in sorted(_published(stream.alerts, since_ms), key=itemgetter(0)):
        with contextlib.suppress(ValueError, AlertsError, TimesError):
            alert = parsed(content)
            if is_of(stream, alert):
                yield sent_ms / 1000, alert


def _published(topic: str, since_ms: int) -> list[tuple[int, bytes]]:
    """Return when messages were sent, epoch ms, and what they hold."""
    if kafka.is_topic(topic):
        tails = kafka.tails(topic, since_ms, {})
        return [record for records in tails.values() for record in records]
    parts = broker.partitions(topic)
    try:
        with broker.connect() as client:
            return [each for part in parts for each in _messages(client, part, since_ms)]
    except pulsar.PulsarException as err:
        raise ServicesError(f"the alerts cannot be read: {err}", where=topic) from err


def _messages(client: pulsar.Client, part: str, since_ms: int) -> Iterator[tuple[int, bytes]]:
    reader = broker.reader_since(client, part, since_ms)
    while reader is not None and reader.has_message_available():
        message = reader.read_next(_READ_MS)
        yield message.publish_timestamp(), message.data()


def route_status(stream: str | Path | Stream) -> list[RouteStatus]:
    """Return how each route of a stream is, as the journals here and the broker say.

    Raises
    ------
    AlertsError
        If the stream has no routes.
    """
    definition = _with_routes(stream)
    backlogs = _backlogs(definition)
    return [
        _status(name, Journal(journal_path(definition.name, name)), backlogs)
        for name in definition.routes
    ]


def _status(name: str, journal: Journal, backlogs: Mapping[str, int]) -> RouteStatus:
    last = journal.last_failure
    failed = bool(last) and last["at"] > journal.last_sent
    return RouteStatus(
        route=name,
        sent=journal.counts["sent"],
        dead=journal.counts["dead"],
        waiting=journal.waiting,
        backlog=backlogs.get(name),
        last_sent=journal.last_sent,
        failure=f"{last['reason']}, {last['at']}" if failed else "",
        failed=journal.counts["failed"],
        silent=journal.counts["silent"],
    )


def _backlogs(stream: Stream) -> dict[str, int]:
    """Return what each route has not acknowledged, by its name; nothing where no broker answers."""
    names = {subscription(stream, name): name for name in stream.routes}
    behind: dict[str, int] = {}
    with contextlib.suppress(ServicesError):
        behind = backlogs(stream.alerts, [*names])
    return {names[held]: count for held, count in behind.items()}


def _with_routes(stream: str | Path | Stream) -> Stream:
    definition = load_stream(stream)
    if not definition.routes:
        raise AlertsError(
            f"stream {definition.name} has no routes", hint="docs/alerts.md says how one is written"
        )
    return definition


__all__ = [
    "RouteStatus",
    "delivering",
    "notify",
    "preview",
    "recent",
    "route_status",
    "subscription",
]
