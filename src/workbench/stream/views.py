"""The SQL of the job: one named view per step, the same whatever stands at its ends.

    readings     what is not late, in the order of arrival
    late         what is
    derived      with the channels that SQL expressions make of others
    windows      with the last w readings of the sensor, by event time
    scores       what the detector says of them
    near         readings with one above the threshold not long before; most are none of them
    exceedances  how many of the last n, and of the last m, were above the threshold
    latch        whether the alarm is on
    edges        and whether it was at the reading before
    episodes     readings of an alarm, and the one that resets it, numbered by alarm
    peaks        with what the alarm had reached by then
    summits      and the reading that stood highest
    openings     alarms, when they are set
    closings     the same alarms, when they are reset, with peak and count
    alarms       both, one shape
    alerts       those of all detectors, limits and patterns, with their ids

The views from scores to alarms stand there for each detector: without a tag for the first,
with `_2`, `_3` for those beside it, `_shadow` for the challenger. Those from near to alarms stand
there for each limit, too, tagged `_of_NAME`.

No view uses RANGE frames or LAG, which treat readings of equal time alike; every frame counts
rows, and rows of equal time keep the order of arrival. ts is the event time as Flink's row time.
Frames that every reading passes are of two rows, and our functions remember more (`java/`): Flink
walks through all rows of a bounded frame to take one out, and where a frame begins at the first row
it fires a timer for every sensor at every watermark.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from workbench.detectors import EpisodeRule
from workbench.stream import events
from workbench.stream.definition import Stream
from workbench.stream.events import quoted

PATTERN = "episode"  # the kind of a detector's alerts
SHADOW = "_shadow"  # tag of the challenger beside the champion
_KEEPS_ORDER = "PARTITION BY {by} ORDER BY `ts` ROWS BETWEEN {before} AND CURRENT ROW"
_ALL = "UNBOUNDED PRECEDING"
_EPISODE = "`sensor`, `episode`"
_SUMMED = (
    "`sensor`, `event_ms`, `ts`, `alarm`, `peak_score`, `readings`, `start_ms`, "
    "`first_threshold`, `first_package`, `first_id`, `last_id`"
)


def views(
    stream: Stream, rules: Mapping[str, EpisodeRule], *, message_id: str = "{}", live: bool = False
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
    """
    found = {
        "readings": _readings(stream, message_id, late=False),
        "late": _readings(stream, message_id, late=True),
        "derived": _derived(stream),
        "windows": _windows(stream),
    }
    alerts = []
    for tag, rule in rules.items():
        found |= {f"scores{tag}": _scores(stream, tag)} | _alarms(stream, tag, rule)
        alert = _alert(stream, f"alarms{tag}", PATTERN)
        if tag == SHADOW:
            found["shadow"] = alert
        else:
            alerts.append(alert)
    found |= events.sums(stream)
    for name, limit in stream.limits.items():
        tag = f"_of_{name}"
        found |= {f"scores{tag}": events.limited(stream, limit)}
        found |= _alarms(stream, tag, limit.rule)
        alerts.append(_alert(stream, f"alarms{tag}", name, falls=limit.falls))
    for name, query in events.patterns(stream, live=live).items():
        found[f"events_{name}"] = query
        alerts.append(_event(stream, f"events_{name}", name))
    found["alerts"] = "\nUNION ALL\n".join(alerts)
    return found | (events.live(stream, message_id) if live else {})


def _alarms(stream: Stream, tag: str, rule: EpisodeRule) -> dict[str, str]:
    made = {
        "near": _near(rule),
        "exceedances": _exceedances(rule),
        "latch": _latch(rule),
        "edges": _edges(),
        "episodes": _episodes(stream),
        "peaks": _peaks(),
        "summits": _summits(stream),
        "openings": _openings(stream),
        "closings": _closings(stream),
        "alarms": "SELECT * FROM openings UNION ALL SELECT * FROM closings",
    }
    ours = re.compile(rf"\bFROM ({'|'.join(['scores', *made])})\b")
    return {f"{name}{tag}": ours.sub(rf"FROM \1{tag}", query) for name, query in made.items()}


def _frame(before: int | str, by: str = "`sensor`") -> str:
    rows = before if isinstance(before, str) else f"{before} PRECEDING"
    return _KEEPS_ORDER.format(by=by, before=rows)


def _readings(stream: Stream, message_id: str, *, late: bool) -> str:
    """DESIGN D10: late is at or below the largest event time before it, less the lateness."""
    machine = f"`{stream.machine}` AS `machine`, " if stream.machine else ""
    known = "CURRENT_WATERMARK(`ts`)"
    kept = (
        f"{known} IS NOT NULL AND `ts` <= {known}" if late else f"{known} IS NULL OR `ts` > {known}"
    )
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


