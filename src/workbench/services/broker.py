"""Reach a broker, here or elsewhere: its client protocol and its admin REST API."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_plus, urlsplit

import pulsar
import requests

from workbench.endpoints import endpoints
from workbench.errors import ServicesError, did_you_mean

_HINT = "workbench services up pulsar, or set {} to a broker that runs"
_CONNECT_S = 3.0
_ANSWER_S = 60.0  # closing and loading a topic may take a while


@contextlib.contextmanager
def connect() -> Iterator[pulsar.Client]:
    """Open a client to the broker of `endpoints`, and close it at the end.

    Raises
    ------
    ServicesError
        If no broker is known, or none listens at its address; within seconds.
    """
    known = endpoints()
    _check_listens(known.broker, "WORKBENCH_BROKER", default_port=6650)
    token = pulsar.AuthenticationToken(known.broker_token) if known.broker_token else None
    quiet = pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull)  # errors are raised, too
    client = pulsar.Client(known.broker, authentication=token, logger=quiet)
    try:
        yield client
    finally:
        client.close()


def _check_listens(url: str, variable: str, *, default_port: int) -> None:
    """Fail at once where the client would retry for half a minute."""
    if not url:
        raise ServicesError("no broker is known", hint=_HINT.format(variable))
    refusal: OSError | None = None
    for address in url.split("://")[-1].split(","):
        parts = urlsplit(f"//{address}")
        place = (parts.hostname or "", parts.port or default_port)
        try:
            socket.create_connection(place, timeout=_CONNECT_S).close()
        except OSError as err:
            refusal = err
        else:
            return
    raise ServicesError(
        f"no broker answers at {url}: {(refusal and refusal.strerror) or refusal}",
        hint=_HINT.format(variable),
    )


def admin(method: str, path: str, **options: Any) -> requests.Response:
    """Ask the broker's REST API (`/admin/v2` unless `path` says); the answer may be a refusal.

    Raises
    ------
    ServicesError
        If no broker is known, or it does not answer.
    """
    known = endpoints()
    _check_listens(known.admin, "WORKBENCH_ADMIN", default_port=8080)
    token = known.broker_token
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        return requests.request(
            method,
            known.admin + (path if path.startswith("/admin/") else f"/admin/v2{path}"),
            headers=headers,
            timeout=(_CONNECT_S, _ANSWER_S),
            **options,
        )
    except requests.RequestException as err:
        raise ServicesError(
            f"no answer from the broker at {known.admin}: {type(err).__name__}",
            hint=_HINT.format("WORKBENCH_ADMIN"),
        ) from err


def get(path: str) -> Any:
    """Return the JSON answer to a GET.

    Raises
    ------
    ServicesError
        If the broker does not answer, or refuses.
    """
    answer = admin("GET", path)
    check(answer)
    return answer.json()


def check(answer: requests.Response) -> None:
    """Raise a ServicesError if the broker refused, with the reason it gave."""
    if answer.ok:
        return
    with contextlib.suppress(ValueError, KeyError, TypeError):
        raise ServicesError(f"the broker refuses: {answer.json()['reason']}", where=answer.url)
    raise ServicesError(f"the broker refuses with status {answer.status_code}", where=answer.url)


def full_name(topic: str) -> str:
    """Return the full name of a topic, its defaults filled in as Pulsar does.

    Raises
    ------
    ServicesError
        If it cannot be the name of a persistent topic.

    Examples
    --------
    >>> full_name("pumps")
    'persistent://public/default/pumps'
    >>> full_name("plant/north/pumps")
    'persistent://plant/north/pumps'
    """
    scheme, found, rest = topic.rpartition("://")
    parts = rest.split("/")
    if not found and len(parts) == 1:
        parts = ["public", "default", *parts]
    if (found and scheme != "persistent") or len(parts) < 3 or not all(parts):
        raise ServicesError(
            f"{topic!r} is not the name of a persistent topic",
            hint="persistent://TENANT/NAMESPACE/TOPIC, or TOPIC for one in public/default",
        )
    return f"persistent://{parts[0]}/{parts[1]}/{'/'.join(parts[2:])}"


def rest_path(topic: str) -> str:
    """Return where the REST API keeps a topic.

    Examples
    --------
    >>> rest_path("persistent://public/default/line 1/pump")
    '/persistent/public/default/line+1%2Fpump'
    """
    tenant, namespace, local = full_name(topic).split("://")[1].split("/", 2)
    return f"/persistent/{tenant}/{namespace}/{quote_plus(local)}"


def topics(namespace: str) -> list[str]:
    """Return the full names of a namespace's topics, a partitioned one by its own name.

    Raises
    ------
    ServicesError
        If the broker does not answer, or has no such namespace.
    """
    partitioned: list[str] = get(f"/persistent/{namespace}/partitioned")
    plain: list[str] = get(f"/persistent/{namespace}")
    return sorted(
        {
            *partitioned,
            *(one for one in plain if one.rpartition("-partition-")[0] not in partitioned),
        }
    )


def partitions(topic: str) -> list[str]:
    """Return the topics that hold the messages: the partitions, or the topic alone.

    Raises
    ------
    ServicesError
        If the broker does not answer, or there is no such topic; then with the nearest names.
    """
    name = full_name(topic)
    namespace = "/".join(name.split("://")[1].split("/")[:2])
    known = topics(namespace)
    base = name.rpartition("-partition-")[0]
    if name not in known and base not in known:
        raise ServicesError(f"there is no topic {name}", hint=did_you_mean(name, known))
    count: int = get(f"{rest_path(name)}/partitions")["partitions"]
    return [f"{name}-partition-{one}" for one in range(count)] or [name]
