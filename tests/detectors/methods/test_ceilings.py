"""No fault is out of reach: a sensor far out of its range alerts, or its package is refused.

Every method of the catalogue is fitted on usual readings, and its threshold is the highest score of
a span with one mild bump; then a sensor stands at fifty times its range for five hours.
"""

import random

import numpy as np
import pandas as pd
import pytest

from workbench import detectors
from workbench.detectors import EpisodeRule, Fitted
from workbench.detectors.methods.table import METHODS
from workbench.errors import DetectorError, PackageError

USABLE = [name for name, method in METHODS.items() if not method.refused and name != "ensemble"]
FEATURES = [
    "raw", "centred", "znormalised", "differences", "summary", "spectrum", "newest", "compressed",
    ["znormalised", "znormalised:4"], ["znormalised", "mean"],
]  # fmt: skip
NEEDED = {"limits": {"low": [20.0, 2.0], "high": [80.0, 8.0]}, "seasonal": {"hour": "hour"}}
SLOW = ("kde", "inne")
TRAINED, BUMPED, HOURS = 300, 200, 5
UNHEARD = "not fitted: not heard in the ensemble: "


def plant(seed=3):
    """One pump, a reading a minute: usual ones, some with a mild bump, then five hours of fault."""
    rng = np.random.default_rng(seed)
    n = TRAINED + BUMPED + 60 * HOURS
    minute = np.arange(n)
    flow = 50 + 5 * np.sin(2 * np.pi * minute / 240) + rng.normal(0, 1, n)
    frame = pd.DataFrame(
        {
            "event_time": pd.date_range("2026-01-05", periods=n, freq="min", tz="UTC"),
            "pump": "a",
            "flow": flow,
            "pressure": 0.1 * flow + rng.normal(0, 0.05, n),
            "hour": minute / 60 % 24,
        }
    )
    span = np.ptp(flow[:TRAINED])
    bump = slice(TRAINED + 100, TRAINED + 110)
    frame.loc[frame.index[bump], "flow"] += span
    frame.loc[frame.index[TRAINED + BUMPED :], "flow"] = 50 + 50 * span
    return frame


FRAME = plant()
USUAL, CALM, FAULTY = FRAME[:TRAINED], FRAME[TRAINED : TRAINED + BUMPED], FRAME[TRAINED:]


def outcome(spec, folder):
    """Return `alert` or `refused` of what has to be one of them, else what it is."""
    channels = ["flow", "pressure", *(["hour"] if spec["name"] == "seasonal" else [])]
    try:
        detector = detectors.fit({"window": 8, "channels": channels, **spec}, USUAL, sensor="pump")
    except DetectorError as error:
        return f"not fitted: {error.message}"
    threshold = float(np.nanmax(detectors.score_readings(detector, CALM, sensor="pump")))
    try:
        detectors.save(detector, folder, threshold=threshold, rule=EpisodeRule(), training={})
    except PackageError as error:
        return "refused" if "no score passes the threshold" in str(error) else str(error)
    found = detectors.detect(detectors.load(folder), FAULTY, sensor="pump").episodes
    begun = found["start"] >= FRAME["event_time"][TRAINED + BUMPED]
    return "alert" if begun.any() else f"threshold {threshold}, ceiling {detector.ceiling}"


def specs(name):
    """Yield what a method can be asked for: features, and scores as they are or calibrated."""
    sees_features = METHODS[name].sees == "features"
    for calibrate in ("none", "tail"):
        asked_for = FEATURES[: 3 if name in SLOW else None] if sees_features else [None]
        for asked in asked_for:
            yield {
                "name": name,
                "sample": 150,
                "calibrate": calibrate,
                "calibrate_share": 0.4,
                **({} if asked is None else {"features": asked}),
                **NEEDED.get(name, {}),
            }


def shape_only(spec):
    asked = spec.get("features", [])
    return all(each.startswith("znorm") for each in ([asked] if isinstance(asked, str) else asked))


@pytest.mark.slow
@pytest.mark.parametrize("name", USABLE)
def test_a_sensor_far_out_of_its_range_alerts_or_its_package_is_refused(name, tmp_path):
    silent = {}
    for number, spec in enumerate(specs(name)):
        what = outcome(spec, tmp_path / str(number))
        may = {"alert"} if "features" in spec and not shape_only(spec) else {"alert", "refused"}
        if name == "mcd":  # of features that depend on each other there is no covariance
            what = what.replace("not fitted: the features have no covariance of full rank", "alert")
        if what.partition(":")[0] not in may:
            silent[f"{spec.get('features')}, {spec['calibrate']}"] = what
    assert silent == {}


