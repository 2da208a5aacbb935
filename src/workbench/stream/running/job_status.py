"""How a job on a session cluster is, as Flink's REST API tells it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Status:
    """How a job is.

    Attributes
    ----------
    state
        What Flink says: `RUNNING`, `RESTARTING`, `FAILED`, ...; `LOST`: the cluster does not know
        the job (its JobManager was started anew).
    since
        When it was submitted, ISO-8601 UTC.
    checkpoints
        How many were completed since then.
    checkpoint
        Path of the newest; empty: none.
    checkpoint_ms
        When it was completed, epoch ms; None: none was.
    failed_checkpoints
        How many failed since then.
    restarts
        How often Flink restarted it.
    failure
        First line of the last failure; empty: none.
    cause
        Class and message of its innermost cause; empty: it has none.
    behind
        Readings since its last start that sums and patterns had passed; None: not known yet.
    """

    stream: str
    job: str
    jobmanager: str
    state: str
    since: str
    checkpoints: int = 0
    checkpoint: str = ""
    checkpoint_ms: int | None = None
    failed_checkpoints: int = 0
    restarts: int = 0
    failure: str = ""
    cause: str = ""
    behind: int | None = None


__all__ = ["Status"]
