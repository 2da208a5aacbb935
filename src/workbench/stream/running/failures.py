"""What Flink throws, told as a line that says why."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from workbench.endpoints import home
from workbench.errors import StreamError

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
