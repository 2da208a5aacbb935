"""The command line: parse, one library call, print.

Commands live beside the room they call (`cli.archive`, `cli.runs`, ...) and are imported when
they are named, so that `workbench --help` starts without numpy, pyarrow or pyflink.
Results go to stdout, progress to stderr. Exit codes: 0, 1 an error, 2 wrong usage,
3 a refused promotion.
"""

from __future__ import annotations

import importlib
import sys

import click

from workbench.errors import WorkbenchError, did_you_mean

# name: (module that defines it, the line that `workbench --help` shows)
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Run the main job on the sample archive and end with a report."),
    "archive": ("archive", "List, inspect, check and export offloaded topics."),
    "sql": ("archive", "Query offloaded topics with SQL."),
    "detectors": ("detectors", "List the detectors."),
    "nab": ("evaluation", "Run a detector over the Numenta Anomaly Benchmark."),
    "evaluate": ("evaluation", "Judge a detector on your own labelled series."),
    "lab": ("desk", "Start JupyterLab on this project."),
    "new": ("desk", "Write a notebook to start from, and its params file."),
    "train": ("runs", "Run one notebook with one params file."),
    "sweep": ("runs", "Run many params files, or grids of them, in parallel."),
    "runs": ("runs", "List, show, compare and remove runs."),
    "report": ("runs", "Write the HTML report of a run or sweep."),
    "verify": ("runs", "Run a run again and say whether its result is the same."),
    "services": ("services", "Start and stop a real Pulsar and S3 endpoint on this machine."),
    "doctor": ("doctor", "Tell what is missing or wrong on this machine."),
    "ingest": ("services", "Send a CSV file to a topic."),
    "offload": ("services", "Close a topic's open ledger and offload it."),
    "promote": ("promotions", "Let a run's detector score a stream, if it passes the gate."),
    "promotions": ("promotions", "List which detector scored a stream, from when and why."),
    "rollback": ("promotions", "Let the detector before the last promotion score again."),
    "refit": ("promotions", "Fit a stream's champion on recent data and promote it if it may."),
    "stream": ("stream", "Run, inspect and stop streaming jobs."),
    "backtest": ("stream", "Run a stream's SQL over a span of the archive."),
    "parity": ("stream", "Prove that notebook and stream score alike."),
}


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
    try:
        cli(standalone_mode=True)
    except WorkbenchError as error:
        if "--debug" in sys.argv[1:]:
            raise
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
