import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from workbench import detectors
from workbench.errors import PackageError, StoreWarning, StreamError
from workbench.stream import find_package, promote, rollback
from workbench.stream.flink_sql.udf import Scored, Scorer
from workbench.stream.promotion_log import (
    BEGINNING,
    Promotion,
    add_package,
    append,
    in_force,
    log_path,
    promotions,
)
from workbench.stream.selection import scorers, select
from workbench.times import iso

_TABLE = detectors.catalogue()
# seasonal wants a channel with the hour of day, which these readings do not have
USABLE = [one for one in _TABLE.index[_TABLE["refused"] == ""] if one != "seasonal"]
NEEDED = {
    "limits": {"low": [-2.0, -2.0], "high": [2.0, 2.0]},
    "ensemble": {"members": [{"name": "robust_z"}, {"name": "pca"}]},
}


def _promotion(package, effective_ms, **more):
    return Promotion("pumps", "champion", package, effective_ms, "2026-01-01T00:00:00Z", **more)


def _soon(seconds):
    return round((time.time() + seconds) * 1000)


def test_promotions_come_back_in_their_order(store):
    first, second = _promotion("a", BEGINNING), _promotion("b", _soon(30), sensors=("pump-1",))
    append(first)
    append(second)

    assert promotions("pumps") == [first, second]
    assert promotions("pumps", "challenger") == []
    assert first.effective == "the first reading"
    assert second.effective == iso(second.effective_ms)


def test_a_promotion_from_before_the_last_one_is_refused(store):
    last = _soon(300)
    append(_promotion("a", last))
    early = _soon(30)

    with pytest.raises(StreamError) as error:
        append(_promotion("b", early))

    assert str(error.value) == (
        f"the promotion would hold from {iso(early)}, before the last one's {iso(last)}\n"
        f"  in {log_path('pumps')}\n"
        f"  --effective {iso(last)} or later; or take that one back: workbench rollback"
    )
    assert len(promotions("pumps")) == 1


def test_a_clock_that_went_back_promotes_nothing_and_is_told(store):
    decided = iso(_soon(3600), "s")
    ahead = replace(_promotion("a", _soon(3630)), decided=decided)
    append(ahead)

    for effective_ms in (_soon(30), _soon(7200)):
        with pytest.raises(StreamError) as error:
            append(_promotion("b", effective_ms))
        assert error.value.message.endswith(
            f"and the last promotion was decided at {decided}: a clock went back, or was ahead then"
        )
        assert error.value.hint == "set this machine's clock right; if it is, wait until then"
    assert promotions("pumps") == [ahead]


def test_a_promotion_from_the_past_is_refused(store):
    append(_promotion("a", BEGINNING))

    with pytest.raises(StreamError) as error:
        append(_promotion("b", 1_700_000_000_000))

    assert error.value.message.startswith(
        "the promotion would hold from 2023-11-14T22:13:20.000Z, now is 2"
    )
    assert error.value.hint == ("readings from before now have been scored: choose a time ahead")


def test_a_damaged_log_is_refused_with_its_line(store):
    append(_promotion("a", BEGINNING))
    path = log_path("pumps")
    path.write_text(path.read_text() + '{"stream": "pumps"}\n')

    with pytest.raises(StreamError) as error:
        promotions("pumps")

    assert str(error.value) == (f"the promotion cannot be read: 'sensors'\n  in {path}, line 2")


def test_the_later_promotion_of_a_sensor_holds():
    log = [
        _promotion("all", BEGINNING),
        _promotion("one", 1000, sensors=("pump-2",)),
        _promotion("new", 2000),
    ]
    sensors = np.array(["pump-1", "pump-2", "pump-2", "pump-2"], dtype=object)

    found = in_force(log, sensors, np.array([1500, 999, 1000, 2000]))

    assert found.tolist() == [0, 0, 1, 2]


def test_a_sensor_with_a_zero_at_its_end_and_one_of_a_megabyte_are_two_of_their_own():
    log = [_promotion("all", BEGINNING), _promotion("one", 0, sensors=("pump-2", "pump-3\0"))]
    names = ["pump-2", "pump-2\0", "pump-3", "pump-3\0", "x" * 1_000_000] * 20_000
    sensors = np.array(names, dtype=object)  # as numpy's own texts they would take 400 GB

    positions = in_force(log, sensors, np.full(len(names), 1))

    assert positions[:5].tolist() == [1, 0, 0, 1, 0]
    assert positions.sum() == 40_000


def test_a_start_loads_one_package_however_many_were_promoted(store, package_folder, stream):
    last = add_package(package_folder)
    log = [_promotion(f"{number:064x}", number) for number in range(999)]  # of packages long gone
    log.append(_promotion(last, 1000))
    path = log_path("pumps")
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(asdict(promotion)) + "\n" for promotion in log))

    selection = select(stream)

    ((_, scored, _),) = scorers(selection)
    assert selection.package.id == last
    assert len(scored.log()) == 1000
    with pytest.raises(PackageError, match="0 packages in the store start with"):
        find_package(log[-2].package)


