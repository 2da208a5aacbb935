"""The Pulsar connector for Flink, with four of its classes replaced.

The released connector loses readings when it is restored within a batch (FLINK-36180), counts
readings twice when a broker restarts under it, and makes two consumers of one partition when a
checkpoint completes early (FLINK-38600). What stands in `java/connector` mends that, and says how.
A connector that is mended upstream needs this module no more.
"""

from __future__ import annotations

from pathlib import Path

from workbench.services.artifacts import fetch
from workbench.services.compilation import flink_jars, jar

POSITIONING = "workbench-position"  # consumer of `CursorPosition`, there for a moment
_SOURCES = Path(__file__).parent / "java" / "connector"


def connector_jars() -> list[Path]:
    """Return the jars that Flink needs to read and write Pulsar, for `pipeline.jars`.

    Raises
    ------
    ServicesError
        If they are not cached and cannot be downloaded, or are not what was pinned.
    """
    released, *others = fetch("connector")
    class_path = [released, *others, *flink_jars("flink-dist-*.jar")]
    return [jar(_SOURCES, class_path, into=released), *others]


__all__ = ["POSITIONING", "connector_jars"]
