"""One small page on which an alert is answered, by a signed link; it is all that is served.

Looking at a page changes nothing (programs look at links, too); sending its form does. It loads
nothing, runs nothing, and is 30 lines of HTML that fit a phone.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from workbench.alerts.feedback import answer, answers
from workbench.alerts.links import linked, secret_key
from workbench.errors import AlertsError, ServicesError, WorkbenchError
from workbench.stream import Stream, load_stream

if TYPE_CHECKING:
    from jinja2 import Template

_MOST_BYTES = 32_768  # of a form: 2,000 characters of any script, and a name
_WAIT_S = 10.0  # for a client that says nothing
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{{ title }}</title>
<style>
body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:0 auto;padding:1rem;color:#222;
background:#fff}
h1{font-size:1.3rem;overflow-wrap:anywhere}p{overflow-wrap:anywhere}
input,button{font:inherit;width:100%;box-sizing:border-box;padding:.7rem;margin:.25rem 0;
border:1px solid #888;border-radius:.4rem}
button{background:#dde6f0;border-color:#5b7ba3;min-height:3rem}
label{display:block;margin-top:.8rem}label+button{margin-top:1.2rem}
.said{border-left:.25rem solid #5b7ba3;padding-left:.7rem}
@media (prefers-color-scheme:dark){body,input{background:#1b1e23;color:#e6e6e6}
button{background:#2b3d55;color:#fff}}
</style></head><body><h1>{{ title }}</h1>
{% if text %}<p role="status">{{ text }}</p>{% else %}
<p>{{ alert.kind }} of stream {{ alert.stream }}<br>{{ alert.start | clock }}
{%- if alert.stop %}<br>to {{ alert.stop | clock }}{% endif %}</p>
{%- if said %}
<p class="said">{{ said.who }}, {{ said.at | clock }}: {{ answers[said.verdict] }}
{%- if said.why %}<br>{{ said.why }}{% endif %}<br>If you answer too, that counts.</p>
{%- endif %}
<form method="post">
<label>Why, if you like<input name="why" maxlength="2000" autocomplete="off"></label>
<label>Who you are<input name="who" maxlength="100" required autocomplete="name"></label>
{%- for verdict, words in answers.items() %}
<button name="verdict" value="{{ verdict }}">{{ words }}</button>
{%- endfor %}
</form>{% endif %}
</body></html>
"""
_ANSWERS = {
    "true": "It was a fault",
    "false": "A false alarm",
    "known": "Known: maintenance, or meant to be",
}
_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


@contextmanager
def serve(
    stream: str | Path | Stream,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    certificate: Path | None = None,
    private_key: Path | None = None,
) -> Iterator[ThreadingHTTPServer]:
    """Give a server of the answer page of a stream's alerts; `serve_forever` runs it.

    Parameters
    ----------
    port
        0: any that is free.
    certificate, private_key
        PEM files, for TLS; without it others than this machine are refused.

    Raises
    ------
    AlertsError
        If it would be open to others without TLS, or no secret is set.
    """
    definition, key = load_stream(stream), secret_key()
    if certificate is None and not _is_loopback(host):
        raise AlertsError(
            f"{host} is open to others, and nothing is encrypted",
            hint="give --certificate and --private-key, or let a proxy with TLS speak to 127.0.0.1",
        )
    server = _Server(host, port, _handler(definition, key))
    with server:
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate, private_key)
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        yield server


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), handler)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _handler(stream: Stream, key: bytes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _WAIT_S
        server_version, sys_version = "workbench", ""

        def do_GET(self) -> None:
            self._answer(lambda alert: _page(stream, alert))

        def do_POST(self) -> None:
            self._answer(lambda alert: _keep(stream, alert, self._form()))

        def _form(self) -> dict[str, str]:
            length = self.headers.get("content-length", "")
            if not length.isdecimal() or int(length) > _MOST_BYTES:
                self.close_connection = True  # with what nobody read
                raise AlertsError(f"the form has {length or 'no'} bytes, at most {_MOST_BYTES}")
            text = self.rfile.read(int(length)).decode(errors="replace")
            return {name: values[0].strip() for name, values in parse_qs(text).items()}

        def _answer(self, page: Callable[[dict[str, str]], str]) -> None:
            path, _, _ = self.path.partition("?")  # mail programs hang things on links
            start, _, token = path.rpartition("/")
            try:
                if start != "/answer":
                    raise AlertsError("there is nothing here")
                alert = linked(token, key)
                if alert["stream"] != stream.name:
                    raise AlertsError(f"this link is of stream {alert['stream']}")
                status, content = HTTPStatus.OK, page(alert)
            except WorkbenchError as err:
                status = HTTPStatus.BAD_REQUEST
                content = _template().render(title="Not taken", text=err.message)
            self._send(status, content.encode())

        def _send(self, status: HTTPStatus, content: bytes) -> None:
            self.send_response(status)
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing: what would be written holds the link."""

    return Handler


def _page(stream: Stream, alert: dict[str, str]) -> str:
    """Return the form, and above it what was answered here already: two may look at once."""
    given = (said for said in answers(stream) if said.alert == alert["id"])
    said = next((said for said in given if said.verdict in _ANSWERS), None)
    return _template().render(title=alert["sensor"], alert=alert, answers=_ANSWERS, said=said)


def _keep(stream: Stream, alert: dict[str, str], form: dict[str, str]) -> str:
    verdict = form.get("verdict", "")
    if verdict not in _ANSWERS:
        raise AlertsError("no answer was chosen")
    if not form.get("who"):
        raise AlertsError("it is not said who answers")
    words = _ANSWERS[verdict]
    text = f"Thank you, this is kept: {words}. If you answer again, that counts."
    try:
        answer(
            stream,
            verdict,
            alert=alert["id"],
            sensor=alert["sensor"],
            start=alert["start"],
            stop=alert["stop"],
            why=form.get("why", ""),
            who=form["who"][:100],
        )
    except ServicesError:  # on disk it is
        text = f"Thank you, this is kept here: {words}. The feedback topic did not take it."
    return _template().render(title=alert["sensor"], text=text)


@cache
def _template() -> Template:
    from jinja2 import Environment

    environment = Environment(autoescape=True)
    environment.filters["clock"] = lambda text: f"{text[:10]} {text[11:19]} UTC"
    return environment.from_string(_PAGE)


__all__ = ["serve"]
