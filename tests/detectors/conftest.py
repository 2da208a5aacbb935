import numpy as np
import pandas as pd
import pytest

CHANNELS = ["flow", "pressure", "temperature"]


def plant(readings=600, sensors=("a", "b"), seed=7, start_ms=0):
    """A small plant: pressure follows flow, temperature wanders, one reading a minute."""
    rng = np.random.default_rng(seed)
    frames = []
    for sensor in sensors:
        t = np.arange(readings)
        flow = 50 + 5 * np.sin(2 * np.pi * t / 240) + rng.normal(0, 1, readings)
        frames.append(
            pd.DataFrame(
                {
                    "event_time": pd.to_datetime(start_ms + t * 60_000, unit="ms", utc=True),
                    "pump": sensor,
                    "flow": flow,
                    "pressure": 0.1 * flow + rng.normal(0, 0.05, readings),
                    "temperature": 60 + np.cumsum(rng.normal(0, 0.05, readings)),
                }
            )
        )
    return pd.concat(frames).sort_values("event_time", kind="stable", ignore_index=True)


@pytest.fixture(scope="session")
def readings():
    return plant()
