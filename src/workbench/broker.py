"""One door to a broker, here or elsewhere: its client protocol and its admin REST API."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, urlsplit

from workbench.endpoints import endpoints
from workbench.errors import ServicesError, did_you_mean

if TYPE_CHECKING:
    import pulsar
    import requests

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
    import pulsar

    addresses = endpoints()
    _check_listens(addresses.broker, "WORKBENCH_BROKER", default_port=6650)
    token = addresses.broker_token
    authentication = pulsar.AuthenticationToken(token) if token else None
    quiet = pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull)  # errors are raised, too
    client = pulsar.Client(addresses.broker, authentication=authentication, logger=quiet)
    try:
        yield client
    finally:
        client.close()


def check_listens() -> None:
    """Raise if none listens at the broker's address.

    Raises
    ------
    ServicesError
        If so, or no broker is known; within seconds.
    """
    _check_listens(endpoints().broker, "WORKBENCH_BROKER", default_port=6650)


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


def admin(
    method: str,
    path: str,
    *,
    url: str = "",
    token: str = "",
    timeout_s: float = _ANSWER_S,
    **options: Any,
) -> requests.Response:
    """Ask the broker's REST API; the answer may be a refusal.

    Parameters
    ----------
    path
        Under `/admin/v2`, unless it begins with `/admin/`.
    url, token
        Of a broker's API; without a URL those of `endpoints`, whose token no other URL is shown.
    options
        As `requests.request` takes them.

    Raises
    ------
    ServicesError
        If no broker is known, or it does not answer.
    """
    import requests

    address = url.rstrip("/") or endpoints().admin
    secret = token or ("" if url else endpoints().broker_token)
    _check_listens(address, "WORKBENCH_ADMIN", default_port=8080)
    try:
        return requests.request(
            method,
            address + (path if path.startswith("/admin/") else f"/admin/v2{path}"),
            headers={"Authorization": f"Bearer {secret}"} if secret else {},
            timeout=(_CONNECT_S, timeout_s),
            **options,
        )
    except requests.RequestException as err:
        raise ServicesError(
            f"no answer from the broker at {address}: {type(err).__name__}",
            hint=_HINT.format("WORKBENCH_ADMIN"),
        ) from err


def get(path: str, **options: Any) -> Any:
    """Return the JSON answer to a GET; options are those of `admin`.

    Raises
    ------
    ServicesError
        If the broker does not answer, or refuses.
    """
    return _json(admin("GET", path, **options))


def get_or_none(path: str, **options: Any) -> Any:
    """Return the JSON answer to a GET, None where the broker has no such thing.

    Raises
    ------
    ServicesError
        If the broker does not answer, or refuses for another reason.
    """
    answer = admin("GET", path, **options)
    return None if answer.status_code == 404 else _json(answer)


def _json(answer: requests.Response) -> Any:
    check(answer)
    try:
        return answer.json()
    except ValueError as err:
        raise ServicesError("the broker's answer is not JSON", where=answer.url) from err


def check(answer: requests.Response) -> None:
    """Raise a ServicesError if the broker refused, with the reason it gave."""
    if answer.ok:
        return
    with contextlib.suppress(ValueError, KeyError, TypeError):
        raise ServicesError(f"the broker refuses: {answer.json()['reason']}", where=answer.url)
    raise ServicesError(f"the broker refuses with status {answer.status_code}", where=answer.url)


def reader_since(client: pulsar.Client, topic: str, since_ms: int) -> pulsar.Reader | None:
    """Return a reader of what was published from a moment on; None: there is no such topic.

    The place is asked for by REST. (A reader that seeks is connected anew meanwhile: what it gives
    before is of the place it was in, and asked then whether there is more, it may fail.)

    Parameters
    ----------
    since_ms
        Epoch ms; 0: all that is there.

    Raises
    ------
    ServicesError, PulsarException
        If the broker does not answer, or refuses.
    """
    import pulsar

    place = get_or_none(f"{rest_path(topic)}/messageid/{max(since_ms, 0)}")
    if place is None:
        return None
    first = pulsar.MessageId(place["partitionIndex"], place["ledgerId"], place["entryId"], -1)
    return client.create_reader(topic, first, start_message_id_inclusive=True)


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
    scheme, separator, rest = topic.rpartition("://")
    parts = rest.split("/")
    if not separator and len(parts) == 1:
        parts = ["public", "default", *parts]
    if (separator and scheme != "persistent") or len(parts) < 3 or not all(parts):
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
    return f"/persistent/{_place(topic)}"


def schema_path(topic: str) -> str:
    """Return where the REST API keeps the schemas of a topic.

    Examples
    --------
    >>> schema_path("pumps")
    '/schemas/public/default/pumps'
    """
    return f"/schemas/{_place(topic)}"


def _place(topic: str) -> str:
    tenant, namespace, local = full_name(topic).split("://")[1].split("/", 2)
    return f"{tenant}/{namespace}/{quote_plus(local)}"


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
            *(name for name in plain if name.rpartition("-partition-")[0] not in partitioned),
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
    names = topics(namespace)
    base = name.rpartition("-partition-")[0]
    if name not in names and base not in names:
        raise ServicesError(f"there is no topic {name}", hint=did_you_mean(name, names))
    return parts(name)


def parts(topic: str) -> list[str]:
    """Return what `partitions` does, for a topic that need not be there: its name alone then.

    Raises
    ------
    ServicesError
        If the broker does not answer.
    """
    name = full_name(topic)
    count = (get_or_none(f"{rest_path(name)}/partitions") or {"partitions": 0})["partitions"]
    return [f"{name}-partition-{number}" for number in range(count)] or [name]
