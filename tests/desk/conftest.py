"""A small plant, scored once."""

from types import SimpleNamespace

import pytest

from workbench import detectors, plant


@pytest.fixture(scope="session")
def scored(tmp_path_factory):
    readings, labels = plant.simulate(pumps=2, days=4, seed=7)
    early = readings["event_time"] < "2026-01-07T00:00:00Z"
    spec = {"name": "regression", "window": 10, "channels": list(plant.CHANNELS)}
    fitted = detectors.fit(spec, readings[early], sensor="pump", seed=7)
    folder = tmp_path_factory.mktemp("desk") / "package"
    rule = detectors.EpisodeRule(k=3, n=5, m=10)
    detectors.save(fitted, folder, threshold=4.0, rule=rule, training={})
    package = detectors.load(folder)
    rest = readings[~early].reset_index(drop=True)
    detection = detectors.detect(package, rest, sensor="pump", lateness_ms=60_000)
    return SimpleNamespace(readings=rest, detection=detection, package=package, labels=labels)
