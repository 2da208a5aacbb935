"""Build the job from a stream, and run it on Flink's mini cluster within this process."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from workbench import services
from workbench.detectors import Package, epoch_ms
from workbench.endpoints import home
from workbench.errors import StreamError
from workbench.stream import ends
from workbench.stream.definition import Stream, load_stream
from workbench.stream.functions import JAVA, function_jar
from workbench.stream.loopback import keep_own_variables, python
from workbench.stream.outcome import Outcome, output, until_end, written
from workbench.stream.selection import scorers, started
from workbench.stream.views import views

if TYPE_CHECKING:
    from pyflink.common import Configuration
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.table import StatementSet, TableEnvironment

_POLL_S = 0.1
_BUNDLE = 10_000  # readings; Python scores its batches of 1,000 while Flink packs the next
_BUNDLE_BYTES = 16 << 20  # of windows, at most as long as they hold a batch
_BOUNDED = {"python__fn_execution__bundle__time": "1000"}  # nobody waits for an alert
_LONG = 300_000  # readings, from which on a job is not brief
# A short job compiles quickly instead of well: half the processor time. One that stays has windows
# that move at each reading, and G1, Flink's own, is at a loss with them: 60,000 readings/s of
# 100,000 sensors, where this one lets 85,000 pass.
_BRIEF = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_STEADY = ("-XX:+UseParallelGC",)
_COLLECTOR = re.compile(r"-XX:\+Use\w+GC")
_FILES = ("alerts", "scores", "late")
_CAUSE = re.compile(r"^(?:Caused by: |: )?[\w.$]+(?:Exception|Error): (.+)$", re.MULTILINE)


def sql(stream: str | Path | Stream, *, package: str | None = None) -> str:
    """Return the SQL that the job runs, between its ends.

    Parameters
    ----------
    package
        Id of a package in place of the stream's detector; with neither, the rule k = n = m = 1.
    """
    found = load_stream(stream)
    first = None if found.rule and not package else started(found, package)
    rules = {tag: rule for tag, _, rule in scorers(found, first, package or found.detector)}
    queries = views(found, rules, live=True).items()
    return "\n\n".join(f"CREATE TEMPORARY VIEW {name} AS\n{query};" for name, query in queries)


def environment(*, brief: bool = False, batch: bool = False, **settings: str) -> TableEnvironment:
    """Return a table environment for a job in this process.

    Parameters
    ----------
    brief
        For a job of seconds; holds for this process if it is the first that it runs.
    batch
        For Flink's batch execution, in place of its streaming execution.
    settings
        Flink's, with `__` for `.` and `_` for `-`.
    """
    _prepare_java(brief=brief)
    given = {key.replace("__", ".").replace("_", "-"): value for key, value in settings.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # apache_beam speaks of pkg_resources, on import
        from pyflink.common import Configuration
        from pyflink.table import EnvironmentSettings, StreamTableEnvironment

        keep_own_variables()
        configuration = Configuration()
        given.setdefault("execution.runtime-mode", "BATCH" if batch else "STREAMING")
        if given.setdefault("execution.target", "local") == "local":
            given.setdefault("python.executable", str(python()))
        for key, value in {**_SETTINGS, **given}.items():
            configuration.set_string(key, value)
        known = EnvironmentSettings.new_instance().with_configuration(configuration).build()
        return StreamTableEnvironment.create(_with_own_classes(configuration), known)


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
    "execution.attached": "true",
    # the Pulsar client's threads outlive a job by a moment, and would print where it found them
    "classloader.check-leaked-classloader": "false",
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
    _add_java_options(_BRIEF if brief else _STEADY)


def _add_java_options(options: tuple[str, ...]) -> None:
    """Let the JVM that PyFlink starts have these, and no collector beside one of the user's."""
    import pyflink
    from pyflink.pyflink_gateway_server import get_jvm_opts

    conf = Path(pyflink.__file__).parent / "conf"
    given = get_jvm_opts({**os.environ, "FLINK_CONF_DIR": str(conf)})
    # what a job before this one asked for, maybe in the process that started this one
    users = [one for one in given if one not in {*_BRIEF, *_STEADY}]
    if any(_COLLECTOR.fullmatch(one) for one in users):
        options = tuple(one for one in options if not _COLLECTOR.fullmatch(one))
    os.environ["FLINK_ENV_JAVA_OPTS"] = " ".join([*users, *options])


def define(
    env: TableEnvironment,
    stream: Stream,
    package: Package | None,
    role: str,
    *,
    message_id: str,
    live: bool = False,
    batch: bool = False,
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
    batch
        Whether `env` is for batch execution.
    """
    from pyflink.table.udf import udf

    from workbench.stream.scoring import RESULT, Score

    window_bytes = 8 * (1 + len(stream.measured)) * stream.depth
    bundle = min(_BUNDLE, max(1000, _BUNDLE_BYTES // window_bytes))
    env.get_config().set("python.fn-execution.bundle.size", str(bundle))
    rules = {}
    for tag, scored, rule in scorers(stream, package, role):
        function = udf(Score(scored, stream.measured), result_type=RESULT, func_type="pandas")
        env.create_temporary_function(f"score{tag}", function)
        rules[tag] = rule
    for name, java in JAVA.items():
        env.create_java_temporary_function(name, f"workbench.{java}")
    made = views(stream, rules, message_id=message_id, live=live, batch=batch)
    for name, query in made.items():
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
    batch: bool = False,
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
    batch
        Let Flink sort the readings, by sensor and time, in place of following their order of
        arrival: the outcome is the same where none is late, none of a sensor's are of one
        instant, and the stream has neither sums nor patterns.

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
        brief = len(source) < _LONG
        env = environment(brief=brief, batch=batch, pipeline__jars=jars, **_BOUNDED)
        execute(env, ends.file_source(found, place / "readings.csv"), found)
        define(env, found, first, role, message_id=ends.MESSAGE_ID["files"], batch=batch)
        names = _files(found, first)
        for name in names:
            execute(env, _file_sink(found, name, place), found)
        seen = None if batch else place / ("scores" if first else "late")
        startup_s, running_s = _await(inserts(env, found, names), seen, began)
        alerts, scores, late = (output(found, name, place) for name in _FILES)
        times = epoch_ms(source[time_column])
        return Outcome(
            found.name,
            first.id if first else "",
            until_end(found, alerts, int(times.max()) if len(times) else 0),
            scores,
            late,
            len(source),
            startup_s,
            running_s,
            output(found, "shadow", place),
        )


def _files(stream: Stream, package: Package | None) -> list[str]:
    shadow = ["shadow"] if stream.shadow else []
    return [name for name in _FILES if package or name != "scores"] + shadow


def _file_sink(stream: Stream, name: str, place: Path) -> str:
    kind = "json" if name in ("alerts", "shadow") else "csv"
    return ends.file_sink(f"{name}_sink", written(stream, name), place / name, kind)


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


def _await(statements: StatementSet, scores: Path | None, began: float) -> tuple[float, float]:
    """Run to the end; return when the first score was written, and how long it took from there.

    Without `scores`, return when the job was submitted: batch execution writes all at the end.
    """
    first = None
    with failure():
        finished = statements.execute().get_job_client().get_job_execution_result()
        if scores is None:
            first = time.monotonic()
        while not finished.done():
            if first is None and scores and scores.is_dir() and any(scores.iterdir()):
                first = time.monotonic()
            time.sleep(_POLL_S)
        finished.result()
    end = time.monotonic()
    return (first or end) - began, end - (first or end)
