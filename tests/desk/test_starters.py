"""A starter notebook and its params file, from a real archive."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from workbench import desk, runs
from workbench import kafka as door
from workbench.cli import cli
from workbench.detectors import epoch_ms
from workbench.detectors.choosing import candidates
from workbench.errors import DeskError
from workbench.history import replay
from workbench.stream import load_stream

SAMPLE = Path(__file__).parents[2] / "data" / "archive"
GOLDEN = Path(__file__).parents[1] / "archive" / "golden"
PUMPS = "persistent://public/default/pumps"


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name in ("notebooks", "params"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBENCH_ARCHIVE", str(SAMPLE))
    return tmp_path


@pytest.fixture
def small(project):
    """An archive of the topic's first two days only, so that the notebook runs in seconds."""
    (project / "small").mkdir()
    for path in [*SAMPLE.glob("*-ledger-5*"), SAMPLE / "schemas.json"]:
        shutil.copy(path, project / "small")
    return project / "small"


def parameters(notebook):
    """Return what its parameters cell assigns, as Python reads it."""
    cell = json.loads(notebook.read_text(encoding="utf-8"))["cells"][1]
    known = {}
    exec("".join(cell["source"]), known)  # noqa: S102 - the cell that was just made
    return known


def refusal(*args, **options):
    with pytest.raises(DeskError) as refused:
        desk.new(*args, **options)
    return str(refused.value)


def test_a_starter_reads_the_archives_only_topic_and_all_its_numbers(project):
    notebook, params, stream, remarks = desk.new("wear")

    assert notebook == project / "notebooks" / "20_wear.ipynb"
    assert params == project / "params" / "20_wear.yaml"
    values = parameters(notebook)
    assert values["topic"] == PUMPS
    assert values["sensor"] == "pump"  # the only field of text, and the key
    assert remarks == ("sensor: pump",)
    assert values["channels"] == [
        "flow_l_min",
        "discharge_pressure_bar",
        "motor_current_a",
        "vibration_mm_s",
        "bearing_temperature_c",
    ]
    reads = load_stream(stream)
    assert (reads.topic, reads.sensor, list(reads.channels)) == (PUMPS, "pump", values["channels"])
    assert reads.window == candidates._LONG[1]  # so that what `auto` chooses fits


def test_a_stream_file_that_is_there_stays_and_that_is_said(project):
    (project / "streams").mkdir()
    (project / "streams" / "wear.yaml").write_text("mine")

    starter = desk.new("wear", sensor="pump")

    assert starter.stream.read_text() == "mine"
    assert starter.remarks == ("streams/wear.yaml is there already, and stays as it is",)


def test_where_no_field_says_whose_reading_it_is_there_is_no_stream_file(project):
    starter = desk.new("wear", sensor="key")

    assert starter.stream is None
    assert starter.remarks == (
        "no streams/wear.yaml: a stream wants a field that says whose reading it is",
    )


@pytest.mark.parametrize(
    ("key", "sensor"), [("pump-7", "key"), ("good", "quality"), (None, "quality")]
)
def test_the_only_text_is_the_sensor_unless_the_messages_have_another_key(
    project, pulsar, key, sensor
):
    (project / "own").mkdir()
    fields = () if key is None else ((6, key.encode()),)
    entries = [pulsar.entry(b'{"temp": 1.5, "quality": "good"}', *fields)]
    pulsar.ledger(project / "own", entries, topic="public/default/persistent/line%20%233")

    starter = desk.new("line", archive=str(project / "own"))

    assert parameters(starter.notebook)["sensor"] == sensor
    if sensor == "key":
        assert starter.stream is None
    else:
        reads = load_stream(starter.stream)
        assert reads.topic == "persistent://public/default/line #3"
        assert reads.alerts == f"{reads.topic}-alerts"


def test_the_command_ends_with_the_two_that_come_next(project):
    result = CliRunner().invoke(cli, ["new", "wear"], catch_exceptions=False)

    assert result.stdout.split() == [
        "notebooks/20_wear.ipynb", "params/20_wear.yaml", "streams/wear.yaml",
    ]  # fmt: skip
    assert result.stderr.splitlines()[-2:] == [
        "next: workbench train notebooks/20_wear.ipynb -f params/20_wear.yaml",
        "then: workbench promote RUN --stream wear",
    ]


def test_a_starter_has_no_blank_left_and_no_outputs(project):
    notebook, *_ = desk.new("35_pump_wear", topic="pumps", sensor="pump", archive=str(SAMPLE))

    text = notebook.read_text(encoding="utf-8")
    assert "__" not in text
    assert "# 35 pump_wear: what is unusual in this topic?" in text
    assert all(not cell.get("outputs") for cell in json.loads(text)["cells"])


def test_a_path_with_quotes_in_it_stays_a_text(project, small):
    odd = project / 'it\'s "odd"'
    small.rename(odd)

    notebook, *_ = desk.new("wear", archive=str(odd))

    assert parameters(notebook)["archive"] == str(odd)


@pytest.mark.notebook
def test_a_starter_runs_at_once_as_a_batch_job(project, small):
    notebook, params, *_ = desk.new("wear", archive=str(small))

    run = runs.train(notebook, params)

    assert run.status == "complete"
    assert run.metrics["sensors"] == 6
    assert run.metrics["readings"] == pytest.approx(4330, abs=200)  # a quarter of two days
    assert run.package is not None
    report = (run.path / "report.html").read_text(encoding="utf-8")
    assert "what is unusual in this topic?" in report
    assert report.count("data:image/png") >= 4  # the view to drag in, too, as a still picture


