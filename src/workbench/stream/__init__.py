"""Stream files, the Flink SQL job, promotion, parity.

Only this room imports pyflink, and only when a job is built.
"""

from __future__ import annotations

from workbench.stream.definition import Stream, load_stream, parse_stream, streams
from workbench.stream.gate import promote
from workbench.stream.job import run, sql
from workbench.stream.live import Job, start
from workbench.stream.outcome import Outcome
from workbench.stream.parity import Certificate, certificate, compare, parity
from workbench.stream.promotions import Promotion, find_package, promotions
from workbench.stream.refitting import refit
from workbench.stream.rollback import rollback
from workbench.stream.verdict import Verdict, verdict

__all__ = [
    "Certificate",
    "Job",
    "Outcome",
    "Promotion",
    "Stream",
    "Verdict",
    "certificate",
    "compare",
    "find_package",
    "load_stream",
    "parity",
    "parse_stream",
    "promote",
    "promotions",
    "refit",
    "rollback",
    "run",
    "sql",
    "start",
    "streams",
    "verdict",
]
