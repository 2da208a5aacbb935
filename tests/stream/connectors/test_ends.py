"""Ends of a job given as tables: files in place of topics, through the real Flink."""

import json
from dataclasses import replace

import numpy as np
import pytest

from workbench import detectors
from workbench.errors import ReplayError, StreamError
from workbench.history.kafka_values import HEAD
from workbench.stream import Sink, Source, file_sink, file_source, parse_stream, start
from workbench.stream.connectors import message_file, topics
from workbench.stream.connectors.kafka import _check_avro
from workbench.stream.promotion_log import add_package


def lines_of(frame):
    """Readings as a producer writes them, NaN and all; two lines that are none among them."""
    times = detectors.epoch_ms(frame["event_time"])
    columns = ["pump", "pressure_bar", "flow_l_min"]
    rows = frame[columns].assign(at_ms=times).to_dict("records")
    lines = [json.dumps(row) for row in rows]
    return [*lines[:500], "no reading", '{"pump": "pump-1", "at_ms": null}', *lines[500:]]


def written(folder):
    files = sorted(folder.glob("part-*"))
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


@pytest.mark.flink
def test_a_job_reads_a_file_and_writes_files_as_the_batch_path_scores(
    store, package_folder, readings, content, tmp_path
):
    frame = readings.head(1_500)
    (tmp_path / "readings.jsonl").write_text("\n".join(lines_of(frame)) + "\n")
    stream = parse_stream("pumps", content(event_time="at_ms", heartbeat="of a live job alone"))
    views = ("alerts", "scores", "late", "refused")
    ends = {name: file_sink(tmp_path / name) for name in views}
    ends["messages"] = file_source(stream, tmp_path / "readings.jsonl")

    job = start(stream, package=add_package(package_folder), ends=ends)
    job.wait(120)

    assert job.state() == "FINISHED"
    job.stop()  # of a job that came to its end: nothing
    package = detectors.load(package_folder)
    alone = frame.drop(columns="message_id")  # a file is one partition
    batch = detectors.detect(package, alone, sensor="pump", lateness_ms=30_000)
    alerts, scores, late, refused = (written(tmp_path / name) for name in views)
    assert len(scores) == len(frame) - batch.late.sum()
    assert len(late) == batch.late.sum() > 20
    given = [row["score"] for row in scores if row["score"] is not None]
    wanted = batch.scores[np.isfinite(batch.scores)]
    np.testing.assert_allclose(np.sort(given), np.sort(wanted), rtol=1e-9)
    assert len({alert["id"] for alert in alerts}) == len(batch.episodes) > 2
    assert {row["message_id"] for row in scores} == {"readings.jsonl"}
    reasons = sorted(row["reason"] for row in refused)
    assert reasons[0] == "it has no at_ms"
    assert reasons[1].startswith("it is no JSON")


@pytest.mark.flink
def test_a_job_that_failed_says_why_and_ends_when_it_is_stopped(
    store, package_folder, readings, content, tmp_path
):
    (tmp_path / "readings.jsonl").write_text("\n".join(lines_of(readings.head(1_500))) + "\n")
    (tmp_path / "scores").write_text("no folder")
    stream = parse_stream("pumps", content(event_time="at_ms"))
    ends = {name: file_sink(tmp_path / name) for name in ("alerts", "scores", "late", "refused")}
    ends["messages"] = file_source(stream, tmp_path / "readings.jsonl")

    job = start(stream, package=add_package(package_folder), ends=ends, restarts=0)
    with pytest.raises(StreamError, match=r"the job failed: .*scores"):
        job.wait(120)

    job.stop()
    assert job.state() == "FAILED"


