"""One door to Flink's REST API."""

from __future__ import annotations

from typing import Any

from workbench.endpoints import endpoints
from workbench.errors import StreamError

USER = "workbench"  # of a REST API that wants a password
_ANSWER_S = 10.0
HINT = "workbench services up flink, or name another one with --jobmanager HOST:PORT"

_OTHER = "set WORKBENCH_FLINK_PASSWORD, or leave WORKBENCH_FLINK to the local services"


def ask(web: str, method: str, path: str, *, timeout_s: float = _ANSWER_S, **options: Any) -> Any:
    """Return the answer of Flink's REST API, from JSON; to the one we know, with its password.

    Raises
    ------
    StreamError
        If it does not answer, or refuses.
    """
    import requests

    known = endpoints()
    if known.flink_password and web == known.flink:
        options["auth"] = (USER, known.flink_password)
    try:
        answer = requests.request(method, web + path, timeout=timeout_s, **options)
        content = answer.json() if answer.content else {}
    except (requests.RequestException, ValueError) as err:
        raise StreamError(
            f"no JobManager answers at {web} ({type(err).__name__})", hint=HINT
        ) from err
    if answer.status_code == requests.codes.unauthorized:
        raise StreamError(f"Flink at {web} wants another password", hint=_OTHER)
    if not answer.ok:
        first = str((content.get("errors") or [answer.status_code])[0])
        raise StreamError(f"Flink refuses: {first_line(first)}", where=web + path)
    return content


def first_line(text: str) -> str:
    """Return the first line of a text that is not empty."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[0].strip() if lines else ""
