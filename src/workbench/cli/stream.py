"""`workbench stream` and `parity`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.services import set_up
from workbench.cli.waiting import beginning, interruptible, tell_wait

if TYPE_CHECKING:
    from workbench.stream import Job, Stream, Submitted

_LOOK_S = 1.0  # how often it is looked whether alerts are still delivered


@click.group()
def stream() -> None:
    """Run streams: readings in, scores and alerts out.

    \b
    Example:
        workbench stream run plant
    """


stream.add_command(set_up)


@stream.command("sql")
@click.argument("name")
@click.option("--package", help="Id of a package in place of the stream's detector.")
def show_sql(name: str, package: str | None) -> None:
    """Print the SQL that the job runs between its ends.

    \b
    Example:
        workbench stream sql plant
    """
    from workbench import stream as room

    click.echo(room.sql(name, package=package))


@stream.command("run")
@click.argument("name")
@click.option("--package", help="Id of a package in place of the stream's detector.")
@click.option(
    "--position",
    default="latest",
    show_default=True,
    help="Live: where to begin, latest, earliest or ledger:entry:partition.",
)
@click.option("--for", "seconds", type=float, help="Live: end after so many seconds.")
@click.option(
    "--target",
    type=click.Choice(["mini", "session", "kubernetes"]),
    default="mini",
    show_default=True,
    help="Where: in this process, on a session cluster, or only write the files of a deployment.",
)
@click.option("--jobmanager", metavar="HOST:PORT", help="Of the session cluster's REST API.")
@click.option(
    "--bucket", default="s3://workbench", show_default=True, help="Kubernetes: for checkpoints."
)
@click.option("--image", help="Kubernetes: name of the image [default: workbench-NAME].")
@click.option("--dry-run", is_flag=True, help="Check everything, print the SQL, start nothing.")
@click.option("--alerts", "delivers", is_flag=True, help="In this process: send alerts by routes.")
def run_stream(
    name: str,
    package: str | None,
    position: str,
    seconds: float | None,
    target: str,
    jobmanager: str | None,
    bucket: str,
    image: str | None,
    dry_run: bool,
    delivers: bool,
) -> None:
    """Score a stream in Flink's mini cluster, live until Ctrl-C, or wherever --target says.

    With --alerts it delivers alerts by the routes of the stream file, too, as `alerts run`.

    \b
    Example:
        workbench stream run plant --target session
    """
    if delivers and target != "mini":
        raise click.UsageError(f"with --target {target}, let `workbench alerts run {name}` deliver")
    from workbench import stream as room

    if target != "kubernetes" and not dry_run:
        room.start_gateway()  # its JVM gets ready while the stream is looked at
    definition = room.load_stream(name)
    if dry_run:
        click.echo(room.sql(definition, package=package))
        return
    if target == "session":
        _submit(name, jobmanager, position, package)
        return
    if target == "kubernetes":
        _deployment(name, bucket, image, package)
        return
    tell = beginning(definition, position)
    with _delivering(definition) if delivers else nullcontext(_nothing) as check:
        with interruptible("ended before the job ran"):
            job = room.start(definition, position=position, package=package)
        click.echo(
            f"{definition.name} runs: {definition.topic} to {definition.alerts}; Ctrl-C ends it",
            err=True,
        )
        try:
            tell()
            _wait(job, seconds, check)
        except KeyboardInterrupt:
            click.echo("stopping", err=True)
        job.stop()


def _nothing() -> None:
    """Check nothing."""


def _delivering(definition: Stream) -> AbstractContextManager[Callable[[], None]]:
    from workbench import alerts

    return alerts.delivering(definition)


def _wait(job: Job, seconds: float | None, check: Callable[[], None]) -> None:
    """Wait until the job ends, or so long, or until alerts are delivered no more."""
    until_s = math.inf if seconds is None else time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        if job.wait(min(_LOOK_S, left_s)):
            return
        try:
            check()
        except Exception:
            job.stop()  # rather nothing than alerts of which nobody is told
            raise


def _submit(name: str, jobmanager: str | None, position: str, package: str | None) -> None:
    from workbench import stream as room

    tell = beginning(room.load_stream(name), position)
    with interruptible("ended while the job was handed over: the cluster's page tells if it runs"):
        job = room.submit(name, jobmanager=jobmanager, position=position, package=package)
    _print_submission(job)
    tell()


def _deployment(name: str, bucket: str, image: str | None, package: str | None) -> None:
    from workbench.stream import write_deployment

    deployment = write_deployment(name, bucket=bucket, image=image, package=package)
    click.echo(f"written: {deployment.folder}")
    click.echo(f"docker build -f {deployment.folder / 'Dockerfile'} -t {deployment.image} .")
    click.echo(f"kubectl apply -f {deployment.folder / 'flinkdeployment.yaml'}")


def _print_submission(job: Submitted) -> None:
    click.echo(f"job {job.job} runs at {job.jobmanager}/#/job/{job.job}/overview")
    if job.restored:
        click.echo(f"restored from {job.restored}")


@stream.command("status")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
def show_status(names: tuple[str, ...], as_json: bool) -> None:
    """Show how the jobs on session clusters are, of all streams or those named.

    \b
    Example:
        workbench stream status plant
    """
    from workbench import stream as room
    from workbench.times import now_ms

    for name in names or [room.name_of(job) for job in room.remembered()]:
        now = room.status(name)
        if as_json:
            click.echo(json.dumps(asdict(now)))
            continue
        age_s = None if now.checkpoint_ms is None else (now_ms() - now.checkpoint_ms) / 1000
        newest = "" if age_s is None else f", the newest {age_s:.0f} s ago"
        counts = f"{now.checkpoints} checkpoints{newest}, {now.restarts} restarts since {now.since}"
        click.echo(f"{now.stream:16} {now.state:10} {counts}  {now.jobmanager}")
        if now.failure:
            click.echo(f"  last failure: {now.failure}")
        if now.cause:
            click.echo(f"  caused by: {now.cause}")
        if now.behind:
            click.echo(f"  {now.behind:,} readings came behind what sums and patterns have passed")


@stream.command("stop")
@click.argument("name")
@click.option(
    "--savepoint/--no-savepoint",
    default=True,
    show_default=True,
    help="Without one the newest checkpoint stays.",
)
def stop_stream(name: str, savepoint: bool) -> None:
    """End a job on a session cluster; its state stays, for `resume`.

    \b
    Example:
        workbench stream stop plant
    """
    from workbench import stream as room

    path = room.stop(name, with_savepoint=savepoint)
    click.echo(f"{name} stopped" + (f", savepoint {path}" if path else ""))


@stream.command("savepoint")
@click.argument("name")
def write_savepoint(name: str) -> None:
    """Write the state of a job on a session cluster to a savepoint; it runs on.

    \b
    Example:
        workbench stream savepoint plant
    """
    from workbench import stream as room

    click.echo(room.savepoint(name))


@stream.command("resume")
@click.argument("name")
@click.option("--from", "restored", help="Savepoint or checkpoint [default: the newest].")
@click.option("--package", help="Id of another package in place of the one it ran with.")
@click.option("--jobmanager", metavar="HOST:PORT", help="Of another session cluster.")
def resume_stream(
    name: str, restored: str | None, package: str | None, jobmanager: str | None
) -> None:
    """Go on where the job was when it was stopped, or when its JobManager died.

    \b
    Example:
        workbench stream resume plant
    """
    from workbench import stream as room

    _print_submission(room.resume(name, jobmanager=jobmanager, package=package, restored=restored))


@stream.command("export-function")
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder [default: functions/NAME].",
)
@click.option("--package", help="Id of a package in place of the stream's detector.")
@click.option("--deploy", is_flag=True, help="Give it to the broker's functions worker, too.")
def export_stream(name: str, out: Path | None, package: str | None, deploy: bool) -> None:
    """Write a stream as a Pulsar Function, which needs no Flink.

    It scores and alerts alike (`workbench parity NAME --function` compares), but keeps its windows
    in memory: after a restart a sensor is not scored until a window of its readings came. It merges
    nothing across partitions: readings of a sensor that come by another than its first are refused.

    \b
    Example:
        workbench stream export-function plant --deploy
    """
    from workbench import stream as room

    exported = room.export_function(name, out, package=package)
    click.echo(f"{exported.file}\n{exported.config}\n{exported.folder / 'package'}")
    if deploy:
        room.deploy(exported)
        click.echo(f"workbench-{exported.name} reads {exported.topic}", err=True)


@click.command()
@click.argument("name")
@click.option("--start", help="From this event time, ISO-8601 UTC [default: the first].")
@click.option("--stop", help="Up to this event time, exclusive [default: the last].")
@click.option("--archive", help="Folder or s3:// URL [default: WORKBENCH_ARCHIVE].")
@click.option("--package", help="Id of a package in place of the stream's detector.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Keep the files.")
@click.option("--json", "as_json", is_flag=True, help="One object: the figures and the alerts.")
def backtest(
    name: str,
    start: str | None,
    stop: str | None,
    archive: str | None,
    package: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Run a stream's SQL over the archive, and print what it would have alerted.

    \b
    Example:
        workbench backtest plant --start 2026-01-12T00:00:00Z
    """
    from workbench import stream as room

    tell_wait("the job runs over the archive: some 20 s, and 1 s for some 10,000 readings")
    result = room.backtest(name, start, stop, archive=archive, package=package, folder=out)
    if as_json:
        click.echo(json.dumps({**result.summary(), "alert": list(result.alerts())}))
        return
    for alert in result.alerted.itertuples():
        peak = f"{alert.peak_score:.3f}"
        click.echo(
            f"{alert.start:%Y-%m-%dT%H:%M:%SZ} {alert.sensor} {alert.kind} {alert.status} {peak}"
        )
    said = result.summary()
    click.echo(
        f"{said['readings']} readings of {said['sensors']} sensors from {said['first']} to "
        f"{said['last']}: {said['late']} late, {said['alerts']} alerts, "
        f"{said['alerts_per_sensor_day']:g} per sensor and day; "
        f"{said['execution']} execution, start-up {said['startup_s']:.1f} s, "
        f"then {said['rate']:,.0f} readings/s; "
        f"{said['peak_mib']:,} MiB at most, Flink {said['flink_peak_mib']:,} MiB",
        err=True,
    )


