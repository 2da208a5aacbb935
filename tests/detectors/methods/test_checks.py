"""One suite over every detector of the catalogue."""

import subprocess
import sys

import numpy as np
import pytest

from workbench import detectors
from workbench.detectors import checks
from workbench.detectors.fitted import Fitted
from workbench.detectors.methods.table import METHODS
from workbench.errors import DetectorError, PackageError

WINDOW = 16
CHANNELS = ["flow", "pressure", "hour_of_day"]
NAMES = [name for name, method in METHODS.items() if not method.refused]
RISING = [name for name in NAMES if METHODS[name].rises]


OWN = {
    "mcd": {"features": "mean"},
    "inne": {"n_estimators": 20},
    "limits": {"low": [45, 4.5, 0], "high": [55, 5.5, 24]},
    "ensemble": {"members": [{"name": "knn", "sample": 200}, {"name": "rolling", "window": 8}]},
}


def spec_of(name, **more):
    sample = {} if name == "ensemble" else {"sample": 300}
    base = {"name": name, "window": WINDOW, "channels": CHANNELS, **sample}
    return base | OWN.get(name, {}) | more


@pytest.fixture(scope="module")
def readings(readings):
    return detectors.with_clock(readings)


@pytest.fixture(scope="module")
def windows(readings):
    sliding = detectors.sliding_windows(
        readings, sensor="pump", time="event_time", channels=CHANNELS, window=WINDOW
    )
    odd = sliding.values[:2].copy()
    odd[0, 5:, 0], odd[1, -1, 0] = odd[0, 5, 0], 99.0  # one stuck, one with a spike
    return np.concatenate([sliding.values, odd])


@pytest.fixture(scope="module")
def fitted(readings):
    kept = {}

    def of(name):
        if name not in kept:
            kept[name] = detectors.fit(spec_of(name), readings, sensor="pump", seed=3)
        return kept[name]

    return of


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("check", checks.CHECKS, ids=checks.name)
def test_every_detector_holds_what_all_hold(fitted, windows, check, name):
    check(fitted(name), windows[:-2])


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_fits_the_same_detector(fitted, readings, name):
    again = detectors.fit(spec_of(name), readings, sensor="pump", seed=3)

    assert again.spec == fitted(name).spec
    for key, array in fitted(name).state.items():
        np.testing.assert_array_equal(again.state[key], array, err_msg=key)


@pytest.mark.parametrize("name", RISING)
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_growing_spike_never_lowers_the_score(fitted, windows, name, sign):
    spikes = np.repeat(windows[200:201], 40, axis=0)
    spikes[:, -1, 0] = windows[..., 0].mean() + sign * np.linspace(0, 100, 40)

    scores = fitted(name).score(spikes)

    assert (np.diff(scores) >= -1e-9 * np.abs(scores[1:])).all()
    assert scores[-1] > scores[0]


@pytest.mark.parametrize("name", NAMES)
def test_other_shapes_and_missing_values_are_refused(fitted, windows, name):
    bad = windows[:3].copy()
    bad[1, 2, 1] = np.nan

    with pytest.raises(DetectorError) as shape:
        fitted(name).score(windows[:, 1:])
    with pytest.raises(DetectorError) as missing:
        fitted(name).score(bad)

    assert str(shape.value) == (f"windows have shape ({len(windows)}, 15, 3), expected (n, 16, 3)")
    assert str(missing.value) == (
        "window 1 holds nan in channel pressure\n"
        "  leave such windows out, as score_windows does, or fit with missing: fill"
    )


@pytest.mark.parametrize("name", NAMES)
def test_missing_values_are_filled_where_that_is_declared(readings, windows, name):
    holed = readings.copy()
    holed.loc[holed.index % 17 == 0, "flow"] = np.nan
    detector = detectors.fit(spec_of(name, missing="fill"), holed, sensor="pump")
    bad = windows[:3].copy()
    bad[1, :, 1] = np.nan

    assert np.isfinite(detector.score(bad)).all()
    checks.missing_by_one_rule(detector, windows[:-2])
    assert np.isfinite(detectors.score_readings(detector, holed, sensor="pump")).mean() > 0.9


@pytest.fixture(scope="module")
def elsewhere(fitted, windows, tmp_path_factory):
    """Return the scores that another process gives, from the packages alone."""
    folder = tmp_path_factory.mktemp("packages")
    np.save(folder / "windows.npy", windows)
    for name in NAMES:
        detectors.save(
            fitted(name), folder / name, threshold=1, rule=detectors.EpisodeRule(), training={}
        )
    program = (
        "import sys, numpy as np\n"
        "from workbench import detectors\n"
        "folder, *names = sys.argv[1:]\n"
        "windows = np.load(f'{folder}/windows.npy')\n"
        "for name in names:\n"
        "    detector = detectors.load(f'{folder}/{name}').detector\n"
        "    np.save(f'{folder}/{name}.npy', detector.score(windows))\n"
    )
    subprocess.run([sys.executable, "-c", program, str(folder), *NAMES], check=True)
    return lambda name: np.load(folder / f"{name}.npy")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_package_scores_alike_in_another_process(fitted, elsewhere, windows, name):
    np.testing.assert_allclose(elsewhere(name), fitted(name).score(windows), rtol=1e-12)


