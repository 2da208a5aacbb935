"""Ask Flink's REST API."""

from __future__ import annotations

from typing import Any

import requests

from workbench.errors import StreamError

_ANSWER_S = 10.0
HINT = "workbench services up flink, or name another one with --jobmanager HOST:PORT"


def ask(web: str, method: str, path: str, **options: Any) -> Any:
    """Return the answer of Flink's REST API.

    Raises
    ------
    StreamError
        If it does not answer, or refuses.
    """
    try:
        answer = requests.request(method, web + path, timeout=_ANSWER_S, **options)
        content = answer.json() if answer.content else {}
    except (requests.RequestException, ValueError) as err:
        raise StreamError(
            f"no JobManager answers at {web} ({type(err).__name__})", hint=HINT
        ) from err
    if not answer.ok:
        first = str((content.get("errors") or [answer.status_code])[0])
        raise StreamError(f"Flink refuses: {first_line(first)}", where=web + path)
    return content


def first_line(text: str) -> str:
    """Return the first line of a text that is not empty."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[0].strip() if lines else ""


__all__ = ["HINT", "ask", "first_line"]
