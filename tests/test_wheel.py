"""The package as others install it: a wheel, away from the clone, in an empty folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command, cwd, timeout_s=300, **variables):
    kept = {name: text for name, text in os.environ.items() if not name.startswith("WORKBENCH_")}
    kept.pop("PYTHONPATH", None)
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**kept, **variables},
        capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return the folder of the commands of an environment with the wheel, and all that it asks for.

    uv links what it has cached; the environment is removed afterwards, it is large.
    """
    folder = tmp_path_factory.mktemp("wheel")
    environment = folder / "environment"
    uv = [sys.executable, "-m", "uv"]
    run(*uv, "build", "--wheel", "--out-dir", folder, ROOT, cwd=folder)
    run(*uv, "venv", "--python", sys.executable, environment, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    wanted = ["-c", ROOT / "requirements.lock", f"{wheel}[stream,notebooks]"]
    python = environment / "bin" / "python"
    run(*uv, "pip", "install", "--python", python, *wanted, cwd=folder, timeout_s=550)
    yield python.parent
    shutil.rmtree(environment)


@pytest.fixture
def workbench(installed, tmp_path):
    """Give a function that runs `workbench` in an empty folder, and the folder."""

    def command(*words, timeout_s=300):
        return run(installed / "workbench", *words, cwd=tmp_path, timeout_s=timeout_s)

    return command, tmp_path


@pytest.mark.slow
def test_a_wheel_brings_the_sample(workbench, installed):
    command, folder = workbench

    copied = command("sample").split()

    where = run(
        installed / "python", "-c", "import workbench; print(workbench.__file__)", cwd=folder
    )
    assert Path(where).is_relative_to(installed.parent)
    assert sorted(copied) == sorted(
        str(path.relative_to(ROOT))
        for path in [*(ROOT / "data" / "archive").iterdir(), ROOT / "data" / "labels.csv"]
    )
    for name in copied:
        assert (folder / name).read_bytes() == (ROOT / name).read_bytes()
    assert "120045" in command("sql", "data/archive", "select count(*) n from pumps")
    assert command("sample") == ""


@pytest.mark.slow
@pytest.mark.notebook
def test_a_wheel_brings_the_tour_whose_notebooks_run(workbench):
    command, folder = workbench

    copied = command("new", "--tour").split()

    for pattern in ("notebooks/*.ipynb", "params/*.yaml", "streams/plant.yaml", "data/labels.csv"):
        for path in ROOT.glob(pattern):
            assert str(path.relative_to(ROOT)) in copied
            assert (folder / path.relative_to(ROOT)).read_bytes() == path.read_bytes()
    command("train", "notebooks/20_train.ipynb", "-f", "params/20_train-robust_z.yaml")
    assert "complete" in command("runs")


@pytest.mark.slow
@pytest.mark.notebook
@pytest.mark.flink
@pytest.mark.timeout(1800)
@pytest.mark.skipif("WORKBENCH_WHEEL_DEMO" not in os.environ, reason="four minutes: `make wheel`")
def test_the_demo_of_a_wheel_runs_in_an_empty_folder(workbench):
    command, folder = workbench

    printed = command("demo", timeout_s=1700)

    assert "alerts differing, notebook and stream  0" in printed
    assert (folder / "runs" / "demo.html").stat().st_size > 100_000
    assert (folder / "notebooks" / "50_monitor.ipynb").is_file()
