import subprocess
import sys
import time

import psutil
import pytest
import requests

from workbench import services as room
from workbench.endpoints import endpoints

JOB = """
import sys
from pyflink.common import Configuration
from pyflink.table import DataTypes, EnvironmentSettings, TableEnvironment
from pyflink.table.udf import udf

host, port = sys.argv[1].removeprefix("http://").split(":")
settings = Configuration()
settings.set_string("execution.target", "remote")
settings.set_string("rest.address", host)
settings.set_string("rest.port", port)
table_env = TableEnvironment.create(
    EnvironmentSettings.new_instance().with_configuration(settings).in_batch_mode().build()
)
double = udf(lambda n: n * 2.0, result_type=DataTypes.DOUBLE(), func_type="pandas")
table_env.create_temporary_function("double_it", double)
table_env.execute_sql(
    "CREATE TEMPORARY TABLE numbers (n DOUBLE) WITH ('connector' = 'datagen', "
    "'number-of-rows' = '1000', 'fields.n.kind' = 'sequence', "
    "'fields.n.start' = '1', 'fields.n.end' = '1000')"
)
with table_env.execute_sql("SELECT SUM(double_it(n)) FROM numbers").collect() as rows:
    print([row[0] for row in rows])
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A session cluster in a home of its own; give its web address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_HOME", str(tmp_path_factory.mktemp("flink")))
        try:
            room.up(["flink"])
            yield endpoints().flink
        finally:
            room.down()


def rows():
    return {one.name: one for one in room.status()}


@pytest.mark.flink
def test_a_job_with_a_python_function_runs_on_the_session_cluster(cluster):
    done = subprocess.run(
        [sys.executable, "-c", JOB, cluster], capture_output=True, text=True, timeout=300
    )

    assert done.stdout == "[1001000.0]\n", done.stderr


@pytest.mark.flink
def test_its_web_ui_answers(cluster):
    assert "<title>Apache Flink Web Dashboard</title>" in requests.get(cluster, timeout=10).text
    assert [rows()[name].state for name in ("jobmanager", "taskmanager")] == ["up", "up"]
    assert [rows()[name].state for name in ("s3", "pulsar")] == ["down", "down"]


@pytest.mark.flink
def test_a_taskmanager_that_died_is_replaced_by_up(cluster):
    before = rows()
    psutil.Process(before["taskmanager"].pids[0]).kill()
    deadline = time.monotonic() + 10
    while rows()["taskmanager"].state != "down" and time.monotonic() < deadline:
        time.sleep(0.1)

    room.up(["flink"])

    after = rows()
    assert after["taskmanager"].state == "up"
    assert after["taskmanager"].pids != before["taskmanager"].pids
    assert after["jobmanager"].pids == before["jobmanager"].pids


@pytest.mark.flink
def test_down_leaves_no_process_of_the_cluster(cluster):
    pids = [pid for one in room.status() for pid in one.pids]

    stopped = room.down(["flink"])

    assert stopped.keys() == {"taskmanager", "jobmanager"}
    assert not any(psutil.pid_exists(pid) for pid in pids)
