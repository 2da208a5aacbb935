"""The rooms of runs import one way: no circle, not in a function, not for types alone."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import workbench.runs

ROOT = Path(workbench.runs.__file__).parent
PLACE = "workbench.runs"


def name_of(path):
    return ".".join([PLACE, *path.relative_to(ROOT).with_suffix("").parts])


MODULES = {name_of(path): path for path in ROOT.rglob("*.py") if path.name != "__init__.py"}


def imported(path):
    """Return the modules of the room that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PLACE):
            yield node.module
            yield from (f"{node.module}.{one.name}" for one in node.names)
        elif isinstance(node, ast.Import):
            yield from (one.name for one in node.names)


def test_no_module_of_runs_comes_back_to_itself():
    graph = {name: {*imported(path)} & {*MODULES} for name, path in MODULES.items()}

    assert sum(map(len, graph.values())) > 30
    order = list(TopologicalSorter(graph).static_order())  # a circle raises, and names it
    assert {*order} == {*MODULES}
