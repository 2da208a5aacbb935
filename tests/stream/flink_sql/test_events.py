"""Limits, sums and patterns against slow twins; a challenger beside a champion; live topics."""

import base64
import contextlib
import json
import time

import numpy as np
import pandas as pd
import pytest

from workbench import detectors
from workbench.detectors import EpisodeRule
from workbench.errors import StreamError
from workbench.stream import compare, parse_stream, run, sql
from workbench.stream.definition.patterns import Limit
from workbench.stream.flink_sql.events import COUNTERS
from workbench.stream.promotion_log import (
    BEGINNING,
    Promotion,
    add_package,
    append,
)

EVENTS = {
    "detector": "none",
    "machine": "station",
    "sums": {"station_flow": {"of": "flow_l_min", "every_s": 60}},
    "limits": {
        "over": "pressure_bar > 4",
        "falling": {"when": "flow_l_min_per_s < -0.05", "rule": {"k": 1, "n": 1, "m": 2}},
        "supply": "station_flow > 3",
        "odd": "pressure_bar > 2 AND flow_l_min < -1",
    },
    "patterns": {
        "silent": {"template": "silent_sensor", "after_s": 300},
        "surge": {
            "template": "sequence",
            "steps": ["pressure_bar > 3", "flow_l_min > 3"],
            "within_s": 300,
            "of": "machine",
        },
        "own": {
            "template": "sql",
            "query": "SELECT sensor, event_ms AS start_ms, event_ms AS stop_ms FROM readings "
            "WHERE pressure_bar > 6",
        },
    },
}


@pytest.fixture(scope="module")
def stations(readings):
    return readings.assign(station=np.where(readings["pump"] < "pump-4", "north", "south"))


