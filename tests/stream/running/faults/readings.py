"""Readings without end, with planted bursts, and the thread that sends them."""

import json
import os
import threading
import time

import numpy as np
import pandas as pd

SEED = int(os.environ.get("FAULTS_SEED", "1"))
SENSORS = 40
TURNS = 60  # readings of each sensor in a block
BLOCK = SENSORS * TURNS
START_MS = 1_767_571_200_000
STEP_MS = 10
LATENESS_MS = 1_000
CHANNELS = ["pressure_bar", "flow_l_min"]
ALL = {f"pump-{number}" for number in range(SENSORS)}


def block(seed, number):
    """Readings of all sensors, 10 ms apart and a little out of order, calm at both ends.

    A burst of six is in every eighth sensor; `planted` are theirs, as (sensor, block).
    """
    rng = np.random.default_rng([seed, number])
    values = rng.normal(size=(BLOCK, 2)).clip(-2, 2)
    turn, sensor = np.divmod(np.arange(BLOCK), SENSORS)
    burst = (turn >= 30) & (turn < 36) & (number % 8 == sensor % 8)
    values[burst] += 9
    frame = pd.DataFrame(values, columns=CHANNELS)
    frame["sensor"] = [f"pump-{which}" for which in sensor]
    steps = number * BLOCK + np.arange(BLOCK)
    frame["event_ms"] = START_MS + steps * STEP_MS + rng.integers(-100, 100, BLOCK)
    return frame, {(f"pump-{which}", number) for which in sensor[burst]}


class Flow(threading.Thread):
    """Sends block after block, slowly, until told to end; then what makes all before it due.

    Attributes
    ----------
    sent
        How many readings were given to the client.
    planted
        Their bursts.
    flush_ms
        The event time of the last reading of each sensor, once all were sent.
    """

    def __init__(self, queue, seed, rate):
        super().__init__(daemon=True)
        self.queue, self.seed, self.rate = queue, seed, rate
        self.ending = threading.Event()
        self.sent, self.planted, self.flush_ms, self.failed = 0, set(), None, []

    def run(self):
        try:
            self.queue.send(self.due(), self.failed)
        except Exception as err:
            self.failed.append(err)

    def due(self):
        """Yield value, event time and key of each reading when it is to be sent."""
        number, self.began_s = 0, time.monotonic()
        while not self.ending.is_set():
            frame, planted = block(self.seed, number)
            yield from self.paced(frame)
            self.planted |= planted
            number += 1
        self.flush_ms = START_MS + number * BLOCK * STEP_MS + 10_000
        for sensor in sorted(ALL):
            yield message(sensor, (0.0, 0.0)), self.flush_ms, sensor

    def paced(self, frame):
        for row in frame.itertuples(index=False):
            yield message(row.sensor, row[:2]), row.event_ms, row.sensor
            self.sent += 1
            if self.sent % 20 == 0:  # those that waited for a broker come at once behind it
                due_s = self.began_s + self.sent / self.rate
                time.sleep(max(0.0, due_s - time.monotonic()))


def message(sensor, values):
    return json.dumps({"sensor": sensor, **dict(zip(CHANNELS, values, strict=True))}).encode()


class Stored:
    """What a topic really holds, in its order: columns, since millions of dicts are too many.

    `add` takes its messages one after the other, and `complete` tells when all are there.
    """

    def __init__(self, flush_ms):
        self.flush_ms = flush_ms
        self.flushed = set()
        self.columns = {name: [] for name in (*CHANNELS, "sensor", "event_ms", "id")}

    def add(self, message):
        if message.event_ms == self.flush_ms:
            self.flushed.add(message.key)
            return
        content = json.loads(message.value)
        for name in CHANNELS:
            self.columns[name].append(content[name])
        self.columns["sensor"].append(content["sensor"])
        self.columns["event_ms"].append(message.event_ms)
        self.columns["id"].append(message.id)

    @property
    def complete(self):
        """Whether the last reading of every sensor is there: each partition has one."""
        return self.flushed == ALL

    def frame(self):
        """Return all but the last reading of each sensor; `time` and `message_id` as a job's."""
        frame = pd.DataFrame(self.columns)
        times = pd.to_datetime(frame["event_ms"], unit="ms", utc=True)
        return frame.assign(time=times).rename(columns={"id": "message_id"})


def check_sent(frame, flow):
    """Whatever was sent is in the topic, as it was; return how much the client sent twice."""
    blocks = pd.concat([block(flow.seed, number)[0] for number in range(flow.sent // BLOCK)])
    names = ["event_ms", "sensor", *CHANNELS]
    there, sent = (
        each[names].sort_values(names, ignore_index=True).drop_duplicates(ignore_index=True)
        for each in (frame, blocks)
    )
    pd.testing.assert_frame_equal(there, sent, check_exact=True)
    return len(frame) - len(there)
