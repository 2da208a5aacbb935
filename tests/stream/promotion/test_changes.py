"""What changes for those who get the alerts: stretches under one package, or under both."""

from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.evaluation import GroundTruth
from workbench.stream.promotion.changes import Changes, changes

SPAN = ("2026-01-05T00:00:00.000Z", "2026-01-06T00:00:00.000Z")
NOBODY = pd.DataFrame(columns=["sensor", "start", "stop", "kind", "channels"])


def at(minutes):
    return pd.Timestamp("2026-01-05", tz="UTC") + pd.to_timedelta(minutes, unit="min")


def truth(labels, answers=()):
    return GroundTruth(labels, NOBODY, NOBODY, tuple(answers))


def alerts(*rows):
    """Episodes of (sensor, from minute, to minute, peak)."""
    table = pd.DataFrame(rows, columns=["sensor", "start", "stop", "peak_score"])
    for name in ("start", "stop"):
        table[name] = at(table[name].astype(float))
    return table


def test_alerts_that_overlap_are_one_stretch_and_the_rest_are_one_sided():
    before = alerts(("a", 10, 20, 4.0), ("a", 30, 31, 9.0), ("b", 10, 20, 5.0))
    after = alerts(("a", 9, 12, 0.5), ("a", 15, 25, 0.7), ("b", 20, 30, 0.6))
    labels = pd.DataFrame(
        {"sensor": ["a"], "start": [at(5)], "stop": [at(11)], "kind": ["worn_bearing"]}
    )

    compared = changes(before, after, truth(labels), span=SPAN)

    assert (compared.champion, compared.candidate) == (3, 3)
    assert [compared.count(under) for under in ("both", "champion", "candidate")] == [1, 2, 1]
    assert compared.card().text() == (
        "alerts as they would change\n"
        "  alerts          3 under the champion, 3 under the candidate\n"
        "  under both      1\n"
        "  champion only   2\n"
        "  candidate only  1\n"
        "  span            2026-01-05T00:00Z to 2026-01-06T00:00Z\n"
        "  sensor  opened        length  under           peak     event\n"
        "  b       01-05 00:10Z  10 min  champion only   5\n"
        "  b       01-05 00:20Z  10 min  candidate only  0.6\n"
        "  a       01-05 00:30Z  1 min   champion only   9\n"
        "  a       01-05 00:09Z  16 min  both            4 / 0.7  worn bearing"
    )


def test_without_a_champion_all_alerts_are_the_candidates():
    compared = changes(None, alerts(("a", 1, 2, 3.0)), truth(NOBODY), span=SPAN)

    assert compared.champion is None
    assert compared.card().facts["alerts"] == "1 under the candidate"
    assert [stretch.under for stretch in compared.stretches] == ["candidate"]


def test_alerts_of_two_sensors_are_two_stretches_where_keys_are_numbers_in_bytes():
    pump, other = "\0\0\0\1", "\0\0\0\2"

    compared = changes(
        alerts((pump, 1, 9, 3.0)), alerts((other, 5, 8, 3.0)), truth(NOBODY), span=SPAN
    )

    assert [(stretch.sensor, stretch.under) for stretch in compared.stretches] == [
        (pump, "champion"),
        (other, "candidate"),
    ]


def test_two_packages_that_never_alert_change_nothing():
    compared = changes(alerts(), alerts(), truth(NOBODY), span=SPAN)

    assert (compared.champion, compared.candidate, compared.stretches) == (0, 0, ())
    assert len(compared.frame()) == 0


def _apart(starts):
    """Alerts of one sensor, none of which overlaps the next."""
    ordered = sorted(starts)
    ends = [min(start + 7, after) for start, after in pairwise([*ordered, 10_000])]
    return [("a", start, end, 1.0) for start, end in zip(ordered, ends, strict=True)]


SIDE = st.sets(st.integers(0, 60), max_size=8).map(_apart)


@settings(max_examples=60)
@given(SIDE, SIDE)
@pytest.mark.slow
def test_every_minute_is_on_in_just_the_sides_that_say_so(champion, candidate):
    found = changes(alerts(*champion), alerts(*candidate), truth(NOBODY), span=SPAN)

    stretches = [(*map(at_minute, (one.start, one.stop)), one.under) for one in found.stretches]
    for minute in range(70):
        on = {
            side
            for side, rows in (("champion", champion), ("candidate", candidate))
            if any(start <= minute < stop for _, start, stop, _ in rows)
        }
        under = [side for start, stop, side in stretches if start <= minute < stop]
        assert len(under) == bool(on)
        assert all(side == "both" or {side} == on for side in under)


def at_minute(text):
    return round((pd.Timestamp(text) - at(0)) / pd.Timedelta("1min"))


@pytest.mark.parametrize("before", [None, alerts(("a", 1, 2, 3.0))])
def test_what_changes_is_read_back_from_json_as_it_was(before):
    import json
    from dataclasses import asdict

    found = changes(before, alerts(("a", 1, 2, 3.0), ("b", 5, 6, 7.0)), truth(NOBODY), span=SPAN)

    assert Changes.of(json.loads(json.dumps(asdict(found)))) == found
