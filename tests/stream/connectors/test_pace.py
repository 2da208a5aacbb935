"""Which partitions stand still, told by jobs on Flink's mini cluster with a topic in memory.

Their reader is Flink's own; what it is asked for, and what it reads, is written down.
"""

import subprocess
import time
from pathlib import Path

import psutil
import pytest

from workbench import services
from workbench.services.compilation import flink_jars, jar
from workbench.stream.flink_sql.functions import function_jar

pytestmark = [pytest.mark.flink, pytest.mark.timeout(180)]
JARS = (
    "flink-dist-*.jar", "flink-table-api-java-uber-*.jar", "flink-table-runtime-*.jar",
    "log4j-*.jar",
)  # fmt: skip


def command(case):
    """Return what runs a case of java/PaceCases.java."""
    path = [*flink_jars(*JARS), function_jar()]
    runner = jar(Path(__file__).with_name("java"), path)
    on_path = ":".join(map(str, [*path, runner]))
    return [services.java(), "-cp", on_path, "workbench.PaceCases", case]


def printed(case):
    """Return the lines that a case prints."""
    done = subprocess.run(command(case), capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


def test_a_partition_that_is_found_while_it_is_to_stand_still_does_so_until_it_may_go_on():
    read_meanwhile, goes_on = printed("added")

    assert read_meanwhile == "0"
    assert goes_on == "true"


def test_a_job_that_begins_anew_has_forgotten_which_partitions_stood_still():
    (paused,) = printed("restart")

    assert paused == "true false"  # in the first attempt, and in the second


def test_readings_within_the_lateness_hold_no_partition():
    """They wait for earlier ones of their own partition, whatever the others do."""
    assert printed("within") == ["0"]


def test_a_partition_is_not_silent_while_the_job_takes_nothing():
    """Nobody could hear it: its readings are waited for as ever, and none of them is overtaken."""
    assert printed("blocked") == ["true 0"]


def test_a_partition_is_not_silent_while_the_process_stands_still():
    with subprocess.Popen(command("paused"), stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout.readline() == "ready\n"
            psutil.Process(running.pid).suspend()
            time.sleep(12)  # a partition is waited for 8 s
            psutil.Process(running.pid).resume()
            assert running.communicate(timeout=100)[0] == "0\n"
        finally:
            running.kill()
