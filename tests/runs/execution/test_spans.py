"""A span of history is read once for all runs, and each run says what it read."""

import shutil
import time
from pathlib import Path

import pandas as pd
import pytest

import workbench
from workbench import runs
from workbench.runs.execution import spans

SAMPLE = Path(__file__).parents[3] / "data" / "archive"
SPAN = ("pumps", "2026-01-05T00:00:00Z", "2026-01-05T06:00:00Z")


@pytest.fixture
def archive(project, monkeypatch):
    """The sample's archive inside the project, the default one of `replay`."""
    monkeypatch.delenv("WORKBENCH_ARCHIVE", raising=False)
    monkeypatch.setenv("WORKBENCH_HOME", str(project.path / "home"))
    folder = project.path / "data" / "archive"
    folder.parent.mkdir()
    shutil.copytree(SAMPLE, folder)
    return folder


def test_a_shared_span_is_the_same_frame_as_replay_gives(archive, monkeypatch):
    read_once = workbench.replay(*SPAN)

    first, second = spans.replay(*SPAN), spans.replay(*SPAN)

    for frame in (first, second):
        pd.testing.assert_frame_equal(frame, read_once)
        assert frame.attrs == read_once.attrs
    assert len(list((archive.parents[1] / "home/cache/spans").glob("*.arrow"))) == 1
    assert len(first) > 2000


def test_other_columns_or_times_or_objects_or_schemas_are_another_span(archive):
    def kept():
        return len(list((archive.parents[1] / "home/cache/spans").glob("*.arrow")))

    spans.replay(*SPAN)
    spans.replay(*SPAN)
    assert kept() == 1

    assert next(iter(spans.replay(*SPAN, columns=["flow_l_min"]))) == "flow_l_min"
    assert kept() == 2

    spans.replay(*SPAN[:2], "2026-01-05T07:00:00Z")
    assert kept() == 3

    (archive / "schemas.json").unlink()
    spans.replay(*SPAN)
    assert kept() == 4


def test_the_cache_keeps_to_its_limit(archive, monkeypatch):
    monkeypatch.setenv("WORKBENCH_SPANS_MIB", "0.3")
    folder = archive.parents[1] / "home/cache/spans"

    for hour in range(1, 5):
        spans.replay("pumps", SPAN[1], f"2026-01-05T0{hour}:00:00Z")
        time.sleep(0.01)

    kept = list(folder.glob("*.arrow"))
    assert sum(path.stat().st_size for path in kept) <= 0.3 * 2**20
    assert 1 <= len(kept) < 4
    assert {path.stem for path in folder.glob("*.json")} == {path.stem for path in kept}


@pytest.mark.notebook
def test_a_run_keeps_what_it_replayed_and_is_made_anew_when_the_objects_changed(project, archive):
    parameters = f'topic: str = "pumps"\nstart: str = "{SPAN[1]}"\nstop: str = "{SPAN[2]}"'
    notebook = project.notebook(
        "import workbench\nfrom workbench.runs import record",
        "frame = workbench.replay(topic, start, stop)\nrecord({'rows': len(frame)})",
        parameters=parameters,
    )
    file = project.params("{}")

    run = runs.train(notebook, file)
    again = runs.train(notebook, file)

    (data,) = run.manifest["data"]
    assert run.metrics == {"rows": len(workbench.replay(*SPAN))}
    assert (data["topic"], data["archive"]) == ("persistent://public/default/pumps", "data/archive")
    assert all({"key", "etag", "bytes"} <= set(item) for item in data["objects"])
    assert again.id == run.id
    report = (run.path / "report.html").read_text()
    for told in (data["first_message_id"], data["last_message_id"], data["objects"][0]["etag"]):
        assert told in report

    touched = archive / data["objects"][0]["key"]
    touched.write_bytes(touched.read_bytes()[:-1] + b"\0")
    with pytest.raises(workbench.errors.RunError):
        runs.train(notebook, file)
    assert [item.status for item in runs.runs()] == ["complete", "failed"]
    assert str(project.path) not in (run.path / "manifest.json").read_text()
