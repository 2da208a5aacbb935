"""Detectors: the contract, windows, the catalogue, thresholds, and packages.

A detector is fitted on a span of history, frozen, and from then on a pure function from windows to
scores (docs/design.md, D3). This room does not know what is a good score: `evaluation` does.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