@click.command()
@click.argument("name")
@click.option("--readings", type=click.IntRange(min=1), help="The archive's last so many.")
@click.option("--package", help="Id of a package in place of the stream's detector.")
@click.option("--archive", help="Folder or s3:// URL [default: WORKBENCH_ARCHIVE].")
@click.option(
    "--scored-share",
    type=click.FloatRange(0, 1),
    help="Least of the readings that could have a full window [default: the stream's gate].",
)
@click.option("--function", is_flag=True, help="Compare the stream's Pulsar Function, not the job.")
@click.pass_context
def parity(
    ctx: click.Context,
    name: str,
    readings: int | None,
    package: str | None,
    archive: str | None,
    scored_share: float | None,
    function: bool,
) -> None:
    """Score the archive's last messages by batch and by stream, and compare.

    Prints a certificate, its counts first; exit code 3 if anything differs, or too few readings
    are scored for it to prove anything.

    With --function the last 20,000 messages go through the file that export-function writes, in
    this process: parser, time, windows, scores, alarms and the JSON that it sends are its own.
    Not covered is what a functions worker does around it: how messages come to it, acknowledging,
    restarts. A function merges nothing across partitions; where a sensor's readings come by
    several, it is refused.

    \b
    Example:
        workbench parity plant --readings 20000
    """
    from workbench import stream as room

    proof = room.function_parity if function else room.parity
    asked: dict[str, Any] = {"readings": readings} if readings else {}
    certificate = proof(name, package=package, archive=archive, scored_share=scored_share, **asked)
    click.echo(certificate.json())
    if not certificate.passed:
        ctx.exit(3)
