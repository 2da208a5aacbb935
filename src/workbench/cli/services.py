"""`workbench services` and `offload`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from workbench.services import Status


@click.group()
def services() -> None:
    """Start and stop a real Pulsar, Kafka, S3 endpoint and Flink on this machine.

    They live under .workbench/ here, or under WORKBENCH_HOME.

    \b
    Example:
        workbench services up
    """


@services.command()
@click.argument("names", nargs=-1, metavar="[s3] [pulsar] [kafka] [flink]")
@click.option(
    "--deletion-lag",
    type=click.FloatRange(min=0),
    metavar="S",
    help="Seconds that an offloaded ledger stays in BookKeeper too [default: 4 hours].",
)
@click.option(
    "--functions/--no-functions",
    default=None,
    help="Let Pulsar run its functions worker too [default: as before, at first not].",
)
def up(names: tuple[str, ...], deletion_lag: float | None, functions: bool | None) -> None:
    """Start services, by default s3 and pulsar, and wait until they answer.

    \b
    Example:
        workbench services up pulsar s3
    """
    from workbench import services as room

    lag_ms = None if deletion_lag is None else int(deletion_lag * 1000)
    chosen = names or ("s3", "pulsar")
    _print(room.up(chosen, deletion_lag_ms=lag_ms, functions=functions))


@services.command()
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
def status(as_json: bool) -> None:
    """Show what runs, where, and since when it answers.

    \b
    Example:
        workbench services status --json
    """
    from workbench import services as room

    statuses = room.status()
    if as_json:
        for service in statuses:
            click.echo(json.dumps(asdict(service), default=str))
    else:
        _print(statuses)


def _print(statuses: list[Status]) -> None:
    for service in statuses:
        line = f"{service.name:11} {service.state:9}"
        if service.pids:
            line += f" {service.address:26} {service.memory_mib:6} MiB  pid {service.pids[0]}"
        click.echo(line.rstrip() + (f"  ({service.detail})" if service.detail else ""))


@services.command()
@click.argument("name", metavar="SERVICE")
@click.option("-n", "--lines", type=click.IntRange(min=1), default=40, show_default=True)
def logs(name: str, lines: int) -> None:
    """Show the last lines that SERVICE printed.

    \b
    Example:
        workbench services logs pulsar -n 100
    """
    from workbench import services as room

    click.echo(room.logs(name, lines=lines))


@services.command()
@click.argument("names", nargs=-1, metavar="[s3] [pulsar] [kafka] [flink]")
def down(names: tuple[str, ...]) -> None:
    """Stop services, all by default; data and logs stay.

    \b
    Example:
        workbench services down
    """
    from workbench import services as room

    for name, count in (room.down(names) if names else room.down()).items():
        click.echo(f"{name:11} {'stopped' if count else 'was not running'}")


@click.command()
@click.argument("topic")
@click.option("--json", "as_json", is_flag=True, help="One object a ledger and line.")
def offload(topic: str, as_json: bool) -> None:
    """Close the open ledger of TOPIC, offload it, wait, and verify the objects.

    \b
    Example:
        workbench offload pumps
    """
    from workbench import services as room

    done = room.offload(topic)
    if as_json:
        for ledger in done.ledgers:
            click.echo(json.dumps(asdict(ledger)))
    else:
        click.echo(
            f"{done.topic}: {len(done.ledgers)} ledgers ({done.new} new), "
            f"{done.objects} objects, {done.bytes} bytes"
        )


@click.command("setup")
def set_up() -> None:
    """Make what runs Flink's jobs: its environment, and the classes that their JVMs start from.

    apache-flink 1.20 runs on Python 3.11; where this is another, uv makes an environment for it
    from the lock file, under WORKBENCH_HOME, once. Commands that need it make it themselves, and
    are handed to it; WORKBENCH_FLINK_PYTHON names another interpreter that has apache-flink.

    A small job leaves its JVM's classes in the cache, once, some 160 MB, so that the first job of
    every other process starts in half the time. Without it the first one that ends does.

    \b
    Example:
        workbench stream setup
    """
    from workbench import services

    interpreter = services.make_flink_interpreter()
    if not services.has_flink():
        services.hand_over(["stream", "setup"])
    click.echo(f"Flink's jobs run on {interpreter}")
    from workbench import stream as room

    left = room.leave_classes()
    click.echo(f"their JVMs start from {left or 'no archive of classes yet: a job leaves one'}")
