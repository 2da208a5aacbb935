"""A notebook to start from: one topic, from its readings to a detector's package."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.endpoints import project
from workbench.errors import DeskError, did_you_mean

if TYPE_CHECKING:
    from workbench.archive import Archive, Topic

STARTER = Path(__file__).with_name("starter.ipynb")
_NAME = re.compile(r"([0-9]{2}_)?[a-z][a-z0-9_]*")
_PARAMS = """\
# {notebook} as a batch job: workbench train {notebook} -f {params}
# What is not named here is as in the notebook's parameters cell; `workbench detectors` lists more.
notebook: {notebook}
detector:
  name: robust_z
  window: 1
"""


def new(name: str, *, topic: str = "", sensor: str = "key", archive: str = "") -> tuple[Path, Path]:
    """Write a starter notebook and its params file into the project, and return their paths.

    Parameters
    ----------
    name
        `NN_name`, by stage, or `name` alone, which becomes `20_name`.
    topic
        What it reads: full name or last part; may be left out where the archive holds one topic.
    sensor
        The column that says whose reading it is; `key` is the message key of Pulsar.
    archive
        Folder or URL; empty: the one that is known.

    Raises
    ------
    DeskError
        If the name is not one, a file of that name is there, no topic or several could be meant,
        the topic has no such column, or no field with numbers.
    ArchiveError, ReplayError
        If archive or topic are not there.
    """
    if not _NAME.fullmatch(name):
        raise DeskError(
            f"{name!r} is not a name for a notebook",
            hint="small letters, digits and _, a number in front if you like: 20_pump_wear",
        )
    stem = name if name[0].isdigit() else f"20_{name}"
    notebook = project() / "notebooks" / f"{stem}.ipynb"
    params = project() / "params" / f"{stem}.yaml"
    for path in (notebook, params):
        if path.exists():
            raise DeskError("there is a file of that name", where=path, hint="choose another name")
    found = _topic(topic, archive)
    channels = _channels(found, sensor)
    title = stem.replace("_", " ", 1).capitalize()
    blanks: dict[str, str | list[str]]
    blanks = {"archive": archive, "topic": found.name, "sensor": sensor, "channels": channels}
    _write(notebook, _filled(title, blanks))
    here = {"notebook": f"notebooks/{notebook.name}", "params": f"params/{params.name}"}
    _write(params, _PARAMS.format(**here))
    return notebook, params


def _topic(topic: str, archive: str) -> Topic:
    from workbench.history import open_archive

    opened: Archive = open_archive(archive or None)
    names = opened.names()
    if not topic and len(names) != 1:
        raise DeskError(
            f"the archive holds {len(names)} topics, which one is meant?",
            where=opened.store.url,
            hint=did_you_mean("", names) or "offload a topic first: workbench offload TOPIC",
        )
    return opened.topic(topic or names[0])


def _channels(topic: Topic, sensor: str) -> list[str]:
    """Return the fields that hold numbers, without the sensor's own."""
    import pyarrow as pa

    fields = topic.fields()
    if sensor != "key" and sensor not in fields:
        raise DeskError(
            f"the topic has no field {sensor!r}, it has {', '.join(fields)}",
            where=topic.name,
            hint=did_you_mean(sensor, [*fields, "key"]),
        )
    schema = topic.decoder().schema
    numbers = [
        one.name
        for one in schema
        if one.name != sensor and (pa.types.is_floating(one.type) or pa.types.is_integer(one.type))
    ]
    if not numbers:
        raise DeskError("the topic has no field with numbers", where=topic.name)
    return numbers


def _filled(title: str, blanks: Mapping[str, str | list[str]]) -> str:
    """Return the starter with its title and the blanks of its parameters cell filled."""
    notebook = json.loads(STARTER.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        text = "".join(cell["source"]).replace("__TITLE__", title)
        for name, value in blanks.items():
            blank = f'"__{name.upper()}__"'
            text = text.replace(blank, _literal(value))
        cell["source"] = text.splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _literal(value: str | list[str]) -> str:
    """Return Python's literal, a list with an item a line; JSON's texts are Python's too."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return "[\n" + "".join(f"    {_literal(one)},\n" for one in value) + "]"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
