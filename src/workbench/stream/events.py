"""The SQL of what needs no detector: sums, limits, patterns; and of what a person watches.

Each pattern gives rows of `sensor`, `start_ms`, `peak_ms`, `stop_ms` (NULL while it lasts),
`first_id`, `last_id`.
"""

from __future__ import annotations

from collections.abc import Mapping

from workbench.stream.definition import Stream
from workbench.stream.patterns import Limit, Pattern, Sum

BEAT_S = 10  # between two heartbeats
COUNTERS = ("read", "late", "refused", "duplicate", "scored", "warming", "alerts")
HEARTBEAT = {"at": "STRING", **dict.fromkeys(COUNTERS, "BIGINT")}
REFUSED = {"message_id": "STRING", "reason": "STRING"}
TICKS = (
    "CREATE TEMPORARY TABLE ticks (`n` BIGINT) "
    "WITH ('connector' = 'datagen', 'rows-per-second' = '1')"
)
_NO_ID = "CAST(NULL AS STRING)"


def quoted(*names: str) -> str:
    """Return names as SQL takes them, with commas.

    Examples
    --------
    >>> quoted("flow", "time")
    '`flow`, `time`'
    """
    return ", ".join(f"`{name}`" for name in names)


def interval(seconds: float) -> str:
    """Return a span of time as SQL writes it.

    Examples
    --------
    >>> interval(90.5)
    "INTERVAL '0 00:01:30.500' DAY TO SECOND(3)"
    """
    minutes, ms = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    clock = f"{hours:02d}:{minutes:02d}:{ms // 1000:02d}.{ms % 1000:03d}"
    return f"INTERVAL '{days} {clock}' DAY TO SECOND(3)"


def sums(stream: Stream) -> dict[str, str]:
    """Return the view of each sum: one row for a machine and span, which is its `sensor`."""
    return {f"sum_{name}": _sum(stream, name, one) for name, one in stream.sums.items()}


def _sum(stream: Stream, name: str, one: Sum) -> str:
    machine = "`machine`" if stream.machine else "'all'"
    missing = "".join(f", CAST(NULL AS DOUBLE) AS `{other}`" for other in stream.measured)
    span = "`window_start`, `window_end`, `window_time`"
    ms = "EXTRACT(EPOCH FROM `window_time`) * 1000 + EXTRACT(MILLISECOND FROM `window_time`)"
    return (
        f"SELECT {_NO_ID} AS `message_id`, {ms} AS `event_ms`, `window_time` AS `ts`, "
        f"`machine` AS `sensor`{missing}, `total` AS `{name}`\n"
        f"FROM (SELECT `machine`, {span}, SUM(`mean`) AS `total`\n"
        f"FROM (SELECT {machine} AS `machine`, `sensor`, {span}, AVG(`{one.of}`) AS `mean`\n"
        f"FROM TABLE(TUMBLE(TABLE derived, DESCRIPTOR(`ts`), {interval(one.every_s)}))\n"
        f"GROUP BY {'`machine`, ' if stream.machine else ''}`sensor`, {span})\n"
        f"GROUP BY `machine`, {span})"
    )


def limited(stream: Stream, limit: Limit) -> str:
    """Return readings with what a limit says of them, as if a detector had scored them.

    A limit that asks for no window asks for one all the same: that is what orders the readings.
    """
    columns = quoted("message_id", "event_ms", "ts", "sensor", *stream.measured)
    of_sum = next((f"sum_{one}" for one in stream.sums if one in limit.words), "")
    view = of_sum or "windows WHERE `past` IS NOT NULL"
    return (
        f"SELECT {columns}, CAST({limit.value} AS DOUBLE) AS `score`, "
        f"CAST({limit.limit} AS DOUBLE) AS `threshold`,\n"
        "  CAST(NULL AS STRING) AS `package`, "
        f"CASE WHEN {limit.when} THEN 1 ELSE 0 END AS `above`\n"
        f"FROM (SELECT *{_rates(stream, limit)} FROM {view})"
    )


def _rates(stream: Stream, limit: Limit) -> str:
    c = len(stream.measured)
    return "".join(
        f", change_per_s(`past`, {c}, {stream.measured.index(one)}) AS `{one}_per_s`"
        for one in limit.rates(stream.measured)
    )


def patterns(stream: Stream, *, live: bool) -> dict[str, str]:
    """Return the query of each pattern; one by the wall clock only where there is one."""
    queries = {
        "silent_sensor": _silent_sensor,
        "silent_topic": _silent_topic,
        "sequence": _sequence,
        "sql": _plain,
    }
    return {
        name: queries[one.template](stream, one)
        for name, one in stream.patterns.items()
        if live or one.template != "silent_topic"
    }


def _silent_sensor(stream: Stream, one: Pattern) -> str:
    """Open when event time has moved on, close at the sensor's next reading."""
    since = f"seconds_since_last(`past`, {len(stream.measured)})"
    before = "`event_ms` - CAST(`since` * 1000 AS BIGINT)"
    return (
        "SELECT `sensor`, `start_ms`, `start_ms` AS `peak_ms`, CAST(NULL AS BIGINT) AS `stop_ms`, "
        f"{_NO_ID} AS `first_id`, {_NO_ID} AS `last_id`\n"
        "FROM (SELECT `sensor`, MAX(`event_ms`) AS `start_ms` FROM readings\n"
        f"GROUP BY `sensor`, SESSION(`ts`, {interval(one.after_s)}))\n"
        "UNION ALL\n"
        f"SELECT `sensor`, {before}, {before}, `event_ms`, `message_id`, `message_id`\n"
        f"FROM (SELECT `sensor`, `event_ms`, `message_id`, {since} AS `since` FROM windows)\n"
        f"WHERE `since` > {one.after_s}"
    )


