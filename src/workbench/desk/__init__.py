"""Where a person works: a threshold to drag, a notebook to start from, JupyterLab."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
