"""The certificate of a Pulsar Function: the exported file's own code, compared with the batch path.

Messages with every trouble go through it; then it differs in one thing each time, as code that was
changed on one side may, and each time the certificate refuses.
"""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from workbench import detectors
from workbench.errors import StreamError
from workbench.stream import parse_stream
from workbench.stream.function import memory, partition_clock, process
from workbench.stream.promotion.function_proof import prove_function
from workbench.stream.promotion.proof import as_run
from workbench.stream.promotion_log import add_package

pytestmark = pytest.mark.slow


def troubled(readings, messages_of):
    """Readings by two partitions, one after the other; some ahead, and messages that are none."""
    number = np.arange(len(readings))
    ahead = np.isin(number, [40, 900, 1500])
    frame = readings.assign(
        event_time=readings["event_time"] + pd.to_timedelta(ahead * 86_400, unit="s"),
        message_id=[f"7:{n}:{n % 6 % 2}:-1" for n in number],
    )
    frame.loc[[17, 1400], ["pump", "pressure_bar", "flow_l_min"]] = [None, np.nan, np.nan]
    frame = frame.iloc[np.argsort(number % 6 % 2, kind="stable")].reset_index(drop=True)
    messages = messages_of(frame)
    values = messages["value"].to_pylist()
    nameless = np.flatnonzero(frame["pump"].isna())
    values[nameless[0]], values[nameless[1]] = b"no reading", None
    return frame, messages.set_column(4, "value", pa.array(values, pa.binary()))


@pytest.fixture
def case(store, package_folder, readings, stream, messages_of):
    add_package(package_folder)
    package = as_run(stream, detectors.load(package_folder))
    return stream, package, *troubled(readings, messages_of)


def test_the_function_and_the_batch_path_agree_on_the_messages(case):
    proof = prove_function(*case, floor=0.9)

    assert proof.reasons() == []
    assert (proof.compared, proof.read) == ("the Pulsar Function", "the messages of the archive")
    assert proof.readings == len(case[2])
    assert proof.scored > 2_000
    assert proof.alerts > 3
    assert proof.late_batch == proof.late_stream > 50
    assert proof.unscored["refused"] == 2
    assert proof.unscored["ahead"] == 3
    assert "the Pulsar Function" in json.loads(proof.json())["compared"]


def test_derived_channels_are_those_of_the_batch_path(store, content, readings, messages_of):
    stream = parse_stream("d", content(derived={"ratio": "pressure_bar / (2 + flow_l_min)"}))
    frame, messages = troubled(readings, messages_of)
    spec = {"name": "robust_z", "window": 3, "channels": ["ratio"]}
    ratio = readings["pressure_bar"] / (2 + readings["flow_l_min"])
    detector = detectors.fit(spec, readings.assign(ratio=ratio), sensor="pump")
    rule = detectors.EpisodeRule()
    detectors.save(detector, store / "new", threshold=4.0, rule=rule, training={})
    add_package(store / "new")

    proof = prove_function(stream, detectors.load(store / "new"), frame, messages, floor=0.9)

    assert proof.reasons() == []
    assert proof.scored > 2_000


def _lateness(patch):
    settle = partition_clock.PartitionClock.__init__

    def later(self, lateness_ms, ahead_ms, listener):
        settle(self, lateness_ms + 1000, ahead_ms, listener)

    patch.setattr(partition_clock.PartitionClock, "__init__", later)


def _believes_all(patch):
    settle = partition_clock.PartitionClock.__init__

    def bold(self, lateness_ms, ahead_ms, listener):
        settle(self, lateness_ms, ahead_ms * 1000, listener)

    patch.setattr(partition_clock.PartitionClock, "__init__", bold)


def _zero_for_nan(patch):
    parse = process.parse

    def filled(*given):
        reading = parse(*given)
        reading.channels = {n: np.nan_to_num(value) for n, value in reading.channels.items()}
        return reading

    patch.setattr(process, "parse", filled)


def _half_precision(patch):
    scores = memory.window_scores
    patch.setattr(memory, "window_scores", lambda *given: scores(*given).astype(np.float32))


def _threshold_beside(patch):
    patch.setattr(memory.Memory, "threshold", 3.5)


def _alarm_one_longer(patch):
    patch.setattr(memory, "_quiet", lambda above, m: len(above) > m and not any(above[-m - 1 :]))


def _takes_what_is_none(patch):
    parse = process.parse

    def lenient(stream, data, place, times, derived):
        fallback = b'{"pump": "pump-1"}'
        return parse(stream, data if data.startswith(b"{") else fallback, place, times, derived)

    patch.setattr(process, "parse", lenient)


DIFFERENCES = {
    "a lateness of a second more": _lateness,
    "a clock that believes everybody": _believes_all,
    "a parser that takes NaN for 0": _zero_for_nan,
    "scores in half the precision": _half_precision,
    "another threshold": _threshold_beside,
    "an alarm that is reset later": _alarm_one_longer,
    "a parser that takes what is no reading": _takes_what_is_none,
}


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_a_function_that_differs_is_refused(case, difference, monkeypatch):
    DIFFERENCES[difference](monkeypatch)

    assert prove_function(*case, floor=0.9).reasons() != []


def test_a_sensor_that_comes_by_several_partitions_is_refused_by_name(case, messages_of):
    stream, package, frame, _ = case
    frame = frame.assign(message_id=[f"7:{n}:{n % 2}:-1" for n in range(len(frame))])

    with pytest.raises(StreamError) as error:
        prove_function(stream, package, frame, messages_of(frame))

    assert str(error.value) == (
        "readings of pump pump-1 come by partitions 0, 1: "
        "a function merges nothing across partitions\n"
        f"  in {stream.topic}\n"
        "  workbench stream run pumps: the job puts them in order"
    )
