"""Every error type of the package.

An error says what was found, what was expected, where, and the nearest right answer. `cli`
alone turns one into text and an exit code; nobody else catches them to go on.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WorkbenchError(Exception):
    """The root of all errors raised on purpose.

    Parameters
    ----------
    message
        What was found and what was expected, with numbers.
    where
        Key and byte, topic and message id, file and line, or file and parameter.
    hint
        What to do about it, or the nearest right answer.

    Examples
    --------
    >>> print(WorkbenchError("3 is not > 5", where="params/a.yaml", hint="raise it"))
    3 is not > 5
      in params/a.yaml
      raise it
    """

    exit_code = 1

    def __init__(self, message: str, *, where: object = None, hint: str | None = None) -> None:
        super().__init__(message, where, hint)  # all three, so that it pickles across processes
        self.message = message
        self.where = None if where is None else str(where)
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.where, self.hint)

    def __str__(self) -> str:
        lines = [self.message]
        if self.where is not None:
            lines.append(f"  in {self.where}")
        if self.hint is not None:
            lines.append(f"  {self.hint}")
        return "\n".join(lines)


class ArchiveError(WorkbenchError):
    """Bytes of an archive are not what Pulsar writes, or are not there."""


class ReplayError(WorkbenchError):
    """A topic and interval cannot be read from the source asked for."""


class DetectorError(WorkbenchError):
    """A detector cannot be fitted on, or cannot score, what it was given."""


class PackageError(WorkbenchError):
    """A detector package is damaged, hostile, or of another version."""


class EvaluationError(WorkbenchError):
    """Scores and labels cannot be compared."""


class FigureError(WorkbenchError):
    """A figure cannot be drawn of what it was given."""


class ParamsError(WorkbenchError):
    """A params file does not fit its notebook."""


class RunError(WorkbenchError):
    """A run failed, or is not in the store."""


class ServicesError(WorkbenchError):
    """A local service cannot be started, reached or stopped."""


class DeskError(WorkbenchError):
    """A notebook cannot be started, or JupyterLab would be open to others."""


class StreamError(WorkbenchError):
    """A stream file is wrong, or its job cannot run."""


class PromotionRefused(WorkbenchError):  # noqa: N818 - a refusal is a result, not a fault
    """The gate said no; the message lists every reason at once."""

    exit_code = 3


def _rebuild(
    kind: type[WorkbenchError], message: str, where: str | None, hint: str | None
) -> WorkbenchError:
    return kind(message, where=where, hint=hint)


def did_you_mean(name: str, names: Iterable[str]) -> str | None:
    """Return a hint with the nearest of `names`, or with all of them when none is near.

    Examples
    --------
    >>> did_you_mean("windw", ["topic", "window"])
    "did you mean 'window'?"
    >>> did_you_mean("x", ["topic", "window"])
    'known: topic, window'
    >>> did_you_mean("x", []) is None
    True
    """
    known = sorted(names)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(repr(one) for one in near)}?"
    if not known:
        return None
    shown = ", ".join(known[:12])
    return f"known: {shown}" + (f" and {len(known) - 12} more" if len(known) > 12 else "")
