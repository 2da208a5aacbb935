"""Build the job from a stream, and run it on Flink's mini cluster within this process."""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pandas as pd

from workbench import services
from workbench.detectors import Package
from workbench.errors import StreamError
from workbench.stream.connectors import message_file, readings_file
from workbench.stream.connectors.plain_files import file_sink
from workbench.stream.definition.stream_file import Stream, load_stream
from workbench.stream.flink_sql import events, outputs, tables
from workbench.stream.flink_sql.functions import JAVA, function_jar
from workbench.stream.flink_sql.tables import Sink, Source
from workbench.stream.flink_sql.views import views
from workbench.stream.frames import in_step
from workbench.stream.promotion_log import ROLES
from workbench.stream.running.class_path import job_ran
from workbench.stream.running.failures import failure, reason
from workbench.stream.running.gateway import guard_gateway, keep_threads, start_gateway
from workbench.stream.running.loopback import let_flink_hang_up, python, score_here
from workbench.stream.running.outcome import OUTPUTS, Outcome, Written
from workbench.stream.selection import Selection, scorers, select
from workbench.times import epoch_ms

if TYPE_CHECKING:
    import pyarrow as pa
    from pyflink.common import Configuration
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.table import StatementSet, TableEnvironment

_POLL_S = 0.1
_BUNDLE = 10_000  # readings; Python scores its batches of 1,000 while Flink packs the next
_BUNDLE_BYTES = 16 << 20  # of windows, at most as long as they hold a batch
_BOUNDED = {"python__fn_execution__bundle__time": "1000"}  # nobody waits for an alert
_IDLE_S = 30.0  # of silence, from which on the other partitions do not wait for one
_WAITING_BYTES = 64 << 20  # of readings that wait for another partition, in memory, at most
_LONG = 300_000  # readings, from which on a job is not brief


def sql(stream: str | Path | Stream, *, package: str | None = None) -> str:
    """Return the SQL that the job runs, between its source and its sinks.

    Parameters
    ----------
    package
        Id of a package in place of the stream's detector; with neither, the rule k = n = m = 1.
    """
    definition = load_stream(stream)
    ruled = definition.rule and not package and definition.detector in ROLES  # it needs no package
    selection = (
        Selection(definition, definition.detector, None) if ruled else select(definition, package)
    )
    rules = {tag: rule for tag, _, rule in scorers(selection)}
    queries = views(definition, rules, live=True).items()
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
    options = {key.replace("__", ".").replace("_", "-"): value for key, value in settings.items()}
    is_here = options.setdefault("execution.target", "local") == "local"
    _bring(options, start_gateway(brief=brief, jars=_jars(options) if is_here else ()), is_here)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # apache_beam speaks of pkg_resources, on import
        guard_gateway()
        let_flink_hang_up()
        options.setdefault("execution.runtime-mode", "BATCH" if batch else "STREAMING")
        if not is_here:
            return _created({**_SETTINGS, **options})
        options.setdefault("python.executable", str(python()))
        options[services.PASSWORD_FILE] = str(services.password_file("own"))
        score_here()
        return _created({**_SETTINGS, **options})


def _jars(options: Mapping[str, str]) -> list[Path]:
    addresses = options.get("pipeline.jars", "").split(";")
    return [Path(url2pathname(urlsplit(address).path)) for address in addresses if address]


def _bring(options: dict[str, str], there: frozenset[Path], is_here: bool) -> None:
    """Leave out of a job's jars those that its JVM has, where that is this process's."""
    if is_here and (jars := _jars(options)):
        options["pipeline.jars"] = ";".join(jar.as_uri() for jar in jars if jar not in there)
        if not options["pipeline.jars"]:
            del options["pipeline.jars"]


def _created(options: Mapping[str, str]) -> TableEnvironment:
    from pyflink.common import Configuration
    from pyflink.table import EnvironmentSettings, StreamTableEnvironment

    configuration = Configuration()
    for key, value in options.items():
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
    from pyflink.java_gateway import get_gateway
    from pyflink.table import StreamTableEnvironment

    keep_threads(get_gateway())
    return StreamTableEnvironment.create(StreamExecutionEnvironment.get_execution_environment())


JOB_SETTINGS = {
    "parallelism.default": "1",
    "pipeline.auto-watermark-interval": "0",  # one after every reading (docs/design.md, D10)
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
    "jobmanager.bind-host": "127.0.0.1",  # of the mini cluster's blob server
    "restart-strategy.type": "none",
}


