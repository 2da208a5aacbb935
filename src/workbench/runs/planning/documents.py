"""YAML documents: a mapping, and the line on which each of its keys stands.

Text that looks like a date stays text, and only `true` and `false` are truth values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from workbench import bounded_yaml
from workbench.endpoints import project
from workbench.errors import ParamsError, did_you_mean


class _Loader(yaml.SafeLoader):
    """YAML without its traps: no dates, `yes` is text, `1e-3` is a number, no key twice."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if not tag.endswith((":timestamp", ":bool"))]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"true|false|True|False"), list("tfTF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+"),
    list("-+.0123456789"),
)


@dataclass(frozen=True)
class Document:
    """A YAML mapping, and the line on which each of its keys stands (by path of keys)."""

    path: str
    values: dict[str, Any]
    lines: dict[tuple[str, ...], int]

    def place(self, *keys: str) -> str:
        """Return where a key stands, for people."""
        return f"{self.path}:{self.lines[keys]}" if keys in self.lines else self.path


def project_path(path: Path) -> str:
    """Return `path` as a person in the project would write it."""
    full = path.resolve()
    return str(full.relative_to(project())) if full.is_relative_to(project()) else str(path)


def read_document(path: Path) -> Document:
    """Return the mapping that a file holds, refused if it holds none."""
    if not path.is_file():
        near = did_you_mean(path.name, [file.name for file in path.parent.glob("*.y*ml")])
        raise ParamsError("there is no such params file", where=path, hint=near)
    loader = _Loader(path.read_text(encoding="utf-8"))
    try:
        node = bounded_yaml.compose(loader)
        if node is None:
            return Document(project_path(path), {}, {})
        if not isinstance(node, yaml.MappingNode):
            raise ParamsError("this is not a mapping of parameters", where=project_path(path))
        lines = dict(_lines(node, project_path(path)))
        values: dict[str, Any] = bounded_yaml.construct(loader, node)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        where = f"{project_path(path)}{line}"
        raise ParamsError(f"this is not YAML: {error.problem}", where=where) from error
    finally:
        loader.dispose()
    return Document(project_path(path), values, lines)


def _lines(
    node: yaml.MappingNode, path: str, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], int]]:
    paths = set()
    for key, value in node.value:
        keys = (*above, str(key.value))
        if keys in paths:
            where = f"{path}:{key.start_mark.line + 1}"
            raise ParamsError(f"{key.value} is given twice", where=where)
        paths.add(keys)
        yield keys, key.start_mark.line + 1
        if isinstance(value, yaml.MappingNode):
            yield from _lines(value, path, keys)
