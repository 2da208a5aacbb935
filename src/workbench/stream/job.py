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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from workbench import services
from workbench.detectors import Package
from workbench.endpoints import home
from workbench.errors import StreamError
from workbench.stream import ends
from workbench.stream.definition import Stream, load_stream
from workbench.stream.functions import JAVA, function_jar
from workbench.stream.promotions import ROLES, find_package, promotions, store
from workbench.stream.views import columns as alert_columns
from workbench.stream.views import views

if TYPE_CHECKING:
    from pyflink.common import Configuration
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.table import StatementSet, TableEnvironment

_POLL_S = 0.1
_BOUNDED = {"python__fn_execution__bundle__time": "1000"}  # nobody waits for an alert
_QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_FILES = ("alerts", "scores", "late")
_CAUSE = re.compile(r"^(?:Caused by: |: )?[\w.$]+(?:Exception|Error): (.+)$", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Outcome:
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
    """

    stream: str
    package: str
    alerts: pd.DataFrame
    scores: pd.DataFrame
    late: pd.DataFrame
    readings: int
    startup_s: float
    running_s: float

    @property
    def rate(self) -> float:
        """Readings per second, start-up left out."""
        return self.readings / max(self.running_s, _POLL_S)


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
    rule = found.rule
    if rule is None:
        rule = chosen(found, package).rule
    queries = views(found, rule).items()
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
    env: TableEnvironment, stream: Stream, package: Package, role: str, *, message_id: str
) -> None:
    """Define the scoring function and the views between the ends.

    Parameters
    ----------
    package
        Whose rule holds.
    role
        `champion` or `challenger`: the promotions decide; anything else: that package.
    message_id
        SQL that makes text of a message id.
    """
    from pyflink.table.udf import udf

    from workbench.stream.scoring import RESULT, Score, Scored

    fixed = "" if role in ROLES else package.id
    scored = Scored(stream.name, role, str(store().resolve()), fixed, stream.threshold)
    function = udf(Score(scored, stream.measured), result_type=RESULT, func_type="pandas")
    env.create_temporary_function("score", function)
    for name, java in JAVA.items():
        env.create_java_temporary_function(name, f"workbench.{java}")
    rule = stream.rule or package.rule
    for name, query in views(stream, rule, message_id=message_id).items():
        execute(env, f"CREATE TEMPORARY VIEW {name} AS\n{query}", stream)


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
    first = chosen(found, package)
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
        for statement in _file_sinks(found, place):
            execute(env, statement, found)
        startup_s, running_s = _await(inserts(env, found, _FILES), place / "scores", began)
        made = _outputs(found, place)
        return Outcome(found.name, first.id, *made, len(source), startup_s, running_s)


def _file_sinks(stream: Stream, place: Path) -> list[str]:
    return [
        ends.file_sink("alerts_sink", alert_columns(stream), place / "alerts", "json"),
        ends.file_sink("scores_sink", ends.SCORES, place / "scores", "csv"),
        ends.file_sink("late_sink", ends.LATE, place / "late", "csv"),
    ]


def inserts(
    env: TableEnvironment,
    stream: Stream,
    names: Iterable[str],
    *,
    keys: Mapping[str, str] | None = None,
) -> StatementSet:
    """Return what writes each of the views `names` to its sink, behind its column in `keys`."""
    columns = {"alerts": alert_columns(stream), "scores": ends.SCORES, "late": ends.LATE}
    statements = env.create_statement_set()
    for name in names:
        key = [keys[name]] if keys else []
        written = ends.quoted(*key, *columns[name])
        statements.add_insert_sql(f"INSERT INTO {name}_sink SELECT {written} FROM {name}")
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


def _outputs(stream: Stream, place: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    alerts = newest(_json_lines(place / "alerts"), list(alert_columns(stream)))
    return alerts, _csv(place / "scores", ends.SCORES), _csv(place / "late", ends.LATE)


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
