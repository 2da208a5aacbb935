"""Stream files: what a stream reads, scores and writes, in one small YAML file.

    topic: persistent://public/default/pumps      # where the readings come from
    sensor: pump                                  # field that says whose reading it is
    channels: [flow_l_min, bearing_temperature_c] # fields with numbers
    alerts: persistent://public/default/alerts    # where alerts go
    window: 60                                    # the longest window that a detector may have

A key is a field of `Stream`, with its type and default, and a line of docs/stream-file.md with its
meaning; there is no third place. Everything is checked when the file is read, before anything
starts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from workbench import bounded_yaml
from workbench.cards import Card, HasCard
from workbench.detectors import EpisodeRule
from workbench.endpoints import project
from workbench.errors import DetectorError, StreamError, did_you_mean
from workbench.stream.definition.expressions import check_expressions
from workbench.stream.definition.patterns import (
    LASTING,
    NAME,
    RATE,
    Limit,
    Pattern,
    Sum,
    parse_limits,
    parse_patterns,
    parse_sums,
    shortened,
)
from workbench.stream.definition.requirements import Gate, parse_gate
from workbench.stream.definition.routes import Route, parse_routes, parse_severities

NO_DETECTOR = "none"
EPISODE, CLOCK = "episode", "clock"  # kinds of alerts: a detector's, a sensor's clock is ahead
DRIFT = "drift"  # and of a detector that is over a limit of its own
KEY_FIELD = "__key__"  # what the sensor is where the message's key names it, as in SQL
_MOST_READINGS = 10_000  # per window: what one sensor's state may hold
_LARGEST = 1e15  # of any number: exact in 64 bits, floating or not
_LONGEST_S = 366 * 86_400
_COLUMNS = """
    sensor message_id partition event_ms ts past since refused fault late clock_ms machine
    arrived scored score threshold package above in_n in_m of_m
    alarm before episode reached summit start_ms peak_ms stop_ms peak_score readings first_id
    last_id first_threshold first_package above_past peak_past contributions unleveled"""
RESERVED = frozenset(re.findall(r"\w+", _COLUMNS))  # names that the job's own columns have


_TEXT = {"kind": "a text", "types": str}
_NUMBER = {"kind": "a number", "types": (int, float)}
_SECONDS = {"kind": "a number of seconds", "types": (int, float)}


def _mapping(kind: str) -> dict[str, object]:
    return {"kind": kind, "types": dict}


def _list(kind: str) -> dict[str, object]:
    return {"kind": kind, "types": list}


@dataclass(frozen=True)
class Stream(HasCard):
    """A checked stream file: `name` is the file's, without `.yaml`; the rest are its keys.

    What each key means is in docs/stream-file.md, once.
    """

    name: str
    topic: str = field(metadata=_TEXT)
    sensor: str = field(metadata=_TEXT)
    channels: tuple[str, ...] = field(metadata=_list("a list of fields"))
    alerts: str = field(metadata=_TEXT)
    window: int = field(metadata={"kind": "a whole number", "types": int})
    derived: Mapping[str, str] = field(
        default_factory=dict, metadata=_mapping("names with SQL expressions")
    )
    event_time: str = field(default="", metadata=_TEXT)
    record: str = field(default="", metadata=_TEXT)
    lateness_s: float = field(default=1.0, metadata=_SECONDS)
    ahead_s: float = field(default=300.0, metadata=_SECONDS)
    detector: str = field(default="champion", metadata=_TEXT)
    threshold: float | None = field(default=None, metadata=_NUMBER)
    rule: EpisodeRule | None = field(default=None, metadata=_mapping("k, n and m"))
    scores: str = field(default="", metadata=_TEXT)
    gate: Gate = field(default_factory=Gate, metadata=_mapping("what promotion asks"))
    also: tuple[str, ...] = field(default=(), metadata=_list("a list of package ids"))
    shadow: str = field(default="", metadata=_TEXT)
    refused: str = field(default="", metadata=_TEXT)
    heartbeat: str = field(default="", metadata=_TEXT)
    machine: str = field(default="", metadata=_TEXT)
    sums: Mapping[str, Sum] = field(
        default_factory=dict, metadata=_mapping("names with channel and seconds")
    )
    limits: Mapping[str, Limit] = field(
        default_factory=dict, metadata=_mapping("names with SQL conditions")
    )
    patterns: Mapping[str, Pattern] = field(
        default_factory=dict, metadata=_mapping("names with templates")
    )
    severities: Mapping[str, str] = field(
        default_factory=dict, metadata=_mapping("kinds of alerts with a severity")
    )
    routes: Mapping[str, Route] = field(
        default_factory=dict, metadata=_mapping("names with targets and filters")
    )

    feedback: str = field(default="", metadata=_TEXT)

    @property
    def measured(self) -> tuple[str, ...]:
        """Every channel that a detector may use, the derived ones last."""
        return (*self.channels, *self.derived)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of a reading that the stream needs, besides its time."""
        named = ("" if self.keyed else self.sensor, self.machine)
        return (*filter(None, named), *self.channels)

    @property
    def keyed(self) -> bool:
        """Whether the message's key names the sensor, and no field of its value."""
        return self.sensor == KEY_FIELD

    @property
    def depth(self) -> int:
        """How many readings of a sensor the job keeps: 2 tell how it changes."""
        return max(self.window, 2)

    @property
    def detects(self) -> bool:
        """Whether it has a detector."""
        return self.detector != NO_DETECTOR

    @property
    def uncounted(self) -> str:
        """What of a running job is counted nowhere, or only in Flink's log; empty: nothing."""
        if self.heartbeat:
            return ""
        text = "no heartbeat topic: nobody counts readings that are late"
        if not (self.sums or self.patterns):
            return text
        return f"{text}; those that sums and patterns have passed are in Flink's log and metrics"

    def settings(self) -> dict[str, Any]:
        """Return the keys that say something else than their default, with their values."""
        values = {name: getattr(self, name) for name in KEYS}
        return {name: value for name, value in values.items() if value != default(KEYS[name])}

    def content(self) -> dict[str, Any]:
        """Return its keys as a file holds them: of these `parse_stream` makes the same stream."""
        return {name: _plain(value) for name, value in self.settings().items()}

    def card(self) -> Card:
        """Return what a notebook shows of it: its keys, the gate aside."""
        facts = {key: value for key, value in self.settings().items() if key != "gate"}
        facts |= {
            "event_time": self.event_time or "of the message",
            "lateness_s": f"{self.lateness_s:g}",
            "detector": self.detector,
            "limits": {name: limit.when for name, limit in self.limits.items()},
            "patterns": {name: pattern.template for name, pattern in self.patterns.items()},
        }
        return Card("stream", self.name, facts)

    @property
    def lateness_ms(self) -> int:
        """The lateness in milliseconds."""
        return round(self.lateness_s * 1000)

    @property
    def ahead_ms(self) -> int:
        """How far a reading may lead the others of its partition, in milliseconds."""
        return round(self.ahead_s * 1000)


