"""One run as one HTML file that asks nobody for anything.

nbconvert renders the cells into a small template of ours: no script, no font, no address, images
inside the file, and a policy in its head that forbids the rest. Whatever came from data passes a
list of harmless tags, so a sensor called `<script>` is text.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html import escape as html_escape
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from workbench import files
from workbench.cards import readable
from workbench.runs.planning.parameters import declared, read_cells
from workbench.runs.reports import pictures
from workbench.runs.store import Run, run_name

if TYPE_CHECKING:
    from bs4 import Tag
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
_ACTIVE = ["iframe", "frame", "object", "embed", "svg", "video", "audio", "canvas"]
_SVG = re.compile(r"<svg\b.*?</svg\s*>", re.I | re.S)
_ADDRESS = re.compile(r"(https?:|mailto:|#|[^:]*$)", re.I)
NO_ATTACHMENTS: pictures.Attachments = MappingProxyType({})
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
    return files.write_text(run.path / "report.html", _render(run, _notebook(run)))


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
    return files.write_text(path, html)


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


def harmless(html: str, attachments: pictures.Attachments = NO_ATTACHMENTS) -> str:
    """Return `html` with nothing in it that runs, loads or restyles the page.

    Pictures stay where they lie in the text itself or in `attachments`, those of its cell; in
    place of another stands that it is left out.

    Examples
    --------
    >>> harmless('<b onclick="x()">pump-1<script>alert(1)</script></b>')
    '<b>pump-1</b>'
    >>> harmless('a pump <img src="https://example.org/x.png">')
    'a pump <em>[a picture is left out: it does not lie in the notebook]</em>'
    """
    import bleach
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(_SVG.sub(_drawn, html), "html.parser")
    scripts = len(soup("script"))
    for element in soup(["script", "style", "template", "title"]) + soup.select("a.anchor-link"):
        element.decompose()
    for element in soup(_ACTIVE):
        _leave_out(element, f"what stood in <{element.name}> is left out")
    for image in soup("img"):
        _keep_picture(image, attachments)
    if scripts and not soup.find("img") and not soup.get_text(strip=True):
        soup.append(soup.new_tag("em", string="[what a script would have drawn is left out]"))
    return str(
        bleach.clean(
            str(soup),
            tags=frozenset(_TAGS.split()),
            attributes=_allowed,
            protocols={"http", "https", "mailto", "data"},
            strip=True,
            strip_comments=True,
        )
    )


def drawing(svg: str, alt: str = "") -> str:
    """Return a vector graphic as an HTML image without anything active, or that it is damaged."""
    address = pictures.data_address(pictures.SVG, svg.encode(errors="replace"))
    if address is None:
        return "<em>[a picture is left out: it is damaged]</em>"
    return f'<img alt="{html_escape(alt)}" src="{address}"/>'


def _drawn(match: re.Match[str]) -> str:
    before = match.string[: match.start()]
    return match[0] if before.rfind("<") > before.rfind(">") else drawing(match[0])  # in a tag


def _keep_picture(image: Tag, attachments: pictures.Attachments) -> None:
    source = str(image.get("src", "")).strip()
    name = source.partition(":")[2] if source.startswith("attachment:") else None
    kept = pictures.picture(source) if name is None else pictures.attached(name, attachments)
    if kept is not None:
        image["src"] = kept
    elif name is not None:
        _leave_out(image, f"a picture is left out: the cell has no such attachment, {name!r}")
    elif source.casefold().startswith("data:"):
        _leave_out(image, "a picture is left out: it is damaged, or none")
    else:
        _leave_out(image, "a picture is left out: it does not lie in the notebook")


def _leave_out(element: Tag, why: str) -> None:
    from bs4 import BeautifulSoup

    note = BeautifulSoup("", "html.parser").new_tag("em", string=f"[{why}]")
    element.replace_with(note)


def markdown(source: str, attachments: pictures.Attachments) -> str:
    """Return Markdown as HTML with nothing active in it, pictures attached to the cell included."""
    from mistune import HTMLRenderer
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):  # type: ignore[misc]
        def image(self, text: str, url: str, title: str | None = None) -> str:
            return str(HTMLRenderer.image(self, text, url, title))  # nbconvert's own refuses the
            # whole notebook if an attachment is missing

    return harmless(MarkdownWithMath(Renderer(escape=False)).render(source), attachments)


def _allowed(tag: str, name: str, value: str) -> bool:
    if tag == "img" and name == "src":
        return value.startswith("data:image/")
    if name == "href" and not _ADDRESS.match(re.sub(r"[\0-\x20\x7f-\xa0]", "", value)):
        return False
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
    for function in (harmless, markdown, drawing, pictures.is_drawn):
        exporter.register_filter(function.__name__, function)
    return exporter


def _page(run: Run, notebook: NotebookNode) -> dict[str, Any]:
    every = [entry for manifest in run.manifest["data"] for entry in manifest.get("objects", [])]
    objects = list({json.dumps(entry): entry for entry in every}.values())
    columns = list(dict.fromkeys(key for entry in objects for key in entry))
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
        "numbers": [(name, readable(value)) for name, value in _scalars(run.metrics)],
        "contents": list(_contents(notebook)),
        "parameters": list(_parameters(run)),
        "provenance": list(_provenance(run)),
        "object_columns": columns,
        "objects": [[str(entry.get(key, "")) for key in columns] for entry in objects],
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
    parameters = declared(read_cells(run.path / "notebook.ipynb"), run.notebook)
    for name, value in run.params.items():
        text = value if isinstance(value, str) else json.dumps(value)
        yield name, text or '""', parameters[name].comment if name in parameters else ""


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
        start, stop = (bound or "\N{HORIZONTAL ELLIPSIS}" for bound in interval)
        yield "interval", f"[{start}, {stop}) by {rest.pop('by', 'event_time')}"
    messages = [rest.pop(name, None) for name in ("first_message_id", "last_message_id")]
    if any(messages):
        yield "messages", " to ".join(map(str, messages))
    for name, value in rest.items():
        if value:
            yield name.replace("_", " "), readable(value)


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
            _show_as_html(output)
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


def _show_as_html(output: NotebookNode) -> None:
    """Let pictures for which the exporter has no block be seen: as HTML that holds one."""
    data = output.get("data", {})
    if data and not any(kind in data for kind in _PRIORITY[:-1]):
        for kind in [kind for kind in pictures.KINDS if kind in data][:1]:
            data["text/html"] = f'<img src="data:{kind};base64,{data[kind]}">'


def _contents(notebook: NotebookNode) -> Iterator[tuple[int, str, str]]:
    """Yield level, id and text of each heading of level 2 and 3, as they will be rendered."""
    from bs4 import BeautifulSoup

    for cell in notebook.cells:
        if cell.cell_type == "markdown" and "##" in cell.source:
            rendered = BeautifulSoup(markdown(cell.source, {}), "html.parser")
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
    return [
        (name, metric) for name, metric in metrics.items() if not isinstance(metric, (dict, list))
    ]


def _seconds(value: float) -> str:
    if value < 120:
        return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.0f} min"