def test_a_package_is_found_by_the_start_of_its_id(store, package_folder):
    added = add_package(package_folder)

    assert add_package(package_folder) == added
    assert find_package(added[:12]).id == added


def test_what_is_stored_is_what_was_checked_whatever_is_put_in_its_place_meanwhile(
    store, package_folder, tmp_path, monkeypatch
):
    folder, secret = tmp_path / "package", tmp_path / "secret"
    shutil.copytree(package_folder, folder)
    secret.write_text("somebody else's")
    secret.chmod(0o600)
    checked = {path.name: path.read_bytes() for path in folder.iterdir()}
    read = detectors.load_with_bytes

    def swapped(*arguments, **more):
        content = read(*arguments, **more)
        for name in checked:
            (folder / name).unlink()
            (folder / name).symlink_to(secret)
        return content

    monkeypatch.setattr(detectors, "load_with_bytes", swapped)
    added = add_package(folder)

    entry = store / "packages" / added
    assert {path.name: path.read_bytes() for path in entry.iterdir()} == checked
    assert not any(path.is_symlink() for path in entry.iterdir())
    assert find_package(added).id == added


def test_another_package_than_the_one_that_was_judged_is_not_stored(store, package_folder):
    with pytest.raises(PackageError, match=r"^the package is [0-9a-f]{16}, expected 1234567812345"):
        add_package(package_folder, package_id="12345678" * 8)

    assert not store.exists()


def cut(entry):
    (entry / "arrays.npz").write_bytes(b"half")


def link_elsewhere(entry):
    shutil.rmtree(entry)
    entry.symlink_to("/nowhere")


def file_in_its_place(entry):
    shutil.rmtree(entry)
    entry.write_text("")


def foreign_file(entry):
    (entry / "detector.json").unlink()
    (entry / "detector.json").mkdir()


@pytest.mark.parametrize("damage", [cut, link_elsewhere, file_in_its_place, foreign_file])
def test_a_damaged_entry_is_set_aside_and_told_and_the_good_one_stored(
    store, package_folder, damage
):
    added = add_package(package_folder)
    entry = store / "packages" / added
    damage(entry)
    with pytest.raises(PackageError) as error:
        find_package(added)
    assert error.value.hint.startswith("it was damaged in the store: promote its run again")

    with pytest.warns(StoreWarning, match=f"{added} was damaged .*: it is set aside as .damaged-"):
        assert add_package(package_folder) == added

    assert find_package(added[:16]).id == added
    assert len(list((store / "packages").glob(".damaged-*"))) == 1


def test_a_package_that_is_not_there_is_refused(store):
    with pytest.raises(PackageError) as error:
        find_package("abc")

    assert str(error.value) == (
        f"0 packages in the store start with 'abc'\n  in {store / 'packages'}"
    )


@pytest.mark.parametrize("name", USABLE)
def test_the_job_scores_as_the_batch_path_does_for_each_detector(store, readings, tmp_path, name):
    channels = ["flow_l_min", "pressure_bar"]
    spec = {"name": name, "window": 4, "channels": channels, "max_span_s": 600}
    spec |= NEEDED.get(name, {})
    detector = detectors.fit(spec, readings.head(900), sensor="pump")
    rule = detectors.EpisodeRule()
    detectors.save(detector, tmp_path / "package", threshold=3.0, rule=rule, training={})
    package_id = add_package(tmp_path / "package")
    pump = readings[readings["pump"] == "pump-3"].sort_values("event_time", kind="stable")

    streamed = _score(store, package_id, pump)

    expected = detectors.score_readings(
        detectors.load(tmp_path / "package").detector, pump, sensor="pump"
    )
    np.testing.assert_allclose(streamed["score"], expected, rtol=1e-9, atol=1e-12)
    assert np.isfinite(expected).sum() > 300
    assert set(streamed["package"]) == {package_id}
    assert set(streamed["threshold"]) == {3.0}


def _score(store, package_id, pump):
    """Score the readings of one sensor from the windows that Flink would give."""
    scored = Scored("pumps", "champion", str(store), package_id)
    event_ms = pd.Series(detectors.epoch_ms(pump["event_time"]))
    packed = np.rec.fromarrays(
        [event_ms, pump["pressure_bar"], pump["flow_l_min"]], dtype="<i8,<f8,<f8"
    )
    past = [packed[max(0, end - 8) : end].tobytes() for end in range(1, len(pump) + 1)]
    return Scorer(scored, ("pressure_bar", "flow_l_min")).score(
        pd.Series(["pump-3"] * len(pump)), event_ms, pd.Series(past)
    )


def test_what_is_champion_already_is_not_promoted_again(store, package_folder, stream):
    append(_promotion(add_package(package_folder), BEGINNING))

    again = promote(package_folder, stream=stream)

    assert again == promotions("pumps")[0]
    assert len(log_path("pumps").read_text().splitlines()) == 1
    assert json.loads(log_path("pumps").read_text())["package"] == again.package


