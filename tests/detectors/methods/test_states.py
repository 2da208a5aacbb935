"""States that no fit gives, as a hostile package might hold them."""

import numpy as np
import pytest

from workbench import detectors
from workbench.detectors import Fitted
from workbench.detectors.npz import pack
from workbench.errors import DetectorError, PackageError

CHANNELS = ["flow", "pressure", "hour_of_day"]
MEMBERS = [{"name": "knn", "sample": 200}]


def negative(array):
    return -np.abs(array) - 1


def backwards(array):
    return np.ascontiguousarray(array[..., ::-1])


def wider(array):
    return np.concatenate([array, array[..., -1:] + 1], axis=-1)


SPOILT = [
    ({"name": "knn"}, "train", lambda a: a[:3], "array train has 3 rows, fewer than n_neighbors"),
    ({"name": "kmeans"}, "centres", lambda a: a[:0], "array centres has 0 rows"),
    ({"name": "hbos"}, "density", wider, "array density has not 10 bins"),
    ({"name": "hbos"}, "edges", wider, "array edges has not 11 edges in order"),
    ({"name": "hbos"}, "edges", backwards, "array edges has not 11 edges in order"),
    ({"name": "hbos"}, "density", negative, "array density holds a value that is < 0"),
    (
        {"name": "gmm", "n_components": 2},
        "weights",
        negative,
        "array factors or weights holds a value that is not > 0",
    ),
    (
        {"name": "seasonal"},
        "profile",
        lambda a: a[:, :5],
        "array profile is (1, 5, 2), expected (1, 24, 2)",
    ),
    ({"name": "seasonal"}, "scale", negative, "array scale does not hold 2 values > 0"),
    (
        {"name": "regression"},
        "weights",
        wider,
        "array weights has not 3 terms, or scale a value not > 0",
    ),
    (
        {"name": "regression"},
        "scale",
        negative,
        "array weights has not 3 terms, or scale a value not > 0",
    ),
    (
        {"name": "range", "calibrate": "tail"},
        "tail_logs",
        backwards,
        "the arrays of the tail are no distribution",
    ),
    (
        {"name": "range", "calibrate": "tail"},
        "tail_fit",
        negative,
        "the arrays of the tail are no distribution",
    ),
    ({"name": "rate"}, "usual", negative, "array usual holds a value that is not > 0"),
    ({"name": "rolling"}, "least", negative, "array least holds a value that is not > 0"),
    (
        {"name": "pca"},
        "feature_spread",
        negative,
        "array feature_spread holds a value that is not > 0",
    ),
    ({"name": "kde"}, "train", lambda a: a[:0], "array train has 0 rows, expected 1 to 10000"),
    (
        {"name": "knn"},
        "train",
        lambda a: a[:, :3],
        "array train has shape (300, 3), expected (300, 48)",
    ),
    (
        {"name": "ensemble", "members": MEMBERS},
        "m7_train",
        lambda a: np.zeros(1),
        "the state has arrays of no member",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "array", "spoil", "message"),
    SPOILT,
    ids=[f"{spec['name']}-{array}-{at}" for at, (spec, array, *_) in enumerate(SPOILT)],
)
def test_a_state_that_does_not_fit_together_is_refused(readings, spec, array, spoil, message):
    frame = detectors.with_clock(readings)
    sample = {} if spec["name"] == "ensemble" else {"sample": 300}
    asked = {"window": 16, "channels": CHANNELS, **sample, **spec}
    good = detectors.fit(asked, frame, sensor="pump")

    with pytest.raises(DetectorError) as caught:
        Fitted(good.spec, {**good.state, array: spoil(good.state.get(array))}, good.golden)

    assert caught.value.message == message


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"state.a": np.zeros(1, dtype=np.float32)},
            "array 'state.a' has dtype float32, which is not stored",
        ),
        ({"../a": np.zeros(1)}, "array '../a' has dtype float64, which is not stored"),
    ],
)
def test_an_array_that_could_not_be_read_back_is_not_written(arrays, message):
    with pytest.raises(PackageError) as caught:
        pack(arrays)

    assert str(caught.value) == message


def test_detectors_are_frozen(readings):
    detector = detectors.fit(
        {"name": "range", "window": 1, "channels": ["flow"]}, readings, sensor="pump"
    )

    with pytest.raises(ValueError, match="read-only"):
        detector.state["low"][0] = 0
