"""A package goes from one Python to another: fitted here, scored where Flink runs, and back.

`make core` runs this on Python 3.13 and names the Python with Flink; anywhere else there is none.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from workbench import detectors, services
from workbench.errors import ServicesError, StreamError
from workbench.stream.running.job import environment

ROOT = Path(__file__).parents[2]
FLINK = os.environ.get("WORKBENCH_FLINK_PYTHON", "")
pytestmark = pytest.mark.skipif(not FLINK, reason="WORKBENCH_FLINK_PYTHON names no Python")

FIT = """
import sys
from pathlib import Path
import numpy as np
from workbench import detectors, replay

folder = Path(sys.argv[1])
frame = replay("pumps", "2026-01-05", "2026-01-06", archive="data/archive")
for name in sys.argv[2:]:
    package = folder / name
    if package.exists():
        detector = detectors.load(package).detector
        scores = detectors.score_readings(detector, frame, sensor="pump")
    else:
        spec = {"name": name, "window": 8, "max_span_s": 900,
                "channels": ["flow_l_min", "motor_current_a", "vibration_mm_s"]}
        detector = detectors.fit(spec, frame, sensor="pump")
        scores = detectors.score_readings(detector, frame, sensor="pump")
        detectors.save(detector, package, threshold=float(np.nanquantile(scores, 0.99)),
                       rule=detectors.EpisodeRule(), training=frame.attrs["manifest"])
    np.save(folder / f"{name}.npy", scores)
"""


def run(python, folder, *names):
    """Fit packages of these names, or load those that are there; return the scores of each."""
    command = [python, "-W", "ignore", "-c", FIT, str(folder), *names]
    subprocess.run(command, check=True, cwd=ROOT)
    return {name: np.load(folder / f"{name}.npy") for name in names}


def test_a_package_scores_alike_on_both_pythons(tmp_path):
    here = run(sys.executable, tmp_path, "pca", "iforest")
    there = run(FLINK, tmp_path, "pca", "iforest", "hbos", "knn")
    again = run(sys.executable, tmp_path, "hbos", "knn")

    for name, scores in (here | again).items():
        assert np.isfinite(scores).sum() > 2_500
        np.testing.assert_allclose(scores, there[name], rtol=1e-9, atol=0, err_msg=name)


def test_a_detector_fitted_here_is_promoted_by_the_python_that_has_flink(tmp_path):
    """By the command that a person types here, which is handed over; the job is a real one."""
    run(sys.executable, tmp_path, "pca")
    plant, store = tmp_path / "plant.yaml", tmp_path / "store"
    # a detector of an hour's fitting is none that the plant's own gate would let pass
    lines = (ROOT / "streams" / "plant.yaml").read_text().partition("gate:")[0]
    plant.write_text(f"{lines}gate:\n  days: 2\n  alarm_share: 1\n")
    variables = {
        **os.environ, "WORKBENCH_STORE": str(store), "WORKBENCH_ARCHIVE": str(ROOT / "data/archive")
    }  # fmt: skip

    done = subprocess.run(
        [Path(sys.executable).parent / "workbench", "promote", tmp_path / "pca",
         "--stream", plant, "--readings", "2000", "--json"],
        capture_output=True, text=True, cwd=ROOT, env=variables,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    (line,) = (store / "streams" / "plant" / "promotions.jsonl").read_text().splitlines()
    promotion = json.loads(line)
    assert promotion["package"] == detectors.load(tmp_path / "pca").id
    assert promotion["role"] == "champion"
    certificate = json.loads((store / promotion["certificate"]).read_text())
    assert certificate["passed"]
    assert (certificate["readings"], certificate["differing_alerts"]) == (2_000, [])
    assert certificate["versions"]["caller numpy"] == np.__version__
    assert certificate["versions"]["numpy"] != np.__version__


def test_what_starts_flink_in_this_process_says_who_can():
    if services.has_flink():
        pytest.skip("this Python has Flink")

    with pytest.raises(StreamError, match=r"has no Flink: apache-flink 1\.20 needs 3\.11") as error:
        environment()

    assert "workbench promote" in error.value.hint


@pytest.mark.skipif(bool(find_spec("jgo")), reason="the extra [services] is installed")
def test_what_starts_servers_says_what_is_missing():
    with pytest.raises(ServicesError) as error:
        services.kafka_connector_jars()

    assert str(error.value) == (
        "jgo is not installed, which finds servers and jars by their Maven coordinates\n"
        "  pip install workbench[services]"
    )
