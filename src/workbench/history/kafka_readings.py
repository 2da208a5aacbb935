"""What a stream makes of Kafka's records: JSON, or Avro of the one record that it names.

A job sees a record and its writer's schema, and neither what came later nor what most are. So here
a value is judged by these alone: the fields that the stream names, by their names, each of a type
that it can take; null where a schema has no such field. (`kafka_values` shows a person all that
there is, as the latest schema has it.) Values of the other format are no readings.

The same in Java: `stream/flink_sql/java/AvroReadings`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workbench.archive import EncodedValues, Inference, Schema, outline
from workbench.arrays import Ints
from workbench.errors import ArchiveError, ReplayError, did_you_mean
from workbench.history.kafka_values import HEAD, DecodedRecords, schema_ids
from workbench.history.live import decoded, encoded
from workbench.history.schema_registry import definitions

_READER = 1 << 31  # version of what all are read as, no id
_TEXT = ("string", "uuid")
_NUMBER = ("int", "long", "float", "double")
_TIME = ("int", "long", "timestamp-millis")
_WANTED = {_TEXT: "a string", _NUMBER: "a number", _TIME: "a long of milliseconds"}
_READ_AS = {_TEXT: "string", _NUMBER: "double", _TIME: "long"}


@dataclass(frozen=True)
class ReadingFields:
    """What a stream takes of Kafka's records.

    Attributes
    ----------
    record
        Short name of the record of Avro that is a reading; empty: readings are JSON.
    texts, numbers, times
        Names of fields: sensor (the first of the texts) and machine, channels, epoch milliseconds.
    keyed
        Whether the record's key names the sensor, and none of the texts does.
    """

    record: str = ""
    texts: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    keyed: bool = False

    def kinds(self) -> dict[str, tuple[str, ...]]:
        """Return the types of Avro that each field may have."""
        names = ((self.texts, _TEXT), (self.numbers, _NUMBER), (self.times, _TIME))
        return {name: kinds for group, kinds in names for name in group}

    def reader(self) -> dict[str, Any]:
        """Return the schema by which values are read."""
        fields = [
            {"name": name, "type": ["null", _READ_AS[kinds]], "default": None}
            for name, kinds in self.kinds().items()
        ]
        return {"type": "record", "name": self.record, "fields": fields}

    def unfit(self, definition: Any) -> str:
        """Return why no value of a schema is a reading; empty: it may be one.

        Examples
        --------
        >>> fields = [{"name": "pump", "type": "string"}, {"name": "bar", "type": "bytes"}]
        >>> definition = {"type": "record", "name": "Reading", "fields": fields}
        >>> ReadingFields("Reading", ("pump",), ("bar",)).unfit(definition)
        'bar is a bytes, not a number'
        """
        try:
            record = outline(definition)
        except ArchiveError as err:
            return err.message
        if record.name != self.record:
            return f"it is of {record.name}, not of {self.record}"
        if record.has_namesake:
            return f"it holds another type of the name {self.record}"
        for name, kinds in self.kinds().items():
            kind = record.fields.get(name, kinds[0])
            if kind not in kinds:
                return f"{name} is a {kind}, not {_WANTED[kinds]}"
        return ""

    def check(self, fitting: Collection[Any], topic: str) -> None:
        """Refuse what would be a column of nulls for a name that is wrong.

        Parameters
        ----------
        fitting
            Schemas of which values may be readings; none: nothing is known of the names.

        Raises
        ------
        ReplayError
            If none of them has a field that is wanted.
        """
        names = {field["name"] for definition in fitting for field in definition["fields"]}
        for name in self.kinds():
            if fitting and name not in names:
                raise ReplayError(
                    f"no schema of {self.record} has a field {name!r}",
                    where=topic,
                    hint=did_you_mean(name, sorted(names)),
                )


def decode_readings(
    records: Mapping[str, list[Any]],
    kinds: Mapping[str, pa.DataType],
    reading: ReadingFields,
    *,
    topic: str,
) -> DecodedRecords:
    """Return records decoded as a stream takes them; parameters are those of `decode_records`.

    Raises
    ------
    ReplayError
        If the readings are Avro and no registry is known, none of its schemas is of readings, or
        a field that is wanted is in none of these; or for what the registry answers.
    """
    rows = replace(encoded(records), where=topic)
    ids = schema_ids(rows)
    records["version"][:] = ids.tolist()
    if not reading.record:
        return _of_json(records, kinds, rows, ids)
    named = tuple(map(int, np.unique(ids[ids >= 0])))
    unreadable: dict[int, str] = {}
    stored = definitions(named, unreadable)
    fits = {number: reading.unfit(definition) for number, definition in stored.items()}
    reasons = {**unreadable, **fits}
    written = {number: stored[number] for number, why in reasons.items() if not why}
    if reasons and not written:
        number = min(reasons)
        raise ReplayError(f"schema {number} is of no readings: {reasons[number]}", where=topic)
    reading.check(written.values(), topic)
    try:
        table, misfits = _of_avro(records, kinds, rows, ids, written, reading)
    except ArchiveError as err:
        raise ReplayError(err.message, where=f"schemas {named} of {topic}") from err
    remark = "; ".join(f"schema {number}: {why}" for number, why in reasons.items() if why)
    return DecodedRecords(table, misfits, named, remark)


def _of_json(
    records: Mapping[str, list[Any]], kinds: Mapping[str, pa.DataType], rows: EncodedValues,
    ids: Ints,
) -> DecodedRecords:  # fmt: skip
    avro, inference = np.flatnonzero(ids >= 0).tolist(), Inference()
    inference.look(replace(rows, sizes=np.where(ids < 0, rows.sizes, -1)))
    misfits: list[int] = [*avro]
    schemas = [inference.schema()]
    table = decoded(records, rows, schemas, kinds, lambda row, _: misfits.append(row))
    remark = f"{len(avro)} begin as Avro, the stream reads JSON" if avro else ""
    return DecodedRecords(table, tuple(sorted(set(misfits))), (), remark)


def _of_avro(
    records: Mapping[str, list[Any]], kinds: Mapping[str, pa.DataType], rows: EncodedValues,
    ids: Ints, written: Mapping[int, Any], reading: ReadingFields,
) -> tuple[pa.Table, tuple[int, ...]]:  # fmt: skip
    """Return the table, and the rows that are no readings."""
    is_there = rows.sizes >= 0
    is_written = np.isin(ids, list(written)) & is_there
    misfits: list[int] = np.flatnonzero(is_there & ~is_written).tolist()
    bodies = replace(
        rows,
        starts=rows.starts + np.where(is_written, HEAD.size, 0),
        sizes=np.where(is_written, rows.sizes - HEAD.size, -1),
        versions=np.where(is_written, ids, _READER),
    )
    schemas = [Schema(number, "AVRO", written[number]) for number in sorted(written)]
    schemas.append(Schema(_READER, "AVRO", reading.reader()))
    table = decoded(records, bodies, schemas, kinds, lambda row, _: misfits.append(row))
    return _finite(table), tuple(sorted(set(misfits)))


def _finite(table: pa.Table) -> pa.Table:
    """Return a table with null for a number that is none, or infinite: a missing value."""
    fields = table["fields"].combine_chunks()
    arrays = [
        pc.if_else(pc.is_finite(part), part, None) if pa.types.is_floating(part.type) else part
        for part in fields.flatten()
    ]
    struct = pa.StructArray.from_arrays(arrays, fields=list(fields.type))
    return table.set_column(table.column_names.index("fields"), "fields", struct)


__all__ = ["ReadingFields", "decode_readings"]
