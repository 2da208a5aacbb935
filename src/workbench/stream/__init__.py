"""Stream files, the Flink SQL job, promotion, parity.

Only this room imports pyflink, and only when a job is built.
"""

from __future__ import annotations

from workbench.stream.definition import Stream, load_stream, parse_stream, streams
from workbench.stream.gate import promote
from workbench.stream.job import Outcome, run, sql
from workbench.stream.live import Job, start
from workbench.stream.parity import Certificate, certificate, compare, parity
from workbench.stream.promotions import Promotion, find_package, promotions

__all__ = [
    "Certificate",
    "Job",
    "Outcome",
    "Promotion",
    "Stream",
    "certificate",
    "compare",
    "find_package",
    "load_stream",
    "parity",
    "parse_stream",
    "promote",
    "promotions",
    "run",
    "sql",
    "start",
    "streams",
]
