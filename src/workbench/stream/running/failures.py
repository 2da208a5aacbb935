"""What Flink throws, told as a line that says why."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from workbench.endpoints import home
from workbench.errors import StreamError

_INNER = re.compile(r"^Caused by: ", re.MULTILINE)  # one that was suppressed stands behind a tab
_FRAME = re.compile(r"^\t(?=at |\.\.\. )", re.MULTILINE)
_PYTHON = "Traceback (most recent call last)"
_CAUSE = re.compile(r"^(?:Caused by: |: )?[\w.$]+(?:Exception|Error): (.+)$", re.MULTILINE)


def reason(err: BaseException) -> str:
    """Return the first line of the innermost cause in a Java error.

    Examples
    --------
    >>> reason(ValueError("a.b.TableException: no\\n\\tat x\\nCaused by: a.SqlException: bad word"))
    'bad word'
    """
    causes = _CAUSE.findall(str(err))
    return str(causes[-1] if causes else err).strip()


def innermost(trace: str) -> str:
    """Return what a Java stack trace says last: class and message of its innermost cause.

    Where that is a Python worker's error, the last line of its traceback; where it has no message,
    where it was thrown. Empty: there is no cause behind the first line.

    Examples
    --------
    >>> trace = "a.B: one\\n\\tat x\\nCaused by: a.C: two\\n\\tat y\\nCaused by: a.D"
    >>> innermost(f"{trace}: three\\n\\tat z")
    'a.D: three'
    >>> innermost(f"{trace}\\n\\tat z(Z.java:7)")
    'a.D at z(Z.java:7)'
    """
    _, *causes = _INNER.split(trace)
    if not causes:
        return ""
    head, *frames = _FRAME.split(causes[-1])
    first, *more = head.strip().splitlines() or [""]
    if more and _PYTHON in head:
        return more[-1].strip()
    thrown = frames[0].splitlines()[0] if frames else ""
    return first.strip() if ": " in first or thrown[:3] != "at " else f"{first.strip()} {thrown}"


@contextlib.contextmanager
def failure() -> Iterator[None]:
    """Turn what Flink throws into a StreamError with its innermost reason."""
    from py4j.protocol import Py4JJavaError
    from pyflink.util.exceptions import TableException

    try:
        yield
    except (Py4JJavaError, TableException) as err:
        logs = home() / "logs" / "flink"
        raise StreamError(f"the job failed: {reason(err)}", where=logs) from err
