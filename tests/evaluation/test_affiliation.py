import numpy as np
import pytest

from workbench.errors import EvaluationError
from workbench.evaluation import affiliation


def by_hand(labels, alarms, zones, events):
    """Both figures from their definition, one reading at a time."""
    precisions, recalls = [], []
    for zone, event in zip(zones, events, strict=True):
        on = [row for row in zone if alarms[row]]
        if on:
            away = {row: min(abs(row - one) for one in event) for row in zone}
            earned = [np.mean([away[one] >= away[row] for one in zone]) for row in on]
            precisions.append(np.mean(earned))
        near = [min((abs(row - one) for one in on), default=np.inf) for row in event]
        drawn = [
            np.mean([abs(row - one) >= far for one in zone])
            for row, far in zip(event, near, strict=True)
        ]
        recalls.append(np.mean(drawn))
    return np.mean(precisions), np.mean(recalls)


def test_it_is_what_the_definition_says_on_random_alarms():
    labels = np.zeros(60, dtype=bool)
    labels[10:14] = labels[40:50] = True
    zones, events = [range(27), range(27, 60)], [range(10, 14), range(40, 50)]
    for seed in range(20):
        alarms = np.random.default_rng(seed).random(60) < 0.1
        alarms[seed] = True

        found = affiliation(labels, alarms)

        np.testing.assert_allclose(found, by_hand(labels, alarms, zones, events))


def test_without_an_alarm_nothing_is_found_and_precision_does_not_exist():
    precision, recall = affiliation([0, 1, 0, 0], [0, 0, 0, 0])

    assert np.isnan(precision)
    assert recall == 0


def test_it_forgives_alarms_at_random_half_of_everything():
    labels = np.zeros(10_000)
    labels[5000:5010] = 1
    draws = [np.random.default_rng(seed).random(10_000) < 0.01 for seed in range(30)]

    assert np.mean([affiliation(labels, one) for one in draws], axis=0)[0] == pytest.approx(
        0.5, 0.1
    )


@pytest.mark.parametrize(
    ("labels", "alarms", "message"),
    [
        ([0, 0], [0, 1], "none of 2 readings is labelled"),
        ([0, 1], [1], "labels have shape (2,), alarms (1,); both must be (n,)"),
    ],
)
def test_what_has_no_affiliation_is_refused(labels, alarms, message):
    with pytest.raises(EvaluationError) as caught:
        affiliation(labels, alarms)
    assert str(caught.value) == message
