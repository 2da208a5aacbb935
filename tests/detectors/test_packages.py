import shutil
import subprocess
import sys

import numpy as np
import pytest

from workbench import detectors
from workbench.detectors import EpisodeRule
from workbench.errors import PackageError

SPEC = {"name": "robust_z", "window": 4, "channels": ["flow", "pressure"], "max_span_s": 600}


@pytest.fixture(scope="module")
def detector(readings):
    return detectors.fit(SPEC, readings, sensor="pump")


@pytest.fixture
def folder(detector, tmp_path):
    detectors.save(
        detector,
        tmp_path / "detector",
        threshold=3,
        rule=EpisodeRule(2, 3, 4),
        training={"rows": 9},
    )
    return tmp_path / "detector"


def test_a_package_gives_back_what_was_saved(detector, readings, tmp_path):
    package_id = detectors.save(
        detector, tmp_path / "d", spec=SPEC, threshold=3, rule=EpisodeRule(2, 3, 4), training={}
    )

    package = detectors.load(tmp_path / "d", package_id=package_id)

    assert (package.id, package.threshold, package.rule) == (package_id, 3.0, EpisodeRule(2, 3, 4))
    assert (package.max_span_s, package.spec) == (600.0, detector.spec)
    np.testing.assert_array_equal(
        detectors.score_readings(package.detector, readings, sensor="pump"),
        detectors.score_readings(detector, readings, sensor="pump"),
    )


def test_the_same_detector_has_the_same_id_wherever_it_is_saved(detector, tmp_path):
    ids = {
        detectors.save(detector, tmp_path / name, threshold=3, rule=EpisodeRule(), training={})
        for name in ("a", "b", "b")
    }

    assert len(ids) == 1


def test_another_threshold_is_another_package(detector, tmp_path):
    ids = {
        detectors.save(detector, tmp_path / "d", threshold=t, rule=EpisodeRule(), training={})
        for t in (3, 4)
    }

    assert len(ids) == 2
    assert [one.name for one in tmp_path.iterdir()] == ["d"]


def test_saving_never_replaces_a_folder_that_is_no_package(detector, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(PackageError) as caught:
        detectors.save(detector, tmp_path, threshold=3, rule=EpisodeRule(), training={})

    assert str(caught.value) == (f"the folder holds other files than a package's\n  in {tmp_path}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": float("nan")}, "the threshold is nan, expected a number"),
        (
            {"training": {"rows": float("inf")}},
            "the package is not plain JSON: Out of range float values are not JSON compliant: inf",
        ),
        (
            {"spec": SPEC | {"window": 5}},
            "the specification given is not the one that the detector was fitted by",
        ),
    ],
)
def test_what_cannot_be_written_is_refused(detector, tmp_path, change, message):
    asked = {"threshold": 3, "rule": EpisodeRule(), "training": {}} | change

    with pytest.raises(PackageError) as caught:
        detectors.save(detector, tmp_path / "d", **asked)

    assert str(caught.value) == message
    assert not list(tmp_path.iterdir())


def test_a_file_swapped_after_hashing_is_refused(folder):
    content = bytearray((folder / "arrays.npz").read_bytes())
    content[-40] ^= 1
    (folder / "arrays.npz").write_bytes(content)

    with pytest.raises(PackageError) as caught:
        detectors.load(folder)

    assert str(caught.value) == (
        f"arrays.npz is not the file that detector.json was written with\n  in {folder}"
    )


def test_a_package_of_another_id_is_refused(folder):
    with pytest.raises(PackageError) as caught:
        detectors.load(folder, package_id="0123456789abcdef")

    found = detectors.load(folder).id[:16]
    assert str(caught.value) == f"the package is {found}, expected 0123456789abcdef\n  in {folder}"


def test_a_file_too_many_is_refused(folder):
    shutil.copy(folder / "detector.json", folder / "copy.json")

    with pytest.raises(PackageError) as caught:
        detectors.load(folder)

    assert str(caught.value) == (
        "the package holds 'arrays.npz', 'copy.json', 'detector.json', "
        f"expected 'arrays.npz', 'detector.json'\n  in {folder}"
    )


KILLED = """
import os, signal, sys, time
from workbench import detectors
from workbench.detectors import EpisodeRule

folder = sys.argv[1]
detector = detectors.load(folder).detector
for attempt in range(40):
    child = os.fork()
    if child == 0:
        while True:
            for threshold in (3.0, 4.0):
                detectors.save(
                    detector, folder, threshold=threshold, rule=EpisodeRule(), training={}
                )
    time.sleep(0.004 * (1 + attempt))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(detectors.load(folder).threshold)
"""


@pytest.mark.slow
def test_a_save_that_is_killed_leaves_the_old_package_or_the_new(folder):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder)], capture_output=True, text=True, check=False
    )

    assert done.stderr == ""
    assert set(done.stdout.split()) == {"3.0", "4.0"}
    assert len(done.stdout.split()) == 40


def test_where_folders_cannot_be_swapped_the_old_one_is_put_aside(detector, tmp_path, monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: object())  # a system without renameat2
    ids = [
        detectors.save(detector, tmp_path / "d", threshold=t, rule=EpisodeRule(), training={})
        for t in (3, 4)
    ]

    assert detectors.load(tmp_path / "d").id == ids[1]
    assert [one.name for one in tmp_path.iterdir()] == ["d"]
