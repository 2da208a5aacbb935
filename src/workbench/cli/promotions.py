"""`workbench promote`, `promotions`, `rollback` and `refit`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from workbench.stream import Promotion

_STREAM = click.option("--stream", "name", required=True, help="Name or file of the stream.")
_ROLE = click.option(
    "--as", "role", type=click.Choice(["champion", "challenger"]), default="champion"
)
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
_READINGS = click.option(
    "--readings", type=click.IntRange(min=1), help="The last so many prove parity."
)


@click.command()
@click.argument("run", metavar="RUN")
@_STREAM
@_ROLE
@click.option("--threshold", type=float, help="In place of the package's.")
@click.option("--sensor", "sensors", multiple=True, help="Only for this sensor; may be repeated.")
@click.option("--effective", help="From which event time, ISO-8601 UTC.  [default: 30 s ahead]")
@click.option("--even-if-worse", is_flag=True, help="Though the champion is better; says --why.")
@click.option("--why", default="", help="Kept in the log.")
@_READINGS
@click.option("--store", default="runs", show_default=True, help="Where runs are kept.")
@_JSON
def promote(
    run: str,
    name: str,
    role: str,
    threshold: float | None,
    sensors: tuple[str, ...],
    effective: str | None,
    even_if_worse: bool,
    why: str,
    readings: int | None,
    store: str,
    as_json: bool,
) -> None:
    """Let the detector of RUN score a stream, if it passes the gate.

    RUN is a run's id or folder, or the folder of a package. Prints what the gate found, and keeps
    it in the store. Exit code 3 if it refuses.

    \b
    Example:
        workbench promote 3fa1c0de --stream plant --as challenger
    """
    from workbench import stream  # here, so that --help starts without pyflink
    from workbench.stream.parity import READINGS

    if even_if_worse != bool(why):
        raise click.UsageError("--even-if-worse and --why TEXT go together")
    _decide(
        lambda: stream.promote(
            run,
            stream=name,
            role=role,
            threshold=threshold,
            sensors=sensors,
            effective=effective,
            even_if_worse=why,
            readings=readings or READINGS,
            runs=store,
        ),
        as_json,
    )


@click.command()
@click.argument("name", metavar="STREAM")
@click.option("--trailing-days", type=float, help="To fit on.  [default: as long as the champion]")
@_READINGS
@_JSON
def refit(name: str, trailing_days: float | None, readings: int | None, as_json: bool) -> None:
    """Fit the champion of STREAM on the archive's recent days; promote it if the gate lets it.

    Can be run again and again, by cron: what is champion already is not promoted once more.
    Exit code 3 if the gate refuses.

    \b
    Example:
        workbench refit plant
    """
    from workbench import stream
    from workbench.stream.parity import READINGS

    _decide(
        lambda: stream.refit(name, trailing_days=trailing_days, readings=readings or READINGS),
        as_json,
    )


@click.command()
@click.argument("name", metavar="STREAM")
@_JSON
def promotions(name: str, as_json: bool) -> None:
    """List which package scored STREAM, from when, and why.

    \b
    Example:
        workbench promotions plant
    """
    from workbench import stream

    found = stream.promotions(stream.load_stream(name).name)
    if not found and not as_json:
        click.echo("nothing is promoted yet", err=True)
    for one in found:
        click.echo(json.dumps(asdict(one)) if as_json else _line(one))


@click.command()
@_STREAM
@_ROLE
@click.option("--why", default="", help="Kept in the log.")
@_JSON
def rollback(name: str, role: str, why: str, as_json: bool) -> None:
    """Let what the last promotion replaced score again, the same bytes, 30 s from now.

    \b
    Example:
        workbench rollback --stream plant --why "too many alerts"
    """
    from workbench import stream

    for one in stream.rollback(name, role=role, why=why):
        click.echo(json.dumps(asdict(one)) if as_json else _line(one))


def _decide(decide: Callable[[], Promotion], as_json: bool) -> None:
    """Promote, and print what the gate found, whichever way it goes."""
    from workbench.errors import PromotionRefused
    from workbench.stream import verdict
    from workbench.stream.gate import now

    begun = now()
    try:
        made = decide()
    except PromotionRefused as refused:
        if refused.where is not None:
            found = verdict(refused.where)
            click.echo(json.dumps(json.loads(found.json())) if as_json else found.card().text())
        raise
    if made.decided < begun:
        click.echo("nothing new: this is what scores the stream already", err=True)
    if as_json:
        click.echo(json.dumps(asdict(made)))
        return
    if made.gate:
        click.echo(verdict(made).card().text())
    click.echo(_line(made))


def _line(one: Promotion) -> str:
    sensors = " ".join(one.sensors) or "all sensors"
    why = f"  {one.why}" if one.why else ""
    undoes = f"  takes back number {one.undoes}" if one.undoes else ""
    return f"{one.role:10} {one.package[:16]}  from {one.effective:24}  {sensors}{undoes}{why}"
