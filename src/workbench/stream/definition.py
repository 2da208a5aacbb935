"""Stream files: what a stream reads, scores and writes, in one small YAML file.

    topic: persistent://public/default/pumps      # where the readings come from
    sensor: pump                                  # field that says whose reading it is
    channels: [flow_l_min, bearing_temperature_c] # fields with numbers
    derived: {load: motor_current_a / flow_l_min} # channels made of others, SQL (optional)
    event_time: time_ms                           # field, epoch ms; else the message's (optional)
    lateness_s: 30                                # later readings are counted, not scored
    window: 60                                    # the longest window that a detector may have
    detector: champion                            # or challenger, or a package id
    threshold: 3.5                                # in place of the package's (optional)
    rule: {k: 3, n: 5, m: 10}                     # in place of the package's (optional)
    alerts: persistent://public/default/alerts    # where alerts go
    scores: persistent://public/default/scores    # where scores go (optional)
    also: [3fa1c07b]                              # packages that alert beside it (optional)
    shadow: persistent://public/default/shadow    # what the challenger would alert (optional)
    refused: persistent://public/default/refused  # messages that are no readings (optional)
    heartbeat: persistent://public/default/beats  # counters, every 10 s (optional)
    gate: {labels: data/labels.csv, days: 3.5}    # what promotion asks, see demands.py (optional)

`limits`, `sums`, `machine` and `patterns` alert without a detector, which may be `none`: see
`patterns.py`. Everything is checked when the file is read, before anything starts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from workbench.cards import Card, Shown
from workbench.detectors import EpisodeRule
from workbench.endpoints import project
from workbench.errors import DetectorError, StreamError, did_you_mean
from workbench.stream.demands import Gate, parse_gate
from workbench.stream.patterns import (
    NAME,
    Limit,
    Pattern,
    Sum,
    parse_limits,
    parse_patterns,
    parse_sums,
)

NO_DETECTOR = "none"
_MOST_READINGS = 10_000  # per window: what one sensor's state may hold
_COLUMNS = """
    sensor message_id event_ms ts past since refused machine arrived scored score threshold
    package above in_n in_m of_m
    alarm before episode reached summit start_ms peak_ms stop_ms peak_score readings first_id
    last_id first_threshold first_package"""
RESERVED = frozenset(re.findall(r"\w+", _COLUMNS))  # names that the job's own columns have


@dataclass(frozen=True)
class Stream(Shown):
    """A checked stream file.

    Attributes
    ----------
    name
        The file's, without `.yaml`.
    topic, alerts, scores
        Full topic names; `scores` is empty where scores go nowhere.
    sensor, channels
        Fields of a reading.
    derived
        Channels made of others: name to SQL expression.
    event_time
        Field with epoch milliseconds; empty: the message's event time, else its publish time.
    lateness_s
        How far a reading may lag behind the newest of its partition, in seconds.
    window
        The longest window that a detector on this stream may have.
    detector
        `champion`, `challenger`, a package id, or `none`.
    also
        Ids of packages that score and alert beside it.
    shadow, refused, heartbeat
        Topics for what the challenger would alert, for messages that are no readings, and for
        counters; empty: none of it.
    machine
        Field that says to which machine a sensor belongs; empty: all to one.
    sums, limits, patterns
        What alerts without a detector, by name.
    threshold, rule
        In place of those in the package; None: the package's.
    gate
        What a detector must show before it may score.
    """

    name: str
    topic: str
    sensor: str
    channels: tuple[str, ...]
    alerts: str
    window: int
    derived: Mapping[str, str] = field(default_factory=dict)
    event_time: str = ""
    lateness_s: float = 1.0
    detector: str = "champion"
    threshold: float | None = None
    rule: EpisodeRule | None = None
    scores: str = ""
    gate: Gate = field(default_factory=Gate)
    also: tuple[str, ...] = ()
    shadow: str = ""
    refused: str = ""
    heartbeat: str = ""
    machine: str = ""
    sums: Mapping[str, Sum] = field(default_factory=dict)
    limits: Mapping[str, Limit] = field(default_factory=dict)
    patterns: Mapping[str, Pattern] = field(default_factory=dict)

    @property
    def measured(self) -> tuple[str, ...]:
        """Every channel that a detector may use, the derived ones last."""
        return (*self.channels, *self.derived)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of a reading that the stream needs, besides its time."""
        return (self.sensor, *filter(None, [self.machine]), *self.channels)

    @property
    def depth(self) -> int:
        """How many readings of a sensor the job keeps: 2 tell how it changes."""
        return max(self.window, 2)

    @property
    def detects(self) -> bool:
        """Whether it has a detector."""
        return self.detector != NO_DETECTOR

    def card(self) -> Card:
        """Return what a notebook shows of it."""
        facts = {
            "reads": self.topic,
            "alerts to": self.alerts,
            "scores to": self.scores,
            "sensor": self.sensor,
            "channels": self.channels,
            "derived": self.derived,
            "event time": self.event_time or "of the message",
            "late after": f"{self.lateness_s:g} s",
            "longest window": f"{self.window} readings",
            "detector": self.detector,
            "threshold": self.threshold,
            "beside it": self.also,
            "challenger's alerts to": self.shadow,
            "limits": {name: one.when for name, one in self.limits.items()},
            "patterns": {name: one.template for name, one in self.patterns.items()},
        }
        return Card("stream", self.name, facts)

    @property
    def lateness_ms(self) -> int:
        """The lateness in milliseconds."""
        return round(self.lateness_s * 1000)


