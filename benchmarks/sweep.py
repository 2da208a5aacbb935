"""What a sweep costs over plain papermill, and what a sweep costs that has nothing to do.

    python benchmarks/sweep.py [--quick] [--json]

Measures, in a folder of its own:

overhead
    Seconds of a run in a sweep less seconds of the same notebook by `papermill.execute_notebook`
    (both one at a time, imports of the parent left out), per run: checks, hashes, report, fsync.
overhead_ratio
    The first over the second.
sweep_500_s, lost_of_500, twice_of_500
    A sweep of 500 small runs with 8 jobs (`--quick`: 40): its time, the runs not complete at its
    end, the runs made more than once.
cached_500_s
    The same sweep again, by the command line, start of Python included.
refuse_ms
    The slowest of all hostile packages of `tests/detectors/test_hostile_packages.py` to be refused,
    the best of three tries each; `refuse_median_ms`, and `hostile`, how many there are.
refuse_params_ms
    A params file with a misspelt name, refused by the library.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import papermill
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from workbench import detectors, runs
from workbench.errors import PackageError, ParamsError

SPEC = "notebook: notebooks/20_small.ipynb\ngrid: {{number: [{numbers}]}}\n"


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="40 runs in place of 500")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        os.chdir(folder)
        figures = measure(40 if options.quick else 500)
    print(json.dumps(figures) if options.json else table(figures))


def measure(count: int) -> dict[str, float]:
    """Return every figure, of sweeps of `count` runs."""
    write_project(count)
    plain_s, swept_s = one_at_a_time(8)
    begun = time.perf_counter()
    sweep = runs.sweep(["params/20_small.yaml"], jobs=8)
    sweep_s = time.perf_counter() - begun
    numbers = Counter(run.params["number"] for run in runs.runs() if run.status == "complete")
    return {
        "runs": count,
        "plain_s": round(plain_s, 3),
        "overhead": round(swept_s - plain_s, 3),
        "overhead_ratio": round(swept_s / plain_s, 2),
        f"sweep_{count}_s": round(sweep_s, 1),
        f"lost_of_{count}": count - sum(run.status == "complete" for run in sweep),
        f"twice_of_{count}": sum(times > 1 for times in numbers.values()),
        f"cached_{count}_s": round(cached(), 2),
        **hostile(),
        "refuse_params_ms": round(refuse(), 1),
    }


def write_project(count: int) -> None:
    """Write a small notebook and its params files into this folder."""
    for name in ("notebooks", "params"):
        Path(name).mkdir()
    cells = [
        new_markdown_cell("# What is the square of a number?"),
        new_code_cell("number: int = 3  # what to square", metadata={"tags": ["parameters"]}),
        new_code_cell("from workbench.runs import record"),
        new_code_cell("record({'square': number**2})"),
    ]
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), "notebooks/20_small.ipynb")
    numbers = ", ".join(map(str, range(count)))
    Path("params/20_small.yaml").write_text(SPEC.format(numbers=numbers))
    Path("params/20_small-bad.yaml").write_text("numbr: 3\n")


def one_at_a_time(count: int) -> tuple[float, float]:
    """Return seconds per run of plain papermill and of ours, taken in turns."""
    plain = swept = 0.0
    for number in range(1000, 1000 + count):
        begun = time.perf_counter()
        parameters = {"number": number}
        papermill.execute_notebook(
            "notebooks/20_small.ipynb", "plain.ipynb", parameters, progress_bar=False
        )
        between = time.perf_counter()
        runs.train("notebooks/20_small.ipynb", parameters, store="single")
        plain += between - begun
        swept += time.perf_counter() - between
    return plain / count, swept / count


def cached() -> float:
    """Return seconds of the whole command for a sweep that is in the store already."""
    command = [Path(sys.executable).with_name("workbench"), "sweep", "params/20_small.yaml"]
    begun = time.perf_counter()
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    taken = time.perf_counter() - begun
    assert "0 failed" in printed, printed  # noqa: S101
    return taken


def refuse() -> float:
    """Return milliseconds until a misspelt name is refused."""
    begun = time.perf_counter()
    try:
        runs.train("notebooks/20_small.ipynb", "params/20_small-bad.yaml")
    except ParamsError:
        return (time.perf_counter() - begun) * 1000
    raise AssertionError("it was not refused")


def hostile() -> dict[str, float]:
    """Return milliseconds until a package built to do harm is refused."""
    path = Path(__file__).resolve().parent.parent / "tests/detectors/test_hostile_packages.py"
    corpus = runpy.run_path(str(path))
    rng = np.random.default_rng(1)
    start = pd.Timestamp("2026-01-05T00:00:00Z")
    readings = pd.DataFrame(
        {
            "pump": "pump-1",
            "event_time": [start + pd.Timedelta(minutes=minute) for minute in range(500)],
            "flow": rng.normal(size=500),
        }
    )
    fitted = detectors.fit(corpus["SPEC"], readings, sensor="pump")
    taken = []
    for spoil in corpus["HOSTILE"]:
        folder = Path("hostile") / spoil.__name__ / "detector"
        rule = detectors.EpisodeRule()
        detectors.save(fitted, folder, threshold=0.5, rule=rule, training={})
        detectors.load(folder)
        spoil(folder)
        taken.append(min(_refused_ms(folder) for _ in range(3)))
    return {
        "hostile": len(taken),
        "refuse_ms": round(max(taken), 2),
        "refuse_median_ms": round(float(np.median(taken)), 2),
    }


def _refused_ms(folder: Path) -> float:
    begun = time.perf_counter()
    try:
        detectors.load(folder)
    except PackageError:
        return (time.perf_counter() - begun) * 1000
    raise AssertionError(f"{folder} was not refused")


def table(figures: dict[str, float]) -> str:
    """Return the figures one a line."""
    return "\n".join(f"{name:>16} {value:>10}" for name, value in figures.items())


if __name__ == "__main__":
    main()
