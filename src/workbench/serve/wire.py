"""One client's connection, in PostgreSQL's protocol 3.0: simple and extended queries.

Message forms, type codes and the socket server are buenavista's. What it lacks stands here: TLS,
SCRAM, errors with codes, the rest of an extended query skipped behind an error, parameters and
results of any type in text and binary, results that stream, cancellation.

Source: PostgreSQL 15, Frontend/Backend Protocol.
"""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
from buenavista.postgres import BuenaVistaHandler, BVBuffer, ClientCommand, ServerResponse

from workbench.errors import WorkbenchError
from workbench.serve.columns import TYPES, messages, type_of
from workbench.serve.decoded import Work
from workbench.serve.engine import Result
from workbench.serve.errors import QueryError, code_of
from workbench.serve.parameters import literal
from workbench.serve.passwords import authenticate
from workbench.serve.portals import Answer, Gone, Portal, Statement, first, nth
from workbench.serve.statements import SETTINGS, array_parameters, session_tag, shown, split

_SSL, _GSS, _CANCEL, _VERSION = 80877103, 80877104, 80877102, 196608
_STARTUP_BYTES, _MESSAGE_BYTES = 10_000, 16 << 20
_STARTUP_S = 30
_TOLD = ("server_version", "server_encoding", "client_encoding", "DateStyle", "IntervalStyle",
         "TimeZone", "integer_datetimes", "standard_conforming_strings", "is_superuser",
         "session_authorization", "in_hot_standby", "default_transaction_read_only")  # fmt: skip