_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "topic": ((str,), "a text"),
    "sensor": ((str,), "a text"),
    "alerts": ((str,), "a text"),
    "scores": ((str,), "a text"),
    "event_time": ((str,), "a text"),
    "detector": ((str,), "a text"),
    "channels": ((list,), "a list of fields"),
    "derived": ((dict,), "names with SQL expressions"),
    "window": ((int,), "a whole number"),
    "lateness_s": ((int, float), "a number of seconds"),
    "threshold": ((int, float), "a number"),
    "rule": ((dict,), "k, n and m"),
    "gate": ((dict,), "what promotion asks"),
    "also": ((list,), "a list of package ids"),
    "shadow": ((str,), "a text"),
    "refused": ((str,), "a text"),
    "heartbeat": ((str,), "a text"),
    "machine": ((str,), "a text"),
    "sums": ((dict,), "names with channel and seconds"),
    "limits": ((dict,), "names with SQL conditions"),
    "patterns": ((dict,), "names with templates"),
}
_NEEDED = ("topic", "sensor", "channels", "alerts", "window")


def streams() -> list[str]:
    """Return the names of the stream files of this project."""
    return sorted(path.stem for path in (project() / "streams").glob("*.yaml"))


def load_stream(name: str | Path | Stream) -> Stream:
    """Return the checked stream of a name (`streams/NAME.yaml`) or a path.

    Raises
    ------
    StreamError
        If there is no such file, or anything in it is unknown, missing or wrong.
    """
    if isinstance(name, Stream):
        return name
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        path = project() / "streams" / f"{name}.yaml"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise StreamError(
            f"there is no stream {path.stem!r}",
            where=path,
            hint=did_you_mean(path.stem, streams()),
        ) from err
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        problem = getattr(err, "problem", None) or str(err)
        raise StreamError(f"the stream file is not YAML: {problem}", where=path) from err
    try:
        return parse_stream(path.stem, found)
    except (StreamError, DetectorError) as err:
        raise StreamError(err.message, where=path, hint=err.hint) from err


