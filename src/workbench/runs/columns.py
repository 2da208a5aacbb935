"""What runs were given and what they recorded, as columns of a table: flat names, plain numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with dotted names.

    Examples
    --------
    >>> flat({"topic": "pumps", "detector": {"name": "knn", "window": 30}})
    {'topic': 'pumps', 'detector.name': 'knn', 'detector.window': 30}
    """
    columns: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            columns.update(flat(value, f"{above}{name}."))
        else:
            columns[f"{above}{name}"] = value
    return columns


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics that are numbers."""
    return {
        name: value
        for name, value in metrics.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def as_text(value: object) -> str:
    """Return a value as one writes it to select or compare runs: a text as it is, else JSON."""
    return value if isinstance(value, str) else json.dumps(value)
