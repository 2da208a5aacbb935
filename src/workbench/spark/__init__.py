"""Where one machine ends: a topic of an archive as Spark's DataFrame, scored as everywhere.

Spark itself is the caller's: version 4.0, with this package and its extra `spark` on all executors.
"""

import importlib.util

import lazy_loader

if importlib.util.find_spec("pyspark") is None:
    raise ImportError("workbench.spark takes pyspark: pip install 'workbench[spark]'")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
