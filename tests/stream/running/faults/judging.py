"""What came out is what the batch path makes of what the topic really holds."""

import hashlib
import json
import math
import time
from typing import NamedTuple

import numpy as np

from workbench import detectors

from .readings import BLOCK, LATENESS_MS, START_MS, STEP_MS, Stored, check_sent

QUIET_S = 60  # a topic that gives nothing for so long has ended


class Outcome(NamedTuple):
    """What a job made of a topic, once it is found right."""

    alerts: dict  # the newest of each id
    messages: list  # all that were sent
    summary: str


def judge_job(queue, flow, folder, package):
    """Compare what a job made of a topic with the batch path."""
    frame = stored(queue, flow)
    twice = check_sent(frame, flow)
    expected = detected(folder, frame)
    scores = Scores(frame, expected.scores, flow.flush_ms)
    for message in queue.read(queue.scores, QUIET_S):
        scores.add(message.value)
        if scores.complete:
            break
    assert scores.complete, f"{scores.missing} readings have no score"
    time.sleep(6)  # a checkpoint later, an invented alert would be there
    messages = [json.loads(message.value) for message in queue.read(queue.alerts, 8)]
    alerts = check_alerts(queue.topic, messages, expected.episodes, flow.planted, package)
    summary = (
        f"{len(frame)} readings ({twice} sent twice by the client), {len(flow.planted)} planted "
        f"bursts, {len(alerts)} alerts in {len(messages)} messages, none lost or invented; "
        f"{scores.messages} scores, in order"
    )
    return Outcome(alerts, messages, summary)


def stored(queue, flow):
    """Return what the topic really holds, but for the last reading of each sensor."""
    stored = Stored(flow.flush_ms)
    for message in queue.read(queue.topic, QUIET_S):
        stored.add(message)
        if stored.complete:
            break
    return stored.frame()


def detected(folder, frame):
    """Return the batch path's scores and episodes."""
    detection = detectors.detect(
        detectors.load(folder), frame,
        sensor="sensor", time="time", lateness_ms=LATENESS_MS, ahead_ms=300_000,
    )  # fmt: skip
    assert not detection.late.any()
    return detection


class Scores:
    """The scores of a topic against the batch path's, one message after the other."""

    def __init__(self, frame, expected, flush_ms):
        self.flush_ms = flush_ms
        self.rows = {place: row for row, place in enumerate(frame["message_id"])}
        self.expected = np.asarray(expected, dtype=float)
        self.times = frame["event_ms"].to_numpy()
        self.is_there = np.zeros(len(frame), dtype=bool)
        self.missing = len(frame)
        self.newest_ms = {}
        self.messages = 0

    def add(self, value):
        """A score is the batch path's, however often it was sent; the first come in order."""
        score = json.loads(value)
        if score["event_ms"] == self.flush_ms:
            return
        row = self.rows[score["message_id"]]
        self.messages += 1
        given = math.nan if score["score"] is None else score["score"]
        assert same(given, self.expected[row]), (score, self.expected[row])
        if not self.is_there[row]:
            self.is_there[row] = True
            self.missing -= 1
            sensor, time_ms = score["sensor"], self.times[row]
            assert self.newest_ms.get(sensor, 0) <= time_ms, f"out of order: {score}"
            self.newest_ms[sensor] = time_ms

    @property
    def complete(self):
        """Whether each reading has one."""
        return not self.missing


def same(given, expected):
    return math.isclose(given, expected, rel_tol=1e-9) or (
        math.isnan(given) and math.isnan(expected)
    )


def iso(moment):
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def check_alerts(topic, messages, episodes, planted, package):
    """The alerts kept, one per id, are the episodes of the batch path; return them by id."""
    newest = {}
    for alert in messages:
        if newest.get(alert["id"], {}).get("status") != "closed":
            newest[alert["id"]] = alert
    expected = {}
    for row in episodes.itertuples():
        about = f"{topic}|{row.sensor}|{package}|episode|{row.start.value // 10**6}"
        expected[hashlib.sha256(about.encode()).hexdigest()[:32]] = row
    lost, invented = expected.keys() - newest.keys(), newest.keys() - expected.keys()
    assert (lost, invented) == (set(), set())
    for name, row in expected.items():
        check_alert(newest[name], row)
    blocks = {
        (row.sensor, (row.start.value // 10**6 - START_MS) // STEP_MS // BLOCK)
        for row in episodes.itertuples()
    }
    assert planted <= blocks
    return newest


def check_alert(alert, row):
    assert alert["status"] == "closed"
    span = (alert["sensor"], alert["start"], alert["stop"])
    assert span == (row.sensor, iso(row.start), iso(row.stop))
    assert (alert["peak_time"], alert["readings"]) == (iso(row.peak_time), row.readings)
    assert same(alert["peak_score"], row.peak_score)


def check_delivered(delivered, alerts, messages):
    """Each alert was delivered at least once as it ended, and none that no job sent."""
    sent = {}
    for alert in messages:
        sent.setdefault((alert["id"], alert["status"]), []).append(alert)
    invented = {each for each, alert in delivered.items() if alert not in sent.get(each, [])}
    lost = {name for name in alerts if (name, "closed") not in delivered}
    assert (lost, invented) == (set(), set())
