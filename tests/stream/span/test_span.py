"""A span exported piece by piece is the frame of `originals`, and is proven as the frame is."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from workbench import detectors
from workbench.detectors import EpisodeRule
from workbench.errors import StreamError
from workbench.stream import parse_stream
from workbench.stream.connectors import message_file
from workbench.stream.frames import arrived, in_step
from workbench.stream.promotion.certificates import Certificate
from workbench.stream.promotion.proof import alone, as_run, batch_path, certify, prove
from workbench.stream.promotion_log import add_package
from workbench.stream.running import originals
from workbench.stream.running.backtesting import order_matters
from workbench.stream.running.job import run_files
from workbench.stream.selection import select
from workbench.stream.span import pieces, proving
from workbench.stream.span.exporting import export
from workbench.stream.span.proving import compare_span, parity, prove_span
from workbench.times import iso

TOPIC = "persistent://public/default/odd"
START_MS = 1_767_571_200_000
DAY_MS = 86_400_000
ODD = ["null", "true", "1e400", '"x"']
NO_READING = [None, b"{", b"[]", b'{"pump": ""}']


def readings(random, pumps, count=1200):
    """Yield (value, event ms, publish ms): one in half an hour of each pump, late and odd ones."""
    for number in range(count):
        pump = pumps[number % len(pumps)]
        due_ms = START_MS + number // len(pumps) * 1_800_000 + number % 7
        event_ms = due_ms - (random.random() < 0.05) * int(random.integers(1, 20_000_000))
        event_ms += (random.random() < 0.01) * int(random.integers(2, 5)) * DAY_MS
        bar = f"{random.normal(5 + 4 * (number % 300 < 24), 1):.3f}"
        if random.random() < 0.05:
            bar = ODD[random.integers(len(ODD))]
        text = f'{{"pump": "{pump}", "bar": {bar}, "at_ms": {event_ms}}}'.encode()
        value = NO_READING[random.integers(4)] if random.random() < 0.02 else text
        yield value, event_ms if random.random() < 0.8 else 0, due_ms + 20


@pytest.fixture(params=[1, 3], ids=["a topic", "three partitions"])
def url(request, pulsar, tmp_path):
    """Write an archive in which a pump's readings may come by several partitions."""
    random = np.random.default_rng(7)
    (tmp_path / "bucket").mkdir()
    for part in range(request.param):
        ending = f"-partition-{part}" if request.param > 1 else ""
        pumps = [f"pump-{part + n}" for n in range(3)]
        entries = [
            pulsar.entry(value or b"", *([(12, event)] if event else []), publish_ms=published)
            for value, event, published in readings(random, pumps)
        ]
        topic = f"public/default/persistent/odd{ending}"
        pulsar.ledger(tmp_path / "bucket", entries, number=part + 1, topic=topic)
    kinds = {"pump": "string", "bar": "double", "at_ms": "long"}
    fields = [{"name": name, "type": ["null", kind]} for name, kind in kinds.items()]
    definition = {"type": "record", "name": "Reading", "fields": fields}
    stored = {"version": 0, "type": "JSON", "schema": definition}
    (tmp_path / "bucket" / "schemas.json").write_text(json.dumps({TOPIC: [stored]}))
    return str(tmp_path / "bucket")


def stream_of(**changes):
    content = {
        "topic": TOPIC, "sensor": "pump", "channels": ["bar"], "event_time": "at_ms",
        "lateness_s": 90, "ahead_s": 86_400, "window": 8,
        "alerts": "persistent://public/default/alerts", **changes,
    }  # fmt: skip
    return parse_stream("odd", content)


@pytest.fixture(params=[37, pieces.PIECE_ROWS], ids=["small pieces", "large pieces"])
def piece_rows(request, monkeypatch):
    monkeypatch.setattr(pieces.replay_pieces, "__kwdefaults__",
                        {**pieces.replay_pieces.__kwdefaults__, "rows": request.param})  # fmt: skip
    return request.param


