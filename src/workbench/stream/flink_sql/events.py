"""The SQL of what needs no detector: sums, limits, patterns; and of what a person watches.

Each pattern gives rows of `sensor`, `start_ms`, `peak_ms`, `stop_ms` (NULL while it lasts),
`first_id`, `last_id`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from workbench.detectors import EpisodeRule
from workbench.stream.definition.patterns import LASTING, Limit, Pattern, Sum
from workbench.stream.definition.stream_file import Stream

BEAT_S = 10  # between two heartbeats
COUNTERS = (
    "read", "late", "refused", "ahead", "overtaken", "behind", "duplicate", "scored", "warming",
    "unleveled", "alerts",
)  # fmt: skip
HEARTBEAT = {"at": "STRING", **dict.fromkeys(COUNTERS, "BIGINT")}
REFUSED = {"message_id": "STRING", "reason": "STRING"}
TICKS = (
    "CREATE TEMPORARY TABLE ticks (`n` BIGINT) "
    "WITH ('connector' = 'datagen', 'rows-per-second' = '1')"
)
BY_SENSOR = (
    "OVER (PARTITION BY `sensor` ORDER BY `arrived` "
    "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
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


def unfolded(*numbers: int) -> str:
    """Return numbers as SQL that is no constant.

    To Flink 1.20 two OVER aggregates that differ in constants alone are one.
    """
    return ", ".join(f"{number} + 0 * `above`" for number in numbers)


def arrived(*, batch: bool) -> str:
    """Return what the readings of a sensor stand in the order of: as they come, where they do."""
    return "`ts`" if batch else "PROCTIME()"


def sums(stream: Stream) -> dict[str, str]:
    """Return the view of each sum: one row for a machine and span, which is its `sensor`."""
    return {f"sum_{name}": _sum(stream, name, total) for name, total in stream.sums.items()}


def _sum(stream: Stream, name: str, total: Sum) -> str:
    machine = "`machine`" if stream.machine else "'all'"
    missing = "".join(f", CAST(NULL AS DOUBLE) AS `{other}`" for other in stream.measured)
    span = "`window_start`, `window_end`, `window_time`"
    ms = "EXTRACT(EPOCH FROM `window_time`) * 1000 + EXTRACT(MILLISECOND FROM `window_time`)"
    return (
        f"SELECT {_NO_ID} AS `message_id`, {ms} AS `event_ms`, `window_time` AS `ts`, "
        f"`machine` AS `sensor`{missing}, `total` AS `{name}`\n"
        f"FROM (SELECT `machine`, {span}, SUM(`mean`) AS `total`\n"
        f"FROM (SELECT {machine} AS `machine`, `sensor`, {span}, AVG(`{total.of}`) AS `mean`\n"
        f"FROM TABLE(TUMBLE(TABLE derived, DESCRIPTOR(`ts`), {interval(total.every_s)}))\n"
        f"GROUP BY {'`machine`, ' if stream.machine else ''}`sensor`, {span})\n"
        f"GROUP BY `machine`, {span})"
    )


def limited(stream: Stream, limit: Limit) -> str:
    """Return readings with what a limit says of them, as if a detector had scored them.

    A limit that asks for no window asks for one all the same: that is what orders the readings.
    """
    columns = quoted("message_id", "event_ms", "ts", "sensor", *stream.measured)
    of_sum = next((f"sum_{total}" for total in stream.sums if total in limit.words), "")
    view = of_sum or "windows WHERE `past` IS NOT NULL"
    return (
        f"SELECT {columns}, CAST({limit.value} AS DOUBLE) AS `score`, "
        f"CAST({limit.limit} AS DOUBLE) AS `threshold`,\n"
        "  CAST(NULL AS STRING) AS `package`, CAST(NULL AS BYTES) AS `above_past`, "
        f"CASE WHEN {limit.when} THEN 1 ELSE 0 END AS `above`\n"
        f"FROM (SELECT *{_rates(stream, limit)} FROM {view})"
    )


def _rates(stream: Stream, limit: Limit) -> str:
    c = len(stream.measured)
    return "".join(
        f", change_per_s(`past`, {c}, {stream.measured.index(channel)}) AS `{channel}_per_s`"
        for channel in limit.rates(stream.measured)
    )


def clocks(stream: Stream) -> str:
    """Return where a sensor's clock begins to be ahead, and its next reading that is not."""
    return (
        f"SELECT `{stream.sensor}` AS `sensor`, `clock_ms` AS `start_ms`, `clock_ms` AS `peak_ms`, "
        "CASE WHEN `refused` IS NULL THEN `event_ms` END AS `stop_ms`,\n"
        "  `message_id` AS `first_id`, `message_id` AS `last_id`\n"
        "FROM source\nWHERE `clock_ms` IS NOT NULL"
    )


