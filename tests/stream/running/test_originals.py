"""Notebook, backtest and job read the messages of a topic alike, however odd they are.

An archive is written with everything that a topic may hold: misfits, other spellings of a number,
event times of the message, of a field, of both and of neither, times that cannot be. The notebook
reads it by the archive's reader; backtest and parity let the job's own parser read the bytes.
"""

import json

import numpy as np
import pytest

from workbench import detectors
from workbench.detectors import EpisodeRule
from workbench.errors import StreamError
from workbench.stream import backtest, parity, parse_stream
from workbench.stream.frames import arrived
from workbench.stream.promotion.proof import as_run, batch_path, certify
from workbench.stream.promotion_log import add_package
from workbench.stream.running import originals
from workbench.times import iso

TOPIC = "persistent://public/default/odd"
START_MS = 1_767_571_200_000
SPELT = ["{}", "{}", "{}", "{:.1f}", '"NaN"', "NaN", "null", "1e400", "true", '"x"', "[1]", "{{}}"]
AT = ["{}", "{}", "{}.0", "{}e0", "null", "NaN", "0", "-5", "{}.5", "1e15", "9300000000000000000"]
WHOLE = [None, b"", b"[]", b"{", b'{"pump": ""}', b'\xef\xbb\xbf{"pump": "a", "bar": 1}', b"\xff"]


def schema(**types):
    fields = [{"name": name, "type": ["null", kind]} for name, kind in types.items()]
    return {"type": "record", "name": "Reading", "fields": fields}


def written(pulsar, folder, messages, definition, kind="JSON"):
    """Write a topic of (bytes, event ms or 0, publish ms), with its schema; return the archive."""
    entries = [
        pulsar.entry(value or b"", *([(12, event)] if event else []), publish_ms=published)
        for value, event, published in messages
    ]
    pulsar.ledger(folder, entries, topic="public/default/persistent/odd")
    stored = {"version": 0, "type": kind, "schema": definition}
    (folder / "schemas.json").write_text(json.dumps({TOPIC: [stored]}))
    return str(folder)


def plant(readings=1_500, *, seed=5, time="at_ms"):
    """Messages of three pumps; every fourth is odd in a field, in its times, or as a whole."""
    rng = np.random.default_rng(seed)
    messages = []
    for number in range(readings):
        event = START_MS + number // 3 * 60_000 + number % 3
        published = event + 20
        bar = rng.normal(5 + 4 * (number % 300 < 24), 1)
        fields = {"pump": f'"pump-{number % 3}"', "bar": f"{bar:.3f}", time: f"{event}"}
        carried = 0
        if rng.random() < 0.25:
            fields["bar"] = SPELT[rng.integers(len(SPELT))].format(round(bar, 3))
        if rng.random() < 0.1:
            fields[time] = AT[rng.integers(len(AT))].format(event)
        if rng.random() < 0.2:  # the message's own time counts before the field's
            carried = event + 7 if rng.random() < 0.9 else int(rng.choice([500, 9_300_000_000_000]))
        text = "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"
        value = text.encode() if rng.random() < 0.98 else WHOLE[rng.integers(len(WHOLE))]
        messages.append((value, carried, published))
    return messages


def content(**changes):
    return {
        "topic": TOPIC, "sensor": "pump", "channels": ["bar"], "event_time": "at_ms",
        "lateness_s": 90, "window": 8, "alerts": "persistent://public/default/alerts", **changes,
    }  # fmt: skip


def fitted(stream, url, folder):
    frame = originals.readings(stream, originals.readable(stream, url))
    detector = detectors.fit(
        {"name": "robust_z", "window": 3, "channels": ["bar"], "max_span_s": 900},
        frame[frame["pump"].notna()].head(400),
        sensor="pump",
    )
    detectors.save(detector, folder, threshold=2.5, rule=EpisodeRule(2, 3, 4), training={})
    return detectors.load(folder), add_package(folder)