SPANS = [
    (None, None),
    (START_MS + 3 * DAY_MS, None),
    (START_MS + 3 * DAY_MS, START_MS + 5 * DAY_MS),
]


@pytest.mark.filterwarnings("ignore::workbench.errors.ArchiveWarning")
@pytest.mark.parametrize("field", ["", "at_ms"])
@pytest.mark.parametrize("bounds", SPANS)
def test_an_exported_span_holds_the_readings_of_the_frame_and_says_the_same_of_their_time(
    url, tmp_path, piece_rows, field, bounds
):
    stream = stream_of(event_time=field)
    opened = originals.readable(stream, url)
    start, stop = (None if ms is None else iso(ms) for ms in bounds)
    frame = originals.readings(stream, opened, start, stop)

    span = export(stream, opened, tmp_path, start, stop, channels=("bar",))

    assert_same(stream, span, frame)
    messages = originals.messages(stream, opened, frame)
    message_file.write(messages.take(in_step(stream, frame)).to_batches(), tmp_path / "expected")
    span.source(tmp_path / "found")
    written, expected = (
        (tmp_path / name).read_text().split("\n") for name in ("found", "expected")
    )
    assert sorted(written) == sorted(expected)
    named = set(frame["message_id"][frame["pump"].notna()])
    assert by_partition(written, named) == by_partition(expected, named)
    assert span.order_matters() == order_matters(stream, frame)
    assert span.facts.readings == len(frame) > 0
    assert span.facts.sensors == set(frame["pump"].dropna())


def assert_same(stream, span, frame):
    rows = pa.Table.from_batches(list(span.batches())).to_pandas()
    fates = arrived(stream, frame)
    assert list(rows["message_id"]) == list(frame["message_id"])
    assert list(rows["sensor"].fillna("")) == list(frame["pump"].fillna(""))
    assert list(rows["time_ms"]) == list(detectors.epoch_ms(frame["event_time"]))
    np.testing.assert_array_equal(rows["c0"], frame["bar"].astype(float))
    assert list(rows["fate"]) == list(fates.late + 2 * fates.ahead)
    assert (span.fates.late, span.fates.ahead) == (fates.late.sum(), fates.ahead.sum())


def by_partition(lines, named):
    """Return the ids of readings in the order of each partition; others the job refuses anyhow."""
    ids = [line.split("\t")[0] for line in lines]
    return {part: [i for i in ids if i in named and i.split(":")[2] == part] for part in PARTS}


PARTS = ("-1", "0", "1", "2")


@pytest.mark.filterwarnings("ignore::workbench.errors.ArchiveWarning")
@pytest.mark.parametrize("count", [1, 500, 100_000])
def test_the_newest_readings_of_an_archive_are_those_of_the_frame(url, tmp_path, count):
    stream = stream_of()
    opened = originals.readable(stream, url)

    span = export(stream, opened, tmp_path, channels=("bar",), newest=count)

    assert_same(stream, span, originals.newest(originals.readings(stream, opened), count))


@pytest.fixture
def package(store, url, tmp_path):
    stream = stream_of()
    frame = originals.readings(stream, originals.readable(stream, url))
    spec = {"name": "robust_z", "window": 3, "channels": ["bar"], "max_span_s": 20_000}
    detector = detectors.fit(spec, frame[frame["pump"].notna()].head(400), sensor="pump")
    folder = tmp_path / "package"
    detectors.save(detector, folder, threshold=2.5, rule=EpisodeRule(2, 3, 4), training={})
    add_package(folder)
    return as_run(stream, detectors.load(folder))


UNLIKE = ("rate", "pieces", "peak_mib", "flink_peak_mib")


def facts(certificate):
    return replace(certificate, rate=0.0, pieces=1, peak_mib=0.0, flink_peak_mib=0.0)


