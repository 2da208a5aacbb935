"""Stream files, the Flink SQL job, promotion, parity.

Only this room imports pyflink, and only when a job is built.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
