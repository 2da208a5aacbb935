"""Pictures that lie in a report itself: what is one stays, what could run or load something goes.

A picture is named by a data address (`data:image/png;base64,...`) and by no other. Of vector
graphics only shapes, text and paint are taken over, whatever else the file holds: browsers run
nothing in an `<img>`, but a person may open it by itself.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from urllib.parse import unquote, unquote_to_bytes
from xml.etree import ElementTree

SVG = "image/svg+xml"
KINDS = (SVG, "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp")
_NAMESPACE = "http://www.w3.org/2000/svg"
_LINK = "http://www.w3.org/1999/xlink"
_DRAWN = """svg g a defs symbol use marker clipPath mask pattern linearGradient radialGradient stop
    path rect circle ellipse line polyline polygon text tspan textPath image title desc style
    filter feBlend feColorMatrix feComponentTransfer feComposite feFlood feFuncA feFuncB feFuncG
    feFuncR feGaussianBlur feMerge feMergeNode feMorphology feOffset"""
_LOADS = re.compile(r"url\(\s*['\"]?(?!#)|@import|image-set|src\(|script:|expression\(|\\", re.I)
Attachments = Mapping[str, Mapping[str, str]]


def picture(address: str) -> str | None:
    """Return the address of the picture that lies in it, None if none does.

    Examples
    --------
    >>> picture("DATA:image/png;charset=x;base64,iVBO Rw0K")
    'data:image/png;base64,iVBORw0K'
    >>> picture("https://example.org/x.png"), picture("data:text/html,<b>")
    (None, None)
    """
    header, comma, body = address.strip().partition(",")
    scheme, _, described = header.casefold().partition(":")
    kind, *options = (option.strip() for option in described.split(";"))
    if scheme != "data" or not comma or kind not in KINDS:
        return None
    return data_address(kind, _decoded(body, in_base64="base64" in options))


def data_address(kind: str, content: bytes | None) -> str | None:
    """Return the data address of a picture of that media type, None where it is damaged."""
    content = clean_svg(content) if kind == SVG and content else content
    return f"data:{kind};base64,{base64.b64encode(content).decode()}" if content else None


def attached(name: str, attachments: Attachments) -> str | None:
    """Return the data address of a Markdown cell's attachment, None if it is no picture."""
    found = attachments.get(name) or attachments.get(unquote(name)) or {}
    kind = next((kind for kind in KINDS if kind in found), None)
    return picture(f"data:{kind};base64,{found[kind]}") if kind else None


def is_drawn(png: str) -> bool:
    """Return whether a PNG in base64 says that matplotlib drew it: no photo, so it may be dimmed.

    Examples
    --------
    >>> is_drawn("iVBORw0K")
    False
    """
    # the note stands behind the header of 33 bytes, whatever the size of the picture
    return b"tEXtSoftware\0Matplotlib" in (_decoded(png[:1000], in_base64=True) or b"")


def clean_svg(content: bytes) -> bytes | None:
    """Return a vector graphic with its shapes, text and paint alone, None if it is none.

    Examples
    --------
    >>> clean_svg(b'<svg onload="x()"><script>x()</script><path d="M0 0"/></svg>')
    b'<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0" /></svg>'
    """
    if b"xmlns=" not in content.partition(b"<svg")[2].partition(b">")[0]:
        content = content.replace(b"<svg", f'<svg xmlns="{_NAMESPACE}"'.encode(), 1)
    ElementTree.register_namespace("", _NAMESPACE)
    ElementTree.register_namespace("xlink", _LINK)
    try:
        root = ElementTree.fromstring(content)  # noqa: S314 - expat bounds what entities blow up
        if root.tag != f"{{{_NAMESPACE}}}svg":
            return None
        _clean(root)
        return ElementTree.tostring(root)
    except (ElementTree.ParseError, RecursionError, LookupError, ValueError):
        return None


def _decoded(body: str, *, in_base64: bool) -> bytes | None:
    if not in_base64:
        return unquote_to_bytes(body)
    text = "".join(unquote(body).split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _clean(element: ElementTree.Element) -> None:
    for name, value in list(element.attrib.items()):
        kept = _attribute(name.rpartition("}")[2], value)
        if kept is None:
            del element.attrib[name]
        else:
            element.set(name, kept)
    for inner in list(element):
        space, _, tag = str(inner.tag).rpartition("}")
        styled = tag == "style" and (len(inner) or _LOADS.search(inner.text or ""))
        if space != f"{{{_NAMESPACE}" or tag not in _DRAWN.split() or styled:
            element.remove(inner)
        else:
            _clean(inner)


def _attribute(name: str, value: str) -> str | None:
    """Return what may stand there, None if nothing may."""
    if name == "href":
        return value if value.startswith("#") else picture(value)
    return None if name.lower().startswith("on") or _LOADS.search(value) else value