@pytest.mark.flink
@pytest.mark.filterwarnings("ignore::workbench.errors.ArchiveWarning")
def test_a_span_in_pieces_has_the_certificate_of_the_frame(url, package, tmp_path):
    stream = stream_of()
    opened = originals.readable(stream, url)
    frame = originals.readings(stream, opened)
    messages = originals.messages(stream, opened, frame)

    whole = prove(stream, package, frame, messages, floor=0.5)
    pieced = prove_span(stream, package, opened, 100_000, floor=0.5, piece_rows=300)

    assert facts(pieced) == facts(whole)
    assert pieced.reasons() == []
    assert pieced.pieces > 1
    assert pieced.alerts > 3
    assert min(pieced.unscored[why] for why in ("refused", "late", "ahead", "missing")) > 5
    assert pieced.peak_mib > 50
    assert pieced.flink_peak_mib > 50

    wrong = tampered(stream, package, opened, tmp_path)
    assert wrong


def tampered(stream, package, opened, tmp_path):
    """Return what pieces, as a frame does, find in a job that scored wrongly and lost readings."""
    folder = tmp_path / "tampered"
    folder.mkdir()
    scored = alone(stream)
    span = export(scored, opened, folder, channels=("bar",))
    source = span.source(folder / "messages.tsv")
    written = run_files(
        select(scored, package.id), source, folder, span.facts.readings, span.facts.last_ms,
        batch=False,
    )  # fmt: skip
    path = max((folder / "scores").glob("part-*"), key=lambda part: part.stat().st_size)
    lines = path.read_text().splitlines(keepends=True)
    fields = lines[200].split(",")
    lines[200] = ",".join([*fields[:3], "77.5", *fields[4:]])
    path.write_text("".join([lines[0], *lines[:50], *lines[53:]]))
    frame = originals.readings(stream, opened)
    batch = batch_path(stream, package, frame)

    pieced = compare_span(scored, package, span, written, piece_rows=300)
    whole = certify(stream, package, frame, batch, written.outcome())

    assert sorted(pieced.differing_rows) == sorted(whole.differing_rows)
    assert len(pieced.differing_rows) == 4
    assert facts(replace(pieced, differing_rows=())) == facts(replace(whole, differing_rows=()))
    return pieced.reasons()


def test_a_row_of_the_job_that_is_none_of_the_readings_is_told_apart(package, url):
    stream = stream_of()
    frame = originals.readings(stream, originals.readable(stream, url)).head(50)
    batch = batch_path(stream, package, frame)
    scores = pd.DataFrame(
        {
            "message_id": [*frame["message_id"], "9:9:9:9"],
            "sensor": [*frame["pump"], "pump-1"],
            "event_ms": 0,
            "score": [*batch.scores, 1.0],
        }
    )
    from workbench.stream.promotion.proof import compare
    from workbench.stream.running.outcome import Outcome

    none = pd.DataFrame({"message_id": [], "sensor": [], "event_ms": []})
    alerts = pd.DataFrame(columns=[*batch.episodes.columns, "status"])
    comparison = compare(Outcome("odd", "", alerts, scores, none, 50, 1.0, 1.0), batch, frame)

    assert (
        "message 9:9:9:9 is none of pump-1's readings, read in the stream"
        in comparison.differing_rows
    )


def test_no_readings_prove_nothing(url):
    with pytest.raises(StreamError, match=r"^parity of 0 readings proves nothing"):
        parity(stream_of(), readings=0, archive=url)


def test_a_difference_that_is_no_number_is_kept_whichever_piece_has_it():
    certificate = Certificate("odd", "ab" * 32, "1:0", "1:9", 10, 10, 0.1, 0, (), 0, 0, 0, 100.0)
    last = replace(certificate, largest_difference=np.nan)

    for order in ((certificate, last), (last, certificate)):
        assert np.isnan(proving._joined(order).largest_difference)


def test_the_peaks_of_memory_are_asked_for_where_there_is_no_flink():
    code = (
        "import sys; sys.modules['pyflink'] = None\n"
        "from workbench.stream.span import peaks\n"
        "peaks.forget(); process, flink = peaks.peaks_mib(); assert process > flink == 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
