"""`workbench alerts`."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import click


@click.group()
def alerts() -> None:
    """Send the alerts of a stream to people, and take what they answer.

    \b
    Example:
        workbench alerts run plant
    """


@alerts.command("run")
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Print what the last day's alerts would have sent.")
@click.option("--for", "seconds", type=float, help="End after so many seconds.")
@click.option(
    "--metrics-port", type=click.IntRange(0, 65535), help="As `workbench metrics` has it."
)
def run_alerts(name: str, dry_run: bool, seconds: float | None, metrics_port: int | None) -> None:
    """Follow the alerts topic of stream NAME and deliver what comes, until Ctrl-C.

    \b
    Example:
        workbench alerts run plant --dry-run
    """
    from workbench import alerts as room

    if dry_run:
        for message in room.preview(name):
            click.echo(f"{message.route}: {message.title}\n{message.text}")
        return
    click.echo(f"delivers the alerts of {name}; Ctrl-C ends it", err=True)
    with ExitStack() as stack:
        if metrics_port is not None:
            from workbench import desk

            taken = stack.enter_context(desk.expose([name], port=metrics_port))
            click.echo(f"metrics at http://127.0.0.1:{taken}/metrics", err=True)
        try:
            room.notify(name, seconds=seconds)
        except KeyboardInterrupt:
            click.echo("stopped", err=True)


@alerts.command("status")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
def show_routes(name: str, as_json: bool) -> None:
    """Show what each route of stream NAME delivered, gave up, and has still to do.

    \b
    Example:
        workbench alerts status plant
    """
    from workbench import alerts as room

    for route in room.route_status(name):
        if as_json:
            click.echo(json.dumps(asdict(route)))
            continue
        behind = "unknown" if route.backlog is None else f"{route.backlog:,}"
        click.echo(
            f"{route.route:16} {route.sent} sent, {route.waiting} tried in vain, "
            f"{route.dead} given up, {route.silent} silent, backlog {behind}"
        )
        if route.failure:
            click.echo(f"  last failure: {route.failure}")


@alerts.command("list")
@click.argument("name")
@click.option(
    "--hours", type=float, default=24.0, show_default=True, help="Sent in the last so many."
)
@click.option("--json", "as_json", is_flag=True, help="One alert a line.")
def show_alerts(name: str, hours: float, as_json: bool) -> None:
    """List the alerts of stream NAME in their newest state, and what was answered.

    \b
    Example:
        workbench alerts list plant --hours 168
    """
    from workbench import alerts as room

    for alert in room.list_alerts(name, hours=hours):
        if as_json:
            click.echo(json.dumps(alert))
            continue
        click.echo(
            f"{alert['id'][:12]} {alert['start']} {alert['sensor']} {alert['kind']} "
            f"{alert['status']} {alert['answer'] or '-'}"
        )


@alerts.command("answer")
@click.argument("alert", metavar="ID")
@click.argument("verdict", type=click.Choice(["true", "false", "known"]))
@click.option("--stream", "name", required=True, help="Whose alert it is.")
@click.option("--why", default="", help="The reason, in your words.")
@click.option("--until", help="Known: how long the sensor will be worked on (ISO 8601, UTC).")
def answer_alert(alert: str, verdict: str, name: str, why: str, until: str | None) -> None:
    """Say of an alert that it was true, false, or known: maintenance, or meant to be.

    ID is the alert's, or its beginning. An answer is kept for good; a later one counts instead. Of
    one that is false or known people are told no more; with --until of its sensor's others neither.

    \b
    Example:
        workbench alerts answer 9f86d081 false --stream plant --why "cleaning the filter"
    """
    from workbench import alerts as room

    if until and verdict != "known":
        raise click.UsageError(f"--until is of what is known, not of what is {verdict}")
    event = room.find_alert(name, alert)
    room.answer(
        name,
        verdict,
        alert=event["id"],
        sensor=event["sensor"],
        start=event["start"],
        stop=until or event["stop"],
        why=why,
    )
    click.echo(f"{event['sensor']} {event['start']}: {verdict}")


@alerts.command("missed")
@click.argument("sensor")
@click.argument("start")
@click.argument("stop")
@click.option("--stream", "name", required=True, help="Which stream should have told it.")
@click.option("--why", default="", help="What it was.")
def answer_missed(sensor: str, start: str, stop: str, name: str, why: str) -> None:
    """Say that SENSOR had a fault from START to STOP (ISO 8601, UTC) that no alert told.

    \b
    Example:
        workbench alerts missed pump-7 2026-01-12T06:00Z 2026-01-12T09:30Z --stream plant
    """
    from workbench import alerts as room

    given = room.answer(name, "missed", sensor=sensor, start=start, stop=stop, why=why)
    click.echo(f"{sensor} {given.start} to {given.stop}: missed")


@alerts.command("known")
@click.argument("sensors", nargs=-1, required=True, metavar="SENSOR...")
@click.argument("start")
@click.argument("stop")
@click.option("--stream", "name", required=True, help="Of which stream.")
@click.option("--why", default="", help="What is done.")
def answer_known(sensors: tuple[str, ...], start: str, stop: str, name: str, why: str) -> None:
    """Say that SENSORs are worked on from START to STOP (ISO 8601, UTC), which may be to come.

    People are not told of alerts that begin in that span, unless they are open when it ends; no
    detector is fitted on it, or judged by it.

    
    Example:
        workbench alerts known pump-7 2026-01-12T06:00Z 2026-01-12T14:00Z --stream plant
    """
    from workbench import alerts as room

    for sensor in sensors:
        given = room.answer(name, "known", sensor=sensor, start=start, stop=stop, why=why)
        click.echo(f"{sensor} {given.start} to {given.stop}: known, answer {given.id[:12]}")


@alerts.command("answers")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One answer a line.")
def show_answers(name: str, as_json: bool) -> None:
    """List what was answered of the alerts and sensors of stream NAME, the last about each.

    
    Example:
        workbench alerts answers plant
    """
    from workbench import alerts as room

    for given in room.answers(name):
        if as_json:
            click.echo(json.dumps(asdict(given)))
            continue
        about = f"alert {given.alert[:12]}" if given.alert else "no alert"
        click.echo(
            f"{given.id[:12]} {given.at} {given.who}: {given.verdict}, {given.sensor} "
            f"{given.start or '-'} to {given.stop or '-'}, {about}"
            + (f": {given.why}" if given.why else "")
        )


@alerts.command("withdraw")
@click.argument("answer", metavar="ID")
@click.option("--stream", "name", required=True, help="Of which stream.")
@click.option("--why", default="", help="The reason, in your words.")
def withdraw_answer(answer: str, name: str, why: str) -> None:
    """Take an answer back: ID is the answer's, or that of its alert, or the beginning of one.

    It stays on record, and counts no more.

    
    Example:
        workbench alerts withdraw 3f2504e0 --stream plant --why "it was pump 8"
    """
    from workbench import alerts as room

    given = room.withdraw(name, answer, why=why)
    click.echo(f"{given.sensor} {given.start}: {given.verdict}")


@alerts.command("sync")
@click.argument("name")
def sync_answers(name: str) -> None:
    """Bring here what was answered elsewhere, and send what the feedback topic of NAME lacks.

    \b
    Example:
        workbench alerts sync plant
    """
    from workbench import alerts as room

    synced = room.sync(name)
    click.echo(f"{synced.came} answers came, {synced.went} went")


@alerts.command("serve")
@click.argument("name")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=int, default=8477, show_default=True)
@click.option("--certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--private-key", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def serve_answers(
    name: str, host: str, port: int, certificate: Path | None, private_key: Path | None
) -> None:
    """Serve the page on which alerts of stream NAME are answered, until Ctrl-C.

    Messages hold links to it where WORKBENCH_ALERTS_URL says its address; WORKBENCH_ALERTS_SECRET,
    here and where `alerts run` runs, is what they are signed with.

    \b
    Example:
        workbench alerts serve plant
    """
    from workbench import alerts as room

    with room.serve(
        name, host=host, port=port, certificate=certificate, private_key=private_key
    ) as server:
        click.echo(f"answers for {name} at {host}:{server.server_port}; Ctrl-C ends it", err=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
