"""One door for time: text and columns into instants, and instants back into text.

An instant is a number of milliseconds since 1970, UTC; leap seconds are not counted. A time that
says no zone is UTC. An interval is half open, [start, stop).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
