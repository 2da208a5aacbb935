"""Signed links by which an alert is answered: what they say is in them, and cannot be changed.

    PAYLOAD.SIGNATURE    base64 without padding: JSON, and HMAC-SHA256 of it

Whoever has a link can answer that alert until the link is too old, and do nothing else. A link to
a notebook is an address alone: JupyterLab asks who comes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from workbench.alerts.routing import Alert
from workbench.errors import AlertsError
from workbench.times import now_ms

SECRET = "WORKBENCH_ALERTS_SECRET"  # noqa: S105 - the name of the variable that holds it
ADDRESS = "WORKBENCH_ALERTS_URL"
LAB = "WORKBENCH_LAB_URL"
NOTEBOOKS = "notebooks/alerts"  # in the project's folder, which is the root of `workbench lab`
LASTS_S = 14 * 86_400.0
_LEAST = 16  # characters of a secret
FILE_NAME = re.compile(r"[0-9A-Za-z_-]{1,64}")
_FIELDS = ("id", "stream", "sensor", "kind", "start", "stop")


def secret_key(environment: Mapping[str, str] | None = None) -> bytes:
    """Return what links are signed with, from the environment.

    Raises
    ------
    AlertsError
        If it is not set, or too short to be one.
    """
    known = os.environ if environment is None else environment
    secret = known.get(SECRET, "")
    if len(secret) < _LEAST:
        raise AlertsError(
            f"{SECRET} has {len(secret)} characters, at least {_LEAST} are needed",
            hint="openssl rand -hex 32",
        )
    return secret.encode()


def link(
    alert: Alert, key: bytes, *, base: str = "", lasts_s: float = LASTS_S, at_ms: int | None = None
) -> str:
    """Return where an alert can be answered.

    Parameters
    ----------
    base
        Address of the server, as `https://answers.plant.example`.
    lasts_s
        For how long, seconds.
    at_ms
        From when; None: now.
    """
    expires_ms = (now_ms() if at_ms is None else at_ms) + round(lasts_s * 1000)
    values = {name: alert.get(name) or "" for name in _FIELDS} | {"expires_ms": expires_ms}
    payload = _text(json.dumps(values, separators=(",", ":")).encode())
    return f"{base.rstrip('/')}/answer/{payload}.{_text(_sign(key, payload))}"


def linked(token: str, key: bytes, *, at_ms: int | None = None) -> dict[str, str]:
    """Return the alert that the last part of a link is about.

    Raises
    ------
    AlertsError
        If it was not signed with this key, or is too old.
    """
    payload, _, signed = token.partition(".")
    if not hmac.compare_digest(signed.encode(), _text(_sign(key, payload)).encode()):
        raise AlertsError("this link was not made here, or is not whole")
    try:
        values = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (binascii.Error, ValueError) as err:
        raise AlertsError("this link was not made here, or is not whole") from err
    if values.pop("expires_ms") <= (now_ms() if at_ms is None else at_ms):
        raise AlertsError("this link is too old", hint="answer with `workbench alerts answer`")
    return {name: str(value) for name, value in values.items()}


def _sign(key: bytes, payload: str) -> bytes:
    return hmac.new(key, b"answer:" + payload.encode(), hashlib.sha256).digest()


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def answer_urls(alerts: list[Alert]) -> dict[str, str]:
    """Return where each alert can be answered, if the environment says where the server is."""
    base = os.environ.get(ADDRESS, "")
    if not base:
        return {}
    key = secret_key()
    return {alert["id"]: link(alert, key, base=base) for alert in alerts}


def notebook_urls(alerts: list[Alert]) -> dict[str, str]:
    """Return where a notebook opens on each alert, if the environment says where JupyterLab is.

    An id that could not be the name of a file has none.

    Raises
    ------
    AlertsError
        If the environment holds no address, or more than one: a token would go to all who read.
    """
    base = _lab()
    ids = [alert["id"] for alert in alerts if base and FILE_NAME.fullmatch(alert["id"])]
    return {each: f"{base}/lab/tree/{NOTEBOOKS}/{each}.ipynb" for each in ids}


def _lab() -> str:
    """Return the address of JupyterLab; empty: there is none."""
    base = os.environ.get(LAB, "").strip().rstrip("/")
    try:
        parts = urlsplit(base)
        is_server = parts.scheme in ("http", "https") and bool(parts.hostname)
        alone = is_server and not (set("?#@") & set(base))
    except ValueError:
        alone = False
    if base and not alone:  # not shown: it may hold a token, which runs code
        raise AlertsError(
            f"{LAB} is not the address of a JupyterLab alone",
            hint="http(s)://HOST:PORT, without token, user, ? and #: it stands in every message",
        )
    return base


__all__ = [
    "ADDRESS",
    "FILE_NAME",
    "LAB",
    "NOTEBOOKS",
    "SECRET",
    "answer_urls",
    "link",
    "linked",
    "notebook_urls",
    "secret_key",
]
