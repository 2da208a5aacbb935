import numpy as np
import pandas as pd
import pytest

from workbench.errors import EvaluationError
from workbench.evaluation import floor_scores, judge, leaderboard

MINUTES = np.arange(2000) * 60_000
LABELS = pd.DataFrame(
    {
        "sensor": ["a", "b"],
        "start": pd.to_datetime([500 * 60_000, 900 * 60_000], unit="ms", utc=True),
        "stop": pd.to_datetime([560 * 60_000, 1000 * 60_000], unit="ms", utc=True),
    }
)
TIMES = np.tile(MINUTES, 3)
SENSORS = np.repeat(["a", "b", "c"], len(MINUTES))


def judged():
    truth = np.random.default_rng(0).random(len(TIMES))
    truth[500:560] += 1
    truth[2000 + 900 : 2000 + 1000] += 1
    scores = {"good": truth, **floor_scores(len(TIMES), seed=1)}
    return [
        row
        for name in scores
        for row in judge(name, TIMES, SENSORS, scores[name], LABELS, buffer=8)
    ]


@pytest.mark.slow
def test_a_good_detector_stands_above_the_floors_and_wins():
    board = leaderboard(judged())
    assert board["detector"].tolist()[0] == "good"
    assert board.loc[0, "vus_pr"] > 0.9
    assert board["wins"].tolist() == [2, 0, 0]
    assert (board["low"] <= board["vus_pr"]).all()
    assert (board["high"] >= board["vus_pr"]).all()


def test_a_sensor_without_labels_is_not_judged():
    rows = judged()
    assert {row["series"] for row in rows} == {"a", "b"}
    assert leaderboard(rows)["series"].tolist() == [2, 2, 2]


def test_a_sensor_whose_name_has_a_zero_at_its_end_is_another():
    other = {"a": "a", "b": "a\0", "c": "x" * 1_000_000}
    named = np.array([other[name] for name in SENSORS.tolist()], dtype=object)
    scores = np.random.default_rng(0).random(len(TIMES))

    rows = judge("any", TIMES, named, scores, LABELS, buffer=8)

    assert [row["series"] for row in rows] == ["a"]
    assert rows[0]["auc_pr"] == judge("any", TIMES, SENSORS, scores, LABELS, buffer=8)[0]["auc_pr"]


def test_the_order_of_readings_does_not_matter():
    scores = np.random.default_rng(5).random(len(TIMES))
    mixed = np.random.default_rng(6).permutation(len(TIMES))
    straight = judge("x", TIMES, SENSORS, scores, LABELS)
    assert judge("x", TIMES[mixed], SENSORS[mixed], scores[mixed], LABELS) == straight


def test_a_constant_scorer_has_the_label_rate_as_its_auc_pr():
    rows = judge("constant", TIMES, SENSORS, np.zeros(len(TIMES)), LABELS)
    assert [row["auc_pr"] for row in rows] == [60 / 2000, 100 / 2000]


def test_the_interval_is_the_same_by_seed():
    rows = judged()
    pd.testing.assert_frame_equal(leaderboard(rows, seed=3), leaderboard(rows, seed=3))


def row(detector, series, **figures):
    return {"detector": detector, "series": series, **figures}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "the leaderboard's rows have no 'detector', they have none"),
        (
            [row("a", "s", auc_pr=1.0)],
            "the leaderboard's rows have no 'vus_pr', they have detector, series, auc_pr",
        ),
        (
            [row("a", "s", vus_pr=1.0), row("random", "s", vus_pr=0.1)],
            "the leaderboard lacks the floor constant\n  judge floor_scores() on the same series",
        ),
        (
            [row(name, "s", vus_pr=1.0) for name in ("a", "random", "constant")]
            + [row(name, "t", vus_pr=1.0) for name in ("random", "constant")],
            "a has no figure for 1 of 2 series, the first is t\n"
            "  a mean over other series cannot be compared",
        ),
    ],
)
def test_rows_that_cannot_be_compared_are_refused(rows, message):
    with pytest.raises(EvaluationError) as caught:
        leaderboard(rows)
    assert str(caught.value) == message
