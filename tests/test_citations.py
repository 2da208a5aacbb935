"""What code cites stands in the project's own pages."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DECISIONS = re.findall(r"^## D(\d+): ", (ROOT / "docs" / "design.md").read_text(), re.MULTILINE)
CITATION = re.compile(r"docs/design\.md, D(\d+)\b")
# a page links to it instead, and D3-plain is a golden bucket
BARE = re.compile(r"(?<!docs/design\.md, )(?<!\[)\bD\d{1,2}\b(?!-)")
ELSEWHERE = re.compile(r"\bDESIGN\b|\bDESIGN\.md|\bfacts/|\bstyle\.md")
SOURCES = sorted(
    path
    for room in ("src", "tests", "benchmarks", "data", "docs", "notebooks", "params", "streams")
    for ending in ("*.py", "*.java", "*.md", "*.ipynb", "*.yaml")
    for path in (ROOT / room).rglob(ending)
    if path != Path(__file__) and "golden" not in path.parts
)


def cited():
    return {number for path in SOURCES for number in CITATION.findall(path.read_text())}


def test_the_decisions_are_numbered_in_order():
    assert list(map(int, DECISIONS)) == list(range(1, len(DECISIONS) + 1))


def test_every_decision_cited_is_a_heading_of_the_design_page():
    assert cited()
    assert cited() <= set(DECISIONS)


@pytest.mark.parametrize(
    "text",
    ["by DESIGN D3", "see D10", "as facts/offload-format.md says"],
)
def test_another_way_to_cite_would_be_found(text):
    assert BARE.search(text) or ELSEWHERE.search(text)


def test_nothing_is_cited_that_a_reader_does_not_have():
    pages = {ROOT / "docs" / "design.md"}  # it may name a decision by its number alone
    strays = [
        f"{path.relative_to(ROOT)}: {match}"
        for path in SOURCES
        for match in ELSEWHERE.findall(path.read_text())
        + (BARE.findall(path.read_text()) if path not in pages else [])
    ]

    assert strays == []
