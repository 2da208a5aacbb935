"""A small plant: readings with every trouble, a fitted package, a store of its own."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from workbench import detectors
from workbench.stream import parse_stream

START_MS = 1_767_571_200_000


def troubled(readings=3_000, *, seed=1):
    """Readings of six pumps: late ones, equal times, missing values, a gap, bursts."""
    rng = np.random.default_rng(seed)
    number = np.arange(readings)
    minute = number // 6 + np.where(number > readings // 2, 30, 0)
    late_s = np.where(rng.random(readings) < 0.05, -90, 0) + rng.integers(-5, 5, readings)
    values = rng.normal(size=(readings, 2))
    burst = (number % 600 < 48) & (number % 6 == 2)
    values[burst] += rng.normal(5, 2, size=(int(burst.sum()), 1))
    values[rng.random((readings, 2)) < 0.004] = np.nan
    return pd.DataFrame(
        {
            "pump": [f"pump-{item}" for item in number % 6 + 1],
            "event_time": pd.to_datetime(
                START_MS + minute * 60_000 + late_s * 1000, unit="ms", utc=True
            ),
            "pressure_bar": values[:, 0],
            "flow_l_min": values[:, 1],
            "message_id": [f"7:{item}:-1:0" for item in number],
        }
    )


@pytest.fixture(scope="session")
def readings():
    return troubled()


@pytest.fixture(scope="session")
def package_folder(tmp_path_factory):
    """A robust z-score on both channels; alarm at 2 of 3 above 3, off after 4 below.

    It was fitted on readings of the day before those of the other tests.
    """
    spec = {
        "name": "robust_z",
        "window": 4,
        "channels": ["flow_l_min", "pressure_bar"],
        "max_span_s": 600,
    }
    earlier = troubled(600, seed=2)
    earlier["event_time"] -= pd.Timedelta(days=1)
    detector = detectors.fit(spec, earlier, sensor="pump")
    training = {
        "topic": "persistent://public/default/pumps",
        "start": "2026-01-03T23:00:00Z",
        "stop": "2026-01-04T23:00:00Z",
    }
    folder = tmp_path_factory.mktemp("package") / "detector"
    detectors.save(
        detector, folder, threshold=3.0, rule=detectors.EpisodeRule(2, 3, 4), training=training
    )
    return folder


@pytest.fixture(scope="session")
def messages_of():
    """Make the messages of readings: a row for each, as `originals.messages` gives them."""
    return _messages_of


def _messages_of(frame):
    """The bytes that a producer would have sent of each reading; NaN in three spellings."""
    spelt = ["NaN", '"NaN"', "null"]
    values = []
    for place, row in enumerate(frame.itertuples()):
        numbers = {"pressure_bar": row.pressure_bar, "flow_l_min": row.flow_l_min}
        texts = {
            name: spelt[place % 3] if np.isnan(value) else repr(float(value))
            for name, value in numbers.items()
        }
        fields = ", ".join(f'"{name}": {text}' for name, text in texts.items())
        values.append(f'{{"pump": {json.dumps(row.pump)}, {fields}}}'.encode())
    times = detectors.epoch_ms(frame["event_time"])
    return pa.table(
        {
            "message_id": frame["message_id"].tolist(),
            "partition": frame["message_id"].str.split(":").str[2].astype(int).tolist(),
            "event_ms": times,
            "publish_ms": times + 5,
            "value": pa.array(values, pa.binary()),
        }
    )


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def stream(content):
    return parse_stream("pumps", content())


@pytest.fixture
def content():
    """Make what a stream file for `readings` holds."""
    return _content


def _content(**changes):
    return {
        "topic": "persistent://public/default/pumps",
        "sensor": "pump",
        "channels": ["pressure_bar", "flow_l_min"],
        "lateness_s": 30,
        "window": 8,
        "alerts": "persistent://public/default/alerts",
        **changes,
    }
