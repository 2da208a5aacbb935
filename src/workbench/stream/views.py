"""The SQL of the job: one named view per step, the same whatever stands at its ends.

    readings     what is not late, in the order of arrival
    late         what is
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
from workbench.stream import events
from workbench.stream.definition import Stream
from workbench.stream.events import quoted

PATTERN = "episode"  # the kind of a detector's alerts
SHADOW = "_shadow"  # tag of the challenger beside the champion


def views(
    stream: Stream,
    rules: Mapping[str, EpisodeRule],
    *,
    message_id: str = "{}",
    live: bool = False,
    batch: bool = False,
) -> dict[str, str]:
    """Return the query of each view, in order.

    Parameters
    ----------
    rules
        For each detector, by its tag, when an alarm is set and reset.
    message_id
        SQL that makes text of a message id, `{}` being the column.
    live
        Whether there are messages that are no readings, and a wall clock.
    batch
        For Flink's batch execution, which sorts the readings first: no watermark, no late ones.
    """
    found = {
        "readings": _readings(stream, message_id, late=False, batch=batch),
        "late": _readings(stream, message_id, late=True, batch=batch),
        "derived": _derived(stream),
        "windows": _windows(stream, batch=batch),
    }
    alerts = []
    for tag, rule in rules.items():
        found[f"scores{tag}"] = _scores(stream, tag)
        found[f"alarms{tag}"] = _alarms(stream, tag, rule, batch=batch)
        alert = _alert(stream, f"alarms{tag}", PATTERN)
        if tag == SHADOW:
            found["shadow"] = alert
        else:
            alerts.append(alert)
    found |= events.sums(stream)
    for name, limit in stream.limits.items():
        tag = f"_of_{name}"
        found[f"scores{tag}"] = events.limited(stream, limit)
        found[f"alarms{tag}"] = _alarms(stream, tag, limit.rule, batch=batch)
        alerts.append(_alert(stream, f"alarms{tag}", name, falls=limit.falls))
    for name, query in events.patterns(stream, live=live).items():
        found[f"events_{name}"] = query
        alerts.append(_event(stream, f"events_{name}", name))
    found["alerts"] = "\nUNION ALL\n".join(alerts)
    return found | (events.live(stream, message_id) if live else {})


def _readings(stream: Stream, message_id: str, *, late: bool, batch: bool) -> str:
    """DESIGN D10: late is at or below the largest event time before it, less the lateness."""
    machine = f"`{stream.machine}` AS `machine`, " if stream.machine else ""
    known = "CURRENT_WATERMARK(`ts`)"
    kept = (
        f"{known} IS NOT NULL AND `ts` <= {known}" if late else f"{known} IS NULL OR `ts` > {known}"
    )
    if batch:  # it has no watermark
        kept = "FALSE" if late else "TRUE"
    return (
        f"SELECT {message_id.format('`message_id`')} AS `message_id`, `event_ms`, `ts`, "
        f"`{stream.sensor}` AS `sensor`, {machine}{quoted(*stream.channels)}\n"
        f"FROM source\nWHERE `{stream.sensor}` IS NOT NULL AND ({kept})"
    )


def _derived(stream: Stream) -> str:
    made = "".join(
        f",\n  CAST({expression} AS DOUBLE) AS `{name}`"
        for name, expression in stream.derived.items()
    )
    return f"SELECT *{made}\nFROM readings"


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
    return (
        f"SELECT {columns}, `scored`.`score` AS `score`, `scored`.`threshold` AS `threshold`,\n"
        "  `scored`.`package` AS `package`,\n"
        "  CASE WHEN `scored`.`score` > `scored`.`threshold` THEN 1 ELSE 0 END AS `above`\n"
        f"FROM (SELECT {columns}, score{tag}(`sensor`, `event_ms`, `past`) AS `scored` "
        "FROM windows)"
    )


def _alarms(stream: Stream, tag: str, rule: EpisodeRule, *, batch: bool) -> str:
    """Return one row where an alarm is set, and one where it is reset.

    MATCH_RECOGNIZE could: it walks the whole match again at every reading, minutes for an alarm of
    some thousand readings, and cannot speak before the end. k, n and m are no constants here: to
    Flink 1.20 two OVER aggregates that differ in constants alone are one.
    """
    fields = ("start_ms", "peak_ms", "stop_ms", "peak_score", "threshold", "readings", "package",
              "first_id", "last_id")  # fmt: skip
    said = ", ".join(f"`said`.`{one}` AS `{one}`" for one in fields)
    peaks = ", ".join(f"`said`.`peak`[{n}] AS `{one}`" for n, one in enumerate(stream.measured, 1))
    kept = ", ".join(f"{one} + 0 * `above`" for one in (rule.k, rule.n, rule.m))
    arrived = "`ts`" if batch else "PROCTIME()"
    given = quoted("above", "event_ms", "message_id", "score", "threshold", "package")
    return (
        f"SELECT `sensor`, {said},\n  {peaks}\n"
        f"FROM (SELECT `sensor`, alarm({kept}, {given}, {quoted(*stream.measured)})\n"
        "  OVER (PARTITION BY `sensor` ORDER BY `arrived` "
        "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS `said`\n"
        f"FROM (SELECT *, {arrived} AS `arrived` FROM scores{tag}))\nWHERE `said` IS NOT NULL"
    )


def _text(value: str) -> str:
    escaped = value.replace("'", "''")
    return f"'{escaped}'"


def _iso(column: str) -> str:
    return f"DATE_FORMAT(TO_TIMESTAMP_LTZ({column}, 3), 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z''')"


def _alert(stream: Stream, view: str, kind: str, *, falls: bool = False) -> str:
    """Return one kind's alarms as alerts; of one that `falls`, peak and threshold change sign.

    DESIGN D9: the id says what the alert is about, and nothing of when it was sent.
    """
    package = "`package`" if kind == PATTERN else "CAST(NULL AS STRING)"
    sign, row = "-" if falls else "", f"ROW({quoted(*stream.measured)})"
    return (
        f"{_identified(stream, kind)},\n"
        f"  {sign}`peak_score` AS `peak_score`, {sign}`threshold` AS `threshold`, `readings`,\n"
        f"  CAST({row} AS {_channels(stream)}) AS `channels`, {package} AS `package`,\n"
        f"  `first_id` AS `first_message_id`, `last_id` AS `last_message_id`\nFROM {view}"
    )


def _event(stream: Stream, view: str, kind: str) -> str:
    """Return one pattern's events as alerts: they have no score and no channels."""
    row = f"ROW({', '.join(['CAST(NULL AS DOUBLE)'] * len(stream.measured))})"
    return (
        f"{_identified(stream, kind)},\n"
        "  CAST(NULL AS DOUBLE) AS `peak_score`, CAST(NULL AS DOUBLE) AS `threshold`, "
        "CAST(NULL AS BIGINT) AS `readings`,\n"
        f"  CAST({row} AS {_channels(stream)}) AS `channels`, CAST(NULL AS STRING) AS `package`,\n"
        f"  `first_id` AS `first_message_id`, `last_id` AS `last_message_id`\nFROM {view}"
    )


def _channels(stream: Stream) -> str:
    return "ROW<" + ", ".join(f"`{one}` DOUBLE" for one in stream.measured) + ">"


def _identified(stream: Stream, kind: str) -> str:
    package = ["`package`"] if kind == PATTERN else []
    parts = [_text(stream.topic), "`sensor`", *package, _text(kind), "CAST(`start_ms` AS STRING)"]
    return (
        f"SELECT SUBSTRING(SHA256(CONCAT_WS('|', {', '.join(parts)})), 1, 32) AS `id`,\n"
        f"  {_text(stream.name)} AS `stream`,\n"
        f"  `sensor`, {_text(kind)} AS `kind`, "
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
    }
