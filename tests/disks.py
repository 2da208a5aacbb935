"""What a command says and leaves behind on a disk that is full or only read, and what it does then.

Run as a script in a mount namespace of its own: `disks.py full|ro COMMAND FOLDER`. The disk is a
real one, of a few MiB of memory. Prints JSON.
"""

import contextlib
import json
import os
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

BUCKET = Path(__file__).parent / "archive" / "cases" / "decimal50" / "bucket"
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


def disk(how, folder):
    subprocess.run(["mount", *how, "tmpfs", folder], check=True)


def fill():
    with contextlib.suppress(OSError), Path("fill").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def content():
    """What stands on the disk; locks and what is empty say nothing."""
    paths = [path for path in Path().rglob("*") if path.is_file() and path.name != "fill"]
    return {str(path): path.read_bytes().hex() for path in paths if path.stat().st_size}


def run(command):
    done = subprocess.run(
        [sys.executable, "-c", *COMMANDS[command]], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def main(how, command, folder):
    disk(["-t", "tmpfs", "-o", "size=8m"], folder)
    os.chdir(folder)
    os.environ["WORKBENCH_HOME"] = ".workbench"
    prepare()
    before = content()
    if how == "full":
        fill()
    else:
        disk(["-o", "remount,ro"], folder)
    code, said = run(command)
    after = content()
    if how == "full":
        Path("fill").unlink()
    else:
        disk(["-o", "remount,rw"], folder)
    again, complaint = run(command)
    told = {"code": code, "said": said, "same": after == before, "again": again}
    told["parts"] = [str(path) for path in Path().rglob(f"{files.PARTIAL}*")]
    told |= {"complaint": complaint, "changed": content() != before}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
