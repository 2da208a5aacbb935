"""Commands of the desk: lab, new."""

from __future__ import annotations

import click


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="[default: 8888 or the next free]")
@click.option("--browser/--no-browser", default=True, help="Open one.", show_default=True)
def lab(port: int | None, browser: bool) -> None:
    """Start JupyterLab on this project, for this machine only, with its token asked for.

    \b
    Example:
        workbench lab --no-browser
    """
    from workbench import desk

    desk.lab(port=port or 0, browser=browser)


@click.command()
@click.argument("name")
@click.option("--topic", default="", help="What it reads.  [default: the archive's only topic]")
@click.option(
    "--sensor", default="key", show_default=True, help="The column that says whose reading it is."
)
@click.option("--archive", default="", help="Folder or URL.  [default: the one that is known]")
def new(name: str, topic: str, sensor: str, archive: str) -> None:
    """Write a notebook to start from, and its params file.

    \b
    Example:
        workbench new pump_wear --topic pumps
    """
    from workbench import desk

    for path in desk.new(name, topic=topic, sensor=sensor, archive=archive):
        click.echo(path)
