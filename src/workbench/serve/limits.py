"""How much one server, and one query, may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a server does not go beyond; a query that would is ended with an error.

    Attributes
    ----------
    memory_mib
        Of DuckDB for all queries together; what does not fit spills to disk.
    rows
        Of one result: a longer one is an error, never a shorter table.
    seconds
        From the start of a query to its last row.
    connections
        Clients at a time.
    running
        Queries that work at a time; the others wait in turn, batch by batch.
    cache_mib
        Decoded columns kept on disk.
    """

    memory_mib: int = 1024
    rows: int = 10_000_000
    seconds: float = 300
    connections: int = 100
    running: int = 8
    cache_mib: float = 2048
