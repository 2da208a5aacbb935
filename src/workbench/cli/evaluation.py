"""`workbench nab` and `workbench evaluate`: a specification against labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.errors import EvaluationError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd


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

    Writes result files for NAB's own scorer, and prints VUS-PR and NAB's score. Of several
    detectors (`beside:`, what each changes in `detector:`) the mean surprise makes the calls.

    \b
    Example:
        workbench nab ../shared/data/nab --detector params/60_leaderboard-nab.yaml --out results
    """
    from workbench import evaluation

    preset = _preset(spec_file)
    series = evaluation.read_nab(folder)
    found = evaluation.run_nab(preset["detector"], series, name=name, seed=seed)
    beside = [
        evaluation.run_nab({**preset["detector"], **change}, series, name=one, seed=seed)
        for one, change in preset.get("beside", {}).items()
    ]
    calls = evaluation.calls(found, *beside, **preset.get("calls", {}))
    for one, scores in calls.pairs():
        evaluation.write_nab(out, name, one, scores)
    rows = evaluation.judge_nab(found)
    figures: dict[str, Any] = {
        "vus_pr": sum(float(str(row["vus_pr"])) for row in rows) / len(rows),
        "labelled_series": len(rows),
        **{f"nab_{profile}": evaluation.nab_score(calls.pairs(), profile=profile).score
           for profile in evaluation.PROFILES},
        "seconds": round(sum(one.seconds for one in (found, *beside)), 1),
        "refused": dict(found.refused),
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
@click.option("--learn", default=0.5, show_default=True, help="Share of each file to learn from.")
@click.option(
    "--alerts-per-sensor-day",
    default=1 / 7,
    show_default="one a week",
    help="The budget that buys the threshold.",
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
    learn: float,
    alerts_per_sensor_day: float,
    false_per_sensor_day: float | None,
    seed: int,
    as_json: bool,
) -> None:
    """Judge a detector on your own labelled series, causally, its threshold fixed beforehand.

    Prints every figure with its 95 % interval over series, beside two floors that know nothing.

    \b
    Example:
        workbench evaluate --series 'pumps/*.csv' --labels labels.csv --spec knn.yaml
    """
    from workbench import evaluation

    spec = _preset(spec_file)["detector"]
    labels = evaluation.read_labels(labels_file.absolute())
    found = [
        evaluation.evaluate(
            spec, readings, labels, sensor="sensor", time=time, learn=learn,
            alerts_per_sensor_day=alerts_per_sensor_day,
            false_per_sensor_day=false_per_sensor_day, seed=seed,
        )
        for readings in evaluation.read_series(pattern, time=time, sensor=sensor)
    ]  # fmt: skip
    rows = evaluation.all_rows(found)
    board, figures = (
        make(rows, seed=seed) for make in (evaluation.leaderboard, evaluation.summary)
    )
    report = evaluation.joined([one.report for one in found])
    if as_json:
        told = {"leaderboard": _records(board), "figures": _records(figures)}
        click.echo(json.dumps({**told, "alerts": report.metrics()}))
        return
    click.echo(figures.to_string(index=False, float_format="{:.3f}".format, na_rep="-"))
    click.echo(_lines(report.metrics()))


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows for JSON, where NaN is null."""
    return [
        {str(name): None if one != one else one for name, one in row.items()}
        for row in table.to_dict("records")
    ]


def _preset(path: Path) -> dict[str, Any]:
    import yaml

    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not isinstance(found.get("detector"), dict):
        raise EvaluationError("the file has no mapping `detector`", where=path)
    for key in found.get("calls", {}):
        if key not in ("memory", "quiet"):
            hint = did_you_mean(key, ["memory", "quiet"])
            raise EvaluationError(f"calls have no parameter {key!r}", where=path, hint=hint)
    return found


def _lines(figures: dict[str, Any]) -> str:
    shown = {name: "-" if one is None else one for name, one in figures.items()}
    width = max(map(len, shown))
    return "\n".join(
        f"{name:<{width}}  {one:.3f}" if isinstance(one, float) else f"{name:<{width}}  {one}"
        for name, one in shown.items()
    )
