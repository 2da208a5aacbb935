"""`workbench promote`, `stream` and `parity`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from workbench.stream import Stream


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--stream", "name", required=True, help="The stream whose detector this becomes.")
@click.option("--as", "role", type=click.Choice(["champion", "challenger"]), default="champion")
@click.option("--threshold", type=float, help="In place of the package's.")
@click.option("--sensor", "sensors", multiple=True, help="Only for this sensor; may be repeated.")
@click.option("--effective", help="From which event time, ISO-8601 UTC [default: 30 s ahead].")
@click.option("--readings", type=click.IntRange(min=1), help="Of the archive, to prove parity on.")
def promote(
    run: Path,
    name: str,
    role: str,
    threshold: float | None,
    sensors: tuple[str, ...],
    effective: str | None,
    readings: int | None,
) -> None:
    """Let the detector of RUN score a stream, if it passes the gate.

    \b
    Example:
        workbench promote runs/20260901T120000Z-3fa1c --stream plant --as challenger
    """
    from workbench import stream  # here, so that --help starts without pyflink
    from workbench.stream.parity import READINGS

    promotion = stream.promote(
        run,
        stream=name,
        role=role,
        threshold=threshold,
        sensors=sensors,
        effective=effective,
        readings=readings or READINGS,
    )
    click.echo(f"{promotion.package[:16]} is {role} of {name} from {promotion.effective}")
    click.echo(f"parity: {promotion.certificate}")


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


@stream.command("promotions")
@click.argument("name")
def show_promotions(name: str) -> None:
    """List which package scored the stream, from when.

    \b
    Example:
        workbench stream promotions plant
    """
    from workbench import stream as room

    for one in room.promotions(room.load_stream(name).name):
        sensors = " ".join(one.sensors) or "all sensors"
        click.echo(f"{one.role:10} {one.package[:16]}  from {one.effective:24}  {sensors}")


@stream.command("run")
@click.argument("name")
@click.option("--start", help="Replay the archive from this event time, ISO-8601 UTC.")
@click.option("--stop", help="Up to this event time, exclusive.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for files.")
@click.option("--package", help="Id of a package in place of the stream's detector.")
@click.option(
    "--position",
    default="latest",
    show_default=True,
    help="Live: where to begin, latest, earliest or ledger:entry:partition.",
)
@click.option("--for", "seconds", type=float, help="Live: end after so many seconds.")
@click.option("--dry-run", is_flag=True, help="Check everything, print the SQL, start nothing.")
def run_stream(
    name: str,
    start: str | None,
    stop: str | None,
    out: Path | None,
    package: str | None,
    position: str,
    seconds: float | None,
    dry_run: bool,
) -> None:
    """Score a stream in Flink's mini cluster, live until Ctrl-C.

    With --start, --stop or --out: the readings of the archive, to their end, into files.

    \b
    Example:
        workbench stream run plant --start 2026-01-12T00:00:00Z
    """
    from workbench import stream as room

    found = room.load_stream(name)
    if dry_run:
        click.echo(room.sql(found, package=package))
        return
    if start or stop or out:
        _replay(found, start, stop, package, out)
        return
    job = room.start(found, position=position, package=package)
    click.echo(f"{found.name} runs: {found.topic} to {found.alerts}; Ctrl-C ends it", err=True)
    try:
        job.wait(seconds)
    except KeyboardInterrupt:
        click.echo("stopping", err=True)
    job.stop()


def _replay(
    found: Stream, start: str | None, stop: str | None, package: str | None, out: Path | None
) -> None:
    from workbench import stream as room
    from workbench.history import replay

    frame = replay(found.topic, start, stop, columns=[found.sensor, *found.channels])
    outcome = room.run(found, frame, package=package, folder=out)
    for row in outcome.alerts.itertuples():
        click.echo(f"{row.start:%Y-%m-%dT%H:%M:%SZ} {row.sensor} {row.status} {row.peak_score:.3f}")
    click.echo(
        f"{outcome.readings} readings, {len(outcome.late)} late, {len(outcome.alerts)} alerts; "
        f"start-up {outcome.startup_s:.1f} s, then {outcome.rate:,.0f} readings/s",
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
