"""What is judged is what the file says: a key is read, told, or refused."""

import pytest

from workbench.detectors import EpisodeRule
from workbench.errors import EvaluationError
from workbench.evaluation import read_spec_file

DETECTOR = "detector: {name: robust_z, window: 2, channels: [bar]}\n"
RULE = ("alarm_k", "alarm_n", "alarm_m")


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "spec.yaml"
        path.write_text(DETECTOR + text)
        return path

    return write


def test_rule_and_budget_of_a_batch_run_are_read_where_they_are_of_use(written):
    path = written(
        "notebook: 20.ipynb\nalarm_k: 3\nalarm_n: 5\nalerts_per_sensor_day: 0.5\nmark: a\n"
    )

    whole = read_spec_file(path, takes=[*RULE, "alerts_per_sensor_day"])
    bare = read_spec_file(path)

    assert whole.rule == EpisodeRule(3, 5, 1)
    assert whole.alerts_per_sensor_day == 0.5
    assert whole.left_out == ("mark",)
    assert (bare.rule, bare.alerts_per_sensor_day) == (EpisodeRule(), None)
    assert bare.left_out == ("alarm_k", "alarm_n", "alerts_per_sensor_day", "mark")
    assert bare.detector == {"name": "robust_z", "window": 2, "channels": ["bar"]}


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(EvaluationError) as refused:
        read_spec_file(tmp_path / "no.yaml")
    assert str(refused.value) == (
        f"the file cannot be read: No such file or directory\n  in {tmp_path / 'no.yaml'}"
    )


def test_calls_are_read_where_calls_are_made(written):
    path = written("beside: {far: {window: 9}}\ncalls: {quiet: 5}\n")

    content = read_spec_file(path, takes=["beside", "calls"])

    assert content.beside == {"far": {"window": 9}}
    assert content.calls == {"quiet": 5}
    assert content.left_out == ()


@pytest.mark.parametrize("text", ["beside: {far: {window: 9}}\n", "calls: {quiet: 5}\n"])
def test_calls_are_refused_where_a_detector_is_judged_as_it_runs(written, text):
    path, key = written(text), text.partition(":")[0]
    with pytest.raises(EvaluationError) as refused:
        read_spec_file(path, takes=RULE)
    assert str(refused.value) == (
        f"{key} is of calls, which no package makes: here a detector is judged as it runs\n"
        f"  in {path}\n"
        f"  leave {key} out, or judge calls with `workbench nab` or 60_leaderboard"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alarm_k: many\n", "alarm_k is 'many', expected a whole number of readings\n  in {path}"),
        (
            "alarm_k: 4\n",
            "rule has k=4, n=1, m=1\n  in {path}\n"
            "  needed: 1 <= k <= n <= 10000 and 1 <= m <= 10000",
        ),
        (
            "alerts_per_sensor_day: -1\n",
            "alerts_per_sensor_day is -1, expected a number >= 0\n  in {path}",
        ),
        (
            "alerts_per_sensor_day: .nan\n",
            "alerts_per_sensor_day is nan, expected a number >= 0\n  in {path}",
        ),
        (
            f"alerts_per_sensor_day: 1{'0' * 400}\n",
            f"alerts_per_sensor_day is 1{'0' * 400}, expected a number >= 0\n  in {{path}}",
        ),
        ("beside: [9]\n", "beside is [9], expected name: what it changes, by name\n  in {path}"),
        (
            "calls: 5\n",
            "calls are 5, expected a mapping with ('memory', 'quiet')\n  in {path}",
        ),
        ("calls: {quiet: x}\n", "quiet of calls is 'x', expected a number of rows\n  in {path}"),
    ],
)
def test_a_key_that_is_not_what_it_should_be_is_refused(written, text, message):
    path = written(text)
    with pytest.raises(EvaluationError) as refused:
        read_spec_file(path, takes=[*RULE, "alerts_per_sensor_day", "beside", "calls"])
    assert str(refused.value) == message.format(path=path)
