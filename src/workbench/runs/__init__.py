"""Parameterised notebooks as batch jobs: params files, sweeps, the run store, reports.

In a notebook: `record` what was found, `folder()` for other files. Outside: `train` one, `sweep`
many, `runs` to list, `find` one, `write_report`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
