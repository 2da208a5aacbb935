"""`workbench services`, `ingest` and `offload`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from workbench.services import Status


@click.group()
def services() -> None:
    """Start and stop a real Pulsar and S3 endpoint on this machine.

    They live under .workbench/ here, or under WORKBENCH_HOME.

    \b
    Example:
        workbench services up
    """


@services.command()
@click.argument("names", nargs=-1, metavar="[s3] [pulsar] [flink]")
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

    found = room.status()
    if as_json:
        for one in found:
            click.echo(json.dumps(asdict(one), default=str))
    else:
        _print(found)


def _print(found: list[Status]) -> None:
    for one in found:
        line = f"{one.name:11} {one.state:9}"
        if one.pids:
            line += f" {one.address:26} {one.memory_mib:6} MiB  pid {one.pids[0]}"
        click.echo(line.rstrip() + (f"  ({one.detail})" if one.detail else ""))


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
@click.argument("names", nargs=-1, metavar="[s3] [pulsar] [flink]")
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
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--topic", required=True, help="Full or short name; made if it is new.")
@click.option("--sensor", metavar="COL", help="The column that names the sensor.")
@click.option(
    "--sensor-name",
    metavar="NAME",
    help="The sensor's name where the file has no such column [default: the file's name].",
)
@click.option("--time", required=True, metavar="COL", help="ISO 8601, or seconds or ms since 1970.")
@click.option("--values", required=True, metavar="A,B,...", help="The columns of readings.")
@click.option("--schema", type=click.Choice(["json", "avro"]), default="json", show_default=True)
@click.option(
    "--compression",
    type=click.Choice(["none", "lz4", "zlib", "zstd", "snappy"]),
    default="zstd",
    show_default=True,
)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Readings per second.")
def ingest(
    file: str,
    topic: str,
    sensor: str | None,
    sensor_name: str | None,
    time: str,
    values: str,
    schema: str,
    compression: str,
    rate: float | None,
) -> None:
    """Send the readings of a CSV FILE to a topic, one message per line.

    All lines are checked before the first is sent.

    \b
    Example:
        workbench ingest ambient_temperature.csv --topic ambient --time timestamp --values value
    """
    from workbench import services as room

    done = room.ingest(
        file,
        topic,
        sensor=sensor,
        sensor_name=sensor_name,
        time=time,
        values=values.split(","),
        schema=schema,
        compression=compression,
        rate=rate,
    )
    click.echo(f"{done.readings} readings to {done.topic} in {done.seconds:.1f} s")


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
