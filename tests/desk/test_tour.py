"""Sample and tour, copied into a folder of one's own."""

import pytest
from click.testing import CliRunner

from workbench import desk
from workbench.cli import cli
from workbench.errors import DeskError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_sample_is_copied_once(folder):
    first, second = desk.copy_sample(), desk.copy_sample()

    assert {str(path.relative_to(folder).parent) for path in first} == {"data", "data/archive"}
    assert len(first) == 16
    assert second == []


def test_what_is_missing_of_the_tour_is_copied(folder):
    desk.copy_sample()
    (folder / "data" / "labels.csv").unlink()

    new = {str(path.relative_to(folder)) for path in desk.copy_tour()}

    assert {"data/labels.csv", "streams/plant.yaml", "notebooks/00_look.ipynb"} <= new
    assert not any(name.startswith("data/archive") for name in new)


def test_a_file_of_ones_own_is_not_replaced_and_nothing_is_copied(folder):
    (folder / "data").mkdir()
    (folder / "data" / "labels.csv").write_text("mine\n")

    with pytest.raises(DeskError) as error:
        desk.copy_tour()

    assert str(error.value) == (
        "1 files of the tour would replace yours, the first is here\n"
        f"  in {folder}/data/labels.csv\n"
        "  copy them into an empty folder"
    )
    assert [path.name for path in folder.rglob("*")] == ["data", "labels.csv"]
    assert (folder / "data" / "labels.csv").read_text() == "mine\n"


def test_new_takes_a_name_or_the_tour_alone(folder):
    both = CliRunner().invoke(cli, ["new", "mine", "--tour"])
    neither = CliRunner().invoke(cli, ["new"])

    for result in (both, neither):
        assert result.exit_code == 2
        assert "Error: say a NAME, or --tour alone" in result.output
    assert list(folder.iterdir()) == []