def test_two_who_promote_at_once_do_not_both_win(store):
    append(_promotion("a", BEGINNING))
    append(_promotion("b", _soon(30)), expected_length=1)

    with pytest.raises(StreamError) as error:
        append(_promotion("c", _soon(60)), expected_length=1)

    assert str(error.value) == (
        "somebody else promoted b as champion at 2026-01-01T00:00:00Z, after this one was "
        f"compared with what scored the stream then\n  in {log_path('pumps')}\n"
        "  nothing is promoted: look at `workbench promotions`, then do it again"
    )
    assert [one.package for one in promotions("pumps")] == ["a", "b"]


@pytest.mark.slow
def test_of_many_processes_that_promote_at_once_one_wins(store):
    append(_promotion("a", BEGINNING))
    code = (
        "import sys, time\n"
        "from workbench.stream.promotion_log import *\n"
        "now = round(time.time() * 1000)\n"
        "fresh = Promotion('pumps', 'champion', sys.argv[1], now + 30_000, '')\n"
        "try: append(fresh, expected_length=1)\n"
        "except StreamError: sys.exit(1)"
    )
    several = [subprocess.Popen([sys.executable, "-c", code, name]) for name in "bcde"]

    codes = [item.wait(120) for item in several]

    assert sorted(codes) == [0, 1, 1, 1]
    winner = "bcde"[codes.index(0)]
    assert [item.package for item in promotions("pumps")] == ["a", winner]


def _packages(folder, detector, thresholds):
    """Write packages into the store that differ in their threshold, and return their ids."""
    package_ids = []
    for threshold in thresholds:
        path = folder / f"package-{threshold}"
        rule = detectors.EpisodeRule(2, 3, 4)
        detectors.save(detector, path, threshold=threshold, rule=rule, training={})
        package_ids.append(add_package(path))
    return package_ids


def test_a_rollback_brings_back_the_bytes_of_the_one_before(
    store, package_folder, stream, tmp_path
):
    ids = _packages(tmp_path, detectors.load(package_folder).detector, [2.0, 3.0, 4.0])
    append(_promotion(ids[0], BEGINNING))
    for package in ids[1:]:
        append(_promotion(package, _soon(30)))
    bytes_before = (store / "packages" / ids[1] / "arrays.npz").read_bytes()

    first = rollback(stream, why="too many alerts")
    second = rollback(stream)

    assert [one.package for one in promotions("pumps")] == [*ids, ids[1], ids[0]]
    assert [(one.undoes, one.why) for one in (*first, *second)] == [
        (3, "too many alerts"),
        (2, ""),
    ]
    assert first[0].effective_ms > time.time() * 1000
    assert (store / "packages" / ids[1] / "arrays.npz").read_bytes() == bytes_before
    with pytest.raises(StreamError) as error:
        rollback(stream)
    assert str(error.value) == (
        f"there is no champion of stream pumps before {ids[0][:16]}\n  in {log_path('pumps')}"
    )


def test_a_rollback_of_some_sensors_leaves_the_others_alone(
    store, package_folder, stream, tmp_path
):
    ids = _packages(tmp_path, detectors.load(package_folder).detector, [2.0, 3.0, 4.0])
    append(_promotion(ids[0], BEGINNING))
    append(_promotion(ids[1], _soon(30), sensors=("pump-1", "pump-2")))
    append(_promotion(ids[2], _soon(30), sensors=("pump-2", "pump-3")))

    written = rollback(stream)

    assert [(one.package, one.sensors) for one in written] == [
        (ids[0], ("pump-2", "pump-3")),
        (ids[1], ("pump-2",)),
    ]
    sensors = np.array(["pump-1", "pump-2", "pump-3", "pump-4"], dtype=object)
    log = promotions("pumps")
    held = in_force(log, sensors, np.full(4, _soon(3600)))
    assert [log[at].package for at in held] == [ids[1], ids[1], ids[0], ids[0]]


def test_a_rollback_to_a_package_that_was_changed_is_refused(
    store, package_folder, stream, tmp_path
):
    ids = _packages(tmp_path, detectors.load(package_folder).detector, [2.0, 3.0])
    append(_promotion(ids[0], BEGINNING))
    append(_promotion(ids[1], _soon(30)))
    path = store / "packages" / ids[0] / "detector.json"
    path.write_bytes(path.read_bytes().replace(b"2.0", b"9.0"))

    with pytest.raises(PackageError) as error:
        rollback(stream)

    assert error.value.message.endswith(f"expected {ids[0][:16]}")
    assert len(promotions("pumps")) == 2


def test_nothing_can_be_rolled_back_where_nothing_was_promoted(store, stream):
    with pytest.raises(StreamError) as error:
        rollback(stream)

    assert str(error.value) == (
        f"stream pumps has no champion to take back\n  in {log_path('pumps')}"
    )
