"""Specifications: plain, strict dicts that say what to fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from workbench.detectors.catalogue import FEATURED, METHODS, SHARED
from workbench.detectors.features import parse_features
from workbench.detectors.methods import Method, Param
from workbench.errors import DetectorError, did_you_mean

_MOST_CHANNELS = 256
_OF_ENSEMBLES = {"window", "max_span_s", "missing", "refit"}  # the shared parameters they have
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
        shared = tuple(one for one in SHARED if one.name in _OF_ENSEMBLES)
    defaults = method.defaults
    own = (replace(one, default=defaults.get(one.name, one.default)) for one in shared)
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
    method = method_of(spec.get("name"))
    params = {param.name: param for param in params_of(method)}
    for name in spec:
        if name not in {"name", "channels", *params}:
            raise DetectorError(
                f"detector {method.name} has no parameter {name!r}",
                hint=did_you_mean(str(name), params),
            )
    resolved: dict[str, Any] = {"name": method.name, "channels": _channels(spec.get("channels"))}
    for name, param in params.items():
        if name not in spec and param.default is None and not param.optional:
            raise DetectorError(f"detector {method.name} needs parameter {name}: {param.meaning}")
        resolved[name] = param.checked(spec.get(name, param.default))
    _check_policy(resolved["refit"])
    if method.name == "ensemble":
        resolved["members"] = _members(resolved)
    elif method.sees == "features":
        parse_features(resolved["features"], resolved["window"])
    return resolved


def _channels(channels: object) -> list[str]:
    if (
        not isinstance(channels, list | tuple)
        or not 1 <= len(channels) <= _MOST_CHANNELS
        or not all(isinstance(one, str) for one in channels)
        or len(set(channels)) < len(channels)
    ):
        raise DetectorError(
            f"channels are {channels!r}, expected a list of 1 to {_MOST_CHANNELS} different names"
        )
    return list(channels)


def _members(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    members, weights = spec["members"], spec["weights"]
    if not isinstance(members, list) or not 1 <= len(members) <= 20:
        raise DetectorError(f"members are {members!r}, expected a list of 1 to 20 specifications")
    if weights is not None and (len(weights) != len(members) or sum(weights) <= 0):
        raise DetectorError(f"weights are {weights}, expected {len(members)}, not all 0")
    return [_member(one, spec) for one in members]


def _member(member: object, spec: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(member, Mapping) or member.get("name") == "ensemble":
        raise DetectorError(f"member {member!r} is no specification of a single detector")
    inherited = {name: spec[name] for name in _INHERITED}
    found = resolve({**inherited, "calibrate": "tail", **member})
    if found["window"] > spec["window"] or not set(found["channels"]) <= set(spec["channels"]):
        raise DetectorError(
            f"member {found['name']} needs window {found['window']} of {found['channels']}, "
            f"the ensemble has {spec['window']} of {spec['channels']}"
        )
    if any(found[name] != spec[name] for name in ("missing", "max_span_s")) or found["refit"]:
        raise DetectorError(
            f"member {found['name']} has missing, max_span_s or refit other than the ensemble"
        )
    return found


def _check_policy(policy: object) -> None:
    """Refuse a refit policy that does not say how often, and on how much."""
    if policy is None:
        return
    kinds = ({"every_h", "trailing_h"}, {"every_readings", "trailing_readings"})
    fine = isinstance(policy, Mapping) and isinstance(policy.get("leave_out_alarmed", False), bool)
    if (
        not isinstance(policy, Mapping)
        or not fine
        or not any(
            set(policy) - {"leave_out_alarmed"} == kind
            and all(type(policy[name]) in (int, float) and 0 < policy[name] < 1e9 for name in kind)
            for kind in kinds
        )
    ):
        raise DetectorError(
            f"refit is {policy!r}, expected every_h and trailing_h, or every_readings and "
            "trailing_readings, numbers > 0, and leave_out_alarmed true or false"
        )
