"""Commands of the desk: lab, new, sample."""

from __future__ import annotations

from pathlib import Path

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
@click.argument("name", required=False)
@click.option(
    "--topic",
    default="",
    help="What it reads; kafka://NAME is of Kafka.  [default: the archive's only topic]",
)
@click.option(
    "--sensor",
    default="",
    help="The column that says whose reading it is.  [default: the only one of text, or key]",
)
@click.option("--archive", default="", help="Folder or URL.  [default: the one that is known]")
@click.option("--tour", is_flag=True, help="The notebooks of the tour instead, and the sample.")
def new(name: str | None, topic: str, sensor: str, archive: str, tour: bool) -> None:
    """Write a notebook to start from, its params file, and a stream file.

    Says if the topic's history is out of the order of time, and counts event times that cannot be.

    \b
    Example:
        workbench new pump_wear --topic pumps
    """
    if tour == bool(name):
        raise click.UsageError("say a NAME, or --tour alone")
    from workbench import desk
    from workbench.runs import project_path

    if not name:
        _show(desk.copy_tour())
        return
    starter = desk.new(name, topic=topic, sensor=sensor, archive=archive)
    _show([path for path in (starter.notebook, starter.params, starter.stream) if path])
    for remark in [*starter.remarks, *desk.remarks(topic, archive=archive)]:
        click.echo(remark, err=True)
    given = f"{project_path(starter.notebook)} -f {project_path(starter.params)}"
    click.echo(f"next: workbench train {given}", err=True)
    if starter.stream:
        click.echo(f"then: workbench promote RUN --stream {starter.stream.stem}", err=True)


@click.command()
def sample() -> None:
    """Copy the sample archive and its labels to data/: two weeks of six pumps.

    \b
    Example:
        workbench sample
    """
    from workbench import desk

    _show(desk.copy_sample())


def _show(new: list[Path]) -> None:
    from workbench.runs import project_path

    for path in new:
        click.echo(project_path(path))
    if not new:
        click.echo("all of it is there", err=True)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="STREAM...")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes a free one.  [default: 9477]")
def metrics(names: tuple[str, ...], port: int | None) -> None:
    """Answer Prometheus on loopback until Ctrl-C: readings, alerts, routes, packages in force.

    \b
    Example:
        workbench metrics plant --port 9477
    """
    import threading

    from workbench import desk

    with desk.expose(names, port=desk.PORT if port is None else port) as taken:
        click.echo(f"metrics at http://127.0.0.1:{taken}/metrics; Ctrl-C ends it", err=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            click.echo("ended", err=True)