def parse_stream(name: str, content: object) -> Stream:
    """Return the stream that the parsed content of a file describes, checked."""
    if not isinstance(content, dict):
        raise StreamError(f"the stream file holds {type(content).__name__}, expected keys")
    for key, value in content.items():
        _check_type(key, value)
    if content.get("detector") == NO_DETECTOR:
        content = {"window": 2, **content}
    for key in _NEEDED:
        if key not in content:
            raise StreamError(f"the stream has no {key!r}", hint=f"needed: {', '.join(_NEEDED)}")
    values: dict[str, Any] = {**content, "channels": tuple(content["channels"])}
    if "rule" in values:
        values["rule"] = _rule(values["rule"])
    if "gate" in values:
        values["gate"] = parse_gate(values["gate"])
    values |= _without_detector(values)
    stream = Stream(name=name, **values)
    _check_names(stream)
    _check_numbers(stream)
    return stream


def _without_detector(values: Mapping[str, Any]) -> dict[str, Any]:
    channels = [*values["channels"], *values.get("derived", {})]
    machine = values.get("machine", "")
    return {
        "also": tuple(values.get("also", [])),
        "sums": parse_sums(values.get("sums", {}), channels),
        "limits": parse_limits(values.get("limits", {}), _rule),
        "patterns": parse_patterns(values.get("patterns", {}), machine=machine),
    }


def _check_type(key: object, value: object) -> None:
    if key not in _TYPES:
        raise StreamError(
            f"a stream has no key {key!r}", hint=did_you_mean(str(key), sorted(_TYPES))
        )
    kinds, meaning = _TYPES[str(key)]
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise StreamError(f"{key} is {value!r}, expected {meaning}")


def _rule(given: Mapping[str, Any]) -> EpisodeRule:
    known = [one.name for one in fields(EpisodeRule)]
    for key, value in given.items():
        if key not in known:
            raise StreamError(f"a rule has no {key!r}", hint=did_you_mean(str(key), known))
        if type(value) is not int:
            raise StreamError(f"rule {key} is {value!r}, expected a whole number")
    return EpisodeRule(**given)


def _check_names(stream: Stream) -> None:
    if not stream.channels:
        raise StreamError("the stream has no channels")
    for one in (*stream.fields, *stream.derived, *filter(None, [stream.event_time])):
        if not isinstance(one, str) or not NAME.fullmatch(one):
            raise StreamError(f"{one!r} is not the name of a field: letters, digits and _")
    for one in (*stream.measured, *stream.sums):
        if one in RESERVED or one.endswith("_w"):
            raise StreamError(f"a channel cannot be called {one!r}: the job uses that name")
    if len({stream.sensor, *stream.measured}) < 1 + len(stream.measured):
        raise StreamError("a name stands twice among sensor, channels and derived")
    _check_tasks(stream)
    for one, expression in stream.derived.items():
        if not isinstance(expression, str) or ";" in expression:
            raise StreamError(f"derived {one} is {expression!r}, expected one SQL expression")


def _check_tasks(stream: Stream) -> None:
    if not all(isinstance(one, str) and one for one in stream.also):
        raise StreamError(f"also is {list(stream.also)!r}, expected a list of package ids")
    twice = sorted(({*stream.limits} & {*stream.patterns}) | ({*stream.sums} & {*stream.measured}))
    if twice:
        raise StreamError(f"the name {twice[0]!r} stands twice")
    if stream.detects:
        return
    for key in ("also", "shadow", "scores"):
        if getattr(stream, key):
            raise StreamError(f"a stream without a detector has no {key!r}")
    if not stream.limits and not stream.patterns:
        raise StreamError("a stream without a detector needs limits or patterns")


def _check_numbers(stream: Stream) -> None:
    if not 1 <= stream.window <= _MOST_READINGS:
        raise StreamError(f"window is {stream.window}, expected 1 to {_MOST_READINGS} readings")
    if not stream.lateness_ms >= 1:
        raise StreamError(
            f"lateness_s is {stream.lateness_s:g}, at least 0.001 is needed",
            hint="with none, the second of two readings with the same time would be late",
        )
