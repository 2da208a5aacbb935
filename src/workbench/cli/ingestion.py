"""`workbench ingest`."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.waiting import tell_wait
from workbench.errors import ServicesError

if TYPE_CHECKING:
    from workbench.services import CsvFormat, Look, Narrow


@click.command()
@click.argument("file", metavar="FILE|FOLDER|GLOB|-")
@click.option("--topic", "--to", help="Full or short name, or kafka://NAME; made if it is new.")
@click.option("--time", metavar="COL", help="The column of event times.")
@click.option(
    "--values", metavar="A,B,...", help="The columns of readings, or patterns: '*', 'T*'."
)
@click.option("--sensor", metavar="COL", help="The column that names the sensor.")
@click.option(
    "--machine",
    "--sensor-name",
    "sensor_name",
    metavar="NAME",
    help="The sensor's name where the file has no such column [default: the file's name].",
)
@click.option("--tag", metavar="COL", help="Of a narrow export: the column that says what.")
@click.option("--value", metavar="COL", help="Of a narrow export: the column of readings.")
@click.option("--machine-from", metavar="REGEX", help="Its first group finds the machine in a tag.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="S",
    help="How far apart tags of one instant may lie.",
)
@click.option(
    "--hold",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="S",
    help="How long a tag's last value stands in for a missing one.",
)
@click.option(
    "--rename", multiple=True, metavar="'OLD=NEW,...'", help="Column or tag, and its field."
)
@click.option("--time-format", metavar="FORMAT", help="As '%d.%m.%Y %H:%M', or YYYYMMDDhhmm.")
@click.option(
    "--time-unit",
    type=click.Choice(["s", "ms", "us", "ns", "excel"]),
    help="Of times that are numbers since 1970, or Excel's days.",
)
@click.option(
    "--time-zone",
    metavar="ZONE",
    help="Of times without an offset, as Europe/Berlin or +01:00 [default: UTC].",
)
@click.option(
    "--between",
    nargs=2,
    metavar="START STOP",
    help="In which all times must lie [default: 1980 to a day from now].",
)
@click.option("--sep", default=",", show_default=True, help="What separates fields, or tab.")
@click.option("--decimal", type=click.Choice([".", ","]), default=".", show_default=True)
@click.option("--thousands", default="", metavar="MARK", help="Between thousands, as . or '")
@click.option("--encoding", default="utf-8-sig", show_default=True, help="As cp1252 or utf-16.")
@click.option("--missing", default="", metavar="A,B,...", help="What else says: no reading.")
@click.option("--skip-rows", type=click.IntRange(min=0), default=0, help="Lines above the header.")
@click.option("--units-row", is_flag=True, help="The line below the header is no reading.")
@click.option("--sheet", default="", metavar="NAME", help="Of a workbook that has several.")
@click.option("--skip-damaged", is_flag=True, help="Leave out lines that are none, and count them.")
@click.option("--as-is", is_flag=True, help="Keep the order of lines, not that of time.")
@click.option(
    "--lateness",
    type=click.FloatRange(min=0.001),
    default=1.0,
    show_default=True,
    metavar="S",
    help="The stream's lateness_s, to tell how many lines it would call late.",
)
@click.option("--look", is_flag=True, help="Only tell what would be sent.")
@click.option("--schema", type=click.Choice(["json", "avro"]), default="json", show_default=True)
@click.option(
    "--compression",
    type=click.Choice(["none", "lz4", "zlib", "zstd", "snappy"]),
    default="zstd",
    show_default=True,
)
@click.option("--again", is_flag=True, help="Send also what a try that broke off has sent.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Readings per second.")
@click.pass_context
def ingest(
    context: click.Context, /, file: str, topic: str | None, look: bool, **options: Any
) -> None:
    """Send the readings of an export to a topic, one message per reading.

    CSV (also gzip, bzip2, xz, zstd, zip), Parquet, Arrow, Excel; a folder or glob; - is stdin. If
    it is not said which columns hold what, the export is looked at, and the command that says so
    is printed.

    The whole export is checked before the first reading is sent, and put in the order of time.
    Times are ISO 8601, digits such as 202601050930, or s, ms, us or ns since 1970, whichever alone
    explains the whole column; where more than one way does, or none, they are shown as each would
    have them.

    What breaks off goes on if the same command is given within six hours (the broker's setting):
    the broker drops what it has, by deduplication, which is on for the topic meanwhile. A topic
    with partitions, and Kafka, remember nothing: there, all is sent again.

    Pulsar's Java client sends what is 200,000 readings or more, to a topic without partitions;
    where there is no Java, that for Python does, which takes three times as long.

    \b
    Examples:
        workbench ingest ambient_temperature.csv --topic ambient --time timestamp --values value
        workbench ingest werk.csv
        workbench ingest pumps.csv --sensor pump --time at --values flow,bar --look
        workbench ingest werk.csv --topic werk --sensor Pumpe --time Zeit --values '*' --sep ';'
            --decimal , --time-format '%d.%m.%Y %H:%M' --time-zone Europe/Berlin --encoding cp1252
        workbench ingest pi.csv --topic pi --time time --tag tag --value value
            --machine-from '^([^.]+)'
    """
    from workbench import services as room

    narrow, given = _narrow(options), _given(context)
    if not options["time"] or not (narrow or options["values"]):
        _propose(file, topic, given)
        return
    if not (topic or look):
        raise click.UsageError("Missing option '--topic' (or '--look', to send nothing).")
    tell_wait(f"reading {file} whole: some 2 s for a million readings")
    try:
        readings = _look(file, narrow, options)
    except ServicesError as refusal:
        if lines := _other(file, topic, given):
            refusal.hint = "\n  ".join([*filter(None, [refusal.hint]), *lines])
        raise
    for line in readings.lines():
        click.echo(line, err=not look)
    if look or topic is None:
        return
    try:
        done = room.ingest_frame(
            readings.frame,
            topic,
            sensor=readings.sensor,
            time=readings.time,
            values=readings.fields,
            labels=readings.labels,
            schema=options["schema"],
            compression=options["compression"],
            rate=options["rate"],
            again=options["again"],
        )
    except KeyboardInterrupt as err:
        for note in getattr(err, "__notes__", []):
            click.echo(note, err=True)
        raise
    left_out = f", {len(readings.left_out)} lines left out" if readings.left_out else ""
    click.echo(f"{done}{left_out}")
    if not (done.resumable or options["again"]):
        click.echo(f"{done.topic} remembers nothing: the same command sends all again", err=True)


def _given(context: click.Context) -> dict[str, tuple[str, ...]]:
    """Return the options of the command line, and the words after them, but what sends or looks."""
    given: dict[str, tuple[str, ...]] = {}
    for parameter in context.command.params:
        name = parameter.name or ""
        value: Any = context.params.get(name)
        source = context.get_parameter_source(name)
        if (
            name in ("file", "topic", "look")
            or source is not click.core.ParameterSource.COMMANDLINE
        ):
            continue
        if name == "rename":
            value = ",".join(value)
        words = value if isinstance(value, tuple) else (str(value),)
        given[parameter.opts[0].removeprefix("--")] = () if value is True else words
    return given


def _propose(file: str, topic: str | None, given: dict[str, tuple[str, ...]]) -> None:
    """Print how the export seems to be written; nobody who can look: refuse."""
    from workbench import services as room

    lines = room.propose(file, given).lines(topic)
    if not sys.stdin.isatty():
        raise ServicesError(
            "it is not said how the export is to be read", where=file, hint="\n  ".join(lines)
        )
    for line in lines:
        click.echo(line)


def _look(file: str, narrow: Narrow | None, options: dict[str, Any]) -> Look:
    from workbench import services as room

    return room.look(
        file,
        sensor=options["sensor"],
        sensor_name=options["sensor_name"],
        time=options["time"],
        values=_listed(options["values"]),
        narrow=narrow,
        rename=_renamed(options["rename"]),
        form=_form(options),
        skip_damaged=options["skip_damaged"],
        as_is=options["as_is"],
        lateness_s=options["lateness"],
    )


_WRITTEN = ("sep", "decimal", "thousands", "encoding", "skip-rows", "units-row")


def _other(file: str, topic: str | None, given: dict[str, tuple[str, ...]]) -> list[str]:
    """Return the commands that read a file which is written in another way than was said."""
    from workbench import services as room

    kept = {name: words for name, words in given.items() if name not in _WRITTEN}
    try:
        proposal = room.propose(file, kept)
    except ServicesError:
        return []
    options = [proposal.options]
    options += [meaning for choice in proposal.choices for meaning in choice.values()]
    found = {name: words for each in options for name, words in each.items() if name in _WRITTEN}
    said = {name: words for name, words in given.items() if name in _WRITTEN}
    if found == said:
        return []
    return [f"it reads as: {command}" for command in proposal.commands(topic).values()]


_OF_NARROW = ("--machine-from", "--tolerance", "--hold", "--tag", "--value")


def _narrow(options: dict[str, Any]) -> Narrow | None:
    from workbench.services import Narrow

    lacking = [f"--{name}" for name in ("tag", "value") if not options[name]]
    asked = [name for name in _OF_NARROW if options[name.removeprefix("--").replace("-", "_")]]
    if not asked:
        return None
    if lacking:
        raise click.UsageError(f"{asked[0]} is of a narrow export: say {' and '.join(lacking)}")
    if options["values"]:
        raise click.UsageError("a narrow export has --tag and --value, and no --values")
    if options["machine_from"] and (options["sensor"] or options["sensor_name"]):
        raise click.UsageError("--machine-from finds the machine: leave out --sensor and --machine")
    return Narrow(
        options["tag"],
        options["value"],
        options["machine_from"],
        options["tolerance"],
        options["hold"],
    )


def _form(options: dict[str, Any]) -> CsvFormat:
    from workbench import services as room
    from workbench.times import instant_ms, now_ms

    bounds = options["between"]
    if bounds:
        bounds = instant_ms(bounds[0]) or 0, instant_ms(bounds[1]) or now_ms()
    return room.CsvFormat(
        sep="\t" if options["sep"] in ("\\t", "tab") else options["sep"],
        decimal=options["decimal"],
        encoding=options["encoding"],
        missing=_listed(options["missing"]),
        thousands=options["thousands"],
        skip_rows=options["skip_rows"],
        units_row=options["units_row"],
        sheet=options["sheet"],
        time_format=options["time_format"],
        time_unit=options["time_unit"],
        time_zone=options["time_zone"],
        between=bounds,
    )


def _listed(text: str | None) -> list[str]:
    """Return the names of a list; one with a comma in it stands in quotes."""
    return next(csv.reader([text], skipinitialspace=True), []) if text else []


def _renamed(pairs: tuple[str, ...]) -> dict[str, str]:
    names = {}
    for pair in (name for listed in pairs for name in _listed(listed)):
        old, equals, new = pair.rpartition("=")
        if not equals:
            raise click.UsageError(f"--rename {pair!r}: expected OLD=NEW")
        names[old] = new
    return names
