"""The picture that goes with a message: an alert from near, its readings asked of the broker.

A message waits for it for so long as its route says, and then goes without it and says so: of
what goes wrong with a picture nothing is late, or lost.
"""

from __future__ import annotations

import io
import queue
import threading
import time
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from workbench.alerts.messages import Message
from workbench.alerts.routing import Alert
from workbench.alerts.targets import BodyRefusedError, Target
from workbench.errors import AlertsError, PackageError, WorkbenchError
from workbench.stream import SEVERITIES, Stream, find_package, load_stream, readings_around

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

_MOST_CHANNELS = 6  # that a phone shows
_AROUND = 60  # readings, at least, to either side: as many as `figures.closeup` shows
_READING = 0.6  # of the time that a message waits; the rest is for drawing
_LEAST = 0.2  # of that time, for which a picture is still begun
_DRAWING = threading.Lock()  # matplotlib's settings are the process's


@dataclass(frozen=True)
class Closeup:
    """An alert from near; Jupyter shows it.

    Attributes
    ----------
    alert
        Its id.
    png
        The picture.
    """

    alert: str
    png: bytes

    def _repr_png_(self) -> bytes:
        return self.png


def closeup(
    stream: str | Path | Stream, alert: Alert, *, seconds: float = 30.0, most_bytes: int = 32 << 20
) -> Closeup:
    """Return an alert's channels around its start, those to which it is due most in red.

    The window that set it is blue: that of the package that said so. Where the package is not in
    the store here, and for what no detector said, it is the reading at which the alert began.

    Parameters
    ----------
    seconds, most_bytes
        As in `stream.readings_around`: what the broker gives within them is shown.

    Raises
    ------
    AlertsError
        If the alert is of no reading, as one of drift is, or no reading of the sensor is there.
    StreamError, ServicesError
        If the broker does not answer, or has the alert's message no more.
    """
    definition = load_stream(stream)
    place = alert.get("first_message_id")
    if not place:
        raise AlertsError(f"alert {alert['id']} is of no reading")
    window = _window(alert)
    frame = readings_around(
        definition,
        alert["sensor"],
        place,
        count=max(_AROUND, 6 * window),
        seconds=seconds,
        most_bytes=most_bytes,
    )
    if frame.empty:
        raise AlertsError(f"the broker gives no readings of {alert['sensor']}")
    return Closeup(alert["id"], _drawn(definition, alert, frame, window))


def _window(alert: Alert) -> int:
    if not alert.get("package"):
        return 1
    try:
        return _window_of(alert["package"])
    except PackageError:
        return 1


@cache
def _window_of(package: str) -> int:
    return find_package(package).detector.window


def _drawn(stream: Stream, alert: Alert, frame: pd.DataFrame, window: int) -> bytes:
    import pandas as pd
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from workbench import figures

    shares = [part["channel"] for part in alert.get("contributions") or ()]
    names = [*shares, *(name for name in stream.measured if name not in shares)][:_MOST_CHANNELS]
    row = pd.Series({"start": pd.Timestamp(alert["start"])})
    content = io.BytesIO()
    with _DRAWING, rc_context(fname=figures.STYLE):
        figure = Figure(figsize=(7, 0.6 + 1.4 * len(names)), layout="constrained")
        axes = figure.subplots(len(names), 1, sharex=True, squeeze=False)
        figures.closeup(axes, frame, names, alert=row, window=window, guilty=shares[:2])
        figure.savefig(content, format="png", dpi=120)
    return content.getvalue()


class Illustrator:
    """Gives messages their pictures, one after the other, all that come together within a time.

    Parameters
    ----------
    stream
        Whose alerts.
    seconds
        How long messages may wait. What pictures took of it comes back as time goes by: in a storm
        of alerts the first have pictures, and the last do not wait for those of all before.
    """

    def __init__(self, stream: Stream, seconds: float) -> None:
        self._stream, self._seconds = stream, seconds
        self._thread: threading.Thread | None = None
        self._left_s, self._ended_s = seconds, time.monotonic()

    def illustrated(self, message: Message) -> Message:
        """Return a message with the picture of its worst alert, or with the reason for none."""
        alert = max(message.alerts, key=lambda alert: SEVERITIES.index(alert["severity"]))
        outcome = self._within(alert)
        if isinstance(outcome, Closeup):
            return replace(message, picture=outcome.png, pictured=outcome.alert)
        return message.noting(f"no picture: {outcome}")

    def _within(self, alert: Alert) -> Closeup | str:
        """Return the picture, or why there is none; a thread that is late ends by itself."""
        if self._thread is not None and self._thread.is_alive():
            return "the one before it is still waited for"
        began_s = time.monotonic()
        self._left_s = min(self._seconds, self._left_s + began_s - self._ended_s)
        if self._left_s < _LEAST * self._seconds:
            return f"those of other messages took {self._seconds:g} s"
        outcomes: queue.SimpleQueue[Closeup | str] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=lambda: outcomes.put(self._outcome(alert)), name="picture", daemon=True
        )
        self._thread.start()
        try:
            return outcomes.get(timeout=self._left_s)
        except queue.Empty:
            return f"it was not there after {self._left_s:.2g} s"
        finally:
            self._ended_s = time.monotonic()
            self._left_s -= self._ended_s - began_s

    def _outcome(self, alert: Alert) -> Closeup | str:
        try:
            return closeup(self._stream, alert, seconds=_READING * self._left_s)
        except WorkbenchError as err:
            return err.message
        except Exception as err:  # a message is not lost for its picture
            return f"{type(err).__name__}: {err}"


def illustrating(stream: Stream, name: str, send: Target) -> Target:
    """Return what sends messages with pictures, where the route wants them.

    What a webhook refuses for its body is sent again without the picture, at once. Of apprise
    nobody knows what it delivered (some services post the text first, then the file), so that is a
    failed try, and the route has no pictures from then on.
    """
    seconds = stream.routes[name].picture_s
    if not seconds:
        return send
    illustrator, failed = Illustrator(stream, seconds), threading.Event()
    sending = yielding(send, stream.routes[name].to, failed)
    return lambda message: sending(message if failed.is_set() else illustrator.illustrated(message))


def yielding(send: Target, to: str, failed: threading.Event) -> Target:
    """Return what sends messages with pictures, and without where nothing was delivered with one.

    Parameters
    ----------
    to
        What kind of target it is.
    failed
        Is set once apprise failed with a picture; then there are none.
    """

    def sending(message: Message) -> None:
        if failed.is_set():
            message = _bare(message, "with one, a message failed on this route")
        try:
            send(message)
        except BodyRefusedError as err:
            if not message.picture:
                raise
            send(_bare(message, f"with it, {err.message}"))
        except AlertsError:
            if message.picture and to == "apprise":
                failed.set()
            raise

    return sending


def _bare(message: Message, reason: str) -> Message:
    return replace(message, picture=b"", pictured="").noting(f"no picture: {reason}")


__all__ = ["Closeup", "Illustrator", "closeup", "illustrating", "yielding"]
