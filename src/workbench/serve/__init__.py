"""Answer SQL over an archive to any tool that speaks PostgreSQL's protocol; it can only read."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
