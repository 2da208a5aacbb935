"""The command `demo`."""

from __future__ import annotations

import click


@click.command()
@click.option("--store", default="runs", show_default=True, help="Where runs are kept.")
def demo(store: str) -> None:
    """Run the main job on the sample archive and end with a report.

    \b
    Example:
        workbench demo
    """
    from workbench.demo import demo as run

    for name, value in run(store=store).rows():
        click.echo(f"{name:38} {value}")
