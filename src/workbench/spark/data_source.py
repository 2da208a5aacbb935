"""A topic of an archive as a data source of Spark: `spark.read.format("pulsar_archive")`.

The driver lists the archive once, when a DataFrame is made: all that is computed of it later reads
those same objects. A partition of Spark is a run of ledgers of roughly even bytes (`archive.cut`),
so the partitions one after another are the rows of `archive.read`, in its order. Executors read
the objects themselves, with their own credentials; none are sent to them.

Source: Spark 4.0, Python Data Source API (pyspark.sql.datasource), which has no push-down: the
bounds on time and the columns are options.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.types import StructType

from workbench import archive
from workbench.archive import Part, Selection, Topic, TopicDataset
from workbench.endpoints import located
from workbench.errors import ArchiveError, ArchiveWarning, did_you_mean
from workbench.spark.columns import converted, held, misfit_row, spark_schema

_PART_BYTES = 64 << 20  # of objects, for one task
_LEAST_PARTS = 8  # where there are as many ledgers: a small topic, too, keeps some cores busy
_ID = "__message_id__"


@dataclass(frozen=True)
class Options:
    """What is asked for, as the options of `spark.read` say it, all of them texts."""

    path: str = ""
    topic: str = ""
    start: str = ""
    stop: str = ""
    by: str = "event_time"
    columns: str = ""
    generation: str = ""
    partitions: str = ""
    keys: str = ""

    @classmethod
    def of(cls, options: Mapping[str, str]) -> Options:
        """Return the options, whose names Spark takes in any case."""
        names = list(cls.__dataclass_fields__)
        given = {name.lower(): text for name, text in options.items()}
        for name in given:
            if name not in names:
                raise ArchiveError(
                    f"pulsar_archive has no option {name!r}", hint=did_you_mean(name, names)
                )
        for name, example in (("path", '.load("s3://bucket")'), ("topic", '.option("topic", "t")')):
            if not given.get(name):
                raise ArchiveError(f"pulsar_archive has no {name}", hint=f"give it: {example}")
        asked = cls(**given)
        return replace(asked, path=_absolute(asked.path))

    @property
    def selection(self) -> Selection:
        """The bounds on time."""
        return Selection.of(self.start, self.stop, self.by)

    @property
    def names(self) -> list[str] | None:
        """The columns wanted, None is all."""
        if self.columns.lstrip().startswith("["):
            listed = json.loads(self.columns)
            return [str(name) for name in listed]
        return [name.strip() for name in self.columns.split(",") if name.strip()] or None

    def count(self, name: str) -> int | None:
        """Return an option that is a number from 1, None where it is not given."""
        text = getattr(self, name)
        if text and not (text.isascii() and text.isdigit() and int(text)):
            raise ArchiveError(f"option {name!r} is {text!r}, expected a number from 1")
        return int(text) if text else None


class PulsarArchive(DataSource):  # type: ignore[misc] # pyspark is untyped here
    """A topic of an archive, for `spark.dataSource.register`.

    The columns are those of `workbench sql`: the fields, `event_time`, `publish_time`, `key`, and
    the hidden ones (`__message_id__`, ...).

    Options: `topic`; `start`, `stop` (ISO 8601, half-open) and `by` (`event_time` or
    `publish_time`); `columns` (names with commas, or a JSON list; all if left out); `generation`;
    `partitions` (how many at most; 64 MiB of objects each if left out); `keys` (a folder of private
    keys, on every executor).

    Examples
    --------
    >>> from workbench.spark import PulsarArchive
    >>> source = PulsarArchive({"path": "data/archive", "topic": "pumps", "columns": "pump,key"})
    >>> source.schema().simpleString()
    'struct<pump:string,key:string>'
    """

    @classmethod
    def name(cls) -> str:
        """Return the name of the format."""
        return "pulsar_archive"

    def __init__(self, options: Mapping[str, str]) -> None:
        super().__init__(dict(options))
        self._asked = Options.of(options)
        self._topic: Topic | None = None

    def schema(self) -> StructType:
        """Return the columns; the archive is listed for that, and a topic without schema read.

        Raises
        ------
        ArchiveError
            If there is no such topic or column, several generations of the topic and none asked
            for, or Spark has no type for a column.
        """
        return spark_schema(self._columns())

    def reader(self, schema: StructType) -> DataSourceReader:
        """Return what reads the topic.

        Raises
        ------
        ArchiveError
            If `schema` is not the topic's own.
        """
        columns = self._columns()
        own = spark_schema(columns).simpleString()
        if schema.simpleString() != own:
            raise ArchiveError(
                f"the schema given is {schema.simpleString()}, the topic's is {own}",
                hint='leave .schema(...) out; .option("columns", "...") chooses some',
            )
        return Reader(self._opened(), columns, self._asked)

    def _opened(self) -> Topic:
        if self._topic is None:
            self._topic = _open(self._asked)
        return self._topic

    def _columns(self) -> pa.Schema:
        topic = self._opened()
        schema = TopicDataset(topic).schema
        names = schema.names if self._asked.names is None else self._asked.names
        for name in names:
            if name not in schema.names:
                hint = did_you_mean(name, schema.names)
                raise ArchiveError(f"no column {name!r}", where=topic.name, hint=hint)
        return pa.schema([schema.field(name) for name in names])


@dataclass
class Run(InputPartition):  # type: ignore[misc] # pyspark is untyped here
    """The ledgers of one partition, by their positions in the topic."""

    ledgers: list[int]


class Reader(DataSourceReader):  # type: ignore[misc] # pyspark is untyped here
    """Cuts a topic into partitions, and reads one; sent to executors, so without a connection."""

    def __init__(self, topic: Topic, columns: pa.Schema, asked: Options) -> None:
        self.topic, self.columns, self.asked = topic, columns, asked

    def partitions(self) -> list[Run]:
        """Return the runs of ledgers, in the order of the topic's rows."""
        total = sum(ledger.index.data_bytes for ledger in self.topic.ledgers)
        usual = max(_LEAST_PARTS, math.ceil(total / _PART_BYTES))
        count = self.asked.count("partitions") or usual
        places = {ledger.key: place for place, ledger in enumerate(self.topic.ledgers)}
        parts = archive.cut(self.topic, self.asked.selection, count)
        return [Run([places[ledger.key] for ledger in part.ledgers]) for part in parts]

    def read(self, run: Run | None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one partition; None, where there is none at all, has no rows.

        A warning says what its ledgers have of transactions and chunked messages without an end.

        Raises
        ------
        ArchiveError
            As `Topic.read`; or if Spark cannot hold a value.
        """
        if run is None:
            return
        topic = archive.attach(self.topic, keys=self.asked.keys or None)
        dataset = TopicDataset(Part(topic, [topic.ledgers[place] for place in run.ledgers]))
        rows = 0
        for batch in dataset.batches(self.columns, self.asked.selection):
            yield self._converted(dataset, batch, rows)
            rows += batch.num_rows
        _warn_of_endless(topic)

    def _converted(self, dataset: TopicDataset, batch: pa.RecordBatch, rows: int) -> pa.RecordBatch:
        arrays = []
        for field, column in zip(self.columns, batch.columns, strict=True):
            kind = held(field.type, field.name)
            try:
                arrays.append(converted(column, kind))
            except pa.ArrowInvalid as err:
                row = rows + misfit_row(column, kind)
                raise ArchiveError(
                    f"Spark cannot hold a value of column {field.name!r}: {err}",
                    where=f"{self.topic.name}, message {self._message_id(dataset, row)}",
                    hint='leave the column out: .option("columns", "...") names those wanted',
                ) from err
        return pa.RecordBatch.from_arrays(arrays, self.columns.names)

    def _message_id(self, dataset: TopicDataset, row: int) -> str:
        """Return the id of a row, counted from the first of the partition: it is read again."""
        ids = pa.schema([dataset.schema.field(_ID)])
        for batch in dataset.batches(ids, self.asked.selection):
            if row < batch.num_rows:
                return str(batch.column(0)[row].as_py())
            row -= batch.num_rows
        return "?"


def _warn_of_endless(topic: Topic) -> None:
    """Say what the last read left out, for on an executor nobody asks its topic."""
    kinds = (
        (len(topic.undecided), f"entries of transactions ({', '.join(topic.undecided[:1])}, ...)"),
        (topic.unfinished, "chunked messages"),
    )
    text = " and ".join(f"{count:,} {kind}" for count, kind in kinds if count)
    if text:
        message = f"{topic.name}: {text} are left out, whose end is not in the archive"
        warnings.warn(message, ArchiveWarning, stacklevel=2)


def _absolute(path: str) -> str:
    """Return where an archive lies whatever folder an executor is in."""
    return path if "://" in path or "::" in path else str(Path(located(path)).absolute())


def _open(asked: Options) -> Topic:
    """Return the topic, with its schema, to be sent to executors."""
    generation = asked.count("generation")
    _ = asked.selection, asked.count("partitions")  # refused now, not when they are used
    opened = archive.open(asked.path, keys=asked.keys or None)
    topic = opened.topic(asked.topic, generation)
    if generation is None and topic.generations > 1:
        raise ArchiveError(  # a warning is not seen among the lines of a driver
            f"the ledgers of {topic.name} are of {topic.generations} generations (another life of "
            "the topic, or another cluster)",
            hint=f'say which: .option("generation", 1), the oldest, to {topic.generations}',
        )
    topic.decoder()  # its schema is inferred, where none is known
    return archive.detach(replace(topic, access=replace(topic.access, workers=1)))
