"""Files that say what is to be judged: those of a batch run, of which a command reads a part.

A key that a command has no use for is told, and one that would change its figures is refused: what
is judged is what the file says, or nothing is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from workbench import bounded_yaml
from workbench.detectors import EpisodeRule
from workbench.errors import EvaluationError, WorkbenchError, did_you_mean

RULE = ("alarm_k", "alarm_n", "alarm_m")
CALLS = ("beside", "calls")
BUDGET = "alerts_per_sensor_day"
_OF_CALLS = ("memory", "quiet")
_SILENT = ("notebook", "detector")  # which notebook reads the file changes no figure


@dataclass(frozen=True)
class SpecFile:
    """What a file says.

    Attributes
    ----------
    detector
        A specification, for `detectors.fit`.
    rule
        When an alarm is set and reset: `alarm_k`, `alarm_n`, `alarm_m`.
    alerts_per_sensor_day
        The budget; None: the file names none.
    beside, calls
        Of NAB's calls: what other detectors change in this one, and the parameters of `nab_calls`.
    left_out
        Keys of the file that were not read.
    """

    detector: Mapping[str, Any]
    rule: EpisodeRule
    alerts_per_sensor_day: float | None
    beside: Mapping[str, Mapping[str, Any]]
    calls: Mapping[str, Any]
    left_out: tuple[str, ...]


def read_spec_file(path: str | Path, *, takes: Collection[str] = ()) -> SpecFile:
    """Return what a YAML file with `detector:` says.

    Parameters
    ----------
    takes
        The keys that are of use beside `detector`: of `RULE`, `BUDGET` and `CALLS`. The others are
        `left_out`, but for calls, which are refused.

    Raises
    ------
    EvaluationError
        If the file is no such, or a key of it is not what it should be.
    """
    path = Path(path)
    content = _content(path)
    for key in CALLS:
        if key in content and key not in takes:
            raise EvaluationError(
                f"{key} is of calls, which no package makes: here a detector is judged as it runs",
                where=path,
                hint=f"leave {key} out, or judge calls with `workbench nab` or 60_leaderboard",
            )
    read = {key: value for key, value in content.items() if key in takes}
    try:
        return SpecFile(
            detector=content["detector"],
            rule=_rule(read),
            alerts_per_sensor_day=_budget(read.get(BUDGET)),
            beside=_beside(read),
            calls=_calls(read),
            left_out=tuple(str(key) for key in content if key not in (*_SILENT, *takes)),
        )
    except WorkbenchError as err:
        raise EvaluationError(err.message, where=path, hint=err.hint) from err


def _content(path: Path) -> dict[str, Any]:
    try:
        content = bounded_yaml.load(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise EvaluationError(f"the file cannot be read: {err.strerror}", where=path) from err
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        raise EvaluationError(f"the file is no YAML: {err}", where=path) from err
    if not isinstance(content, dict) or not isinstance(content.get("detector"), dict):
        raise EvaluationError("the file has no mapping `detector`", where=path)
    return content


def _rule(read: Mapping[str, Any]) -> EpisodeRule:
    for key in RULE:
        if key in read and type(read[key]) is not int:
            raise EvaluationError(f"{key} is {read[key]!r}, expected a whole number of readings")
    return EpisodeRule(**{key[-1]: read[key] for key in RULE if key in read})


def _budget(value: Any) -> float | None:
    if value is None:
        return None
    if type(value) in (int, float) and 0 <= value < 1e9:  # NaN is not
        return float(value)
    raise EvaluationError(f"{BUDGET} is {value!r}, expected a number >= 0")


def _beside(read: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    beside = read.get("beside", {})
    if not isinstance(beside, dict) or not all(isinstance(c, dict) for c in beside.values()):
        raise EvaluationError(f"beside is {beside!r}, expected name: what it changes, by name")
    return beside


def _calls(read: Mapping[str, Any]) -> Mapping[str, Any]:
    calls = read.get("calls", {})
    if not isinstance(calls, dict):
        raise EvaluationError(f"calls are {calls!r}, expected a mapping with {_OF_CALLS}")
    for key in calls:
        if key not in _OF_CALLS:
            hint = did_you_mean(str(key), _OF_CALLS)
            raise EvaluationError(f"calls have no parameter {key!r}", hint=hint)
        if type(calls[key]) is not int:
            raise EvaluationError(f"{key} of calls is {calls[key]!r}, expected a number of rows")
    return calls
