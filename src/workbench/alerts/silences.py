"""When nobody is told of an alert: it was answered, or a sensor was said to be worked on.

An alert that was answered `false` or `known` is told no more. One that begins within a span that an
answer calls `known` waits until that is over: if it closes before, nobody is told, and if it is
still open then, everybody is. So nothing that lasts is silent for good by a window.
"""

from __future__ import annotations

import math
import os
import warnings
from collections import defaultdict

from workbench.alerts.routing import Alert
from workbench.errors import AnswersWarning, EvaluationError
from workbench.evaluation import answered_spans, answers_path, read_answers
from workbench.times import epoch_ms, instant_ms

_SILENCING = ("false", "known")


class Silences:
    """What the answers that are kept here silence of a stream; read anew when there are more.

    Parameters
    ----------
    stream
        Its name.
    """

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._seen: tuple[int, int] | None = None  # the file's size and time
        self._answered: frozenset[str] = frozenset()
        self._spans: dict[str, list[tuple[int, int]]] = {}  # [start, stop) by start, of a sensor

    def ends_ms(self, alert: Alert, at_ms: float) -> float:
        """Return until when nobody is told of an alert, epoch ms; inf: for good; 0: it is told.

        Parameters
        ----------
        at_ms
            Now.
        """
        self._catch_up()
        if alert["id"] in self._answered:
            return math.inf
        end_ms = start_ms = instant_ms(alert["start"]) or 0
        for first_ms, last_ms in self._spans.get(alert["sensor"], ()):
            if first_ms <= end_ms < last_ms:
                end_ms = last_ms
        stop_ms = instant_ms(alert.get("stop")) if alert["status"] == "closed" else None
        if end_ms > start_ms and stop_ms is not None and stop_ms <= end_ms:
            return math.inf
        return end_ms if end_ms > max(start_ms, at_ms) else 0

    def _catch_up(self) -> None:
        try:
            status = os.stat(answers_path(self._stream))  # noqa: PTH116 - often, and it is quicker
        except FileNotFoundError:
            return
        seen = (status.st_size, status.st_mtime_ns)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            said = read_answers(self._stream)
        except EvaluationError as err:  # people are rather told too much
            message = f"{err.message} in {err.where}: silences are those that were known before"
            warnings.warn(AnswersWarning(message), stacklevel=2)
            return
        self._answered = frozenset(each.alert for each in said if each.verdict in _SILENCING)
        spans = defaultdict(list)
        known = answered_spans(said, ("known",))
        starts, stops = epoch_ms(known["start"]), epoch_ms(known["stop"])
        for sensor, start, stop in zip(known["sensor"], starts, stops, strict=True):
            spans[sensor].append((int(start), int(stop)))
        self._spans = dict(spans)


__all__ = ["Silences"]
