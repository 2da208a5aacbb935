"""Write docs/api/ from the docstrings: a page for each room, of what is public in it.

What is public stands in the `__init__.pyi` of a room. Nothing is imported: griffe reads the
sources. `make api` writes the pages; `--check` says which are not what would be written.
"""

from __future__ import annotations

import ast
import logging
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import griffe

DOCS = Path(__file__).parent
SOURCE = DOCS.parent / "src"
PACKAGE = SOURCE / "workbench"
HEAD = "<!-- written by `make api` from the docstrings: change those -->\n"
SECTIONS = {
    "parameters": "Parameters",
    "attributes": "Attributes",
    "returns": "Returns",
    "yields": "Yields",
    "raises": "Raises",
}


def main(arguments: list[str]) -> int:
    """Write the pages, or say which differ; return the exit code."""
    pages = {f"{name}.md": text for name, text in written().items()}
    folder = DOCS / "api"
    if "--check" not in arguments:
        folder.mkdir(exist_ok=True)
        for path in set(folder.glob("*.md")) - {folder / name for name in pages}:
            path.unlink()
        for name, text in pages.items():
            (folder / name).write_text(text)
        return 0
    there = {path.name: path.read_text() for path in folder.glob("*.md")}
    stale = sorted(name for name in pages | there if pages.get(name) != there.get(name))
    if stale:
        print(f"not what the docstrings say: {', '.join(stale)}; run `make api`", file=sys.stderr)
    return 1 if stale else 0


def written() -> dict[str, str]:
    """Return the text of every page, by its name without ending."""
    logging.basicConfig(level=logging.WARNING)
    package = griffe.load(
        "workbench", search_paths=[SOURCE], docstring_parser="numpy", allow_inspection=False
    )
    rooms = [
        path.parent.name
        for path in sorted(PACKAGE.glob("*/__init__.pyi"))
        if any(public(path.parent.name))
    ] + ["errors", *(name for name in public("") if (PACKAGE / f"{name}.py").is_file())]
    pages = {room: page(package[room], f"workbench.{room}", names(room)) for room in sorted(rooms)}
    own = [name for name in public("") if name not in rooms and name in package.members]
    return {"README": index(package, own, pages), **pages}


def public(room: str) -> Iterator[str]:
    """Yield what the stub of a room (empty: of the package) makes public, in its order."""
    tree = ast.parse((PACKAGE / room / "__init__.pyi").read_text())
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.FunctionDef):
            yield node.name


def names(room: str) -> list[str]:
    """Return the public names of a room: of a module without a stub, those it defines."""
    if (PACKAGE / room / "__init__.pyi").is_file():
        return list(public(room))
    tree = ast.parse((PACKAGE / f"{room}.py").read_text())
    defined = (node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef)))
    return [node.name for node in defined if not node.name.startswith("_")]


def index(package: Any, own: list[str], pages: dict[str, str]) -> str:
    """Return the first page: the rooms, and what the package itself has."""
    lines = [HEAD, "# API reference\n", f"{text(package)}\n", "| room | |", "|---|---|"]
    for room in pages:
        first = text(package[room]).split("\n\n")[0].replace("\n", " ")
        lines.append(f"| [`workbench.{room}`]({room}.md) | {first} |")
    return "\n".join([*lines, "", *(entry(package[name], name) for name in own)])


def page(room: Any, title: str, of_room: list[str]) -> str:
    """Return the page of one room."""
    lines = [HEAD, f"# {title}\n", f"{text(room)}\n"]
    return "\n".join([*lines, *(entry(room[name], name) for name in of_room)])


def entry(thing: Any, name: str) -> str:
    """Return what is to be said of one public name."""
    thing = thing.final_target if thing.is_alias else thing
    lines = [f"## `{name}`\n"]
    if thing.is_function or thing.is_class:
        lines.append(f"```python\n{signature(thing, name)}\n```\n")
    elif thing.is_attribute and thing.value is not None and len(str(thing.value)) < 200:
        lines.append(f"```python\n{name} = {thing.value}\n```\n")
    lines += sections(thing)
    if thing.is_class:
        for member in thing.members.values():
            if not member.name.startswith("_") and member.docstring and not member.is_alias:
                lines += member_entry(member, name)
    return "\n".join(lines)


def member_entry(member: Any, owner: str) -> list[str]:
    """Return what is to be said of a method or property."""
    if member.is_function:
        head = f"```python\n{signature(member, member.name)}\n```\n"
    else:
        kind = f": {member.annotation}" if member.annotation else ""
        head = f"```python\n{member.name}{kind}\n```\n"
    return [f"### `{owner}.{member.name}`\n", head, *sections(member)]


def signature(thing: Any, name: str) -> str:
    """Return the signature, over several lines where one would be long."""
    parts = [part for part in map(str, _parameters(thing)) if part not in ("self", "cls")]
    returns = getattr(thing, "returns", None)
    tail = f" -> {returns}" if returns and thing.is_function else ""
    head = "class " if thing.is_class else "def "
    line = f"{head}{name}({', '.join(parts)}){tail}"
    if len(line) <= 88:
        return line
    return f"{head}{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){tail}"


def _parameters(thing: Any) -> Iterator[str]:
    keyword = False
    for one in thing.parameters:
        kind = one.kind.value if one.kind else ""
        if kind == "keyword-only" and not keyword:
            keyword = True
            yield "*"
        if kind.startswith("variadic"):
            keyword = True
        star = {"variadic positional": "*", "variadic keyword": "**"}.get(kind, "")
        annotation = f": {one.annotation}" if one.annotation else ""
        equals = " = " if annotation else "="
        default = f"{equals}{one.default}" if one.default is not None and not star else ""
        yield f"{star}{one.name}{annotation}{default}"


def text(thing: Any) -> str:
    """Return the docstring of a module as it is."""
    return thing.docstring.value if thing.docstring else ""


def sections(thing: Any) -> Iterator[str]:
    """Yield the parts of a docstring as Markdown."""
    for section in thing.docstring.parsed if thing.docstring else ():
        kind = section.kind.value
        if kind == "text":
            yield f"{section.value}\n"
        elif kind == "examples":
            yield "Examples:\n"
            for what, value in section.value:
                yield f"{value}\n" if what.value == "text" else f"```pycon\n{value}\n```\n"
        elif kind == "admonition":
            yield f"{section.title}: {section.value.contents}\n"
        else:
            yield f"{SECTIONS[kind]}:\n"
            yield "".join(_items(section.value, kind))


def _items(values: Any, kind: str) -> Iterator[str]:
    for description, group in groupby(values, key=lambda value: value.description.strip()):
        titles = [value.annotation if kind == "raises" else value.name for value in group]
        head = f"`{', '.join(map(str, titles))}`: " if all(titles) else ""
        described = description.replace("\n", "\n  ")
        yield f"- {head}{described}\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
