"""The commands around promotion, on real runs of the sample, as a person would use them."""

import json
import re
import sys

import pytest

from workbench import runs
from workbench.cli import main
from workbench.stream import promotions

NOTEBOOK = "notebooks/20_train.ipynb"
CHANNELS = ["flow_l_min", "vibration_mm_s"]
DAYS = {
    "train_start": "2026-01-09T00:00:00Z",
    "train_stop": "2026-01-10T00:00:00Z",
    "threshold_stop": "2026-01-12T00:00:00Z",
    "stop": "2026-01-14T00:00:00Z",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A store of runs and one of promotions, both away from the user's."""
    folder = tmp_path_factory.mktemp("promoting")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_STORE", str(folder / "store"))
        yield folder


@pytest.fixture(scope="module")
def trained(home):
    """Two candidates: one that finds little, and one that finds more."""
    specs = {
        "rate": {"name": "rate", "window": 2, "channels": CHANNELS},
        "knn": {"name": "knn", "window": 5, "channels": CHANNELS, "max_span_s": 900},
    }
    return {
        name: runs.train(NOTEBOOK, {"detector": spec, **DAYS}, store=home / "runs").id
        for name, spec in specs.items()
    }


@pytest.fixture
def ask(home, monkeypatch, capsys):
    """Run a command as the shell does; give its exit code, stdout and stderr."""

    def asked(*words):
        monkeypatch.setattr(sys, "argv", ["workbench", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return asked


@pytest.mark.notebook
@pytest.mark.flink
@pytest.mark.timeout(600)
def test_promote_refuse_promote_all_the_same_roll_back_and_refit(home, trained, ask):
    store = ("--store", str(home / "runs"))

    code, out, err = ask("promotions", "plant")
    assert (code, out, err) == (0, "", "nothing is promoted yet\n")

    code, out, err = ask("promote", trained["knn"], "--stream", "plant", *store)
    assert (code, err) == (0, "")
    assert out.startswith("gate plant, champion\n  verdict    passed\n")
    assert out.count("\n  pass  ") == 9
    (first,) = promotions("plant")
    assert out.endswith(
        f"champion   {first.package[:16]}  from the first reading       "
        f"  decided {first.decided[:10]}  all sensors\n"
    )

    worse = ("promote", trained["rate"], "--stream", "plant", *store)
    code, out, err = ask(*worse)
    assert code == 3
    assert "  refuse  not worse than the champion  f1 " in out
    assert err.splitlines()[0].startswith("Error: package ")
    assert err.splitlines()[0].endswith(" is refused for stream plant:")
    assert promotions("plant") == [first]

    code, out, err = ask(*worse, "--even-if-worse", "--why", "a trial", "--readings", "5000")
    assert (code, err) == (0, "")
    assert out.endswith("  all sensors  a trial\n")  # in the table a cell goes on below

    code, out, err = ask("rollback", "--stream", "plant", "--why", "it was worse", "--json")
    again = json.loads(out)
    assert (code, err) == (0, "")
    assert (again["package"], again["undoes"], again["why"]) == (first.package, 2, "it was worse")

    before = promotions("plant")
    three_days = ("refit", "plant", "--trailing-days", "3", "--readings", "5000", "--json")
    code, out, err = ask(*three_days)
    assert code == 3
    refused = json.loads(out)
    assert refused["champion"] == first.package
    assert not refused["passed"]
    assert re.search(
        r"not worse than the champion: f1 0\.8\d* \(9 of 9 events, \d+ false alerts\)", err
    )
    assert promotions("plant") == before

    six_days = ("refit", "plant", "--trailing-days", "6", "--readings", "5000")
    code, out, err = ask(*six_days)
    assert (code, err) == (0, "")
    assert re.search(
        r"  pass  not worse than the champion  f1 0\.\d+ \(9 of 9 events, \d false alerts\)", out
    )
    assert "fitted on 2026-01-09T11:59Z to 2026-01-15T11:59Z" in out
    refitted = promotions("plant")
    assert len(refitted) == len(before) + 1

    code, out, err = ask(*six_days)
    assert (code, err) == (0, "nothing new: this is what scores the stream already\n")
    assert promotions("plant") == refitted

    code, out, err = ask("promotions", "plant", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [one["package"] for one in lines] == [one.package for one in refitted]
    assert lines[1]["why"] == "a trial"


@pytest.mark.notebook
def test_what_cannot_be_promoted_is_answered_in_one_line(home, trained, ask):
    store = home / "runs"
    near = trained["knn"][:-1] + "x"

    code, out, err = ask("promote", near, "--stream", "plant", "--store", str(store))
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: no run is called '{near}'\n  in {store}\n  did you mean '")
    assert trained["knn"] in err

    code, out, err = ask("promote", trained["knn"], "--stream", "plnt", "--store", str(store))
    assert (code, out) == (1, "")
    assert err.startswith("Error: there is no stream 'plnt'\n")
    assert err.endswith("  did you mean 'plant'?\n")

    code, out, err = ask("promote", "anyone", "--stream", "plant", "--store", str(home / "none"))
    assert (code, out) == (1, "")
    assert err.endswith(
        "  there is no run yet: `workbench train` and `workbench sweep` make them\n"
    )

    code, out, err = ask("promote", trained["knn"], "--stream", "plant", "--even-if-worse")
    assert code == 2
    assert err.endswith("Error: --even-if-worse and --why TEXT go together\n")


def test_nothing_can_be_refitted_or_rolled_back_before_a_promotion(ask, monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path))

    assert ask("refit", "plant") == (
        1,
        "",
        f"Error: stream plant has no champion to fit again\n  in {tmp_path}\n"
        "  workbench promote RUN --stream plant\n",
    )
    assert ask("rollback", "--stream", "plant") == (
        1,
        "",
        "Error: stream plant has no champion to take back\n"
        f"  in {tmp_path / 'streams' / 'plant' / 'promotions.jsonl'}\n",
    )
    assert ask("promotions", "plnt")[0] == 1
