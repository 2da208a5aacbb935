"""One door to DuckDB: it sees what it is given, and neither files nor network nor its own settings.

SQL comes from stream files and from people, and DuckDB's can read every file and load code.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

# Both are pybind11's: what of the two is loaded later takes the errors first, and Pulsar's makes
# RuntimeErrors of JSON of DuckDB's. So it is loaded here, and DuckDB by this door alone.
with suppress(ImportError):
    import _pulsar  # noqa: F401
import duckdb

_USUAL = """
SET TimeZone = 'UTC';
SET enable_progress_bar = false;
"""  # it would print to stdout
_LOCKED = """
SET autoload_known_extensions = false;
SET autoinstall_known_extensions = false;
SET allow_community_extensions = false;
SET enable_external_access = false;
SET lock_configuration = true;
"""


def connect(**settings: str) -> duckdb.DuckDBPyConnection:
    """Return a new database in memory, with these settings of DuckDB's and no others ever.

    Examples
    --------
    >>> with connect(threads="1") as connection:
    ...     connection.execute("SELECT 1 + 1").fetchone()
    (2,)
    """
    connection = duckdb.connect(config=dict[str, Any](settings))
    connection.execute(_USUAL + _LOCKED)
    return connection


__all__ = ["connect", "duckdb"]
