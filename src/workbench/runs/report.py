"""One run as one HTML file that asks nobody for anything.

nbconvert renders the cells into a small template of ours: no script, no font, no address, images
inside the file, and a policy in its head that forbids the rest. Whatever came from data passes a
list of harmless tags, so a sensor called `<script>` is text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.runs.parameters import declared, read_cells
from workbench.runs.store import Run, run_name

if TYPE_CHECKING:
    from nbformat import NotebookNode

TEMPLATES = Path(__file__).parent / "templates"
_TAGS = """a abbr b blockquote br caption code col colgroup dd del div dl dt em figcaption figure
    h1 h2 h3 h4 h5 h6 hr i img kbd li ol p pre s small span strong sub sup table tbody td tfoot th
    thead tr u ul"""
_ATTRIBUTES = {
    "*": ["id", "class", "title", "scope", "colspan", "rowspan"],
    "a": ["href"],
    "img": ["alt", "width", "height"],
}
_SHOWN_PACKAGES = ("apache-flink", "numpy", "pandas", "pyarrow", "pyod", "scikit-learn")
_PRIORITY = [
    "text/html",
    "text/markdown",
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "text/latex",
    "text/plain",
]


def write_report(run: Run) -> Path:
    """Write `report.html` into the folder of `run`, and return its path."""
    path = run.path / "report.html"
    path.write_text(_render(run, _notebook(run)), encoding="utf-8")
    return path


def write_story(
    runs: Sequence[Run], path: Path, *, title: str, summary: Sequence[tuple[str, str]] = ()
) -> Path:
    """Write one HTML file at `path` that tells several runs one after another; return `path`.

    Each run is a chapter: its notebook's title, numbers, cells, and its provenance, folded. Names
    and values of the `summary` stand above all of them.
    """
    from jinja2 import Environment, FileSystemLoader

    contents, chapters = [], []
    for number, run in enumerate(runs, start=1):
        notebook, chapter = _notebook(run), f"part-{number}"
        contents.append((2, chapter, _title(notebook) or Path(run.notebook).stem))
        parts = [(at, text) for level, at, text in _contents(notebook) if level == 2]
        contents += [(3, f"{chapter}-{at}", text) for at, text in parts]
        chapters.append(_deeper(_render(run, notebook, chapter), chapter))
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    html = environment.get_template("story.html.j2").render(
        title=title, css=css, summary=summary, contents=contents, chapters=chapters
    )
    path.write_text(html, encoding="utf-8")
    return path


def _notebook(run: Run) -> NotebookNode:
    import nbformat

    return nbformat.read(run.path / "notebook.ipynb", as_version=4)


def _render(run: Run, notebook: NotebookNode, chapter: str = "") -> str:
    page = {**_page(run, notebook), "chapter": chapter}
    prepared = _prepared(notebook, page["title"])
    html, _ = _exporter().from_notebook_node(prepared, resources={"page": page})
    return str(html)


def _deeper(html: str, chapter: str) -> str:
    """Return a chapter with the headings of its notebook one level down, their ids its own."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(html, "html.parser")
    for heading in soup(["h2", "h3", "h4", "h5"]):
        if heading.get("id") != chapter:
            heading.name = f"h{int(heading.name[1]) + 1}"
            heading["id"] = f"{chapter}-{heading.get('id', '')}"
    return str(soup)


def harmless(html: str) -> str:
    """Return `html` with nothing in it that runs, loads or restyles the page.

    Examples
    --------
    >>> harmless('<b onclick="x()">pump-1<script>alert(1)</script></b>')
    '<b>pump-1</b>'
    >>> harmless('a pump <img src="https://example.org/x.png">')
    'a pump '
    """
    import bleach
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(html, "html.parser")
    for element in soup(["script", "style", "iframe", "object", "svg", "template", "title"]):
        element.decompose()
    for element in soup.select("a.anchor-link, img:not([src^='data:image/'])"):
        element.decompose()
    return str(
        bleach.clean(
            str(soup),
            tags=frozenset(_TAGS.split()),
            attributes=_allowed,
            protocols={"http", "https", "mailto"},
            strip=True,
            strip_comments=True,
        )
    )


def _allowed(tag: str, name: str, value: str) -> bool:
    if tag == "img" and name == "src":
        return value.startswith("data:image/")
    return name in _ATTRIBUTES["*"] or name in _ATTRIBUTES.get(tag, [])


@cache  # its template takes longer to compile than to fill
def _exporter() -> Any:
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    exporter = HTMLExporter(
        config=Config({"NbConvertBase": {"display_data_priority": _PRIORITY}}),
        template_name="report",
        extra_template_basedirs=[str(TEMPLATES)],
    )
    exporter.register_filter("harmless", harmless)
    return exporter


def _page(run: Run, notebook: NotebookNode) -> dict[str, Any]:
    every = [one for manifest in run.manifest["data"] for one in manifest.get("objects", [])]
    objects = list({json.dumps(one): one for one in every}.values())
    columns = list(dict.fromkeys(key for one in objects for key in one))
    failed = run.about.get("failed_cell")
    return {
        "css": (TEMPLATES / "report.css").read_text(encoding="utf-8"),
        "title": _title(notebook) or Path(run.notebook).stem,
        "id": run_name(run.about["started"], run.about["inputs"]),
        "status": run.status,
        "reason": run.reason,
        "failed_cell": failed,
        "notebook": run.notebook,
        "started": run.about["started"],
        "wall": _seconds(run.wall_s),
        "numbers": [(name, shown_value(value)) for name, value in _scalars(run.metrics)],
        "contents": list(_contents(notebook)),
        "parameters": list(_parameters(run)),
        "provenance": list(_provenance(run)),
        "object_columns": columns,
        "objects": [[str(one.get(key, "")) for key in columns] for one in objects],
        **_failure(notebook, failed),
    }