def patterns(
    stream: Stream, rule: EpisodeRule | None, *, live: bool, batch: bool
) -> dict[str, str]:
    """Return the query of each pattern; one by the wall clock only where there is one.

    `rule` is the detector's, None where there is none; `batch` as in `views`.
    """
    queries: dict[str, Callable[[Stream, Pattern], str]] = {
        "silent_sensor": _silent_sensor,
        "silent_topic": _silent_topic,
        "sequence": _sequence,
        "sql": _query_pattern,
        LASTING: partial(_lasting_alarm, rule=rule or EpisodeRule(), batch=batch),
    }
    return {
        name: queries[pattern.template](stream, pattern)
        for name, pattern in stream.patterns.items()
        if live or pattern.template != "silent_topic"
    }


def _silent_sensor(stream: Stream, pattern: Pattern) -> str:
    """Open when event time has moved on, close at the sensor's next reading."""
    since = f"seconds_since_last(`past`, {len(stream.measured)})"
    before = "`event_ms` - CAST(`since` * 1000 AS BIGINT)"
    return (
        "SELECT `sensor`, `start_ms`, `start_ms` AS `peak_ms`, CAST(NULL AS BIGINT) AS `stop_ms`, "
        f"{_NO_ID} AS `first_id`, {_NO_ID} AS `last_id`\n"
        "FROM (SELECT `sensor`, MAX(`event_ms`) AS `start_ms` FROM readings\n"
        f"GROUP BY `sensor`, SESSION(`ts`, {interval(pattern.after_s)}))\n"
        "UNION ALL\n"
        f"SELECT `sensor`, {before}, {before}, `event_ms`, `message_id`, `message_id`\n"
        f"FROM (SELECT `sensor`, `event_ms`, `message_id`, {since} AS `since` FROM windows)\n"
        f"WHERE `since` > {pattern.after_s}"
    )


def _silent_topic(stream: Stream, pattern: Pattern) -> str:
    """Alert by the wall clock, since event time stands still."""
    return (
        "SELECT 'topic' AS `sensor`, `start_ms`, `start_ms` AS `peak_ms`, "
        f"CAST(NULL AS BIGINT) AS `stop_ms`, {_NO_ID} AS `first_id`, {_NO_ID} AS `last_id`\n"
        "FROM (SELECT MAX(`event_ms`) AS `start_ms`\n"
        "FROM (SELECT `event_ms`, PROCTIME() AS `arrived` FROM arrivals)\n"
        f"GROUP BY SESSION(`arrived`, {interval(pattern.after_s)}))"
    )


def _sequence(stream: Stream, pattern: Pattern) -> str:
    """Match the steps in order, whatever comes between them."""
    names = [f"S{place}" for place in range(1, len(pattern.steps) + 1)]
    steps = " ".join(
        name if place == 0 else f"O{place}*? {name}" for place, name in enumerate(names)
    )
    defined = ", ".join(
        f"{name} AS {step}" for name, step in zip(names, pattern.steps, strict=True)
    )
    first, last = names[0], names[-1]
    return (
        "SELECT `sensor`, `start_ms`, `start_ms` AS `peak_ms`, `stop_ms`, `first_id`, `last_id`\n"
        f"FROM (SELECT `{pattern.of}` AS `sensor`, `message_id`, `event_ms`, `ts`, "
        f"{quoted(*stream.measured)} FROM derived)\n"
        "MATCH_RECOGNIZE (PARTITION BY `sensor` ORDER BY `ts`\n"
        f"  MEASURES {first}.`event_ms` AS `start_ms`, {last}.`event_ms` AS `stop_ms`, "
        f"{first}.`message_id` AS `first_id`, {last}.`message_id` AS `last_id`\n"
        "  ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW\n"
        f"  PATTERN ({steps}) WITHIN {interval(pattern.within_s)}\n"
        f"  DEFINE {defined})"
    )


