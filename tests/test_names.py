"""Names: what a function holds for longer than a glance is called by its noun."""

import ast
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "src" / "workbench"
MODULES = sorted(PACKAGE.rglob("*.py"))
WORDS = {"one", "found", "known", "told", "at"}
LINES = 3  # from where a word is bound to its last use, both included
BINDING = (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def names_of(scope):
    """Yield (name, first line, last line, whether it is bound there) of a function's own code."""
    pending = [scope]
    while pending:
        for child in ast.iter_child_nodes(pending.pop()):
            if isinstance(child, ast.Name):
                yield child.id, child.lineno, child.end_lineno, isinstance(child.ctx, ast.Store)
            elif isinstance(child, ast.arg):
                yield child.arg, child.lineno, child.lineno, True
            elif name := getattr(child, "name", None) if isinstance(child, BINDING) else None:
                yield name, child.lineno, child.lineno, True
            if not isinstance(child, ast.ClassDef):
                pending.append(child)


def lives(tree):
    """Yield (function, word, first line, last line) of each word that a function binds."""
    for scope in ast.walk(tree):
        if not isinstance(scope, FUNCTIONS) or scope.end_lineno - scope.lineno < LINES:
            continue
        uses = [use for use in names_of(scope) if use[0] in WORDS]
        for word in {name for name, _, _, is_bound in uses if is_bound}:
            first = min(line for name, line, _, is_bound in uses if name == word and is_bound)
            last = max(line for name, _, line, _ in uses if name == word)
            yield getattr(scope, "name", "lambda"), word, first, last


def test_a_participle_lives_three_lines():
    long = [
        f"{path}:{first}: {word} lives {last - first + 1} lines in {function}"
        for path in (*MODULES, *TESTS.rglob("*.py"))
        for function, word, first, last in lives(ast.parse(path.read_text()))
        if last - first >= LINES
    ]
    assert long == []


@pytest.mark.slow
def test_no_function_is_called_by_such_a_word():
    names = Counter(
        node.name
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    )
    assert sorted(WORDS & {name.strip("_") for name in names}) == []


def test_what_lives_too_long_is_told():
    tree = ast.parse(
        "def read(known, *, at=0):\n"
        "    rows = known\n"
        "    for found in rows:\n"
        "        pass\n"
        "    return [one for one in rows if one > found], at\n"
    )
    assert sorted(lives(tree)) == [
        ("read", "at", 1, 5),
        ("read", "found", 3, 5),
        ("read", "known", 1, 2),
        ("read", "one", 5, 5),
    ]
