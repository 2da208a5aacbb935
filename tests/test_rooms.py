"""The house: faces of rooms, their order, their size, and what is imported from where."""

import ast
import functools
import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "workbench"
MODULES = sorted(PACKAGE.rglob("*.py"))
FACES = sorted(path.parent for path in PACKAGE.rglob("__init__.pyi"))
ROOMS = [face.name for face in FACES if face != PACKAGE]


def dotted(path):
    """Return the name of the module in a file."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path) for path in MODULES}


def room_of(module):
    """Return the room of a module: what stands right below `workbench`."""
    return module.split(".")[1] if "." in module else ""


@functools.cache
def imports(path):
    """Return each module of ours that a file imports, with the name that it takes from it."""
    pairs = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            pairs += [(alias.name, "") for alias in node.names if "workbench" in alias.name]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("workbench"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                pairs.append((inner, "") if inner in NAMES else (node.module, alias.name))
    return pairs


def public(face):
    """Return the names that a stub declares."""
    tree = ast.parse((face / "__init__.pyi").read_text())
    froms = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return sorted(alias.asname for node in froms for alias in node.names)


def order():
    """Return the rows of the table of rooms: the names in each, from the top."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text[text.index("| room | what it does |") :].split("\n\n")[0].splitlines()[2:]
    return [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table]


@pytest.mark.parametrize("face", FACES, ids=dotted)
def test_a_room_shows_its_public_names_and_nothing_else(face):
    room = importlib.import_module(dotted(face))

    assert sorted(dir(room)) == public(face)
    for name in public(face):
        assert getattr(room, name) is not None


@pytest.mark.parametrize("room", ROOMS)
def test_no_public_name_is_that_of_a_module_which_would_take_its_place(room):
    """Python sets a module in its room as it is imported, for whatever name of it."""
    folder = PACKAGE / room
    modules = {path.stem for path in folder.glob("*.py")}
    modules |= {path.parent.name for path in folder.glob("*/__init__.py")}

    assert modules & set(public(folder)) == set()


def test_every_room_has_a_face():
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"} == {
        *ROOMS,
        "cli",
    }


@pytest.mark.slow
def test_tab_offers_the_rooms_and_their_names():
    code = """
import json, workbench
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

completer = InteractiveShell.instance(user_ns={"workbench": workbench}).Completer
with provisionalcompleter():
    print(json.dumps([
        [offer.text for offer in completer.completions(text, len(text))]
        for text in ("workbench.", "workbench.runs.", "workbench.desk.")
    ]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    offered = [{text.rpartition(".")[2] for text in texts} for texts in json.loads(done.stdout)]
    assert offered == [set(public(PACKAGE / room)) for room in ("", "runs", "desk")]


def test_naming_the_rooms_loads_nothing_heavy():
    code = (
        "import sys, workbench; dir(workbench); dir(workbench.runs); dir(workbench.stream); "
        "print({'numpy', 'pandas', 'pyarrow', 'pyflink', 'matplotlib'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def test_a_module_takes_from_another_room_what_its_face_shows():
    inside = [
        (dotted(path), module, name)
        for path in MODULES
        for module, name in imports(path)
        if module.count(".") > 1 and room_of(module) != room_of(dotted(path))
    ]

    assert inside == []


def test_rooms_import_only_rooms_above_them():
    rank = {name: i for i, row in enumerate(order()) for name in row}
    column = {name: j for row in order() for j, name in enumerate(row)}
    against = set()
    for path in MODULES:
        here = room_of(dotted(path))
        if not here:
            continue
        for module, name in imports(path):
            there = room_of(module) or name
            if there in {"", here, "replay"} or there.startswith("__"):
                continue
            if (rank[there], column[there]) > (rank[here], column[here]):
                against.add((dotted(path), there))

    assert against == set()


def test_the_table_of_rooms_names_every_room_once():
    names = [name for row in order() for name in row]
    there = {path.stem for path in PACKAGE.iterdir()} - {"__init__", "__pycache__", "py"}

    assert sorted(names) == sorted(there)


def test_no_module_imports_itself_in_a_circle():
    graph = {
        dotted(path): {module for module, _ in imports(path) if module in NAMES and "." in module}
        for path in MODULES
    }
    for path in MODULES:
        if path.name == "__init__.py":
            graph[dotted(path)] = set()  # faces load what is named, when it is named
    circles = []

    def walk(module, way):
        if module in way:
            circles.append(way[way.index(module) :])
        elif module not in done:
            for other in graph[module]:
                walk(other, [*way, module])
            done.add(module)

    done: set[str] = set()
    for module in graph:
        walk(module, [])
    assert circles == []


def test_a_folder_holds_no_more_names_than_one_reads():
    files = [*MODULES, *(ROOT / "tests").rglob("*.py")]
    counts = Counter(str(path.parent.relative_to(ROOT)) for path in files)

    assert {folder: count for folder, count in counts.items() if count > 16} == {}


def test_a_module_has_at_most_400_lines():
    counts = {dotted(path): len(path.read_text().splitlines()) for path in MODULES}

    assert {module: count for module, count in counts.items() if count > 400} == {}


def third_party(folder):
    """Return the top-level modules from elsewhere that the files of a folder import."""
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    ours = {"workbench", folder.name, *(path.stem for path in folder.rglob("*.py"))}
    return names - set(sys.stdlib_module_names) - ours


BROUGHT = {"pyflink": "apache-flink", "_pulsar": "pulsar-client"}
EXTRAS = ["stream", "services", "notebooks", "serve", "lakes", "search", "kafka", "spark"]
NOT_OURS = {"apache_beam", "TSB_AD"}  # Flink brings the one; the other records, elsewhere


@pytest.mark.parametrize(("folder", "groups"), [("src", EXTRAS), ("tests", [*EXTRAS, "dev"])])
@pytest.mark.slow
def test_everything_imported_is_declared(folder, groups):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = list(project["dependencies"])
    for group in groups:
        declared += project["optional-dependencies"][group]
    names = {re.split(r"[<>=\[]", text)[0].lower().replace("_", "-") for text in declared}
    distributions = packages_distributions()

    undeclared = {
        module
        for module in third_party(ROOT / folder)
        if module not in NOT_OURS
        and not {
            name.lower().replace("_", "-")
            for name in [BROUGHT.get(module), *distributions.get(module, [module])]
            if name
        }
        & names
    }

    assert undeclared == set()
