"""Specifications: plain, strict dicts that say what to fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from workbench.detectors.leveling.states import checked_states
from workbench.detectors.methods.features import parse_features
from workbench.detectors.methods.method import Method, Param
from workbench.detectors.methods.seasons import CLOCKS
from workbench.detectors.methods.table import FEATURED, METHODS, SHARED
from workbench.errors import DetectorError, did_you_mean

MOST_CHANNELS = 256
_MOST_CHARACTERS = 255  # of a channel's name
_MOST_NUMBERS = 1 << 22  # of a window with its features, 32 MB
_OF_ENSEMBLES = {"window", "max_span_s", "missing", "refit"}  # the shared parameters they have
SENSOR = "sensor"  # the one `level` there is; without it a specification has no such key
_ABSOLUTE = {"limits"}  # detectors that a person gives numbers in the channels' own units
AUTO = "auto"  # a specification that is chosen when it is fitted
_OF_AUTO = (
    Param("window", 64, "readings that a window may hold at most", 1, 10_000),
    Param("refit", None, "declared policy, as every detector's", kind="any", optional=True),
)
_INHERITED = ("window", "channels", "max_span_s", "missing")  # by members, where not their own


def method_named(name: object) -> Method:
    """Return the line of the catalogue of that name, refused if there is none."""
    if not isinstance(name, str) or name not in METHODS:
        hint = did_you_mean(name, METHODS) if isinstance(name, str) else None
        raise DetectorError(f"no detector {name!r}", hint=hint)
    return METHODS[name]


def method_of(name: object) -> Method:
    """Return the method of that name, refused if it is unknown or cannot score new windows."""
    method = method_named(name)
    if method.refused:
        raise DetectorError(f"detector {method.name} cannot score new windows: {method.refused}")
    return method


def params_of(method: Method) -> tuple[Param, ...]:
    """Return all parameters of a method, its own first, with its own defaults of shared ones."""
    shared = SHARED + (FEATURED if method.sees == "features" else ())
    if method.name == "ensemble":
        shared = tuple(param for param in SHARED if param.name in _OF_ENSEMBLES)
    defaults = method.defaults
    own = (replace(param, default=defaults.get(param.name, param.default)) for param in shared)
    return (*method.params, *own)


def resolve(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a specification with every parameter in it, refused if anything is unknown or wrong.

    Examples
    --------
    >>> resolve({"name": "robust_z", "window": 1, "channels": ["flow"]})["missing"]
    'skip'
    >>> resolve({"name": "robust_z", "windw": 1, "channels": ["flow"]})
    Traceback (most recent call last):
    workbench.errors.DetectorError: detector robust_z has no parameter 'windw'
      did you mean 'window'?
    """
    if spec.get("name") == AUTO:
        return _auto(spec)
    if spec.get("level") is not None:
        return _leveled(spec)
    if spec.get("steady") is not None:
        resolved = resolve({**spec, "steady": None})
        return {**resolved, "steady": checked_states(spec["steady"], resolved["channels"])}
    spec = _given(spec)
    method = method_of(spec.get("name"))
    channels = _channels(spec.get("channels"))
    resolved = {"name": method.name, "channels": channels, **_values(spec, params_of(method))}
    _check_policy(resolved["refit"])
    if method.name == "ensemble":
        resolved["members"] = _members(resolved)
        return resolved
    sets = [("raw", resolved["window"])]
    if method.sees == "features":
        sets += parse_features(resolved["features"], resolved["window"])
    _check_size(sets, len(resolved["channels"]))
    return resolved


