"""Late and ahead, by a rule that knows nothing but the order of readings in their partition."""

from collections import deque
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import detectors
from workbench.detectors.partition_time import (
    MEMORY,
    PartitionJudge,
    arrivals,
    source_partitions,
)
from workbench.errors import DetectorError
from workbench.stream.function.partition_clock import PartitionClock

LATENESS_MS, AHEAD_MS = 10, 100


class Clock:
    """The slow twin: one partition, one reading at a time, as the rule is told."""

    def __init__(self, lateness_ms, ahead_ms):
        self.lateness_ms, self.ahead_ms = lateness_ms, ahead_ms
        self.clock, self.alone = None, None
        self.recent, self.doubted = deque(maxlen=MEMORY), []
        self.verdicts = {}

    def read(self, reading):
        _, time, _ = reading
        if self.clock is None:
            self.begin(reading)
        elif self.alone is not None and time < self.clock - self.ahead_ms:
            self.verdicts[self.alone] = "ahead"
            self.recent.clear()
            self.begin(reading)
        elif time > self.clock + self.ahead_ms:
            self.doubted.append(reading)
            sensors = {item for _, _, item in self.doubted}
            most = len(self.doubted) > 1 and 2 * len(sensors) > len(set(self.recent))
            if most or len(self.doubted) == MEMORY:
                self.believe()
        else:
            self.alone = None
            if time > self.clock - self.lateness_ms:
                doubted, self.doubted = self.doubted, []
                for item in doubted:
                    if item[1] > time + self.ahead_ms:
                        self.verdicts[item[0]] = "ahead"
                    else:
                        self.take(item)
            self.take(reading)

    def begin(self, reading):
        self.clock, self.alone = reading[1], reading[0]
        self.take(reading)

    def believe(self):
        doubted, self.doubted, self.alone = self.doubted, [], None
        self.clock = min(time for _, time, _ in doubted)
        for one in doubted:
            self.read(one)

    def take(self, reading):
        number, time, sensor = reading
        self.recent.append(sensor)
        self.verdicts[number] = "late" if time <= self.clock - self.lateness_ms else ""
        self.clock = max(self.clock, time)

    def end(self):
        while self.doubted:
            self.believe()
        return self.verdicts


def slow(times, sensors, partition, *, lateness_ms=LATENESS_MS, ahead_ms=AHEAD_MS):
    judged = {}
    for part in sorted(set(partition)):
        clock = Clock(lateness_ms, ahead_ms)
        for reading in zip(range(len(times)), times, sensors, strict=True):
            if partition[reading[0]] == part:
                clock.read(reading)
        judged |= clock.end()
    return [judged[number] for number in range(len(times))]


def fast(times, sensors, partition=None, *, ahead_ms=AHEAD_MS):
    arrived = arrivals(
        np.array(times), sensors, lateness_ms=LATENESS_MS, ahead_ms=ahead_ms, partition=partition
    )
    return ["late" if late else "ahead" if ahead else ""
            for late, ahead in zip(arrived.late, arrived.ahead, strict=True)]  # fmt: skip


STEPS = st.sampled_from([0, 1, 1, 1, 5, 9, 10, 11, -3, -10, -11, 99, 100, 101, 400, -400, 5000])
READINGS = st.lists(
    st.tuples(STEPS, st.booleans(), st.integers(0, 4), st.integers(0, 2)), max_size=60
)


def timed(readings):
    """Times that move by steps, or stand beside time for one reading."""
    now, times = 10_000, []
    for step, stays, _, _ in readings:
        times.append(now + step)
        now += step if stays and step < 1000 else max(0, min(step, 1))
    return times


@given(READINGS)
def test_the_rule_is_that_of_the_slow_twin(readings):
    times = timed(readings)
    sensors, partition = [one[2] for one in readings], [one[3] for one in readings]

    assert fast(times, sensors, partition) == slow(times, sensors, partition)


@given(READINGS, st.lists(st.integers(0, 60), max_size=8))
def test_readings_that_come_piece_by_piece_are_judged_as_in_one_piece(readings, cuts):
    times, sensors = np.array(timed(readings), np.int64), np.array([r[2] for r in readings], int)
    judge, verdicts = PartitionJudge(LATENESS_MS, AHEAD_MS), {}
    bounds = [0, *sorted(cut for cut in cuts if cut <= len(times)), len(times)]

    for start, stop in pairwise(bounds):
        piece = slice(start, stop)
        rows, late, ahead = judge.take(times[piece], sensors[piece], ended=False)
        verdicts |= dict(zip(rows.tolist(), zip(late, ahead, strict=True), strict=True))
    rows, late, ahead = judge.take(times[:0], sensors[:0], ended=True)
    verdicts |= dict(zip(rows.tolist(), zip(late, ahead, strict=True), strict=True))

    whole = arrivals(times, sensors, lateness_ms=LATENESS_MS, ahead_ms=AHEAD_MS)
    expected = list(zip(whole.late, whole.ahead, strict=True))
    assert [verdicts[number] for number in range(len(times))] == expected


