"""What holds for the project as a whole."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from packaging.requirements import Requirement

import workbench
from workbench.cli import COMMANDS, cli

from .scheduling import SECONDS

ROOT = Path(__file__).parent.parent
LOCK = dict(
    re.findall(r"^([a-z0-9._-]+)==([^ \\\n]+)", (ROOT / "requirements.lock").read_text(), re.M)
)


def test_files_that_are_put_in_order_are_there():
    assert [name for name in SECONDS if not (ROOT / name).is_file()] == []


def dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = ("stream", "notebooks", "serve", "lakes", "kafka", "dev")
    extras = [project["optional-dependencies"][name] for name in names]
    asked = map(Requirement, sum(extras, project["dependencies"]))
    return [
        requirement
        for requirement in asked
        if requirement.marker is None or requirement.marker.evaluate({"python_version": "3.11"})
    ]


@pytest.mark.parametrize("requirement", dependencies(), ids=str)
def test_the_lock_holds_what_pyproject_asks_for(requirement):
    if requirement.name == "workbench":
        pytest.skip("one of its own extras")
    assert requirement.name in LOCK, "run `make lock`"
    assert requirement.specifier.contains(LOCK[requirement.name])


READS_ARROW = re.compile(
    r"ipc\.open_(file|stream)\(|ParquetFile\(|read_parquet\(|read_feather\(|pq\.read"
)


def test_no_module_reads_arrow_or_parquet_without_forbidding_code_in_it():
    readers = {
        path.name: "import pyarrow_hotfix" in text
        for path in (ROOT / "src").rglob("*.py")
        if READS_ARROW.search(text := path.read_text())
    }

    assert len(readers) >= 4
    assert [name for name, is_safe in readers.items() if not is_safe] == []


def test_the_version_is_that_of_the_newest_release_in_the_changelog():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    releases = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert releases[0].removesuffix(" (unreleased)") == project["version"] == workbench.__version__
    numbers = [tuple(map(int, release.split()[0].split("."))) for release in releases]
    assert numbers == sorted(set(numbers), reverse=True)
    assert not any("unreleased" in release for release in releases[1:])


def test_conda_installs_the_lock_on_the_same_python():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())

    *packages, pip = environment["dependencies"]
    assert packages == ["python=3.11", "openjdk=17", "pip"]
    assert "-r requirements.lock" in pip["pip"]


def test_help_starts_without_the_heavy_libraries():
    code = (
        "import sys, workbench.cli; "
        "print({'numpy', 'pandas', 'pyarrow', 'pyflink', 'matplotlib', 'numba'} & set(sys.modules))"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "set()"


def test_help_lists_every_command():
    result = CliRunner().invoke(cli, ["--help"])

    assert result.exit_code == 0
    assert [name for name in COMMANDS if name not in result.output] == []


def test_a_misspelt_command_is_answered_with_the_nearest():
    result = CliRunner().invoke(cli, ["arhive"])

    assert result.exit_code == 2
    assert "no command 'arhive': did you mean 'archive'?" in result.output


def test_a_full_disk_is_told_in_two_lines():
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-c", "from workbench.cli import main; main()", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "Error: No space left on device",
        "  workbench doctor tells how much is free where it writes",
    ]


def test_setup_says_at_once_which_python_it_needs(tmp_path):
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)

    result = subprocess.run(
        ["make", "setup", "PYTHON=false"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert result.returncode == 2
    assert "make setup: false is not Python 3.11, which Flink's Python needs" in result.stdout
    assert not (tmp_path / ".venv").exists()