def define(
    env: TableEnvironment, selection: Selection, source: Source, *, batch: bool = False
) -> None:
    """Define the table that is read, the scoring functions and the views behind it.

    Parameters
    ----------
    selection
        What scores the stream.
    batch
        Whether `env` is for batch execution.
    """
    from pyflink.table.udf import udf

    from workbench.stream.flink_sql.udf import CONTRIBUTIONS, RESULT, Explain, Score

    stream = selection.stream
    window_bytes = 8 * (1 + len(stream.measured)) * stream.depth
    bundle = min(_BUNDLE, max(1000, _BUNDLE_BYTES // window_bytes))
    env.get_config().set("python.fn-execution.bundle.size", str(bundle))
    rules = {}
    for tag, scored, rule in scorers(selection):
        function = udf(Score(scored, stream.measured), result_type=RESULT, func_type="pandas")
        env.create_temporary_function(f"score{tag}", function)
        explain = udf(Explain(scored, stream.measured), result_type=CONTRIBUTIONS)
        env.create_temporary_function(f"contributions{tag}", explain)
        rules[tag] = rule
    for name, java in JAVA.items():
        env.create_java_temporary_function(name, f"workbench.{java}")
    _define_source(env, stream, source, batch=batch)
    made = views(stream, rules, live=not source.bounded, batch=batch)
    for name, query in made.items():
        execute(env, f"CREATE TEMPORARY VIEW {name} AS\n{query}", stream)


def _define_source(env: TableEnvironment, stream: Stream, source: Source, *, batch: bool) -> None:
    """Define `source`, the readings of the table `messages` with what time makes of them."""
    execute(env, source.table(), stream)
    execute(env, f"CREATE TEMPORARY VIEW received AS\n{source.received(stream)}", stream)
    if batch:  # none of its readings is late or ahead, and it sorts them
        execute(env, f"CREATE TEMPORARY VIEW source AS\n{tables.SORTED}", stream)
        return
    from pyflink.util.java_utils import load_java_class

    if not source.bounded:
        execute(env, events.TICKS, stream)
    ordered = load_java_class("workbench.OrderedReadings").newInstance()
    idle_ms = 0 if source.bounded else round(_IDLE_S * 1000)
    bounds = (stream.lateness_ms, stream.ahead_ms, idle_ms, _WAITING_BYTES)
    ordered.define(env._j_tenv, stream.sensor, *bounds, ",".join(source.partitions))


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


def run(
    stream: str | Path | Stream,
    source: pd.DataFrame,
    *,
    time_column: str = "event_time",
    package: str | None = None,
    folder: Path | None = None,
    batch: bool = False,
    messages: pa.Table | None = None,
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
    messages
        The messages that `source` was made of, row by row, as `message_file.write` takes them:
        then the job reads these, by its own parser, and of `source` their order alone.

    Raises
    ------
    StreamError
        If the stream file, the package or the readings are wrong, or the job fails.
    """
    definition = load_stream(stream)
    selection = select(definition, package)
    with tempfile.TemporaryDirectory(prefix="workbench-") as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        read = _file_source(definition, source, messages, place, time_column)
        times = epoch_ms(source[time_column])
        last_ms = int(times.max()) if len(times) else 0
        return run_files(selection, read, place, len(source), last_ms, batch=batch).outcome()


def run_files(
    selection: Selection, source: Source, place: Path, count: int, last_ms: int, *, batch: bool
) -> Written:
    """Run the job over a bounded source, to its end; what it says is written to files.

    Parameters
    ----------
    place
        Folder for these.
    count, last_ms
        How many readings there are, and the newest time of them.
    batch
        As `run` takes it.
    """
    definition, first = selection.stream, selection.package
    began = time.monotonic()
    jars = function_jar().as_uri()
    env = environment(brief=count < _LONG, batch=batch, pipeline__jars=jars, **_BOUNDED)
    define(env, selection, source, batch=batch)
    sinks = {name: _file_sink(name, place) for name in _files(definition, first)}
    seen = None if batch else place / ("scores" if first else "late")
    startup_s, running_s = _await(inserts(env, definition, sinks), seen, began)
    package = first.id if first else ""
    return Written(definition, package, place, count, last_ms, startup_s, running_s)


def _file_source(
    stream: Stream, frame: pd.DataFrame, messages: pa.Table | None, place: Path, time: str
) -> Source:
    """Write what a bounded job reads, and return the end that reads it."""
    if messages is None:
        readings_file.write(stream, frame, place / "readings.csv", time=time)
        return readings_file.source(stream, place / "readings.csv")
    ordered = messages.take(in_step(stream, frame, time=time))
    message_file.write(ordered.to_batches(), place / "messages.tsv")
    return message_file.source(stream, place / "messages.tsv")


def _files(stream: Stream, package: Package | None) -> list[str]:
    shadow = ["shadow"] if stream.shadow else []
    return [name for name in OUTPUTS if package or name != "scores"] + shadow


def _file_sink(name: str, place: Path) -> Sink:
    return file_sink(place / name, "json" if name in ("alerts", "shadow") else "csv")


def inserts(env: TableEnvironment, stream: Stream, sinks: Mapping[str, Sink]) -> StatementSet:
    """Define the sink of each view, and return what writes the views to them."""
    statements = env.create_statement_set()
    for name, sink in sinks.items():
        columns = outputs.written(stream, name)
        execute(env, sink.table(name, columns), stream)
        selected = tables.quoted(*([outputs.key(name)] if sink.keyed else []), *columns)
        statements.add_insert_sql(f"INSERT INTO {name}_sink SELECT {selected} FROM {name}")
    return statements


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
    job_ran()
    end = time.monotonic()
    return (first or end) - began, end - (first or end)
