"""How a job survives, wherever it runs: checkpoints that stay, restarts without end."""

from __future__ import annotations

from collections.abc import Mapping


def retention(checkpoints: str) -> Mapping[str, str]:
    """Return Flink's settings by which a job survives what can be survived.

    Parameters
    ----------
    checkpoints
        URI of the folder that they are kept in, when the job ends as well.
    """
    return {
        "execution.checkpointing.interval": "5 s",
        "execution.checkpointing.dir": checkpoints,
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.num-retained": "3",
        "execution.checkpointing.tolerable-failed-checkpoints": "1000",  # storage may be away
        "restart-strategy.type": "exponential-delay",  # without end: a broker may be away for long
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "10 s",
    }


__all__ = ["retention"]
