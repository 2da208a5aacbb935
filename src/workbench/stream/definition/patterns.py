"""Alerts without a detector: limits, sums over the sensors of a machine, and named patterns.

    machine: station                              # field: to which machine a sensor belongs
    sums: {station_flow: {of: flow_l_min, every_s: 60}}
    limits:
      overpressure: discharge_pressure_bar > 9
      heating: {when: bearing_temperature_c_per_s > 0.1, rule: {k: 2, n: 3, m: 5}}
      low_supply: station_flow < 100
    patterns:
      silent: {template: silent_sensor, after_s: 300}
      dead: {template: silent_topic, after_s: 600}
      change: {template: lasting_alarm, after_s: 43200}
      surge: {template: sequence, steps: [discharge_pressure_bar < 5, vibration_mm_s > 4],
              within_s: 30, of: sensor}
      own: {template: sql, query: SELECT sensor, event_ms AS start_ms, event_ms AS stop_ms FROM ...}

A limit is a SQL condition on the channels of one reading, on `CHANNEL_per_s`, how fast a channel
changes from the reading before, or on sums: for each machine and span of event time, the sum over
its sensors of a channel's mean. It alerts as a detector does, with a rule of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.detectors import EpisodeRule
from workbench.errors import StreamError, did_you_mean

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COMPARISON = re.compile(
    r"(?P<of>.+?)\s*(?P<sign>>=|<=|>|<)\s*(?P<limit>-?\d+(?:\.\d+)?(?:[eE]-?\d+)?)\s*"
)
_LOGIC = re.compile(r"\b(and|or|not|between|case|in|is)\b|[<>=]", re.IGNORECASE)
RATE = "_per_s"
LASTING = "lasting_alarm"
_MOST_STEPS = 20
_MOST_SHOWN = 60  # characters of a value


@dataclass(frozen=True)
class Sum:
    """The sum over the sensors of a machine of a channel's mean, every so many seconds."""

    of: str
    every_s: float


@dataclass(frozen=True)
class Limit:
    """A condition that sets an alarm by itself.

    Attributes
    ----------
    when
        SQL condition.
    rule
        When the alarm is set and reset.
    """

    when: str
    rule: EpisodeRule = field(default_factory=EpisodeRule)

    @property
    def falls(self) -> bool:
        """Whether the alarm is about values below a limit."""
        return bool(self._comparison and "<" in self._comparison["sign"])

    @property
    def value(self) -> str:
        """SQL for what an alarm's peak is a peak of: larger is worse."""
        if not self._comparison:
            return f"CASE WHEN {self.when} THEN 1.0 ELSE 0.0 END"
        return f"-({self._comparison['of']})" if self.falls else f"({self._comparison['of']})"

    @property
    def limit(self) -> float:
        """The value that is compared with; 0.5 for a condition that is no comparison."""
        if not self._comparison:
            return 0.5
        return float(self._comparison["limit"]) * (-1 if self.falls else 1)

    @property
    def _comparison(self) -> re.Match[str] | None:
        found = _COMPARISON.fullmatch(self.when)
        return None if found and _LOGIC.search(found["of"]) else found

    @property
    def words(self) -> set[str]:
        """The names in the condition."""
        return set(NAME.findall(self.when))

    def rates(self, measured: Iterable[str]) -> list[str]:
        """Return the channels whose rate of change the condition asks for."""
        return [channel for channel in measured if f"{channel}{RATE}" in self.words]


@dataclass(frozen=True)
class Pattern:
    """A template with its parameters.

    Attributes
    ----------
    template
        Of `TEMPLATES`.
    after_s
        `silent_sensor`, `silent_topic`: how long nothing came. `lasting_alarm`: how long the
        detector's alarm has been on, in event time.
    steps, within_s, of
        `sequence`: SQL conditions that hold one after the other, within so many seconds of event
        time, among the readings of one `sensor` or `machine`.
    query
        `sql`: a query over the views of the job with columns sensor, start_ms and stop_ms.
    """

    template: str
    after_s: float = 0.0
    steps: tuple[str, ...] = ()
    within_s: float = 0.0
    of: str = "sensor"
    query: str = ""


TEMPLATES: dict[str, dict[str, tuple[tuple[type, ...], str]]] = {
    "silent_sensor": {"after_s": ((int, float), "a number of seconds")},
    "silent_topic": {"after_s": ((int, float), "a number of seconds")},
    LASTING: {"after_s": ((int, float), "a number of seconds")},
    "sequence": {
        "steps": ((list,), "a list of SQL conditions"),
        "within_s": ((int, float), "a number of seconds"),
        "of": ((str,), "sensor or machine"),
    },
    "sql": {"query": ((str,), "a SQL query")},
}
_OPTIONAL = {"of"}