@pytest.mark.parametrize("name", ["robust_z", "knn", "ecod"])
@pytest.mark.parametrize("missing", ["skip", "fill"])
def test_infinity_in_training_is_a_missing_value(readings, name, missing):
    holed = readings.copy()
    holed.loc[holed.index % 37 == 0, "flow"] = np.nan
    infinite = readings.copy()
    infinite.loc[infinite.index % 37 == 0, "flow"] = np.inf
    spec = spec_of(name, missing=missing)

    learnt = detectors.fit(spec, infinite, sensor="pump", seed=3)
    other = detectors.fit(spec, holed, sensor="pump", seed=3)

    for key, array in other.state.items():
        np.testing.assert_array_equal(learnt.state[key], array, err_msg=key)
    np.testing.assert_array_equal(
        detectors.score_readings(learnt, infinite, sensor="pump"),
        detectors.score_readings(other, holed, sensor="pump"),
    )


BOUNDED = [name for name in NAMES if METHODS[name].bounded]
TOGETHER = {"name": "ensemble", "window": WINDOW, "channels": CHANNELS}


@pytest.mark.parametrize("combine", ["mean", "max"])
def test_an_ensemble_of_detectors_with_a_ceiling_of_their_own_has_none(readings, windows, combine):
    members = [{"name": name, "sample": 300} for name in BOUNDED]
    spec = TOGETHER | {"members": members, "combine": combine}
    detector = detectors.fit(spec, readings, sensor="pump")

    checks.far_is_above_and_grows(detector, windows[:-2])
    assert detector.ceiling == np.inf


def bumped(readings):
    """A quiet plant with one mild bump, and then its sensors at ten times their flow."""
    minute = readings.index.to_numpy() // 2
    flow = np.where((minute >= 420) & (minute < 425), 75.0, readings["flow"])
    return readings.assign(flow=np.where((minute >= 500) & (minute < 560), 500.0, flow))


@pytest.mark.parametrize("more", [{}, {"calibrate": "tail"}, {"scale_features": True}], ids=str)
@pytest.mark.parametrize("name", BOUNDED)
def test_a_fault_passes_a_threshold_set_by_a_mild_bump(readings, name, more):
    frame = bumped(readings)
    past, now = frame[:960], frame[960:]
    spec = {"name": name, "window": 4, "channels": ["flow"], **more}
    detector = detectors.fit(spec, frame[:800], sensor="pump")
    threshold = detectors.score_readings(detector, past, sensor="pump")
    threshold = np.nanmax(threshold)

    scores = detectors.score_readings(detector, now, sensor="pump")

    wrong = (now["flow"] == 500).to_numpy()
    assert (scores[wrong] > threshold).all()


def test_a_threshold_that_no_score_passes_is_not_saved(readings, tmp_path):
    still = readings.assign(flow=np.where(readings.index >= 600, 50.0, readings["flow"]))
    spec = {"name": "stuck", "window": 8, "channels": ["flow"]}
    detector = detectors.fit(spec, still[:600], sensor="pump")
    threshold = np.nanmax(detectors.score_readings(detector, still, sensor="pump"))

    with pytest.raises(PackageError) as error:
        detectors.save(
            detector, tmp_path / "p", threshold=threshold, rule=detectors.EpisodeRule(), training={}
        )

    assert detector.ceiling == threshold == 8
    assert str(error.value) == (
        "no score passes the threshold 8: detector stuck gives 8 at most\n"
        "  train on a span without the fault, with a longer window, or with features that see "
        "level or size"
    )
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("combine", ["mean", "max"])
def test_the_ceiling_of_an_ensemble_is_what_its_members_can_reach(readings, combine):
    members = [{"name": "stuck"}, {"name": "stuck", "window": 4}]
    spec = TOGETHER | {"members": members, "combine": combine, "weights": [1, 3]}
    detector = detectors.fit(spec, readings, sensor="pump")
    still = np.ones((1, WINDOW, len(CHANNELS)))

    assert detector.ceiling == pytest.approx(detector.score(still)[0], rel=1e-12)


def test_a_package_from_when_scores_had_a_ceiling_is_refused(fitted):
    old = fitted("ecod")
    state = {name: array for name, array in old.state.items() if not name.startswith("reach")}

    with pytest.raises(DetectorError) as error:
        Fitted(old.spec, state, old.golden)

    assert str(error.value) == (
        "detector ecod was fitted when its scores still had a ceiling\n"
        "  fit it again: no reading may be able to pass its threshold"
    )
