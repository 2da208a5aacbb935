"""Commands over runs: train, sweep, runs, report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from workbench.cli.tables import print_fitting, print_rows
from workbench.cli.waiting import tell_wait

if TYPE_CHECKING:
    from workbench.runs import Run

_Command = TypeVar("_Command", bound=Callable[..., Any])
_STORE = click.option("--store", default="runs", show_default=True, help="Where runs are kept.")
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
_FORCE = click.option("--force", is_flag=True, help="Run even what is in the store already.")


def _limited(command: _Command) -> _Command:
    for option in (
        click.option("--retries", default=0, show_default=True, help="Tries after a failed one."),
        click.option("--memory-limit", type=float, metavar="MIB", help="Memory of a run, MiB."),
        click.option("--time-limit", type=float, metavar="S", help="Wall time of a run, seconds."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("notebook", type=click.Path(path_type=Path))
@click.option("-f", "--params", "params_file", required=True, type=click.Path(path_type=Path))
@_FORCE
@_limited
@_STORE
@_JSON
def train(
    notebook: Path,
    params_file: Path,
    force: bool,
    time_limit: float | None,
    memory_limit: float | None,
    retries: int,
    store: str,
    as_json: bool,
) -> None:
    """Execute NOTEBOOK with the values of a params file.

    \b
    Example:
        workbench train notebooks/20_train.ipynb -f params/20_train-knn.yaml
    """
    from workbench import runs
    from workbench.runs import Limits

    limits = Limits(time_limit, memory_limit, retries)
    tell_wait(f"executing {notebook}: some 30 s, longer where there are millions of readings")
    run = runs.train(notebook, params_file, store=store, force=force, limits=limits)
    if as_json:
        click.echo(json.dumps(_whole(run)))
    else:
        click.echo(f"{_short(run.path)}{' (cached)' if run.cached else ''}")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--notebook", type=click.Path(path_type=Path), help="For files that name none.")
@click.option("--jobs", type=click.IntRange(min=1), help="Runs at a time.  [default: cores]")
@click.option("--resume", is_flag=True, help="Run only what is missing, not what failed either.")
@click.option("--metric", help="What decides which run is best.  [default: the first ranked]")
@_FORCE
@_limited
@_STORE
@_JSON
def sweep(
    files: tuple[Path, ...],
    notebook: Path | None,
    jobs: int | None,
    resume: bool,
    metric: str | None,
    force: bool,
    time_limit: float | None,
    memory_limit: float | None,
    retries: int,
    store: str,
    as_json: bool,
) -> None:
    """Run params files, grids of them or a search, in parallel; exit 1 if a run failed.

    docs/sweeps.md says how a sweep file is written.

    \b
    Example:
        workbench sweep params/20_train-*.yaml --jobs 2
    """
    from workbench import runs
    from workbench.runs import Limits

    try:
        result = runs.sweep(
            files,
            notebook=notebook,
            store=store,
            jobs=jobs,
            force=force,
            resume=resume,
            limits=Limits(time_limit, memory_limit, retries),
            metric=metric,
        )
    except KeyboardInterrupt:
        click.echo("stopped; what is complete stays: the same command goes on from here", err=True)
        raise SystemExit(130) from None
    for run in result.runs if as_json else ():
        click.echo(json.dumps(_whole(run)))
    bad = len(result.failed) + len(result.lost)
    if not as_json:
        cached = sum(run.cached for run in result.runs)
        click.echo(f"{len(result.runs)} runs ({cached} cached), {bad} failed")
        click.echo(_short(result.path / "report.html"))
    raise SystemExit(1 if bad else 0)


@click.group(invoke_without_command=True)
@click.option("--sort", metavar="METRIC", help="Best first.")
@click.option("--where", multiple=True, metavar="NAME=VALUE", help="Parameter, metric or status.")
@click.option("--package", metavar="ID", help="Those that fitted it; the id's start is enough.")
@click.option("--wide", is_flag=True, help="All columns, however wide the terminal is.")
@_STORE
@_JSON
@click.pass_context
def runs(
    context: click.Context,
    sort: str | None,
    where: tuple[str, ...],
    package: str | None,
    wide: bool,
    store: str,
    as_json: bool,
) -> None:
    """List the runs; `show`, `diff` and `rm` for single ones.

    On a terminal: the columns in which they differ, as many as fit. Exit 1 if one is damaged: it
    is named, and the others are listed.

    \b
    Examples:
        workbench runs --sort recall --where detector.name=knn
        workbench runs --package 00d2794c
    """
    if context.invoked_subcommand is not None:
        return
    from workbench.runs import listing, ordered, row, selected

    records = ["metrics", *(["params"] if where else [])]
    readable, damaged = listing(store, records=records)
    listed = selected(readable, where)
    if package:
        listed = [run for run in listed if (run.package_id or "").startswith(package)]
    rows = [row(run) for run in (ordered(listed, sort) if sort else listed)]
    if wide or as_json:
        print_rows(rows, as_json=as_json)
    else:
        print_fitting(rows, sort)
    for error in damaged:
        click.echo(f"not listed: {error}", err=True)
    raise SystemExit(1 if damaged else 0)


@runs.command()
@click.argument("run")
@_STORE
@_JSON
def show(run: str, store: str, as_json: bool) -> None:
    """Say what RUN was made of and what it found.

    \b
    Example:
        workbench runs show 3fa1c0de
    """
    from workbench.runs import find

    recorded = find(run, store)
    if as_json:
        click.echo(json.dumps({**_whole(recorded), "manifest": recorded.manifest}))
        return
    click.echo(
        f"{recorded.id} {recorded.status}{f': {recorded.reason}' if recorded.reason else ''}"
    )
    for title, values in (("parameters", recorded.params), ("metrics", recorded.metrics)):
        click.echo(f"{title}:")
        for name, value in values.items():
            click.echo(f"  {name}: {value if isinstance(value, str) else json.dumps(value)}")
    for data in recorded.manifest["data"]:
        click.echo(f"data: {data.get('topic')} {data.get('start')} {data.get('stop')}")
    if recorded.package_id:
        click.echo(f"package: {recorded.package_id}")
    click.echo(f"{_short(recorded.path)}/report.html")


@runs.command()
@click.argument("first")
@click.argument("second")
@_STORE
@_JSON
def diff(first: str, second: str, store: str, as_json: bool) -> None:
    """Say in what two runs differ: parameters, data, code, metrics.

    \b
    Example:
        workbench runs diff 3fa1c0de 90b2ee01
    """
    from workbench.runs import differences, find

    print_rows(differences(find(first, store), find(second, store)), as_json=as_json)


@runs.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_STORE
@_JSON
def rm(names: tuple[str, ...], yes: bool, store: str, as_json: bool) -> None:
    """Delete runs, after showing which they are.

    \b
    Example:
        workbench runs rm 3fa1c0de
    """
    from workbench.runs import find, remove

    doomed = {run.path: run for run in (find(name, store) for name in names)}.values()
    if not yes:
        for run in doomed:
            click.echo(f"{run.id} {run.status}  {run.notebook}  {run.about['source']}", err=True)
        click.confirm(f"delete {len(doomed)} of the runs?", abort=True, err=True)
    for run in doomed:
        remove(run)
        click.echo(json.dumps({"removed": run.id}) if as_json else f"removed {run.id}")


@click.command()
@click.argument("name", metavar="RUN|SWEEP")
@_STORE
def report(name: str, store: str) -> None:
    """Write the HTML report of a run or sweep anew, and say where it is.

    \b
    Example:
        workbench report 20260105T101500Z-3fa1c0de
    """
    from workbench.runs import find, find_sweep, write_report, write_sweep_report

    if Path(name).name.startswith("sweep-"):
        click.echo(_short(write_sweep_report(find_sweep(name, store))))
    else:
        click.echo(_short(write_report(find(name, store))))


@click.command()
@click.argument("run")
@click.option("--trust", is_flag=True, help="Execute a notebook that is none of this project's.")
@_STORE
@_JSON
def verify(run: str, trust: bool, store: str, as_json: bool) -> None:
    """Read RUN's data and execute its notebook again; exit 1 if the result is another.

    \b
    Example:
        workbench verify 3fa1c0de
    """
    from workbench import runs

    result = runs.verify(runs.find(run, store), trusted=trust)
    if not as_json:
        click.echo(
            f"{result.run.id}: the result is {'the same' if result.same else 'not the same'}"
        )
    print_rows(result.differences, as_json=as_json)
    raise SystemExit(0 if result.same else 1)


def _whole(run: Run) -> dict[str, object]:
    found = {"run": run.id, "path": str(run.path), "cached": run.cached}
    return {**found, **run.about, "params": run.params, "metrics": run.metrics}


def _short(path: Path) -> str:
    """Return `path` from here where it lies below, so that it can be clicked and typed."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
