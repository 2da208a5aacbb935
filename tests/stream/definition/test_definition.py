import json
import re
from dataclasses import MISSING
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from workbench.detectors import EpisodeRule
from workbench.errors import StreamError
from workbench.stream import load_stream, parse_stream
from workbench.stream.definition.stream_file import KEYS, default

GOOD = {
    "topic": "persistent://public/default/pumps",
    "sensor": "pump",
    "channels": ["flow_l_min", "pressure_bar"],
    "alerts": "persistent://public/default/alerts",
    "window": 30,
}


def test_a_stream_file_is_read_with_its_defaults(tmp_path):
    path = tmp_path / "north.yaml"
    path.write_text(yaml.safe_dump(GOOD | {"rule": {"k": 2, "n": 3, "m": 4}}))

    stream = load_stream(path)

    assert stream.name == "north"
    assert stream.channels == ("flow_l_min", "pressure_bar")
    assert stream.rule == EpisodeRule(2, 3, 4)
    assert (stream.detector, stream.lateness_ms, stream.threshold) == ("champion", 1000, None)


def test_the_stream_of_the_sample_is_right():
    assert len(load_stream("plant").channels) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"windw": 3}, "a stream has no key 'windw'\n  did you mean 'window'?"),
        ({"window": "30"}, "window is '30', expected a whole number"),
        ({"window": True}, "window is True, expected a whole number"),
        ({"window": 0}, "window is 0, expected 1 to 10000 readings"),
        ({"threshold": float("nan")}, "threshold is nan, expected a number"),
        ({"lateness_s": float("inf")}, "lateness_s is inf, expected a number of seconds"),
        ({"channels": "flow"}, "channels is 'flow', expected a list of fields"),
        ({"channels": []}, "the stream has no channels"),
        (
            {"limits": {"drift": "flow_l_min > 9"}},
            "no limit or pattern is called 'drift': other alerts are that kind",
        ),
        ({"channels": ["a b"]}, "'a b' is not the name of a field: letters, digits and _"),
        ({"channels": ["score"]}, "a channel cannot be called 'score': the job uses that name"),
        ({"channels": ["a_w"]}, "a channel cannot be called 'a_w': the job uses that name"),
        (
            {"channels": ["pump"]},
            "a name stands twice among sensor, channels and derived",
        ),
        (
            {"derived": {"load": "1; DROP"}},
            "derived load is '1; DROP', expected one SQL expression",
        ),
        (
            {"lateness_s": 0},
            "lateness_s is 0, at least 0.001 is needed\n"
            "  with none, the second of two readings with the same time would be late",
        ),
        (
            {"sensor": "__key__"},
            "the key of a message is the sensor on Kafka alone, persistent://public/default/pumps "
            "is Pulsar's\n  sensor: the field that says whose reading it is",
        ),
        (
            {"machine": "__key__", "topic": "kafka://pumps"},
            "__key__ is the message's key: it can be the sensor, nothing else",
        ),
        (
            {"record": "plant.Reading", "topic": "kafka://pumps"},
            "record is 'plant.Reading', expected the name of a record without its namespace\n"
            "  did you mean 'Reading'?",
        ),
        (
            {"record": "Reading", "topic": "persistent://public/default/pumps"},
            "record is of Avro on Kafka, persistent://public/default/pumps is Pulsar's\n"
            "  leave record out",
        ),
        ({"rule": {"kk": 1}}, "a rule has no 'kk'\n  did you mean 'k'?"),
        ({"rule": {"k": 1.5}}, "rule k is 1.5, expected a whole number"),
        (
            {"rule": {"k": 3, "n": 2}},
            "rule has k=3, n=2, m=1\n  needed: 1 <= k <= n <= 10000 and 1 <= m <= 10000",
        ),
    ],
)
def test_a_wrong_stream_is_refused(tmp_path, changes, message):
    path = tmp_path / "north.yaml"
    path.write_text(yaml.safe_dump(GOOD | changes))
    first, *hint = message.split("\n")

    with pytest.raises(StreamError) as error:
        load_stream(path)

    assert str(error.value) == "\n".join([first, f"  in {path}", *hint])


