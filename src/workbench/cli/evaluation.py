"""`workbench nab`, `evaluate` and `benchmark`: specifications against labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from workbench.cli.waiting import tell_wait
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    import pandas as pd

    from workbench.detectors import EpisodeRule
    from workbench.evaluation import SpecFile

_RULE = ("alarm_k", "alarm_n", "alarm_m")
_CALLS = ("beside", "calls")
_BUDGET = "alerts_per_sensor_day"


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--detector",
    "spec_file",
    required=True,
    help="YAML file with `detector:`.",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where NAB's result files go, one folder per detector.",
)
@click.option("--name", default="workbench", show_default=True, help="The detector's, for NAB.")
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One object.")
def nab(folder: Path, spec_file: Path, out: Path, name: str, seed: int, as_json: bool) -> None:
    """Run a detector over the Numenta Anomaly Benchmark in FOLDER, by its rules.

    Prints VUS-PR, and NAB's score twice. `nab_alarms_*` is of what can be promoted: `detector:`,
    one threshold for all files, the rule alarm_k, alarm_n, alarm_m of the file. `nab_*` is of
    calls, which are in evaluation alone: the surprise of scores against their past, of several
    detectors (`beside:`, what each changes in `detector:`) the mean, once for each rise. Those are
    written as result files for NAB's own scorer.

    \b
    Example:
        workbench nab ../NAB --detector params/60_leaderboard-nab.yaml --out results
    """
    from workbench import evaluation

    preset = _read(spec_file, *_RULE, *_CALLS)
    series = evaluation.read_nab(folder)
    result = evaluation.run_nab(preset.detector, series, name=name, seed=seed)
    beside = [
        evaluation.run_nab({**preset.detector, **change}, series, name=member, seed=seed)
        for member, change in preset.beside.items()
    ]
    detections = evaluation.nab_calls(result, *beside, **preset.calls)
    for member, scores in detections.pairs():
        evaluation.write_nab(out, name, member, scores)
    rows = evaluation.judge_nab(result)
    alarms = evaluation.nab_alarm_scores(result, rule=preset.rule)
    figures: dict[str, Any] = {
        "vus_pr": sum(float(str(row["vus_pr"])) for row in rows) / len(rows),
        "labelled_series": len(rows),
        **{f"nab_alarms_{profile}": best.score for profile, best in alarms.items()},
        "evaluation_only": ", ".join(f"nab_{profile}" for profile in evaluation.PROFILES),
        **{f"nab_{profile}": evaluation.nab_score(detections.pairs(), profile=profile).score
           for profile in evaluation.PROFILES},
        "seconds": round(sum(member.seconds for member in (result, *beside)), 1),
        "refused": dict(result.refused),
    }  # fmt: skip
    click.echo(json.dumps(figures) if as_json else _lines(figures))


@click.command()
@click.option("--series", "pattern", required=True, help="CSV files, e.g. 'pumps/*.csv'.")
@click.option(
    "--labels",
    "labels_file",
    required=True,
    help="CSV: sensor,start,stop[,kind].",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--spec",
    "spec_file",
    required=True,
    help="YAML file with `detector:`.",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option("--time", default="event_time", show_default=True, help="Column of event times.")
@click.option("--sensor", default="", help="Column of sensors; without: the file's name is it.")
@click.option("--together", is_flag=True, help="One detector for all sensors, not one for each.")
@click.option("--learn", default=0.5, show_default=True, help="Share of each series to learn from.")
@click.option(
    "--alerts-per-sensor-day",
    type=float,
    help="The budget that buys the threshold.  [default: the file's, else one a week]",
)
@click.option(
    "--false-alerts-per-sensor-day",
    "false_per_sensor_day",
    type=float,
    help="The price of recall_at_budget.  [default: the budget]",
)
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One object.")
def evaluate(
    pattern: str,
    labels_file: Path,
    spec_file: Path,
    time: str,
    sensor: str,
    together: bool,
    learn: float,
    alerts_per_sensor_day: float | None,
    false_per_sensor_day: float | None,
    seed: int,
    as_json: bool,
) -> None:
    """Judge a detector on your own labelled series, causally, its threshold fixed beforehand.

    Prints every figure with its 95 % interval over series, beside two floors that know nothing. A
    series is a sensor, in one file or in many. Those that are refused are told at the end, with
    exit code 1. Of the file `detector`, `alarm_k`, `alarm_n`, `alarm_m` and `alerts_per_sensor_day`
    are read; with `refit` in the detector, it and its threshold follow that policy.

    \b
    Example:
        workbench evaluate --series 'pumps/*.csv' --labels labels.csv --spec knn.yaml
    """
    from workbench import evaluation

    preset = _read(spec_file, *_RULE, _BUDGET)
    if alerts_per_sensor_day is None:
        written = preset.alerts_per_sensor_day
        alerts_per_sensor_day = 1 / 7 if written is None else written
    labels = evaluation.read_labels(labels_file.absolute())
    judge = partial(
        evaluation.evaluate, preset.detector, labels=labels, rule=preset.rule, sensor="sensor",
        time=time, learn=learn,
        alerts_per_sensor_day=alerts_per_sensor_day, false_per_sensor_day=false_per_sensor_day,
        seed=seed,
    )  # fmt: skip
    judged = evaluation.evaluate_series(judge, pattern, time=time, sensor=sensor, together=together)
    board, figures = (
        make(judged.rows, seed=seed) for make in (evaluation.leaderboard, evaluation.summary)
    )
    alerts = {**judged.report.metrics(), "f1_pointwise": judged.pointwise.f1}
    if as_json:
        refused = {name: str(error) for name, error in judged.refused.items()}
        document = {"leaderboard": _records(board), "figures": _records(figures)}
        click.echo(json.dumps({**document, "alerts": alerts, "refused": refused}))
    else:
        click.echo(figures.to_string(index=False, float_format="{:.3f}".format, na_rep="-"))
        click.echo(_lines(alerts))
    _tell_refused(judged.refused)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--spec",
    "spec_files",
    multiple=True,
    help="YAML file with `detector:`; may be given again.  [default: auto]",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--learn",
    "shares",
    multiple=True,
    metavar="SHARE",
    help="Share to learn from, where a set does not say; SET=SHARE of one set.  [default: 0.5]",
)
@click.option(
    "--alerts-per-sensor-day",
    type=float,
    help="The budget that buys thresholds.  [default: the files', else one a week]",
)
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One object.")
@click.option("--report", is_flag=True, help="A page instead, of a run of 61_benchmark.")
@click.option("--store", default="runs", show_default=True, help="Where that run is kept.")
def benchmark(
    folder: Path,
    spec_files: tuple[Path, ...],
    shares: tuple[str, ...],
    alerts_per_sensor_day: float | None,
    seed: int,
    as_json: bool,
    report: bool,
    store: str,
) -> None:
    """Judge detectors on a folder of labelled series, causally, beside floors of a page each.

    FOLDER is the Numenta benchmark, CSV files in the format of TSB-AD, or CSV files with
    `event_time` and a `labels.csv`; or it holds folders of such. Figures are means over series with
    95 % intervals, of scores and of the alarms at a threshold that was fixed before; then what the
    alarms of all series come to. Series that are refused are told at the end, with exit code 1. Of
    a file `detector`, `alarm_k`, `alarm_n`, `alarm_m` and `alerts_per_sensor_day` are read.

    \b
    Example:
        workbench benchmark ../shared/data/nab
    """
    from workbench import evaluation
    from workbench.detectors import EpisodeRule

    presets = _presets(spec_files)
    specs = {name: dict(preset.detector) for name, preset in presets.items()}
    specs = specs or {"auto": {"name": "auto"}}
    rule = _common({name: preset.rule for name, preset in presets.items()}, "alarm_k, n, m")
    rule = rule or EpisodeRule()
    if alerts_per_sensor_day is None:
        budgets = {name: preset.alerts_per_sensor_day for name, preset in presets.items()}
        written = _common(budgets, _BUDGET)
        alerts_per_sensor_day = 1 / 7 if written is None else written
    learn = _shares(shares, evaluation.labelled_sets(folder))
    if report:
        terms = {"learn": learn, _BUDGET: alerts_per_sensor_day, "seed": seed}
        _page(_params(folder, specs, rule, terms), store=store, as_json=as_json)
        return
    result = evaluation.benchmark(
        specs, folder, learn=learn, alerts_per_sensor_day=alerts_per_sensor_day, rule=rule,
        seed=seed, progress=lambda name: click.echo(name, err=True),
    )  # fmt: skip
    board, figures = (
        make(result.rows, seed=seed) for make in (evaluation.leaderboard, evaluation.summary)
    )
    alarms = result.alarms()
    if as_json:
        refused = {name: str(error) for name, error in result.refused.items()}
        document: dict[str, Any] = {
            "leaderboard": _records(board), "figures": _records(figures)
        }  # fmt: skip
        document |= {"alarms": _records(alarms), "quiet": result.quiet, "refused": refused}
        click.echo(json.dumps(document))
    else:
        for table in (figures, alarms):
            click.echo(table.to_string(index=False, float_format="{:.3f}".format, na_rep="-"))
            click.echo()
    if result.quiet:
        click.echo(f"no labelled reading to judge: {', '.join(result.quiet)}", err=True)
    _tell_refused(result.refused)


def _presets(files: tuple[Path, ...]) -> dict[str, SpecFile]:
    """Return what files say, by their names in the tables."""
    presets = {file.stem: _read(file, *_RULE, _BUDGET) for file in files}
    if len(presets) < len(files):
        raise click.UsageError(f"two files have one name in the tables, of {', '.join(presets)}")
    return presets


def _shares(shares: tuple[str, ...], sets: Mapping[str, Path]) -> dict[str, float]:
    """Return the share of each set to learn from: of its own, or of all."""
    from workbench.evaluation import LEARN

    every, of_sets = LEARN, {}
    for text in shares:
        name, _, share = text.rpartition("=")
        if name:
            of_sets[name] = _share(share)
        else:
            every = _share(share)
    return {**dict.fromkeys(sets, every), **of_sets}


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if 0 < share < 1:
        return share
    raise click.BadParameter(
        f"{text!r} is no share, expected one between 0 and 1", param_hint="--learn"
    )


_Term = TypeVar("_Term")


def _common(terms: Mapping[str, _Term], what: str) -> _Term | None:
    """Return what all files say, None without any; a table is under one rule and budget."""
    if len(set(terms.values())) > 1:
        raise click.UsageError(f"the files differ in {what}: {dict(terms)}")
    return next(iter(terms.values()), None)


def _params(
    folder: Path, specs: Mapping[str, Any], rule: EpisodeRule, terms: Mapping[str, Any]
) -> dict[str, Any]:
    """Return all parameters of the page: none of its defaults is what the command judges by."""
    alarms = {name: getattr(rule, name[-1]) for name in _RULE}
    return {"sets": str(folder.absolute()), "candidates": specs, **alarms, **terms}


def _page(params: Mapping[str, Any], *, store: str, as_json: bool) -> None:
    """Run the notebook, and tell its figures and where its report is."""
    from workbench import desk, runs

    tell_wait("61_benchmark: some ten seconds a series, longer where they are long or wide")
    run = runs.train(desk.tour_notebook("61_benchmark"), params, store=store, force=True)
    figures = {**run.metrics, "report": str(run.path / "report.html")}
    click.echo(json.dumps(figures) if as_json else _lines(figures))
    if run.metrics["refused"]:
        raise SystemExit(1)


def _tell_refused(refused: Mapping[str, WorkbenchError]) -> None:
    for name, error in refused.items():
        click.echo(f"{name} is refused: {error}", err=True)
    if refused:
        raise SystemExit(1)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows for JSON, where NaN is null."""
    return [
        {str(name): None if value != value else value for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def _read(path: Path, *takes: str) -> SpecFile:
    """Return what a file says, and tell what of it is not read."""
    from workbench import evaluation

    content = evaluation.read_spec_file(path, takes=takes)
    if content.left_out:
        click.echo(f"{path}: not read here: {', '.join(content.left_out)}", err=True)
    return content


def _lines(figures: dict[str, Any]) -> str:
    shown = {name: "-" if figure is None else figure for name, figure in figures.items()}
    width = max(map(len, shown))
    return "\n".join(
        f"{name:<{width}}  {figure:.3f}"
        if isinstance(figure, float)
        else f"{name:<{width}}  {figure}"
        for name, figure in shown.items()
    )