def _lasting_alarm(stream: Stream, pattern: Pattern, *, rule: EpisodeRule, batch: bool) -> str:
    """Open when the detector's alarm has been on for so long, close when it has ended."""
    return (
        "SELECT `sensor`, `said`.`start_ms` AS `start_ms`, `said`.`start_ms` AS `peak_ms`, "
        "`said`.`stop_ms` AS `stop_ms`,\n"
        "  `said`.`first_id` AS `first_id`, `said`.`last_id` AS `last_id`\n"
        f"FROM (SELECT `sensor`, lasting_alarm({unfolded(rule.k, rule.n, rule.m)}, "
        f"CAST({round(pattern.after_s * 1000)} + 0 * `event_ms` AS BIGINT), "
        "`above`, `event_ms`, `message_id`)\n"
        f"  {BY_SENSOR} AS `said`\n"
        f"FROM (SELECT *, {arrived(batch=batch)} AS `arrived` FROM scores))\n"
        "WHERE `said` IS NOT NULL"
    )


def _query_pattern(stream: Stream, pattern: Pattern) -> str:
    return (
        "SELECT CAST(`sensor` AS STRING) AS `sensor`, CAST(`start_ms` AS BIGINT) AS `start_ms`, "
        "CAST(`start_ms` AS BIGINT) AS `peak_ms`, CAST(`stop_ms` AS BIGINT) AS `stop_ms`, "
        f"{_NO_ID} AS `first_id`, {_NO_ID} AS `last_id`\nFROM ({pattern.query})"
    )


def refused() -> str:
    """Return the messages that are no readings, and those whose time cannot be."""
    return "SELECT `message_id`, `refused` AS `reason`\nFROM source\nWHERE `refused` IS NOT NULL"


def live(stream: Stream) -> dict[str, str]:
    """Return the views of messages that are no readings, and of the heartbeat."""
    queries = {"refused": refused()}
    if stream.heartbeat:
        queries["heartbeat"] = _heartbeat(stream)
    return queries


def _heartbeat(stream: Stream) -> str:
    """Count what came within a span of the wall clock; ticks let it beat when nothing comes."""
    again = f"seconds_since_last(`past`, {len(stream.measured)}) = 0"
    source = {
        "late": _flag("`late` AND `refused` IS NULL"),
        "refused": _flag("`refused` IS NOT NULL"),
        "ahead": _flag("`refused` IS NOT NULL AND `fault` IS NULL AND NOT `late`"),
        "overtaken": _flag("`late` AND `refused` IS NOT NULL"),
        # what Flink's windows of event time and MATCH_RECOGNIZE leave out, and say nothing
        "behind": _flag("`refused` IS NULL AND NOT `late` AND `ts` <= CURRENT_WATERMARK(`ts`)"),
    }
    flags = {"duplicate": _flag(again)}
    if stream.detects:
        flags |= {
            "scored": _flag("`score` IS NOT NULL"),
            "warming": _flag("`score` IS NULL AND NOT `unleveled`"),
            "unleveled": _flag("`unleveled`"),
        }
    beats = [
        _counted("arrivals", {"read": "1"}),
        _counted("source", source),
        _counted("scores" if stream.detects else "windows", flags),
        _counted("alerts", {"alerts": "1"}),
        _counted("ticks", {}),
    ]
    total = ", ".join(f"SUM(`{counter}`) AS `{counter}`" for counter in COUNTERS)
    span = f"`arrived`, {interval(BEAT_S)}"
    end = f"DATE_FORMAT(TUMBLE_END({span}), 'yyyy-MM-dd''T''HH:mm:ss''Z''')"
    return (
        f"SELECT {end} AS `at`, {total}\nFROM (SELECT *, PROCTIME() AS `arrived` FROM (\n"
        + "\nUNION ALL\n".join(beats)
        + f"))\nGROUP BY TUMBLE({span})"
    )


def _flag(condition: str) -> str:
    return f"CASE WHEN {condition} THEN 1 ELSE 0 END"


def _counted(view: str, values: Mapping[str, str]) -> str:
    columns = ", ".join(
        f"CAST({values.get(counter, '0')} AS BIGINT) AS `{counter}`" for counter in COUNTERS
    )
    return f"SELECT {columns} FROM {view}"
