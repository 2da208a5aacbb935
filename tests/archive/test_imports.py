"""The modules of the archive import one way."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import workbench.archive

ROOT = Path(workbench.archive.__file__).parent


def _imports(path, modules):
    """Return the modules that a file imports, in functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                if name in modules:
                    yield name


def test_no_module_of_the_archive_imports_itself_by_way_of_others():
    modules = {
        ".".join(("workbench.archive", *path.relative_to(ROOT).with_suffix("").parts)): path
        for path in ROOT.rglob("*.py")
        if path.name != "__init__.py"
    }
    graph = {name: set(_imports(path, modules)) for name, path in modules.items()}

    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, with the circle

    assert len(order) == len(modules)
    assert sum(map(len, graph.values())) > len(modules)
