"""Where messages go: a webhook, Prometheus' Alertmanager, and what apprise knows.

A target takes a message and returns, or raises: then the message is tried again. Addresses that
hold secrets come from the environment and stand in no error.

    webhook       POST, JSON; webhook-id, webhook-timestamp, webhook-signature as the standard says
    alertmanager  POST /api/v2/alerts, each alert with labels of its own and the time it ended
    apprise       a title and a text, and a picture where the service takes one

Source: Standard Webhooks 1.0.0 (standard-webhooks/standard-webhooks, spec): what is signed is
`id.timestamp.body`, by HMAC-SHA256, in base64 behind `v1,`. The id is the same when a message is
sent again. prometheus/alertmanager, api/v2/openapi.yaml and api/v2/api.go: an alert without
`endsAt` is called resolved after five minutes, so an open one says when it is sent again at latest.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeAlias

from workbench import files
from workbench.alerts.messages import Message
from workbench.alerts.routing import Alert
from workbench.errors import AlertsError
from workbench.stream import VARIABLE, Route
from workbench.times import instant_ms, iso, now_ms

Target: TypeAlias = Callable[[Message], None]
"""Sends a message, or raises an AlertsError that says why not."""


class BodyRefusedError(AlertsError):
    """What is sent was not taken for what it holds, and nothing of it was delivered."""


class BusyError(AlertsError):
    """The target asks to be left alone for so many seconds."""

    def __init__(self, message: str, after_s: float) -> None:
        super().__init__(message)
        self.after_s = after_s


_BODY = (400, 413, 415, 422)  # statuses that speak of the body
AGAIN_S = 60.0  # between two times that Alertmanager hears of an alert that is still open
_OPEN_MS = 24 * 3_600_000  # how long Alertmanager believes that, if nobody speaks to it
_LATER = (429, 503)  # statuses that may come with `retry-after`
_CONNECT_S, _ANSWER_S = 3.0, 10.0
_SEVERITY = {"info": "info", "warning": "warning", "critical": "failure"}


def target(route: Route, environment: Mapping[str, str] | None = None) -> Target:
    """Return what sends a message where a route goes.

    Parameters
    ----------
    environment
        What its variables are read from; None: this process's.

    Raises
    ------
    AlertsError
        If a variable is not set, or apprise does not know such an address.
    """
    known = os.environ if environment is None else environment
    url, secret = (_filled(text, known) for text in (route.url, route.secret))
    if route.to == "webhook":
        key = _key(secret) if secret else b""
        return lambda message: _post_webhook(url, key, message)
    if route.to == "alertmanager":
        return lambda message: _post_alerts(url, message)
    return _apprise(url)


def _filled(text: str, environment: Mapping[str, str]) -> str:
    missing = [name for name in VARIABLE.findall(text) if not environment.get(name)]
    if missing:
        raise AlertsError(f"{missing[0]} is not set", hint="a route's address or secret names it")
    return VARIABLE.sub(lambda match: environment[match[1]], text)


def _key(secret: str) -> bytes:
    """Return the key that a secret stands for: base64 behind `whsec_`, else the text itself."""
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error as err:
        raise AlertsError("the secret of a route is not base64 behind whsec_") from err


def signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a webhook's message, as its header has it.

    Examples
    --------
    >>> signature(b"key", "id", "1767571200", b"{}")
    'v1,...='
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def _post_webhook(url: str, key: bytes, message: Message) -> None:
    body = json.dumps(message.content(), separators=(",", ":")).encode()
    timestamp = str(round(time.time()))
    headers = {"webhook-id": message.id, "webhook-timestamp": timestamp}
    if key:
        headers["webhook-signature"] = signature(key, message.id, timestamp, body)
    _post(url, body, headers)


def _post_alerts(url: str, message: Message) -> None:
    body = json.dumps([_prometheus(message, alert) for alert in message.alerts]).encode()
    _post(f"{url.rstrip('/')}/api/v2/alerts", body, {})


def _prometheus(message: Message, alert: Alert) -> dict[str, Any]:
    """Return an alert as Alertmanager has it: its labels are what tells it from others."""
    start_ms = instant_ms(alert["start"]) or 0
    stop_ms = instant_ms(alert.get("stop")) if alert["status"] == "closed" else None
    if alert["status"] == "open":
        stop_ms = now_ms() + _OPEN_MS
    labels = {"alertname": alert["kind"], "alert_id": alert["id"], "machine": message.machine}
    labels |= {"stream": message.stream, "sensor": alert["sensor"], "severity": alert["severity"]}
    annotations = {"summary": f"{alert['sensor']}: {alert['kind']}"}
    for name in ("peak_score", "threshold", "package", "answer_url", "notebook_url"):
        if alert.get(name) is not None:
            annotations[name] = str(alert[name])
    return {
        "labels": labels,
        "annotations": annotations,
        "startsAt": iso(start_ms),
        "endsAt": iso(max(start_ms, now_ms() if stop_ms is None else stop_ms)),
    }


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    import requests

    try:
        answer = requests.post(
            url,
            data=body,
            headers={"content-type": "application/json", **headers},
            timeout=(_CONNECT_S, _ANSWER_S),
            allow_redirects=False,  # what is signed for one address goes to no other
            stream=True,
        )
    except requests.RequestException as err:  # its text holds the address
        raise AlertsError(f"no answer from the target: {type(err).__name__}") from None
    with answer:  # its body is not read: nobody needs it, and it may have no end
        status, after = answer.status_code, answer.headers.get("retry-after", "")
    if 200 <= status < 300:
        return
    reason = f"the target refuses with status {status}"
    if status in _LATER and after:
        raise BusyError(reason, _seconds(after))
    if 300 <= status < 400:
        reason += ", and no redirect is followed"
    raise (BodyRefusedError if status in _BODY else AlertsError)(reason)


def _seconds(after: str) -> float:
    """Return the seconds that a `retry-after` names, as a number or an instant; else 0.

    Source: RFC 9110, 10.2.3.

    Examples
    --------
    >>> _seconds("120"), _seconds("Thu, 01 Jan 1970 00:00:00 GMT"), _seconds("soon")
    (120.0, 0.0, 0.0)
    """
    if after.strip().isdecimal():
        return float(after)
    try:
        return max(0.0, parsedate_to_datetime(after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _apprise(url: str) -> Target:
    import apprise

    service = apprise.Apprise()
    if not service.add(url):
        raise AlertsError(
            "apprise knows no such address", hint="github.com/caronc/apprise lists what it knows"
        )

    def send(message: Message) -> None:
        kind = apprise.NotifyType(_SEVERITY[message.severity])
        with _attached(message.picture) as picture:
            if not service.notify(
                body=message.text, title=message.title, notify_type=kind, attach=picture
            ):
                raise AlertsError("the target did not take the message")

    return send


@contextmanager
def _attached(picture: bytes) -> Iterator[str | None]:
    """Give the name of a file with a picture, while it is sent; None: there is no picture.

    Half of apprise's services open a file by its name, so what it calls a memory will not do.
    """
    if not picture:
        yield None
        return
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            path = files.write_bytes(Path(folder) / "alert.png", picture)
        except OSError as err:
            raise BodyRefusedError(f"it cannot be written: {err.strerror or err}") from err
        yield str(path)


__all__ = ["AGAIN_S", "BodyRefusedError", "BusyError", "Target", "signature", "target"]
