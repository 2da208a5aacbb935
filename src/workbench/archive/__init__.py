"""Read the ledgers that Apache Pulsar offloaded, without a broker.

archive = workbench.archive.open("s3://bucket")
archive.topics()
topic = archive.topic("persistent://public/default/pumps")
topic.messages(), topic.read(), topic.batches(), topic.manifest()
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
