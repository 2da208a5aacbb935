"""Keep secrets out of the run store.

A secret is a credential that `endpoints()` knows, or the value of an environment variable whose
name says so. Wherever one stands in a text that a run wrote, as it is or escaped for JSON, HTML or
an address, `[secret]` stands instead. A file that cannot be rewritten (a package is hashed) is
removed, and its run has failed.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workbench import files
from workbench.endpoints import endpoints

_TELLING = re.compile(r"SECRET|TOKEN|PASSW|PASSPHRASE|API_?KEY|ACCESS_KEY|PRIVATE_KEY|CREDENTIAL")
_SHORTEST = 6  # characters; a shorter value is more likely a word than a secret
_MASK = b"[secret]"
_JSON = {".json", ".ipynb"}
_FORMS: tuple[Callable[[str], str], ...] = (  # in which texts hold a text
    str,
    lambda text: repr(text)[1:-1],
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    html.escape,
    lambda text: html.escape(text, quote=False),
    lambda text: quote(text, safe=""),
    lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
)


def secrets() -> list[str]:
    """Return every secret that this process can see, longest first."""
    known = endpoints()
    found = {getattr(known, one.name) for one in fields(known) if not one.repr}
    found |= {value for name, value in os.environ.items() if _TELLING.search(name.upper())}
    return sorted((one for one in found if len(one) >= _SHORTEST), key=lambda one: (-len(one), one))


def clean(folder: Path) -> list[str]:
    """Mask the secrets in every file below `folder`, and remove the files where that cannot be.

    Returns
    -------
    removed
        Their names; empty where all is well.
    """
    needles = _needles(secrets())
    removed = []
    for path in sorted(folder.rglob("*")) if needles else ():
        content = path.read_bytes() if path.is_file() else b""
        masked = (
            _clean_json(content, needles) if path.suffix in _JSON else _masked(content, needles)
        )
        if masked == content:
            continue
        name = path.relative_to(folder)
        if "detector" in name.parts or b"\0" in content:
            path.unlink()
            removed.append(str(name))
        else:
            files.write_bytes(path, masked)
    return removed


def _clean_json(content: bytes, needles: Sequence[bytes]) -> bytes:
    """Mask text by text, so that what stands in them escaped once more is found too."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {walk(key): walk(item) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item) for item in value]
        return _masked(value.encode(), needles).decode() if isinstance(value, str) else value

    try:
        value = json.loads(content)
    except ValueError:
        return _masked(content, needles)
    masked = walk(value)
    return content if masked == value else json.dumps(masked, indent=1).encode() + b"\n"


def holds_secret(value: object) -> bool:
    """Return whether a secret stands anywhere in `value`, which JSON can say."""
    text = json.dumps(value, default=str).encode()
    return _masked(text, _needles(secrets())) != text


def mask(text: str) -> str:
    """Return `text` with its secrets masked."""
    return _masked(text.encode(), _needles(secrets())).decode()


def _masked(content: bytes, needles: Iterable[bytes]) -> bytes:
    for needle in needles:
        content = content.replace(needle, _MASK)
    return content


def _needles(known: Iterable[str]) -> list[bytes]:
    once = {form(one) for one in known for form in _FORMS}
    forms = once | {form(one) for one in once for form in _FORMS}
    return [form.encode() for form in sorted(forms, key=lambda one: (-len(one), one))]
