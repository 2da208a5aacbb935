"""What a stream says: the columns of each view that is written, its topic, and a message's key."""

from __future__ import annotations

from collections.abc import Mapping

from workbench.stream.definition.stream_file import Stream
from workbench.stream.flink_sql import events, tables
from workbench.stream.flink_sql.views import SHADOW
from workbench.stream.flink_sql.views import columns as alert_columns

_KEYS = {"alerts": "id", "shadow": "id", "refused": "message_id", "heartbeat": "at"}


def written(stream: Stream, name: str) -> Mapping[str, str]:
    """Return names and SQL types of what is written of a view."""
    if name in ("alerts", "shadow"):
        return alert_columns(stream)
    columns = {"late": tables.LATE, "refused": events.REFUSED, "heartbeat": events.HEARTBEAT}
    return columns.get(name, tables.SCORES)


def topics(stream: Stream) -> dict[str, str]:
    """Return the topic that each view is written to."""
    targets = {
        "alerts": stream.alerts,
        "scores": stream.scores,
        **dict.fromkeys(beside(stream), stream.scores),
        "shadow": stream.shadow,
        f"scores{SHADOW}": stream.shadow and f"{stream.shadow}-scores",
        "refused": stream.refused,
        "heartbeat": stream.heartbeat,
    }
    return {name: topic for name, topic in targets.items() if topic}


def beside(stream: Stream) -> list[str]:
    """Return the views of the scores of packages beside the stream's detector."""
    return [f"scores_{number}" for number in range(2, 2 + len(stream.also))]


def key(name: str) -> str:
    """Return the column of a view that is its messages' key."""
    return _KEYS.get(name, "sensor")


__all__ = ["beside", "key", "topics", "written"]