KEYS: dict[str, Field[Any]] = {key.name: key for key in fields(Stream) if "kind" in key.metadata}


def default(key: Field[Any]) -> Any:
    """Return what a key stands at where a file does not name it; MISSING: it has to."""
    return key.default if key.default_factory is MISSING else key.default_factory()


def _plain(value: Any) -> Any:
    """Return a value as YAML has it: of what has fields, those that are not at their default."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if not is_dataclass(value):
        return value
    parts = {key.name: (getattr(value, key.name), default(key)) for key in fields(value)}
    return {name: _plain(part) for name, (part, usual) in parts.items() if part != usual}


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
        content = bounded_yaml.load(path.read_text(encoding="utf-8"))
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
        return parse_stream(path.stem, content)
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
    needed = [key for key, declared in KEYS.items() if default(declared) is MISSING]
    for key in needed:
        if key not in content:
            raise StreamError(f"the stream has no {key!r}", hint=f"needed: {', '.join(needed)}")
    values: dict[str, Any] = {**content, "channels": tuple(content["channels"])}
    if "rule" in values:
        values["rule"] = _rule(values["rule"])
    if "gate" in values:
        values["gate"] = parse_gate(values["gate"])
    values |= _without_detector(values)
    stream = Stream(name=name, **values)
    _check_names(stream)
    _check_numbers(stream)
    _check_sql(stream)
    return stream


def _check_sql(stream: Stream) -> None:
    """Refuse derived channels, limits and steps that are no expressions over what there is."""
    derived = {f"derived {name}": text for name, text in stream.derived.items()}
    check_expressions(derived, stream.channels)
    conditions = {f"limit {name}": limit.when for name, limit in stream.limits.items()} | {
        f"pattern {name}, step {number}": step
        for name, pattern in stream.patterns.items()
        for number, step in enumerate(pattern.steps, 1)
    }
    rates = [f"{channel}{RATE}" for channel in stream.measured]
    check_expressions(conditions, [*stream.measured, *rates, *stream.sums])


def _without_detector(values: Mapping[str, Any]) -> dict[str, Any]:
    channels = [*values["channels"], *values.get("derived", {})]
    machine = values.get("machine", "")
    limits = parse_limits(values.get("limits", {}), _rule)
    patterns = parse_patterns(values.get("patterns", {}), machine=machine)
    for name in (*limits, *patterns):
        if name in (EPISODE, CLOCK, DRIFT):
            raise StreamError(f"no limit or pattern is called {name!r}: other alerts are that kind")
    lasting = [name for name, pattern in patterns.items() if pattern.template == LASTING]
    if lasting and values.get("detector") == NO_DETECTOR:
        raise StreamError(f"pattern {lasting[0]} is of the detector's alarm, and there is none")
    kinds = (EPISODE, CLOCK, DRIFT, *limits, *patterns)
    return {
        "also": tuple(values.get("also", [])),
        "sums": parse_sums(values.get("sums", {}), channels),
        "limits": limits,
        "patterns": patterns,
        "severities": parse_severities(values.get("severities", {}), kinds),
        "routes": parse_routes(values.get("routes", {}), kinds),
    }


def _check_type(name: object, value: object) -> None:
    if name not in KEYS:
        raise StreamError(f"a stream has no key {name!r}", hint=did_you_mean(str(name), KEYS))
    key = KEYS[str(name)].metadata
    finite = not isinstance(value, (int, float)) or abs(value) < _LARGEST
    if isinstance(value, bool) or not isinstance(value, key["types"]) or not finite:
        raise StreamError(f"{name} is {shortened(value)}, expected {key['kind']}")


def _rule(section: Mapping[str, Any]) -> EpisodeRule:
    keys = [term.name for term in fields(EpisodeRule)]
    for key, value in section.items():
        if key not in keys:
            raise StreamError(f"a rule has no {key!r}", hint=did_you_mean(str(key), keys))
        if type(value) is not int:
            raise StreamError(f"rule {key} is {value!r}, expected a whole number")
    return EpisodeRule(**section)


def _check_names(stream: Stream) -> None:
    if not stream.channels:
        raise StreamError("the stream has no channels")
    for name in (*stream.fields, *stream.derived, *filter(None, [stream.event_time])):
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise StreamError(f"{name!r} is not the name of a field: letters, digits and _")
    for name in (*stream.measured, *stream.sums):
        if name in RESERVED or name.endswith("_w"):
            raise StreamError(f"a channel cannot be called {name!r}: the job uses that name")
    if len({stream.sensor, *stream.measured}) < 1 + len(stream.measured):
        raise StreamError("a name stands twice among sensor, channels and derived")
    _check_key(stream)
    _check_tasks(stream)
    for name, expression in stream.derived.items():
        if not isinstance(expression, str) or ";" in expression:
            raise StreamError(f"derived {name} is {expression!r}, expected one SQL expression")


def _check_key(stream: Stream) -> None:
    if KEY_FIELD in (stream.machine, stream.event_time, *stream.measured, *stream.sums):
        raise StreamError(f"{KEY_FIELD} is the message's key: it can be the sensor, nothing else")
    if stream.keyed and not stream.topic.startswith("kafka://"):
        raise StreamError(
            f"the key of a message is the sensor on Kafka alone, {stream.topic} is Pulsar's",
            hint="sensor: the field that says whose reading it is",
        )


def _check_tasks(stream: Stream) -> None:
    pictured = [name for name, route in stream.routes.items() if route.picture_s]
    if pictured and stream.topic.startswith("kafka://"):
        raise StreamError(
            f"route {pictured[0]}: a picture is of readings from Pulsar, {stream.topic} is Kafka's",
            hint="leave picture_s out",
        )
    if stream.record and not NAME.fullmatch(stream.record):
        raise StreamError(
            f"record is {stream.record!r}, expected the name of a record without its namespace",
            hint=did_you_mean(stream.record, [stream.record.rpartition(".")[2]]),
        )
    if stream.record and not stream.topic.startswith("kafka://"):
        raise StreamError(
            f"record is of Avro on Kafka, {stream.topic} is Pulsar's", hint="leave record out"
        )
    if not all(isinstance(topic, str) and topic for topic in stream.also):
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
    for key in ("ahead_s", "lateness_s"):
        if getattr(stream, key) > _LONGEST_S:
            raise StreamError(f"{key} is {getattr(stream, key):g}, at most {_LONGEST_S}")
    if not stream.ahead_ms >= 1:
        raise StreamError(f"ahead_s is {stream.ahead_s:g}, at least 0.001 is needed")
    if not stream.lateness_ms >= 1:
        raise StreamError(
            f"lateness_s is {stream.lateness_s:g}, at least 0.001 is needed",
            hint="with none, the second of two readings with the same time would be late",
        )