@pytest.mark.flink
@pytest.mark.filterwarnings("ignore::workbench.errors.ArchiveWarning")
@pytest.mark.parametrize(("time", "kind"), [("at_ms", "long"), ("event_time", "double")])
def test_backtest_notebook_and_job_say_the_same_of_every_message(
    pulsar, store, tmp_path, kind, time
):
    (tmp_path / "bucket").mkdir()
    url = written(
        pulsar,
        tmp_path / "bucket",
        plant(time=time),
        schema(**{"pump": "string", "bar": "double", time: kind}),
    )
    stream = parse_stream("odd", content(event_time=time))
    package, package_id = fitted(stream, url, tmp_path / "package")
    frame = originals.readings(stream, originals.readable(stream, url))
    batch = batch_path(stream, as_run(stream, package), frame)

    tested = backtest(stream, archive=url, package=package_id)
    proven = parity(stream, package=package_id, archive=url, scored_share=0.5)

    certificate = certify(stream, package, frame, batch, tested.outcome)
    assert certificate.reasons() == proven.reasons() == []
    assert tested.execution == "streaming"
    kinds = tested.outcome.alerts["kind"].value_counts()
    assert certificate.alerts == proven.alerts == kinds["episode"] > 3
    assert kinds["clock"] >= 1
    assert certificate.unscored == proven.unscored
    assert min(certificate.unscored[why] for why in ("refused", "late", "ahead", "missing")) > 5
    assert (
        len(tested.outcome.refused)
        == certificate.unscored["refused"] + certificate.unscored["ahead"]
    )


@pytest.mark.flink
def test_batch_execution_refuses_what_is_no_reading(pulsar, store, tmp_path):
    (tmp_path / "bucket").mkdir()
    orderly = [
        (
            b'{"pump": "a", "bar": true}'
            if number == 200
            else json.dumps({"pump": "a", "bar": number % 7 / 2, "at_ms": at}).encode(),
            0,
            at + 5,
        )
        for number, at in enumerate(range(START_MS, START_MS + 400 * 60_000, 60_000))
    ]
    url = written(
        pulsar,
        tmp_path / "bucket",
        orderly,
        schema(pump="string", bar="double", at_ms="long"),
    )
    stream = parse_stream("odd", content())
    package, package_id = fitted(stream, url, tmp_path / "package")
    frame = originals.readings(stream, originals.readable(stream, url))

    tested = backtest(stream, archive=url, package=package_id)

    batch = batch_path(stream, as_run(stream, package), frame)
    assert tested.execution == "batch"
    assert certify(stream, package, frame, batch, tested.outcome).reasons() == []
    assert tested.summary()["refused"] == len(tested.outcome.refused) == 1
    assert tested.summary()["scored"] == np.isfinite(batch.scores).sum() > 300


def test_a_span_is_cut_by_the_time_that_the_stream_takes(pulsar, tmp_path):
    hour_ms = 3_600_000
    messages = [
        (json.dumps({"pump": "a", "bar": 1.0, "at_ms": START_MS + n * hour_ms}).encode(), 0, n + 1)
        for n in range(10)
    ]
    url = written(pulsar, tmp_path, messages, schema(pump="string", bar="double", at_ms="long"))
    stream = parse_stream("odd", content())
    opened = originals.readable(stream, url)

    frame = originals.readings(stream, opened, "2026-01-05T02:00:00Z", "2026-01-05T05:00:00Z")

    assert list(frame["at_ms"]) == [START_MS + n * hour_ms for n in (2, 3, 4)]
    assert list(detectors.epoch_ms(frame["event_time"])) == list(frame["at_ms"])
    assert frame.attrs["manifest"]["start"] == "2026-01-05T02:00:00Z"
    assert originals.last_ms(stream, opened) == START_MS + 9 * hour_ms


