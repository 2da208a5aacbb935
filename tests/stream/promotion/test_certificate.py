"""The certificate proves something: it refuses what differs, and what is hardly looked at.

One job runs over messages with every trouble, and over copies that differ in one thing each; then
the batch path differs in one thing each, as two implementations may. Each time it refuses.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from workbench import detectors
from workbench.detectors import EpisodeRule
from workbench.stream import parse_stream, run
from workbench.stream.promotion.proof import as_run, batch_path, certify, prove
from workbench.stream.promotion_log import add_package
from workbench.stream.running import originals

pytestmark = pytest.mark.flink
START_MS = 1_767_571_200_000
LATENESS_MS = 30_000


def plant(readings=1_200, *, seed=3):
    """Readings of three pumps in two partitions: late ones, gaps, bursts, missing values."""
    rng = np.random.default_rng(seed)
    number = np.arange(readings)
    minute = number // 3 + np.where(number > readings // 2, 60, 0)
    times = START_MS + minute * 60_000 + number % 3
    late = rng.random(readings) < 0.02
    times[late] -= 90_000
    # one just in time and one just late, by a millisecond
    for place, ms in ((600, 1), (606, 0)):
        before = times[:place][number[:place] % 3 % 2 == 0]
        times[place] = before.max() - LATENESS_MS + ms
    values = rng.normal(size=(readings, 2)).round(3)
    values[(number % 300 < 24) & (number % 3 == 1)] += 6
    values[rng.random((readings, 2)) < 0.002] = np.nan
    frame = pd.DataFrame(
        {
            "pump": [f"pump-{pump}" for pump in number % 3 + 1],
            "event_time": pd.to_datetime(times, unit="ms", utc=True),
            "pressure_bar": values[:, 0],
            "flow_l_min": values[:, 1],
            "message_id": [f"7:{place}:{place % 3 % 2}:0" for place in number],
        }
    )
    # a topic's partitions lie one after another in an archive
    partition = frame["message_id"].str.split(":").str[2]
    return frame.iloc[np.argsort(partition, kind="stable")].reset_index(drop=True)


def _with_values(messages, change):
    values = [change(value.as_py()) for value in messages["value"]]
    return messages.set_column(4, "value", pa.array(values, pa.binary()))


HONEST = "the messages as they are"
OTHER_JOB = {
    HONEST: lambda messages: messages,
    "a partition that is not read": lambda m: m.filter(pc.equal(m["partition"], 0)),
    "a message that comes twice": lambda m: pa.concat_tables([m, m.slice(100, 1)]),
    "a parser that refuses NaN": lambda m: _with_values(m, lambda v: v.replace(b"NaN", b"INF")),
    "a value that is cut": lambda m: _with_values(m, lambda v: v.replace(b"0.7", b"0.")),
    "times of publication": lambda m: m.set_column(2, "event_ms", pa.array([0] * len(m))),
}
_PARTITIONS = 2  # of one copy


def _copy(frame, number):
    """The readings again, of other sensors in other partitions."""
    ids = frame["message_id"].str.split(":")
    return frame.assign(
        pump=f"{number}/" + frame["pump"],
        message_id=[f"{a}:{b}:{int(part) + _PARTITIONS * number}:{d}" for a, b, part, d in ids],
    )


def _copied(frame, messages, number):
    """A copy of readings and their messages, of which there may be more or fewer."""
    rows = pd.Index(frame["message_id"]).get_indexer(messages["message_id"].to_pandas())
    copy = _copy(frame.iloc[rows], number)
    sensor = f'"pump": "{number}/'.encode()
    values = [value.as_py().replace(b'"pump": "', sensor) for value in messages["value"]]
    table = messages.set_column(0, "message_id", pa.array(copy["message_id"].tolist()))
    partition = pc.add(messages["partition"], _PARTITIONS * number)
    table = table.set_column(1, "partition", partition)
    return copy, table.set_column(4, "value", pa.array(values, pa.binary()))


def _of_copy(outcome, number):
    """What the job made of one copy, as if there were no other."""
    parts = {name: getattr(outcome, name) for name in ("scores", "late", "refused")}
    for name, part in parts.items():
        partition = part["message_id"].str.split(":").str[2].astype(int)
        part = part[partition // _PARTITIONS == number]
        ids = part["message_id"].str.split(":")
        parts[name] = part.assign(
            message_id=[f"{a}:{b}:{int(c) - _PARTITIONS * number}:{d}" for a, b, c, d in ids]
        )
        if name == "scores":
            parts[name]["sensor"] = parts[name]["sensor"].str.split("/", n=1).str[1]
    alerts = outcome.alerts[outcome.alerts["sensor"].str.startswith(f"{number}/")]
    alerts = alerts.assign(sensor=alerts["sensor"].str.split("/", n=1).str[1])
    return replace(outcome, alerts=alerts, **parts)


@pytest.fixture(scope="module")
def proven(tmp_path_factory, package_folder, messages_of):
    """A stream, its package, readings and their messages, and what one job made of the copies."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("certificate")
        patch.setenv("WORKBENCH_STORE", str(folder / "store"))
        frame = plant()
        detector = detectors.load(package_folder).detector
        scores = detectors.score_readings(detector, frame, sensor="pump", lateness_ms=LATENESS_MS)
        threshold = float(np.sort(scores[np.isfinite(scores)])[-40])  # a score is just it
        rule = EpisodeRule(1, 3, 4)
        detectors.save(detector, folder / "p", threshold=threshold, rule=rule, training={})
        add_package(folder / "p")
        content = {
            "topic": "persistent://public/default/pumps",
            "sensor": "pump",
            "channels": ["pressure_bar", "flow_l_min"],
            "lateness_s": LATENESS_MS / 1000,
            "window": 8,
            "alerts": "persistent://public/default/alerts",
        }
        stream = parse_stream("pumps", content)
        package = as_run(stream, detectors.load(folder / "p"))
        messages = messages_of(frame)
        copies = [
            _copied(frame, differ(messages), number)
            for number, differ in enumerate(OTHER_JOB.values())
        ]
        outcome = run(
            stream,
            pd.concat([copy for copy, _ in copies], ignore_index=True),
            package=package.id,
            messages=pa.concat_tables([table for _, table in copies]),
        )
        outcomes = {name: _of_copy(outcome, number) for number, name in enumerate(OTHER_JOB)}
        yield stream, package, frame, messages, outcomes


