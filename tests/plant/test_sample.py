"""The sample in data/: really offloaded, and still what the simulator says."""

from pathlib import Path

import pandas as pd

import workbench
from workbench import evaluation, plant

DATA = Path(__file__).parents[2] / "data"
TOPIC = "persistent://public/default/pumps"


def test_the_archive_holds_exactly_what_the_plant_sent():
    sent, _ = plant.simulate()

    read = workbench.replay(TOPIC, archive=str(DATA / "archive"))

    columns = ["pump", "event_time", *plant.CHANNELS]
    pd.testing.assert_frame_equal(read[columns], sent[columns], check_dtype=False)


def test_the_labels_are_the_plants_faults():
    _, faults = plant.simulate()

    labels = evaluation.read_labels(DATA / "labels.csv")

    faults = faults.sort_values(["sensor", "start"], ignore_index=True)
    for column in ("sensor", "kind", "channels"):
        assert labels[column].tolist() == faults[column].tolist()
    assert (abs(labels["start"] - faults["start"]) < pd.Timedelta(seconds=1)).all()


def test_the_sample_is_small_enough_to_clone():
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) <= 12 * 2**20
