"""The SQL of the job: one named view per step, the same whatever its source and sinks are.

    readings     what is neither late nor refused, each partition's by event time
    late         what is late
    derived      with the channels that SQL expressions make of others
    windows      with the last w readings of the sensor, by event time
    scores       what the detector says of them
    alarms       what the alarms say: where one is set, and where it is reset, with peak and count
    alerts       those of all detectors, limits and patterns, with their ids

Scores and alarms stand there for each detector: without a tag for the first, with `_2`, `_3` for
those beside it, `_shadow` for the challenger; and for each limit, tagged `_of_NAME`.

ts is the event time as Flink's row time. `windows` puts the readings of a sensor into its order,
those of equal time in that of arrival; behind it they are taken as they come, which costs neither
a timer nor a row in state. Its frame is of two rows and `java/LastReadings` remembers more: Flink
walks through all rows of a bounded frame to take one out, and where a frame begins at the first row
it fires a timer for every sensor at every watermark. Batch execution does neither: it sorts, has no
late readings, and a frame of two rows would forget the others there.
"""

from __future__ import annotations

from collections.abc import Mapping

from workbench.detectors import EpisodeRule
from workbench.stream.definition.stream_file import CLOCK, EPISODE, Stream
from workbench.stream.flink_sql import events
from workbench.stream.flink_sql.events import quoted

PATTERN = EPISODE  # the kind of a detector's alerts
CONTRIBUTIONS = (
    "ARRAY<ROW<`channel` STRING, `share` DOUBLE, `direction` STRING, `expected` DOUBLE>>"
)
SHADOW = "_shadow"  # tag of the challenger beside the champion


def views(
    stream: Stream,
    rules: Mapping[str, EpisodeRule],
    *,
    live: bool = False,
    batch: bool = False,
) -> dict[str, str]:
    """Return the query of each view, in order.

    Parameters
    ----------
    rules
        For each detector, by its tag, when an alarm is set and reset.
    live
        Whether there are messages that are no readings, and a wall clock.
    batch
        For Flink's batch execution, which sorts the readings first.
    """
    queries = {
        "readings": _readings(stream, "NOT `late`"),
        "late": _readings(stream, "`late`"),
        "derived": _derived(stream),
        "windows": _windows(stream, batch=batch),
    }
    alerts = []
    for tag, rule in rules.items():
        queries[f"scores{tag}"] = _scores(stream, tag)
        queries[f"alarms{tag}"] = _alarms(stream, tag, rule, batch=batch)
        alert = _alert(stream, tag, PATTERN)
        if tag == SHADOW:
            queries["shadow"] = alert
        else:
            alerts.append(alert)
    queries |= events.sums(stream)
    for name, limit in stream.limits.items():
        tag = f"_of_{name}"
        queries[f"scores{tag}"] = events.limited(stream, limit)
        queries[f"alarms{tag}"] = _alarms(stream, tag, limit.rule, batch=batch)
        alerts.append(_alert(stream, tag, name, falls=limit.falls))
    for name, query in events.patterns(stream, rules.get(""), live=live, batch=batch).items():
        queries[f"events_{name}"] = query
        alerts.append(_event(stream, f"events_{name}", name))
    alerts.append(_event(stream, f"(\n{events.clocks(stream)}\n)", CLOCK))
    queries["alerts"] = "\nUNION ALL\n".join(alerts)
    return queries | (events.live(stream) if live else {"refused": events.refused()})


def _readings(stream: Stream, kept: str) -> str:
    machine = f"`{stream.machine}` AS `machine`, " if stream.machine else ""
    return (
        f"SELECT `message_id`, `event_ms`, `ts`, `{stream.sensor}` AS `sensor`, {machine}"
        f"{quoted(*stream.channels)}\nFROM source\nWHERE `refused` IS NULL AND {kept}"
    )


def _derived(stream: Stream) -> str:
    columns = "".join(
        f",\n  CAST({expression} AS DOUBLE) AS `{name}`"
        for name, expression in stream.derived.items()
    )
    return f"SELECT *{columns}\nFROM readings"


def _windows(stream: Stream, *, batch: bool) -> str:
    frame = "UNBOUNDED" if batch else "1"
    return (
        f"SELECT *,\n  last_readings({stream.depth}, `event_ms`, {quoted(*stream.measured)}) "
        "OVER (PARTITION BY `sensor` ORDER BY `ts` "
        f"ROWS BETWEEN {frame} PRECEDING AND CURRENT ROW) "
        "AS `past`\nFROM derived"
    )


def reading_columns(stream: Stream) -> tuple[str, ...]:
    """Return the columns of a reading, from `derived` on."""
    return ("message_id", "event_ms", "ts", "sensor", *stream.measured)


def _scores(stream: Stream, tag: str) -> str:
    columns = quoted(*reading_columns(stream), *(["past"] if stream.heartbeat else []))
    counted = "`scored`.`unleveled` AS `unleveled`, " if stream.heartbeat else ""
    return (
        f"SELECT {columns}, {counted}`scored`.`score` AS `score`,\n"
        "  `scored`.`threshold` AS `threshold`,\n"
        "  `scored`.`package` AS `package`, `scored`.`above_past` AS `above_past`,\n"
        "  CASE WHEN `scored`.`score` > `scored`.`threshold` THEN 1 ELSE 0 END AS `above`\n"
        f"FROM (SELECT {columns}, score{tag}(`sensor`, `event_ms`, `past`) AS `scored` "
        "FROM windows)"
    )


