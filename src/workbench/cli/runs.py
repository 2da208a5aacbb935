"""Commands over runs: train, sweep, runs, report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from workbench.runs.store import Run

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
    from workbench.runs.execution import Limits

    limits = Limits(time_limit, memory_limit, retries)
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
@click.option("--metric", help="What decides which run is best.  [default: the first recorded]")
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
    """Run params files, or grids of them, in parallel; exit 1 if a run failed.

    \b
    Example:
        workbench sweep params/20_train-*.yaml --jobs 2
    """
    from workbench import runs
    from workbench.runs.execution import Limits

    try:
        made = runs.sweep(
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
    for run in made.runs if as_json else ():
        click.echo(json.dumps(_whole(run)))
    bad = len(made.failed) + len(made.lost)
    if not as_json:
        cached = sum(run.cached for run in made.runs)
        click.echo(f"{len(made.runs)} runs ({cached} cached), {bad} failed")
        click.echo(_short(made.path / "report.html"))
    raise SystemExit(1 if bad else 0)


@click.group(invoke_without_command=True)
@click.option("--sort", metavar="METRIC", help="Best first.")
@click.option("--where", multiple=True, metavar="NAME=VALUE", help="Parameter, metric or status.")
@_STORE
@_JSON
@click.pass_context
def runs(
    context: click.Context, sort: str | None, where: tuple[str, ...], store: str, as_json: bool
) -> None:
    """List the runs; `show`, `diff` and `rm` for single ones.

    \b
    Example:
        workbench runs --sort recall --where detector.name=knn
    """
    if context.invoked_subcommand is not None:
        return
    from workbench.runs.leaderboard import ordered, row, selected
    from workbench.runs.store import runs as find_runs

    found = selected(find_runs(store), where)
    _print_rows((row(run) for run in (ordered(found, sort) if sort else found)), as_json)


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

    found = find(run, store)
    if as_json:
        click.echo(json.dumps({**_whole(found), "manifest": found.manifest}))
        return
    click.echo(f"{found.id} {found.status}{f': {found.reason}' if found.reason else ''}")
    for title, values in (("parameters", found.params), ("metrics", found.metrics)):
        click.echo(f"{title}:")
        for name, value in values.items():
            click.echo(f"  {name}: {value if isinstance(value, str) else json.dumps(value)}")
    for data in found.manifest["data"]:
        click.echo(f"data: {data.get('topic')} {data.get('start')} {data.get('stop')}")
    click.echo(f"{_short(found.path)}/report.html")


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
    from workbench.runs import find
    from workbench.runs.comparison import differences

    _print_rows(differences(find(first, store), find(second, store)), as_json)


@runs.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN...")
@_STORE
@_JSON
def rm(names: tuple[str, ...], store: str, as_json: bool) -> None:
    """Delete runs.

    \b
    Example:
        workbench runs rm 3fa1c0de
    """
    from workbench.runs import find, remove

    for run in [find(name, store) for name in names]:
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
    from workbench.runs import find, find_sweep, write_report
    from workbench.runs.sweep_report import write_sweep_report

    if Path(name).name.startswith("sweep-"):
        click.echo(_short(write_sweep_report(find_sweep(name, store))))
    else:
        click.echo(_short(write_report(find(name, store))))


@click.command()
@click.argument("run")
@_STORE
@_JSON
def verify(run: str, store: str, as_json: bool) -> None:
    """Read RUN's data and execute its notebook again; exit 1 if the result is another.

    \b
    Example:
        workbench verify 3fa1c0de
    """
    from workbench import runs

    found = runs.verify(runs.find(run, store))
    if not as_json:
        click.echo(f"{found.run.id}: the result is {'the same' if found.same else 'not the same'}")
    _print_rows(found.differences, as_json)
    raise SystemExit(0 if found.same else 1)


def _whole(run: Run) -> dict[str, object]:
    found = {"run": run.id, "path": str(run.path), "cached": run.cached}
    return {**found, **run.about, "params": run.params, "metrics": run.metrics}


def _print_rows(rows: Iterable[dict[str, Any]], as_json: bool) -> None:
    found = list(rows)
    if as_json:
        for row in found:
            click.echo(json.dumps(row))
    elif found:
        import pandas as pd

        frame = pd.DataFrame(found)
        click.echo(frame.to_string(index=False, na_rep="", float_format="%.4g"))


def _short(path: Path) -> str:
    """Return `path` from here where it lies below, so that it can be clicked and typed."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
