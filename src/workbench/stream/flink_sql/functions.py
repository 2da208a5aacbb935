"""What the job needs besides Flink and Python: a few Java classes, in a jar of their own.

`java/` holds aggregate functions, the windows and the alarms of the job, the order of
what comes by several partitions, and a format, JSON or Avro, that says of a message why it is no
reading.
`services.compilation` makes the jar.
"""

from __future__ import annotations

from pathlib import Path

from workbench.services import flink_jars, jar

JAVA = {  # SQL name: class in `java/`
    "last_readings": "LastReadings",
    "alarm": "Alarm",
    "lasting_alarm": "LastingAlarm",
    "message_id_text": "MessageIdText",
    "key_text": "KeyText",
    "seconds_since_last": "SecondsSinceLast",
    "change_per_s": "ChangePerSecond",
}
_SOURCES = Path(__file__).with_name("java")
_ON_PATH = (
    "flink-dist-*.jar",
    "flink-table-api-java-uber-*.jar",
    "flink-table-runtime-*.jar",
)


def function_jar() -> Path:
    """Return the jar with the classes in `java/`, compiled if they are new.

    Raises
    ------
    ServicesError
        If they do not compile, or the compiler is not cached and cannot be downloaded.
    """
    return jar(_SOURCES, flink_jars(*_ON_PATH))


__all__ = ["JAVA", "function_jar"]
