"""Read the ledgers that Apache Pulsar offloaded, without a broker.

archive = workbench.archive.open("s3://bucket")
archive.topics()
topic = archive.topic("persistent://public/default/pumps")
topic.messages(), topic.read(), topic.batches(), topic.manifest()
"""

from __future__ import annotations

from workbench.archive.archive import Archive, open  # noqa: A004 - as the public shape names it
from workbench.archive.topic import Topic

__all__ = ["Archive", "Topic", "open"]
