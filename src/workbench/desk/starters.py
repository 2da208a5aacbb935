"""A notebook to start from: one topic, from its readings to a package, and the stream it scores."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from workbench import bounded_yaml, files, kafka
from workbench.endpoints import project
from workbench.errors import ArchiveWarning, DeskError, StreamError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

    from workbench.archive import Archive, Topic

STARTER = Path(__file__).with_name("starter.ipynb")
_NAME = re.compile(r"([0-9]{2}_)?[a-z][a-z0-9_]*")
_LOOKED_BYTES = 256 << 20  # of a topic whose times are looked at
_KEY_FIELD = "__key__"  # what a stream file calls the key of a record of Kafka
_NEWEST = 20_000  # of Kafka's records, of each partition: those that are looked at
_NEWEST_BYTES = 64 << 20  # and of all partitions together
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


class _Subject(NamedTuple):
    """A topic, as what starts from it has to know it.

    Attributes
    ----------
    name
        Full name.
    fields
        Of a payload.
    kinds
        Those that have a column.
    key
        The column of keys.
    first
        Some messages: the fields of text, then `key`.
    """

    name: str
    fields: list[str]
    kinds: pa.Schema
    key: str
    first: pa.RecordBatch | pa.Table | None


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
        `kafka://NAME` is a topic of Kafka, of which the newest 20,000 records of each partition
        are looked at, and no more than 64 MiB of them.
    sensor
        The column that says whose reading it is; `key` is the key of a message. Empty: the
        topic's only field of text, if the messages looked at have no other key, or else `key`.
    archive
        Folder or URL; empty: the one that is known.

    Raises
    ------
    DeskError
        If the name is not one, a file of that name is there, no topic or several could be meant,
        the topic has no such column, or no field with numbers.
    ArchiveError, ReplayError, ServicesError
        If archive, Kafka or topic are not there.
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
    subject = _subject(topic, archive)
    notes = [] if sensor else [f"sensor: {(sensor := _sensor(subject))}"]
    channels = _channels(subject, sensor)
    title = stem.replace("_", " ", 1).capitalize()
    blanks: dict[str, str | list[str]]
    blanks = {"archive": archive, "topic": subject.name, "sensor": sensor, "channels": channels}
    stream = project() / "streams" / f"{re.sub('^[0-9]+_', '', stem)}.yaml"
    is_key = sensor == subject.key
    text, why = _stream(stream, subject.name, sensor, channels, is_key=is_key)
    files.write_text(notebook, _filled(title, blanks))
    here = {"notebook": f"notebooks/{notebook.name}", "params": f"params/{params.name}"}
    files.write_text(params, _PARAMS.format(**here))
    if text:
        files.write_text(stream, text)
    return Starter(notebook, params, stream if stream.exists() else None, (*notes, *why))


def _stream(
    path: Path, topic: str, sensor: str, channels: list[str], *, is_key: bool
) -> tuple[str, list[str]]:
    """Return what a stream file holds, or nothing and why."""
    from workbench.stream import parse_stream

    name = f"streams/{path.name}"
    if path.exists():
        return "", [f"{name} is there already, and stays as it is"]
    if is_key and not kafka.is_topic(topic):
        return "", [f"no {name}: a stream wants a field that says whose reading it is"]
    values = {"topic": topic, "alerts": f"{topic}-alerts", "heartbeat": f"{topic}-beats"}
    lists = {"sensor": _KEY_FIELD if is_key else sensor, "channels": channels}
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
    or can hardly be; nothing of a topic without such troubles. Of Kafka, the order of the newest.

    Parameters
    ----------
    topic, archive
        As for `new`.
    """
    from workbench.detectors import Order, epoch_ms, source_partitions
    from workbench.history import odd_times, open_archive, replay

    if kafka.is_topic(topic):
        return _order_of_newest(topic)
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


def _order_of_newest(topic: str) -> list[str]:
    from workbench.detectors import Order, epoch_ms, source_partitions
    from workbench.history import read_records

    frame = read_records(topic, newest=_NEWEST, newest_bytes=_NEWEST_BYTES).frame([])
    order = Order.of(epoch_ms(frame["event_time"]), partition=source_partitions(frame))
    return [f"of the newest {len(frame):,} records: {order}"] if order.back else []


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


def _subject(topic: str, archive: str) -> _Subject:
    if kafka.is_topic(topic):
        return _of_kafka(topic)
    history = _topic(topic, archive)
    fields, kinds = history.fields(), history.decoder().schema
    key = "__key__" if "key" in fields else "key"
    first = next(history.batches(columns=[*_texts(kinds), key]), None)
    return _Subject(history.name, fields, kinds, key, first)


def _of_kafka(topic: str) -> _Subject:
    """Look at a topic's newest records: of JSON Kafka has no schema, and it keeps none for ever."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from workbench.history import read_records

    records = read_records(topic, newest=_NEWEST, newest_bytes=_NEWEST_BYTES)
    if not records.table.num_rows:
        raise DeskError("the topic holds no records, so its fields are not known", where=topic)
    values = records.table["fields"]
    kinds = pa.schema(list(values.type))
    key = "__key__" if "key" in kinds.names else "key"
    columns = {name: pc.struct_field(values, [kinds.get_field_index(name)])
               for name in _texts(kinds)}  # fmt: skip
    first = pa.table({**columns, key: records.table["key"]})
    return _Subject(records.topic, kinds.names, kinds, key, first)


def _texts(kinds: pa.Schema) -> list[str]:
    import pyarrow as pa

    return [str(field.name) for field in kinds if pa.types.is_string(field.type)]


def _sensor(subject: _Subject) -> str:
    """Return the only field of text if it is what messages are keyed by, or they have no key."""
    texts = _texts(subject.kinds)
    if len(texts) != 1 or subject.first is None:
        return subject.key
    keys, values = (subject.first[name].to_pylist() for name in (subject.key, texts[0]))
    agree = all(key in (None, value) for key, value in zip(keys, values, strict=True))
    return texts[0] if agree else subject.key


def _channels(subject: _Subject, sensor: str) -> list[str]:
    """Return the fields that hold numbers, without the sensor's own."""
    import pyarrow as pa

    if sensor not in (subject.key, *subject.fields):
        raise DeskError(
            f"the topic has no field {sensor!r}, it has {', '.join(subject.fields)}",
            where=subject.name,
            hint=did_you_mean(sensor, [*subject.fields, subject.key]),
        )
    numbers = [
        field.name
        for field in subject.kinds
        if field.name != sensor
        and (pa.types.is_floating(field.type) or pa.types.is_integer(field.type))
    ]
    if not numbers:
        raise DeskError("the topic has no field with numbers", where=subject.name)
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
