"""A notebook to start from: one topic, from its readings to a package, and the stream it scores."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from workbench import bounded_yaml, files
from workbench.endpoints import project
from workbench.errors import ArchiveWarning, DeskError, StreamError, did_you_mean

if TYPE_CHECKING:
    from workbench.archive import Archive, Topic

STARTER = Path(__file__).with_name("starter.ipynb")
_NAME = re.compile(r"([0-9]{2}_)?[a-z][a-z0-9_]*")
_LOOKED_BYTES = 256 << 20  # of a topic whose times are looked at
_PARAMS = """\
# {notebook} as a batch job: workbench train {notebook} -f {params}
# What is not named here is as in the notebook's parameters cell; `workbench detectors` lists more.
notebook: {notebook}
detector:
  name: auto
"""


_STREAM = """\
# What the job of this topic reads, scores and writes; every key: docs/stream-file.md
topic: {topic}
sensor: {sensor}
channels: {channels}
window: 64 # readings: the longest that a detector may look at; `auto` takes no more
lateness_s: 1 # how much out of order a reading may come; alerts wait for so long
alerts: {alerts}
heartbeat: {heartbeat}
"""


class Starter(NamedTuple):
    """What `new` wrote.

    Attributes
    ----------
    notebook, params
        Paths of the notebook and of its params file.
    stream
        Path of the stream file, `streams/NAME.yaml`; None where there can be none.
    remarks
        What was taken for the sensor, and why a stream file was not written, a line each.
    """

    notebook: Path
    params: Path
    stream: Path | None
    remarks: tuple[str, ...]


def new(name: str, *, topic: str = "", sensor: str = "", archive: str = "") -> Starter:
    """Write a starter notebook, its params file and a stream file, and say where they are.

    No stream file is written where one is there, which stays, where no field says whose reading
    it is, or where fields have names that a stream cannot have.

    Parameters
    ----------
    name
        `NN_name`, by stage, or `name` alone, which becomes `20_name`.
    topic
        What it reads: full name or last part; may be left out where the archive holds one topic.
    sensor
        The column that says whose reading it is; `key` is the message key of Pulsar. Empty: the
        topic's only field of text, if the first messages have no other key, or else `key`.
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
    history = _topic(topic, archive)
    notes = [] if sensor else [f"sensor: {(sensor := _sensor(history))}"]
    channels = _channels(history, sensor)
    title = stem.replace("_", " ", 1).capitalize()
    blanks: dict[str, str | list[str]]
    blanks = {"archive": archive, "topic": history.name, "sensor": sensor, "channels": channels}
    stream = project() / "streams" / f"{re.sub('^[0-9]+_', '', stem)}.yaml"
    text, why = _stream(stream, history.name, sensor, channels)
    files.write_text(notebook, _filled(title, blanks))
    here = {"notebook": f"notebooks/{notebook.name}", "params": f"params/{params.name}"}
    files.write_text(params, _PARAMS.format(**here))
    if text:
        files.write_text(stream, text)
    return Starter(notebook, params, stream if stream.exists() else None, (*notes, *why))


def _stream(path: Path, topic: str, sensor: str, channels: list[str]) -> tuple[str, list[str]]:
    """Return what a stream file holds, or nothing and why."""
    from workbench.stream import parse_stream

    name = f"streams/{path.name}"
    if path.exists():
        return "", [f"{name} is there already, and stays as it is"]
    if sensor == "key":
        return "", [f"no {name}: a stream wants a field that says whose reading it is"]
    values = {"topic": topic, "alerts": f"{topic}-alerts", "heartbeat": f"{topic}-beats"}
    lists = {"sensor": sensor, "channels": channels}
    quoted = {key: json.dumps(value, ensure_ascii=False) for key, value in (values | lists).items()}
    text = _STREAM.format(**quoted)
    try:
        parse_stream(path.stem, bounded_yaml.load(text))
    except StreamError as err:
        return "", [f"no {name}: {err.message}"]
    return text, []


def remarks(topic: str = "", *, archive: str = "") -> list[str]:
    """Return what is worth knowing of a topic's times before a notebook is written, a line each.

    Whether its history is in the order of time, by partition, and how many event times are missing
    or can hardly be; nothing of a topic without such troubles.

    Parameters
    ----------
    topic, archive
        As for `new`.
    """
    from workbench.detectors import Order, epoch_ms, source_partitions
    from workbench.history import odd_times, open_archive, replay

    history, opened = _topic(topic, archive), open_archive(archive or None)
    if sum(ledger.index.data_bytes for ledger in history.ledgers) > _LOOKED_BYTES:
        return [f"{history.name} is large: whether it is in the order of time 00_look says"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ArchiveWarning)  # counted below
        frame = replay(history.name, archive=opened, columns=[])
        odd = odd_times(history.name, archive=opened).drop("messages")
    order = Order.of(epoch_ms(frame["event_time"]), partition=source_partitions(frame))
    lines = [str(order)] if order.back else []
    return lines + [f"event times {kind}: {count:,}" for kind, count in odd.items() if count]


def _topic(topic: str, archive: str) -> Topic:
    from workbench.history import open_archive

    opened: Archive = open_archive(archive or None)
    names = opened.names()
    if not topic and len(names) != 1:
        raise DeskError(
            f"the archive holds {len(names)} topics, which one is meant?",
            where=opened.url,
            hint=did_you_mean("", names) or "offload a topic first: workbench offload TOPIC",
        )
    return opened.topic(topic or names[0])


def _sensor(topic: Topic) -> str:
    """Return the only field of text if it is what messages are keyed by, or they have no key."""
    import pyarrow as pa

    schema = topic.decoder().schema
    texts = [str(field.name) for field in schema if pa.types.is_string(field.type)]
    if len(texts) != 1:
        return "key"
    first = next(topic.batches(columns=[*texts, "key"]), None)
    if first is None:
        return "key"
    keys, values = (first[name].to_pylist() for name in ("key", texts[0]))
    agree = all(key in (None, value) for key, value in zip(keys, values, strict=True))
    return texts[0] if agree else "key"


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
        field.name
        for field in schema
        if field.name != sensor
        and (pa.types.is_floating(field.type) or pa.types.is_integer(field.type))
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
    return "[\n" + "".join(f"    {_literal(item)},\n" for item in value) + "]"
