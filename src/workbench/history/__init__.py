"""One call for a topic's interval: from the archive, the broker, or both without a seam."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
