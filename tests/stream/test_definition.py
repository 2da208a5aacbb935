import re

import pytest
import yaml

from workbench.detectors import EpisodeRule
from workbench.errors import StreamError
from workbench.stream import load_stream, parse_stream

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

    found = load_stream(path)

    assert found.name == "north"
    assert found.channels == ("flow_l_min", "pressure_bar")
    assert found.rule == EpisodeRule(2, 3, 4)
    assert (found.detector, found.lateness_ms, found.threshold) == ("champion", 1000, None)


def test_the_stream_of_the_sample_is_right():
    assert len(load_stream("plant").channels) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"windw": 3}, "a stream has no key 'windw'\n  did you mean 'window'?"),
        ({"window": "30"}, "window is '30', expected a whole number"),
        ({"window": True}, "window is True, expected a whole number"),
        ({"window": 0}, "window is 0, expected 1 to 10000 readings"),
        ({"channels": "flow"}, "channels is 'flow', expected a list of fields"),
        ({"channels": []}, "the stream has no channels"),
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
