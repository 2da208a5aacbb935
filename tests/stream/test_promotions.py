import json
import time

import numpy as np
import pandas as pd
import pytest

from workbench import detectors
from workbench.errors import PackageError, PromotionRefused, StreamError
from workbench.stream import find_package, parse_stream, promote
from workbench.stream.promotions import (
    BEGINNING,
    Promotion,
    add_package,
    append,
    in_force,
    iso,
    log_path,
    promotions,
)
from workbench.stream.scoring import Scored, Scorer

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
        f"  in {log_path('pumps')}"
    )
    assert len(promotions("pumps")) == 1


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


def test_a_package_is_found_by_the_start_of_its_id(store, package_folder):
    added = add_package(package_folder)

    assert add_package(package_folder) == added
    assert find_package(added[:12]).id == added


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
    one = readings[readings["pump"] == "pump-3"].sort_values("event_time", kind="stable")

    found = _score(store, package_id, one)

    expected = detectors.score_readings(
        detectors.load(tmp_path / "package").detector, one, sensor="pump"
    )
    np.testing.assert_allclose(found["score"], expected, rtol=1e-9, atol=1e-12)
    assert np.isfinite(expected).sum() > 300
    assert set(found["package"]) == {package_id}
    assert set(found["threshold"]) == {3.0}


def _score(store, package_id, one):
    """Score the readings of one sensor from the arrays that Flink would give."""
    scored = Scored("pumps", "champion", str(store), package_id)
    upto = [slice(max(0, end - 8), end) for end in range(1, len(one) + 1)]
    event_ms = pd.Series(detectors.epoch_ms(one["event_time"]))
    arrays = [
        pd.Series([np.asarray(values)[piece] for piece in upto])
        for values in (event_ms, one["pressure_bar"], one["flow_l_min"])
    ]
    return Scorer(scored, ("pressure_bar", "flow_l_min")).score(
        pd.Series(["pump-3"] * len(one)), event_ms, *arrays
    )


def test_a_package_that_does_not_fit_is_refused_with_every_reason(store, package_folder):
    narrow = parse_stream(
        "narrow",
        {
            "topic": "t",
            "sensor": "pump",
            "channels": ["pressure_bar"],
            "alerts": "a",
            "window": 2,
        },
    )

    with pytest.raises(PromotionRefused) as error:
        promote(package_folder, stream=narrow)

    package = detectors.load(package_folder).id[:16]
    assert str(error.value) == (
        f"package {package} is refused for stream narrow:\n"
        "  - the stream has no channel flow_l_min\n"
        "  - its window is 4, the stream's 2"
    )
    assert not store.exists()


def test_another_rule_than_the_champions_is_refused(store, package_folder, stream, tmp_path):
    append(_promotion(add_package(package_folder), BEGINNING))
    package = detectors.load(package_folder)
    detectors.save(
        package.detector,
        tmp_path / "other",
        threshold=3.0,
        rule=detectors.EpisodeRule(),
        training={},
    )

    with pytest.raises(PromotionRefused) as error:
        promote(tmp_path / "other", stream=stream)

    other = detectors.load(tmp_path / "other").id[:16]
    assert str(error.value) == (
        f"package {other} is refused for stream pumps:\n"
        "  - its rule is k=1, n=1, m=1, the champion has k=2, n=3, m=4: "
        "train with that one, or give the stream a rule"
    )


def test_what_is_champion_already_is_not_promoted_again(store, package_folder, stream):
    append(_promotion(add_package(package_folder), BEGINNING))

    again = promote(package_folder, stream=stream)

    assert again == promotions("pumps")[0]
    assert len(log_path("pumps").read_text().splitlines()) == 1
    assert json.loads(log_path("pumps").read_text())["package"] == again.package


def test_an_unknown_role_is_refused(store, package_folder, stream):
    with pytest.raises(StreamError) as error:
        promote(package_folder, stream=stream, role="champoin")

    assert str(error.value) == "there is no role 'champoin'\n  did you mean 'champion'?"


def test_a_run_without_a_package_is_refused(store, stream, tmp_path):
    with pytest.raises(PackageError) as error:
        promote(tmp_path, stream=stream)

    assert str(error.value) == f"the run has no detector package\n  in {tmp_path}"
