"""Alerts on their way to people.

The notifier follows a stream's alerts topic and delivers what comes by the routes of its stream
file. Nothing here scores anything: an alert is what the job, or a function, sent.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
