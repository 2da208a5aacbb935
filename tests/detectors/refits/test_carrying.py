"""What a budget has left is bought with: too many alerts are paid back, too few made up for."""

import numpy as np
import pytest

from workbench import detectors
from workbench.detectors import EpisodeRule
from workbench.detectors.windows import index_windows
from workbench.errors import DetectorError

HOUR_MS = 3_600_000
SPEC = {"name": "robust_z", "window": 3, "channels": ["flow"]}
HOURLY = {"every_h": 1, "trailing_h": 2, "threshold_only": True}
CARRIED = SPEC | {"refit": HOURLY | {"carry_over": 2}}
ASKED = {"sensor": "pump", "alerts_per_sensor_day": 60, "rule": EpisodeRule()}


def bought_by_hand(readings, replayed, hour, event, *, trailing_h=2):
    """The threshold at an hour: the budget's, and twice what eight hours before it lack."""
    times, names = detectors.epoch_ms(readings["event_time"]), readings["pump"].to_numpy()
    stop = hour * HOUR_MS
    counted = (times >= max(2, hour - 4 * trailing_h) * HOUR_MS) & (times < stop)
    above = (replayed.scores > replayed.thresholds)[counted].astype(float)
    starts = detectors.episodes(times[counted], names[counted], above, 0.5, EpisodeRule())
    in_event = np.isin(detectors.epoch_ms(starts["start"]), times[event])
    days = sum(np.ptp(times[counted & ~event & (names == pump)]) for pump in "ab") / 86_400_000
    past = (times >= max(2, hour - trailing_h) * HOUR_MS) & (times < stop)
    detector = replayed.refits[0].detector
    index = index_windows(
        readings[past], sensor="pump", time="event_time", channels=["flow"], window=3
    )
    scores = np.full(past.sum(), np.nan)
    index.score(detector, index.within(~event[past]), scores)
    quiet = ~event[past]
    own = times[past][quiet], names[past][quiet]
    span = sum(np.ptp(own[0][own[1] == pump]) for pump in "ab") / 86_400_000
    left = 60 * days - (~in_event).sum()
    return detectors.threshold_for_budget(
        *own, scores[quiet], alerts_per_sensor_day=max(0.0, 60 + 2 * left / span),
        rule=EpisodeRule(),
    )  # fmt: skip


def test_a_threshold_is_bought_with_twice_what_the_budget_has_left_since_the_fit(readings):
    event = np.zeros(len(readings), dtype=np.bool_)
    event[590:601] = True

    replayed = detectors.replay_refits(CARRIED, readings, in_event=event, **ASKED)

    assert len(replayed.refits) > 6
    for refit, hour in zip(replayed.refits[1:], range(3, 11), strict=False):
        assert refit.detector is replayed.refits[0].detector
        assert refit.threshold == bought_by_hand(readings, replayed, hour, event)
    plain = detectors.replay_refits(SPEC | {"refit": HOURLY}, readings, in_event=event, **ASKED)
    assert [fit.threshold for fit in replayed.refits] != [fit.threshold for fit in plain.refits]


def test_after_too_many_alerts_a_threshold_is_higher_and_after_too_few_lower(readings):
    times, names = detectors.epoch_ms(readings["event_time"]), readings["pump"].to_numpy()
    none, all_ = np.zeros(1200, dtype=bool), times % 600_000 == 0
    nothing = detectors.spent(times, names, none, left_out=none, rule=EpisodeRule())
    many = detectors.spent(times, names, all_, left_out=none, rule=EpisodeRule())
    detector = detectors.fit(SPEC, readings[:240], sensor="pump")

    def bought(carried):
        return detectors.buy_again(
            detector, readings, sensor="pump", terms=detectors.Terms(60, EpisodeRule()),
            left_out=none, fresh=np.arange(1200) >= 240, carried=carried,
        )  # fmt: skip

    assert nothing.left(60) > 0 > many.left(60)
    assert bought(2 * nothing.left(60)) < bought(0.0) < bought(2 * many.left(60))


def test_what_is_held_out_of_a_fit_changes_no_threshold_of_it(readings):
    asked = ASKED | {"held_out_h": 1}
    whole = detectors.replay_refits(CARRIED, readings, **asked)
    changed = readings.copy()
    times = detectors.epoch_ms(readings["event_time"])
    changed.loc[times >= 6 * HOUR_MS, "flow"] *= 3

    cut = detectors.replay_refits(CARRIED, changed, **asked)

    assert whole.refits[0].row == 120 * 3
    assert whole.refits[0].trained.tolist() == list(range(240))
    bought = [[fit.threshold for fit in replayed.refits] for replayed in (whole, cut)]
    assert bought[0][:5] == bought[1][:5]  # the fifth is of seven hours, and knows six
    assert bought[0][5] != bought[1][5]


def test_no_threshold_is_bought_that_has_more_of_the_readings_under_an_alarm(readings):
    spec = SPEC | {"refit": HOURLY}
    loud = ASKED | {"alerts_per_sensor_day": 500, "rule": EpisodeRule(1, 1, 5)}

    past = readings[840:1080]  # that the last one is bought on

    def share(alarm_share):
        fits = detectors.replay_refits(spec, readings, alarm_share=alarm_share, **loud).refits
        scores = detectors.score_readings(fits[-1].detector, past, sensor="pump")
        times, above = detectors.epoch_ms(past["event_time"]), scores > fits[-1].threshold
        return detectors.alarmed(times, past["pump"], above, loud["rule"]).mean()

    assert share(0.05) <= 0.05 < 0.1 < share(0.4)


@pytest.mark.parametrize(
    "policy",
    [
        {"every_h": 1, "trailing_h": 3, "carry_over": 2},
        {"every_h": 1, "trailing_h": 3, "carry_over": 2, "threshold_only": False},
        {"every_readings": 9, "trailing_readings": 99, "carry_over": 2, "threshold_only": True},
    ],
)
def test_a_budget_is_carried_over_by_a_threshold_that_is_bought_alone_by_the_day(policy):
    with pytest.raises(DetectorError) as caught:
        detectors.resolve(SPEC | {"refit": policy})

    assert str(caught.value) == (
        f"refit is {policy!r}: carry_over is of a threshold that is bought alone, by the day\n"
        "  refit: {every_h: 24, trailing_h: 168, threshold_only: true, carry_over: 2}"
    )