def parse_sums(section: Mapping[str, Any], channels: Iterable[str]) -> dict[str, Sum]:
    """Return the checked sums of a stream file."""
    names, sums = list(channels), {}
    for name, mapping in section.items():
        where = f"sum {name}"
        _check_name(where, name)
        _check_keys(
            where,
            mapping,
            {"of": ((str,), "a channel"), "every_s": ((int, float), "a number of seconds")},
        )
        if mapping["of"] not in names:
            raise StreamError(
                f"{where} is of {mapping['of']!r}, no channel",
                hint=did_you_mean(mapping["of"], names),
            )
        _check_positive(where, mapping, "every_s")
        sums[name] = Sum(mapping["of"], float(mapping["every_s"]))
    return sums


def parse_limits(section: Mapping[str, Any], rule: Any) -> dict[str, Limit]:
    """Return the checked limits of a stream file; `rule` makes a rule of k, n and m."""
    limits = {}
    for name, limit in section.items():
        where = f"limit {name}"
        _check_name(where, name)
        parts = {"when": limit} if isinstance(limit, str) else limit
        kinds = {"when": ((str,), "a SQL condition"), "rule": ((dict,), "k, n and m")}
        _check_keys(where, parts, kinds, optional={"rule"})
        _check_sql(where, parts["when"])
        limits[name] = Limit(parts["when"], rule(parts.get("rule", {})))
    return limits


def parse_patterns(given: Mapping[str, Any], *, machine: str) -> dict[str, Pattern]:
    """Return the checked patterns of a stream file, whose field `machine` may be empty."""
    return {name: _pattern(name, mapping, machine) for name, mapping in given.items()}


def _pattern(name: str, section: Any, machine: str) -> Pattern:
    where = f"pattern {name}"
    _check_name(where, name)
    template = section.get("template") if isinstance(section, dict) else None
    if template not in TEMPLATES:
        raise StreamError(
            f"{where} has no template {template!r}", hint=did_you_mean(str(template), TEMPLATES)
        )
    values = {key: value for key, value in section.items() if key != "template"}
    _check_keys(where, values, TEMPLATES[template], optional=_OPTIONAL)
    for key in ("after_s", "within_s"):
        if key in values:
            _check_positive(where, values, key)
    steps = values.get("steps", [])
    if template == "sequence" and not 2 <= len(steps) <= _MOST_STEPS:
        raise StreamError(f"{where} has {len(steps)} steps, expected 2 to {_MOST_STEPS}")
    for text in (*steps, *filter(None, [values.get("query")])):
        _check_sql(where, text)
    if values.get("of", "sensor") not in {"sensor", "machine"}:
        raise StreamError(f"{where} is of {values['of']!r}, expected sensor or machine")
    if values.get("of") == "machine" and not machine:
        raise StreamError(f"{where} is of a machine", hint="name the field: machine: station")
    return Pattern(template, **{**values, "steps": tuple(steps)})


def _check_name(where: str, name: object) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise StreamError(f"{where}: {name!r} is no name: letters, digits and _")


def _check_keys(
    where: str,
    section: Any,
    kinds: Mapping[str, tuple[tuple[type, ...], str]],
    *,
    optional: Iterable[str] = (),
) -> None:
    if not isinstance(section, dict):
        raise StreamError(f"{where} is {section!r}, expected {', '.join(kinds)}")
    for key, value in section.items():
        if key not in kinds:
            raise StreamError(f"{where} has no key {key!r}", hint=did_you_mean(str(key), kinds))
        types, meaning = kinds[key]
        if isinstance(value, bool) or not isinstance(value, types):
            raise StreamError(f"{where}: {key} is {shortened(value)}, expected {meaning}")
    for key in kinds:
        if key not in section and key not in optional:
            raise StreamError(f"{where} has no {key!r}")


def _check_positive(where: str, given: Mapping[str, Any], key: str) -> None:
    if not 0.001 <= given[key] <= 30 * 86_400:
        raise StreamError(f"{where}: {key} is {shortened(given[key])}, expected 0.001 to 2592000")


def shortened(value: object) -> str:
    """Return a value as a message quotes it: a number may have thousands of digits."""
    text = str(value) if isinstance(value, float) else _repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _repr(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # more digits than Python writes
        return "a number without end"


def _check_sql(where: str, text: object) -> None:
    if not isinstance(text, str) or not text.strip() or ";" in text:
        raise StreamError(f"{where}: {text!r} is no SQL expression")