def test_the_honest_paths_agree_on_the_messages(proven):
    stream, package, frame, messages, _ = proven

    proof = prove(stream, package, frame, messages, floor=0.9)

    assert proof.reasons() == []
    assert proof.read == "the messages of the archive"
    assert proof.alerts > 3
    assert proof.unscored["late"] > 5
    assert proof.unscored["gap"] >= 6
    assert proof.unscored["missing"] >= 1
    assert proof.scored + sum(proof.unscored.values()) == proof.readings == 1200
    assert proof.able == 1200 - 3 * 3
    assert proof.share > 0.95


def _shifted(frame, **by):
    return frame.assign(event_time=frame["event_time"] + pd.Timedelta(**by))


def _refusing_nan(frame):
    return frame.assign(
        pump=frame["pump"].where(frame[["pressure_bar", "flow_l_min"]].notna().all(axis=1), None)
    )


def _without_gaps(package):
    spec = {**package.detector.spec, "max_span_s": 7200}
    return replace(package, detector=replace(package.detector, spec=spec))


def _half_precision(stream, package, frame):
    batch = batch_path(stream, package, frame)
    return replace(batch, scores=batch.scores.astype(np.float32).astype(np.float64))


def _alerts_begun_late(stream, package, frame):
    batch = batch_path(stream, package, frame)
    late = batch.episodes.assign(start=batch.episodes["start"] + pd.Timedelta("1ms"))
    return replace(batch, episodes=late)


OTHER_BATCH = {
    "a lateness of one millisecond more": lambda s, p, f: batch_path(
        replace(s, lateness_s=30.001), p, f
    ),
    "a lateness of one millisecond less": lambda s, p, f: batch_path(
        replace(s, lateness_s=29.999), p, f
    ),
    "lateness of the merged stream": lambda s, p, f: batch_path(
        s, p, f.drop(columns="message_id")
    ),
    "a parser that refuses NaN": lambda s, p, f: batch_path(s, p, _refusing_nan(f)),
    "a parser that takes NaN for 0": lambda s, p, f: batch_path(s, p, f.fillna(0.0)),
    "channels in another order": lambda s, p, f: batch_path(
        s, p, f.rename(columns={"pressure_bar": "flow_l_min", "flow_l_min": "pressure_bar"})
    ),
    "a threshold that a score may equal": lambda s, p, f: batch_path(
        s, replace(p, threshold=float(np.nextafter(p.threshold, 0))), f
    ),
    "no gap rule": lambda s, p, f: batch_path(s, _without_gaps(p), f),
    "a time zone": lambda s, p, f: batch_path(s, p, _shifted(f, hours=1)),
    "scores in half the precision": _half_precision,
    "alerts that begin late": _alerts_begun_late,
    "another rule": lambda s, p, f: batch_path(s, replace(p, rule=EpisodeRule(1, 3, 5)), f),
}  # fmt: skip