def _windows(stream: Stream) -> str:
    return (
        f"SELECT *,\n  last_readings({stream.depth}, `event_ms`, {quoted(*stream.measured)}) "
        f"OVER ({_frame(1)}) AS `past`\nFROM derived"
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


def _near(rule: EpisodeRule) -> str:
    """Leave out what cannot matter, so that the views below cost next to nothing.

    What is left out lies at least n + m readings behind the last one above the threshold: by then
    its alarm was reset, and n - 1 quiet readings that stay stand before the next one above.
    """
    since = f"readings_since(`above` = 1) OVER ({_frame(1)})"
    return (
        f"SELECT *\nFROM (SELECT *, {since} AS `since` FROM scores)\n"
        f"WHERE `since` < {rule.n + rule.m}"
    )


def _exceedances(rule: EpisodeRule) -> str:
    of_n = "`above`" if rule.n == 1 else f"SUM(`above`) OVER ({_frame(rule.n - 1)})"
    counted = f"SELECT *, {of_n} AS `in_n` FROM near"
    if rule.m == 1:
        return f"SELECT *, `above` AS `in_m`, CAST(1 AS BIGINT) AS `of_m`\nFROM ({counted})"
    return (
        f"SELECT *, SUM(`above`) OVER w AS `in_m`, COUNT(*) OVER w AS `of_m`\n"
        f"FROM ({counted})\nWINDOW w AS ({_frame(rule.m - 1)})"
    )


def _latch(rule: EpisodeRule) -> str:
    """LAST_VALUE passes over NULL, so it holds what was last said: constant state."""
    return (
        "SELECT *, COALESCE(LAST_VALUE(CASE\n"
        f"  WHEN `in_n` >= {rule.k} THEN 1\n"
        f"  WHEN `in_m` = 0 AND `of_m` = {rule.m} THEN 0\n"
        f"END) OVER ({_frame(_ALL)}), 0) AS `alarm`\nFROM exceedances"
    )


def _edges() -> str:
    return f"SELECT *, SUM(`alarm`) OVER ({_frame(1)}) - `alarm` AS `before`\nFROM latch"


def _episodes(stream: Stream) -> str:
    """Number the alarms of a sensor; a number is never used again."""
    opened = "CASE WHEN `alarm` = 1 AND `before` = 0 THEN 1 ELSE 0 END"
    kept = (
        "message_id", "event_ms", "ts", "sensor", *stream.measured, "score", "threshold", "package",
    )  # fmt: skip
    return (
        f"SELECT *, SUM({opened}) OVER ({_frame(_ALL)}) AS `episode`\n"
        f"FROM (SELECT {quoted(*kept, 'alarm', 'before')}\n"
        "FROM edges\nWHERE `alarm` = 1 OR `before` = 1)"
    )


def _peaks() -> str:
    """Sum an alarm up as it goes on.

    (MATCH_RECOGNIZE could: it walks the whole match again at every reading, minutes for an alarm
    of some thousand readings. The price here is some hundred bytes of state for every alarm.)
    """
    return (
        "SELECT *, MAX(CASE WHEN `alarm` = 1 THEN `score` END) OVER e AS `peak_score`,\n"
        "  SUM(`alarm`) OVER e AS `readings`, FIRST_VALUE(`event_ms`) OVER e AS `start_ms`,\n"
        "  FIRST_VALUE(`threshold`) OVER e AS `first_threshold`, "
        "FIRST_VALUE(`package`) OVER e AS `first_package`,\n"
        "  FIRST_VALUE(`message_id`) OVER e AS `first_id`,\n"
        "  LAST_VALUE(CASE WHEN `alarm` = 1 THEN `message_id` END) OVER e AS `last_id`\n"
        f"FROM episodes\nWINDOW e AS ({_frame(_ALL, _EPISODE)})"
    )


def _summits(stream: Stream) -> str:
    """Remember the first reading with the highest score: its time and channels, as one text.

    (In Flink 1.20 LAST_VALUE takes no arrays and CASE no rows; one LAST_VALUE for each channel
    would pass over a missing value. `reached` cannot stay: two aggregates would have one name.)
    """
    values = ", ".join(f"COALESCE(CAST(`{one}` AS STRING), '')" for one in stream.measured)
    return (
        f"SELECT {_SUMMED}, LAST_VALUE(CASE\n"
        "  WHEN `alarm` = 1 AND (`readings` = 1 OR `peak_score` > `reached`)\n"
        f"  THEN CONCAT_WS('|', CAST(`event_ms` AS STRING), {values})\n"
        f"END) OVER ({_frame(_ALL, _EPISODE)}) AS `summit`\n"
        f"FROM (SELECT *, FIRST_VALUE(`peak_score`) OVER ({_frame(1, _EPISODE)}) AS `reached` "
        "FROM peaks)"
    )


def _openings(stream: Stream) -> str:
    return (
        "SELECT `sensor`, `event_ms` AS `start_ms`, `event_ms` AS `peak_ms`, "
        "CAST(NULL AS BIGINT) AS `stop_ms`,\n  `score` AS `peak_score`, `threshold`, "
        "CAST(1 AS BIGINT) AS `readings`, `package`,\n"
        "  `message_id` AS `first_id`, `message_id` AS `last_id`, "
        f"{quoted(*stream.measured)}\nFROM episodes\nWHERE `alarm` = 1 AND `before` = 0"
    )


def _closings(stream: Stream) -> str:
    peaks = ", ".join(
        f"TRY_CAST(SPLIT_INDEX(`summit`, '|', {place}) AS DOUBLE) AS `{one}`"
        for place, one in enumerate(stream.measured, start=1)
    )
    return (
        "SELECT `sensor`, `start_ms`, "
        "CAST(SPLIT_INDEX(`summit`, '|', 0) AS BIGINT) AS `peak_ms`, `event_ms` AS `stop_ms`,\n"
        "  `peak_score`, `first_threshold` AS `threshold`, "
        "CAST(`readings` AS BIGINT) AS `readings`,\n"
        f"  `first_package` AS `package`, `first_id`, `last_id`, {peaks}\n"
        "FROM summits\nWHERE `alarm` = 0"
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