@pytest.fixture(scope="module")
def kept(stations):
    """The readings that are not late, as the views of the job see them."""
    ms = detectors.epoch_ms(stations["event_time"])
    newest = np.maximum.accumulate(np.concatenate([[np.iinfo(np.int64).min // 2], ms[:-1]]))
    return stations.assign(ms=ms)[ms > newest - 30_000]


@pytest.mark.flink
def test_limits_sums_and_patterns_alert_without_a_detector(store, stations, kept, content):
    fields = {name: value for name, value in content().items() if name != "window"}

    outcome = run(parse_stream("events", fields | EVENTS), stations)

    alerts = outcome.alerts
    assert outcome.package == ""
    assert len(outcome.scores) == 0
    assert len(set(alerts["id"])) == len(alerts)
    for kind, expected in {
        "over": _episodes(kept, kept["pressure_bar"], 4.0, EpisodeRule()),
        "falling": _episodes(kept, -_rates(kept, "flow_l_min"), 0.05, EpisodeRule(1, 1, 2)),
        "odd": _episodes(kept, (kept["pressure_bar"] > 2) & (kept["flow_l_min"] < -1), 0.5),
        "supply": _sums(kept),
        "silent": _silences(kept, 300_000),
        "surge": _surges(kept, 300_000),
        "own": {(row.pump, row.ms) for row in kept[kept["pressure_bar"] > 6].itertuples()},
    }.items():
        found = alerts[alerts["kind"] == kind]
        starts = set(zip(found["sensor"], detectors.epoch_ms(found["start"]), strict=True))
        assert starts == expected, kind
        assert len(expected) > 3, kind
    over = alerts[alerts["kind"] == "over"]
    assert (over["peak_score"] > over["threshold"]).all()
    assert set(over["threshold"]) == {4.0}
    fallen = alerts[alerts["kind"] == "falling"]
    assert (fallen["peak_score"] < -0.05).all()
    assert set(fallen["threshold"]) == {-0.05}


@pytest.mark.flink
def test_an_alarm_that_lasts_is_an_alert_of_its_own_kind(
    store, package_folder, readings, content, tmp_path
):
    package = detectors.load(package_folder)
    stepped, last = readings.copy(), readings["event_time"].max()
    for pump, hours in {"pump-1": (5, 2), "pump-2": (3, 0), "pump-3": (2, 1.5)}.items():
        begin, end = (last - pd.Timedelta(hours=h) for h in hours)
        rows = (stepped["pump"] == pump) & stepped["event_time"].between(begin, end)
        stepped.loc[rows, package.detector.channels] += 300
    change = {"change": {"template": "lasting_alarm", "after_s": 3600}}
    stream = parse_stream("lasting", content(patterns=change))

    alerts = run(stream, stepped, package=add_package(package_folder)).alerts

    lasting = alerts[alerts["kind"] == "change"].set_index("sensor")
    batch = detectors.detect(package, stepped, sensor="pump", lateness_ms=stream.lateness_ms)
    assert sorted(lasting.index) == ["pump-1", "pump-2"]
    for pump, row in lasting.iterrows():  # pauses shorter than 6 minutes, of missing values, aside
        own = batch.episodes[batch.episodes["sensor"] == pump]
        apart = own["start"] - own["stop"].shift() >= pd.Timedelta(minutes=6)
        joined = own.groupby(apart.cumsum()).agg({"start": "min", "stop": "max"})
        (long,) = joined[joined["stop"] - joined["start"] > pd.Timedelta(hours=1)].to_numpy()
        assert row["start"] == long[0]
        assert pump == "pump-2" or row["stop"] == long[1]
    assert pd.isna(lasting.loc["pump-2", "stop"])  # it has not ended


@pytest.mark.flink
def test_an_alarm_by_any_rule_is_set_and_reset_as_in_the_batch_path(store, kept, content):
    rules = [(1, 1, 1), (1, 1, 4), (1, 4, 2), (2, 2, 1), (2, 3, 4), (3, 9, 2), (10, 30, 4)]
    limits = {
        f"limit_{k}_{n}_{m}": {"when": "pressure_bar > 0.7", "rule": {"k": k, "n": n, "m": m}}
        for k, n, m in rules
    }
    fields = {name: value for name, value in content().items() if name != "window"}
    stream = parse_stream("rules", {**fields, "detector": "none", "limits": limits})

    alerts = run(stream, kept).alerts

    index = ["sensor", "start"]
    columns = ["peak_time", "stop", "peak_score", "readings"]
    for (k, n, m), kind in zip(rules, limits, strict=True):
        streamed = alerts[alerts["kind"] == kind].set_index(index).sort_index()[columns]
        expected = detectors.episodes(
            kept["ms"].to_numpy(), kept["pump"].to_numpy(), kept["pressure_bar"].to_numpy(), 0.7,
            EpisodeRule(k, n, m),
        ).set_index(index).sort_index(kind="stable")[columns]  # fmt: skip
        expected = expected[~expected.index.duplicated(keep="last")]  # docs/design.md, D9
        pd.testing.assert_index_equal(streamed.index, expected.index)
        closed = streamed["stop"].notna()
        assert closed.sum() > 3, kind
        assert (~closed).sum() <= kept["pump"].nunique(), kind  # still on when the readings end
        pd.testing.assert_frame_equal(streamed[closed], expected[closed], check_dtype=False)


def _episodes(kept, values, threshold, rule=None):
    episodes = detectors.episodes(
        kept["ms"].to_numpy(),
        kept["pump"].to_numpy(),
        values.to_numpy(dtype=np.float64),
        threshold,
        rule or EpisodeRule(),
    )
    return set(zip(episodes["sensor"], detectors.epoch_ms(episodes["start"]), strict=True))


def _rates(kept, channel):
    ordered = kept.sort_values("ms", kind="stable").groupby("pump")
    seconds = ordered["ms"].diff() / 1000
    change = (ordered[channel].diff() / seconds).where(seconds > 0)
    return change.reindex(kept.index)


def _sums(kept):
    minutes = kept.assign(minute=kept["ms"] // 60_000)
    means = minutes.groupby(["station", "minute", "pump"])["flow_l_min"].mean()
    total = means.groupby(["station", "minute"]).sum().reset_index()
    episodes = detectors.episodes(
        total["minute"].to_numpy() * 60_000 + 59_999,
        total["station"].to_numpy(),
        total["flow_l_min"].to_numpy(),
        3.0,
        EpisodeRule(),
    )
    return set(zip(episodes["sensor"], detectors.epoch_ms(episodes["start"]), strict=True))


def _silences(kept, after_ms):
    ordered = kept.sort_values("ms", kind="stable")
    before = ordered.groupby("pump")["ms"].shift()
    gaps = ordered["ms"] - before > after_ms
    return {(pump, int(ms)) for pump, ms in zip(ordered["pump"][gaps], before[gaps], strict=True)}


def _surges(kept, within_ms):
    """From each reading that takes the first step, the nearest that takes the second."""
    surges = set()
    for station, rows in kept.sort_values("ms", kind="stable").groupby("station"):
        ms, pressure, flow = (rows[one].to_numpy() for one in ("ms", "pressure_bar", "flow_l_min"))
        row = 0
        while row < len(ms):
            later = np.flatnonzero((flow[row + 1 :] > 3) & (ms[row + 1 :] - ms[row] < within_ms))
            if pressure[row] > 3 and len(later):
                surges.add((station, int(ms[row])))
                row += 1 + later[0]
            row += 1
    return surges


@pytest.mark.flink
def test_a_challenger_and_a_further_detector_score_beside_the_champion(
    store, package_folder, readings, content, tmp_path
):
    package = detectors.load(package_folder)
    ids = {}
    for name, threshold in {"champion": 3.0, "challenger": 4.0, "beside": 5.0}.items():
        folder = tmp_path / name
        detectors.save(
            package.detector, folder, threshold=threshold, rule=package.rule, training={}
        )
        ids[name] = add_package(folder)
    for role in ("champion", "challenger"):
        append(Promotion("both", role, ids[role], BEGINNING, "2026-01-01T00:00:00Z"))
    topic = "persistent://public/default/shadow"
    stream = parse_stream("both", content(shadow=topic, also=[ids["beside"]]))

    outcome = run(stream, readings)

    for name, alerts in {
        "champion": outcome.alerts[outcome.alerts["package"] == ids["champion"]],
        "beside": outcome.alerts[outcome.alerts["package"] == ids["beside"]],
        "challenger": outcome.shadow,
    }.items():
        batch = detectors.detect(
            detectors.load(tmp_path / name), readings, sensor="pump", lateness_ms=30_000
        )
        assert set(alerts["package"]) == {ids[name]}
        assert list(alerts["start"]) == list(
            batch.episodes.sort_values(["start", "sensor"])["start"]
        )
        assert len(alerts) > 3
    assert len(outcome.alerts) == len(set(outcome.alerts["id"]))
    own = outcome.alerts[outcome.alerts["package"] == ids["champion"]].reset_index(drop=True)
    batch = detectors.detect(package, readings, sensor="pump", lateness_ms=30_000)
    from dataclasses import replace

    assert compare(replace(outcome, alerts=own), batch, readings).reasons() == []


@pytest.mark.flink
@pytest.mark.pulsar
def test_what_is_no_reading_is_named_and_the_job_goes_on(
    services, store, package_folder, readings, content, short_beats
):
    from workbench.broker import connect
    from workbench.services import ingest_frame
    from workbench.stream import start

    package = add_package(package_folder)
    topics = {
        name: f"persistent://public/default/watched-{name}"
        for name in ("topic", "alerts", "scores", "shadow", "refused", "heartbeat")
    }
    silence = {"dead": {"template": "silent_topic", "after_s": 8}}
    stream = parse_stream("watched", content(**topics, patterns=silence))
    sent = {"sensor": "pump", "time": "event_time", "values": list(stream.channels)}
    readings = pd.concat([readings.head(300), readings.iloc[299:]], ignore_index=True)
    ingest_frame(readings.head(300), stream.topic, **sent)
    wrong = {
        b"{": "it is no JSON: Unexpected end-of-input",
        b"": "it is empty",
        b"[1]": "it is no JSON object",
        b'{"pressure_bar": 1.5}': "it has no pump",
        b'{"pump": "pump-1", "pressure_bar": "high"}': "pressure_bar is high, not a number",
        b'{"pump": "pump-1", "flow_l_min": true}': "flow_l_min is true, not a number",
        b'{"pump": "pump-1", "flow_l_min": {}}': "flow_l_min is an object, not a number",
        b'{"pump": "pump-1"} {}': "something follows the JSON object",
    }
    with connect() as client:
        producer = client.create_producer(stream.topic, batching_enabled=False)
        ids = [str(producer.send(value)) for value in wrong]
    job = start(stream, package=package, position="earliest", restarts=0)
    early = _read(topics["scores"], 200, job)
    append(Promotion("watched", "challenger", package, BEGINNING, "2026-01-01T00:00:00Z"))
    time.sleep(6)  # a running job reads the promotions anew every 5 s
    ingest_frame(readings.iloc[300:], stream.topic, **sent)
    batch = detectors.detect(
        detectors.load(package_folder), readings, sensor="pump", lateness_ms=30_000
    )
    expected = int((~batch.late).sum())

    scores = _read(topics["scores"], expected - 200, job)
    refused = _read(topics["refused"], len(wrong), job)
    shadow = _read(topics["shadow"], 3, job)
    beats = _beats(topics["heartbeat"], len(readings) + len(wrong), job)
    last = readings["event_time"].max()
    alerts = _read(topics["alerts"], 3, job, lambda rows: _dead(rows)[-1:] == [last])

    assert job.state() == "RUNNING"
    job.stop()
    assert len(refused) == len(wrong)
    reasons = {row["message_id"]: row["reason"] for row in refused}
    for message_id, reason in zip(ids, wrong.values(), strict=True):
        assert reasons[message_id.strip("()").replace(",", ":")].startswith(reason)
    found = {row["message_id"]: row["score"] for row in scores}
    assert len(found) == len(scores)
    there = sorted(row for row in found.values() if row is not None)
    assert set(np.round(there, 9)) <= set(np.round(batch.scores[~np.isnan(batch.scores)], 9))
    assert len(there) > 1000
    assert {row["package"] for row in shadow} == {package}
    first = {row["first_message_id"] for row in shadow}
    assert not first & {row["message_id"] for row in early}  # nobody was challenger yet
    assert _dead(alerts)[-1] == last
    assert {row["sensor"] for row in alerts if row["kind"] == "dead"} == {"topic"}
    total = {name: sum(beat[name] for beat in beats) for name in COUNTERS}
    assert total["refused"] == len(wrong)
    assert total["read"] == len(readings) + len(wrong)
    assert total["late"] == batch.late.sum()
    assert total["duplicate"] == 1
    # what is within the lateness of the newest reading still waits
    assert len(scores) <= total["scored"] + total["warming"] <= expected
    assert total["alerts"] > 3


def _dead(alerts):
    """Since when the topic is silent, by its alerts."""
    return [pd.Timestamp(row["start"]) for row in alerts if row["kind"] == "dead"]


def _read(topic, least, job, enough=lambda _: True):
    """Read a topic until at least so many messages came, enough of them, and no more do."""
    import pulsar

    from workbench.broker import connect

    rows, until = [], time.monotonic() + 200
    with connect() as client:
        reader = client.create_reader(topic, pulsar.MessageId.earliest)
        while time.monotonic() < until and job.state() in {"CREATED", "RUNNING"}:
            try:
                message = reader.read_next(3000)
            except pulsar.Timeout:
                if len(rows) >= least and enough(rows):
                    break
                continue
            base64.b64decode(message.partition_key())
            rows.append(json.loads(message.data()))
    return rows


def _beats(topic, read, job):
    """Return the heartbeats of a job that has written all, once one counts nothing more."""
    import pulsar

    from workbench.broker import connect

    beats, until = [], time.monotonic() + 200
    with connect() as client:
        reader = client.create_reader(topic, pulsar.MessageId.earliest)
        while time.monotonic() < until and job.state() == "RUNNING":
            with contextlib.suppress(pulsar.Timeout):
                message = reader.read_next(3000)
                base64.b64decode(message.partition_key())
                beats.append(json.loads(message.data()))
                is_read = sum(beat["read"] for beat in beats) >= read
                if is_read and not any(beats[-1][name] for name in COUNTERS):
                    break
    return beats


def test_the_dry_run_shows_the_views_of_limits_and_patterns(store, content):
    stream = parse_stream("events", content(**EVENTS, heartbeat="persistent://public/default/h"))

    views = [line.split()[3] for line in sql(stream).splitlines() if line.startswith("CREATE")]

    assert {"sum_station_flow", "scores_of_over", "alarms_of_over", "heartbeat"} <= set(views)
    assert {"events_silent", "events_surge", "events_own"} <= set(views)
    assert "scores" not in views


@pytest.mark.parametrize(
    ("when", "value", "limit"),
    [
        ("flow > 9", "(flow)", 9.0),
        ("flow / head <= -1.5e2", "-(flow / head)", 150.0),
        ("flow > 9 AND head < 3", "CASE WHEN flow > 9 AND head < 3 THEN 1.0 ELSE 0.0 END", 0.5),
    ],
)
def test_a_comparison_tells_what_its_peak_is(when, value, limit):
    assert (Limit(when).value, Limit(when).limit) == (value, limit)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limits": {"a b": "x > 1"}}, "limit a b: 'a b' is no name: letters, digits and _"),
        ({"limits": {"a": "x > 1; DROP"}}, "limit a: 'x > 1; DROP' is no SQL expression"),
        ({"limits": {"a": {"whn": "x"}}}, "limit a has no key 'whn'\n  did you mean 'when'?"),
        ({"limits": {"a": {}}}, "limit a has no 'when'"),
        ({"limits": {"a": 3}}, "limit a is 3, expected when, rule"),
        (
            {"sums": {"a": {"of": "flow", "every_s": 60}}},
            "sum a is of 'flow', no channel\n  known: flow_l_min, pressure_bar",
        ),
        (
            {"sums": {"a": {"of": "flow_l_min", "every_s": 0}}},
            "sum a: every_s is 0, expected 0.001 to 2592000",
        ),
        (
            {"patterns": {"a": {"template": "silent"}}},
            "pattern a has no template 'silent'\n  did you mean 'silent_topic' or 'silent_sensor'?",
        ),
        (
            {"detector": "none", "patterns": {"a": {"template": "lasting_alarm", "after_s": 9}}},
            "pattern a is of the detector's alarm, and there is none",
        ),
        (
            {"patterns": {"a": {"template": "silent_topic", "after_s": "1"}}},
            "pattern a: after_s is '1', expected a number of seconds",
        ),
        (
            {"patterns": {"a": {"template": "sequence", "steps": ["x > 1"], "within_s": 3}}},
            "pattern a has 1 steps, expected 2 to 20",
        ),
        (
            {
                "patterns": {
                    "a": {"template": "sequence", "steps": ["x", "y"], "within_s": 3, "of": "pump"}
                }
            },
            "pattern a is of 'pump', expected sensor or machine",
        ),
        (
            {
                "patterns": {
                    "a": {
                        "template": "sequence",
                        "steps": ["x", "y"],
                        "within_s": 3,
                        "of": "machine",
                    }
                }
            },
            "pattern a is of a machine\n  name the field: machine: station",
        ),
        ({"also": [3]}, "also is [3], expected a list of package ids"),
        ({"detector": "none"}, "a stream without a detector needs limits or patterns"),
        (
            {"detector": "none", "limits": {"a": "x > 1"}, "shadow": "s"},
            "a stream without a detector has no 'shadow'",
        ),
        (
            {
                "limits": {"a": "flow_l_min > 1"},
                "patterns": {"a": {"template": "silent_topic", "after_s": 1}},
            },
            "the name 'a' stands twice",
        ),
    ],
)
def test_a_wrong_limit_or_pattern_is_refused(content, changes, message):
    with pytest.raises(StreamError) as error:
        parse_stream("north", content(**changes))

    assert str(error.value) == message


def test_a_condition_on_no_channel_is_refused_before_flink_sees_it(content):
    with pytest.raises(StreamError) as error:
        parse_stream("bad", content(detector="none", limits={"a": "no_such_channel > 1"}))

    assert error.value.message == (
        "limit a is 'no_such_channel > 1', which names 'no_such_channel', no channel"
    )
