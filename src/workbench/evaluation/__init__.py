"""The honest judge: labels, figures of merit, causal replays and the leaderboard.

It judges scores and alerts of detectors that `workbench.detectors` fits; it knows the labels, they
never do.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