class Connection(BuenaVistaHandler):  # type: ignore[misc] # untyped
    """A client from its first byte to its last."""

    wbufsize = 1 << 16
    request: Any
    connection: Any
    server: Any
    rfile: Any
    wfile: Any

    def handle(self) -> None:
        """Serve the client until it goes."""
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.request.setsockopt(  # who reads nothing for so long is gone
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * self.server.limits.seconds)
        )
        self.request.settimeout(_STARTUP_S)
        self.statements: dict[str, Statement] = {}
        self.portals: dict[str, Portal] = {}
        self.status, self.skipping, self.last = b"I", False, Work()
        try:
            if self._begins():
                self.request.settimeout(None)
                while self._serve():
                    pass
        except (Gone, ConnectionError, TimeoutError, ssl.SSLError):
            pass
        except WorkbenchError as err:  # before anything can be asked
            self._error(err)
        finally:
            self._close_portals()
            self.server.left(self)

    def finish(self) -> None:
        """Send what is left, if anybody listens."""
        with contextlib.suppress(OSError):
            super().finish()
        if isinstance(self.request, ssl.SSLSocket):
            self.request.close()  # socketserver closes the one that was there before

    def _begins(self) -> bool:
        """Agree on TLS, user and password; return whether there will be queries."""
        while True:
            size = struct.unpack("!i", self._exactly(4))[0]
            if not 8 <= size <= _STARTUP_BYTES:
                raise Gone
            code, rest = struct.unpack("!i", self._exactly(4))[0], self._exactly(size - 8)
            if code == _SSL and self.server.tls is not None:
                self._secure()
            elif code in (_SSL, _GSS):
                self.connection.sendall(b"N")
            elif code == _CANCEL:
                self.server.cancel(*struct.unpack("!II", rest))
                return False
            elif code == _VERSION:
                break
            else:
                raise QueryError(f"protocol {code >> 16}.{code & 65535} is not 3.0", code="0A000")
        texts = [text.decode() for text in rest.split(b"\0")]
        self._admit(dict(zip(texts[::2], texts[1::2], strict=False)))
        return True

    def _secure(self) -> None:
        self.connection.sendall(b"S")
        self.request = self.connection = self.server.tls.wrap_socket(self.request, server_side=True)
        self.rfile = self.request.makefile("rb", self.rbufsize)
        self.wfile = self.request.makefile("wb", self.wbufsize)

    def _admit(self, options: dict[str, str]) -> None:
        if self.server.tls_only and not isinstance(self.request, ssl.SSLSocket):
            raise QueryError("connections from elsewhere are by TLS only", code="28000")
        if self.server.users.secrets:
            user = options.get("user", "")
            authenticate(self.server.users, user, self._authentication, self._password)
        key = self.server.entered(self)
        self.send_authentication_ok()
        self.send_parameter_status({name: SETTINGS[name.lower()] for name in _TOLD})
        self._send(ServerResponse.BACKEND_KEY_DATA, struct.pack("!II", *key))
        self._ready()

    def _authentication(self, code: int, rest: bytes) -> None:
        self._send(ServerResponse.AUTHENTICATION_REQUEST, struct.pack("!i", code) + rest)
        self.wfile.flush()

    def _password(self) -> bytes:
        kind, payload = self._message()
        if kind != ClientCommand.PASSWORD_MESSAGE:
            raise Gone
        return payload

    def _message(self) -> tuple[bytes, bytes]:
        kind = self._exactly(1)
        size = struct.unpack("!i", self._exactly(4))[0]
        if not 4 <= size <= _MESSAGE_BYTES:
            raise QueryError(f"a message of {size} bytes is none", code="08P01")
        return kind, self._exactly(size - 4)

    def _exactly(self, size: int) -> bytes:
        data: bytes = self.rfile.read(size)
        if len(data) < size:
            raise Gone
        return data

    def _serve(self) -> bool:
        """Answer one message; return False when the client says goodbye."""
        kind, payload = self._message()
        if kind == ClientCommand.TERMINATE:
            return False
        if kind == ClientCommand.SYNC:
            self.skipping = False
            self._ready()
        elif kind == ClientCommand.QUERY:
            self._simple(first(payload)[0])
        elif not self.skipping:
            self._extended(kind, payload)
        return True

    def _simple(self, text: str) -> None:
        try:
            statements = split(text)
            for statement in statements:
                answer = self._answer(statement, [])
                if answer.schema is not None:
                    self._row_description(answer.schema, [])
                self._rows(answer, [], 0)
            if not statements:
                self._send(ServerResponse.EMPTY_QUERY_RESPONSE, b"")
        except (Gone, ConnectionError, TimeoutError):
            raise
        except Exception as err:  # whatever it is, the client is told
            self._error(err)
        self._ready()

    def _extended(self, kind: bytes, payload: bytes) -> None:
        steps: dict[bytes, Callable[[bytes], None]] = {
            ClientCommand.PARSE: self._parse, ClientCommand.BIND: self._bind,
            ClientCommand.DESCRIBE: self._describe, ClientCommand.EXECUTE: self._execute,
            ClientCommand.CLOSE: self._close, ClientCommand.FLUSH: lambda _: self.wfile.flush(),
        }  # fmt: skip
        try:
            if kind not in steps:
                raise QueryError(f"message {kind!r} is not answered", code="08P01")
            steps[kind](payload)
        except (Gone, ConnectionError, TimeoutError):
            raise
        except Exception as err:
            self.skipping = True
            self._error(err)

    def _parse(self, payload: bytes) -> None:
        name, rest = first(payload)
        text, rest = first(rest)
        statements = split(text)
        if len(statements) > 1:
            raise QueryError(
                f"{len(statements)} statements cannot be prepared as one", code="42601"
            )
        count = struct.unpack_from("!h", rest)[0]
        oids = list(struct.unpack_from(f"!{count}I", rest, 2))
        self.statements[name] = Statement(statements[0] if statements else "", oids)
        self.send_parse_complete()

    def _bind(self, payload: bytes) -> None:
        portal, rest = first(payload)
        name, rest = first(rest)
        statement = self._statement(name)
        buffer = BVBuffer(io.BytesIO(rest))
        formats = [buffer.read_int16() for _ in range(buffer.read_int16())]
        count = buffer.read_int16()
        arrays = array_parameters(statement.text)
        literals = []
        for i in range(count):
            size = buffer.read_int32()
            value = buffer.read_bytes(size) if size >= 0 else None
            oid = statement.oids[i] if i < len(statement.oids) else 0
            oid = oid or (TYPES["text"].array if i + 1 in arrays else 0)
            literals.append(literal(value, oid, binary=bool(nth(formats, i))))
        results = [buffer.read_int16() for _ in range(buffer.read_int16())]
        self._drop(portal)
        self.portals[portal] = Portal(statement.text, literals, results)
        self.send_bind_complete()

    def _describe(self, payload: bytes) -> None:
        kind, name = payload[:1], first(payload[1:])[0]
        if kind == b"P":
            portal = self._portal(name)
            portal.answer = portal.answer or self._answer(portal.text, portal.literals)
            self._columns(portal.answer.schema, portal.formats)
            return
        statement = self._statement(name)
        oids, schema = self._described(statement)
        statement.oids = oids
        self._send(
            ServerResponse.PARAMETER_DESCRIPTION, struct.pack(f"!h{len(oids)}I", len(oids), *oids)
        )
        self._columns(schema, [])

    def _described(self, statement: Statement) -> tuple[list[int], pa.Schema | None]:
        text = statement.text
        if not text or session_tag(text) is not None:
            return statement.oids, None
        if (setting := self._shown(text)) is not None:
            return statement.oids, pa.schema([(setting[0], pa.string())])
        return self.server.engine.describe(text, statement.oids)  # type: ignore[no-any-return]

    def _columns(self, schema: pa.Schema | None, formats: list[int]) -> None:
        if schema is None:
            self._send(ServerResponse.NO_DATA, b"")
        else:
            self._row_description(schema, formats)

    def _execute(self, payload: bytes) -> None:
        name, rest = first(payload)
        portal = self._portal(name)
        if not portal.text:
            self._send(ServerResponse.EMPTY_QUERY_RESPONSE, b"")
            return
        portal.answer = portal.answer or self._answer(portal.text, portal.literals)
        self._rows(portal.answer, portal.formats, struct.unpack("!i", rest)[0])

    def _close(self, payload: bytes) -> None:
        name = first(payload[1:])[0]
        if payload[:1] == b"S":
            self.statements.pop(name, None)
        else:
            self._drop(name)
        self.send_close_complete()

    def _statement(self, name: str) -> Statement:
        if name not in self.statements:
            raise QueryError(f"no prepared statement {name!r}", code="26000")
        return self.statements[name]

    def _portal(self, name: str) -> Portal:
        if name not in self.portals:
            raise QueryError(f"no portal {name!r}", code="34000")
        return self.portals[name]

    def _answer(self, text: str, literals: list[str]) -> Answer:
        """Begin to answer a statement."""
        if not text:
            return Answer("")
        tag = session_tag(text)
        if tag is not None:
            self.status = {"BEGIN": b"T", "COMMIT": b"I", "ROLLBACK": b"I"}.get(tag, self.status)
            return Answer(tag)
        if self.status == b"E":
            raise QueryError("the transaction failed: ROLLBACK ends it", code="25P02")
        if (setting := self._shown(text)) is not None:
            batch = pa.RecordBatch.from_pydict({setting[0]: [setting[1]]})
            return Answer("SHOW", batch.schema, iter([batch]))
        work = self.last = Work()
        self.server.started(self, work)
        try:
            result: Result = self.server.engine.run(text, work, literals)
        except BaseException:
            self.server.ended(self, work, "failed")
            raise
        return Answer("SELECT", result.schema, result.batches, work)

    def _shown(self, text: str) -> tuple[str, str] | None:
        counts = {
            "workbench.bytes_read": self.last.bytes_read,
            "workbench.messages_read": self.last.messages_read,
        }
        said = text.lower().split()
        if len(said) == 2 and said[0] == "show" and said[1] in counts:
            return said[1], str(counts[said[1]])
        return shown(text)

    def _rows(self, answer: Answer, formats: list[int], most: int) -> None:
        """Send rows as they come, at most `most` (0: all), and how it ended."""
        if answer.schema is None:
            self.send_command_complete(f"{answer.tag}\0")
            return
        sent = 0
        outcome = "failed"
        try:
            for batch in self._batches(answer):
                rows = batch.slice(0, most - sent) if most else batch
                binary = [bool(nth(formats, i)) for i in range(len(answer.schema))]
                self.wfile.write(messages(rows, binary))
                sent += rows.num_rows
                answer.work.rows += rows.num_rows
                self.server.check_rows(answer.work)
                if most and sent >= most:
                    answer.held = batch.slice(rows.num_rows) or None
                    outcome = ""
                    self.send_portal_suspend()
                    return
            outcome = "complete"
        finally:
            if outcome:
                self.server.ended(self, answer.work, outcome)
        self.send_command_complete(
            f"{answer.tag} {sent}\0" if answer.tag == "SELECT" else f"{answer.tag}\0"
        )

    def _batches(self, answer: Answer) -> Iterator[pa.RecordBatch]:
        if answer.held is not None and answer.held.num_rows:
            held, answer.held = answer.held, None
            yield held
        while (batch := next(answer.batches, None)) is not None:
            yield batch  # (`yield from` would close them when this is left at a suspension)

    def _drop(self, name: str) -> None:
        portal = self.portals.pop(name, None)
        if portal is not None and portal.answer is not None:
            close = getattr(portal.answer.batches, "close", None)
            if close is not None:
                close()
            self.server.ended(self, portal.answer.work, "closed")

    def _close_portals(self) -> None:
        for name in list(self.portals):
            self._drop(name)

    def _row_description(self, schema: pa.Schema, formats: list[int]) -> None:
        buffer = BVBuffer()
        buffer.write_int16(len(schema))
        for i, column in enumerate(schema):
            kind, is_array = type_of(column.type)
            oid, size = (kind.array, -1) if is_array else (kind.oid, kind.size)
            buffer.write_string(column.name)
            buffer.stream.write(struct.pack("!ihihih", 0, 0, oid, size, -1, nth(formats, i)))
        self._send(ServerResponse.ROW_DESCRIPTION, buffer.get_value())

    def _ready(self) -> None:
        if self.status == b"I":
            self._close_portals()
        self._send(ServerResponse.READY_FOR_QUERY, self.status)
        self.wfile.flush()

    def _error(self, error: BaseException) -> None:
        if self.status == b"T":
            self.status = b"E"
        message, _, detail = str(error).partition("\n")
        fields = {
            "S": "ERROR",
            "V": "ERROR",
            "C": code_of(error),
            "M": message or type(error).__name__,
        }
        if detail:
            fields["H"] = "\n".join(line.strip() for line in detail.splitlines())
        body = b"".join(key.encode() + text.encode() + b"\0" for key, text in fields.items())
        self._send(ServerResponse.ERROR_RESPONSE, body + b"\0")

    def _send(self, kind: bytes, body: bytes) -> None:
        self.wfile.write(kind + struct.pack("!i", len(body) + 4) + body)
