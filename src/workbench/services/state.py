"""What is remembered about the local services: ports, credentials, processes.

One JSON file, `$WORKBENCH_HOME/services.json`, readable by its owner only and replaced as a
whole. `workbench.endpoints` reads its `endpoints`; everything else in it is for this room.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench import files
from workbench.endpoints import home, private_home
from workbench.errors import ServicesError

BUCKET = "offload"
ROLE = "workbench"  # who logs in
_OPTIONS = {"deletion_lag_ms": 4 * 3600 * 1000, "functions": False}  # of Pulsar, at first
_PORTS = range(20_000, 30_000)  # below those that outgoing connections take, so none slips in
_NAMES = (
    "broker",
    "web",
    "bookie",
    "s3",
    "jobmanager",
    "flink_web",
    "kafka",
    "kafka_controller",
)

State = dict[str, Any]


def path() -> Path:
    """Return where the state is kept."""
    return home() / "services.json"


def load() -> State:
    """Return the state; at first, one with free ports and new credentials, not yet saved.

    Raises
    ------
    ServicesError
        If the file is not one that `save` wrote.
    """
    if not path().is_file():
        return _complete({"ports": {}, "processes": {}, "endpoints": {}})
    try:
        state: State = json.loads(path().read_text(encoding="utf-8"))
        return _complete(state)
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise ServicesError(
            f"the record of the local services is damaged: {err!r}",
            where=path(),
            hint="remove it after `workbench services down`; the data beside it stays",
        ) from err


def _complete(state: State) -> State:
    ports = state["ports"]
    state.setdefault("starts", {})
    state["options"] = _OPTIONS | state.get("options", {})
    for name in _NAMES:
        if name not in ports:
            ports[name] = _free_port(ports.values())
    servers = state["endpoints"]
    servers.setdefault("s3_key", "workbench-" + secrets.token_hex(4))
    servers.setdefault("s3_secret", secrets.token_hex(20))
    servers.setdefault("flink_password", secrets.token_hex(20))
    for name in ("broker_key", "bookie_secret", "kafka_password"):
        state.setdefault(name, secrets.token_hex(32))
    servers["broker_token"] = signed_token(state["broker_key"])
    servers["broker"] = f"pulsar://127.0.0.1:{ports['broker']}"
    servers["admin"] = f"http://127.0.0.1:{ports['web']}"
    servers["s3_endpoint"] = f"http://127.0.0.1:{ports['s3']}"
    servers["kafka"] = f"127.0.0.1:{ports['kafka']}"
    servers["flink"] = f"http://127.0.0.1:{ports['flink_web']}"
    servers["archive"] = f"s3://{BUCKET}"
    return state


def signed_token(key: str) -> str:
    """Return a JSON web token (HS256) of `ROLE` that does not expire; the key is in hex.

    Source: RFC 7515, 7519.
    """
    parts = [{"alg": "HS256"}, {"sub": ROLE}]
    text = ".".join(_base64(json.dumps(part).encode()) for part in parts)
    return f"{text}.{_base64(hmac.digest(bytes.fromhex(key), text.encode(), 'sha256'))}"


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def save(state: State) -> None:
    """Replace the file as a whole; only its owner may read it."""
    files.write_json(path(), state, mode=0o600)


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Let one process at a time start or stop services of this home; a crash releases it."""
    with files.locked(private_home() / "services.lock"):
        yield


def _free_port(taken: Any) -> int:
    begin = secrets.randbelow(len(_PORTS))  # another than those that start beside us
    ports: list[int] = [*_PORTS[begin:], *_PORTS[:begin]]
    for port in ports:
        if port not in taken and is_free(port):
            return port
    raise ServicesError(f"no free port between {_PORTS[0]} and {_PORTS[-1]}")


def is_free(port: int) -> bool:
    """Tell whether a server could listen on `port` of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
