"""`workbench stream` and `parity`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from workbench.stream.session import Submitted


@click.group()
def stream() -> None:
    """Run streams: readings in, scores and alerts out.

    \b
    Example:
        workbench stream run plant
    """


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
) -> None:
    """Score a stream in Flink's mini cluster, live until Ctrl-C, or wherever --target says.

    \b
    Example:
        workbench stream run plant --target session
    """
    from workbench import stream as room

    found = room.load_stream(name)
    if dry_run:
        click.echo(room.sql(found, package=package))
        return
    if target == "session":
        _submit(name, jobmanager, position, package)
        return
    if target == "kubernetes":
        _deployment(name, bucket, image, package)
        return
    job = room.start(found, position=position, package=package)
    click.echo(f"{found.name} runs: {found.topic} to {found.alerts}; Ctrl-C ends it", err=True)
    try:
        job.wait(seconds)
    except KeyboardInterrupt:
        click.echo("stopping", err=True)
    job.stop()


def _submit(name: str, jobmanager: str | None, position: str, package: str | None) -> None:
    from workbench.stream import session

    _told(session.submit(name, jobmanager=jobmanager, position=position, package=package))


def _deployment(name: str, bucket: str, image: str | None, package: str | None) -> None:
    from workbench.stream.kubernetes import write_deployment

    made = write_deployment(name, bucket=bucket, image=image, package=package)
    click.echo(f"written: {made.folder}")
    click.echo(f"docker build -f {made.folder / 'Dockerfile'} -t {made.image} .")
    click.echo(f"kubectl apply -f {made.folder / 'flinkdeployment.yaml'}")


def _told(job: Submitted) -> None:
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
    from workbench.stream import session

    for name in names or [session.name_of(one) for one in session.remembered()]:
        now = session.status(name)
        if as_json:
            click.echo(json.dumps(asdict(now)))
            continue
        told = f"{now.checkpoints} checkpoints, {now.restarts} restarts since {now.since}"
        click.echo(f"{now.stream:16} {now.state:10} {told}  {now.jobmanager}")
        if now.failure:
            click.echo(f"  last failure: {now.failure}")


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
    from workbench.stream import session

    path = session.stop(name, with_savepoint=savepoint)
    click.echo(f"{name} stopped" + (f", savepoint {path}" if path else ""))


@stream.command("savepoint")
@click.argument("name")
def write_savepoint(name: str) -> None:
    """Write the state of a job on a session cluster to a savepoint; it runs on.

    \b
    Example:
        workbench stream savepoint plant
    """
    from workbench.stream import session

    click.echo(session.savepoint(name))


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
    from workbench.stream import session

    _told(session.resume(name, jobmanager=jobmanager, package=package, restored=restored))


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

    It scores and alerts alike, but keeps its windows in memory: after a restart a sensor is not
    scored until a window of its readings came.

    \b
    Example:
        workbench stream export-function plant --deploy
    """
    from workbench.stream import export

    exported = export.export_function(name, out, package=package)
    click.echo(f"{exported.file}\n{exported.config}\n{exported.folder / 'package'}")
    if deploy:
        export.deploy(exported)
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
    from workbench.stream import backtest as room

    found = room.backtest(name, start, stop, archive=archive, package=package, folder=out)
    if as_json:
        click.echo(json.dumps({**found.summary(), "alert": list(found.alerts())}))
        return
    for one in found.outcome.alerts.itertuples():
        peak = f"{one.peak_score:.3f}"
        click.echo(f"{one.start:%Y-%m-%dT%H:%M:%SZ} {one.sensor} {one.kind} {one.status} {peak}")
    said = found.summary()
    click.echo(
        f"{said['readings']} readings of {said['sensors']} sensors from {said['first']} to "
        f"{said['last']}: {said['late']} late, {said['alerts']} alerts, "
        f"{said['alerts_per_sensor_day']:g} per sensor and day; "
        f"{said['execution']} execution, start-up {said['startup_s']:.1f} s, "
        f"then {said['rate']:,.0f} readings/s",
        err=True,
    )


@click.command()
@click.argument("name")
@click.option("--readings", type=click.IntRange(min=1), help="The archive's last so many.")
@click.option("--package", help="Id of a package in place of the stream's detector.")
@click.pass_context
def parity(ctx: click.Context, name: str, readings: int | None, package: str | None) -> None:
    """Score the archive's last readings by batch and by stream, and compare.

    Prints a certificate; exit code 3 if anything differs.

    \b
    Example:
        workbench parity plant --readings 20000
    """
    from workbench import stream as room
    from workbench.stream.parity import READINGS

    certificate = room.parity(name, readings=readings or READINGS, package=package)
    click.echo(certificate.json())
    if not certificate.passed:
        ctx.exit(3)