def _alarms(stream: Stream, tag: str, rule: EpisodeRule, *, batch: bool) -> str:
    """Return one row where an alarm is set, and one where it is reset.

    MATCH_RECOGNIZE could: it walks the whole match again at every reading, minutes for an alarm of
    some thousand readings, and cannot speak before the end.
    """
    fields = ("start_ms", "peak_ms", "stop_ms", "peak_score", "threshold", "readings", "package",
              "first_id", "last_id", "peak_past")  # fmt: skip
    said = ", ".join(f"`said`.`{one}` AS `{one}`" for one in fields)
    peaks = ", ".join(f"`said`.`peak`[{n}] AS `{one}`" for n, one in enumerate(stream.measured, 1))
    numbers = events.unfolded(rule.k, rule.n, rule.m)
    arguments = quoted(
        "above", "event_ms", "message_id", "score", "threshold", "package", "above_past"
    )
    return (
        f"SELECT `sensor`, {said},\n  {peaks}\n"
        f"FROM (SELECT `sensor`, alarm({numbers}, {arguments}, {quoted(*stream.measured)})\n"
        f"  {events.BY_SENSOR} AS `said`\n"
        f"FROM (SELECT *, {events.arrived(batch=batch)} AS `arrived` FROM scores{tag}))\n"
        "WHERE `said` IS NOT NULL"
    )


def _sql_text(value: str) -> str:
    escaped = value.replace("'", "''")
    return f"'{escaped}'"


def _iso(column: str) -> str:
    return f"DATE_FORMAT(TO_TIMESTAMP_LTZ({column}, 3), 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z''')"


def _alert(stream: Stream, tag: str, kind: str, *, falls: bool = False) -> str:
    """Return one kind's alarms as alerts; of one that `falls`, peak and threshold change sign.

    The id says what the alert is about, nothing of when it was sent (docs/design.md, D9).
    """
    package = "`package`" if kind == PATTERN else "CAST(NULL AS STRING)"
    why = f"contributions{tag}(`package`, `peak_past`, `sensor`)" if kind == PATTERN else "NULL"
    sign, row = "-" if falls else "", f"ROW({quoted(*stream.measured)})"
    return (
        f"{_identified(stream, kind)},\n"
        f"  {sign}`peak_score` AS `peak_score`, {sign}`threshold` AS `threshold`, `readings`,\n"
        f"  CAST({row} AS {_channels(stream)}) AS `channels`, {package} AS `package`,\n"
        f"  `first_id` AS `first_message_id`, `last_id` AS `last_message_id`,\n"
        f"  CAST({why} AS {CONTRIBUTIONS}) AS `contributions`\nFROM alarms{tag}"
    )


def _event(stream: Stream, view: str, kind: str) -> str:
    """Return one pattern's events as alerts: they have no score and no channels."""
    row = f"ROW({', '.join(['CAST(NULL AS DOUBLE)'] * len(stream.measured))})"
    return (
        f"{_identified(stream, kind)},\n"
        "  CAST(NULL AS DOUBLE) AS `peak_score`, CAST(NULL AS DOUBLE) AS `threshold`, "
        "CAST(NULL AS BIGINT) AS `readings`,\n"
        f"  CAST({row} AS {_channels(stream)}) AS `channels`, CAST(NULL AS STRING) AS `package`,\n"
        f"  `first_id` AS `first_message_id`, `last_id` AS `last_message_id`,\n"
        f"  CAST(NULL AS {CONTRIBUTIONS}) AS `contributions`\nFROM {view}"
    )


def _channels(stream: Stream) -> str:
    return "ROW<" + ", ".join(f"`{channel}` DOUBLE" for channel in stream.measured) + ">"


def _identified(stream: Stream, kind: str) -> str:
    package = ["`package`"] if kind == PATTERN else []
    parts = [
        _sql_text(stream.topic),
        "`sensor`",
        *package,
        _sql_text(kind),
        "CAST(`start_ms` AS STRING)",
    ]
    return (
        f"SELECT SUBSTRING(SHA256(CONCAT_WS('|', {', '.join(parts)})), 1, 32) AS `id`,\n"
        f"  {_sql_text(stream.name)} AS `stream`,\n"
        f"  `sensor`, {_sql_text(kind)} AS `kind`, "
        "CASE WHEN `stop_ms` IS NULL THEN 'open' ELSE 'closed' END AS `status`,\n"
        f"  {_iso('`start_ms`')} AS `start`, {_iso('`peak_ms`')} AS `peak_time`, "
        f"{_iso('`stop_ms`')} AS `stop`"
    )


def columns(stream: Stream) -> Mapping[str, str]:
    """Return names and SQL types of an alert's fields."""
    texts = ("id", "stream", "sensor", "kind", "status", "start", "peak_time", "stop")
    return {
        **dict.fromkeys(texts, "STRING"),
        "peak_score": "DOUBLE",
        "threshold": "DOUBLE",
        "readings": "BIGINT",
        "channels": _channels(stream),
        "package": "STRING",
        "first_message_id": "STRING",
        "last_message_id": "STRING",
        "contributions": CONTRIBUTIONS,
    }