def publish(topic, frame, *, named):
    """Send readings with the pump as their key, and as a field of their values if it is named."""
    fields = [*(["pump"] if named else []), "flow_l_min", "vibration_mm_s"]
    times_ms, name = epoch_ms(frame["event_time"]).tolist(), door.topic_name(topic)
    producer = Producer(door.python_settings())
    for row, pump, time_ms in zip(
        frame[fields].to_dict("records"), frame["pump"], times_ms, strict=True
    ):
        producer.produce(name, json.dumps(row).encode(), pump, timestamp=time_ms)
        producer.poll(0)
    assert producer.flush(60) == 0


@pytest.mark.pulsar
@pytest.mark.notebook
def test_a_starter_reads_a_topic_of_kafka_by_its_key_where_no_field_names_the_sensor(
    kafka, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    topic = "kafka://plant"
    door.make_topic(topic, partitions=2)
    with pytest.raises(DeskError, match="holds no records"):
        desk.new("plant", topic=topic)
    frame = replay("pumps", stop="2026-01-06T12:00:00Z", archive=SAMPLE)
    publish(topic, frame, named=False)

    starter = desk.new("plant", topic=topic)
    run = runs.train(starter.notebook, starter.params)

    assert starter.remarks == ("sensor: key",)
    reads = load_stream(starter.stream)
    assert (reads.topic, reads.sensor, reads.keyed) == (topic, "__key__", True)
    assert (reads.alerts, reads.channels) == (
        "kafka://plant-alerts", ("flow_l_min", "vibration_mm_s"),
    )  # fmt: skip
    assert (run.status, run.metrics["sensors"]) == ("complete", 6)
    assert run.package is not None
    (remark,) = desk.remarks(topic)
    assert remark.startswith(f"of the newest {len(frame):,} records: time goes back")


@pytest.mark.pulsar
def test_a_field_that_is_the_key_of_records_of_kafka_names_the_sensor(kafka, project):
    door.make_topic("kafka://named")
    publish("kafka://named", replay("pumps", archive=SAMPLE).head(100), named=True)

    result = CliRunner().invoke(cli, ["new", "--topic", "kafka://named", "named"])

    assert result.exit_code == 0, result.output
    reads = load_stream(project / "streams" / "named.yaml")
    assert (reads.sensor, reads.keyed) == ("pump", False)
    assert "sensor: pump" in result.stderr


def test_a_name_that_is_none_is_refused(project):
    assert refusal("../wear") == (
        "'../wear' is not a name for a notebook\n"
        "  small letters, digits and _, a number in front if you like: 20_pump_wear"
    )


def test_a_file_that_is_there_is_not_overwritten(project):
    (project / "params" / "20_wear.yaml").write_text("mine")

    assert refusal("wear") == (
        f"there is a file of that name\n  in {project}/params/20_wear.yaml\n  choose another name"
    )
    assert not (project / "notebooks" / "20_wear.ipynb").exists()


def test_a_sensor_column_that_is_not_there_is_answered_with_the_nearest(project):
    assert refusal("wear", sensor="pmp") == (
        "the topic has no field 'pmp', it has pump, flow_l_min, discharge_pressure_bar,"
        " motor_current_a, vibration_mm_s, bearing_temperature_c\n"
        f"  in {PUMPS}\n  did you mean 'pump'?"
    )


def test_an_archive_of_several_topics_must_be_told_which(project):
    both = project / "both"
    for name in ("D3-plain", "D8-nulls"):
        shutil.copytree(GOLDEN / name / "bucket", both, dirs_exist_ok=True)

    assert refusal("wear", archive=str(both)) == (
        "the archive holds 2 topics, which one is meant?\n"
        f"  in {both}\n"
        "  known: persistent://public/default/d3-plain, persistent://public/default/d8-nulls"
    )


def test_a_topic_without_numbers_is_refused(project):
    plain = GOLDEN / "D3-plain" / "bucket"

    assert refusal("wear", archive=str(plain)) == (
        "the topic has no field with numbers\n  in persistent://public/default/d3-plain"
    )


def test_what_is_wrong_with_a_topics_times_is_said_when_a_notebook_is_written(
    project, pulsar, monkeypatch
):
    (project / "odd").mkdir()
    minute_ms, begin_ms = 60_000, 1_700_000_000_000
    times = [begin_ms + n * minute_ms for n in (0, 1, 2, 0, 1, 2)]  # sensor after sensor
    entries = [
        pulsar.entry(
            json.dumps({"pump": "ab"[n // 3], "bar": 1.5}).encode(), *([(12, ms)] if n else [])
        )
        for n, ms in enumerate(times)
    ]
    pulsar.ledger(project / "odd", entries)

    done = CliRunner().invoke(cli, ["new", "odd_pumps", "--archive", str(project / "odd")])

    assert done.exit_code == 0
    assert "time goes back once, by up to 2 min; a stream with lateness_s: 1 would call " in (
        done.output
    )
    assert "event times without an event time, or with 0: 1" in done.output
    assert desk.remarks(archive=str(SAMPLE))[0].startswith("time goes back ")