@dataclass(frozen=True)
class Reading:
    number: int
    event_ms: int
    sensor: str


class Said:
    """What a clock said: verdicts by number, and the readings that it let go."""

    def __init__(self):
        self.verdicts, self.released = {}, []

    def late(self, reading):
        self.verdicts[reading.number] = "late"

    def taken(self, reading):
        assert reading.number not in self.verdicts

    def ahead(self, reading, lead_ms, clock_ms):
        assert lead_ms > AHEAD_MS
        assert clock_ms == reading.event_ms - lead_ms
        self.verdicts[reading.number] = "ahead"

    def due(self, reading):
        self.released.append(reading)


@given(READINGS)
def test_the_clock_that_takes_readings_one_by_one_says_the_same(readings):
    times, sensors = timed(readings), [str(reading[2]) for reading in readings]
    said = Said()
    clock = PartitionClock(LATENESS_MS, AHEAD_MS, said)

    for number, (time, sensor) in enumerate(zip(times, sensors, strict=True)):
        clock.arrive(Reading(number, time, sensor))
    due = list(said.released)

    slowly = Clock(LATENESS_MS, AHEAD_MS)
    for number, (time, sensor) in enumerate(zip(times, sensors, strict=True)):
        slowly.read((number, time, sensor))
    taken = [n for n, verdict in slowly.verdicts.items() if verdict == ""]
    until = (slowly.clock or 0) - LATENESS_MS
    assert sorted(reading.number for reading in due) == sorted(
        n for n in taken if times[n] <= until
    )
    assert [reading.event_ms for reading in due] == sorted(reading.event_ms for reading in due)
    assert said.verdicts == {n: verdict for n, verdict in slowly.verdicts.items() if verdict}
    clock.end()
    assert said.verdicts == {n: verdict for n, verdict in slowly.end().items() if verdict}
    taken = [n for n, verdict in slowly.verdicts.items() if verdict == ""]
    assert sorted(reading.number for reading in said.released) == sorted(taken)


@given(READINGS, st.randoms())
def test_the_order_in_which_partitions_are_read_changes_nothing(readings, random):
    times = timed(readings)
    sensors, partition = [item[2] for item in readings], [item[3] for item in readings]
    turns = list(partition)
    random.shuffle(turns)
    rows = {
        part: [n for n, item in enumerate(partition) if item == part] for part in set(partition)
    }
    order = [rows[part].pop(0) for part in turns]

    mixed = fast(*([column[n] for n in order] for column in (times, sensors, partition)))

    expected = fast(times, sensors, partition)
    assert mixed == [expected[n] for n in order]


@given(READINGS)
def test_read_by_its_clock_partitions_are_in_step(readings):
    """Then the slowest partition's watermark lets no reading of another come behind it."""
    times = timed(readings)
    sensors, partition = [item[2] for item in readings], [item[3] for item in readings]
    arrived = arrivals(
        np.array(times, dtype=np.int64), sensors, lateness_ms=LATENESS_MS, ahead_ms=AHEAD_MS,
        partition=partition,
    )  # fmt: skip
    for part in set(partition):
        own = arrived.clock_ms[np.array(partition) == part]
        assert (np.diff(own) >= 0).all()  # so that each partition stays in its own order
    taken = ~arrived.left_out
    newest = {}
    for n in np.lexsort((partition, arrived.clock_ms)):
        if taken[n]:
            others = [item - LATENESS_MS for item in newest.values()]
            assert not others or times[n] > min(others)
        newest[partition[n]] = arrived.clock_ms[n]


@given(READINGS)
def test_without_a_bound_the_rule_is_that_of_late(readings):
    times, partition = timed(readings), [one[3] for one in readings]
    sensors = [one[2] for one in readings]

    arrived = arrivals(
        np.array(times, dtype=np.int64), sensors, lateness_ms=LATENESS_MS, partition=partition
    )

    late = detectors.late(np.array(times, dtype=np.int64), LATENESS_MS, np.array(partition))
    assert (arrived.late == late).all()
    assert not arrived.ahead.any()


def minutes(n, *, sensors=4, step_ms=50):
    """Readings of `sensors` sensors in turn."""
    number = np.arange(n)
    return number // sensors * step_ms, number % sensors


