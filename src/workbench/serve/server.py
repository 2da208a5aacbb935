"""The server: who is connected, what runs, and what is too much of it.

It listens on loopback. On another address only with TLS and a password. A watch looks after the
queries that run: one whose client has gone, or that takes longer than it may, is interrupted, and
stops reading the archive.
"""

from __future__ import annotations

import ipaddress
import logging
import secrets
import select
import socketserver
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from workbench import archive as room
from workbench.endpoints import home
from workbench.errors import WorkbenchError
from workbench.serve.decoded import Work
from workbench.serve.engine import Engine
from workbench.serve.errors import QueryError
from workbench.serve.limits import Limits
from workbench.serve.live import Live
from workbench.serve.passwords import Users
from workbench.serve.wire import Connection

_log = logging.getLogger(__name__)
_WATCH_S = 0.1


@dataclass
class _Running:
    """A query that runs: whose, and since when."""

    connection: Connection
    begun_s: float


@dataclass(frozen=True)
class Metrics:
    """What the server counts, for Prometheus."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    queries: Counter = field(init=False)
    seconds: Histogram = field(init=False)
    rows: Counter = field(init=False)
    bytes_read: Counter = field(init=False)
    messages_read: Counter = field(init=False)
    columns: Counter = field(init=False)
    connections: Gauge = field(init=False)

    def __post_init__(self) -> None:
        def add(name: str, kind: Any, what: str, *labels: str) -> None:
            metric = kind(f"workbench_serve_{name}", what, labels, registry=self.registry)
            object.__setattr__(self, name, metric)

        add("queries", Counter, "Queries that ended, by how", "outcome")
        add("seconds", Histogram, "From the start of a query to its last row")
        add("rows", Counter, "Rows sent")
        add("bytes_read", Counter, "Bytes read of the archive's objects")
        add("messages_read", Counter, "Messages read from the broker")
        add("columns", Counter, "Columns of ledgers, found decoded on disk or not", "cache")
        add("connections", Gauge, "Clients connected")


class Server(socketserver.ThreadingTCPServer):
    """A read-only SQL server over an archive; `serve_forever` answers until `shutdown`.

    Parameters
    ----------
    url
        The archive, as `archive.open` takes it.
    host, port
        Where to listen; port 0 takes a free one, which `server_address` tells.
    passwords
        Of users; none: whoever reaches the server may ask, which only loopback allows.
    certificate, key
        PEM files for TLS.
    limits
        What a query, and all of them, may take.
    cache
        Folder of decoded columns; None: `cache/columns` in the workbench's home.
    refresh_s
        After how long the archive is listed again, for ledgers that came since.
    metrics_port
        Where Prometheus finds the metrics, on loopback; None: nowhere.
    live
        What reads from the broker what is not offloaded yet; None: the archive alone is answered.

    Raises
    ------
    WorkbenchError
        If the address is not loopback and TLS or passwords are missing.
    ArchiveError
        If there is no archive.
    ServicesError
        If `live`, and the broker does not answer.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        url: str,
        *,
        host: str = "127.0.0.1",
        port: int = 5433,
        passwords: dict[str, str] | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        limits: Limits | None = None,
        cache: Path | None = None,
        refresh_s: float = 60,
        metrics_port: int | None = None,
        live: Live | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.users = Users.of(passwords or {})
        self.tls = _tls(certificate, key)
        self.tls_only = not _is_loopback(host)
        if self.tls_only and (self.tls is None or not self.users.secrets):
            raise WorkbenchError(
                f"{host} can be reached from elsewhere: it takes TLS and a password",
                hint="give a certificate, its key and a password, or listen on 127.0.0.1",
            )
        self.url, self.refresh_s = url, refresh_s
        opened = room.open(url)
        self.metrics = Metrics()
        self._lock = threading.Lock()
        self._clients: dict[tuple[int, int], Connection] = {}
        self._running: dict[int, tuple[Work, _Running]] = {}
        self._over = threading.Event()
        if ":" in host:
            import socket

            self.address_family = socket.AF_INET6
        self.engine = Engine(opened, self.limits, cache or home() / "cache" / "columns", live)
        super().__init__((host, port), Connection)
        for task in (self._watch, self._refresh):
            threading.Thread(target=task, daemon=True, name=f"serve{task.__name__}").start()
        if metrics_port is not None:
            start_http_server(metrics_port, addr="127.0.0.1", registry=self.metrics.registry)

    def server_close(self) -> None:
        """Stop what runs, and let go of everything."""
        self._over.set()
        with self._lock:
            for work, _ in self._running.values():
                work.stop("the server ends")
        super().server_close()
        self.engine.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Note what a connection ended by."""
        _log.exception("connection from %s", client_address)

    def entered(self, connection: Connection) -> tuple[int, int]:
        """Take a client in; return by which process id and key it may cancel.

        Raises
        ------
        QueryError
            If there are too many.
        """
        with self._lock:
            if len(self._clients) >= self.limits.connections:
                raise QueryError(
                    f"{len(self._clients)} clients are connected, as many as may be", code="53300"
                )
            key = secrets.randbits(31), secrets.randbits(32)
            self._clients[key] = connection
            self.metrics.connections.set(len(self._clients))
        return key

    def left(self, connection: Connection) -> None:
        """Let a client go, and end what it left running."""
        with self._lock:
            self._clients = {k: c for k, c in self._clients.items() if c is not connection}
            self.metrics.connections.set(len(self._clients))
        self._stop_all(connection, "the client has gone")

    def cancel(self, process: int, key: int) -> None:
        """End what the client with this process id and key has running."""
        with self._lock:
            connection = self._clients.get((process, key))
        if connection is not None:
            self._stop_all(connection, "canceled on user's request")

    def started(self, connection: Connection, work: Work) -> None:
        """Watch a query from now on."""
        with self._lock:
            self._running[id(work)] = work, _Running(connection, time.monotonic())

    def ended(self, connection: Connection, work: Work, outcome: str) -> None:
        """Count a query that ended; one that was counted before is not again."""
        with self._lock:
            _, running = self._running.pop(id(work), (work, None))
        if running is None:
            return
        seconds = time.monotonic() - running.begun_s
        self.metrics.queries.labels(outcome).inc()
        self.metrics.seconds.observe(seconds)
        self.metrics.rows.inc(work.rows)
        self.metrics.bytes_read.inc(work.bytes_read)
        self.metrics.messages_read.inc(work.messages_read)
        self.metrics.columns.labels("hit").inc(work.hits)
        self.metrics.columns.labels("miss").inc(work.misses)
        _log.info(
            "query %s: %d rows, %.0f ms, %d bytes read, %d of %d columns found decoded, "
            "%d messages of the broker",
            outcome, work.rows, 1000 * seconds, work.bytes_read, work.hits,
            work.hits + work.misses, work.messages_read,
        )  # fmt: skip

    def check_rows(self, work: Work) -> None:
        """Raise if a result has more rows than it may."""
        if work.rows > self.limits.rows:
            raise QueryError(
                f"the result has more than {self.limits.rows} rows, as many as may be",
                code="54000",
                hint="ask for fewer, or let the server send more (--rows)",
            )

    def _stop_all(self, connection: Connection, why: str) -> None:
        with self._lock:
            mine = [pair for pair in self._running.values() if pair[1].connection is connection]
        for work, _ in mine:
            work.stop(why)

    def _watch(self) -> None:
        while not self._over.wait(_WATCH_S):
            with self._lock:
                pairs = list(self._running.values())
            for work, running in pairs:
                if time.monotonic() - running.begun_s > self.limits.seconds:
                    work.stop(f"the query takes more than {self.limits.seconds:g} s")
                elif _is_gone(running.connection):
                    work.stop("the client has gone")

    def _refresh(self) -> None:
        while not self._over.wait(self.refresh_s):
            try:
                self.engine.show(room.open(self.url))
            except WorkbenchError as err:  # until it is back, what was there
                _log.warning("what is there cannot be listed: %s", err)


def _is_gone(connection: Connection) -> bool:
    """Tell whether the other end has closed, though nobody reads from it now."""
    try:
        poll = select.poll()
        poll.register(connection.request.fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return True


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as err:
        raise WorkbenchError(f"no certificate and key: {err}", where=certificate) from err
    return context


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