def test_a_sensor_that_the_key_names_is_not_looked_for_where_there_is_no_key(content, tmp_path):
    stream = parse_stream("pumps", content(sensor="__key__", topic="kafka://p", event_time="at_ms"))
    source = message_file.source(stream, tmp_path / "m.tsv")
    keyless = {name: kind for name, kind in source.columns.items() if name != "__key__"}

    with pytest.raises(StreamError) as error:
        file_source(stream, tmp_path / "readings.jsonl")
    assert str(error.value).startswith(
        "lines of a file have no key, which names the sensor of stream pumps\n"
    )
    with pytest.raises(StreamError) as error:
        replace(source, columns=keyless).received(stream)
    assert str(error.value) == "the source has no column __key__: the message's key, BYTES"
    assert source.options["message-file.keyed"] == "true"


def test_an_end_that_a_stream_does_not_have_is_refused_with_the_nearest(stream):
    with pytest.raises(StreamError) as error:
        topics.ends(stream, {"score": Sink({"connector": "print"})})

    assert str(error.value) == "stream pumps has no end 'score'\n  did you mean 'scores'?"


def test_a_sink_is_not_read_from_and_a_source_not_written_to(stream, tmp_path):
    source = message_file.source(stream, tmp_path / "m.tsv")

    with pytest.raises(StreamError) as read:
        topics.ends(stream, {"messages": Sink({"connector": "print"})})
    with pytest.raises(StreamError) as wrote:
        topics.ends(stream, {"alerts": source})

    assert str(read.value) == "end 'messages' is a Sink, expected a Source"
    assert str(wrote.value) == "end 'alerts' is a Source, expected a Sink"


def test_the_ends_that_are_given_ask_no_broker(stream, tmp_path):
    given = {
        "messages": message_file.source(stream, tmp_path / "m.tsv"),
        "alerts": file_sink(tmp_path / "alerts"),
    }

    source, sinks = topics.ends(stream, given)

    assert isinstance(source, Source)
    assert sinks == {"alerts": given["alerts"]}


def test_a_topic_of_a_queue_that_nobody_taught_is_refused(content):
    stream = parse_stream("pumps", content(topic="mqtt://plant/pumps"))

    with pytest.raises(StreamError) as error:
        topics.ends(stream, {})

    assert str(error.value) == (
        "topic mqtt://plant/pumps is of no queue that a stream can read or write\n"
        "  topics begin with persistent://, non-persistent://, kafka://"
    )


def test_a_file_whose_readings_have_no_time_is_refused(stream, content, tmp_path):
    timed = parse_stream("pumps", content(event_time="at_ms"))

    with pytest.raises(StreamError) as timeless:
        file_source(stream, tmp_path / "readings.jsonl")
    with pytest.raises(StreamError) as absent:
        file_source(timed, tmp_path)

    assert str(timeless.value) == (
        "lines of a file have no time of their own, and stream pumps has no event_time\n"
        "  event_time: the field with epoch milliseconds"
    )
    assert str(absent.value) == f"there is no such file\n  in {tmp_path}"


@pytest.mark.parametrize("lacked", ["pump", "pressure_bar", "at_ms"])
def test_a_field_that_no_schema_of_a_topics_avro_has_is_refused_by_name(
    content, schema_registry, lacked
):
    kinds = {"pump": "string", "pressure_bar": "double", "flow_l_min": "double", "at_ms": "long"}

    def schema(*left_out):
        fields = [{"name": n, "type": kind} for n, kind in kinds.items() if n not in left_out]
        return {"type": "record", "name": "Reading", "fields": fields}

    other = {"type": "record", "name": "Alarm", "fields": schema()["fields"]}
    stored = {1: schema(lacked), 2: schema(lacked, "flow_l_min"), 3: schema("flow_l_min"), 4: other}
    schema_registry(stored)
    topic = "kafka://pumps"
    stream = parse_stream("plant", content(topic=topic, record="Reading", event_time="at_ms"))
    first, second, third, alarm = (HEAD.pack(0, number) for number in stored)

    _check_avro(stream, [[first, second], [third]])
    _check_avro(stream, [[], [b"no Avro"]])
    with pytest.raises(ReplayError) as error:
        _check_avro(stream, [[first, second], [alarm, second]])
    assert str(error.value).startswith(
        f"no schema of Reading has a field {lacked!r}\n  in kafka://pumps"
    )