def test_one_clock_ahead_does_not_make_the_recent_span_its_own(pulsar, tmp_path):
    times = [START_MS + n * 60_000 for n in range(100)]
    times[50] += 400 * 86_400_000
    messages = [(b'{"pump": "a", "bar": 1.0}', at, START_MS) for at in times]
    url = written(pulsar, tmp_path, messages, schema(pump="string", bar="double"))

    stream = parse_stream("odd", content(event_time=""))
    last = originals.last_ms(stream, originals.readable(stream, url))

    assert last == times[-1]


@pytest.mark.parametrize("field", ["", "at_ms"])
def test_a_clock_that_was_ahead_before_a_span_makes_no_reading_of_it_late(pulsar, tmp_path, field):
    """Pump b led by ten days for five; what it said then lies in the span, and came before it."""
    hour_ms = 3_600_000
    messages = []
    for hour in range(14 * 24):
        for pump in "abcd":
            lead_ms = 10 * 24 * hour_ms if pump == "b" and hour < 120 else 0
            event_ms = START_MS + hour * hour_ms + lead_ms
            text = json.dumps({"pump": pump, "bar": 1.0, "at_ms": event_ms}).encode()
            messages.append((text, 0 if field else event_ms, START_MS + hour * hour_ms))
    fields = schema(pump="string", bar="double", at_ms="long")
    url = written(pulsar, tmp_path, messages, fields)
    stream = parse_stream("odd", content(event_time=field, ahead_s=86_400))
    opened = originals.readable(stream, url)
    start, stop = (iso(START_MS + day * 24 * hour_ms) for day in (8, 13))

    span = originals.readings(stream, opened, start, stop)

    assert len(span) == 4 * 5 * 24
    assert not arrived(stream, span).left_out.any()
    assert span.attrs["manifest"]["start"] == start
    whole = originals.readings(stream, opened)
    assert arrived(stream, whole).ahead.sum() == 120


@pytest.mark.parametrize("field", ["", "at_ms"])
def test_of_a_whole_topic_a_first_reading_that_is_ahead_is_kept_and_called_so(
    pulsar, tmp_path, field
):
    times = [START_MS + 10 * 86_400_000, *(START_MS + n * 60_000 for n in range(50))]
    messages = [
        (json.dumps({"pump": "a", "bar": 1.0, "at_ms": ms}).encode(), 0 if field else ms, START_MS)
        for ms in times
    ]
    fields = schema(pump="string", bar="double", at_ms="long")
    stream = parse_stream("odd", content(event_time=field, ahead_s=86_400))

    whole = originals.readings(
        stream, originals.readable(stream, written(pulsar, tmp_path, messages, fields))
    )

    assert list(np.flatnonzero(arrived(stream, whole).ahead)) == [0]


def test_a_field_of_times_that_holds_text_is_refused(pulsar, tmp_path):
    messages = [(b'{"pump": "a", "bar": 1.0, "at_ms": "soon"}', 0, START_MS)]
    url = written(pulsar, tmp_path, messages, schema(pump="string", bar="double", at_ms="string"))
    stream = parse_stream("odd", content())

    with pytest.raises(StreamError) as error:
        originals.readings(stream, originals.readable(stream, url))

    assert str(error.value) == "field at_ms holds object, expected epoch milliseconds"


def test_readings_in_avro_are_refused_as_the_job_refuses_them(pulsar, store, tmp_path):
    messages = [(b"\x02\x02a\x02" + bytes(8), 0, START_MS)]
    url = written(pulsar, tmp_path, messages, schema(pump="string", bar="double"), kind="AVRO")
    stream = parse_stream("odd", content(event_time=""))
    assert list(originals.readings(stream, originals.readable(stream, url))["pump"]) == ["a"]

    with pytest.raises(StreamError) as error:
        backtest(stream, archive=url)

    assert str(error.value) == (
        f"the readings are AVRO, expected JSON\n  in {TOPIC}\n"
        "  the job reads JSON, so nothing can be proven of other readings"
    )
