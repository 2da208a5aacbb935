"""Build the job from a stream, and run it on Flink's mini cluster within this process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from workbench import services
from workbench.cards import Card, Shown
from workbench.detectors import EpisodeRule, Package, epoch_ms
from workbench.endpoints import home
from workbench.errors import StreamError
from workbench.stream import ends, events
from workbench.stream.definition import Stream, load_stream
from workbench.stream.functions import JAVA, function_jar
from workbench.stream.promotions import ROLES, find_package, promotions, store
from workbench.stream.showing import alert_rows
from workbench.stream.views import SHADOW, views
from workbench.stream.views import columns as alert_columns

if TYPE_CHECKING:
    from pyflink.common import Configuration
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.table import StatementSet, TableEnvironment

    from workbench.stream.scoring import Scored

_POLL_S = 0.1
_BOUNDED = {"python__fn_execution__bundle__time": "1000"}  # nobody waits for an alert
_QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_FILES = ("alerts", "scores", "late")
_CAUSE = re.compile(r"^(?:Caused by: |: )?[\w.$]+(?:Exception|Error): (.+)$", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Outcome(Shown):
    """What a bounded job made of some readings.

    Attributes
    ----------
    stream, package
        Name of the stream, and id of the package that it started with.
    alerts
        Newest state of each alert, one row per id, by start.
    scores
        `message_id`, `sensor`, `event_ms`, `score` (NaN where there is none), `threshold`,
        `package`.
    late
        `message_id`, `sensor`, `event_ms` of readings that came too late.
    readings
        How many went in.
    startup_s, running_s
        Until the first score was written, and from then to the end.
    shadow
        What the challenger would have alerted, as `alerts`.
    """

    stream: str
    package: str
    alerts: pd.DataFrame
    scores: pd.DataFrame
    late: pd.DataFrame
    readings: int
    startup_s: float
    running_s: float
    shadow: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def rate(self) -> float:
        """Readings per second, start-up left out."""
        return self.readings / max(self.running_s, _POLL_S)

    def card(self) -> Card:
        """Return what a notebook shows of it: the newest alerts."""
        facts = {
            "package": self.package[:16],
            "readings": f"{self.readings:,}, {len(self.late):,} of them late",
            "alerts": len(self.alerts),
            "challenger's alerts": len(self.shadow) or None,
            "rate": f"{self.rate:,.0f} readings/s after {self.startup_s:.1f} s of start-up",
        }
        return Card("outcome of stream", self.stream, facts, alert_rows(self.alerts))


def chosen(stream: Stream, package: str | None = None) -> Package:
    """Return the package that a stream starts with: `package`, or what its `detector` names.

    Raises
    ------
    StreamError
        If nothing was promoted, or the package does not fit the stream.
    """
    wanted = package or stream.detector
    if wanted not in ROLES:
        found = find_package(wanted)
    else:
        log = promotions(stream.name, wanted)
        if not log:
            raise StreamError(
                f"stream {stream.name} has no {wanted} yet",
                where=store(),
                hint=f"workbench promote RUN --stream {stream.name} --as {wanted}",
            )
        found = find_package(log[-1].package)
    reasons = misfits(stream, found)
    if reasons:
        raise StreamError(f"package {found.id[:16]} does not fit: {'; '.join(reasons)}")
    return found


def started(stream: Stream, package: str | None = None) -> Package | None:
    """Return the package that a job starts with, as `chosen`; None if the stream has no detector.

    Raises
    ------
    StreamError
        As `chosen`; or if a package beside it does not fit the stream.
    """
    for one in stream.also:
        chosen(replace(stream, detector=one))
    return chosen(stream, package) if package or stream.detects else None


def misfits(stream: Stream, package: Package) -> list[str]:
    """Return why a package cannot score a stream; nothing if it can."""
    reasons = []
    missing = [one for one in package.detector.channels if one not in stream.measured]
    if missing:
        reasons.append(f"the stream has no channel {', '.join(missing)}")
    if package.detector.window > stream.window:
        reasons.append(f"its window is {package.detector.window}, the stream's {stream.window}")
    return reasons


def sql(stream: str | Path | Stream, *, package: str | None = None) -> str:
    """Return the SQL that the job runs, between its ends.

    Parameters
    ----------
    package
        Id of a package in place of the stream's detector; with neither, the rule k = n = m = 1.
    """
    found = load_stream(stream)
    first = None if found.rule and not package else started(found, package)
    rules = {tag: rule for tag, _, rule in _scorers(found, first, package or found.detector)}
    queries = views(found, rules, live=True).items()
    return "\n\n".join(f"CREATE TEMPORARY VIEW {name} AS\n{query};" for name, query in queries)


def environment(*, brief: bool = False, **settings: str) -> TableEnvironment:
    """Return a table environment for a streaming job in this process.

    Parameters
    ----------
    brief
        For a job of seconds; holds for this process if it is the first that it runs.
    settings
        Flink's, with `__` for `.` and `_` for `-`.
    """
    _prepare_java(brief=brief)
    given = {key.replace("__", ".").replace("_", "-"): value for key, value in settings.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # apache_beam speaks of pkg_resources, on import
        from pyflink.common import Configuration
        from pyflink.table import EnvironmentSettings, StreamTableEnvironment

        configuration = Configuration()
        for key, value in {**_SETTINGS, **given}.items():
            configuration.set_string(key, value)
        streaming = EnvironmentSettings.new_instance().in_streaming_mode()
        return StreamTableEnvironment.create(
            _with_own_classes(configuration), streaming.with_configuration(configuration).build()
        )


def _with_own_classes(configuration: Configuration) -> StreamExecutionEnvironment:
    """Return an environment that finds the classes in `pipeline.jars` while it makes a job graph.

    (The one that PyFlink makes does not: with checkpoints on, a Java function in SQL then does not
    compile.)
    """
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.java_gateway import get_gateway

    jvm = get_gateway().jvm
    loader = jvm.Thread.currentThread().getContextClassLoader()
    java = jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
    return StreamExecutionEnvironment(java(configuration._j_configuration, loader))


def embedded() -> TableEnvironment:
    """Return the environment of the application cluster that started this process.

    What `environment` sets, that cluster has to be started with: `JOB_SETTINGS`.
    """
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.table import StreamTableEnvironment

    return StreamTableEnvironment.create(StreamExecutionEnvironment.get_execution_environment())


JOB_SETTINGS = {
    "parallelism.default": "1",
    "pipeline.auto-watermark-interval": "0",  # a watermark after every reading: DESIGN D10
    "table.local-time-zone": "UTC",
    "table.optimizer.reuse-optimize-block-with-digest-enabled": "true",  # score once for all sinks
    "python.fn-execution.bundle.time": "200",  # ms; bounds the delay of an alert
    "pipeline.object-reuse": "true",  # no copy of every row between operators
}
_SETTINGS = {
    **JOB_SETTINGS,
    "execution.target": "local",
    "execution.attached": "true",
    "python.executable": sys.executable,
    "python.client.executable": sys.executable,
    "rest.bind-port": "0",
    "rest.bind-address": "127.0.0.1",
    "restart-strategy.type": "none",
}


def _prepare_java(*, brief: bool) -> None:
    """Let PyFlink find the JDK, and keep its logs out of site-packages."""
    os.environ["JAVA_HOME"] = str(services.java().parent.parent)
    logs = home() / "logs" / "flink"
    logs.mkdir(parents=True, exist_ok=True)
    os.environ["FLINK_LOG_DIR"] = str(logs)
    if brief:
        _spare_the_compiler()


def _spare_the_compiler() -> None:
    """Let the JVM compile quickly instead of well: half the processor time of a short job."""
    import pyflink
    from pyflink.pyflink_gateway_server import get_jvm_opts

    conf = Path(pyflink.__file__).parent / "conf"
    given = get_jvm_opts({**os.environ, "FLINK_CONF_DIR": str(conf)})
    if _QUICK[0] not in given:
        os.environ["FLINK_ENV_JAVA_OPTS"] = " ".join([*given, *_QUICK])


def define(
    env: TableEnvironment,
    stream: Stream,
    package: Package | None,
    role: str,
    *,
    message_id: str,
    live: bool = False,
) -> None:
    """Define the scoring functions and the views between the ends.

    Parameters
    ----------
    package
        Whose rule holds; None: the stream has no detector.
    role
        `champion` or `challenger`: the promotions decide; anything else: that package.
    message_id
        SQL that makes text of a message id.
    live
        Whether there are messages that are no readings, and a wall clock.
    """
    from pyflink.table.udf import udf

    from workbench.stream.scoring import RESULT, Score

    rules = {}
    for tag, scored, rule in _scorers(stream, package, role):
        function = udf(Score(scored, stream.measured), result_type=RESULT, func_type="pandas")
        env.create_temporary_function(f"score{tag}", function)
        rules[tag] = rule
    for name, java in JAVA.items():
        env.create_java_temporary_function(name, f"workbench.{java}")
    for name, query in views(stream, rules, message_id=message_id, live=live).items():
        execute(env, f"CREATE TEMPORARY VIEW {name} AS\n{query}", stream)


def _scorers(
    stream: Stream, package: Package | None, role: str
) -> Iterator[tuple[str, Scored, EpisodeRule]]:
    """Yield the tag, the packages and the rule of each detector of a job."""
    from workbench.stream.scoring import Scored

    if not stream.detects and package is None:
        return
    place = str(store().resolve())
    fixed = "" if role in ROLES else package.id if package else role
    usual = stream.rule or (package.rule if package else EpisodeRule())
    yield "", Scored(stream.name, role, place, fixed, stream.threshold), usual
    for number, one in enumerate(stream.also, start=2):
        beside = find_package(one)
        yield f"_{number}", Scored(stream.name, "", place, beside.id), stream.rule or beside.rule
    if stream.shadow:
        log = promotions(stream.name, "challenger")
        rule = stream.rule or (find_package(log[-1].package).rule if log else usual)
        yield SHADOW, Scored(stream.name, "challenger", place, "", stream.threshold), rule


def execute(env: TableEnvironment, statement: str, stream: Stream) -> None:
    """Run one statement that defines something.

    Raises
    ------
    StreamError
        With Flink's reason, if it refuses.
    """
    from py4j.protocol import Py4JJavaError
    from pyflink.util.exceptions import TableException

    try:
        env.execute_sql(statement)
    except (Py4JJavaError, TableException) as err:
        head = statement.split(" AS\n", 1)[0].split(" (\n", 1)[0]
        raise StreamError(
            f"Flink refuses the SQL of stream {stream.name}: {reason(err)}", where=head
        ) from err


def reason(err: BaseException) -> str:
    """Return the first line of the innermost cause in a Java error.

    Examples
    --------
    >>> reason(ValueError("a.b.TableException: no\\n\\tat x\\nCaused by: a.SqlException: bad word"))
    'bad word'
    """
    causes = _CAUSE.findall(str(err))
    return str(causes[-1] if causes else err).strip()


def run(
    stream: str | Path | Stream,
    source: pd.DataFrame,
    *,
    time_column: str = "event_time",
    package: str | None = None,
    folder: Path | None = None,
) -> Outcome:
    """Run the job over readings in their order of arrival, to their end.

    Parameters
    ----------
    source
        Readings, in order of arrival: the columns that the stream names, and `message_id` if
        known.
    time_column
        Their event time.
    package
        Id of a package in place of the stream's detector.
    folder
        Where to keep the job's files; None: nowhere.

    Raises
    ------
    StreamError
        If the stream file, the package or the readings are wrong, or the job fails.
    """
    found = load_stream(stream)
    first = started(found, package)
    role = package or found.detector
    with tempfile.TemporaryDirectory(prefix="workbench-") as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        ends.write_readings(found, source, place / "readings.csv", time=time_column)
        began = time.monotonic()
        jars = function_jar().as_uri()
        env = environment(brief=True, pipeline__jars=jars, **_BOUNDED)
        execute(env, ends.file_source(found, place / "readings.csv"), found)
        define(env, found, first, role, message_id=ends.MESSAGE_ID["files"])
        names = _files(found, first)
        for name in names:
            execute(env, _file_sink(found, name, place), found)
        seen = place / ("scores" if first else "late")
        startup_s, running_s = _await(inserts(env, found, names), seen, began)
        alerts, scores, late = (_output(found, name, place) for name in _FILES)
        times = epoch_ms(source[time_column])
        return Outcome(
            found.name,
            first.id if first else "",
            _until(found, alerts, int(times.max()) if len(times) else 0),
            scores,
            late,
            len(source),
            startup_s,
            running_s,
            _output(found, "shadow", place),
        )


def _files(stream: Stream, package: Package | None) -> list[str]:
    shadow = ["shadow"] if stream.shadow else []
    return [name for name in _FILES if package or name != "scores"] + shadow


def _file_sink(stream: Stream, name: str, place: Path) -> str:
    kind = "json" if name in ("alerts", "shadow") else "csv"
    return ends.file_sink(f"{name}_sink", written(stream, name), place / name, kind)


def _until(stream: Stream, alerts: pd.DataFrame, last_ms: int) -> pd.DataFrame:
    """Leave out sensors that were silent only since the readings ended."""
    silent = {n: p.after_s for n, p in stream.patterns.items() if p.template == "silent_sensor"}
    if not silent:
        return alerts
    until = alerts["start"] + pd.to_timedelta(alerts["kind"].map(silent), unit="s")
    end = pd.Timestamp(last_ms, unit="ms", tz="UTC")
    kept = (alerts["status"] == "closed") | until.isna() | (until < end)
    return alerts[kept].reset_index(drop=True)


def written(stream: Stream, name: str) -> Mapping[str, str]:
    """Return names and SQL types of what is written of a view."""
    if name in ("alerts", "shadow"):
        return alert_columns(stream)
    columns = {"late": ends.LATE, "refused": events.REFUSED, "heartbeat": events.HEARTBEAT}
    return columns.get(name, ends.SCORES)


def inserts(
    env: TableEnvironment,
    stream: Stream,
    names: Iterable[str],
    *,
    keys: Mapping[str, str] | None = None,
) -> StatementSet:
    """Return what writes each of the views `names` to its sink, behind its column in `keys`."""
    statements = env.create_statement_set()
    for name in names:
        key = [keys[name]] if keys else []
        columns = ends.quoted(*key, *written(stream, name))
        statements.add_insert_sql(f"INSERT INTO {name}_sink SELECT {columns} FROM {name}")
    return statements


@contextlib.contextmanager
def failure() -> Iterator[None]:
    """Turn what Flink throws into a StreamError with its innermost reason."""
    from py4j.protocol import Py4JJavaError
    from pyflink.util.exceptions import TableException

    try:
        yield
    except (Py4JJavaError, TableException) as err:
        logs = home() / "logs" / "flink"
        raise StreamError(f"the job failed: {reason(err)}", where=logs) from err


def _await(statements: StatementSet, scores: Path, began: float) -> tuple[float, float]:
    """Run to the end; return when the first score was written, and how long it took from there."""
    first = None
    with failure():
        finished = statements.execute().get_job_client().get_job_execution_result()
        while not finished.done():
            if first is None and scores.is_dir() and any(scores.iterdir()):
                first = time.monotonic()
            time.sleep(_POLL_S)
        finished.result()
    end = time.monotonic()
    return (first or end) - began, end - (first or end)


def _output(stream: Stream, name: str, place: Path) -> pd.DataFrame:
    columns = written(stream, name)
    if name in ("alerts", "shadow"):
        return newest(_json_lines(place / name), list(columns))
    return _csv(place / name, columns)


def _json_lines(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("part-*")):
        with path.open(encoding="utf-8") as file:
            yield from map(json.loads, file)


def newest(alerts: Iterator[dict[str, Any]], names: list[str]) -> pd.DataFrame:
    """Return one row per alert id: the closed one where there is one, else the last (DESIGN D9)."""
    frame = pd.DataFrame(list(alerts), columns=names)
    frame["closed"] = frame["status"] == "closed"
    frame = frame.sort_values("closed", kind="stable").drop_duplicates("id", keep="last")
    for name in ("start", "peak_time", "stop"):
        frame[name] = pd.to_datetime(frame[name], utc=True).dt.as_unit("ms")
    return frame.sort_values(["start", "sensor"], ignore_index=True).drop(columns="closed")


def _csv(folder: Path, columns: Any) -> pd.DataFrame:
    types = {"STRING": pa.string(), "BIGINT": pa.int64(), "DOUBLE": pa.float64()}
    read = pyarrow.csv.ReadOptions(column_names=list(columns))
    convert = pyarrow.csv.ConvertOptions(
        column_types={name: types[kind] for name, kind in columns.items()}
    )
    parts = [path for path in sorted(folder.glob("part-*")) if path.stat().st_size]
    tables = [pyarrow.csv.read_csv(p, read_options=read, convert_options=convert) for p in parts]
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    found: pd.DataFrame = pa.concat_tables([schema.empty_table(), *tables]).to_pandas()
    return found
