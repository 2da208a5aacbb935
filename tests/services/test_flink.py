import time

import psutil
import pytest
import requests

from workbench import services as room
from workbench.endpoints import endpoints
from workbench.flink_rest import USER


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
def test_its_web_ui_answers(cluster):
    """To who knows the password; jobs on it are what tests/stream/running/test_session.py runs."""
    mine = (USER, endpoints().flink_password)

    assert requests.get(cluster, timeout=10).status_code == requests.codes.unauthorized
    page = requests.get(cluster, timeout=10, auth=mine).text
    assert "<title>Apache Flink Web Dashboard</title>" in page
    assert [rows()[name].state for name in ("jobmanager", "taskmanager")] == ["up", "up"]
    assert [rows()[name].state for name in ("s3", "pulsar")] == ["down", "down"]


@pytest.mark.flink
def test_a_taskmanager_that_died_is_replaced_by_up(cluster):
    before = rows()
    psutil.Process(before["taskmanager"].pids[0]).kill()
    while rows()["taskmanager"].state != "down":
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