def _failure(notebook: NotebookNode, number: int | None) -> dict[str, str]:
    if number is None:
        return {}
    cell = notebook.cells[number]
    lines = [
        line
        for output in cell.get("outputs", [])
        if output.output_type == "error"
        for line in output.traceback
    ]
    return {"failed_source": cell.source, "failed_traceback": "\n".join(lines)}


def _parameters(run: Run) -> Iterator[tuple[str, str, str]]:
    known = declared(read_cells(run.path / "notebook.ipynb"), run.notebook)
    for name, value in run.params.items():
        text = value if isinstance(value, str) else json.dumps(value)
        yield name, text or '""', known[name].comment if name in known else ""


def _provenance(run: Run) -> Iterator[tuple[str, str]]:
    manifest = run.manifest
    for data in manifest["data"]:
        yield from _data(data)
    if run.package is not None:
        described = (run.package / "detector.json").read_bytes()
        yield "detector package", hashlib.sha256(described).hexdigest()  # which is its id
    for path, digest in manifest["files"].items():
        yield "file", f"{path} (sha256 {digest[:12]})"
    yield "notebook", f"{run.notebook} (sha256 {manifest['notebook_sha256'][:12]})"
    yield "params", run.about["source"]
    yield "workbench code", f"sha256 {manifest['code_sha256'][:12]}"
    known = manifest["packages"]
    versions = [f"{name} {known[name]}" for name in _SHOWN_PACKAGES if name in known]
    yield "versions", ", ".join([f"python {manifest['python']}", *versions])
    yield "all inputs", f"sha256 {run.about['inputs']}"
    yield "wall time", _seconds(run.wall_s)
    for number, attempt in enumerate(run.about["attempts"][:-1], start=1):
        yield f"attempt {number}", f"{_seconds(attempt['wall_s'])}, {attempt['reason']}"


def _data(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what one read was of: topic, interval and messages in a row each, then the rest."""
    rest = dict(manifest)
    rest.pop("objects", None)
    yield "topic", str(rest.pop("topic", "not named"))
    interval = [rest.pop(name, None) for name in ("start", "stop")]
    if any(interval):
        start, stop = (one or "\N{HORIZONTAL ELLIPSIS}" for one in interval)
        yield "interval", f"[{start}, {stop}) by {rest.pop('by', 'event_time')}"
    messages = [rest.pop(name, None) for name in ("first_message_id", "last_message_id")]
    if any(messages):
        yield "messages", " to ".join(map(str, messages))
    for name, value in rest.items():
        if value:
            yield name.replace("_", " "), shown_value(value)


def _prepared(notebook: NotebookNode, title: str) -> NotebookNode:
    """Leave out what the page shows elsewhere; number cells, time them, name the figures."""
    said = title
    kept = []
    for number, cell in enumerate(notebook.cells):
        if "injected-parameters" in cell.metadata.get("tags", []):
            continue
        if cell.cell_type == "markdown":
            cell.source = _without_title(cell.source, title)
            said = _last_sentence(cell.source) or said
        for figure, output in enumerate(cell.get("outputs", []), start=1):
            if "metadata" in output:
                output.metadata["alt"] = output.metadata.get("alt") or f"Figure {figure}: {said}"
        seconds = cell.metadata.get("papermill", {}).get("duration")
        cell.metadata["report"] = {
            "number": number,
            "seconds": f", {_seconds(seconds)}" if seconds else "",
        }
        kept.append(cell)
    notebook.cells = kept
    notebook.metadata.pop("widgets", None)
    return notebook


def _contents(notebook: NotebookNode) -> Iterator[tuple[int, str, str]]:
    """Yield level, id and text of each heading of level 2 and 3, as they will be rendered."""
    from bs4 import BeautifulSoup
    from nbconvert.filters import markdown2html

    for cell in notebook.cells:
        if cell.cell_type == "markdown" and "##" in cell.source:
            rendered = BeautifulSoup(harmless(markdown2html(cell.source)), "html.parser")
            for heading in rendered(["h2", "h3"]):
                yield int(heading.name[1]), str(heading.get("id", "")), heading.get_text()


def _title(notebook: NotebookNode) -> str:
    first = next((cell for cell in notebook.cells if cell.cell_type == "markdown"), None)
    lines = first.source.splitlines() if first else []
    return lines[0].removeprefix("# ").strip() if lines and lines[0].startswith("# ") else ""


def _without_title(source: str, title: str) -> str:
    first, _, rest = source.partition("\n")
    return rest if first.startswith("# ") and first[2:].strip() == title else source


def _last_sentence(source: str) -> str:
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    prose = [line for line in lines if line[0] not in "#|`-*>"]
    return (prose or lines or [""])[-1].strip("# ").replace("`", "").replace("*", "")[:160]


def _scalars(metrics: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, one) for name, one in metrics.items() if not isinstance(one, (dict, list))]


def shown_value(value: object) -> str:
    """Return a number or text as a person reads it.

    Examples
    --------
    >>> [shown_value(one) for one in (0.123456, 48000, 1234567.8, None, "knn")]
    ['0.1235', '48,000', '1,234,568', '-', 'knn']
    """
    if value is None:
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def _seconds(value: float) -> str:
    if value < 120:
        return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.0f} min"
