"""JDK, jars, and a real Pulsar and S3 endpoint on this machine; ingest and offload."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