def _silent_topic(stream: Stream, one: Pattern) -> str:
    """Alert by the wall clock, since event time stands still."""
    return (
        "SELECT 'topic' AS `sensor`, `start_ms`, `start_ms` AS `peak_ms`, "
        f"CAST(NULL AS BIGINT) AS `stop_ms`, {_NO_ID} AS `first_id`, {_NO_ID} AS `last_id`\n"
        "FROM (SELECT MAX(`event_ms`) AS `start_ms`\n"
        "FROM (SELECT `event_ms`, PROCTIME() AS `arrived` FROM source)\n"
        f"GROUP BY SESSION(`arrived`, {interval(one.after_s)}))"
    )


def _sequence(stream: Stream, one: Pattern) -> str:
    """Match the steps in order, whatever comes between them."""
    names = [f"S{place}" for place in range(1, len(one.steps) + 1)]
    steps = " ".join(
        name if place == 0 else f"O{place}*? {name}" for place, name in enumerate(names)
    )
    defined = ", ".join(f"{name} AS {step}" for name, step in zip(names, one.steps, strict=True))
    first, last = names[0], names[-1]
    return (
        "SELECT `sensor`, `start_ms`, `start_ms` AS `peak_ms`, `stop_ms`, `first_id`, `last_id`\n"
        f"FROM (SELECT `{one.of}` AS `sensor`, `message_id`, `event_ms`, `ts`, "
        f"{quoted(*stream.measured)} FROM derived)\n"
        "MATCH_RECOGNIZE (PARTITION BY `sensor` ORDER BY `ts`\n"
        f"  MEASURES {first}.`event_ms` AS `start_ms`, {last}.`event_ms` AS `stop_ms`, "
        f"{first}.`message_id` AS `first_id`, {last}.`message_id` AS `last_id`\n"
        "  ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW\n"
        f"  PATTERN ({steps}) WITHIN {interval(one.within_s)}\n"
        f"  DEFINE {defined})"
    )


def _plain(stream: Stream, one: Pattern) -> str:
    return (
        "SELECT CAST(`sensor` AS STRING) AS `sensor`, CAST(`start_ms` AS BIGINT) AS `start_ms`, "
        "CAST(`start_ms` AS BIGINT) AS `peak_ms`, CAST(`stop_ms` AS BIGINT) AS `stop_ms`, "
        f"{_NO_ID} AS `first_id`, {_NO_ID} AS `last_id`\nFROM ({one.query})"
    )


def live(stream: Stream, message_id: str) -> dict[str, str]:
    """Return the views of messages that are no readings, and of the heartbeat."""
    found = {}
    if stream.refused:
        found["refused"] = (
            f"SELECT {message_id.format('`message_id`')} AS `message_id`, `refused` AS `reason`\n"
            "FROM source\nWHERE `refused` IS NOT NULL"
        )
    if stream.heartbeat:
        found["heartbeat"] = _heartbeat(stream)
    return found


def _heartbeat(stream: Stream) -> str:
    """Count what came within a span of the wall clock; ticks let it beat when nothing comes."""
    known = "CURRENT_WATERMARK(`ts`)"
    late = f"`refused` IS NULL AND {known} IS NOT NULL AND `ts` <= {known}"
    again = f"seconds_since_last(`past`, {len(stream.measured)}) = 0"
    source = {"read": "1", "late": _flag(late), "refused": _flag("`refused` IS NOT NULL")}
    seen = {"duplicate": _flag(again)}
    if stream.detects:
        seen |= {"scored": _flag("`score` IS NOT NULL"), "warming": _flag("`score` IS NULL")}
    beats = [
        _counted("source", source),
        _counted("scores" if stream.detects else "windows", seen),
        _counted("alerts", {"alerts": "1"}),
        _counted("ticks", {}),
    ]
    total = ", ".join(f"SUM(`{one}`) AS `{one}`" for one in COUNTERS)
    span = f"`arrived`, {interval(BEAT_S)}"
    at = f"DATE_FORMAT(TUMBLE_END({span}), 'yyyy-MM-dd''T''HH:mm:ss''Z''')"
    return (
        f"SELECT {at} AS `at`, {total}\nFROM (SELECT *, PROCTIME() AS `arrived` FROM (\n"
        + "\nUNION ALL\n".join(beats)
        + f"))\nGROUP BY TUMBLE({span})"
    )


def _flag(condition: str) -> str:
    return f"CASE WHEN {condition} THEN 1 ELSE 0 END"


def _counted(view: str, values: Mapping[str, str]) -> str:
    columns = ", ".join(f"CAST({values.get(one, '0')} AS BIGINT) AS `{one}`" for one in COUNTERS)
    return f"SELECT {columns} FROM {view}"