PAGE = Path(__file__).parents[3] / "docs" / "stream-file.md"


def _rows():
    """Yield each key of the page's table, with whether it is needed and the default shown."""
    for line in PAGE.read_text().split("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for key in re.findall(r"`(\w+)`", cells[0]) if line.startswith("| `") else ():
            yield key, cells[-1] == "needed", cells[-1].strip("`")


def test_the_page_of_the_stream_file_has_every_key_and_no_other():
    needed = {key: default(declared) is MISSING for key, declared in KEYS.items()}

    assert {key: wanted for key, wanted, _ in _rows()} == needed


def test_the_page_of_the_stream_file_shows_the_defaults():
    plain = {
        key: f"{value:g}" if isinstance(value, float) else value
        for key, declared in KEYS.items()
        if isinstance(value := default(declared), str | float) and value != ""
    }

    shown = {key: text for key, _, text in _rows() if key in plain}

    assert shown == plain


def test_a_missing_key_is_refused():
    with pytest.raises(StreamError) as error:
        parse_stream("north", {name: GOOD[name] for name in GOOD if name != "sensor"})

    assert str(error.value) == (
        "the stream has no 'sensor'\n  needed: topic, sensor, channels, alerts, window"
    )


def test_a_file_without_keys_is_refused():
    with pytest.raises(StreamError, match=r"^the stream file holds str, expected keys$"):
        parse_stream("north", "topic")


def test_a_stream_that_is_not_there_is_refused_with_the_nearest_name():
    with pytest.raises(StreamError) as error:
        load_stream("plnat")

    assert re.fullmatch(
        r"there is no stream 'plnat'\n  in .*/streams/plnat\.yaml\n  did you mean 'plant'\?",
        str(error.value),
    )


def test_a_file_that_is_not_yaml_is_refused(tmp_path):
    path = tmp_path / "north.yaml"
    path.write_text("topic: [")

    with pytest.raises(StreamError) as error:
        load_stream(path)

    assert str(error.value).startswith("the stream file is not YAML: ")
    assert error.value.where == str(path)


RULES = st.fixed_dictionaries({"n": st.just(3)}, optional={"k": st.just(2), "m": st.integers(1, 3)})


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "derived": st.just({"ratio": "pressure_bar / flow_l_min"}),
            "event_time": st.just("at_ms"),
            "lateness_s": st.floats(0.001, 1e4),
            "threshold": st.floats(-9, 9),
            "rule": RULES,
            "gate": st.just({"days": 3.5, "labels": "data/labels.csv"}),
            "sums": st.just({"all_flow": {"of": "flow_l_min", "every_s": 60}}),
            "limits": RULES.map(
                lambda rule: {
                    "a": "flow_l_min > 1",
                    "b": {"when": "pressure_bar < 2", "rule": rule},
                }
            ),
            "patterns": st.just({"dead": {"template": "silent_topic", "after_s": 9}}),
            "also": st.just(["ab", "cd"]),
            "refused": st.just("refused"),
        },
    )
)
@pytest.mark.slow
def test_a_stream_made_of_its_own_content_is_the_same(changes):
    content = {"topic": "t", "sensor": "pump", "channels": ["pressure_bar", "flow_l_min"]}
    stream = parse_stream("s", {**content, "window": 8, "alerts": "a", **changes})

    again = parse_stream("s", json.loads(json.dumps(stream.content())))

    assert again == stream


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"heartbeat": "persistent://public/default/beats"}, ""),
        ({}, "no heartbeat topic: nobody counts readings that are late"),
        (
            {"patterns": {"silent": {"template": "silent_sensor", "after_s": 300}}},
            "no heartbeat topic: nobody counts readings that are late; those that sums and "
            "patterns have passed are in Flink's log and metrics",
        ),
    ],
)
def test_a_stream_says_what_nobody_counts_of_it(content, keys, text):
    assert parse_stream("pumps", content(**keys)).uncounted == text
