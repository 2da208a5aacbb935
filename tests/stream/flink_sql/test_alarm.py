"""The alarm of the job, as its Java class holds it, against the batch path's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.detectors import EpisodeRule
from workbench.detectors.alarms import alarmed
from workbench.stream.flink_sql.functions import function_jar
from workbench.stream.running.job import environment

RULES = st.tuples(st.integers(1, 5), st.integers(0, 6), st.integers(1, 8)).map(
    lambda one: EpisodeRule(one[0], one[0] + one[1], one[2])
)
READINGS = st.lists(st.booleans(), min_size=1, max_size=40)


@pytest.fixture(scope="module")
def alarm():
    """Return a function that gives readings to an alarm and says at which of them it is on."""
    from py4j.java_gateway import get_field
    from pyflink.java_gateway import get_gateway

    environment(brief=True)
    gateway = get_gateway()
    urls = gateway.new_array(gateway.jvm.java.net.URL, 1)
    urls[0] = gateway.jvm.java.net.URL(function_jar().as_uri())
    above = gateway.jvm.Thread.currentThread().getContextClassLoader()
    loader = gateway.jvm.java.net.URLClassLoader(urls, above)
    java = loader.loadClass("workbench.Alarm").getDeclaredConstructor(None).newInstance(None)
    channels = gateway.new_array(gateway.jvm.java.lang.Double, 0)

    def turns(latch, rule, readings):
        on = []
        for number, one in enumerate(readings):
            given = (rule.k, rule.n, rule.m, int(one), 10**12 + number, "7:1", 1.0, 0.5, "p", None)
            java.accumulate(latch, *given, channels)
            on.append(get_field(latch, "on"))
        return on

    turns.new = java.createAccumulator
    return turns


@pytest.mark.flink
@settings(max_examples=60)
@given(RULES, READINGS)
def test_it_is_on_where_the_batch_path_says(alarm, rule, readings):
    times = np.arange(len(readings))
    expected = alarmed(times, ["a"] * len(readings), np.array(readings), rule)

    assert alarm(alarm.new(), rule, readings) == expected.tolist()


@pytest.mark.flink
@settings(max_examples=60)
@given(RULES, READINGS, RULES, READINGS)
def test_a_job_that_goes_on_with_another_rule_keeps_to_that_one(alarm, old, before, rule, readings):
    latch = alarm.new()
    alarm(latch, old, before)

    alarm(latch, rule, [False] * (rule.n + rule.m))

    times = np.arange(len(readings))
    expected = alarmed(times, ["a"] * len(readings), np.array(readings), rule)
    assert alarm(latch, rule, readings) == expected.tolist()