def _leveled(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a specification of which each sensor is judged against its own level."""
    if spec["level"] != SENSOR:
        raise DetectorError(f"level is {spec['level']!r}, expected {SENSOR!r}, or none given")
    if spec.get("steady") is not None:
        raise DetectorError(
            f"steady and level: {SENSOR} do not go together: the splits are in the channel's unit, "
            "which a level takes from it",
            hint="leave out one of them",
        )
    resolved = resolve(unleveled(spec))
    for member in resolved.get("members", [resolved]):
        if member["name"] in _ABSOLUTE:
            raise DetectorError(
                f"detector {member['name']} judges readings in their own unit, which level: "
                f"{SENSOR} takes from them",
                hint="leave out level, or the detector; limits of the stream file stay as they are",
            )
    if set(resolved["channels"]) <= clocks_of(resolved):
        raise DetectorError(f"level: {SENSOR} has no channel but the clock's")
    return {**resolved, "level": SENSOR}


def level_about(method: Method) -> dict[str, str]:
    """Return what people are told of `level`, which is no parameter: empty where it is refused."""
    if method.refused or method.name in _ABSOLUTE:
        return {}
    return {"level": "each sensor against its own usual, or all pooled (sensor, or not given)"}


def unleveled(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a specification without its `level`: that of the detector of levelled windows."""
    return {name: value for name, value in spec.items() if name != "level"}


def _given(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a specification without what is no parameter, and is not given."""
    unset = {name for name in ("level", "steady") if spec.get(name) is None}
    return {name: value for name, value in spec.items() if name not in unset}


def clocks_of(spec: Mapping[str, Any]) -> set[str]:
    """Return the channels that say what time it is, and have no level: hour and day.

    Examples
    --------
    >>> spec = {"name": "seasonal", "window": 1, "channels": ["flow", "h", "d"]}
    >>> sorted(clocks_of(resolve({**spec, "hour": "h", "day": "d"})))
    ['d', 'h']
    """
    members = spec.get("members", [spec])
    said = {member.get(name) for member in members for name in ("hour", "day")}
    return {name for name in spec["channels"] if name in said or name in CLOCKS}


def _check_size(sets: list[tuple[str, int]], channels: int) -> None:
    """Refuse windows and features that could not be held for a few windows at a time."""
    each = sum(6 if name == "summary" else readings for name, readings in sets)
    if each * channels > _MOST_NUMBERS:
        raise DetectorError(
            f"a window and its features are {each * channels} numbers, at most {_MOST_NUMBERS}",
            hint="a shorter window, fewer channels, or features of its last readings",
        )


def _values(spec: Mapping[str, Any], params: Sequence[Param]) -> dict[str, Any]:
    """Return the value of each parameter, refused if one is unknown, missing or wrong."""
    named = {param.name: param for param in params}
    for name in spec:
        if name not in {"name", "channels", *named}:
            raise DetectorError(
                f"detector {spec['name']} has no parameter {name!r}",
                hint=did_you_mean(str(name), named),
            )
    for name, param in named.items():
        if name not in spec and param.default is None and not param.optional:
            raise DetectorError(f"detector {spec['name']} needs parameter {name}: {param.meaning}")
    return {name: param.checked(spec.get(name, param.default)) for name, param in named.items()}


def _auto(spec: Mapping[str, Any]) -> dict[str, Any]:
    channels = spec.get("channels")
    if spec.get("level") is not None:
        raise DetectorError(
            f"auto chooses for machines of a kind: it takes no level, and level is "
            f"{spec['level']!r}",
            hint="a detector by name, such as knn, with level: sensor; or auto without level",
        )
    spec = _given(spec)
    resolved = {
        "name": AUTO,
        "channels": None if channels is None else _channels(channels),
        **_values(spec, _OF_AUTO),
    }
    _check_policy(resolved["refit"])
    return resolved


def _channels(channels: object) -> list[str]:
    if (
        not isinstance(channels, list | tuple)
        or not 1 <= len(channels) <= MOST_CHANNELS
        or not all(isinstance(name, str) and len(name) <= _MOST_CHARACTERS for name in channels)
        or len(set(channels)) < len(channels)
    ):
        raise DetectorError(
            f"channels are {channels!r}, expected a list of 1 to {MOST_CHANNELS} different names"
        )
    return list(channels)


def _members(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    members, weights = spec["members"], spec["weights"]
    if not isinstance(members, list) or not 1 <= len(members) <= 20:
        raise DetectorError(f"members are {members!r}, expected a list of 1 to 20 specifications")
    if weights is not None and (len(weights) != len(members) or sum(weights) <= 0):
        raise DetectorError(f"weights are {weights}, expected {len(members)}, not all 0")
    return [_member(member, spec) for member in members]


def _member(member: object, spec: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(member, Mapping) or member.get("name") == "ensemble":
        raise DetectorError(f"member {member!r} is no specification of a single detector")
    for name in ("level", "steady"):
        if member.get(name) is not None:
            raise DetectorError(
                f"member {member.get('name')!r} has a {name} of its own",
                hint=f"give {name} to the ensemble: it is then that of all members",
            )
    inherited = {name: spec[name] for name in _INHERITED}
    resolved = resolve({**inherited, "calibrate": "tail", **member})
    window, channels = resolved["window"], resolved["channels"]
    if window > spec["window"] or not set(channels) <= set(spec["channels"]):
        raise DetectorError(
            f"member {resolved['name']} needs window {window} of {channels}, "
            f"the ensemble has {spec['window']} of {spec['channels']}"
        )
    if any(resolved[name] != spec[name] for name in ("missing", "max_span_s")) or resolved["refit"]:
        raise DetectorError(
            f"member {resolved['name']} has missing, max_span_s or refit other than the ensemble"
        )
    return resolved


def _check_policy(policy: object) -> None:
    """Refuse a refit policy that does not say how often, and on how much."""
    if policy is None:
        return
    if not isinstance(policy, Mapping) or not _is_policy(policy):
        raise DetectorError(
            f"refit is {policy!r}, expected every_h and trailing_h, or every_readings and "
            "trailing_readings, numbers > 0; and may be leave_out_alarmed, true or false, and "
            "change_h, a number > 0; or threshold_only, true or false, and then "
            "carry_over, a number > 0"
        )
    if "carry_over" in policy and not (buys_only(policy) and "every_h" in policy):
        raise DetectorError(
            f"refit is {policy!r}: carry_over is of a threshold that is bought alone, by the day",
            hint="refit: {every_h: 24, trailing_h: 168, threshold_only: true, carry_over: 2}",
        )
    asks = asks_for_alarms(policy)
    if asks and buys_only(policy):
        raise DetectorError(
            f"refit has threshold_only and {asks}: what alarmed is not learnt from, and with "
            "threshold_only nothing is; the threshold is bought by all that nobody called a fault",
            hint="leave out one of them",
        )


def _is_policy(policy: Mapping[str, Any]) -> bool:
    flags = {"leave_out_alarmed", "threshold_only"}
    numbers = set(policy) - flags
    kinds = ({"every_h", "trailing_h"}, {"every_readings", "trailing_readings"})
    return (
        all(isinstance(policy.get(name, False), bool) for name in flags)
        and any(numbers - {"change_h", "carry_over"} == kind for kind in kinds)
        and all(type(policy[name]) in (int, float) and 0 < policy[name] < 1e9 for name in numbers)
    )


def asks_for_alarms(policy: Mapping[str, Any] | None) -> str:
    """Return what of a refit policy asks which readings were under an alarm; empty: nothing."""
    policy = policy or {}
    asking = ["leave_out_alarmed"] if policy.get("leave_out_alarmed", False) else []
    return " and ".join([*asking, *(["change_h"] if "change_h" in policy else [])])


def buys_only(policy: Mapping[str, Any] | None) -> bool:
    """Return whether a refit policy leaves the detector as it is, and buys its threshold anew."""
    return bool((policy or {}).get("threshold_only", False))


def carries_over(policy: Mapping[str, Any] | None) -> float:
    """Return how many times a refit policy makes up for what a budget has left; 0: it does not."""
    return float((policy or {}).get("carry_over", 0.0))