@pytest.mark.parametrize("difference", OTHER_BATCH)
def test_a_batch_path_that_differs_is_refused(proven, difference):
    stream, package, frame, _, outcomes = proven
    ready = originals.prepared(stream, frame, None)

    other = OTHER_BATCH[difference](stream, package, ready)

    assert certify(stream, package, ready, other, outcomes[HONEST]).reasons() != []


@pytest.mark.parametrize("difference", OTHER_JOB)
def test_a_job_that_reads_something_else_is_refused(proven, difference):
    stream, package, frame, messages, outcomes = proven
    ready = originals.prepared(stream, frame, messages)
    batch = batch_path(stream, package, ready)

    found = certify(stream, package, ready, batch, outcomes[difference])

    assert found.passed == (difference == HONEST)


def by_minute():
    """Four pumps, a reading of each a minute, all of them prompt; each fails for 20 minutes.

    The input of `rows-not-in-time-order` and `stream-partitioned-topic`, where half of the readings
    and more were late in the job, and the certificate passed.
    """
    n, rng = 400, np.random.default_rng(1)
    minute = np.repeat(np.arange(n), 4)
    fault = np.where((minute >= 300) & (minute < 320), 5, 0)
    return pd.DataFrame(
        {
            "pump": [f"pump-{1 + i % 4}" for i in range(4 * n)],
            "event_time": pd.to_datetime(START_MS + minute * 60_000, unit="ms", utc=True),
            "bar": (10 + rng.normal(0, 0.1, 4 * n) + fault).round(3),
            "message_id": [f"7:{i}:0:-1" for i in range(4 * n)],
        }
    )


def _in_two_partitions(frame):
    part = np.arange(len(frame)) % 2
    frame = frame.assign(message_id=[f"7:{i}:{p}:-1" for i, p in enumerate(part)])
    return frame.iloc[np.argsort(part, kind="stable")].reset_index(drop=True)


ORDERS = {  # of lines: readings, and how many of them can be scored
    "by time": (lambda frame: frame, 1600),
    "in two partitions": (_in_two_partitions, 1600),
    "sensor after sensor": (lambda f: f.sort_values("pump", kind="stable"), 403),
    "newest first": (lambda f: f[::-1], 4),
}


@pytest.fixture(scope="module")
def ordered(tmp_path_factory):
    """A stream, its package, and readings in each order with what one job made of them."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("ordered")
        patch.setenv("WORKBENCH_STORE", str(folder / "store"))
        frame = by_minute()
        calm = frame[frame["bar"] < 12]
        spec = {"name": "robust_z", "window": 1, "channels": ["bar"]}
        detector = detectors.fit(spec, calm, sensor="pump")
        rule = EpisodeRule(3, 3, 3)
        detectors.save(detector, folder / "p", threshold=10.0, rule=rule, training={})
        add_package(folder / "p")
        topic = "persistent://public/default/minutes"
        content = {"topic": topic, "sensor": "pump", "channels": ["bar"], "window": 8}
        stream = parse_stream("minutes", content | {"alerts": f"{topic}-alerts"})
        package = as_run(stream, detectors.load(folder / "p"))
        frames = {name: order(frame) for name, (order, _) in ORDERS.items()}
        copies = [_copy(part, number) for number, part in enumerate(frames.values())]
        outcome = run(stream, pd.concat(copies, ignore_index=True), package=package.id)
        yield (
            stream,
            package,
            {
                name: (part.reset_index(drop=True), _of_copy(outcome, number))
                for number, (name, part) in enumerate(frames.items())
            },
        )


@pytest.mark.parametrize("order", ORDERS)
def test_readings_that_are_hardly_scored_prove_nothing(ordered, order):
    """What comes as it was measured is scored whole; partitions are no disorder, lines are."""
    stream, package, given = ordered
    frame, outcome = given[order]
    batch = batch_path(stream, package, frame)

    certified = certify(stream, package, frame, batch, outcome)
    proof = replace(certified, floor=stream.gate.scored_share)

    scored = ORDERS[order][1]
    assert proof.scored == scored
    assert proof.late_stream == proof.late_batch == 1600 - scored
    if scored == 1600:
        assert proof.reasons() == []
        assert proof.alerts == 4
    else:
        assert proof.reasons() == [
            f"only {scored:,} of 1,600 readings that could have a full window are scored, "
            f"{scored / 1600:.1%}, at least 90% are wanted: {1600 - scored:,} late"
        ]
