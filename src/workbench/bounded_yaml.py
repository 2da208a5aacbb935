"""YAML from outside, counted before it is made: an alias of an alias unfolds without end."""

from __future__ import annotations

import re
from typing import Any

import yaml

MOST_CHARACTERS = 1 << 20
MOST_NODES = 50_000  # with every alias unfolded
_DEEPEST = 50
_BRACKETS = re.compile(r"[\[\]{}]")


def compose(loader: yaml.SafeLoader) -> yaml.Node | None:
    """Return the document's node, refused if it holds too much or itself.

    Raises
    ------
    yaml.MarkedYAMLError
        If it is no YAML, or more of it than the budget.
    """
    size = len(loader.buffer)
    if size > MOST_CHARACTERS:
        raise yaml.MarkedYAMLError(problem=f"it has {size} characters, at most {MOST_CHARACTERS}")
    depth = _depth(loader.buffer)
    if depth > _DEEPEST:  # the scanner takes their square
        raise yaml.MarkedYAMLError(problem=f"it has {depth} brackets open, at most {_DEEPEST}")
    node: yaml.Node | None
    try:
        node = loader.get_single_node()
        nodes = 0 if node is None else _count(node, {}, 0)
    except RecursionError as err:
        raise yaml.MarkedYAMLError(problem="it is nested too deep") from err
    if nodes > MOST_NODES:
        raise yaml.MarkedYAMLError(
            problem=f"it unfolds to {nodes} nodes, at most {MOST_NODES}",
        )
    return node


def load(text: str) -> Any:
    """Return what a document says, as `yaml.safe_load` does, within the budget."""
    loader = yaml.SafeLoader(text)
    try:
        return construct(loader, compose(loader))
    finally:
        loader.dispose()


def construct(loader: yaml.SafeLoader, node: yaml.Node | None) -> Any:
    """Return what a node of `compose` says.

    Raises
    ------
    yaml.MarkedYAMLError
        If a value is none, as a number of 5,000 digits or the 31st of February.
    """
    if node is None:
        return None
    try:
        return loader.construct_document(node)
    except ValueError as err:
        raise yaml.MarkedYAMLError(problem=str(err), problem_mark=node.start_mark) from err


def _depth(text: str) -> int:
    deepest = depth = 0
    for bracket in _BRACKETS.findall(text):
        depth = max(depth + (1 if bracket in "[{" else -1), 0)
        deepest = max(deepest, depth)
    return deepest


def _count(node: yaml.Node, counted: dict[int, int], depth: int) -> int:
    """Return how many nodes a node unfolds to; `counted` holds those that were counted."""
    if depth > _DEEPEST:
        raise yaml.MarkedYAMLError(
            problem=f"it is nested more than {_DEEPEST} deep", problem_mark=node.start_mark
        )
    if id(node) not in counted:
        inner = node.value if not isinstance(node, yaml.ScalarNode) else []
        if isinstance(node, yaml.MappingNode):
            inner = [child for pair in inner for child in pair]
        counted[id(node)] = 1 + sum(_count(child, counted, depth + 1) for child in inner)
    return counted[id(node)]


__all__ = ["MOST_NODES", "compose", "construct", "load"]
