"""How soon a store of 10,000 runs and 1,000 promotions is listed and ranked.

    python benchmarks/runs.py [--quick] [--json]

A store of run folders with the records that real ones have, and a promotions log. Each measurement
is a whole command in a process of its own, start and imports included, its output to a pipe:
`workbench runs`, `workbench runs --sort f1` (the leaderboard), `workbench runs --where` (which
reads parameters, too), and `workbench promotions` of the stream. Beside them what one would do
otherwise: a loop that reads every JSON record of every run, by pathlib and json, and prints
nothing. The files are in the system's cache; of five turns of each, the least wall time and the
least processor time.

`--quick` has 1,000 runs and 100 promotions, whose seconds are not scaled.

`--json` prints one object: `runs_10k_s`, `leaderboard_10k_s`, `where_10k_s`, `promotions_1k_s`,
`every_record_s`, the same with `_cpu_s` for processor time, `runs_ratio` and `leaderboard_ratio`
(processor time of the loop over ours) and `runs` (that were there).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS, PROMOTIONS = 10_000, 1_000
TURNS = 5
COMMAND = "from workbench.cli import cli; cli()"
LOOP = """
import json, pathlib
for folder in sorted(pathlib.Path("runs").iterdir()):
    for record in folder.glob("*.json"):
        json.loads(record.read_text())
"""
STREAM = """topic: persistent://public/default/pumps
sensor: pump
channels: [flow_l_min, vibration_mm_s]
window: 30
lateness_s: 1
alerts: persistent://public/default/alerts
heartbeat: persistent://public/default/beats
"""
COMMANDS = {
    "runs_10k": ["-c", COMMAND, "runs"],
    "leaderboard_10k": ["-c", COMMAND, "runs", "--sort", "f1"],
    "where_10k": ["-c", COMMAND, "runs", "--where", "window=30"],
    "promotions_1k": ["-c", COMMAND, "promotions", "plant"],
    "every_record": ["-c", LOOP],
}


def records(number: int) -> dict[str, dict[str, object]]:
    """Return the JSON records of a run, by name."""
    digest = f"{number:08x}" * 8
    params = {
        "topic": "persistent://public/default/pumps",
        "start": "2026-01-05T00:00:00Z",
        "stop": "2026-01-12T00:00:00Z",
        "channels": ["flow_l_min", "vibration_mm_s"],
        "window": number % 60,
        "detector": {"name": "knn", "neighbours": number % 7, "seed": number},
    }
    about = {
        "status": "failed" if number % 50 == 0 else "complete",
        "reason": "ValueError: nothing is left" if number % 50 == 0 else None,
        "notebook": "notebooks/20_train.ipynb",
        "source": f"params/20_train-{number % 9}.yaml",
        "started": "2026-01-12T10:15:00Z",
        "wall_s": 11.5 + number % 13,
        "inputs": digest,
    }
    metrics = {
        "f1": (number * 7919 % RUNS) / RUNS,
        "recall": (number * 104729 % RUNS) / RUNS,
        "alerts": number % 97,
        "delay_min": number % 83 / 4,
        "by_kind": {"leak": number % 3, "wear": number % 5},
    }
    objects = [{"key": f"{digest}-ledger-{ledger}", "etag": digest} for ledger in range(12)]
    data = [{"topic": params["topic"], "objects": objects, "messages": 8594}]
    packages = {f"package-{index}": f"{index}.0" for index in range(40)}
    manifest = {"data": data, "notebook": digest, "code": digest, "packages": packages}
    documents = {"run": about, "params": params, "metrics": metrics, "manifest": manifest}
    return {f"{name}.json": document for name, document in documents.items()}


def make(project: Path, runs: int, promotions: int) -> None:
    """Write a project's store, its promotions and the stream that they are of."""
    for number in range(runs):
        folder = project / "runs" / f"20260112T101500Z-{number:08x}"
        folder.mkdir(parents=True)
        for name, document in records(number).items():
            (folder / name).write_text(json.dumps(document, indent=1))
    log = project / "store" / "streams" / "plant" / "promotions.jsonl"
    for path in (log, project / "streams" / "plant.yaml"):
        path.parent.mkdir(parents=True)
    (project / "streams" / "plant.yaml").write_text(STREAM)
    log.write_text("".join(promotion(number) + "\n" for number in range(promotions)))


def promotion(number: int) -> str:
    """Return a line of a promotions log."""
    line = {
        "stream": "plant",
        "role": "champion",
        "package": f"{number:064x}",
        "effective_ms": 1_767_600_000_000 + number * 3_600_000,
        "decided": "2026-01-12T10:15:00Z",
        "threshold": 0.5,
        "sensors": [],
        "certificate": f"streams/plant/parity-{number}.json",
        "gate": f"streams/plant/gate-{number}.json",
        "why": "",
        "undoes": None,
    }
    return json.dumps(line)


def measure(project: Path, arguments: list[str]) -> tuple[float, float, int]:
    """Return wall time and processor time of a process, in s, and the lines that it printed."""
    before, began = used(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=project, check=True, capture_output=True, env=variables()
    )
    return time.perf_counter() - began, used() - before, done.stdout.count(b"\n")


def variables() -> dict[str, str]:
    """Return the environment without what would lead to another store."""
    named = ("WORKBENCH_STORE", "WORKBENCH_PROJECT")
    return {name: value for name, value in os.environ.items() if name not in named}


def used() -> float:
    """Return the processor time of all processes waited for, in s."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure_all(runs: int, promotions: int) -> dict[str, float]:
    """Return every figure; the measurements take turns, so that all meet the same other work."""
    turns: dict[str, list[tuple[float, float, int]]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), runs, promotions)
        for _ in range(TURNS):
            for name, arguments in COMMANDS.items():
                turns[name].append(measure(Path(folder), arguments))
    for name, lines in {"runs_10k": runs + 1, "promotions_1k": promotions}.items():
        if turns[name][0][2] != lines:
            raise SystemExit(f"{name} printed {turns[name][0][2]} lines, not {lines}")
    figures: dict[str, float] = {}
    for name, measured in turns.items():
        figures[f"{name}_s"] = min(wall for wall, _, _ in measured)
        figures[f"{name}_cpu_s"] = min(cpu for _, cpu, _ in measured)
    for name in ("runs", "leaderboard"):
        figures[f"{name}_ratio"] = figures["every_record_cpu_s"] / figures[f"{name}_10k_cpu_s"]
    return {**figures, "runs": runs}


def show(figures: dict[str, float]) -> None:
    """Print the table."""
    print(f"| {figures['runs']:,} runs | wall, s | processor, s |\n|---|---|---|")
    for name in COMMANDS:
        print(f"| {name} | {figures[f'{name}_s']:.2f} | {figures[f'{name}_cpu_s']:.2f} |")
    print(json.dumps(figures))


def main() -> None:
    """Make a store, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1,000 runs, 100 promotions")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    scale = 10 if options.quick else 1
    figures = measure_all(RUNS // scale, PROMOTIONS // scale)
    if options.json:
        print(json.dumps(figures))
    else:
        show(figures)


if __name__ == "__main__":
    main()
