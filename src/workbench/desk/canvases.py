"""Pictures of matplotlib that tell a notebook where the mouse is, by ipympl.

Whoever imports ipympl after matplotlib gets it as the backend of every figure. Here it draws what
is asked of it alone: the user's own figures stay with the backend that they have.
"""

from __future__ import annotations

import threading
import warnings
from typing import Any

import matplotlib
from matplotlib.figure import Figure

_use, matplotlib.use = matplotlib.use, lambda *_, **__: None
try:
    from ipympl.backend_nbagg import Canvas, FigureManager
finally:
    matplotlib.use = _use


class PictureCanvas(Canvas):  # type: ignore[misc]
    """A picture that is drawn by one thread at a time.

    JupyterLab lets what widgets say be heard by other threads than cells, and a picture that is
    sent while another thread draws it is half of one.
    """

    drawing = threading.RLock()

    def draw(self) -> None:
        """Draw it, when nobody else does."""
        with self.drawing:
            super().draw()

    def _handle_message(self, *message: Any) -> None:
        with self.drawing:
            super()._handle_message(*message)


def canvas_of(figure: Figure) -> PictureCanvas:
    """Return what shows a figure in a notebook and tells where the mouse is, without a toolbar."""
    canvas = PictureCanvas(figure)
    canvas.toolbar_visible = canvas.header_visible = canvas.footer_visible = False
    canvas.resizable = False
    with warnings.catch_warnings():  # its toolbar's, of traitlets
        warnings.simplefilter("ignore", DeprecationWarning)
        FigureManager(canvas, 0)
    return canvas
