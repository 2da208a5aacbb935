"""`workbench archive` and `workbench sql`: offloaded topics from the shell."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from workbench.errors import ArchiveError

if TYPE_CHECKING:
    import pandas as pd


@click.group()
def archive() -> None:
    """List, inspect, check and export offloaded topics.

    \b
    Example:
        workbench archive ls data/archive
    """


@archive.command()
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def ls(url: str, as_json: bool) -> None:
    """List the topics at URL, a folder or s3://bucket[/prefix].

    \b
    Example:
        workbench archive ls data/archive
    """
    from workbench import archive as room

    _print(room.open(url).topics(), as_json)


@archive.command()
@click.argument("url")
@click.argument("topic")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def info(url: str, topic: str, as_json: bool) -> None:
    """Show the ledgers and fields of one TOPIC.

    \b
    Example:
        workbench archive info data/archive pumps
    """
    from workbench import archive as room

    found = room.open(url).topic(topic)
    facts = found.manifest()
    facts["fields"] = {field.name: str(field.type) for field in found.decoder().schema}
    if as_json:
        click.echo(json.dumps(facts))
        return
    click.echo(f"{found.name}: messages {facts['first_message_id']} to {facts['last_message_id']}")
    for name, kind in facts["fields"].items():
        click.echo(f"  {name}: {kind}")
    for one in facts["objects"]:
        size = f"{one['entries']} entries, {one['bytes']} bytes"
        click.echo(f"  ledger {one['ledger_id']}: {size}, {one['key']}")


@archive.command()
@click.argument("url")
@click.argument("topics", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def check(url: str, topics: tuple[str, ...], as_json: bool) -> None:
    """Read every byte at URL (or of TOPICS) and report all that is wrong; exit code 1 if any is.

    \b
    Example:
        workbench archive check data/archive
    """
    from workbench import archive as room
    from workbench.archive.check import check as check_archive

    wrong = 0
    for found in check_archive(room.open(url, skip_damaged=True), list(topics)):
        wrong += len(found.problems)
        if as_json:
            click.echo(json.dumps(vars(found)))
            continue
        click.echo(
            f"{found.topic}: {found.ledgers} ledgers, {found.entries} entries, "
            f"{found.messages} messages, {found.bytes} bytes: "
            + (f"{len(found.problems)} problems" if found.problems else "fine")
        )
        for text in found.problems + found.notes:
            click.echo("  " + text.replace("\n", "\n  "))
    if wrong:
        raise ArchiveError(f"{wrong} problems at {url}")


@archive.command()
@click.argument("url")
@click.option("--from", "admin", help="The broker's admin address, as http://127.0.0.1:8080.")
@click.option("-o", "--out", type=click.Path(dir_okay=False), help="Write here, not beside URL.")
def schemas(url: str, admin: str | None, out: str | None) -> None:
    """Show the schemas kept beside the objects at URL, or fetch them from a broker.

    \b
    Example:
        workbench archive schemas data/archive
    """
    from pathlib import Path

    from workbench import archive as room
    from workbench.archive.schemas import FILE, fetch_schemas
    from workbench.endpoints import endpoints

    opened = room.open(url)
    if admin is None:
        for topic, versions in opened.schemas.items():
            for one in versions:
                click.echo(
                    f"{topic} version {one.version}: {one.type} {json.dumps(one.definition)}"
                )
        return
    token = endpoints().broker_token
    found = fetch_schemas(admin, opened.names(), token=token)
    data = json.dumps(found, indent=1).encode()
    if out:
        Path(out).write_bytes(data)
    else:
        opened.store.write(FILE, data)
    click.echo(f"{out or FILE}: schemas of {len(found)} of {len(opened.names())} topics")


@archive.command()
@click.argument("url")
@click.argument("topic")
@click.argument("out", type=click.Path(file_okay=False))
@click.option("--start", help="First event time, ISO 8601 UTC.")
@click.option("--stop", help="First event time that is left out.")
@click.option("--columns", help="Fields wanted, separated by commas.")
@click.option("--skip-damaged", is_flag=True, help="Go on after damaged bytes.")
def export(
    url: str,
    topic: str,
    out: str,
    start: str | None,
    stop: str | None,
    columns: str | None,
    skip_damaged: bool,
) -> None:
    """Write TOPIC as Parquet below the folder OUT, by day; a second call goes on.

    \b
    Example:
        workbench archive export data/archive pumps pumps.parquet
    """
    from workbench import archive as room
    from workbench.archive.export import export as run

    found = room.open(url, skip_damaged=skip_damaged).topic(topic)
    wanted = columns.split(",") if columns else None
    done = run(found, out, start=start, stop=stop, columns=wanted)
    click.echo(
        f"{out}: {done.rows} rows of {done.ledgers} ledgers written, "
        f"{done.done_before} ledgers were done, {done.files} files"
    )
    for error in found.damage.found:
        click.echo(f"skipped: {error}", err=True)


@click.command()
@click.argument("url")
@click.argument("query")
@click.option("--csv", "form", flag_value="csv", help="CSV to stdout.")
@click.option("--json", "form", flag_value="json", help="One JSON object a line.")
@click.option("--parquet", type=click.Path(dir_okay=False), help="A Parquet file to write.")
@click.option("--skip-damaged", is_flag=True, help="Go on after damaged bytes.")
def sql(url: str, query: str, form: str | None, parquet: str | None, skip_damaged: bool) -> None:
    """Query the topics at URL, each a table, with DuckDB's SQL.

    \b
    Example:
        workbench sql data/archive "select pump, max(vibration_mm_s) from pumps group by 1"
    """
    from workbench import archive as room
    from workbench.archive import output
    from workbench.archive.sql import query as run

    skipped: list[str] = []
    batches = run(room.open(url, skip_damaged=skip_damaged), query, skipped=skipped)
    if parquet:
        rows = output.write_parquet(batches, parquet)
        click.echo(f"{parquet}: {rows} rows")
    elif form:
        for text in output.lines(batches, form):
            click.echo(text, nl=False)
    else:
        click.echo(output.text(batches))
    batches.close()  # of more rows than are shown, too: only then it is known what was skipped
    for error in skipped:
        click.echo(f"skipped: {error}", err=True)


def _print(frame: pd.DataFrame, as_json: bool) -> None:
    if as_json:
        for row in frame.to_dict("records"):
            click.echo(json.dumps(row, default=_plain))
    else:
        click.echo(frame.to_string(index=False))


def _plain(value: Any) -> str:
    return str(value.isoformat() if hasattr(value, "isoformat") else value)
