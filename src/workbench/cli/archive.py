"""`workbench archive` and `workbench sql`: offloaded topics from the shell."""

from __future__ import annotations

import json
from pathlib import Path
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
@click.option("-v", "--verbose", is_flag=True, help="Say what was asked of the bucket.")
def ls(url: str, as_json: bool, verbose: bool) -> None:
    """List the topics at URL, a folder or s3://bucket[/prefix].

    What an S3 bucket said of a ledger is kept in WORKBENCH_HOME: the next time it is listed alone.

    \b
    Example:
        workbench archive ls data/archive
    """
    from workbench import archive as room

    opened = room.open(url)
    _print(opened.topics(), as_json)
    if verbose:
        click.echo(opened.bucket.traffic, err=True)


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

    history = room.open(url).topic(topic)
    wrong = history.card().facts.get("impossible event times")  # a small topic is read for that
    facts = history.manifest()
    facts["fields"] = {field.name: str(field.type) for field in history.decoder().schema}
    if as_json:
        click.echo(json.dumps(facts))
        return
    click.echo(
        f"{history.name}: messages {facts['first_message_id']} to {facts['last_message_id']}"
    )
    for name, kind in facts["fields"].items():
        click.echo(f"  {name}: {kind}")
    if history.generations > 1:
        click.echo(f"  generation: {history.generation} of {history.generations}")
    if wrong:
        click.echo(f"  impossible event times: {wrong}")
    for ledger in facts["objects"]:
        size = f"{ledger['entries']} entries, {ledger['bytes']} bytes"
        click.echo(f"  ledger {ledger['ledger_id']}: {size}, {ledger['key']}")


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
    from workbench.archive import check as check_archive

    wrong = 0
    for verdict in check_archive(room.open(url, skip_damaged=True), list(topics)):
        wrong += len(verdict.problems)
        if as_json:
            click.echo(json.dumps(vars(verdict)))
            continue
        click.echo(
            f"{verdict.topic}: {verdict.ledgers} ledgers, {verdict.entries} entries, "
            f"{verdict.messages} messages, {verdict.bytes} bytes: "
            + (f"{len(verdict.problems)} problems" if verdict.problems else "fine")
        )
        for text in verdict.problems + verdict.notes:
            click.echo("  " + text.replace("\n", "\n  "))
    if wrong:
        raise ArchiveError(f"{wrong} problems at {url}")


@archive.command()
@click.argument("url")
@click.option("--from", "admin", help="The broker's admin address, as http://127.0.0.1:8080.")
@click.option("-o", "--out", type=click.Path(dir_okay=False), help="Write here, not beside URL.")
def schemas(url: str, admin: str | None, out: str | None) -> None:
    """Show the schemas kept beside the objects at URL, or add those that a broker knows.

    Versions kept stay, also where the broker no longer knows them.

    \b
    Example:
        workbench archive schemas data/archive
    """
    from workbench import archive as room
    from workbench import files
    from workbench.archive import FILE, fetch_schemas, load_schemas, merge_schemas
    from workbench.endpoints import token_for

    opened = room.open(url)
    if admin is None:
        for topic, versions in opened.schemas.items():
            for version in versions:
                click.echo(
                    f"{topic} version {version.version}: {version.type} "
                    f"{json.dumps(version.definition)}"
                )
        return
    fetched = fetch_schemas(admin, opened.names(), token=token_for(admin))
    kept = (load_schemas(out) if Path(out).exists() else {}) if out else opened.schemas
    data = json.dumps(merge_schemas(kept, fetched), indent=1).encode()
    if out:
        files.write_bytes(out, data)
    else:
        opened.bucket.write(FILE, data)
    click.echo(f"{out or FILE}: schemas of {len(fetched)} of {len(opened.names())} topics")


