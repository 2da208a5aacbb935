"""What commands say and leave behind on a disk that is full or only read, and what they do then.

Run as a script in a mount namespace of its own: `commands.py full|ro FOLDER`. The disk is real,
of memory; each command has a project of its own on it. Prints JSON, by command.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from workbench import detectors, files, plant
from workbench.stream import promotion_log
from workbench.stream.promotion_log import Promotion

BUCKET = Path(__file__).parents[1] / "archive" / "cases" / "decimal50" / "bucket"
STREAM = {
    "topic": "plant", "sensor": "pump", "channels": list(plant.CHANNELS), "lateness_s": 60,
    "window": 10, "alerts": "plant-alerts", "detector": "none",
    "limits": {"high": f"{next(iter(plant.CHANNELS))} > 9"},
}  # fmt: skip
CELLS = [
    new_markdown_cell("# Does it run?"),
    new_code_cell("window: int = 60  # readings", metadata={"tags": ["parameters"]}),
    new_code_cell("from workbench import runs\nruns.record({'f1': window})"),
]
MAIN = "from workbench.cli import main; main()"
ADD = "from workbench.stream import promotion_log; promotion_log.add_package('package-3')"
RECORD = "from workbench import runs; runs.record({'f1': 2})"
COMMANDS = {
    "rollback": [MAIN, "rollback", "--stream", "plant", "--why", "too loud"],
    "answer": [MAIN, "alerts", "known", "pump-1", "2026-01-05", "2026-01-06", "--stream", "plant"],
    "export": [MAIN, "archive", "export", str(BUCKET), "persistent://public/arch/decimal50", "out"],
    "train": [MAIN, "train", "-f", "params/a.yaml", "notebooks/a.ipynb"],
    "sweep": [MAIN, "sweep", "params/a.yaml", "params/b.yaml"],
    "add package": [ADD],
    "record": [RECORD],
}


def prepare():
    """Make a project in this folder."""
    for name in ("notebooks", "params", "streams"):
        Path(name).mkdir()
    nbformat.write(new_notebook(cells=CELLS), "notebooks/a.ipynb")
    for name, window in (("a", 5), ("b", 6)):
        text = yaml.safe_dump({"notebook": "notebooks/a.ipynb", "window": window})
        Path("params", f"{name}.yaml").write_text(text)
    Path("streams/plant.yaml").write_text(yaml.safe_dump(STREAM))
    packages = [promotion_log.add_package(save(number)) for number in (1, 2)]
    ahead_ms = int(time.time() * 1000) + 2000
    for package, time_ms in zip(packages, (promotion_log.BEGINNING, ahead_ms), strict=True):
        promotion_log.append(Promotion("plant", "champion", package, time_ms, "2026-01-01T00:00Z"))
    save(3)


def save(threshold):
    """Write a package to a folder of this name; return the folder."""
    readings, _ = plant.simulate(pumps=1, days=1, seed=7)
    spec = {"name": "robust_z", "window": 10, "channels": list(plant.CHANNELS)}
    detector = detectors.fit(spec, readings, sensor="pump", seed=7)
    rule, folder = detectors.EpisodeRule(k=3, n=5, m=10), Path(f"package-{threshold}")
    detectors.save(detector, folder, threshold=threshold, rule=rule, training={})
    return folder


def disk(folder, *how):
    subprocess.run(["mount", *how, "tmpfs", folder], check=True)


def fill():
    with contextlib.suppress(OSError), Path("fill").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def content(project):
    """What stands in it; a file that is empty says nothing."""
    paths = [path for path in Path(project).rglob("*") if path.is_file() and path.stat().st_size]
    return {str(path): path.read_bytes() for path in paths}


def run(command):
    """Execute it in its project; return its exit code, what it said and what then stands there."""
    done = subprocess.run(
        [sys.executable, "-c", *COMMANDS[command]],
        cwd=command,
        env=os.environ | {"WORKBENCH_HOME": ".workbench"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr, content(command)


def main(how, folder):
    disk(folder, "-t", "tmpfs", "-o", "size=32m")
    os.chdir(folder)
    first, *others = COMMANDS
    Path(first).mkdir()
    with contextlib.chdir(first):
        prepare()
    for command in others:
        shutil.copytree(first, command)
    before = {command: content(command) for command in COMMANDS}
    if how == "full":
        fill()
    else:
        disk(folder, "-o", "remount,ro")
    tried = {command: run(command) for command in COMMANDS}
    if how == "full":
        Path("fill").unlink()
    else:
        disk(folder, "-o", "remount,rw")
    outcomes = {}
    for command, (code, said, after) in tried.items():
        outcomes[command] = {"code": code, "said": said, "same": after == before[command]}
        code, said, after = run(command)
        outcomes[command] |= {"again": code, "then": said, "done": after != before[command]}
        outcomes[command]["parts"] = [
            str(path) for path in Path(command).rglob(f"{files.PARTIAL}*")
        ]
    sys.stdout.write(json.dumps(outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