def test_one_clock_a_day_ahead_silences_nobody():
    times, sensors = minutes(400)
    times[10::40] += 86_400_000  # of sensor 2, now and then

    verdicts = np.array(fast(times, sensors))

    assert (verdicts[10::40] == "ahead").all()
    assert (np.delete(verdicts, np.arange(10, 400, 40)) == "").all()


def test_a_sensor_whose_clock_stays_ahead_is_refused_at_each_reading():
    times, sensors = minutes(400)
    times[(sensors == 1) & (np.arange(400) > 50)] += 3_600_000

    verdicts = np.array(fast(times, sensors))

    assert ((verdicts == "ahead") == (times > 3_000_000)).all()
    assert not (verdicts == "late").any()


@pytest.mark.parametrize("sensors", [1, 4])
def test_a_first_reading_that_is_ahead_does_not_make_the_clock(sensors):
    times, names = minutes(40, sensors=sensors)
    times[0] += 86_400_000

    assert fast(times, names) == ["ahead", *[""] * 39]


@pytest.mark.parametrize("sensors", [1, 2, 4, 30])
def test_where_all_were_silent_all_are_taken(sensors):
    times, names = minutes(300, sensors=sensors)
    times[150:] += 28_800_000

    assert fast(times, names) == [""] * 300


@pytest.mark.parametrize("sensors", [1, 2, 4, 30])
def test_readings_that_come_more_seldom_than_the_bound_are_taken(sensors):
    times, names = minutes(300, sensors=sensors, step_ms=3_600_000)

    assert fast(times, names) == [""] * 300


def test_the_last_sensor_left_is_taken_after_as_many_readings_as_are_remembered():
    times, names = minutes(400)
    seldom = times[-1] + 1000 * np.arange(1, MEMORY + 50)
    after = times[-1] + seldom[-1] + 50 * np.arange(40)

    verdicts = fast([*times, *seldom, *after], [*names, *[0] * (MEMORY + 49), *[0] * 40])

    assert verdicts == [""] * len(verdicts)


def test_a_reading_without_a_sensor_moves_no_clock():
    found = arrivals(np.array([1, 10**9, 2]), ["a", None, "b"], lateness_ms=1, ahead_ms=10)

    assert not found.left_out.any()


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"lateness_ms": 0}, "lateness is 0 ms, at least 1 is needed"),
        ({"lateness_ms": 1, "ahead_ms": 0}, "the lead is 0 ms, at least 1 is needed"),
    ],
)
def test_a_bound_of_nothing_is_refused(given_, message):
    with pytest.raises(DetectorError) as error:
        arrivals(np.array([1]), ["a"], **given_)

    assert str(error.value) == message


def test_message_ids_say_the_partition():
    frame = pd.DataFrame({"message_id": ["7:0:1:0", "8:0:0:0", "7:1:1:-1"], "mine": [1, 2, 3]})

    assert source_partitions(frame).tolist() == [1, 0, 1]
    assert source_partitions(frame, "mine").tolist() == [0, 1, 2]
    assert source_partitions(frame.drop(columns="message_id")) is None
    assert source_partitions(frame.assign(message_id=range(3))) is None


def test_a_topic_with_partitions_is_scored_whole_in_whatever_order_it_is_read(tmp_path):
    """Half of it was late: partitions come one after another."""
    n, rng = 400, np.random.default_rng(1)
    minute = np.repeat(np.arange(n), 4)
    fault = np.where((minute >= 300) & (minute < 320), 5, 0)
    frame = pd.DataFrame(
        {
            "pump": [f"p{1 + i % 4}" for i in range(4 * n)],
            "event_time": pd.to_datetime(minute * 60_000, unit="ms", utc=True),
            "bar": 10 + rng.normal(0, 0.1, 4 * n) + fault,
            "message_id": [f"7:{i}:{i % 2}:-1" for i in range(4 * n)],
        }
    )
    spec = {"name": "robust_z", "window": 1, "channels": ["bar"]}
    fitted = detectors.fit(spec, frame[frame["bar"] < 12], sensor="pump")
    rule = detectors.EpisodeRule(3, 3, 3)
    detectors.save(fitted, tmp_path / "package", threshold=10.0, rule=rule, training={})
    package = detectors.load(tmp_path / "package")
    asked = {"sensor": "pump", "lateness_ms": 1000, "ahead_ms": 300_000}

    by_partition = frame.sort_values("message_id", key=lambda ids: ids.str[-4:], kind="stable")
    found = [detectors.detect(package, one, **asked) for one in (frame, by_partition)]

    for detection in found:
        assert not detection.late.any()
        assert not detection.ahead.any()
        assert len(detection.episodes) == 4
