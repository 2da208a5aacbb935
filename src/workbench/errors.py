"""Every error type of the package.

An error says what was found, what was expected, where, and the nearest right answer. `cli`
alone turns one into text and an exit code; nobody else catches them to go on.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST = 200  # characters of a name that is compared: it may come from anywhere


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


class TimesError(WorkbenchError):
    """A text, or a column of them, is no time.

    Attributes
    ----------
    rows
        Positions of the texts at fault, ascending; none where the whole column is.
    options
        Ways to say how they are meant, as `time format %d.%m.%Y`, where there are any.
    """

    def __init__(
        self,
        message: str,
        *,
        where: object = None,
        hint: str | None = None,
        rows: Iterable[int] = (),
        options: Iterable[str] = (),
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.rows = list(rows)
        self.options = list(options)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_times, (
            self.message,
            self.where,
            self.hint,
            self.rows,
            self.options,
        )


class ArchiveError(WorkbenchError):
    """Bytes of an archive are not what Pulsar writes, or are not there."""


class StorageError(ArchiveError):
    """What an archive lies in does not answer: nothing is known of the bytes, right or wrong."""


class ArchiveWarning(UserWarning):
    """What is read is right as far as it goes, and something about it must be known."""


class StoreWarning(UserWarning):
    """Something in the store was not what it should be, and was put right."""


class AnswersWarning(UserWarning):
    """What was answered is right as far as it goes, and something about it must be known."""


class JournalWarning(UserWarning):
    """What became of an alert is not on disk: a notifier that ends now may say it again."""


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


class AlertsError(WorkbenchError):
    """An alert cannot be delivered, or an answer to one cannot be taken."""


class PromotionRefused(WorkbenchError):  # noqa: N818 - a refusal is a result, not a fault
    """The gate said no; the message lists every reason at once."""

    exit_code = 3


def _rebuild(
    kind: type[WorkbenchError], message: str, where: str | None, hint: str | None
) -> WorkbenchError:
    return kind(message, where=where, hint=hint)


def _rebuild_times(
    message: str, where: str | None, hint: str | None, rows: list[int], options: list[str]
) -> TimesError:
    return TimesError(message, where=where, hint=hint, rows=rows, options=options)


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
    choices = sorted(names)
    near = difflib.get_close_matches(name[:_LONGEST], choices, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(repr(match) for match in near)}?"
    if not choices:
        return None
    shown = ", ".join(choices[:12])
    return f"known: {shown}" + (f" and {len(choices) - 12} more" if len(choices) > 12 else "")
