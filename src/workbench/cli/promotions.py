"""`workbench promote`, `promotions`, `rollback` and `refit`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from workbench.cli.waiting import tell_wait

if TYPE_CHECKING:
    from workbench.stream import Drift, Promotion, Verdict

_STREAM = click.option("--stream", "name", required=True, help="Name or file of the stream.")
_ROLE = click.option(
    "--as", "role", type=click.Choice(["champion", "challenger"]), default="champion"
)
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
_READINGS = click.option(
    "--readings", type=click.IntRange(min=1), help="The last so many prove parity."
)
_ANSWERS = click.option(
    "--answers-until", help="With labels: feedback, count answers given up to then, ISO-8601 UTC."
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
@_ANSWERS
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
    answers_until: str | None,
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
    from workbench.stream import READINGS

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
            answers_until=answers_until,
        ),
        as_json,
    )


@click.command()
@click.argument("name", metavar="STREAM")
@click.option("--trailing-days", type=float, help="To fit on.  [default: as long as the champion]")
@click.option("--if-drift", is_flag=True, help="Only if `workbench drift` is over a limit.")
@click.option("--threshold-only", is_flag=True, help="Leave the detector; buy its threshold anew.")
@click.option(
    "--carry-over",
    type=click.FloatRange(min=0, min_open=True),
    metavar="TIMES",
    help="So, and with what the budget has left since the fit, so many times.",
)
@_READINGS
@_ANSWERS
@_JSON
def refit(
    name: str,
    trailing_days: float | None,
    if_drift: bool,
    threshold_only: bool,
    carry_over: float | None,
    readings: int | None,
    answers_until: str | None,
    as_json: bool,
) -> None:
    """Fit the champion of STREAM on the archive's recent days; promote it if the gate lets it.

    Where the stream's gate has `labels: feedback`, what people answered is taken up. Can be run
    again and again, by cron: what is champion already is not promoted once more. With --if-drift
    the log keeps what was over its limit. With --threshold-only the package stays, and the alert
    budget buys its threshold on what it has scored since its fit; with --carry-over 2 the alerts
    that were too many since then, or too few, are made up for. Exit code 3 if the gate refuses.

    \b
    Example:
        workbench refit plant
    """
    from workbench import stream
    from workbench.stream import READINGS

    reason = stream.reason_to_refit(name) if if_drift else ""
    if if_drift and not reason:
        click.echo("nothing that the newest champion scored is over a limit", err=True)
        return
    _decide(
        lambda: stream.refit(
            name,
            reason=reason,
            threshold_only=threshold_only,
            carry_over=carry_over,
            trailing_days=trailing_days,
            readings=readings or READINGS,
            answers_until=answers_until,
        ),
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

    log = stream.promotions(stream.load_stream(name).name)
    if not log and not as_json:
        click.echo("nothing is promoted yet", err=True)
    for promotion in log:
        click.echo(json.dumps(asdict(promotion)) if as_json else _line(promotion))


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

    for promotion in stream.rollback(name, role=role, why=why):
        click.echo(json.dumps(asdict(promotion)) if as_json else _line(promotion))


@click.command()
@click.argument("name", metavar="STREAM")
@click.option("--days", type=click.IntRange(min=1), help="How many are told.  [default: 14]")
@click.option("--stop", help="Where they end, ISO-8601 UTC.  [default: the archive's end]")
@click.option("--package", help="Id of a package in place of the stream's detector.")
@click.option("--archive", help="Folder or s3://bucket[/prefix]; else WORKBENCH_ARCHIVE.")
@click.option("--alert", is_flag=True, help="Alert what goes over its limit, or is back.")
@_JSON
def drift(
    name: str,
    days: int | None,
    stop: str | None,
    package: str | None,
    archive: str | None,
    alert: bool,
    as_json: bool,
) -> None:
    """Tell whether the detector of STREAM is still right, from the archive, without labels.

    By day: how far each channel and the score have moved since training, readings without a score,
    alerts, time in alarm. The last `gate: days` are judged by the gate's `drift`, `scored_share`,
    `alerts_per_sensor_day` and `alarm_share`; exit code 1 if one is over its limit. With --alert
    the alerts topic gets an alert of kind `drift` for each that goes over; it is open until the
    value is back. What was found of now, `workbench metrics` shows.

    \b
    Example:
        workbench drift plant --days 7
    """
    from workbench import stream
    from workbench.errors import StreamError

    if alert and (stop or package or archive):
        raise click.UsageError("--alert is of now: without --stop, --package and --archive")
    asked = {"days": days} if days else {}
    drift = stream.drift(name, stop=stop, package=package, archive=archive, **asked)
    click.echo(json.dumps(drift.record()) if as_json else drift.card().text())
    if not (stop or package or archive):
        stream.note_drift(drift)
    if alert:
        _announce(name, drift)
    if not drift.passed:
        raise StreamError(f"stream {drift.stream} is over a limit: {'; '.join(drift.reasons())}")


def _announce(name: str, drift: Drift) -> None:
    from workbench import alerts

    for sent in alerts.announce_drift(name, drift):
        click.echo(f"alert {sent['id'][:12]} {sent['status']}: {sent['reason']}", err=True)


def _decide(decide: Callable[[], Promotion], as_json: bool) -> None:
    """Promote, and print what the gate found, whichever way it goes."""
    from workbench.errors import PromotionRefused
    from workbench.stream import now, verdict

    begun = now()
    tell_wait("the gate judges it, and lets the job score the same readings: one to three minutes")
    try:
        promotion = decide()
    except PromotionRefused as refused:
        if refused.where is not None:
            refusal = verdict(refused.where)
            if as_json:
                click.echo(json.dumps(json.loads(refusal.json())))
            else:
                _show(refusal)
        raise
    if promotion.decided < begun:
        click.echo("nothing new: this is what scores the stream already", err=True)
    if as_json:
        click.echo(json.dumps(asdict(promotion)))
        return
    if promotion.gate:
        _show(verdict(promotion))
    click.echo(_line(promotion))


def _show(verdict: Verdict) -> None:
    click.echo(verdict.card().text())
    for table in verdict.tables():
        click.echo(table.card().text())


def _line(promotion: Promotion) -> str:
    sensors = " ".join(promotion.sensors) or "all sensors"
    why = f"  {promotion.why}" if promotion.why else ""
    undoes = f"  takes back number {promotion.undoes}" if promotion.undoes else ""
    when = f"from {promotion.effective:24}  decided {promotion.decided[:10]}"
    return f"{promotion.role:10} {promotion.package[:16]}  {when}  {sensors}{undoes}{why}"
