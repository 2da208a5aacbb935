"""The command line: parse, one library call, print.

Commands live beside the room they call (`cli.archive`, `cli.runs`, ...) and are imported when
they are named, so that `workbench --help` starts without numpy, pyarrow or pyflink.
Results go to stdout, progress to stderr. Exit codes: 0, 1 an error, 2 wrong usage,
3 a refused promotion.
"""

from __future__ import annotations

import errno
import importlib
import sys

import click

from workbench.errors import WorkbenchError, did_you_mean

# name: (module that defines it, the line that `workbench --help` shows)
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Run the main job on the sample archive and end with a report."),
    "archive": ("archive", "List, inspect, check and export offloaded topics."),
    "sql": ("archive", "Query offloaded topics with SQL."),
    "serve": ("serve", "Answer SQL over an archive to psql, Grafana and other tools."),
    "detectors": ("detectors", "List the detectors."),
    "nab": ("evaluation", "Run a detector over the Numenta Anomaly Benchmark."),
    "evaluate": ("evaluation", "Judge a detector on your own labelled series."),
    "benchmark": ("evaluation", "Judge detectors on a folder of labelled series, beside floors."),
    "lab": ("desk", "Start JupyterLab on this project."),
    "new": ("desk", "Write a notebook to start from, and its params file."),
    "sample": ("desk", "Copy the sample archive and its labels to data/."),
    "train": ("runs", "Run one notebook with one params file."),
    "sweep": ("runs", "Run many params files, or grids of them, in parallel."),
    "runs": ("runs", "List, show, compare and remove runs."),
    "report": ("runs", "Write the HTML report of a run or sweep."),
    "verify": ("runs", "Run a run again and say whether its result is the same."),
    "services": ("services", "Start and stop a real Pulsar and S3 endpoint on this machine."),
    "doctor": ("doctor", "Tell what is missing or wrong on this machine."),
    "ingest": ("ingestion", "Send an export (CSV, Parquet, Excel, ...) to a topic."),
    "offload": ("services", "Close a topic's open ledger and offload it."),
    "promote": ("promotions", "Let a run's detector score a stream, if it passes the gate."),
    "promotions": ("promotions", "List which detector scored a stream, from when and why."),
    "rollback": ("promotions", "Let the detector before the last promotion score again."),
    "refit": ("promotions", "Fit a stream's champion on recent data and promote it if it may."),
    "drift": ("promotions", "Tell whether a running detector is still right, without labels."),
    "stream": ("stream", "Run, inspect and stop streaming jobs."),
    "alerts": ("alerts", "Send a stream's alerts to people."),
    "metrics": ("desk", "Answer Prometheus: what a person watches of running streams."),
    "backtest": ("stream", "Run a stream's SQL over a span of the archive."),
    "parity": ("stream", "Prove that notebook and stream score alike."),
}


_FREE = "workbench doctor tells how much is free where it writes"
_WRITABLE = "run it in a folder, and with a WORKBENCH_HOME, that this user may write to"
_DISK = {  # what is no fault of ours, and what to do about it
    errno.ENOSPC: _FREE,
    errno.EDQUOT: _FREE,
    errno.EROFS: _WRITABLE,
    errno.EACCES: _WRITABLE,
    errno.EPERM: _WRITABLE,
}

# commands that import PyFlink; where there is none, the Python that has it runs them
FLINK = ("demo", "promote", "refit", "stream", "backtest", "parity")


class _Commands(click.Group):
    """A group whose commands are imported when they are named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _ = COMMANDS[name]
        room = importlib.import_module(f"workbench.cli.{module}")
        command = getattr(room, name.replace("-", "_"))
        assert isinstance(command, click.Command)  # noqa: S101 - a slip in the table above
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            ctx.fail(f"no command {args[0]!r}: {did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="workbench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Turn offloaded Pulsar history into a detector that runs in Flink.

    \b
    Example:
        workbench archive ls data/archive
    """


def main() -> None:
    """Run the command line; an error becomes one clear text and an exit code."""
    # jsonschema, of nbformat, would compile 39 grammars of IRIs at import: 1.3 s for nothing here
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    try:
        _hand_over(sys.argv[1:])
        cli(prog_name="workbench", standalone_mode=True)
    except WorkbenchError as error:
        if "--debug" in sys.argv[1:]:
            raise
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if "--debug" in sys.argv[1:] or error.errno not in _DISK:
            raise
        where = f"\n  in {error.filename}" if error.filename else ""
        click.echo(f"Error: {error.strerror}{where}\n  {_DISK[error.errno]}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:  # before click, which says the same, begins
        click.echo("\nAborted!", err=True)
        sys.exit(1)


def _hand_over(arguments: list[str]) -> None:
    """Let the Python that has Flink run a command that needs it, unless it only asks for help."""
    words = [word for word in arguments if not word.startswith("-")]
    only_help = {"-h", "--help"} & set(arguments) or words[1:2] == ["setup"]
    if not words or words[0] not in FLINK or only_help:
        return
    from workbench import services

    if services.has_flink():
        return
    if services.flink_interpreter() is None:
        click.echo("making the environment that Flink needs: some two minutes, once", err=True)
    services.hand_over(arguments)