@pytest.mark.slow
@pytest.mark.parametrize("combine", ["mean", "max"])
def test_an_ensemble_alerts_or_is_refused(combine, tmp_path):
    rng, silent = random.Random(7), {}
    able = [name for name in USABLE if name not in ("seasonal", "limits", "kde", "inne")]
    for number in range(24):
        names = rng.sample(able, rng.choice([2, 3]))
        members = [rng.choice(list(specs(name))) for name in names]
        if number % 3 == 0:
            members = [{**one, "features": "znormalised"} for one in members if "features" in one]
        what = outcome(
            {"name": "ensemble", "members": members, "combine": combine}, tmp_path / str(number)
        ) if members else "alert"  # fmt: skip
        if not what.startswith(("alert", "refused", UNHEARD, "not fitted: the features have no")):
            silent[str(members)] = what
    assert silent == {}


MIXED = [{"name": "pca", "features": "znormalised"}, {"name": "kmeans", "features": "spectrum"}]


@pytest.mark.parametrize("combine", ["mean", "max"])
def test_members_that_are_not_heard_beside_another_are_refused_and_calibrated_they_alert(
    combine, tmp_path
):
    spec = {"name": "ensemble", "combine": combine}
    as_they_are = [{**member, "calibrate": "none"} for member in [*MIXED, {"name": "stuck"}]]

    what = outcome({**spec, "members": as_they_are}, tmp_path / "none")

    assert what.startswith(UNHEARD)
    assert "kmeans, member 2, whose score has to rise by" in what
    assert "stuck, member 3, whose usual scores are all the same" in what
    assert "pca, member 1, whose" not in what
    more = {"calibrate_share": 0.4}
    calibrated = [{**member, **more} for member in [*MIXED, {"name": "stuck"}]]
    assert outcome({**spec, "members": calibrated}, tmp_path / "tail") == "alert"


@pytest.mark.parametrize("combine", ["mean", "max"])
def test_scores_of_one_unit_are_combined_as_they_are(combine, tmp_path):
    members = [
        {"name": "robust_z", "channels": [channel], "calibrate": "none"}
        for channel in ("flow", "pressure")
    ]

    what = outcome({"name": "ensemble", "members": members, "combine": combine}, tmp_path / "of")

    assert what == "alert"


def test_a_calibrated_member_that_never_moved_is_heard_beside_one_that_is_not(tmp_path):
    members = [{"name": "stuck", "calibrate_share": 0.4}, {"name": "robust_z", "calibrate": "none"}]

    assert outcome({"name": "ensemble", "members": members}, tmp_path / "of") == "alert"


def test_a_member_without_weight_need_not_be_heard_and_weights_may_make_scores_alike(tmp_path):
    members = [{**member, "calibrate": "none"} for member in MIXED]

    for weights in ([0, 1], [0.01, 1]):
        spec = {"name": "ensemble", "members": members, "weights": weights}
        assert outcome(spec, tmp_path / str(weights)) == "alert"


def test_a_package_of_members_that_would_be_refused_today_loads_and_scores(tmp_path):
    shared = {"window": 8, "channels": ["flow", "pressure"], "calibrate": "none"}
    fitted = [detectors.fit({**shared, **member}, USUAL, sensor="pump") for member in MIXED]
    state = {
        f"m{at}_{name}": array.copy()
        for at, member in enumerate(fitted)
        for name, array in member.state.items()
    }
    spec = detectors.resolve(
        {
            "name": "ensemble",
            "window": 8,
            "channels": shared["channels"],
            "max_span_s": fitted[0].max_span_s,
            "members": [{**member, "calibrate": "none"} for member in MIXED],
        }
    )
    old = Fitted(spec, state, fitted[0].golden.copy())
    detectors.save(old, tmp_path / "old", threshold=1e4, rule=EpisodeRule(), training={})

    again = detectors.load(tmp_path / "old").detector
    windows = again.golden
    wanted = np.mean([member.score(windows) for member in fitted], axis=0)

    np.testing.assert_allclose(again.score(windows), wanted, rtol=1e-12)
    with pytest.raises(DetectorError, match="not heard in the ensemble: kmeans, member 2"):
        detectors.fit(spec, USUAL, sensor="pump")


def test_a_refit_whose_threshold_no_score_passes_is_refused():
    spec = {
        "name": "knn", "window": 8, "channels": ["flow"], "features": "znormalised", "sample": 150,
        "refit": {"every_readings": 100, "trailing_readings": 450},
    }  # fmt: skip
    jumping = FRAME.assign(flow=FRAME["flow"].where(FRAME.index % 150 > 3, 1e6))

    with pytest.raises(PackageError, match="no score passes the threshold"):
        detectors.replay_refits(spec, jumping, sensor="pump", alerts_per_sensor_day=0.01)
