"""One suite over every detector of the catalogue."""

import subprocess
import sys

import numpy as np
import pytest

from workbench import detectors
from workbench.detectors.catalogue import METHODS
from workbench.errors import DetectorError

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
    found = detectors.sliding_windows(
        readings, sensor="pump", time="event_time", channels=CHANNELS, window=WINDOW
    )
    odd = found.values[:2].copy()
    odd[0, 5:, 0], odd[1, -1, 0] = odd[0, 5, 0], 99.0  # one stuck, one with a spike
    return np.concatenate([found.values, odd])


@pytest.fixture(scope="module")
def fitted(readings):
    kept = {}

    def of(name):
        if name not in kept:
            kept[name] = detectors.fit(spec_of(name), readings, sensor="pump", seed=3)
        return kept[name]

    return of


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_finite_numbers_one_per_window(fitted, windows, name):
    scores = fitted(name).score(windows)

    assert (scores.shape, scores.dtype) == ((len(windows),), np.float64)
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > 1
    assert fitted(name).score(windows[:0]).shape == (0,)


@pytest.mark.parametrize("name", NAMES)
def test_a_window_scores_the_same_however_the_batch_is_cut(fitted, windows, name):
    whole = fitted(name).score(windows)

    for size in (1, 7, 333):
        cuts = range(0, min(len(windows), 60 * size), size)
        parts = np.concatenate([fitted(name).score(windows[i : i + size]) for i in cuts])
        np.testing.assert_allclose(parts, whole[: len(parts)], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_scoring_changes_neither_windows_nor_detector(fitted, windows, name):
    given = windows.copy()
    given.flags.writeable = False

    first, second = fitted(name).score(given), fitted(name).score(given[::-1])[::-1]

    np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(given, windows)
    for array in fitted(name).state.values():
        assert not array.flags.writeable


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
def test_a_huge_reading_has_a_finite_score(fitted, windows, name):
    huge = windows[:1].copy()
    huge[0, -1, 0] = 1e200

    assert np.isfinite(fitted(name).score(huge)).all()


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


@pytest.mark.parametrize("name", NAMES)
def test_a_package_scores_alike_in_another_process(fitted, elsewhere, windows, name):
    np.testing.assert_allclose(elsewhere(name), fitted(name).score(windows), rtol=1e-12)