@archive.command()
@click.argument("url")
@click.argument("topic")
@click.argument("out", type=click.Path(file_okay=False))
@click.option("--start", help="First event time, ISO 8601 UTC.")
@click.option("--stop", help="First event time that is left out.")
@click.option("--columns", help="Fields wanted, separated by commas.")
@click.option("--compacted", is_flag=True, help="Of each key the newest message alone.")
@click.option("--skip-damaged", is_flag=True, help="Go on after damaged bytes.")
def export(
    url: str,
    topic: str,
    out: str,
    start: str | None,
    stop: str | None,
    columns: str | None,
    compacted: bool,
    skip_damaged: bool,
) -> None:
    """Write TOPIC as Parquet below the folder OUT, by day; a second call goes on.

    With --compacted only while the topic has not grown: what is newest may be another message then.

    \b
    Example:
        workbench archive export data/archive pumps pumps.parquet
    """
    from workbench import archive as room
    from workbench.archive import export as run

    history = room.open(url, skip_damaged=skip_damaged).topic(topic)
    names = columns.split(",") if columns else None
    done = run(history, out, start=start, stop=stop, columns=names, compacted=compacted)
    click.echo(
        f"{out}: {done.rows} rows of {done.ledgers} ledgers written, "
        f"{done.done_before} ledgers were done, {done.files} files"
    )
    for error in dict.fromkeys(map(str, history.damage.errors)):
        click.echo(f"skipped: {error}", err=True)


@archive.command()
@click.argument("url")
@click.argument("topic")
@click.argument("destination", type=click.Path(file_okay=False))
@click.option("--to", "form", type=click.Choice(["delta", "parquet"]), default="delta")
@click.option("--columns", help="Fields wanted, separated by commas.")
@click.option("--compacted", is_flag=True, help="Refused: rows that are added stay.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def sync(
    url: str,
    topic: str,
    destination: str,
    form: str,
    columns: str | None,
    compacted: bool,
    as_json: bool,
) -> None:
    """Add what is new of TOPIC to the table at the folder DESTINATION.

    \b
    Example:
        workbench archive sync data/archive pumps lake/pumps --to delta
    """
    from workbench import archive as room

    if compacted:
        raise ArchiveError(
            "sync has no compacted view: it adds rows, and a key's newer message takes one away",
            hint="workbench archive export --compacted, into a folder for each state of the topic",
        )
    history = room.open(url).topic(topic)
    names = columns.split(",") if columns else None
    run = room.sync if form == "delta" else room.export
    done = run(history, destination, columns=names)
    if as_json:
        click.echo(json.dumps(vars(done)))
        return
    click.echo(f"{destination}: {done.rows} rows of {done.ledgers} ledgers added")
    if isinstance(done, room.Synced) and done.waiting:
        click.echo(f"{done.waiting} ledgers wait for the end of a transaction", err=True)


@click.command()
@click.argument("url")
@click.argument("query")
@click.option("--csv", "form", flag_value="csv", help="CSV to stdout.")
@click.option("--json", "form", flag_value="json", help="One JSON object a line.")
@click.option("--parquet", type=click.Path(dir_okay=False), help="A Parquet file to write.")
@click.option(
    "--compacted",
    multiple=True,
    metavar="TOPIC",
    help="Of each of its keys the newest message alone; may be given again.",
)
@click.option("--skip-damaged", is_flag=True, help="Go on after damaged bytes.")
def sql(
    url: str,
    query: str,
    form: str | None,
    parquet: str | None,
    compacted: tuple[str, ...],
    skip_damaged: bool,
) -> None:
    """Query the topics at URL, each a table, with DuckDB's SQL.

    URL is an archive, or kafka:// for what the Kafka that is known has. What is --compacted is so
    as a whole, before the query asks for times.

    \b
    Example:
        workbench sql data/archive "select pump, max(vibration_mm_s) from pumps group by 1"
    """
    from workbench import archive as room
    from workbench import history, kafka
    from workbench.archive import query as run

    skipped: list[str] = []
    read: list[str] = []
    if url == kafka.SCHEME:
        if compacted:
            raise click.UsageError("--compacted is of an archive: Kafka compacts its own topics")
        batches = history.query_kafka(query, read=read)
    else:
        opened = room.open(url, skip_damaged=skip_damaged)
        batches = run(opened, query, skipped=skipped, compacted=compacted)
    if parquet:
        rows = room.write_parquet(batches, parquet)
        click.echo(f"{parquet}: {rows} rows")
    elif form:
        for text in room.text_lines(batches, form):
            click.echo(text, nl=False)
    else:
        click.echo(room.text_table(batches))
    batches.close()  # of more rows than are shown, too: only then it is known what was skipped
    for error in skipped:
        click.echo(f"skipped: {error}", err=True)
    for line in read:
        click.echo(f"read: {line}", err=True)


def _print(frame: pd.DataFrame, as_json: bool) -> None:
    if as_json:
        for row in frame.to_dict("records"):
            click.echo(json.dumps(row, default=_cell_text))
    else:
        click.echo(frame.to_string(index=False))


def _cell_text(value: Any) -> str:
    return str(value.isoformat() if hasattr(value, "isoformat") else value)
